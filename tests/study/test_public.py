"""PASTIS and DynamicEarthNet in the study, from files in the published layouts."""

import logging
import os
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch

from study.contenders import CONTENDERS, Job
from study.probes import Pixels
from study.public import PLANET_MEAN, PLANET_STD, decode, dynamicearthnet, pastis
from study.public_run import draw_labelled, labelled_pixels, run_public

from ..pastis_release import dates_of, labels_of, norm_of, patch_ids, write_release

#: Zone, square and number of tiles as published, where archives are unpacked, and their role.
TILES = (
    ('10N', '23E-188N', '1311_3077_13', 'planet.10N/planet', 'train'),
    ('11N', '24E-207N', '1417_3281_13', 'planet', 'train'),
    ('13N', '28E-190N', '1700_3100_13', 'planet.13N', 'val'),
    ('15N', '32E-200N', '2006_3280_13', 'planet.15N/planet', 'test'),
)
#: Not in the order of time, as lists need not be.
MONTHS = ('2018-02', '2019-12', '2018-01')
HIGH, WIDE = 256, 128


@pytest.fixture(scope='module', autouse=True)
def settings():
    """What a run sets for its process is taken back."""
    threads, logger = torch.get_num_threads(), logging.getLogger('lightning.pytorch')
    level, before = logger.level, dict(os.environ)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    logger.setLevel(level)
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('data') / 'PASTIS', satellites=['S2'])


def write(path, bands):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, high, wide = bands.shape
    shape = {'count': count, 'height': high, 'width': wide, 'dtype': bands.dtype}
    shape |= {'crs': 'EPSG:32610', 'transform': rasterio.Affine(3, 0, 600_000, 0, -3, 4_400_000)}
    with rasterio.open(path, 'w', driver='GTiff', **shape) as raster:
        raster.write(bands)


def planet_value(tile, month):
    """What all bands but the last hold, which holds twice that."""
    return 1000 * (tile + 1) + 100 * MONTHS.index(month)


def published_label(month):
    """Soil above water; below them forest beside a strip of snow, one of nothing, and wetlands.

    In all months but the last everything is impervious.
    """
    bands = np.zeros((7, HIGH, WIDE), np.uint8)
    if month != '2019-12':
        bands[0] = 255
        return bands
    bands[4, :40] = 255
    bands[5, 40:100] = 255
    bands[2, 100:, :50] = 255
    bands[6, 100:, 50:60] = 255
    bands[3, 100:, 70:] = 255
    return bands


@pytest.fixture(scope='module')
def planet(tmp_path_factory):
    """DynamicEarthNet, of three months and small tiles; other than that as published."""
    root = tmp_path_factory.mktemp('dynamicearthnet')
    lists = {'train': [], 'val': [], 'test': []}
    for i, (zone, square, number, unpacked, role) in enumerate(TILES):
        place = f'{zone}/{square}/{number}/PF-SR'
        for month in MONTHS:
            image = np.full((4, HIGH, WIDE), planet_value(i, month), np.uint16)
            image[3] *= 2
            image[:, -1, -1] = 0
            write(root / unpacked / place / f'{month}-01.tif', image)
            folder = f'{number}_{zone}/Labels/Raster/{zone}-122W-40N-L3H-SR'
            name = f'{zone}-122W-40N-L3H-SR-{month.replace("-", "_")}_01.tif'
            lists[role].append(
                f'/reprocess-cropped/UTM-24000/{place} /labels/{folder}/{name} {month}'
            )
            if role == 'test':
                date = f'{month}-01.tif'
                name = name[: -len(date)] + date
            archive = {'train': 'labels', 'val': 'labels'}.get(role, 'dynamicearthnet_test_labels')
            write(root / archive / folder / name, published_label(month))
        # Images of other days, which have no label.
        write(root / unpacked / place / '2018-01-02.tif', np.zeros((4, 1, 1), np.uint16))
    for role, lines in lists.items():
        path = root / 'dynnet_training_splits' / f'{role}.txt'
        path.parent.mkdir(exist_ok=True)
        path.write_text('\n'.join(lines) + '\n')
    return root


def numbers(sites):
    return [int(site.name.split()[1]) for site in sites]


def assert_no_field_twice(official):
    sites = official.train + official.test
    own = [set(np.unique(site.fields[site.fields > 0]).tolist()) for site in sites]
    assert len(set.union(*own)) == sum(map(len, own))
    for site in sites:
        assert np.array_equal(site.fields > 0, site.classes > 0)


def test_pastis_keeps_to_the_official_folds(release):
    official = pastis(release, seed=0)
    assert sorted(numbers(official.train)) == sorted(patch_ids(1) + patch_ids(2) + patch_ids(3))
    assert sorted(numbers(official.test)) == sorted(patch_ids(5))
    assert_no_field_twice(official)


def test_pastis_draws_evenly_over_folds_by_the_seed(release):
    drawn = set()
    for seed in range(5):
        some = pastis(release, seed=seed, patches=3)
        found = numbers(some.train)
        assert [len(set(found) & set(patch_ids(fold))) for fold in (1, 2, 3)] == [1, 1, 1]
        assert set(numbers(some.test)) == set(patch_ids(5))
        assert numbers(pastis(release, seed=seed, patches=3).train) == found
        drawn.add(tuple(sorted(found)))
    assert len(drawn) > 1


def test_pastis_labels_dates_and_units(release):
    official = pastis(release, seed=0)
    mean, std = (
        np.mean([norm_of(fold, 10)[key] for fold in (1, 2, 3)], 0)[:, None, None]
        for key in ('mean', 'std')
    )
    for site in official.train + official.test:
        patch = int(site.name.split()[1])
        mask = labels_of(patch, 32)[0][0]
        assert (site.classes[mask == 19] == 0).all()
        assert (site.fields[mask == 19] == 0).all()
        assert np.array_equal(site.classes[mask < 19], mask[mask < 19] + 1)
        # A parcel for each class but void, background above them and right of the last one.
        assert len(np.unique(site.fields)) == 1 + 5 + 1
        for value in range(2, 19):
            assert len(np.unique(site.fields[site.classes == value])) <= 1
        days = [int(f'{datetime.fromtimestamp(t, UTC):%Y%m%d}') for t in site.times.tolist()]
        assert days == dates_of(patch, 'S2')
        array = np.load(release / f'DATA_S2/S2_{patch}.npy')
        clear = (array != -10000).all(1)
        assert np.array_equal(site.clear.numpy(), clear)
        expected = np.where(clear[:, None], (array - mean) / std, 0)
        assert np.allclose(site.image.numpy(), expected, atol=1e-4)


def test_one_hot_labels_of_dynamicearthnet():
    bands = np.zeros((7, 2, 4), np.uint8)
    bands[0, 0, 0] = 255  # impervious
    bands[5, 0, 1] = 255  # water
    bands[6, 0, 2] = 255  # snow
    bands[1, 1, 0] = bands[3, 1, 0] = 255  # agriculture and wetlands: the last one
    bands[2, 1, 1] = bands[6, 1, 1] = 255  # forest and snow
    bands[4, 1, 2] = 1  # not 255
    assert decode(bands).tolist() == [[1, 6, 0, 0], [4, 0, 0, 0]]


def test_dynamicearthnet_keeps_to_the_official_lists(planet):
    official = dynamicearthnet(planet, seed=0)
    tiles = [
        {site.name.split(',')[0] for site in sites} for sites in (official.train, official.test)
    ]
    assert tiles == [{'1311_3077_13', '1417_3281_13'}, {'2006_3280_13'}]
    assert len(official.train) == 4
    assert len({site.name for site in official.train}) == 4
    assert_no_field_twice(official)
    some = dynamicearthnet(planet, seed=3, patches=2)
    assert {site.name.split(',')[0] for site in some.train} == tiles[0]
    assert len(some.test) == 2


def test_dynamicearthnet_labels_dates_and_units(planet):
    official = dynamicearthnet(planet, seed=0)
    expected = decode(published_label('2019-12'))
    assert set(np.unique(expected)) == {0, 3, 4, 5, 6}
    for site in official.train + official.test:
        tile, row = site.name.split(',')[0], int(site.name.split(',')[1].split()[1])
        assert np.array_equal(site.classes, expected[row : row + 128])
        days = [f'{datetime.fromtimestamp(t, UTC):%Y-%m-%d}' for t in site.times.tolist()]
        assert days == ['2018-01-01', '2018-02-01', '2019-12-01']
        number = [t[2] for t in TILES].index(tile)
        for frame, month in zip(site.image, sorted(MONTHS), strict=True):
            values = np.array([1, 1, 1, 2]) * planet_value(number, month)
            wanted = (values - PLANET_MEAN) / np.array(PLANET_STD)
            assert np.allclose(frame[:, 5, 7].numpy(), wanted, atol=1e-4)
        last = row + 128 == HIGH
        assert site.clear[:, -1, -1].any().item() is not last
        assert site.clear.sum() == site.clear.numel() - 3 * last
        assert (site.image[:, :, -1, -1] == 0).all().item() is last


def test_names_what_is_missing_of_dynamicearthnet(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'dynnet_training_splits/train\.txt'):
        dynamicearthnet(tmp_path, seed=0)
    folder = tmp_path / 'dynnet_training_splits'
    folder.mkdir()
    (folder / 'train.txt').write_text('/planet/10N/23E-188N/1311_3077_13/PF-SR 2018-01\n')
    with pytest.raises(ValueError, match=r'train\.txt.*a label and a month'):
        dynamicearthnet(tmp_path, seed=0)
    (folder / 'train.txt').write_text('/a/10N/23E/1311/PF-SR /labels/x_2018_01_01.tif 2018-01\n')
    with pytest.raises(FileNotFoundError, match=r'planet/10N/23E/1311/PF-SR/2018-01-01\.tif'):
        dynamicearthnet(tmp_path, seed=0)


def test_pixels_of_fields_that_are_large_enough():
    fields = np.repeat([0, 3, 4, 9], [5, 7, 8, 40]).reshape(6, 10)
    classes = np.where(fields > 3, fields - 2, 0)
    site = SimpleNamespace(fields=fields, classes=classes)
    (found,) = labelled_pixels([site])
    numbers, counts = np.unique(found.fields, return_counts=True)
    assert dict(zip(numbers.tolist(), counts.tolist(), strict=True)) == {4: 8, 9: 12}
    assert len(set(found.index.tolist())) == 20
    assert np.array_equal(found.fields, fields.ravel()[found.index])
    assert np.array_equal(found.classes, classes.ravel()[found.index])


@pytest.mark.parametrize(
    ('budget', 'counts'), [('1 %', [2, 1]), ('5 %', [10, 1]), ('all', [200, 9])]
)
def test_share_of_fields_of_each_class(budget, counts):
    fields = np.repeat(np.arange(1, 210), 3)
    classes = np.where(fields > 200, 2, 1)
    pixels = Pixels(np.arange(len(fields)), classes, fields)
    drawn = draw_labelled(pixels, budget, 0)
    assert len(set(drawn.tolist())) == len(drawn)
    assert [int((drawn <= 200).sum()), int((drawn > 200).sum())] == counts
    assert np.array_equal(drawn, draw_labelled(pixels, budget, 0))


def assert_scored(record, name, places):
    """A record as the benchmark keeps it, with each place of *places* scored."""
    assert (record['set'], record['seed']) == (name, 1)
    found = {(s['budget'], s['probe'], s['depth']) for s in record['scores']}
    assert found == {(budget, *place) for budget in ('1 %', '5 %', 'all') for place in places}
    for score in record['scores']:
        assert score['site'] == name
        for metric in ('f1', 'miou'):
            assert len(score[metric]) == (1 if score['budget'] == 'all' else 5)
            assert all(isinstance(v, int) and 0 <= v <= 1000 for v in score[metric])


PROBED = [(probe, depth) for probe in ('knn', 'linear') for depth in ('early', 'late', 'joined')]


def test_run_of_an_untrained_encoder(release):
    contender = CONTENDERS['untrained PlanarViT']
    record = run_public(Job(contender, 'pastis', 1, 0, None, release, release), patches=3)
    assert_scored(record, 'pastis', PROBED)
    assert record['patches'] == [3, 2]
    # Classes differ by 150 in all bands, noise by 30: a linear probe of any features does well.
    best = [s for s in record['scores'] if s['probe'] == 'linear' and s['depth'] == 'joined']
    assert min(best[-1]['f1']) > 600


def test_run_of_a_pretraining(planet):
    contender = CONTENDERS['VICReg, resampling']
    record = run_public(Job(contender, 'dynamicearthnet', 1, 2, 1e-3, planet, planet), patches=2)
    assert_scored(record, 'dynamicearthnet', PROBED)
    assert record['steps'] == 2
    assert record['finite']


def test_run_of_composites(release):
    contender = CONTENDERS['logistic regression, season bins']
    record = run_public(Job(contender, 'pastis', 1, 0, None, release, release), patches=3)
    assert_scored(record, 'pastis', [('raw', 'raw')])


def test_names_what_cannot_be_run(tmp_path):
    frozen, trained = CONTENDERS['untrained PlanarViT'], CONTENDERS['utae from scratch']
    options = 0, 1, None, tmp_path, tmp_path
    with pytest.raises(ValueError, match=r"'mnist': expected one of \['pastis'"):
        run_public(Job(frozen, 'mnist', *options))
    with pytest.raises(ValueError, match=r'utae from scratch.*trained with labels'):
        run_public(Job(trained, 'pastis', *options))

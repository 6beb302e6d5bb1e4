"""The packagings of SitsSCD, value by value."""

import json
from datetime import UTC, date, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import SitsSCDDynamicEarthNet, SitsSCDMUDS
from torchgeo_sits.errors import SITSError

from .releases import sitsscd_dynamicearthnet as earth
from .releases import sitsscd_muds as muds

#: Most that a JPEG is off.
OFF = 5


@pytest.fixture(scope='module')
def earth_folder(tmp_path_factory):
    return earth.write_release(tmp_path_factory.mktemp('earth'))


@pytest.fixture(scope='module')
def muds_folder(tmp_path_factory):
    return muds.write_release(tmp_path_factory.mktemp('muds'))


def days_of(sample):
    return [datetime.fromtimestamp(t, UTC).date() for t in sample['acquisition_times'].tolist()]


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_a_month_of_earth_has_the_nearest_image_and_its_map(earth_folder, part):
    data = SitsSCDDynamicEarthNet(earth_folder, part)
    assert [key.place for key in data.samples] == sorted(earth.PLACES[part])
    for index, key in enumerate(data.samples):
        sample, expected = data[index], earth.dates_of()
        assert days_of(sample) == [earth.date_of(day) for _, day in expected]
        images = np.stack([earth.image_of(key.place, day) for _, day in expected])
        assert np.abs(sample['image'].numpy() - images).max() <= OFF
        maps = earth.maps_of(key.place)[[month - 1 for month, _ in expected]].astype(int)
        assert np.array_equal(sample['mask'].numpy(), np.where(maps == 6, -1, maps))


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_a_month_of_muds_without_an_image_is_left_out(muds_folder, part):
    data = SitsSCDMUDS(muds_folder, part)
    assert [key.place for key in data.samples] == sorted(muds.PLACES[part])
    months = sorted(set(range(24)) - muds.WITHOUT)
    for index, key in enumerate(data.samples):
        sample = data[index]
        assert days_of(sample) == [date(2018 + m // 12, m % 12 + 1, 1) for m in months]
        images = np.stack([muds.image_of(key.place, m) for m in months]).transpose(0, 3, 1, 2)
        assert np.abs(sample['image'].numpy() - images).max() <= OFF
        maps = muds.maps_of(key.place)[months].astype(int)
        assert np.array_equal(sample['mask'].numpy(), np.where(maps == 2, -1, maps))


def test_without_domain_shift_squares_of_the_corner_are_held_out(muds_folder):
    places = sorted(muds.PLACES['train'])
    unseen = np.ones((32, 32), bool)
    found = {}
    for part in ('train', 'val', 'test'):
        data = SitsSCDMUDS(muds_folder, part, domain_shift=False)
        assert {key.place for key in data.samples} == set(places)
        found[part] = [key for key in data.samples if key.place == places[0]]
        for index, key in enumerate(data.samples):
            sample, maps = data[index], muds.maps_of(key.place)
            rows, columns = slice(*key.rows), slice(*key.columns)
            maps = maps[sorted(set(range(24)) - muds.WITHOUT), rows, columns].astype(int)
            assert sample['image'].shape[-2:] == data.size(key) == maps.shape[1:]
            assert np.array_equal(sample['mask'].numpy(), np.where(maps == 2, -1, maps))
            image = muds.image_of(key.place, 0).transpose(2, 0, 1)[:, rows, columns]
            assert np.abs(sample['image'][0].numpy() - image).max() <= OFF
            if part == 'train':
                unseen[rows, columns] = False
    squares = {part: [(key.rows[0], key.columns[0]) for key in found[part]] for part in found}
    assert squares['val'] == [(28, 28), (24, 24)]
    assert squares['test'] == [(28, 24), (24, 28)]
    assert unseen.sum() == 64
    assert unseen[24:, 24:].all()


def test_lists_and_maps_that_are_not_as_published_are_named(tmp_path):
    folder = muds.write_release(tmp_path)
    place = muds.PLACES['val'][0]
    np.save(folder / f'labels/{place}.npy', np.zeros((3, 32, 32)))
    with pytest.raises(SITSError, match=rf'{place}.npy.*\(3, 32, 32\)'):
        SitsSCDMUDS(tmp_path, 'val')[0]
    np.save(folder / f'labels/{place}.npy', np.array([{}]), allow_pickle=True)
    with pytest.raises(SITSError, match=rf'{place}.npy'):
        SitsSCDMUDS(tmp_path, 'val')[0]
    for path in (folder / 'test').rglob('*.jpg'):
        path.unlink()
    with pytest.raises(SITSError, match='has no image of place'):
        SitsSCDMUDS(tmp_path, 'test')[0]
    (folder / 'split.json').write_text(json.dumps({'train': []}))
    with pytest.raises(SITSError, match=r"split.json.*'test'"):
        SitsSCDMUDS(tmp_path, 'test')
    (folder / 'split.json').write_text('{')
    with pytest.raises(SITSError, match=r'split.json.*no JSON'):
        SitsSCDMUDS(tmp_path, 'test')

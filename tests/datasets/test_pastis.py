"""PASTIS and PASTIS-R, from files in the published layout."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from torchgeo.datasets import DatasetNotFoundError

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datasets import PASTIS

from ..pastis_release import dates_of, labels_of, patch_ids, write_release


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('data') / 'PASTIS-R')


def day(time):
    return int(f'{datetime.fromtimestamp(time, UTC):%Y%m%d}')


def edit_metadata(folder, change):
    path = folder / 'metadata.geojson'
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_sample_holds_what_the_files_hold(release):
    data = PASTIS(release, folds=[2], annotations=['parcel', 'instance'])
    assert data.idxs == sorted(patch_ids(2))
    for i, patch in enumerate(data.idxs):
        sample = data[i]
        array = np.load(release / f'DATA_S2/S2_{patch}.npy')
        target, parcels = labels_of(patch, 32)
        assert sample['image'].dtype == torch.float32
        assert np.array_equal(sample['image'].numpy(), array)
        assert [day(t) for t in sample['acquisition_times'].tolist()] == dates_of(patch, 'S2')
        assert sample['acquisition_times'].dtype == torch.int64
        assert np.array_equal(sample['mask_clear'].numpy(), (array != -10000).all(1))
        assert not sample['mask_clear'][0, :2, :3].any()
        assert not sample['mask_clear'][1, -1, -1]
        assert np.array_equal(sample['mask'].numpy(), target[0])
        assert sample['mask'].dtype == torch.int64
        assert np.array_equal(sample['mask_parcel'].numpy(), parcels)
        instances = np.load(release / f'INSTANCE_ANNOTATIONS/INSTANCES_{patch}.npy')
        assert np.array_equal(sample['mask_instance'].numpy(), instances)
        assert sample['length'] == len(array) == sample['valid'].sum()
        assert sample['patch'] == patch


def test_patch_of_published_size(tmp_path):
    write_release(tmp_path, size=128, satellites=['S2'])
    sample = PASTIS(tmp_path, folds=[3])[0]
    assert sample['image'].shape[1:] == (10, 128, 128)


@pytest.mark.parametrize('root', ['data/PASTIS-R', 'data'])
@pytest.mark.parametrize('dates_as', ['dict', 'string'])
def test_dates_as_dictionary_or_text_from_the_folder_or_above(tmp_path, dates_as, root):
    write_release(tmp_path / 'data' / 'PASTIS-R', size=8, dates_as=dates_as)
    data = PASTIS(tmp_path / root, folds=[4, 1])
    assert data.idxs == sorted(patch_ids(4) + patch_ids(1))
    for i, patch in enumerate(data.idxs):
        found = [day(t) for t in data[i]['acquisition_times'].tolist()]
        assert found == dates_of(patch, 'S2')
    assert data.patches.crs.to_epsg() == 2154


def test_more_than_ten_dates_whose_keys_are_in_the_order_of_text(tmp_path):
    write_release(tmp_path, size=8, satellites=['S2'])
    patch = patch_ids(1)[0]
    days = [20180901 + i for i in range(12)]
    values = np.arange(12, dtype=np.int16)[:, None, None, None].repeat(10, 1)
    np.save(tmp_path / f'DATA_S2/S2_{patch}.npy', np.broadcast_to(values, (12, 10, 8, 8)))

    def change(document):
        for feature in document['features']:
            if feature['properties']['ID_PATCH'] == patch:
                table = {key: days[int(key)] for key in sorted(map(str, range(12)))}
                feature['properties']['dates-S2'] = table

    edit_metadata(tmp_path, change)
    data = PASTIS(tmp_path, folds=[1])
    sample = data[data.idxs.index(patch)]
    assert [day(t) for t in sample['acquisition_times'].tolist()] == days
    assert sample['image'][:, 0, 0, 0].tolist() == list(range(12))


def test_frames_are_chronological_whatever_the_order_of_the_dates(tmp_path):
    write_release(tmp_path, size=8, satellites=['S2'])
    before = PASTIS(tmp_path, folds=[1])[0]
    patch = int(before['patch'])
    array = np.load(tmp_path / f'DATA_S2/S2_{patch}.npy')
    np.save(tmp_path / f'DATA_S2/S2_{patch}.npy', array[::-1])

    def change(document):
        for feature in document['features']:
            table = feature['properties']['dates-S2']
            days = [table[str(i)] for i in range(len(table))][::-1]
            feature['properties']['dates-S2'] = {str(i): d for i, d in enumerate(days)}

    edit_metadata(tmp_path, change)
    after = PASTIS(tmp_path, folds=[1])[0]
    for key, value in before.items():
        assert torch.equal(after[key], value), key


@pytest.mark.parametrize('modality', ['s1a', 's1d'])
def test_orbits_of_sentinel_1(release, modality):
    data = PASTIS(release, folds=[5], modality=modality)
    satellite = modality.upper()
    for i, patch in enumerate(data.idxs):
        sample = data[i]
        array = np.load(release / f'DATA_{satellite}/{satellite}_{patch}.npy')
        assert [day(t) for t in sample['acquisition_times'].tolist()] == dates_of(patch, satellite)
        clear = sample['mask_clear'].numpy()
        assert np.array_equal(clear, np.isfinite(array).all(1))
        assert not clear[-1, 5, 6]
        seen = np.broadcast_to(clear[:, None], array.shape)
        assert np.array_equal(sample['image'].numpy()[seen], array[seen])
        assert sample['image'].isfinite().all()
    assert data.bands[0] == f'{satellite}_VV'


def test_modalities_together_are_padded_each_to_its_own_length(release):
    data = PASTIS(release, folds=[1, 2], modality='s2', further=['s1a', 's1d'])
    samples = [data[i] for i in range(len(data))]
    batch = pad_time(samples)
    for suffix in ('', '_s1a', '_s1d'):
        lengths = [len(sample[f'image{suffix}']) for sample in samples]
        assert len(set(lengths)) > 1
        assert batch[f'length{suffix}'].tolist() == lengths
        assert batch[f'image{suffix}'].shape[1] == max(lengths)
        assert batch[f'valid{suffix}'].sum(1).tolist() == lengths
        for i, sample in enumerate(samples):
            for key in ('image', 'acquisition_times', 'mask_clear'):
                found, expected = batch[key + suffix][i], sample[key + suffix]
                assert torch.equal(found[: lengths[i]], expected)
                assert not found[lengths[i] :].any()


def test_chosen_bands_in_the_order_asked_for(release):
    every, some = PASTIS(release, folds=[1]), PASTIS(release, folds=[1], bands=['B08', 'B02'])
    assert torch.equal(some[1]['image'], every[1]['image'][:, [6, 0]])
    assert some.statistics()[0] == [1006.0, 1000.0]


def test_window_is_that_part_of_the_patch(release):
    data = PASTIS(release, folds=[1], annotations=['parcel'])
    whole, part = data[0], data.read(0, (slice(3, 9), slice(20, 31)))
    for key in ('image', 'mask', 'mask_clear', 'mask_parcel'):
        assert torch.equal(part[key], whole[key][..., 3:9, 20:31])
    assert torch.equal(part['acquisition_times'], whole['acquisition_times'])


def test_statistics_are_means_over_the_folds(release):
    mean, std = PASTIS(release, folds=[4, 5, 1]).statistics()
    # Folds 4, 5 and 1 have means of 4000, 5000, 1000 (+ c), deviations 400, 500, 100 (+ 10 c).
    assert mean == pytest.approx([10_000 / 3 + c for c in range(10)])
    assert std == pytest.approx([1000 / 3 + 10 * c for c in range(10)])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'folds': [7]}, r'folds=\(7,\).*1 to 5'),
        ({'folds': []}, '1 to 5'),
        ({'modality': 's3'}, "unknown modality 's3'"),
        ({'further': ['s2']}, 'twice'),
        ({'bands': ['B01']}, r"no bands \['B01'\]"),
    ],
)
def test_names_options_out_of_range(release, options, message):
    with pytest.raises(ValueError, match=message):
        PASTIS(release, **options)


def test_missing_root_is_what_torchgeo_raises(tmp_path):
    with pytest.raises(DatasetNotFoundError, match='nowhere'):
        PASTIS(tmp_path / 'nowhere')


def test_names_what_is_missing(tmp_path):
    write_release(tmp_path, size=8, satellites=['S2'])
    with pytest.raises(ValueError, match=r"metadata.geojson' has no 'dates-S1A'.*PASTIS-R"):
        PASTIS(tmp_path, modality='s1a')
    patch = patch_ids(1)[0]
    (tmp_path / f'DATA_S2/S2_{patch}.npy').unlink()
    with pytest.raises(FileNotFoundError, match=rf'S2_{patch}\.npy.*does not exist'):
        PASTIS(tmp_path)
    assert len(PASTIS(tmp_path, folds=[2])) == 2
    (tmp_path / 'NORM_S2_patch.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'NORM_S2_patch\.json'):
        PASTIS(tmp_path, folds=[2]).statistics()
    (tmp_path / 'metadata.geojson').unlink()
    with pytest.raises(FileNotFoundError, match=r'metadata\.geojson'):
        PASTIS(tmp_path)


@pytest.mark.parametrize(
    'change',
    [
        lambda d: d['features'][0]['properties'].update({'dates-S2': {'0': 20181399}}),
        lambda d: d['features'][0]['properties'].update({'dates-S2': 'often'}),
        lambda d: d['features'][0]['properties'].update({'dates-S2': None}),
        lambda d: [f['properties'].pop('Fold') for f in d['features']],
        lambda d: d['features'][0]['properties'].update({'Fold': 'none'}),
    ],
)
def test_names_metadata_that_is_not_as_published(tmp_path, change):
    write_release(tmp_path, size=8, satellites=['S2'])
    edit_metadata(tmp_path, change)
    with pytest.raises(ValueError, match=r'metadata\.geojson'):
        PASTIS(tmp_path)


def test_names_files_that_are_cut_off(tmp_path):
    write_release(tmp_path, size=8, satellites=['S2'])
    data = PASTIS(tmp_path, folds=[2])
    patch = data.idxs[0]
    path = tmp_path / f'DATA_S2/S2_{patch}.npy'
    np.save(path, np.load(path)[1:])
    with pytest.raises(
        ValueError, match=rf'S2_{patch}\.npy.*expected \({len(dates_of(patch, "S2"))}'
    ):
        data[0]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(OSError, match=rf'S2_{patch}\.npy'):
        data[0]
    np.save(tmp_path / f'ANNOTATIONS/TARGET_{data.idxs[1]}.npy', np.full((3, 8, 8), 20, np.uint8))
    with pytest.raises(ValueError, match=r'TARGET_.*0 to 19'):
        data[1]
    (tmp_path / 'metadata.geojson').write_text('{"type": "Feat')
    with pytest.raises(ValueError, match=r'metadata\.geojson'):
        PASTIS(tmp_path)
    (tmp_path / 'NORM_S2_patch.json').write_text('{"Fold_1": {}}')
    with pytest.raises(ValueError, match=r'NORM_S2_patch\.json'):
        data.statistics()


def test_picture_of_a_patch(release):
    data = PASTIS(release, folds=[1])
    assert len([a for a in data.plot(data[0]).axes if a.images]) == len(data[0]['image'])

"""PASTIS-HD, value by value."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datamodules import PublishedDataModule
from torchgeo_sits.datasets.published import PASTISHD
from torchgeo_sits.errors import SITSError

from ..pastis_release import dates_of, labels_of, norm_of, patch_ids, write_release


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('pastis'), size=24)


def days(times):
    return [int(f'{datetime.fromtimestamp(t, UTC):%Y%m%d}') for t in times.tolist()]


def test_both_sensors_are_those_of_the_files(release):
    data = PASTISHD(release, 'val', fold=2)
    assert data.samples == sorted(patch_ids(5))
    for index, patch in enumerate(data.samples):
        sample = data[index]
        array = np.load(release / f'DATA_S2/S2_{patch}.npy')
        assert np.array_equal(sample['image'].numpy(), np.where(array == -10000, 0, array))
        assert np.array_equal(sample['mask_clear'].numpy(), (array != -10000).all(1))
        assert days(sample['acquisition_times']) == dates_of(patch, 'S2')
        target = labels_of(patch, 24)[0][0].astype(int)
        assert np.array_equal(sample['mask'].numpy(), np.where(target == 19, -1, target))
        both = [(day, s, i) for s in ('S1A', 'S1D') for i, day in enumerate(dates_of(patch, s))]
        both.sort(key=lambda item: item[0])
        assert days(sample['acquisition_times_s1']) == [day for day, _, _ in both]
        arrays = {s: np.load(release / f'DATA_{s}/{s}_{patch}.npy') for s in ('S1A', 'S1D')}
        for frame, (_, sensor, i) in zip(sample['image_s1'].numpy(), both, strict=True):
            assert np.array_equal(frame, np.nan_to_num(arrays[sensor][i]))


@pytest.mark.parametrize('fold', range(1, 6))
def test_folds_turn_as_the_authors_turn_them(release, fold):
    turned = [(fold - 1 + i) % 5 + 1 for i in range(5)]
    parts = {'train': turned[:3], 'val': turned[3:4], 'test': turned[4:]}
    for part, folds in parts.items():
        expected = sorted(patch for f in folds for patch in patch_ids(f))
        assert PASTISHD(release, part, fold=fold).samples == expected


def test_statistics_are_those_of_the_folds_of_training(release):
    options = {'fold': 3, 'sentinel1': 'ascending'}
    data = PublishedDataModule('pastis_hd', str(release), dataset_kwargs=options)
    wanted = [norm_of(fold, 10) for fold in (3, 4, 5)]
    mean, std = data.statistics
    assert mean.tolist() == pytest.approx(np.mean([w['mean'] for w in wanted], axis=0).tolist())
    assert std.tolist() == pytest.approx(np.mean([w['std'] for w in wanted], axis=0).tolist())
    assert data.bands_s1 == ['VV', 'VH', 'VV/VH']
    wanted = [norm_of(fold, 3) for fold in (3, 4, 5)]
    assert data.statistics_s1[0].tolist() == pytest.approx(
        np.mean([w['mean'] for w in wanted], axis=0).tolist()
    )


def test_a_release_without_sentinel_1_says_so(tmp_path):
    write_release(tmp_path, size=8, satellites=['S2'])
    with pytest.raises(SITSError, match='sentinel1=null'):
        PASTISHD(tmp_path)
    data = PASTISHD(tmp_path, sentinel1=None)
    assert 'image_s1' not in data[0]


def test_what_does_not_fit_is_refused(release, tmp_path):
    with pytest.raises(SITSError, match='fold=6'):
        PASTISHD(release, fold=6)
    with pytest.raises(SITSError, match='sideways'):
        PASTISHD(release, sentinel1='sideways')
    write_release(tmp_path, size=8)
    patch = PASTISHD(tmp_path).samples[0]
    np.save(tmp_path / f'DATA_S2/S2_{patch}.npy', np.zeros((2, 10, 8, 8), np.int16))
    with pytest.raises(SITSError, match=f'S2_{patch}.npy.*dates'):
        PASTISHD(tmp_path)[0]
    np.save(tmp_path / f'DATA_S2/S2_{patch}.npy', np.array([{}], object), allow_pickle=True)
    with pytest.raises(SITSError, match=f'S2_{patch}.npy'):
        PASTISHD(tmp_path)[0]
    document = json.loads((tmp_path / 'metadata.geojson').read_text())
    for feature in document['features']:
        feature['properties']['dates-S2'] = '{"0": "soon"}'
    (tmp_path / 'metadata.geojson').write_text(json.dumps(document))
    with pytest.raises(SITSError, match='soon'):
        PASTISHD(tmp_path)[0]

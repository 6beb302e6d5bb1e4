"""SSL4EO-S12 v1.1, value by value."""

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from torchgeo_sits.datasets.published import SSL4EOS12
from torchgeo_sits.errors import SITSError

from .releases.ssl4eos12 import PLACES, SHARDS, arrays_of, write_release


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    sensors = ('S2L2A', 'S2L1C', 'S1GRD')
    return write_release(tmp_path_factory.mktemp('ssl4eos12'), sensors=sensors)


def ordered(part, number, sensor, place):
    values, times, mask = (array[place] for array in arrays_of(part, number, sensor))
    order = np.argsort(times, kind='stable')
    return values[order].astype(np.float32), (times[order] // 10**9).tolist(), mask[order]


@pytest.mark.parametrize('level', ['L2A', 'L1C'])
@pytest.mark.parametrize('part', ['train', 'val'])
def test_places_hold_the_seasons_of_both_sensors(release, part, level):
    data = SSL4EOS12(release, part, level=level)
    assert len(data) == PLACES * len(SHARDS[part])
    for index in (0, 5, PLACES - 1, len(data) - 1):
        number, place = SHARDS[part][index // PLACES], index % PLACES
        sample = data[index]
        values, times, mask = ordered(part, number, f'S2{level}', place)
        assert np.array_equal(sample['image'].numpy(), values)
        assert sample['acquisition_times'].tolist() == times
        assert np.array_equal(sample['mask_clear'].numpy(), mask == 0)
        values, times, _ = ordered(part, number, 'S1GRD', place)
        assert np.array_equal(sample['image_s1'].numpy(), np.nan_to_num(values))
        assert np.array_equal(sample['mask_clear_s1'].numpy(), np.isfinite(values).all(axis=1))
        assert sample['acquisition_times_s1'].tolist() == times
    assert len(data.mean) == len(data.std) == len(data.band_names)


def test_parts_without_samples_and_clear_values(release):
    for part in ('test', 'unlabelled'):
        assert not len(SSL4EOS12(release, part))
    assert SSL4EOS12(release, 'val', clear_values=[0, 3])[0]['mask_clear'].all()


def test_sentinel1_may_be_left_out(tmp_path):
    write_release(tmp_path, sensors=('S2L2A',))
    sample = SSL4EOS12(tmp_path, 'val')[3]
    assert not sample['valid_s1'].any()
    assert len(sample['image']) == 4


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path, sensors=('S2L2A',))
    with pytest.raises(SITSError, match='L3'):
        SSL4EOS12(tmp_path, level='L3')
    name = f'ssl4eos12_train_seasonal_data_{SHARDS["train"][0]}.zarr.zip'
    path = tmp_path / 'ssl4eo-s12/train/S2L2A' / name
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SITSError, match=name):
        SSL4EOS12(tmp_path)[0]
    name = f'ssl4eos12_train_seasonal_data_{SHARDS["train"][1]}.zarr.zip'
    path = tmp_path / 'ssl4eo-s12/train/S2L2A' / name
    path.unlink()
    with ZipStore(path, mode='w') as store:
        group = zarr.open_group(store, mode='w', zarr_format=2)
        group.create_array('bands', data=np.zeros((64, 4, 3, 2, 2)))
    with pytest.raises(SITSError, match=rf'{name}.*\(64, 4, 3, 2, 2\)'):
        SSL4EOS12(tmp_path)[70]
    name = f'ssl4eos12_val_seasonal_data_{SHARDS["val"][0]}.zarr.zip'
    path = tmp_path / 'ssl4eo-s12/val/S2L2A' / name
    path.unlink()
    with ZipStore(path, mode='w') as store:
        zarr.open_group(store, mode='w', zarr_format=2)
    with pytest.raises(SITSError, match=f'{name}.*bands'):
        SSL4EOS12(tmp_path, 'val')[0]

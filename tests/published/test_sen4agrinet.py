"""Sen4AgriNet, value by value."""

import json

import h5py
import numpy as np
import pytest

from torchgeo_sits.datasets.published import Sen4AgriNet, seconds_of
from torchgeo_sits.errors import SITSError

from .releases.sen4agrinet import BANDS, CODES, PATCHES, SIZE, arrays_of, write_release


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('sen4agrinet'))


@pytest.mark.parametrize('part', ['train', 'val', 'test', 'unlabelled'])
def test_patches_have_all_bands_at_ten_metres(release, part):
    data = Sen4AgriNet(release, part)
    assert data.samples == PATCHES.get(part, [])
    for index, name in enumerate(data.samples):
        bands, days, codes = arrays_of(name)
        order = np.argsort(days, kind='stable')
        expected = np.stack(
            [np.kron(bands[b][order], np.ones((SIZE // bands[b].shape[-1],) * 2)) for b in BANDS],
            axis=1,
        )
        sample = data[index]
        assert np.array_equal(sample['image'].numpy(), expected)
        assert np.array_equal(sample['mask_clear'].numpy(), (expected != 0).any(axis=1))
        start = seconds_of(f'{name[:4]}0101')
        assert sample['acquisition_times'].tolist() == (start + 86_400 * days[order]).tolist()
        assert np.array_equal(sample['mask'].numpy(), np.vectorize(CODES.get)(codes))


@pytest.mark.parametrize(
    'window', [(slice(5, 13), slice(7, 8)), (slice(0, 1), slice(23, 24)), (slice(6, 12), slice(24))]
)
def test_windows_may_begin_within_a_coarse_pixel(release, window):
    data = Sen4AgriNet(release, 'val')
    whole, part = data[0], data.read(0, window)
    assert np.array_equal(part['image'].numpy(), whole['image'][..., window[0], window[1]].numpy())


def test_a_scenario_is_chosen_where_there_are_several(tmp_path):
    write_release(tmp_path, scenarios=('scenario1', 'scenario2'))
    assert len(Sen4AgriNet(tmp_path, 'train', scenario='scenario1')) == 3
    assert len(Sen4AgriNet(tmp_path, 'train', scenario='scenario2')) == 2
    for wrong in ('', 'scenario3'):
        with pytest.raises(SITSError, match=r'scenario1/20210527_coco_train.json'):
            Sen4AgriNet(tmp_path, 'train', scenario=wrong)


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path)
    name = PATCHES['val'][0]
    path = tmp_path / 'data/2020/31TCG' / name
    with h5py.File(path, 'r+') as file:
        file['B03/time'][0] = 300
    with pytest.raises(SITSError, match=f'{name}.*B03 has other dates'):
        Sen4AgriNet(tmp_path, 'val')[0]
    second = PATCHES['val'][1]
    path = tmp_path / 'data/2019/31TBF' / second
    with h5py.File(path, 'r+') as file:
        file['B02/time'].attrs['units'] = 'apples since 2019'
    with pytest.raises(SITSError, match=f'{second}.*apples'):
        Sen4AgriNet(tmp_path, 'val')[1]
    name = PATCHES['test'][0]
    path = tmp_path / 'data/2020/31TCG' / name
    with h5py.File(path, 'r+') as file:
        del file['B05/B05']
        file['B05/B05'] = np.zeros((6, 7, 7))
    with pytest.raises(SITSError, match=f'{name}.*7 pixels'):
        Sen4AgriNet(tmp_path, 'test')[0]
    table = tmp_path / 'coco_files/20210527_coco_test.json'
    for wrong in ('{', json.dumps({'images': [{}]})):
        table.write_text(wrong)
        with pytest.raises(SITSError, match=r'coco_test.json.*no (list|JSON)'):
            Sen4AgriNet(tmp_path, 'test')

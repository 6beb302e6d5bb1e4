"""TreeSatAI-Time-Series, value by value."""

import h5py
import numpy as np
import pytest

from torchgeo_sits.datasets.published import TreeSatAITS, seconds_of
from torchgeo_sits.errors import SITSError

from .releases.treesataits import ONE_ORBIT, PLOTS, arrays_of, genera_of, write_release


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('treesataits'))


def ordered(products, field):
    times = [seconds_of(name.split('_')[field], '%Y%m%dT%H%M%S') for name in products]
    order = np.argsort(times, kind='stable')
    return np.array(times)[order].tolist(), order


@pytest.mark.parametrize('part', ['train', 'val', 'test', 'unlabelled'])
def test_plots_hold_both_sensors_and_their_genera(release, part):
    data = TreeSatAITS(release, part)
    assert data.samples == PLOTS.get(part, [])
    for index, name in enumerate(data.samples):
        sample, arrays = data[index], arrays_of(name)
        times, order = ordered(arrays['sen-2-products'], 2)
        assert sample['acquisition_times'].tolist() == times
        assert np.array_equal(sample['image'].numpy(), arrays['sen-2-data'][order])
        clear = (arrays['sen-2-masks'][order, :2] < 50).all(axis=1)
        assert not clear.all()
        assert np.array_equal(sample['mask_clear'].numpy(), clear)

        products = arrays['sen-1-asc-products'] + arrays['sen-1-des-products']
        values = np.concatenate([arrays['sen-1-asc-data'], arrays['sen-1-des-data']])
        times, order = ordered(products, 4)
        assert len(times) == (4 if name == ONE_ORBIT else 7)
        assert sample['acquisition_times_s1'].tolist() == times
        seen = ~np.isnan(values[order])
        assert np.array_equal(sample['mask_clear_s1'].numpy(), seen.all(axis=1))
        assert np.array_equal(sample['image_s1'].numpy(), np.nan_to_num(values[order]))

        found = {data.classes[i] for i in sample['label'].nonzero()[:, 0].tolist()}
        assert found == {genus for genus, area in genera_of(name) if area >= 0.07}
        assert len(sample['label']) == 15
        assert 'mask' not in sample


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path)
    path = tmp_path / f'sentinel-ts/{PLOTS["val"][0]}.h5'
    path.write_bytes(b'no HDF5')
    with pytest.raises(SITSError, match=path.name):
        TreeSatAITS(tmp_path, 'val')[0]
    path = tmp_path / f'sentinel-ts/{PLOTS["test"][0]}_2018.h5'
    with h5py.File(path, 'r+') as file:
        for key in ('sen-1-des-data', 'sen-2-masks'):
            short = file[key][1:]
            del file[key]
            file[key] = short
    with pytest.raises(SITSError, match=rf'{path.name}.*masks'):
        TreeSatAITS(tmp_path, 'test')[0]
    with pytest.raises(SITSError, match=rf'{path.name}.*\(des\) for 3 products'):
        TreeSatAITS(tmp_path, 'test').read_series_s1(PLOTS['test'][0], (slice(6), slice(6)))
    labels = tmp_path / 'labels/TreeSatBA_v9_60m_multi_labels.json'
    text = labels.read_text()
    labels.write_text(text.replace('Quercus"', 'Sequoia"'))
    with pytest.raises(SITSError, match='Sequoia'):
        TreeSatAITS(tmp_path, 'val')[1]
    labels.write_text(text[:-20])
    with pytest.raises(SITSError, match=r'multi_labels.json.*no (table|JSON)'):
        TreeSatAITS(tmp_path, 'val')[1]
    labels.write_text('{}')
    with pytest.raises(SITSError, match='Quercus_robur_3_9'):
        TreeSatAITS(tmp_path, 'val')[1]
    (tmp_path / 'val_filenames.lst').unlink()
    with pytest.raises(SITSError, match=r'val_filenames.lst.*split.zip'):
        TreeSatAITS(tmp_path, 'val')

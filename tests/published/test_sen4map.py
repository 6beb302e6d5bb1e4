"""Sen4Map, value by value."""

import h5py
import numpy as np
import pytest

from torchgeo_sits.datasets.published import Sen4Map, seconds_of
from torchgeo_sits.errors import SITSError

from .releases.sen4map import POINTS, arrays_of, write_release

#: Classes of codes, of land cover and of crops.
CLASSES = {
    'B11': ('cropland', 'cereals'),
    'B22': ('cropland', 'root crops'),
    'A22': ('bare land', None),
    'C10': ('broadleaved woodland', 'woodland and shrubland'),
    'E20': ('grassland', 'grassland'),
    '': ('no code', None),
    'B55': ('grassland', 'grassland'),
    'A21': ('artificial land', None),
    'C33': ('other woodland', 'woodland and shrubland'),
    'B81': ('cropland', 'woodland and shrubland'),
    'D10': ('shrubland', 'woodland and shrubland'),
    'H11': ('wetlands', None),
    '8': (None, None),
}


@pytest.mark.parametrize('labels', ['land cover', 'crops'])
@pytest.mark.parametrize('part', ['train', 'val', 'test', 'unlabelled'])
def test_points_hold_all_dates_and_the_class_of_their_code(tmp_path, part, labels):
    write_release(tmp_path)
    data = Sen4Map(tmp_path, part, labels=labels)
    points = POINTS.get(part, {})
    assert data.samples == [(f'{part}.h5', name) for name in sorted(points)]
    for index, (_, name) in enumerate(data.samples):
        values, scenes, products = arrays_of(name)
        times = [seconds_of(product[:8]) for product in products]
        order = np.argsort(times, kind='stable')
        sample = data[index]
        assert np.array_equal(sample['image'].numpy(), values[order])
        assert sample['acquisition_times'].tolist() == np.array(times)[order].tolist()
        clear = np.isin(scenes[order], [2, 4, 5, 6, 7])
        assert np.array_equal(sample['mask_clear'].numpy(), clear)
        label = int(sample['label'])
        expected = CLASSES[points[name]][labels == 'crops']
        assert (data.classes[label] if label >= 0 else None) == expected


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path)
    with pytest.raises(SITSError, match='colour'):
        Sen4Map(tmp_path, labels='colour')
    with h5py.File(tmp_path / 'train.h5', 'r+') as file:
        file['4'].attrs['Image_ID'] = ['20180101T1'] * 2
        del file['52/SCL']
    data = Sen4Map(tmp_path)
    with pytest.raises(SITSError, match=r'train.h5., 4: .* go with the products'):
        data[data.samples.index(('train.h5', '4'))]
    with pytest.raises(SITSError, match=r'train.h5.*SCL'):
        data[data.samples.index(('train.h5', '52'))]
    (tmp_path / 'test.h5').unlink()
    with pytest.raises(SITSError, match=r'test.h5'):
        Sen4Map(tmp_path, 'test')

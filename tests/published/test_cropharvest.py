"""CropHarvest, value by value."""

import h5py
import numpy as np
import pytest

from torchgeo_sits.datasets.published import CropHarvest, seconds_of
from torchgeo_sits.errors import SITSError

from .releases.cropharvest import POINTS, array_of, write_release


@pytest.mark.parametrize('labels', ['crop', 'group'])
@pytest.mark.parametrize('part', ['train', 'val', 'test', 'unlabelled'])
def test_points_have_twelve_rows_until_the_date_of_export(tmp_path, part, labels):
    write_release(tmp_path)
    data = CropHarvest(tmp_path, part, labels=labels)
    expected = [
        p for p in POINTS if p[5] and part in ('train', 'test') and p[4] == (part == 'test')
    ]
    assert data.samples == [f'{p[0]}_{p[1]}.h5' for p in expected]
    for position, (index, dataset, is_crop, group, _, _) in enumerate(expected):
        sample = data[position]
        values = array_of(index, dataset).astype(np.float32)
        assert np.array_equal(sample['image'][..., 0, 0].numpy(), values)
        end = seconds_of(f'20{16 + index % 4}0201')
        days = (end - sample['acquisition_times'].numpy()) / 86_400
        assert days.tolist() == list(range(360, 0, -30))
        if labels == 'crop':
            assert sample['label'] == is_crop
        elif is_crop and group is None:
            assert sample['label'] == -1
        else:
            assert data.classes[sample['label']] == (group or 'non_crop')


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path)
    with pytest.raises(SITSError, match='colour'):
        CropHarvest(tmp_path, labels='colour')
    path = tmp_path / 'features/arrays/0_togo.h5'
    path.write_bytes(b'no HDF5')
    with pytest.raises(SITSError, match=r'0_togo.h5'):
        CropHarvest(tmp_path)[0]
    path.unlink()
    with h5py.File(path, 'w') as file:
        file['array'] = np.zeros((12, 17))
    with pytest.raises(SITSError, match=r'0_togo.h5.*\(12, 17\)'):
        CropHarvest(tmp_path, labels='crop')[0]
    table = tmp_path / 'labels.geojson'
    text = table.read_text()
    table.write_text(text.replace('oilseeds', 'stones'))
    with pytest.raises(SITSError, match='stones'):
        CropHarvest(tmp_path, labels='group')[3]
    for wrong in (text[:-9], '[]', text.replace('2018-02', 'soon')):
        table.write_text(wrong)
        with pytest.raises(SITSError, match=r'labels.geojson.*no (table|JSON)'):
            CropHarvest(tmp_path)
    table.unlink()
    with pytest.raises(SITSError, match=r'labels.geojson.*does not exist'):
        CropHarvest(tmp_path)

"""TiSeLaC, value by value."""

import numpy as np
import pytest

from torchgeo_sits.datasets.published import TiSeLaC
from torchgeo_sits.errors import SITSError

from .releases.tiselac import classes_of, values_of, write_release


@pytest.mark.parametrize(('part', 'name'), [('train', 'training'), ('test', 'test')])
def test_rows_are_those_of_the_files(tmp_path, part, name):
    write_release(tmp_path)
    days = [f'2014{month:02}{day:02}' for month in range(1, 13) for day in (3, 19)][:23]
    data = TiSeLaC(tmp_path, part, dates=days[::-1])
    values, classes = values_of(name), classes_of(name)
    assert len(data) == len(values)
    assert data.sample_classes().tolist() == [value - 1 for value in classes]
    for index in range(len(data)):
        sample = data[index]
        assert np.array_equal(sample['image'][..., 0, 0].numpy(), values[index, ::-1])
        assert sample['label'] == classes[index] - 1
        assert sample['acquisition_times'][0] == 1_388_707_200
    assert not len(TiSeLaC(tmp_path, 'val'))
    assert not len(TiSeLaC(tmp_path, 'unlabelled'))


def test_frames_without_dates_are_counted(tmp_path):
    write_release(tmp_path)
    with pytest.warns(UserWarning, match='without dates'):
        sample = TiSeLaC(tmp_path)[0]
    assert sample['acquisition_times'].tolist() == [86_400 * i for i in range(23)]


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path)
    path = tmp_path / 'test.txt'
    text = path.read_text()
    path.write_text(text.partition('\n')[2])
    with pytest.raises(SITSError, match=r'test.txt.* 6 rows'):
        TiSeLaC(tmp_path, 'test')[0]
    path.write_text('x' + text)
    with pytest.raises(SITSError, match=r'test.txt.*no table'):
        TiSeLaC(tmp_path, 'test')[0]
    (tmp_path / 'test_class.txt').unlink()
    with pytest.raises(SITSError, match=r'test_class.txt'):
        TiSeLaC(tmp_path, 'test')

"""BreizhCrops, value by value."""

from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import BreizhCrops
from torchgeo_sits.errors import SITSError

from .releases.breizhcrops import CODES, array_of, write_release


@pytest.mark.parametrize(('level', 'deeper'), [('L1C', ''), ('L2A', 'home/user')])
def test_rows_are_those_of_the_file_in_order_of_time(tmp_path, level, deeper):
    write_release(tmp_path, level=level, deeper=deeper)
    data = BreizhCrops(tmp_path, 'train', level=level)
    assert len(data) == 9
    for index, (region, path, _) in enumerate(data.samples):
        number = int(path[4:-4])
        array = array_of(region, number, level)
        array = array[np.argsort(array[:, 16 if level == 'L1C' else 0], kind='stable')]
        bands = array[:, :13] if level == 'L1C' else array[:, 1:11]
        sample = data[index]
        assert np.array_equal(sample['image'][..., 0, 0].numpy(), bands.astype(np.float32))
        days = array[:, 16 if level == 'L1C' else 0] / 86_400e9
        assert sample['acquisition_times'].tolist() == [86_400 * round(day) for day in days]
        assert sample['label'] == (2 * number) % 9
        first = datetime.fromtimestamp(sample['acquisition_times'][0].item(), UTC)
        assert (first.year, first.hour) == (2017, 0)


def test_regions_are_the_official_split_and_codes_of_no_class_are_left_out(tmp_path):
    write_release(tmp_path)
    regions = {part: {key[0] for key in BreizhCrops(tmp_path, part).samples} for part in
               ('train', 'val', 'test')}  # fmt: skip
    assert regions == {'train': {'frh01', 'frh02'}, 'val': {'frh03'}, 'test': {'frh04'}}
    assert len(CODES) == len(BreizhCrops.classes)


def test_an_index_that_the_authors_loader_has_rewritten_is_read_alike(tmp_path):
    write_release(tmp_path)
    before = BreizhCrops(tmp_path, 'val').samples
    path = tmp_path / '2017/L1C/frh03.csv'
    lines = path.read_text().splitlines()
    rest = [f'{line},0,barley,frh03' for line in lines[1:-1]]
    path.write_text('\n'.join([f'{lines[0]},classid,classname,region', *rest]) + '\n')
    assert BreizhCrops(tmp_path, 'val').samples == before


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path)
    (tmp_path / '2017/L1C').rename(tmp_path / '2017/L2A')
    with pytest.raises(SITSError, match=r'frh01.h5.*is it of level L2A'):
        BreizhCrops(tmp_path, 'train', level='L2A')[0]
    (tmp_path / '2017/L2A/frh04.h5').write_bytes(b'no HDF5')
    with pytest.raises(SITSError, match=r'frh04.h5'):
        BreizhCrops(tmp_path, 'test', level='L2A')[0]
    (tmp_path / '2017/L2A/frh04.csv').write_text('a,b\n1,2\n')
    with pytest.raises(SITSError, match='CODE_CULTU'):
        BreizhCrops(tmp_path, 'test', level='L2A')
    with pytest.raises(SITSError, match='L3'):
        BreizhCrops(tmp_path, level='L3')

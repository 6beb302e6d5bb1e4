"""TimeSen2Crop, value by value."""

import os

import numpy as np
import pytest

from torchgeo_sits.datasets.published import TimeSen2Crop, seconds_of, timesen2crop
from torchgeo_sits.errors import SITSError

from .releases.timesen2crop import CLASSES, TRAIN, dates_of, rows_of, write_release

PIXELS = [(label, number) for label, numbers in CLASSES.items() for number in numbers]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.mark.parametrize(
    ('part', 'tile', 'tiles'),
    [('train', '33UVP', TRAIN), ('val', '33UVP', ['33TWN']), ('test', '33UVP', ['33UVP']),
     ('test', '2019_33UVP', ['2019_33UVP']), ('unlabelled', '33UVP', [])],
)  # fmt: skip
def test_rows_are_those_of_the_files_in_order_of_time(tmp_path, part, tile, tiles):
    write_release(tmp_path)
    data = TimeSen2Crop(tmp_path, part, test_tile=tile)
    expected = [(tile, *pixel) for tile in tiles for pixel in PIXELS]
    assert len(data) == len(expected)
    assert data.sample_classes().tolist() == [label for _, label, _ in expected]
    for index, (of, label, number) in enumerate(expected):
        sample = data[index]
        times = np.array([seconds_of(date) for date in dates_of(of)])
        order = np.argsort(times, kind='stable')
        rows = rows_of(of, label, number)[order]
        assert sample['acquisition_times'].tolist() == times[order].tolist()
        assert np.array_equal(sample['image'][..., 0, 0].numpy(), rows[:, :9])
        assert sample['mask_clear'].flatten().tolist() == (rows[:, 9] == 0).tolist()
        assert sample['label'] == label
        assert data.files(data.samples[index])[0].name == f'{number}.csv'


def test_files_are_read_once_and_again_when_they_change(tmp_path, cache, monkeypatch):
    write_release(tmp_path)
    read = []
    files = timesen2crop._read_files
    monkeypatch.setattr(
        timesen2crop, '_read_files', lambda *args: read.append(args[0].name) or files(*args)
    )
    first = TimeSen2Crop(tmp_path, 'val')[0]['image']
    again = TimeSen2Crop(tmp_path, 'val')
    assert np.array_equal(again[0]['image'], first)
    assert len(again[4]['image'])
    assert read == ['33TWN']
    folder = tmp_path / 'TimeSen2Crop/33TWN/12'
    (folder / '1.csv').rename(folder / '7.csv')
    os.utime(folder, (1, 1))  # a clock that ticks slowly
    assert np.array_equal(TimeSen2Crop(tmp_path, 'val')[0]['image'], first)
    assert read == ['33TWN', '33TWN']
    assert len(list(cache.glob('*.npy'))) == 1


def test_a_cache_that_is_cut_off_or_cannot_be_written_is_no_matter(tmp_path, cache, monkeypatch):
    write_release(tmp_path)
    first = TimeSen2Crop(tmp_path, 'val')[0]['image']
    timesen2crop._mapped.cache_clear()
    (kept,) = cache.glob('*.npy')
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.array_equal(TimeSen2Crop(tmp_path, 'val')[0]['image'], first)
    (tmp_path / 'file').touch()
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'file/cache'))
    data = TimeSen2Crop(tmp_path, 'val')
    with pytest.warns(UserWarning, match=r'33TWN.*TORCHGEO_SITS_CACHE'):
        assert np.array_equal(data[0]['image'], first)
    assert len(data[1]['image'])


def test_values_that_are_no_whole_numbers_are_kept(tmp_path):
    write_release(tmp_path)
    path = tmp_path / 'TimeSen2Crop/33TWN/1/0.csv'
    lines = path.read_text().splitlines()
    lines[1] = '0.5,-3,' + lines[1].split(',', 2)[2]
    path.write_text('\n'.join(lines))
    sample = TimeSen2Crop(tmp_path, 'val')[0]
    first = np.argsort([seconds_of(date) for date in dates_of('33TWN')], kind='stable').tolist()
    assert sample['image'][first.index(0), :2, 0, 0].tolist() == [0.5, -3]


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path)
    folder = tmp_path / 'TimeSen2Crop'
    with pytest.raises(SITSError, match=r'33XXX.*2019_33UVP'):
        TimeSen2Crop(tmp_path, 'test', test_tile='33XXX')
    path = folder / '33UVP/12/1.csv'
    text = path.read_text()
    path.write_text(text.rstrip().rpartition('\n')[0])
    with pytest.raises(SITSError, match=r'12/1.csv.* rows'):
        TimeSen2Crop(tmp_path, 'test')[0]
    path.write_text(text.replace('\n', '\nx', 1))
    with pytest.raises(SITSError, match=r'33UVP/12.*no table'):
        TimeSen2Crop(tmp_path, 'test')[0]
    path.write_text(text.replace('B5', 'B25'))
    with pytest.raises(SITSError, match=r'12/1.csv.*B25'):
        TimeSen2Crop(tmp_path, 'test')[0]
    path.write_text(text)
    (folder / '33UVP/dates.csv').write_text('acquisition_date\n20180101\n')
    with pytest.raises(SITSError, match=r'rows for the 1 dates'):
        TimeSen2Crop(tmp_path, 'test')[0]
    (folder / '33UVP/dates.csv').write_text('acquisition_date\n2018-01-01\n')
    with pytest.raises(SITSError, match=r'dates.csv.*2018-01-01'):
        TimeSen2Crop(tmp_path, 'test')[0]
    (folder / '33TWN').rename(folder / '33ABC')
    with pytest.raises(SITSError, match='33TWN'):
        TimeSen2Crop(tmp_path, 'val')

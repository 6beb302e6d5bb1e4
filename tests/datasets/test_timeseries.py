"""RasterTimeSeries against direct rasterio reads, and against bad input."""

import os
import pickle
import time as clock
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import torch
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject, transform
from torch.utils.data import DataLoader

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datasets import RasterTimeSeries

X0, Y0, RES = 500_000.0, 5_600_000.0, 10.0
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a small raster; by default 2 bands of random uint16 above 0, nodata 0."""

    def write_raster(
        name: str,
        data: np.ndarray | None = None,
        *,
        x: float = X0,
        y: float = Y0,
        res: float = RES,
        crs: str | None = 'EPSG:32631',
        nodata: float | None = 0,
        names: tuple[str, ...] = (),
    ) -> Path:
        if data is None:
            seed = sum(map(ord, name))
            data = np.random.default_rng(seed).integers(1, 9000, (2, 16, 16)).astype('uint16')
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {'count': len(data), 'height': data.shape[1], 'width': data.shape[2]}
        with rasterio.open(
            path,
            'w',
            driver='GTiff',
            dtype=data.dtype,
            crs=crs,
            nodata=nodata,
            transform=from_origin(x, y, res, res),
            **options,
        ) as file:
            file.write(data)
            for i, band in enumerate(names):
                file.set_band_description(i + 1, band)
        return path

    return write_raster


def plain(value: int, shape: tuple[int, ...] = (2, 16, 16)) -> np.ndarray:
    return np.full(shape, value, 'uint16')


def seconds(time: str) -> int:
    return int(np.datetime64(time, 's').astype(int))


def whole(series: RasterTimeSeries) -> dict[str, torch.Tensor]:
    return series[series.bounds]


def test_real_frames_equal_rasterio(stack: Path) -> None:
    files = sorted(stack.glob('*.tif'))
    series = RasterTimeSeries(stack)
    with rasterio.open(files[0]) as first:
        transform, height, width = first.transform, first.height, first.width
    sample = whole(series)
    rows, columns = slice(height // 5, height // 2), slice(width // 3, width - 4)
    left, top = transform @ (columns.start, rows.start)
    right, bottom = transform @ (columns.stop, rows.stop)
    part = series[left:right, bottom:top]
    assert sample['transform'].tolist() == pytest.approx(list(transform), rel=1e-15)
    for i, file in enumerate(files):
        with rasterio.open(file) as source:
            data = source.read()
            seen = (source.read_masks() > 0).all(axis=0)
        expected = np.where(seen, data, 0).astype('float32')
        assert np.array_equal(sample['image'][i].numpy(), expected)
        assert np.array_equal(sample['mask_clear'][i].numpy(), seen)
        assert np.array_equal(part['image'][i].numpy(), expected[:, rows, columns])
        assert np.array_equal(part['mask_clear'][i].numpy(), seen[rows, columns])
        date = file.stem[-8:]
        date = f'{date[:4]}-{date[4:6]}-{date[6:]}'
        assert sample['acquisition_times'][i] == seconds(date)


def test_contract(write: Write, tmp_path: Path) -> None:
    write('a_20200301.tif')
    write('a_20200101.tif')
    sample = whole(RasterTimeSeries(tmp_path))
    assert {key: (value.dtype, value.shape) for key, value in sample.items()} == {
        'image': (torch.float32, (2, 2, 16, 16)),
        'acquisition_times': (torch.int64, (2,)),
        'valid': (torch.bool, (2,)),
        'length': (torch.int64, ()),
        'mask_clear': (torch.bool, (2, 16, 16)),
        'bounds': (torch.float64, (9,)),
        'transform': (torch.float64, (9,)),
        'location': (torch.float32, (2,)),
    }
    assert sample['acquisition_times'].tolist() == [seconds('2020-01-01'), seconds('2020-03-01')]
    assert sample['bounds'][:6].tolist() == [X0, X0 + 160, RES, Y0 - 160, Y0, RES]
    assert sample['bounds'][6] == seconds('2020-01-01')
    (x,), (y,) = transform('EPSG:32631', 'EPSG:4326', [X0 + 80], [Y0 - 80])
    assert sample['location'].tolist() == pytest.approx([y, x], abs=1e-5)
    assert sample['valid'].all()
    assert sample['length'] == 2


def test_bands_by_name_and_order(write: Write, tmp_path: Path) -> None:
    data = np.arange(1, 4, dtype='uint16')[:, None, None] * plain(10, (1, 4, 4))
    write('a_20200101.tif', data, names=('red', 'nir', 'blue'))
    write('a_20200102.tif', data[::-1], names=('blue', 'nir', 'red'))  # another order
    series = RasterTimeSeries(tmp_path, bands=['blue', 'red'])
    assert series.all_bands == ('red', 'nir', 'blue')
    assert whole(series)['image'][:, :, 0, 0].tolist() == [[30, 10], [30, 10]]
    with pytest.raises(ValueError, match=r"unknown bands \['B9'\].*'nir'"):
        RasterTimeSeries(tmp_path, bands=['B9'])


def test_one_file_per_band(write: Write, tmp_path: Path) -> None:
    for date, add in (('20200101', 0), ('20200102', 100)):
        for band, size, value in (('B2', 8, 1), ('B10', 4, 2), ('B8A', 8, 3)):
            data = plain(value + add, (1, size, size))
            write(f'{date}/site_{date}_{band}.tif', data, res=80 / size)
    series = RasterTimeSeries(tmp_path)
    assert series.bands == ('B2', 'B8A', 'B10')
    assert series.res == (10, 10)  # the finest
    assert len(series) == 2
    sample = whole(series)
    assert sample['image'].shape == (2, 3, 8, 8)
    assert sample['image'][:, :, 3, 3].tolist() == [[1, 3, 2], [101, 103, 102]]
    assert sample['mask_clear'].all()

    (tmp_path / '20200102/site_20200102_B8A.tif').unlink()
    with pytest.raises(ValueError, match=r'B8A of 2020-01-02.*site_20200102_\*'):
        RasterTimeSeries(tmp_path)
    with pytest.warns(UserWarning, match='1 of 2 products lack a band'):
        assert len(RasterTimeSeries(tmp_path, unreadable='skip')) == 1
    assert len(RasterTimeSeries(tmp_path, bands=['B2'])) == 2


def test_tiles_of_a_day_are_one_frame(write: Write, tmp_path: Path) -> None:
    hole = plain(7)
    hole[0, 2, 3] = 0  # nodata in one band
    write('a_20200101T101010.tif', hole)
    write('b_20200101T101030.tif', plain(9))
    write('c_20200101T101030.tif', plain(5), x=X0 + 160)  # touches the window only
    series = RasterTimeSeries(tmp_path)
    sample = series[X0 : X0 + 160, Y0 - 160 : Y0]
    assert len(sample['image']) == 1
    expected = plain(7)
    expected[:, 2, 3] = 9
    assert np.array_equal(sample['image'][0].numpy(), expected)
    assert sample['mask_clear'].all()
    assert sample['acquisition_times'].tolist() == [seconds('2020-01-01T10:10:10')]
    passes = RasterTimeSeries(tmp_path, group_by='time')
    assert len(whole(passes)['image']) == 2
    # The right half is seen by c, the left one by a and b: all in one frame.
    assert whole(series)['mask_clear'].shape == (1, 16, 32)
    assert whole(series)['mask_clear'].all()


def test_touching_tiles_of_other_days_are_left_out(write: Write, tmp_path: Path) -> None:
    write('a_20200101.tif')
    write('b_20200102.tif', x=X0 + 160)
    write('c_20200103.tif', y=Y0 + 160)
    series = RasterTimeSeries(tmp_path)
    sample = series[X0 : X0 + 160, Y0 - 160 : Y0]
    assert sample['acquisition_times'].tolist() == [seconds('2020-01-01')]


def test_partial_cover_nodata_and_nan(write: Write, tmp_path: Path) -> None:
    data = np.ones((1, 4, 4), 'float32')
    data[0, 1, 2] = np.nan
    write('a_20200101.tif', data, nodata=None)
    write('a_20200102.tif', np.full((1, 4, 4), -5, 'float32'), nodata=-5)
    series = RasterTimeSeries(tmp_path)
    sample = series[X0 - 20 : X0 + 40, Y0 - 50 : Y0]
    seen = np.zeros((5, 6), bool)
    seen[:4, 2:] = True
    seen[1, 4] = False
    assert np.array_equal(sample['mask_clear'][0].numpy(), seen)
    assert np.array_equal(sample['image'][0, 0].numpy(), seen.astype('float32'))
    assert not sample['mask_clear'][1].any()  # a wholly empty frame stays, and says so
    assert not sample['image'][1].any()
    # An override replaces what the files say.
    assert not RasterTimeSeries(tmp_path, nodata=1)[series.bounds]['mask_clear'][0].any()


def test_min_clear(write: Write, tmp_path: Path) -> None:
    half = plain(5)
    half[:, :8] = 0
    write('a_20200101.tif', half)
    write('a_20200102.tif', plain(5))
    write('a_20200103.tif', plain(0))
    sample = whole(RasterTimeSeries(tmp_path, min_clear=0.6))
    assert sample['acquisition_times'].tolist() == [seconds('2020-01-02')]
    assert sample['length'] == 1
    (tmp_path / 'a_20200102.tif').unlink()
    assert len(whole(RasterTimeSeries(tmp_path, min_clear=0.6))['image']) == 1  # the clearest
    (tmp_path / 'a_20200101.tif').unlink()
    write('a_20200104.tif', plain(0))  # none is clear at all: one is kept, not both
    assert len(whole(RasterTimeSeries(tmp_path, min_clear=0.6))['image']) == 1


@pytest.fixture(params=['UTC', 'America/Los_Angeles', 'Pacific/Kiritimati'])
def local_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv('TZ', request.param)
    clock.tzset()
    yield
    monkeypatch.undo()
    clock.tzset()


@pytest.mark.usefixtures('local_zone')
def test_time_windows(write: Write, tmp_path: Path) -> None:
    for date in ('20200101T233000', '20200102', '20200103', '20200104'):
        write(f'a_{date}.tif', plain(1))
    series = RasterTimeSeries(tmp_path)

    def days(start: object, stop: object, step: int | None = None) -> list[int]:
        sample = series[:, :, slice(start, stop, step)]
        dates = pd.to_datetime(sample['acquisition_times'].numpy(), unit='s')
        return dates.day.tolist()

    stamp = pd.Timestamp
    assert days(None, None) == [1, 2, 3, 4]
    assert days(None, None, 2) == [1, 3]
    assert days(stamp('2020-01-02'), stamp('2020-01-04')) == [2, 3]  # the end is excluded
    assert days(stamp('2020-01-02'), stamp('2020-01-02')) == [2]  # an instant is not
    assert days(stamp('2020-01-01 12:00'), stamp('2020-01-01 12:00')) == [1]
    interval = series.index.index[1]
    assert days(interval.left, interval.right) == [2]
    # 23:30 UTC is the next day already further east, and the same instant.
    east = stamp('2020-01-02 01:00', tz='Europe/Berlin')
    assert days(east - pd.Timedelta(hours=1), east) == [1]
    assert days(pd.Timestamp('2020-01-02 00:30').to_pydatetime(), None) == [3, 4]
    with pytest.raises(IndexError, match=r'no acquisition.*spans'):
        series[:, :, stamp('2021-01-01') : stamp('2021-02-01')]
    sample = series[:, :, stamp('2020-01-02') : stamp('2020-01-03')]
    assert sample['bounds'][6:8].tolist() == [seconds('2020-01-02'), seconds('2020-01-03')]


def test_window_outside(write: Write, tmp_path: Path) -> None:
    write('a_20200101.tif')
    series = RasterTimeSeries(tmp_path)
    with pytest.raises(IndexError, match=r'no acquisition.*500000'):
        series[0:100, 0:100]
    with pytest.raises(ValueError, match='less than a pixel'):
        series[X0 : X0 + 1, Y0 - 1 : Y0]


def test_windows_off_the_grid_move_onto_it(write: Write, tmp_path: Path) -> None:
    path = write('a_20200101.tif', x=X0 + 3.3, y=Y0 + 1.1)  # no multiple of the pixel size
    sample = RasterTimeSeries(tmp_path)[X0 + 20 : X0 + 60, Y0 - 60 : Y0 - 20]
    with rasterio.open(path) as source:
        expected = source.read()[:, 2:6, 2:6]
    assert np.array_equal(sample['image'][0].numpy(), expected)
    assert sample['bounds'][[0, 4]].tolist() == pytest.approx([X0 + 23.3, Y0 - 18.9], abs=1e-6)
    assert sample['transform'][[2, 5]].tolist() == pytest.approx([X0 + 23.3, Y0 - 18.9], abs=1e-6)


def test_warp_keeps_borders_apart_from_data(write: Write, tmp_path: Path) -> None:
    data = plain(500)
    data[0, :8, :8] = 0  # nodata in the first band only
    write('a_20200101.tif', plain(500))
    path = write('b_20200102.tif', data, crs='EPSG:32632', x=76_000, y=5_620_000)
    write('c_20200103.tif', plain(300), crs='EPSG:32632', x=76_000, y=5_620_000, nodata=None)
    with pytest.warns(UserWarning, match='2 of 3 rasters are in another CRS'):
        series = RasterTimeSeries(tmp_path)
    row = series.index.geometry.iloc[1]
    left, bottom, right, top = (round(v, -1) for v in row.bounds)
    sample = series[left:right, bottom:top]
    assert len(sample['image']) == 2
    transform = rasterio.Affine(*sample['transform'].tolist()[:6])
    shape = sample['mask_clear'].shape[1:]
    with rasterio.open(path) as source:
        seen = np.zeros(shape, 'uint8')
        reproject(
            (source.read(1) > 0).astype('uint8'),
            seen,
            src_transform=source.transform,
            src_crs=source.crs,
            dst_transform=transform,
            dst_crs='EPSG:32631',
            resampling=Resampling.nearest,
        )
    clear = sample['mask_clear'][0].numpy()
    assert (clear != (seen > 0)).mean() < 0.15  # the kernels differ along the border only
    assert 0.5 < clear.mean() < 1
    # No pixel is a blend of data and nodata.
    assert (sample['image'][0][:, sample['mask_clear'][0]] == 500).all()
    assert not sample['image'][0][:, ~sample['mask_clear'][0]].any()
    assert 0.6 < sample['mask_clear'][1].float().mean() < 1
    assert (sample['image'][1][:, sample['mask_clear'][1]] == 300).all()


def test_clouds(write: Write, tmp_path: Path) -> None:
    for date in ('20200101', '20200102', '20200103'):
        write(f'images/a_{date}.tif', plain(100))
    scl = np.full((1, 8, 8), 4, 'uint8')
    scl[0, 0, 0] = 9  # one mask pixel of 20 m is four of the image
    scl[0, 1, 1] = 0
    write('masks/a_SCL_20200101.tif', scl, res=20)
    write('masks/a_SCL_20200103.tif', scl[:, :, :4] * 0 + 4, res=20)  # covers the left half
    options = {'cloud_paths': tmp_path / 'masks', 'clear_values': (4, 5)}
    with pytest.warns(UserWarning, match='1 of 3 acquisitions have no cloud mask.*2020-01-02'):
        series = RasterTimeSeries(tmp_path / 'images', **options)
    clear = whole(series)['mask_clear'].numpy()
    expected = np.ones((3, 16, 16), bool)
    expected[0, 0:2, 0:2] = expected[0, 2:4, 2:4] = False
    expected[2, :, 8:] = False  # not known to be clear
    assert np.array_equal(clear, expected)
    assert (whole(series)['image'] == 100).all()  # clouds keep their values

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        inside = RasterTimeSeries(tmp_path, **options)  # masks below the images' own folder
    assert len(inside) == 3
    with pytest.warns(UserWarning, match='1 of 3'):  # SCL is known by its name
        known = RasterTimeSeries(tmp_path / 'images', cloud_paths=tmp_path / 'masks')
    assert np.array_equal(whole(known)['mask_clear'].numpy(), expected)
    write('plain/a_20200101.tif', scl, res=20)
    with pytest.raises(ValueError, match='needs clear_values or cloud_bits'):
        RasterTimeSeries(tmp_path / 'images', cloud_paths=tmp_path / 'plain')
    write('late/a_SCL_20210101.tif', scl, res=20)
    with pytest.raises(ValueError, match='none of 1 cloud masks'):
        RasterTimeSeries(tmp_path / 'images', cloud_paths=tmp_path / 'late', clear_values=(4,))


def test_bad_folders(write: Write, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='nowhere'):
        RasterTimeSeries(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'no rasters.*empty'):
        RasterTimeSeries(tmp_path / 'empty')
    write('undated/dem.tif')
    with pytest.raises(ValueError, match=r'no date found.*dem\.tif.*filename_regex'):
        RasterTimeSeries(tmp_path / 'undated')
    write('undated/a_20200101.tif')
    with pytest.warns(UserWarning, match='1 rasters without a date'):
        assert len(RasterTimeSeries(tmp_path / 'undated')) == 1
    write('counts/a_20200101.tif')
    write('counts/b_20200102.tif', plain(1, (3, 4, 4)))
    with pytest.raises(ValueError, match=r'a_20200101.tif. has 2, .*b_20200102.tif. has 3'):
        RasterTimeSeries(tmp_path / 'counts')
    write('nowhere_on_earth/a_20200101.tif', crs=None)
    with pytest.raises(ValueError, match='no coordinate reference system'):
        RasterTimeSeries(tmp_path / 'nowhere_on_earth')


def test_unreadable_files(write: Write, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(1, 9000, (2, 64, 64)).astype('uint16')
    write('a_20200101.tif', noise)
    cut = write('a_20200102.tif', noise)
    with open(cut, 'r+b') as file:
        file.truncate(cut.stat().st_size // 2)
    (tmp_path / 'a_20200103.tif').write_text('this is no raster')
    with pytest.raises(OSError, match=r'1 of 3 rasters cannot be opened: .*a_20200103\.tif'):
        RasterTimeSeries(tmp_path)
    with pytest.warns(UserWarning, match=r'1 of 3 rasters cannot be opened.*a_20200103\.tif'):
        series = RasterTimeSeries(tmp_path, unreadable='skip')
    with pytest.warns(UserWarning, match=r'1 rasters cannot be read.*a_20200102\.tif'):
        sample = whole(series)
    assert sample['mask_clear'].all(dim=(1, 2)).tolist() == [True, False]
    assert not sample['image'][1].any()
    (tmp_path / 'a_20200103.tif').unlink()
    with pytest.raises(OSError, match=r'a_20200102\.tif.*truncated'):
        whole(RasterTimeSeries(tmp_path))


def test_workers_read_what_rasterio_reads(write: Write, tmp_path: Path) -> None:
    paths = [write(f'a_202001{day:02d}.tif', _noise(day)) for day in range(1, 13)]
    series = RasterTimeSeries(tmp_path)
    # Handles and threads are there when the workers start, and most strips are still to read.
    series[X0 : X0 + 20, Y0 - 20 : Y0]
    windows = [
        (slice(X0 + 10 * i, X0 + 10 * i + 320), slice(Y0 - 640, Y0 - 10 * i)) for i in range(24)
    ]
    loader = DataLoader(
        series,
        sampler=windows,
        batch_size=None,
        num_workers=2,
        multiprocessing_context='fork',
    )
    expected = np.stack([rasterio.open(path).read() for path in paths]).astype('float32')
    count = 0
    for i, sample in enumerate(loader):
        assert np.array_equal(sample['image'].numpy(), expected[:, :, i:, i : i + 32])
        count += 1
    assert count == 24


def test_pickle_takes_no_handles(write: Write, tmp_path: Path) -> None:
    write('a_20200101.tif')
    series = RasterTimeSeries(tmp_path, cloud_paths=write('m/a_20200101.tif'), clear_values=(1,))
    sample = whole(series)  # handles, threads and locks are there: a spawned worker gets none
    copy = pickle.loads(pickle.dumps(series))
    series.close()
    assert _open_rasters(tmp_path) == 0
    assert torch.equal(whole(copy)['image'], sample['image'])
    assert torch.equal(whole(copy)['mask_clear'], sample['mask_clear'])


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 9000, (2, 64, 64)).astype('uint16')


def test_handles_stay_within_the_limit_and_close(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(1, 13):
        write(f'a_202001{day:02d}.tif')
    monkeypatch.setattr('torchgeo_sits.datasets.reading._open_files_limit', lambda: 4)
    series = RasterTimeSeries(tmp_path)
    first = whole(series)
    assert _open_rasters(tmp_path) <= 4
    series.close()
    assert _open_rasters(tmp_path) == 0
    assert torch.equal(first['image'], whole(series)['image'])


def _open_rasters(folder: Path) -> int:
    links = [os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')]
    return sum(link.startswith(str(folder)) for link in links)


def test_series_of_different_length_collate(write: Write, tmp_path: Path) -> None:
    write('a_20200101.tif')
    write('a_20200102.tif')
    series = RasterTimeSeries(tmp_path)
    one = series[:, :, pd.Timestamp('2020-01-01') : pd.Timestamp('2020-01-02')]
    batch = pad_time([whole(series), one])
    assert batch['valid'].tolist() == [[True, True], [True, False]]


def test_subclass_as_in_torchgeo(write: Write, tmp_path: Path) -> None:
    write('scene-01.02.20-x.tif')
    write('other_20200101.tif')

    class Mine(RasterTimeSeries):
        filename_glob = 'scene*'
        filename_regex = r'scene-(?P<date>\d\d\.\d\d\.\d\d)'
        date_format = '%d.%m.%y'
        all_bands = ('red', 'nir')

    series = Mine(tmp_path, bands=['nir'])
    assert len(series) == 1
    assert whole(series)['acquisition_times'].tolist() == [seconds('2020-02-01')]


def test_plot(write: Write, tmp_path: Path) -> None:
    write('a_20200101.tif', names=('red', 'nir'))
    figure = (series := RasterTimeSeries(tmp_path)).plot(whole(series))
    assert figure.axes[0].get_title() == '2020-01-01'


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_unobserved(
    write: Write, tmp_path: Path, value: float
) -> None:
    data = np.ones((2, 16, 16), 'float32')
    data[1, 3, 4] = value
    write('a_20200101.tif', data, nodata=None)
    sample = whole(RasterTimeSeries(tmp_path))
    assert (~sample['mask_clear']).nonzero().tolist() == [[0, 3, 4]]
    assert sample['image'].isfinite().all()


def test_cloud_masks_of_another_place_are_refused(write: Write, tmp_path: Path) -> None:
    write('images/a_20200101.tif')
    write('masks/a_SCL_20200101.tif', plain(4, (1, 16, 16)), x=X0 + 5000)
    options = {'cloud_paths': tmp_path / 'masks', 'clear_values': (4,)}
    with pytest.raises(ValueError, match=r'none of 1 cloud masks.*lies where the images do'):
        RasterTimeSeries(tmp_path / 'images', **options)


def test_bounds_follow_resolution_and_crs(write: Write, tmp_path: Path) -> None:
    write('a_20200101.tif')
    series = RasterTimeSeries(tmp_path)
    before = series.bounds
    series.res = 20
    assert (series.bounds[0].step, series.bounds[1].step) == (20, 20)
    assert series[series.bounds]['image'].shape[-2:] == (8, 8)
    series.crs = pyproj.CRS.from_epsg(32632)
    assert series.bounds[0] != before[0]
    assert series.bounds[0].start == series.index.total_bounds[0]


def test_spans_of_any_length(write: Write, tmp_path: Path) -> None:
    write('a_20200101.tif')
    series = RasterTimeSeries(tmp_path)
    for start, stop in (('1600-01-01', '3000-01-01'), ('2020-01-01', '9999-12-31')):
        part = series[:, :, pd.Timestamp(start) : pd.Timestamp(stop)]
        assert len(part['image']) == 1

"""Cubes against the rasters that they were made of."""

import pickle
from collections.abc import Callable
from pathlib import Path

import geopandas
import google_crc32c
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
import zarr
from rasterio.transform import from_origin
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, random_bbox_assignment, time_series_split

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datasets import (
    Frames,
    RasterTimeSeries,
    Sentinel2TimeSeries,
    TimeSeries,
    ZarrTimeSeries,
    verify_cube,
    write_cube,
)
from torchgeo_sits.datasets.cubes import CubeStore
from torchgeo_sits.grid import Grid
from torchgeo_sits.samplers import GriddedSeriesPatchSampler, RandomDateCountSampler

X0, Y0, RES = 500_000.0, 5_600_000.0, 10.0
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a raster; by default 2 bands of random uint16, a few of them nodata."""

    def write_raster(
        name: str,
        data: np.ndarray | None = None,
        *,
        x: float = X0,
        y: float = Y0,
        res: float = RES,
        crs: str = 'EPSG:32631',
        nodata: float | None = 0,
    ) -> Path:
        if data is None:
            generator = np.random.default_rng(sum(map(ord, name)))
            data = generator.integers(1, 9000, (2, 40, 48)).astype('uint16')
            data[:, generator.random((40, 48)) < 0.1] = 0
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {'count': len(data), 'height': data.shape[1], 'width': data.shape[2]}
        options |= {'dtype': data.dtype, 'crs': crs, 'nodata': nodata}
        transform = from_origin(x, y, res, res)
        with rasterio.open(path, 'w', driver='GTiff', transform=transform, **options) as file:
            file.write(data)
        return path

    return write_raster


def read(series: RasterTimeSeries | ZarrTimeSeries, window: tuple[slice, ...]) -> dict | None:
    try:
        return series[window]
    except IndexError:
        return None


def assert_equal(
    cube: ZarrTimeSeries, series: RasterTimeSeries, *, windows: int = 20, seed: int = 0
) -> None:
    """Samples agree bit for bit: of everything, and of random windows, also beyond the border."""
    generator = np.random.default_rng(seed)
    x, y, t = series.bounds
    assert cube.bounds == series.bounds
    days = pd.date_range(t.start, t.stop, periods=50)
    places = [(x, y, t)]
    for _ in range(windows):
        corner = generator.uniform(-0.3, 1.0, 2)
        left = x.start + corner[0] * (x.stop - x.start)
        bottom = y.start + corner[1] * (y.stop - y.start)
        height, width = generator.integers(1, 70, 2)
        right, top = left + width * x.step, bottom + height * y.step
        first, last = sorted(generator.choice(len(days), 2))
        when = slice(days[first], days[last], int(generator.integers(1, 4)))
        places.append((slice(left, right), slice(bottom, top), when))
    found = 0
    for window in places:
        ours, wanted = read(cube, window), read(series, window)
        if wanted is None:
            assert ours is None, window
            continue
        found += 1
        assert ours is not None, window
        assert ours.keys() == wanted.keys()
        for key, value in wanted.items():
            assert ours[key].dtype == value.dtype
            if key in ('bounds', 'transform'):  # snapped to the grid by other sums
                torch.testing.assert_close(ours[key], value, rtol=1e-12, atol=1e-6)
            else:
                assert torch.equal(ours[key], value), (key, window)
    assert found > 2


def test_samples_equal_those_of_real_rasters(tmp_path: Path, stack: Path) -> None:
    series = RasterTimeSeries(stack)
    assert write_cube(series, tmp_path / 'c.zarr') > 0
    cube = ZarrTimeSeries(tmp_path / 'c.zarr')
    assert cube.bands == series.bands
    assert len(cube) == len(series)
    assert_equal(cube, series)
    channels = list(range(len(series.bands)))[::-2]
    some = ZarrTimeSeries(tmp_path / 'c.zarr', bands=[series.bands[i] for i in channels])
    sample = series[series.bounds]
    assert torch.equal(some[some.bounds]['image'], sample['image'][:, channels])
    assert torch.equal(some[some.bounds]['mask_clear'], sample['mask_clear'])


def test_clouds_and_offsets_of_sentinel_2(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / 'wc_be_a'
    series = Sentinel2TimeSeries(root / 's2', cloud_paths=root / 'scl', offset=-1000, nodata=0)
    write_cube(series, tmp_path / 'c.zarr')
    assert verify_cube(series, tmp_path / 'c.zarr') == 1
    assert_equal(ZarrTimeSeries(tmp_path / 'c.zarr'), series)
    series.min_clear = 0.7
    assert_equal(ZarrTimeSeries(tmp_path / 'c.zarr', min_clear=0.7), series)
    with pytest.raises(ValueError, match=r'min_clear=0\.7'):
        write_cube(series, tmp_path / 'd.zarr')


def test_offsets_by_product(write: Write, tmp_path: Path) -> None:
    for date, baseline in (('20210801', 'N0208'), ('20220801', 'N0400')):
        folder = f'in/S2A_MSIL2A_{date}T105031_{baseline}_R051_T31UES_{date}T135120.SAFE'
        for band in ('B02', 'B04'):
            data = np.random.default_rng(1).integers(0, 3000, (1, 40, 48)).astype('uint16')
            write(f'{folder}/T31UES_{date}T105031_{band}_10m.tif', data)
    # Two products of one day whose baselines, and so their offsets, differ.
    folder = 'in/S2B_MSIL2A_20210801T105031_N0500_R051_T31UES_20210801T135120.SAFE'
    for band in ('B02', 'B04'):
        data = np.random.default_rng(2).integers(900, 3000, (1, 40, 48)).astype('uint16')
        write(f'{folder}/T31UES_20210801T105031_{band}_10m.tif', data)
    series = Sentinel2TimeSeries(tmp_path / 'in')
    write_cube(series, tmp_path / 'c.zarr')
    cube = ZarrTimeSeries(tmp_path / 'c.zarr')
    assert cube[cube.bounds]['image'].min() < 0  # below the offset, and kept so
    assert_equal(cube, series)
    assert verify_cube(series, tmp_path / 'c.zarr') == 1


@pytest.mark.parametrize('dtype', ['int16', 'uint8', 'float32', 'float64', 'int32'])
def test_types(write: Write, tmp_path: Path, dtype: str) -> None:
    for day in (1, 2, 5):
        data = np.random.default_rng(day).normal(100, 50, (2, 40, 48))
        if dtype.startswith('float'):
            data[:, 3, 4] = np.nan
        write(f'in/a_2020010{day}.tif', data.clip(0, 250).astype(dtype))
    series = RasterTimeSeries(tmp_path / 'in')
    write_cube(series, tmp_path / 'c.zarr')
    assert_equal(ZarrTimeSeries(tmp_path / 'c.zarr'), series)


@pytest.mark.parametrize('group_by', ['day', 'time'])
def test_tiles_become_one_cube(write: Write, tmp_path: Path, group_by: str) -> None:
    write('in/a_20200101T101010.tif')
    write('in/b_20200101T101010.tif', x=X0 + 480, y=Y0 + 100)  # leaves corners free
    write('in/b_20200103T101010.tif', x=X0 + 480, y=Y0 + 100)
    write('in/a_20200103T201010.tif')
    write('in/c_20200103T101010.tif')  # the same place in the same minute
    series = RasterTimeSeries(tmp_path / 'in', group_by=group_by)
    write_cube(series, tmp_path / 'c.zarr')
    cube = ZarrTimeSeries(tmp_path / 'c.zarr', group_by=group_by)
    assert len(cube) == (2 if group_by == 'day' else 3)
    x, y, _ = series.bounds
    sample = cube[x, y]
    assert sample['image'].shape[-2:] == (50, 96)
    assert torch.equal(sample['image'], series[x, y]['image'])
    # Where a tile has no pixels at all its dates are left out, as they are of the rasters.
    west = (slice(X0, X0 + 480), slice(Y0 - 400, Y0 - 200))
    assert torch.equal(cube[west]['acquisition_times'], series[west]['acquisition_times'])
    east = (slice(X0 + 480, X0 + 960), slice(Y0 - 200, Y0 + 100))
    assert torch.equal(cube[east]['image'], series[east]['image'])


def test_cubes_of_tiles_are_merged_as_tiles_are(write: Write, tmp_path: Path) -> None:
    for tile, shift in (('a', 0), ('b', 240)):  # half of each covers the other
        for day in ('20200101', '20200103') if tile == 'a' else ('20200103', '20200104'):
            write(f'{tile}/{tile}_{day}.tif', x=X0 + shift)
            mask = np.random.default_rng(int(day)).integers(1, 3, (1, 40, 48)).astype('uint8')
            write(f'm{tile}/{tile}_{day}.tif', mask, x=X0 + shift)
    clouds = {'clear_values': (1,)}
    for tile in 'ab':
        one = RasterTimeSeries(tmp_path / tile, cloud_paths=tmp_path / f'm{tile}', **clouds)
        write_cube(one, tmp_path / 'cubes' / f'{tile}.zarr')
    cubes = ZarrTimeSeries(tmp_path / 'cubes')
    assert [Path(path).name for path in cubes.files] == ['a.zarr', 'b.zarr']
    both = RasterTimeSeries([tmp_path / 'a', tmp_path / 'b'])
    x, y, _ = both.bounds
    ours, wanted = cubes[x, y], both[x, y]
    assert torch.equal(ours['image'], wanted['image'])
    assert torch.equal(ours['acquisition_times'], wanted['acquisition_times'])
    # Clear is what the cube says whose pixel it is, though the other one saw it clearly.
    a, b = (ZarrTimeSeries(tmp_path / 'cubes' / f'{tile}.zarr') for tile in 'ab')
    first, second = a[x, y], b[x, y]
    seen = (first['image'][1] > 0).all(dim=0)
    assert torch.equal(
        ours['mask_clear'][1], torch.where(seen, first['mask_clear'][1], second['mask_clear'][0])
    )


def test_passes_of_a_day_are_merged_when_they_are_read(write: Write, tmp_path: Path) -> None:
    write('in/a_20200101T101010.tif')
    write('in/a_20200101T201010.tif')
    write('in/a_20200102T101010.tif')
    write_cube(RasterTimeSeries(tmp_path / 'in', group_by='time'), tmp_path / 'c.zarr')
    assert_equal(
        ZarrTimeSeries(tmp_path / 'c.zarr', group_by='day'), RasterTimeSeries(tmp_path / 'in')
    )


def test_warped_rasters(write: Write, tmp_path: Path) -> None:
    write('in/a_20200101.tif')
    write('in/b_20200102.tif', crs='EPSG:32632', x=76_000, y=5_620_000)
    with pytest.warns(UserWarning, match='another CRS'):
        series = RasterTimeSeries(tmp_path / 'in')
    write_cube(series, tmp_path / 'c.zarr')
    assert verify_cube(series, tmp_path / 'c.zarr')
    cube = ZarrTimeSeries(tmp_path / 'c.zarr')
    left, _, _, top = cube._stores[0].grid.bounds
    height, width = cube._stores[0].grid.height, cube._stores[0].grid.width
    window = slice(left, left + 10 * width), slice(top - 10 * height, top)
    ours, wanted = cube[window], series[window]
    assert torch.equal(ours['image'], wanted['image'])
    assert torch.equal(ours['mask_clear'], wanted['mask_clear'])
    coarse = RasterTimeSeries(tmp_path / 'in', crs='EPSG:4326', res=2e-4)
    write_cube(coarse, tmp_path / 'd.zarr')
    assert verify_cube(coarse, tmp_path / 'd.zarr')
    cube = ZarrTimeSeries(tmp_path / 'd.zarr')
    assert torch.equal(cube[cube.bounds]['image'], coarse[coarse.bounds]['image'])


def test_long_series_have_several_chunks_of_dates(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torchgeo_sits.datasets.cubes.layout.CHUNK_TIMES', 4)
    for day in range(1, 11):
        write(f'in/a_202001{day:02d}.tif')
    series = RasterTimeSeries(tmp_path / 'in')
    write_cube(series, tmp_path / 'c.zarr')
    assert_equal(ZarrTimeSeries(tmp_path / 'c.zarr'), series)


def test_windows_are_those_that_zarr_reads(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torchgeo_sits.datasets.threads._available_threads', lambda: 3)
    monkeypatch.setattr('torchgeo_sits.datasets.cubes.layout.CHUNK_TIMES', 3)
    monkeypatch.setattr('torchgeo_sits.datasets.cubes.layout.SHARD_SIDE', 64)
    generator = np.random.default_rng(0)
    for day in range(1, 9):
        data = generator.integers(0, 9000, (4, 100, 140)).astype('uint16')
        write(f'in/a_202001{day:02d}.tif', data)

    class Scaled(RasterTimeSeries):
        scale = 3e-4

    write_cube(Scaled(tmp_path / 'in'), tmp_path / 'c.zarr')
    store = CubeStore(str(tmp_path / 'c.zarr'))
    group = zarr.open_group(tmp_path / 'c.zarr', mode='r')
    border = ((0, 0), (50, 50), (50, 50))
    clear = np.pad(group['mask_clear'][...], border)
    image = np.pad(group['image'][...], (border[0], *border))
    for _ in range(60):
        frames = np.flatnonzero(generator.random(8) < generator.choice([0.3, 1.1]))
        if not len(frames):
            continue
        channels = generator.permutation(4)[: generator.integers(1, 5)].tolist()
        row, column = generator.integers(-50, [110, 150]).tolist()
        height, width = generator.integers(1, 40, 2).tolist()
        place = slice(row + 50, row + 50 + height), slice(column + 50, column + 50 + width)
        for scaled in (False, True):
            found = store.read(frames, channels, row, column, height, width, scaled=scaled)
            wanted = image[frames][:, channels][..., *place]
            if scaled:
                wanted = wanted.astype(np.float32) * np.float32(3e-4)
            assert found.values.dtype == wanted.dtype
            assert np.array_equal(found.values, wanted)
            assert np.array_equal(found.clear, clear[frames][..., *place])
            assert found.scale == (1 if scaled else 3e-4)


def test_chunks_that_lie_about_their_size_are_refused(write: Write, tmp_path: Path) -> None:
    write('in/a_20200101.tif')
    write_cube(RasterTimeSeries(tmp_path / 'in'), tmp_path / 'c.zarr')
    series = ZarrTimeSeries(tmp_path / 'c.zarr')
    (shard,) = (path for path in (tmp_path / 'c.zarr/image/c').rglob('*') if path.is_file())
    whole = shard.read_bytes()
    index = np.frombuffer(whole[:-4][-4 * 16 :], '<u8').reshape(4, 2)
    first, size = index[0].tolist()

    def checked(data: bytes) -> bytes:
        return data + google_crc32c.value(data).to_bytes(4, 'little')

    def with_header(place: int, value: int) -> bytes:
        chunk = bytearray(whole[first : first + size - 4])
        chunk[place : place + 4] = value.to_bytes(4, 'little')
        return whole[:first] + checked(bytes(chunk)) + whole[first + size :]

    far = index.copy()
    far[0] = 16, 2**62
    broken = {
        'more pixels': with_header(4, 2**30),
        'fewer pixels': with_header(4, 16),
        'more bytes': with_header(12, 2**30),
        'an index beyond the file': whole[: -4 * 16 - 4] + checked(far.tobytes()),
    }
    for name, content in broken.items():
        shard.write_bytes(content)
        with pytest.raises(OSError, match='missing or broken') as refusal:
            series[series.bounds]
        assert str(shard) in str(refusal.value), name
    shard.write_bytes(whole)
    assert series[series.bounds]['image'].any()


def test_arrays_that_others_coded_anew_are_read_by_zarr(write: Write, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for day in range(1, 5):
        data = generator.integers(0, 9000, (4, 60, 50)).astype('uint16')
        write(f'in/a_202001{day:02d}.tif', data)

    class Scaled(RasterTimeSeries):
        scale = 3e-4

    write_cube(Scaled(tmp_path / 'in'), tmp_path / 'c.zarr')
    group = zarr.open_group(tmp_path / 'c.zarr', mode='r+')
    old = group['image']
    pixels, attributes = old[...], old.attrs.asdict()
    del group['image']
    new = group.create_array(
        'image',
        shape=pixels.shape,
        chunks=(1, 4, 32, 32),
        dtype=pixels.dtype,
        attributes=attributes,
    )  # Zstandard, no shards
    new[...] = pixels
    zarr.consolidate_metadata(group.store)
    store = CubeStore(str(tmp_path / 'c.zarr'))
    window = {'row': 20, 'column': 30, 'height': 50, 'width': 10}
    found = store.read(np.array([0, 3]), [2, 0], **window, scaled=True)
    wanted = pixels[[0, 3]][:, [2, 0], 20:, 30:40].astype(np.float32) * np.float32(3e-4)
    assert np.array_equal(found.values[..., :40, :], wanted)
    assert not found.values[..., 40:, :].any()  # beyond the cube
    next(path for path in (tmp_path / 'c.zarr/image/c').rglob('*') if path.is_file()).write_bytes(
        b'broken'
    )
    with pytest.raises(OSError, match=r'image.* is missing or broken'):
        CubeStore(str(tmp_path / 'c.zarr')).read(np.arange(4), [0], 0, 0, 60, 50)


def test_a_subclass_that_reads_in_its_own_way_is_asked(write: Write, tmp_path: Path) -> None:
    write('in/a_20200101.tif')
    write_cube(RasterTimeSeries(tmp_path / 'in'), tmp_path / 'c.zarr')

    class Sevens(ZarrTimeSeries):
        def read_frames(self, acquisitions: list[np.ndarray], grid: Grid) -> Frames:
            frames = super().read_frames(acquisitions, grid)
            frames.values[:] = 7
            return frames

    series = Sevens(tmp_path / 'c.zarr')
    assert (series[series.bounds]['image'] == 7).all()


def test_blocks_of_files_are_read_once(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torchgeo_sits.datasets.cubes.layout.SHARD_SIDE', 32)
    data = np.random.default_rng(0).integers(1, 9000, (2, 100, 90)).astype('uint16')
    write('in/a_20200101.tif', data)
    write('in/a_20200102.tif', data[:, ::-1])
    series = RasterTimeSeries(tmp_path / 'in')
    own, windows = RasterTimeSeries.frames, []

    def frames(self: RasterTimeSeries, index: tuple[slice, ...]) -> object:
        windows.append(index)
        return own(self, index)

    monkeypatch.setattr(RasterTimeSeries, 'frames', frames)
    assert write_cube(series, tmp_path / 'c.zarr') == 12
    strips = series.block_grid
    assert strips.width == 90  # a row of shards at a time
    assert len(windows) == 4 if strips.height <= 32 else len(windows) < 4
    monkeypatch.undo()
    assert_equal(ZarrTimeSeries(tmp_path / 'c.zarr'), series)


def test_splits_samplers_and_labels(write: Write, tmp_path: Path) -> None:
    for day in range(1, 7):
        write(f'in/a_2020010{day}.tif')
    write('labels/l.tif', np.random.default_rng(0).integers(0, 5, (1, 40, 48)).astype('uint8'))
    series = RasterTimeSeries(tmp_path / 'in')
    write_cube(series, tmp_path / 'c.zarr')
    cube = ZarrTimeSeries(tmp_path / 'c.zarr')

    class Labels(RasterDataset):
        is_image = False

    time = series.bounds[2]
    cut = pd.Timestamp('2020-01-03 12:00')
    halves = [pd.Interval(time.start, cut), pd.Interval(cut, time.stop)]
    parts = [time_series_split(d, halves) for d in (cube, series)]
    for ours, wanted in zip(*parts, strict=True):
        assert_equal(ours, wanted, windows=5)
    assert {len(part) for part in parts[0]} == {3}
    for ours, wanted in zip(
        *(
            random_bbox_assignment(d, [0.5, 0.5], generator=torch.Generator().manual_seed(0))
            for d in (cube, series)
        ),
        strict=True,
    ):
        assert torch.equal(ours[ours.bounds]['image'], wanted[wanted.bounds]['image'])
    samples = []
    for dataset in (cube, series):
        labelled = dataset & Labels(tmp_path / 'labels')
        places = GriddedSeriesPatchSampler(labelled, size=16)
        sampler = places @ RandomDateCountSampler(dataset, count=3, generator=0)
        samples.append([labelled[window] for window in sampler])
    assert len(samples[0]) == 9
    for ours, wanted in zip(*samples, strict=True):
        assert torch.equal(ours['image'], wanted['image'])
        assert torch.equal(ours['mask'], wanted['mask'])
    merged = (cube | series)[cube.bounds]
    assert torch.equal(merged['image'], series[series.bounds]['image'])


class Constant(TimeSeries):
    """A series of one's own, with what the base asks for and no more."""

    bands = ('value',)
    _res = (10.0, 10.0)
    block_grid = None

    def __init__(self) -> None:
        super().__init__('memory')
        days = pd.to_datetime(['2021-03-01', '2021-04-01'])
        ends = days + pd.Timedelta(hours=23)
        spans = pd.IntervalIndex.from_arrays(days, ends, closed='both', name='datetime')
        place = [shapely.box(X0, Y0 - 400, X0 + 700, Y0)] * 2
        self.index = geopandas.GeoDataFrame(
            {'filepath': ['a', 'b']}, index=spans, geometry=place, crs='EPSG:32631'
        )

    def instants(self, index: geopandas.GeoDataFrame) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(index.index.left)

    def read_frames(self, acquisitions: list[np.ndarray], grid: Grid) -> Frames:
        times = self.instants(self.index)[[rows[0] for rows in acquisitions]]
        values = np.ones((len(times), 1, grid.height, grid.width), np.float32)
        values *= np.array([rows[0] + 0.5 for rows in acquisitions])[:, None, None, None]
        return Frames(values, values[:, 0] > 1, times.as_unit('s').asi8, grid)


def test_any_series_becomes_a_cube(tmp_path: Path) -> None:
    assert write_cube(Constant(), tmp_path / 'c.zarr') == 1
    assert verify_cube(Constant(), tmp_path / 'c.zarr') == 1
    cube = ZarrTimeSeries(tmp_path / 'c.zarr')
    sample = cube[cube.bounds]
    assert sample['image'].shape == (2, 1, 40, 70)
    assert sample['image'].mean((1, 2, 3)).tolist() == [0.5, 1.5]
    assert sample['mask_clear'].float().mean((1, 2)).tolist() == [0, 1]
    assert write_cube(cube, tmp_path / 'd.zarr') == 1  # a cube is a series, too
    assert torch.equal(ZarrTimeSeries(tmp_path / 'd.zarr')[cube.bounds]['image'], sample['image'])


def test_what_is_refused(write: Write, tmp_path: Path) -> None:
    write('in/a_20200101.tif')
    write('coarse/a_20200101.tif', res=20)
    write('beside/a_20200101.tif', x=X0 + 4)
    for name in ('in', 'coarse', 'beside'):
        write_cube(RasterTimeSeries(tmp_path / name), tmp_path / f'{name}.zarr')
    cube = tmp_path / 'in.zarr'
    assert ZarrTimeSeries(cube, crs='EPSG:32631', res=10).res == (10, 10)
    for paths, options, message in (
        (cube, {'crs': 'EPSG:4326'}, r'in\.zarr.*EPSG:32631.*--crs EPSG:4326'),
        (cube, {'res': 20}, r'in\.zarr.*--res 20'),
        (cube, {'bands': ['B9']}, r"unknown bands \['B9'\].*'B1', 'B2'"),
        (cube, {'bands': []}, 'bands is empty'),
        (cube, {'group_by': 'week'}, "'week'"),
        (cube, {'min_clear': 2}, 'min_clear'),
        ([cube, tmp_path / 'coarse.zarr'], {}, r'coarse.*--res'),
        ([cube, tmp_path / 'beside.zarr'], {}, r'0\.40 of a pixel'),
    ):
        with pytest.raises(ValueError, match=message):
            ZarrTimeSeries(paths, **options)
    for paths, message in ((tmp_path / 'nowhere', 'nowhere'), (tmp_path / 'in', 'no cubes in')):
        with pytest.raises(FileNotFoundError, match=message):
            ZarrTimeSeries(paths)
    series = ZarrTimeSeries(cube)
    with pytest.raises(ValueError, match=r'in\.zarr.*--res'):
        series[X0 : X0 + 100 : 20, Y0 - 100 : Y0 : 20]
    with pytest.raises(IndexError, match='no acquisition'):
        series[0:100, 0:100]
    series.crs = 'EPSG:32632'
    with pytest.raises(ValueError, match='convert again with --crs'):
        series[series.bounds]


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('context', ['fork', 'forkserver', 'spawn'])
def test_workers_after_their_parent_has_read(
    write: Write, tmp_path: Path, context: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the parent and of its forks, whose cores are too few for threads of their own.
    monkeypatch.setattr('torchgeo_sits.datasets.threads._available_threads', lambda: threads)
    monkeypatch.setattr('torchgeo_sits.datasets.cubes.layout.SHARD_SIDE', 64)
    truth = np.random.default_rng(0).integers(1, 9000, (5, 2, 160, 160)).astype('uint16')
    for day, data in enumerate(truth):
        write(f'in/a_2020010{day + 1}.tif', data)
    write_cube(RasterTimeSeries(tmp_path / 'in'), tmp_path / 'c.zarr')
    series = ZarrTimeSeries(tmp_path / 'c.zarr')
    series[series.bounds]  # threads and loops of Zarr are there when the workers start
    count = 1000 if context == 'fork' else 40
    places = np.random.default_rng(1).integers(0, 160 - 24, (count, 2)).tolist()
    windows = [
        (slice(X0 + 10 * c, X0 + 10 * c + 240), slice(Y0 - 10 * r - 240, Y0 - 10 * r))
        for r, c in places
    ]
    loader = DataLoader(
        series,
        sampler=windows,
        batch_size=20,
        collate_fn=pad_time,
        num_workers=4 if context == 'fork' else 1,
        multiprocessing_context=context,
    )
    read = 0
    for batch in loader:
        series[windows[0]]  # the parent goes on reading
        for image in batch['image'].numpy():
            row, column = places[read]
            assert np.array_equal(image, truth[:, :, row : row + 24, column : column + 24])
            read += 1
    assert read == count


def test_pickles_are_small_and_work(write: Write, tmp_path: Path) -> None:
    write('in/a_20200101.tif')
    write_cube(RasterTimeSeries(tmp_path / 'in'), tmp_path / 'c.zarr')
    series = ZarrTimeSeries(tmp_path / 'c.zarr')
    sample = series[series.bounds]
    copy = pickle.loads(pickle.dumps(series))
    assert torch.equal(copy[copy.bounds]['image'], sample['image'])

"""NetCDF and Zarr by the CF conventions, against what was written into them."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import rasterio
import rioxarray  # noqa: F401 (ds.rio)
import shapely
import torch
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, roi_split, time_series_split

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datamodules import ImageOptions
from torchgeo_sits.datasets import (
    CFTimeSeries,
    RasterTimeSeries,
    ZarrTimeSeries,
    series_class_of,
    verify_cube,
    write_cube,
)
from torchgeo_sits.datasets.cf.store import missing_bytes
from torchgeo_sits.errors import SITSError
from torchgeo_sits.main import main
from torchgeo_sits.samplers import (
    BlockPatchSampler,
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
)

X0, Y0, RES = 600_000.0, 5_000_000.0, 10.0
DIMS = ('time', 'y', 'x')
Truth = tuple[xr.Dataset, np.ndarray]


def cube(
    count: int = 5, height: int = 20, width: int = 24, *, x: float = X0, start: str = '2021-01-03'
) -> xr.Dataset:
    """Two bands of random uint16 with 0 as no data, and an SCL, as odc-stac lays them out."""
    generator = np.random.default_rng(round(x) % 997)
    data = generator.integers(1, 9000, (2, count, height, width)).astype('uint16')
    data[0][generator.random(data[0].shape) < 0.1] = 0
    scl = generator.integers(3, 10, data[0].shape).astype('uint8')
    found = xr.Dataset(
        {'B04': (DIMS, data[0], {'nodata': 0}), 'B08': (DIMS, data[1], {'nodata': 0})},
        {
            'time': pd.date_range(start, periods=count, freq='5D') + pd.Timedelta('10:30:00'),
            'y': Y0 - RES * (np.arange(height) + 0.5),
            'x': x + RES * (np.arange(width) + 0.5),
        },
    )
    found['SCL'] = DIMS, scl
    return found.rio.write_crs('EPSG:32631')


def whole(series: Any) -> dict[str, Any]:
    return series[series.bounds]


def write(dataset: xr.Dataset, path: Path, **options: Any) -> Path:
    if path.suffix == '.zarr':
        dataset.to_zarr(path, **({'zarr_format': 2} | options))
    else:
        dataset.to_netcdf(path, **options)
    return path


# -- real input -----------------------------------------------------------------------------


def test_samples_equal_those_of_the_geotiffs(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / 'wc_be_b'
    paths = sorted((root / 's2').glob('*.tif'))[::3]
    masks = [next((root / 'scl').glob(f'*{path.stem[-8:]}.tif')) for path in paths]
    with rasterio.open(paths[0]) as file:
        names, transform, crs = file.descriptions, file.transform, file.crs
    data = np.stack([rasterio.open(path).read() for path in paths])
    coordinates = {
        'time': pd.to_datetime([path.stem[-8:] for path in paths]),
        'y': transform.f + transform.e * (np.arange(64) + 0.5),
        'x': transform.c + transform.a * (np.arange(64) + 0.5),
    }
    bands: dict[str, Any] = {n: (DIMS, data[:, i], {'nodata': 0}) for i, n in enumerate(names)}
    scl = {'SCL': (DIMS, np.stack([rasterio.open(path).read(1) for path in masks]))}
    single = xr.Dataset(bands | scl, coordinates).rio.write_crs(crs)
    along = {'reflectance': (('time', 'band', 'y', 'x'), data, {'_FillValue': 0})}
    joined = xr.Dataset(along | scl, coordinates | {'band': list(names)}).rio.write_crs(crs)
    classic = {name: {'dtype': 'int16'} for name in names}
    clear = [2, 4, 5, 6, 7]
    rasters = RasterTimeSeries(paths, cloud_paths=masks, clear_values=clear)
    x, y = 574_680.0 + 103, 5_622_440.0 - 297  # between pixels
    places: list[Any] = [rasters.bounds, (slice(x, x + 210, 10), slice(y - 300, y, 10))]
    places.append((slice(x - 400, x + 100), slice(y, y + 500), slice('2018-09', '2019-03', 3)))
    wanted = [rasters[place] for place in places]
    for path in (
        write(single, tmp_path / 'single.nc'),
        write(single, tmp_path / 'classic.nc', format='NETCDF3_64BIT', encoding=classic),
        write(joined, tmp_path / 'joined.nc'),
        write(single, tmp_path / 'v2.zarr', zarr_format=2),
        write(single, tmp_path / 'v3.zarr', zarr_format=3, consolidated=False),
    ):
        ours = CFTimeSeries(path, cloud_variable='SCL', clear_values=clear)
        assert ours.bands == rasters.bands
        assert ours.bounds == rasters.bounds
        for place, sample in zip(places, wanted, strict=True):
            found = ours[place]
            assert found.keys() == sample.keys()
            for key, value in sample.items():
                assert found[key].dtype == value.dtype
                assert torch.equal(found[key], value), (key, path.name)


# -- layouts --------------------------------------------------------------------------------


@st.composite
def layouts(draw: Any) -> dict[str, Any]:
    """How a cube may be stored."""
    return {
        'order': draw(st.permutations(['time', 'y', 'x'])),
        'names': draw(
            st.sampled_from([('time', 'y', 'x'), ('t', 'northing', 'easting'), ('d0', 'd1', 'd2')])
        ),
        'up': draw(st.booleans()),
        'left': draw(st.booleans()),
        'dtype': draw(st.sampled_from(['uint8', 'int16', 'uint16', 'float32', 'float64'])),
        'fill': draw(st.sampled_from(['_FillValue', 'missing_value', 'nodata', 'nan', None])),
        'scaled': draw(st.booleans()),
        'bands': draw(st.sampled_from(['variables', 'dimension', 'both'])),
        'chunk': draw(st.integers(1, 7)),
        'kind': draw(st.sampled_from(['nc', 'zarr'])),
        'picked': draw(st.permutations(['a', 'b', 'c']).map(lambda p: p[: 1 + len(p[0]) % 3])),
        'seed': draw(st.integers(0, 99)),
    }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(layout=layouts())
def test_any_layout_gives_what_was_written(
    layout: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    generator = np.random.default_rng(layout['seed'])
    times, height, width = 6, 9, 7
    truth = generator.integers(1, 200, (3, times, height, width)).astype(layout['dtype'])
    holes = generator.random(truth.shape) < 0.1
    fill: Any = 255
    if layout['fill'] == 'nan' and layout['dtype'].startswith('float'):
        fill = np.nan
    declared = layout['fill'] is not None and (
        layout['fill'] != 'nan' or layout['dtype'].startswith('float')
    )
    if not declared:
        holes[:] = False
    stored = np.where(holes, fill, truth).astype(layout['dtype'])
    attributes: dict[str, Any] = {}
    if declared and layout['fill'] != 'nan':
        attributes[layout['fill']] = np.array(fill, layout['dtype'])[()]
    if layout['scaled']:
        attributes |= {'scale_factor': 0.02, 'add_offset': -1.0}
    names = dict(zip(DIMS, layout['names'], strict=True))
    axes = tuple(names[dim] for dim in layout['order'])
    places = [('time', 'y', 'x').index(dim) for dim in layout['order']]
    days = pd.date_range('2020-02-27', periods=times)
    y, x = Y0 - RES * (np.arange(height) + 0.5), X0 + RES * (np.arange(width) + 0.5)
    if layout['up']:
        stored, y = stored[..., ::-1, :], y[::-1]
    if layout['left']:
        stored, x = stored[..., ::-1], x[::-1]
    coordinates = {
        names['time']: (names['time'], days, {'standard_name': 'time'}),
        names['y']: (names['y'], y, {'standard_name': 'projection_y_coordinate', 'units': 'm'}),
        names['x']: (names['x'], x, {'axis': 'X', 'units': 'm'}),
    }
    split = {'variables': 3, 'dimension': 0, 'both': 1}[layout['bands']]
    variables: dict[str, Any] = {}
    for i in range(split):
        variables['abc'[i]] = (axes, stored[i].transpose(places), attributes)
    if split < 3:
        data = np.moveaxis(stored[split:].transpose(0, *(p + 1 for p in places)), 0, 1)
        variables['data'] = ((axes[0], 'band', *axes[1:]), data, attributes)
        coordinates['band'] = ('band', list('abc'[split:]), {})
    dataset = xr.Dataset(variables, coordinates, {'crs': 'EPSG:32631'})
    encoding = {
        name: {
            ('chunksizes' if layout['kind'] == 'nc' else 'chunks'): tuple(
                min(layout['chunk'], size) for size in dataset[name].shape
            )
        }
        for name in variables
    }
    folder = tmp_path_factory.mktemp('cf')
    path = write(dataset, folder / f'c.{layout["kind"]}', encoding=encoding)
    series = CFTimeSeries(path, bands=layout['picked'])
    channels = ['abc'.index(name) for name in layout['picked']]
    values = truth[channels].astype(np.float64)
    if layout['scaled']:
        values = values * 0.02 - 1.0
    seen = ~holes[channels].any(axis=0)
    wanted = np.where(seen, values, 0).astype(np.float32).swapaxes(0, 1)
    sample = whole(series)
    assert np.array_equal(sample['mask_clear'].numpy(), seen)
    assert np.array_equal(sample['image'].numpy(), wanted)
    seconds = days.as_unit('s').asi8
    assert sample['acquisition_times'].tolist() == seconds.tolist()
    # Every other date of a window that leaves the cube in the north-west.
    window = slice(X0 - 20, X0 + 40), slice(Y0 - 50, Y0 + 10)
    part = series[(*window, slice('2020-02-28', '2020-03-04', 2))]
    padded = np.zeros((3, len(channels), 6, 6), np.float32)
    padded[:, :, 1:, 2:] = wanted[[1, 3, 5], :, :5, :4]
    assert np.array_equal(part['image'].numpy(), padded)
    assert not part['mask_clear'][:, 0].any()
    # All blocks are read once, and hold whole chunks.
    sampler = BlockPatchSampler(series, size=3, length=6, generator=0)
    for place in sampler:
        sample, direct = series[place], series[place[:2]]
        assert torch.equal(sample['image'], direct['image'])


def test_latitudes_and_longitudes(tmp_path: Path) -> None:
    lat, lon = np.float32([48.15, 48.05, 47.95]), np.float32([190.05, 190.15])
    data = np.arange(12, dtype='float32').reshape(2, 3, 2)
    times = pd.to_datetime(['2020-01-01', '2020-02-01'])
    one = xr.Dataset({'ndvi': (('time', 'lat', 'lon'), data)}, {'time': times})
    one = one.assign_coords(
        lat=('lat', lat, {'units': 'degrees_north'}), lon=('lon', lon, {'units': 'degrees_east'})
    )
    series = CFTimeSeries(write(one, tmp_path / 'a.nc'))
    assert series.crs.to_epsg() == 4326
    west, south, east, north = series.index.total_bounds
    assert np.allclose([west, south, east, north], [-170, 47.9, -169.8, 48.2], atol=1e-4)
    assert np.array_equal(whole(series)['image'][:, 0].numpy(), data)
    # Corners of pixels, as bounds say, not their centres.
    corners = one.assign_coords(lat=lat.astype('f8') - 0.05, lon=lon.astype('f8') - 0.05)
    for name in ('lat', 'lon'):
        values = corners[name].values
        corners[name].attrs = {'standard_name': f'{name}itude', 'bounds': f'{name}_bnds'}
        corners[f'{name}_bnds'] = (name, 'nv'), np.stack([values, values + 0.1], 1)
    corners['lon'].attrs['standard_name'] = 'longitude'
    again = CFTimeSeries(write(corners, tmp_path / 'b.nc'))
    assert np.allclose(again.index.total_bounds, [west, south, east, north], atol=1e-4)


@pytest.mark.parametrize(
    ('attributes', 'epsg'),
    [
        ({'grid_mapping_name': 'latitude_longitude', 'epsg_code': 'x'}, None),
        ({'crs_wkt': rasterio.crs.CRS.from_epsg(3035).to_wkt()}, 3035),
        ({'spatial_ref': 'EPSG:32631'}, 32631),
    ],
)
def test_grid_mappings(tmp_path: Path, attributes: dict[str, Any], epsg: int | None) -> None:
    one = cube().drop_vars('spatial_ref')
    one['albers'] = xr.DataArray(0, attrs=attributes)
    for name in ('B04', 'B08'):
        one[name].encoding.clear()
        one[name].attrs['grid_mapping'] = 'albers: x y'
    series = CFTimeSeries(write(one, tmp_path / 'a.nc'))
    assert series.crs.to_epsg() == epsg
    assert series.crs.is_geographic == (epsg is None)


def test_an_array_as_stackstac_has_it(tmp_path: Path) -> None:
    """One array of floats with names along ``band``, numbers of EPSG, and NaN as no data."""
    one = cube()
    data = np.stack([one.B04.values, one.B08.values], 1).astype('f8')
    data[data == 0] = np.nan
    coordinates = {'time': one.time, 'band': ['red', 'nir'], 'y': one.y.values, 'x': one.x.values}
    array = xr.DataArray(data, coordinates, ['time', 'band', 'y', 'x'], name='stackstac-1')
    array = array.assign_coords(
        epsg=32631, title=('band', ['Red', 'NIR']), id=('time', list('abcde'))
    )
    series = CFTimeSeries(write(array.to_dataset(), tmp_path / 'a.zarr'))
    assert (series.bands, series.crs.to_epsg()) == (('red', 'nir'), 32631)
    assert series.stored_dtype == 'float32'  # as samples are
    sample = whole(series)
    assert np.array_equal(sample['image'].numpy(), np.nan_to_num(data) * (data[:, :1] > 0))


def test_kilometres_and_stale_transforms(tmp_path: Path) -> None:
    one = cube()
    far = one.assign_coords(x=('x', one.x.values / 1000, {'units': 'km'}))
    far = far.assign_coords(y=('y', one.y.values / 1000, {'units': 'km'}))
    series = CFTimeSeries(write(far, tmp_path / 'a.nc'))
    assert np.allclose(series.index.total_bounds, [X0, Y0 - 200, X0 + 240, Y0])
    # rioxarray leaves the transform of the whole in what was cut out of it.
    part = one.rio.write_transform(from_origin(X0, Y0, RES, RES)).isel(x=slice(4, 20))
    series = CFTimeSeries(write(part, tmp_path / 'b.nc'))
    assert series.index.total_bounds[0] == X0 + 40
    # A transform alone, and exactly.
    bare = one.drop_vars(['x', 'y']).rio.write_transform(from_origin(X0 + 0.1, Y0, RES, RES))
    series = CFTimeSeries(write(bare, tmp_path / 'c.zarr'))
    assert series.index.total_bounds[0] == X0 + 0.1


# -- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['nc', 'zarr'])
def test_values_are_those_of_xarray(tmp_path: Path, kind: str) -> None:
    """But for valid_range, which xarray leaves to its users."""
    one = cube()
    raw = one.B04.values
    one['a'] = DIMS, raw.astype('int16'), {'scale_factor': 1e-4, '_FillValue': np.int16(0)}
    one['b'] = DIMS, (raw / 40).astype('uint8').view('int8'), {'_Unsigned': 'true'}
    one['c'] = DIMS, np.where(raw == 0, -3.4e38, raw).astype('f4'), {'missing_value': -3.4e38}
    one['d'] = DIMS, raw.astype('int32'), {'add_offset': -1000.0, 'missing_value': np.int32(0)}
    one['b'].attrs['_FillValue'] = np.int8(-1)
    path = write(one, tmp_path / f'a.{kind}')
    with xr.open_dataset(path, engine='netcdf4' if kind == 'nc' else 'zarr') as decoded:
        for name in 'abcd':
            sample = whole(CFTimeSeries(path, bands=[name]))
            wanted = decoded[name].values
            # It looks for a value of 64 bits in those of 32, and finds none.
            seen = wanted > -1e38 if name == 'c' else np.isfinite(wanted)
            assert 0 < seen.mean() < 1 or name == 'b'
            assert np.array_equal(sample['mask_clear'].numpy(), seen), name
            image = sample['image'][:, 0].numpy()
            assert np.allclose(image[seen], wanted[seen], rtol=2e-7, atol=0), name
            assert not image[~seen].any()


def test_ranges_and_the_users_no_data(tmp_path: Path) -> None:
    one = cube()
    raw = one.B04.values.astype('int16')
    one['packed'] = DIMS, raw, {'scale_factor': 0.5, 'valid_range': np.int16([100, 8000])}
    one['unpacked'] = DIMS, raw, {'scale_factor': 0.5, 'valid_max': 4000.0}
    path = write(one, tmp_path / 'a.nc')
    clear = whole(CFTimeSeries(path, bands=['packed']))['mask_clear'].numpy()
    assert np.array_equal(clear, (raw >= 100) & (raw <= 8000))
    clear = whole(CFTimeSeries(path, bands=['unpacked']))['mask_clear'].numpy()
    assert np.array_equal(clear, raw <= 8000)
    value = int(one.B08.values[0, 0, 0])
    clear = whole(CFTimeSeries(path, bands=['B08'], nodata=value))['mask_clear'].numpy()
    assert np.array_equal(clear, one.B08.values != value)


def test_what_was_never_written_is_not_observed(tmp_path: Path) -> None:
    path = tmp_path / 'a.nc'
    one = cube()
    one.B08.attrs = {}
    write(one[['B08']], path, unlimited_dims=['time'])
    with netCDF4.Dataset(path, 'a') as file:  # a sixth time, and no pixels
        file['time'][5] = file['time'][4] + 5 * (file['time'][4] - file['time'][3])
        file['B08'][5, 0] = 7
    clear = whole(CFTimeSeries(path))['mask_clear']
    assert clear[:5].all()
    assert clear[5, 0].all()
    assert not clear[5, 1:].any()


def test_clouds_by_values_and_by_flags(tmp_path: Path) -> None:
    one = cube()
    bits = one.SCL.values
    one['QA'] = DIMS, bits, {'flag_masks': np.uint8([1, 4]), 'flag_meanings': 'cloud shadow'}
    one['state'] = DIMS, bits, {'flag_values': np.uint8([3, 4]), 'flag_meanings': 'cloud land'}
    path = write(one, tmp_path / 'a.nc')
    seen = one.B04.values > 0
    for options, clear in (
        ({'cloud_variable': 'SCL', 'clear_values': [4, 5]}, np.isin(bits, [4, 5])),
        ({'cloud_variable': 'QA', 'cloud_flags': ['cloud', 'shadow']}, bits & 5 == 0),
        ({'cloud_variable': 'QA', 'cloud_flags': ['shadow']}, bits & 4 == 0),
        ({'cloud_variable': 'state', 'cloud_flags': ['cloud']}, bits != 3),
    ):
        series = CFTimeSeries(path, **options)
        assert series.bands == ('B04', 'B08')  # masks and flags are none
        assert np.array_equal(whole(series)['mask_clear'].numpy(), seen & clear)
    assert whole(CFTimeSeries(path, bands=['SCL']))['image'].max() == 9  # unless asked for


# -- times ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('values', 'attributes', 'expected'),
    [
        ([0.5, 1.25], {'units': 'days since 2020-02-28'}, ['2020-02-28T12', '2020-02-29T06']),
        ([10, 20], {'units': 'hours since 2020-1-1 6:00'}, ['2020-01-01T16', '2020-01-02T02']),
        ([58, 59], {'units': 'days since 2020-01-01', 'calendar': 'noleap'}, None),
        ([17747.437511574], {'units': 'days since 1970-01-01'}, ['2018-08-04T10:30:01']),
        (['2020-01-01T10:00:00Z', '2020-01-02'], {}, ['2020-01-01T10', '2020-01-02']),
    ],
)
def test_times(
    tmp_path: Path, values: list[Any], attributes: dict[str, str], expected: list[str] | None
) -> None:
    if expected is None:  # noleap has no 29th
        expected = ['2020-02-28', '2020-03-01']
    one = cube(len(values)).assign_coords(time=('time', values, attributes))
    series = CFTimeSeries(write(one, tmp_path / 'a.nc'), group_by='time')
    seconds = np.array(expected, 'datetime64[s]').astype(np.int64)
    assert whole(series)['acquisition_times'].tolist() == seconds.tolist()


def test_one_time_without_a_dimension(tmp_path: Path) -> None:
    one = cube()
    for i in range(3):
        write(one.isel(time=i), tmp_path / f'{i}.nc')
    series = CFTimeSeries(tmp_path)
    assert np.array_equal(whole(series)['image'][:, 0].numpy(), one.B04.values[:3])


def test_times_that_repeat_or_are_in_no_order(tmp_path: Path) -> None:
    one = cube()
    times = one.time.values[[3, 0, 0, 2, 1]]
    path = write(one.assign_coords(time=times).drop_vars('SCL'), tmp_path / 'a.nc')
    with pytest.warns(UserWarning, match=r'no order.*1 of 5 times repeat') as record:
        series = CFTimeSeries(path)
    assert len(record) == 1
    data, seen = np.stack([one.B04.values, one.B08.values], 1), one.B04.values > 0
    first = np.where(seen[1][None], data[1], data[2])
    wanted = np.stack([first, data[4], data[3], data[0]])
    observed = np.stack([seen[1] | seen[2], seen[4], seen[3], seen[0]])
    sample = whole(series)
    assert np.array_equal(sample['mask_clear'].numpy(), observed)
    assert np.array_equal(sample['image'].numpy(), wanted * observed[:, None])


def test_several_times_a_day(tmp_path: Path) -> None:
    one = cube(4).assign_coords(time=pd.date_range('2020-01-01T06:00', periods=4, freq='6h'))
    path = write(one, tmp_path / 'a.nc')
    with pytest.warns(UserWarning, match=r"2 of 4 times share a day.*group_by='time'"):
        series = CFTimeSeries(path)
    assert len(whole(series)['image']) == 2
    series = CFTimeSeries(path, group_by='time')
    assert np.array_equal(whole(series)['image'][:, 1].numpy() > 0, one.B04.values > 0)


# -- files ----------------------------------------------------------------------------------


def test_files_are_joined_along_time_and_space(tmp_path: Path) -> None:
    west = cube(4)
    east = cube(4, x=X0 + 240)
    (tmp_path / 'a').mkdir()
    write(west.isel(time=slice(0, 2)), tmp_path / 'a' / '1.nc')
    write(west.isel(time=slice(2, 4)), tmp_path / 'a' / '2.nc4')
    write(east, tmp_path / 'a' / 'east.zarr')
    series = CFTimeSeries(tmp_path / 'a')
    assert [Path(file).name for file in series.files] == ['1.nc', '2.nc4', 'east.zarr']
    data = [[c[n].values for n in ('B04', 'B08')] for c in (west, east)]
    truth = np.concatenate([np.stack(d, 1) for d in data], axis=-1)
    seen = truth[:, :1] > 0
    assert np.array_equal(whole(series)['image'].numpy(), truth * seen)
    other = cube(x=X0 + 504)
    write(other, tmp_path / 'beside.nc')
    with pytest.raises(SITSError, match=r'0\.40 of a pixel'):
        CFTimeSeries([tmp_path / 'a', tmp_path / 'beside.nc'])


@pytest.mark.parametrize('kind', ['nc', 'classic.nc', 'zarr'])
def test_workers_after_their_parent_has_read(tmp_path: Path, kind: str) -> None:
    one = cube(6, 60, 60)
    options: dict[str, Any] = {'encoding': {'B08': {'chunks': (6, 16, 16)}}}
    if kind == 'classic.nc':
        options = {'format': 'NETCDF3_64BIT', 'encoding': {'B08': {'dtype': 'int16'}}}
    elif kind == 'nc':
        options = {'encoding': {'B08': {'chunksizes': (6, 16, 16), 'zlib': True}}}
    path = write(one[['B08']], tmp_path / f'a.{kind}', **options)
    series = CFTimeSeries(path)
    whole(series)
    count = 400
    places = np.random.default_rng(1).integers(0, 60 - 8, (count, 2)).tolist()
    windows = [
        (slice(X0 + 10 * c, X0 + 10 * c + 80), slice(Y0 - 10 * r - 80, Y0 - 10 * r))
        for r, c in places
    ]
    loader = DataLoader(
        series,
        sampler=windows,
        batch_size=8,
        collate_fn=pad_time,
        num_workers=2,
        multiprocessing_context='fork',
    )
    read, truth = 0, one.B08.values
    for batch in loader:
        series[windows[0]]  # the parent goes on reading
        for image in batch['image'].numpy():
            row, column = places[read]
            assert np.array_equal(image[:, 0], truth[:, row : row + 8, column : column + 8])
            read += 1
    assert read == count


def test_pickles_and_files_that_are_closed(tmp_path: Path) -> None:
    series = CFTimeSeries(write(cube(), tmp_path / 'a.nc'))
    sample = whole(series)
    copy = pickle.loads(pickle.dumps(series))
    series.close()
    assert torch.equal(whole(copy)['image'], sample['image'])
    assert torch.equal(whole(series)['image'], sample['image'])


def test_a_file_that_is_replaced(tmp_path: Path) -> None:
    path = write(cube(), tmp_path / 'a.nc')
    series = CFTimeSeries(path)
    whole(series)
    write(cube(x=X0 + 100), tmp_path / 'b.nc').replace(path)
    with pytest.raises(OSError, match=r'a\.nc.*replaced'):
        whole(series)


# -- with the rest --------------------------------------------------------------------------


def test_splits_samplers_labels_and_unions(tmp_path: Path) -> None:
    one = cube(6, 32, 32)
    series = CFTimeSeries(write(one, tmp_path / 'a.nc'))
    x, y, time = series.bounds
    classes = np.random.default_rng(0).integers(0, 5, (32, 32)).astype('uint8')
    profile = {'driver': 'GTiff', 'height': 32, 'width': 32, 'count': 1, 'dtype': 'uint8'}
    profile |= {'crs': 'EPSG:32631', 'transform': from_origin(X0, Y0, RES, RES)}
    (tmp_path / 'l').mkdir()
    with rasterio.open(tmp_path / 'l' / 'l.tif', 'w', **profile) as file:
        file.write(classes, 1)

    class Labels(RasterDataset):
        is_image = False

    labelled = series & Labels(tmp_path / 'l')
    sampler = GriddedSeriesPatchSampler(labelled, size=16) @ RandomDateCountSampler(
        series, count=3, generator=0
    )
    windows = list(sampler)
    assert len(windows) == 4
    for window in windows:
        sample = labelled[window]
        row, column = round((Y0 - window[1].stop) / RES), round((window[0].start - X0) / RES)
        part = slice(row, row + 16), slice(column, column + 16)
        assert np.array_equal(sample['mask'].numpy(), classes[part])
        assert sample['image'].shape == (3, 2, 16, 16)
    cut = pd.Timestamp('2021-01-10')
    halves = time_series_split(series, [pd.Interval(time.start, cut), pd.Interval(cut, time.stop)])
    assert [len(whole(half)['image']) for half in halves] == [2, 4]
    [left] = roi_split(series, [shapely.box(x.start, y.start, X0 + 160, y.stop)])
    assert whole(left)['image'].shape[-1] == 16
    later = CFTimeSeries(write(cube(3, 32, 32, start='2021-03-01'), tmp_path / 'b.nc'))
    merged = (series | later)[x, y]
    assert len(merged['image']) == 9
    assert torch.equal(merged['image'][:6], whole(series)['image'])


@pytest.mark.parametrize('scaled', [False, True])
def test_cubes_are_made_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scaled: bool
) -> None:
    one = cube(5, 40, 50).isel(y=slice(None, None, -1))
    if scaled:
        for name in ('B04', 'B08'):
            one[name].attrs |= {'scale_factor': 1e-4, 'add_offset': -0.1}
    path = write(one, tmp_path / 'a.nc')
    options = {'cloud_variable': 'SCL', 'clear_values': [4, 5]}
    command = ['cube', str(path), str(tmp_path / 'c.zarr'), '--cloud_variable', 'SCL']
    for _ in range(2):
        main([*command, '--clear_values', '[4,5]', '--verify'])
    assert 'nothing left to write' in capsys.readouterr().out
    series, ours = CFTimeSeries(path, **options), ZarrTimeSeries(tmp_path / 'c.zarr')
    assert verify_cube(series, tmp_path / 'c.zarr') == 1
    assert ours.stored_dtype == ('float32' if scaled else 'uint16')
    for key, value in whole(series).items():
        assert torch.equal(whole(ours)[key], value), key
    with pytest.raises(SITSError, match=r'cloud_flags|clear_values'):
        write_cube(CFTimeSeries(path), tmp_path / 'c.zarr')
    # A cube of ours has forgotten nothing but where a cloud is also no data.
    with pytest.raises(SITSError, match='under clouds'):
        write_cube(ours, tmp_path / 'd.zarr')


def test_the_kind_of_series_is_told_from_the_files(tmp_path: Path) -> None:
    (tmp_path / 'nc').mkdir()
    path = write(cube(), tmp_path / 'nc' / 'a.nc')
    foreign = write(cube(), tmp_path / 'foreign.zarr')
    write_cube(CFTimeSeries(path), tmp_path / 'ours.zarr')
    (tmp_path / 'tif').mkdir()
    (tmp_path / 'tif' / 'a.nc').write_bytes(b'')
    (tmp_path / 'tif' / 'x_20200101.tif').write_bytes(b'')
    for given_paths, kind in (
        (path, CFTimeSeries),
        (tmp_path / 'nc', CFTimeSeries),
        ([tmp_path / 'nc', path], CFTimeSeries),
        (foreign, CFTimeSeries),
        (tmp_path / 'ours.zarr', ZarrTimeSeries),
        (tmp_path / 'tif', RasterTimeSeries),
        (tmp_path / 'nowhere', RasterTimeSeries),
        ('/vsis3/bucket/images', RasterTimeSeries),
    ):
        assert series_class_of(given_paths) is kind, given_paths
    for name in (path, foreign):
        options = ImageOptions(str(name), clear_values=[4], options={'cloud_variable': 'SCL'})
        assert isinstance(options.open(), CFTimeSeries)
    assert isinstance(ImageOptions(str(tmp_path / 'ours.zarr')).open(), ZarrTimeSeries)


# -- what is refused ------------------------------------------------------------------------


def _edit(change: Callable[[xr.Dataset], xr.Dataset]) -> Callable[[Path], Path]:
    return lambda folder: write(change(cube()), folder / 'a.nc')


def _curvilinear(one: xr.Dataset) -> xr.Dataset:
    one = one.drop_vars(['x', 'y']).rename(x='i', y='j')
    lat, lon = np.meshgrid(np.linspace(50, 51, 20), np.linspace(4, 5, 24), indexing='ij')
    return one.assign_coords(lat=(('j', 'i'), lat), lon=(('j', 'i'), lon))


def _rolled(one: xr.Dataset) -> xr.Dataset:
    x = one.x.values.copy()
    x[10:] += 3
    return one.assign_coords(x=x)


def _two_grids(one: xr.Dataset) -> xr.Dataset:
    coarse = one[['B08']].isel(x=slice(0, 12), y=slice(0, 10)).rename(x='x2', y='y2', B08='B11')
    for name in ('x2', 'y2'):
        coarse[name].attrs = {'axis': name[0].upper()}
    return xr.merge([one, coarse])


@pytest.mark.parametrize(
    ('make', 'options', 'message'),
    [
        (_edit(lambda c: c.isel(time=0).drop_vars('time')), {}, r'no dimension of time'),
        (_edit(_curvilinear), {}, r"curvilinear grid: 'lat', 'lon'"),
        (_edit(_rolled), {}, r"not on an even grid: steps along 'x' go from 10 to 13"),
        (_edit(lambda c: c.drop_vars('spatial_ref')), {}, r'no coordinate reference system'),
        (_edit(_two_grids), {}, r'2 grids .*B04.*B11.*`bands`'),
        (_edit(lambda c: c.drop_vars(['B04', 'B08', 'SCL'])), {}, r'no variable with dimensions'),
        (
            _edit(lambda c: c.assign_coords(time=('time', [1, 2, 3, 4, 5]))),
            {},
            r"times 'time'.*no units",
        ),
        (
            _edit(
                lambda c: c.assign_coords(
                    time=(
                        'time',
                        [57, 58, 59, 60, 61],
                        {'units': 'days since 2021-01-01', 'calendar': '360_day'},
                    )
                )
            ),
            {},
            r"calendar '360_day', and 2021-02-29",
        ),
        (
            _edit(
                lambda c: c.assign_coords(
                    time=(
                        'time',
                        [1.0, np.nan, 3.0, 4.0, 5.0],
                        {'units': 'days since 2020-01-01'},
                    )
                )
            ),
            {},
            r'1 of 5 times .* missing',
        ),
        (_edit(lambda c: c), {'bands': ['B99']}, r"unknown bands \['B99'\].*'B04', 'B08', 'SCL'"),
        (_edit(lambda c: c), {'bands': []}, r'bands is empty'),
        (_edit(lambda c: c), {'crs': 'EPSG:4326'}, r'EPSG:32631.*ds\.rio\.reproject'),
        (_edit(lambda c: c), {'crs': 'nonsense'}, r'no coordinate reference system'),
        (_edit(lambda c: c), {'res': 20}, r'resolution=20'),
        (_edit(lambda c: c), {'cloud_paths': 'scl'}, r'cloud_paths is no argument.*cloud_variable'),
        (_edit(lambda c: c), {'clear_values': [1]}, r'need cloud_variable'),
        (_edit(lambda c: c), {'cloud_variable': 'SCL'}, r'needs clear_values'),
        (
            _edit(lambda c: c),
            {'cloud_variable': 'scl', 'clear_values': [1]},
            r"no variable 'scl'.*'SCL'",
        ),
        (
            _edit(lambda c: c),
            {'cloud_variable': 'SCL', 'cloud_flags': ['cloud']},
            r'flag_meanings are \[\]',
        ),
        (_edit(lambda c: c), {'group': 'g'}, r'cannot be opened'),
    ],
)
def test_what_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], options: dict[str, Any], message: str
) -> None:
    path = make(tmp_path)
    with pytest.raises((SITSError, OSError), match=message) as refused:
        CFTimeSeries(path, **options)
    assert '\n' not in str(refused.value)
    assert str(path) in str(refused.value) or options  # which is named then


def test_a_missing_crs_can_be_given(tmp_path: Path) -> None:
    path = write(cube().drop_vars('spatial_ref'), tmp_path / 'a.nc')
    assert CFTimeSeries(path, crs='EPSG:32632').crs.to_epsg() == 32632


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    for path, message in ((tmp_path / 'nowhere', 'nowhere'), (tmp_path, 'no NetCDF files')):
        with pytest.raises(FileNotFoundError, match=message):
            CFTimeSeries(path)
    with pytest.raises(SITSError, match='not on this machine'):
        CFTimeSeries('https://example.com/a.nc')
    write_cube(CFTimeSeries(write(cube(), tmp_path / 'a.nc')), tmp_path / 'c.zarr')
    with pytest.raises(SITSError, match='open it with ZarrTimeSeries'):
        CFTimeSeries(tmp_path / 'c.zarr')


@pytest.mark.parametrize('form', ['NETCDF4', 'NETCDF3_CLASSIC', 'NETCDF3_64BIT_DATA'])
@pytest.mark.parametrize('unlimited', [[], ['time']])
def test_files_that_are_cut_off(tmp_path: Path, form: str, unlimited: list[str]) -> None:
    """Their own library reads zeros from classic ones."""
    with netCDF4.Dataset(tmp_path / 'a.nc', 'w', format=form) as file:
        for name, size in zip(DIMS, (5, 20, 24), strict=True):
            file.createDimension(name, None if name in unlimited else size)
        time = file.createVariable('time', 'f8', ('time',))
        time.units = 'days since 2020-01-01'
        for name, start in (('y', Y0), ('x', X0)):
            axis = file.createVariable(name, 'f8', (name,))
            axis[:] = start + RES * np.arange(20 if name == 'y' else 24)
        time[:] = np.arange(5)
        data = file.createVariable('a', 'i2', DIMS)
        data[:] = np.arange(5 * 20 * 24).reshape(5, 20, 24)
    path = tmp_path / 'a.nc'
    assert missing_bytes(str(path)) == 0
    assert whole(CFTimeSeries(path, crs='EPSG:32631'))['image'].shape == (5, 1, 20, 24)
    content = path.read_bytes()
    for size in (len(content) - 50, len(content) // 2, 60):
        path.write_bytes(content[:size])
        with pytest.raises(OSError, match=r'a\.nc.*cannot be opened.*truncated'):
            CFTimeSeries(path, crs='EPSG:32631')


@pytest.mark.parametrize('codec', ['v2', 'zstd', 'blosc', 'none', 'shards'])
def test_broken_chunks_are_errors(tmp_path: Path, codec: str) -> None:
    """The decoder of Blosc, which is the usual one of version 2, reads what lies behind."""
    encoding: dict[str, Any] = {}
    if codec == 'blosc':
        encoding = {'compressors': [zarr.codecs.BloscCodec()]}
    elif codec == 'none':
        encoding = {'compressors': []}
    elif codec == 'shards':
        encoding = {'chunks': (5, 10, 12), 'shards': (5, 20, 24)}
    path = tmp_path / 'a.zarr'
    write(
        cube(),
        path,
        zarr_format=2 if codec == 'v2' else 3,
        encoding={'B08': encoding} if encoding else None,
        consolidated=False,
    )
    series = CFTimeSeries(path)
    chunk = path / 'B08' / ('0.0.0' if codec == 'v2' else 'c/0/0/0')
    whole(series)
    content = chunk.read_bytes()
    for size in (len(content) - 1, len(content) // 2, 20):
        chunk.write_bytes(content[:size])
        with pytest.raises(OSError, match=r'a\.zarr.*cannot be read'):
            whole(series)


@pytest.mark.parametrize('where', ['filters', 'compressor'])
def test_nothing_is_unpickled(tmp_path: Path, where: str) -> None:
    path = write(cube(), tmp_path / 'a.zarr', consolidated=False)
    metadata = path / 'B08' / '.zarray'
    content = json.loads(metadata.read_text())
    codec = {'id': 'pickle', 'protocol': 5}
    content |= {'compressor': None, where: [codec] if where == 'filters' else codec}
    metadata.write_text(json.dumps(content))

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / 'ran',))

    (path / 'B08' / '0.0.0').write_bytes(pickle.dumps(Touch()))
    with pytest.raises(OSError, match=r'a\.zarr.*pickle'):
        whole(CFTimeSeries(path))
    assert not (tmp_path / 'ran').exists()

"""Values that no sensor measures, and windows that are none: refused or left out, in one line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from torchgeo_sits.datamodules import PatchOptions, SITSDataModule
from torchgeo_sits.datasets import CFTimeSeries, PointSeries, RasterTimeSeries
from torchgeo_sits.datasets.labels import LabelValues, RasterLabels
from torchgeo_sits.errors import SITSError, SITSIndexError

SIDE = 16


def write(path: Path, data: np.ndarray, **options: object) -> str:
    """A GeoTIFF of 10 m pixels."""
    profile = {
        'driver': 'GTiff',
        'count': len(data),
        'height': data.shape[1],
        'width': data.shape[2],
        'dtype': data.dtype,
        'crs': 'EPSG:32631',
        'transform': from_origin(600_000, 5_000_000, 10, 10),
    }
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(path, 'w', **(profile | options)) as file:
        file.write(data)
    return str(path)


def ground(dtype: str = 'float32', bands: int = 2) -> np.ndarray:
    """Plausible values."""
    return np.random.default_rng(0).uniform(100, 3000, (bands, SIDE, SIDE)).astype(dtype)


@pytest.mark.parametrize('value', [1e38, -3.4e38, 1e300])
@pytest.mark.parametrize('res', [10, 5])  # copied, and warped
def test_values_that_are_too_large_are_unobserved_and_counted(
    tmp_path: Path, value: float, res: float
) -> None:
    data = ground('float64' if abs(value) > 1e39 else 'float32')
    data[1, 3, 5] = value
    write(tmp_path / 's_20210101.tif', data)
    write(tmp_path / 's_20210201.tif', ground())
    series = RasterTimeSeries(tmp_path, res=res)
    with pytest.warns(UserWarning, match=r'pixels of 1 rasters hold values beyond 1e\+20') as told:
        sample = series[series.bounds]
    clear = sample['mask_clear'].numpy()
    # Of a warp the pixels next to it are blended with it, and are lost as well.
    lost = np.argwhere(~clear[0])
    assert 0 < len(lost) <= (1 if res == 10 else 36)
    assert clear[1].all()
    assert (np.abs(lost * res / 10 - [3, 5]) <= 2).all()
    assert np.isfinite(sample['image'].numpy()).all()
    assert sample['image'].abs().max() < 4000
    count = len(told.list)
    series[series.bounds]  # said once
    assert len(told.list) == count


def test_no_data_that_is_declared_is_no_fault(tmp_path: Path, recwarn) -> None:
    data = ground()
    data[:, :4] = -3.4028234663852886e38
    write(tmp_path / 's_20210101.tif', data, nodata=-3.4028234663852886e38)
    series = RasterTimeSeries(tmp_path)
    assert not series[series.bounds]['mask_clear'][0, :4].any()
    assert not [w for w in recwarn if 'beyond' in str(w.message)]


@pytest.mark.parametrize('dtype', ['complex64', 'complex128', 'complex_int16'])
def test_complex_rasters_are_refused(tmp_path: Path, dtype: str) -> None:
    data = ground('complex64')
    path = write(tmp_path / 's_20210101.tif', data, dtype=dtype)
    with pytest.raises(SITSError, match=r"s_20210101.tif' holds complex numbers"):
        RasterTimeSeries(tmp_path)
    with pytest.raises(SITSError, match='holds complex numbers'):
        RasterLabels(path, crs='EPSG:32631', res=(10.0, 10.0))


def test_the_same_of_netcdf_and_tables(tmp_path: Path) -> None:
    values = np.ones((2, 4, 5))
    values[1, 2, 3] = 1e300
    days = pd.to_datetime(['2021-03-01', '2021-04-01'])
    place = {'time': days, 'y': 50.0 - np.arange(4), 'x': 4.0 + np.arange(5)}
    cube = xr.DataArray(values, place, list(place), name='red').to_dataset()
    cube.attrs['crs'] = 'EPSG:4326'
    cube.to_netcdf(tmp_path / 'cube.nc')
    series = CFTimeSeries(tmp_path / 'cube.nc', crs='EPSG:4326')
    with pytest.warns(
        UserWarning, match=r"1 values of 'red' .* are beyond 1e\+20, such as 1e\+300"
    ):
        sample = series[series.bounds]
    assert sample['mask_clear'].sum() == values.size - 1
    assert sample['image'].max() == 1
    table = pd.DataFrame({'point': [1, 1], 'date': ['2021-03-01', '2021-04-01'], 'red': [1, 1e38]})
    table.to_csv(tmp_path / 'points.csv', index=False)
    with pytest.warns(UserWarning, match='1 values are beyond'):
        points = PointSeries(tmp_path / 'points.csv')
    assert points[0]['mask_clear'].sum() == 1


def test_values_that_no_label_can_be(tmp_path: Path) -> None:
    data = ground('float64', 1)
    data[0, 2, 2] = 1e300
    path = write(tmp_path / 'l.tif', data)
    values = LabelValues(kind='value')
    labels = RasterLabels(path, crs='EPSG:32631', res=(10.0, 10.0), values=values)
    with pytest.raises(SITSError, match=r'l.tif.* holds the value 1e\+300'):
        labels[labels.bounds]
    path = write(tmp_path / 'm.tif', data.round())
    with pytest.raises(SITSError, match=r'holds the label 1e\+300: classes are whole numbers'):
        RasterLabels(path, crs='EPSG:32631', res=(10.0, 10.0)).found()


INF, NAN = float('inf'), float('nan')
WHOLE = slice(None)


@pytest.mark.parametrize(
    'window',
    [
        np.s_[INF:INF],
        np.s_[-INF:INF, -INF:INF],
        np.s_[NAN:NAN],
        np.s_[:, NAN:],
        np.s_[600_000:600_000],
        np.s_[600_100:600_000],
        np.s_[600_000:600_100:0],
        np.s_[600_000:600_100:-10],
        np.s_[600_000 : 600_100 : float('nan')],
        np.s_[-1e12:1e12, -1e12:1e12],
        np.s_[600_000:600_100:1e-9, 4_999_900:5_000_000:1e-9],
        np.s_[:, :, ::0],
        np.s_[:, :, ::-1],
        np.s_[:, :, ::1.5],
        np.s_[:, :, pd.NaT : pd.NaT],
        np.s_[:, :, INF:INF],
        np.s_[:, :, 'soon':'late'],
        np.s_[:, :, pd.Timestamp('2021-03-01') : pd.Timestamp('2021-01-01')],
        np.s_[:, :, :, :],
        np.s_['a':'b'],
        5,
        'here',
        None,
        ...,
    ],
    ids=str,
)
def test_windows_that_are_none_are_refused(tmp_path_factory, window) -> None:
    folder = tmp_path_factory.getbasetemp() / 'windows'
    if not folder.is_dir():
        write(folder / 's_20210101.tif', ground())
        write(folder / 's_20210201.tif', ground())
        write(folder / 'labels' / 'l.tif', np.ones((1, SIDE, SIDE), 'uint8'))
    series = RasterTimeSeries([folder / 's_20210101.tif', folder / 's_20210201.tif'])
    labels = RasterLabels(str(folder / 'labels' / 'l.tif'), crs='EPSG:32631', res=(10.0, 10.0))
    for dataset in (series, labels, series & labels, series | series):
        with pytest.raises(SITSError) as error:
            dataset[window]
        assert '\n' not in str(error.value)


def test_a_window_beside_the_data_is_an_index_error(tmp_path: Path) -> None:
    write(tmp_path / 's_20210101.tif', ground())
    series = RasterTimeSeries(tmp_path)
    for dataset in (series, series | series):
        with pytest.raises(SITSIndexError):
            dataset[0:100, 0:100]


def test_an_image_of_one_huge_value_is_no_window_of_zeros(tmp_path: Path) -> None:
    # An overview blends it with what lies around it, and what comes of that is as impossible.
    data = ground(bands=1)
    data[0, 3, 5] = 1e38
    path = write(tmp_path / 's_20210101.tif', data, tiled=True, blockxsize=16, blockysize=16)
    with rasterio.open(path, 'r+') as file:
        file.build_overviews([2], Resampling.average)
    series = RasterTimeSeries(tmp_path, res=20)
    with pytest.warns(UserWarning, match='beyond'):
        clear = series[series.bounds]['mask_clear'][0]
    assert clear.logical_not().nonzero().tolist() == [[1, 2]]


def test_sizes_that_are_declared_and_not_there(tmp_path: Path) -> None:
    options = {'SPARSE_OK': True, 'BIGTIFF': 'YES', 'tiled': True, 'compress': 'deflate'}
    place = {'crs': 'EPSG:32631', 'transform': from_origin(500_000, 5_600_000, 10, 10)}
    path = tmp_path / 's_20210101.tif'
    size = {'width': 16, 'height': 16, 'count': 3000, 'dtype': 'uint8'}
    with rasterio.open(path, 'w', driver='GTiff', **size, **place, **options):
        pass
    with pytest.raises(SITSError, match=r's_20210101.tif. holds 3000 bands, more than 2048'):
        RasterTimeSeries(tmp_path)
    assert RasterTimeSeries(tmp_path, bands=['B7'])[:, :]['image'].shape == (1, 1, 16, 16)
    size = {'width': 300_000, 'height': 300_000, 'count': 1, 'dtype': 'uint8'}
    with rasterio.open(path, 'w', driver='GTiff', **size, **place, **options):
        pass
    data = SITSDataModule(str(tmp_path), patches=PatchOptions(16, length=4), batch_size=2)
    with pytest.warns(UserWarning, match='one date'), pytest.raises(SITSError, match='no clear'):
        data.setup('fit')  # patches of nothing, but of its 351 million only some
    series = RasterTimeSeries(tmp_path)
    with pytest.raises(SITSError, match=r'asks for .* GiB, and this machine has'):
        series[:, :]

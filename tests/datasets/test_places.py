"""Where rasters lie: without a grid, across 180 degrees, and files of other endings."""

import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform

from torchgeo_sits.datasets import RasterTimeSeries

ONES = np.ones((1, 30, 30), 'uint16')


def write(path: Path, data: np.ndarray = ONES, **profile: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {'count': len(data), 'height': data.shape[1], 'width': data.shape[2]}
    plain = {'driver': 'GTiff', 'dtype': data.dtype, 'crs': 'EPSG:32632'}
    plain['transform'] = from_origin(600_000, 5_000_000, 10, 10)
    with rasterio.open(path, 'w', **{**plain, **size, **profile}) as file:
        file.write(data)
    return path


#: Square metres of a degree by a degree at 65 degrees north.
DEGREE_2 = 111_500 * 111_320 * np.cos(np.radians(65))
RPCS = RPC(1, 1, 45, 1, [1] * 20, [1] * 20, 10, 1, 10, 1, [1] * 20, [1] * 20, 10, 1)


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
@pytest.mark.parametrize(
    ('profile', 'message'),
    [
        ({'transform': Affine.identity()}, 'no georeferencing.*gdal_edit.py'),
        ({'transform': Affine.identity(), 'crs': None}, 'no georeferencing'),
        ({'transform': Affine(1, 0, 0, 0, -1, 0)}, 'no georeferencing'),
        ({'transform': Affine(10, 0, 6e5, 0, 0, 5e6)}, 'no georeferencing'),
        ({'crs': None}, 'no coordinate reference system'),
        (
            {
                'transform': Affine.identity(),
                'gcps': [GroundControlPoint(r, c, 6e5 + c, 5e6 - r) for r, c in ((0, 0), (9, 3))],
            },
            r'2 ground control points.*gdalwarp -tps -t_srs EPSG:CODE a_20200601.tif',
        ),
        ({'transform': None, 'crs': None, 'rpcs': RPCS}, 'gdalwarp -rpc'),
    ],
)
def test_rasters_without_a_grid_are_refused(
    tmp_path: Path, profile: dict[str, Any], message: str
) -> None:
    if 'gcps' in profile:
        profile = {k: v for k, v in profile.items() if k != 'transform'} | {'transform': None}
    write(tmp_path / 'a_20200601.tif', **profile)
    with pytest.raises(ValueError, match=message):
        RasterTimeSeries(tmp_path)


def whole(series: RasterTimeSeries) -> dict[str, Any]:
    sample: dict[str, Any] = series[series.bounds]
    return sample


def test_across_180_degrees(tmp_path: Path) -> None:
    (x,), (y,) = transform('EPSG:4326', 'EPSG:32601', [-180.0], [65.0])
    utm = {'crs': 'EPSG:32601', 'transform': from_origin(x - 150, y + 150, 10, 10)}
    east = write(tmp_path / 'u' / 'a_20200611.tif', nodata=0, **utm)
    for crs in ('EPSG:4326', 'EPSG:4258', 'EPSG:4269'):
        series = RasterTimeSeries(east, crs=crs)
        frames = series.frames(series.bounds)
        west, _, right, _ = series.index.total_bounds
        assert (west + right) / 2 == pytest.approx(180, abs=1e-4)
        assert right - west < 0.01
        # 300 m x 300 m, in pixels of the same diagonal.
        area = frames.observed.sum() * series.res[0] * series.res[1]
        assert area == pytest.approx(
            300**2 / (111_500 * 111_320 * np.cos(np.radians(65))), rel=0.03
        )
    # Beside a tile that ends at the line, on whichever side that lies.
    for left, middle in ((-180.0, -180), (179.97, 180)):
        folder = tmp_path / str(middle)
        beside = {'crs': 'EPSG:4326', 'transform': from_origin(left, 65.01, 1e-3, 1e-3)}
        write(folder / 'a_20200601.tif', nodata=0, **beside)
        write(folder / 'a_20200611.tif', nodata=0, **utm)
        with pytest.warns(UserWarning, match='1 of 2 rasters are in another CRS'):
            series = RasterTimeSeries(folder)
        assert len(series) == 2
        bounds = series.index.geometry.iloc[1].bounds
        assert (bounds[0] + bounds[2]) / 2 == pytest.approx(middle, abs=1e-3)
        assert whole(series)['mask_clear'].any(dim=1).any(dim=1).all()


def test_files_in_degrees_across_180_degrees(tmp_path: Path) -> None:
    beyond = {'crs': 'EPSG:4326', 'transform': from_origin(179.985, 65.015, 1e-3, 1e-3)}
    path = write(tmp_path / 'a_20200601.tif', nodata=0, **beyond)
    series = RasterTimeSeries(path)
    assert whole(series)['mask_clear'].all()
    assert series.index.total_bounds == pytest.approx([179.985, 64.985, 180.015, 65.015])
    utm = RasterTimeSeries(path, crs='EPSG:32601', res=20)
    seen = utm.frames(utm.bounds).observed.sum() * 400
    assert seen == pytest.approx(0.03**2 * DEGREE_2, rel=0.02)


def test_edge_of_another_crs_is_told(tmp_path: Path) -> None:
    (x,), (y,) = transform('EPSG:4326', 'EPSG:32601', [-180.0], [65.0])
    utm = {'crs': 'EPSG:32601', 'transform': from_origin(x - 100, y + 150, 10, 10)}
    path = write(tmp_path / 'a_20200611.tif', nodata=0, **utm)
    with pytest.warns(UserWarning, match=r'1 rasters lie across the edge of EPSG:3857.*a_20200611'):
        series = RasterTimeSeries(path, crs='EPSG:3857', res=25)
    west, _, east, _ = series.index.total_bounds
    assert east - west < 1000
    assert whole(series)['mask_clear'].any()


def test_clouds_across_180_degrees(tmp_path: Path) -> None:
    (x,), (y,) = transform('EPSG:4326', 'EPSG:32601', [-180.0], [65.0])
    utm = {'crs': 'EPSG:32601', 'transform': from_origin(x - 150, y + 150, 10, 10)}
    write(tmp_path / 'i' / 'a_20200611.tif', nodata=0, **utm)
    mask = ONES.astype('uint8')
    mask[0, :15] = 0
    write(tmp_path / 'm' / 'a_20200611.tif', mask, **utm)
    masks = {'cloud_paths': tmp_path / 'm', 'clear_values': [1]}
    series = RasterTimeSeries(tmp_path / 'i', crs='EPSG:4326', **masks)
    frames = series.frames(series.bounds)
    assert frames.clear.sum() == pytest.approx(frames.observed.sum() / 2, rel=0.05)


def test_files_of_other_endings(tmp_path: Path) -> None:
    data = np.arange(900, dtype='uint16').reshape(1, 30, 30)
    write(tmp_path / 'a_20200601.TIF', data)
    write(tmp_path / 'a_20200602.img', data, driver='HFA')
    write(tmp_path / 'a_20200603.dat', data, driver='ENVI')
    write(tmp_path / 'a_20200604', data, driver='ENVI')
    write(tmp_path / 'a_20200605.bil', data, driver='EHdr')
    for name in ('a.tfw', 'a.json', 'a.png', 'readme.md', 'a.ovr', 'a.msk', 'notes', 'a.gpkg'):
        (tmp_path / name).write_text('beside')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        series = RasterTimeSeries(tmp_path)
    assert [bool((frame == data[0]).all()) for frame in whole(series)['image'][:, 0].numpy()] == [
        True
    ] * 5
    for name in ('b_20200601.hdf', 'b.nc', 'b_20200602.dat', 'b.tar.gz', 'b.asc'):
        (tmp_path / name).write_text('other')
    with pytest.warns(UserWarning, match=r'5 files in paths are left out') as told:
        series = RasterTimeSeries(tmp_path)
    assert len(told) == 1
    for word in ('a header (.hdr)', 'unpack', 'gdal_translate', 'NetCDF', 'list them as paths'):
        assert word in str(told[0].message)
    assert len(series) == 5
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'b_20200601.hdf').write_text('other')
    with (
        pytest.warns(UserWarning, match='1 files in paths'),
        pytest.raises(FileNotFoundError, match='no rasters'),
    ):
        RasterTimeSeries(tmp_path / 'empty')


def test_a_file_that_is_named_is_a_raster_whatever_its_ending(tmp_path: Path) -> None:
    path = write(tmp_path / 'a_20200601.foo')
    (tmp_path / 'a_20200601.foo.aux.xml').write_text('<PAMDataset/>')
    assert len(RasterTimeSeries(path)) == 1
    assert len(RasterTimeSeries(list(tmp_path.iterdir()))) == 1


@pytest.mark.parametrize('kind', ['zip', 'tar'])
def test_archives_are_read_in_place(tmp_path: Path, kind: str) -> None:
    for day in ('20200601', '20200611'):
        write(tmp_path / 'x' / f'p_{day}' / f'a_{day}.tif', ONES * int(day[-2:]))
        archive = tmp_path / 'in' / f'p_{day}.{kind}'
        archive.parent.mkdir(exist_ok=True)
        inner = tmp_path / 'x' / f'p_{day}' / f'a_{day}.tif'
        if kind == 'zip':
            with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
                file.write(inner, f'p_{day}.SAFE/IMG/a_{day}.tif')
                file.write(inner, f'../../a_{day}.tif')
                file.writestr('p.SAFE/readme.txt', 'no raster')
        else:
            with tarfile.open(archive, 'w') as tar:
                tar.add(inner, f'a_{day}.tif')
    for paths in (tmp_path / 'in', sorted((tmp_path / 'in').iterdir())):
        series = RasterTimeSeries(paths)
        assert whole(series)['image'][:, 0, 5, 5].tolist() == [1, 11]
    # Unpacked beside its archive a product counts once.
    write(tmp_path / 'in' / 'p_20200601' / 'a_20200601.tif')
    assert len(RasterTimeSeries(tmp_path / 'in')) == 2
    (tmp_path / 'in' / f'p_20200701.{kind}').write_bytes(b'PK but cut off')
    with pytest.raises(OSError, match=r'1 of 3 rasters cannot be opened.*p_20200701'):
        RasterTimeSeries(tmp_path / 'in')
    with pytest.warns(UserWarning, match='1 of 3'):
        assert len(RasterTimeSeries(tmp_path / 'in', unreadable='skip')) == 2


def test_archive_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    inner = write(tmp_path / 'x' / 'a_20200601.tif')
    archive = tmp_path / 'p_20200601.zip'
    for value in (1, 7):
        write(inner, ONES * value)
        with zipfile.ZipFile(archive, 'w') as file:
            file.write(inner, 'a_20200601.tif')
        if value == 1:
            series = RasterTimeSeries(archive)
        assert (whole(series)['image'] == value).all()

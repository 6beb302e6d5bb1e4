"""What other programs see in a cube."""

import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from torchgeo_sits.datasets import (
    RasterTimeSeries,
    Sentinel2TimeSeries,
    ZarrTimeSeries,
    write_cube,
)
from torchgeo_sits.errors import SITSError

xarray = pytest.importorskip('xarray')
rioxarray = pytest.importorskip('rioxarray')


def test_xarray_opens_a_cube(series_folder: Path, tmp_path: Path) -> None:
    series = RasterTimeSeries(series_folder)
    write_cube(series, tmp_path / 'c.zarr')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        cube = xarray.open_zarr(tmp_path / 'c.zarr').load()
    sample = series[series.bounds]
    assert cube.image.dims == ('time', 'band', 'y', 'x')
    assert cube.image.dtype == 'uint16'
    assert np.array_equal(cube.image, sample['image'])
    assert np.array_equal(cube.mask_clear, sample['mask_clear'])
    assert cube.mask_clear.dtype == bool
    assert cube.band.values.tolist() == list(series.bands)
    assert cube.time.values.astype('datetime64[s]').astype(int).tolist() == (
        sample['acquisition_times'].tolist()
    )
    assert cube.time_bounds.dtype.kind == 'M'
    assert cube.x.values[:2].tolist() == [600_005, 600_015]  # centres
    assert cube.y.values[:2].tolist() == [4_999_995, 4_999_985]
    assert cube.x.attrs['standard_name'] == 'projection_x_coordinate'
    for part in (cube, cube.image, cube.mask_clear):
        assert part.rio.crs.to_epsg() == 32631
        assert list(part.rio.transform())[:6] == [10, 0, 600_000, 0, -10, 5_000_000]
    assert cube.image.rio.bounds() == (600_000, 4_999_680, 600_400, 5_000_000)
    clipped = cube.image.rio.clip_box(600_100, 4_999_800, 600_200, 4_999_900)
    assert np.array_equal(clipped[0, 0], sample['image'][0, 0, 10:20, 10:20])


def test_scale_is_applied_by_xarray(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / 'wc_be_b'
    series = Sentinel2TimeSeries(root / 's2', cloud_paths=root / 'scl', offset=-1000)
    write_cube(series, tmp_path / 'c.zarr')
    cube = xarray.open_zarr(tmp_path / 'c.zarr')
    sample = series[series.bounds]
    np.testing.assert_allclose(cube.image, sample['image'], rtol=1e-6)
    assert np.array_equal(cube.mask_clear, sample['mask_clear'])
    assert (cube.mask_observed >= cube.mask_clear).all()


@pytest.mark.parametrize('crs', ['EPSG:32631', '+proj=laea +lat_0=52 +lon_0=5 +ellps=WGS84'])
def test_conventions_of_geozarr(series_folder: Path, tmp_path: Path, crs: str) -> None:
    """What the schemas of ``proj:`` and ``spatial:``, version 1, ask for."""
    write_cube(RasterTimeSeries(series_folder, crs=crs), tmp_path / 'c.zarr')
    root = json.loads((tmp_path / 'c.zarr/zarr.json').read_text())
    attributes = root['attributes']
    assert (root['zarr_format'], root['node_type']) == (3, 'group')
    assert {c['uuid']: c['name'] for c in attributes['zarr_conventions']} == {
        'f17cb550-5864-4468-aeb7-f3180cfb622f': 'proj:',
        '689b58e2-cf7b-45e0-9fff-9cfc0883d6b4': 'spatial',
    }
    codes = {'proj:code', 'proj:wkt2', 'proj:projjson'} & attributes.keys()
    assert codes == {'proj:code' if crs.startswith('EPSG') else 'proj:wkt2'}
    assert attributes['spatial:dimensions'] == ['y', 'x']
    height, width = attributes['spatial:shape']
    image = json.loads((tmp_path / 'c.zarr/image/zarr.json').read_text())
    assert image['shape'][2:] == [height, width]
    assert image['dimension_names'] == ['time', 'band', 'y', 'x']
    a, b, left, d, e, top = attributes['spatial:transform']
    assert (b, d) == (0, 0)
    assert attributes['spatial:bbox'] == pytest.approx(
        [left, top + height * e, left + width * a, top]
    )


def test_coordinates_in_degrees(series_folder: Path, tmp_path: Path) -> None:
    write_cube(RasterTimeSeries(series_folder, crs='EPSG:4326', res=1e-4), tmp_path / 'c.zarr')
    cube = xarray.open_zarr(tmp_path / 'c.zarr')
    assert cube.x.attrs['standard_name'] == 'longitude'
    assert cube.y.attrs['units'] == 'degrees_north'
    assert cube.rio.crs.to_epsg() == 4326


@pytest.fixture(scope='module')
def cube(series_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube whose root the tests rewrite."""
    path = tmp_path_factory.mktemp('cube') / 'c.zarr'
    write_cube(RasterTimeSeries(series_folder), path)
    return path


@pytest.mark.parametrize(
    ('record', 'attributes'),
    [
        *(({key: None}, {}) for key in ('complete', 'command', 'arrays', 'source', 'format')),
        ({'arrays': ['image', '../../secret']}, {}),
        ({'arrays': []}, {}),
        ({'complete': 'yes'}, {}),
        ({}, {'spatial:shape': [-32, 40]}),
        ({}, {'spatial:shape': [10**9, 10**9]}),
        ({}, {'spatial:shape': None}),
        ({}, {'spatial:transform': [0, 0, 0, 0, 0, 0]}),
        ({}, {'spatial:transform': [10, 0, float('nan'), 0, -10, 0]}),
        ({}, {'spatial:transform': [10, 0, 600_000, 0, 10, 5_000_000]}),
        ({}, {'spatial:transform': 'here'}),
        ({}, {'proj:code': 'EPSG:0', 'proj:wkt2': None}),
        ({}, {'proj:code': None, 'proj:wkt2': 7}),
    ],
    ids=str,
)
def test_records_that_lie_are_refused_in_one_line(cube: Path, record, attributes) -> None:
    root = cube / 'zarr.json'
    whole = root.read_text()
    content = json.loads(whole)
    own = content['attributes']
    own['torchgeo_sits'] |= record
    own['torchgeo_sits'] = {k: v for k, v in own['torchgeo_sits'].items() if v is not None}
    content['attributes'] = {k: v for k, v in (own | attributes).items() if v is not None}
    root.write_text(json.dumps(content))
    try:
        with pytest.raises((SITSError, OSError)) as error:
            ZarrTimeSeries(cube)
    finally:
        root.write_text(whole)
    assert 'c.zarr' in str(error.value)
    assert '\n' not in str(error.value)


def read_all(path: Path) -> None:
    series = ZarrTimeSeries(path)
    _ = series[series.bounds]


@pytest.mark.parametrize('codec', ['numcodecs.pickle', 'pickle'])
def test_nothing_of_a_cube_is_unpickled(cube: Path, tmp_path: Path, codec: str) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / 'ran',))

    copy = tmp_path / 'c.zarr'
    shutil.copytree(cube, copy)
    codecs = [{'name': codec, 'configuration': {'id': 'pickle'}}]
    content = json.loads((copy / 'zarr.json').read_text())
    content['consolidated_metadata']['metadata']['image']['codecs'] = codecs
    content['attributes']['long_name'] = '!!python/object/apply:os.system [touch ran]'
    (copy / 'zarr.json').write_text(json.dumps(content))
    array = json.loads((copy / 'image' / 'zarr.json').read_text())
    (copy / 'image' / 'zarr.json').write_text(json.dumps(array | {'codecs': codecs}))
    for chunk in (path for path in (copy / 'image' / 'c').rglob('*') if path.is_file()):
        chunk.write_bytes(pickle.dumps(Touch()))
    with pytest.raises((SITSError, OSError), match=r'c\.zarr') as error:
        read_all(copy)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('name', ['image', 'mask_clear', 'time', 'band'])
def test_arrays_of_another_shape_than_the_rest_are_refused(cube: Path, name: str) -> None:
    root = cube / 'zarr.json'
    whole = root.read_text()
    content = json.loads(whole)
    shape = content['consolidated_metadata']['metadata'][name]['shape']
    shape[0] = 10**9 if name in ('image', 'mask_clear') else shape[0] - 1
    root.write_text(json.dumps(content))
    try:
        with pytest.raises((SITSError, OSError), match=r'c\.zarr') as error:
            ZarrTimeSeries(cube)
    finally:
        root.write_text(whole)
    assert '\n' not in str(error.value)

"""Files that are not what their names say: nothing is connected to, run, or read elsewhere."""

import os
import socket
import threading
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.datasets.files import scan
from torchgeo_sits.datasets.labels import RasterLabels
from torchgeo_sits.datasets.labels.features import list_vectors
from torchgeo_sits.errors import SITSError

from .test_values import SIDE, ground, write

PLACE = '<SRS>EPSG:32631</SRS><GeoTransform>600000,10,0,5000000,0,-10</GeoTransform>'


def vrt(source: str, *, relative: bool = False, extra: str = '', band: str = '') -> str:
    """A VRT of one band of a source."""
    return (
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}">{PLACE}{extra}'
        f'<VRTRasterBand dataType="Float32" band="1"{band}><SimpleSource>'
        f'<SourceFilename relativeToVRT="{int(relative)}">{source}</SourceFilename>'
        '<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>'
    )


@pytest.fixture
def port():
    """Port of a server that notes whether anyone connects."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.settimeout(0.05)
        found: list[int] = [server.getsockname()[1]]
        done = threading.Event()

        def listen() -> None:
            while not done.is_set():
                try:
                    server.accept()[0].close()
                    found.append(1)
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        yield found
        done.set()
        thread.join()


def texts(port: int, outside: str) -> dict[str, str]:
    """Files of text that GDAL takes for rasters, and which name a server or another file."""
    address = f'http://127.0.0.1:{port}/x.tif'
    tiles = (
        '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:%d/${z}/${x}/${y}.png'
        '</ServerUrl></Service><DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>20</UpperLeftY>'
        '<LowerRightX>20</LowerRightX><LowerRightY>0</LowerRightY><TileLevel>1</TileLevel>'
        '<TileCountX>1</TileCountX><TileCountY>1</TileCountY></DataWindow><BandsCount>1'
        '</BandsCount><Projection>EPSG:32631</Projection></GDAL_WMS>'
    )
    return {
        'VRT of a server': vrt(f'/vsicurl/{address}'),
        'VRT of an address': vrt(address),
        'VRT of a file elsewhere': vrt(outside),
        'WMS': tiles % port,
        'WMTS': f'<GDAL_WMTS><GetCapabilitiesUrl>{address}</GetCapabilitiesUrl></GDAL_WMTS>',
        'WCS': f'<WCS_GDAL><ServiceURL>{address}?</ServiceURL><CoverageName>c</CoverageName>'
        '</WCS_GDAL>',
        'STAC': '{"type": "FeatureCollection", "stac_version": "1.0.0", "features": [], '
        f'"links": [{{"rel": "next", "href": "{address}"}}]}}',
        'MRF': f'<MRF_META><CachedSource><Source>/vsicurl/{address}</Source></CachedSource>'
        '<Raster><Size x="16" y="16" c="1"/></Raster></MRF_META>',
    }


@pytest.mark.parametrize('ending', ['.tif', '.jp2', '.img'])
@pytest.mark.parametrize('kind', texts(0, ''))
def test_text_in_disguise_is_refused_and_connects_to_nobody(
    tmp_path: Path, port: list[int], kind: str, ending: str
) -> None:
    outside = write(tmp_path / 'elsewhere' / 'x.tif', ground())
    path = tmp_path / 'series' / f's_20210101{ending}'
    path.parent.mkdir()
    path.write_text(texts(port[0], outside)[kind])
    with pytest.raises(SITSError, match='holds no pixels but text') as error:
        RasterTimeSeries(path.parent)
    assert path.name in str(error.value)
    with pytest.raises(SITSError, match='holds no pixels but text'):
        RasterLabels(str(path), crs='EPSG:32631', res=(10.0, 10.0))
    # In place of a raster that was opened, too.
    path.unlink()
    path = Path(write(path.with_suffix('.tif'), ground(bands=1)))
    series = RasterTimeSeries(path.parent)
    path.write_text(texts(port[0], outside)[kind])
    with pytest.raises((SITSError, OSError)):
        series[series.bounds]
    assert len(port) == 1


def test_a_vrt_of_files_in_its_folder_is_read(tmp_path: Path) -> None:
    data = ground(bands=1)
    write(tmp_path / 'parts' / 'x.tif', data)
    (tmp_path / 'inner.vrt').write_text(vrt('parts/x.tif', relative=True))
    (tmp_path / 's_20210101.vrt').write_text(vrt('inner.vrt', relative=True))
    (tmp_path / 's_20210201.vrt').write_text(vrt(str(tmp_path / 'parts' / 'x.tif')))
    series = RasterTimeSeries([tmp_path / 's_20210101.vrt', tmp_path / 's_20210201.vrt'])
    image = series[series.bounds]['image'].numpy()
    assert np.array_equal(image, [data, data])


CODE = (
    '<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>'
)


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        (vrt('../elsewhere/x.tif', relative=True), 'not in its folder'),
        (vrt('/etc/hostname'), "names '/etc/hostname', which is not in its folder"),
        (vrt('/vsicurl/http://127.0.0.1:9/x.tif'), 'not in its folder'),
        (vrt('http://127.0.0.1:9/x.tif', relative=True), 'not in its folder'),
        (vrt('NETCDF:"/etc/x.nc":v', relative=True), 'not in its folder'),
        (vrt('x.tif', relative=True, extra=CODE), 'holds code'),
        (vrt('disguised.tif', relative=True), 'disguised.tif. holds no pixels but text'),
        (vrt('s_20210101.vrt', relative=True), 'joins itself'),
        (vrt('other.vrt', relative=True), "names '/etc/hostname'"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + vrt('x.tif', relative=True), 'declares entities'),
        ('<VRTDataset', 'is no VRT that can be read'),
        ('', 'is no VRT that can be read'),
    ],
)
def test_a_vrt_that_names_what_is_not_its_own(tmp_path: Path, text: str, match: str) -> None:
    write(tmp_path / 'elsewhere' / 'x.tif', ground())
    folder = tmp_path / 'series'
    write(folder / 'x.tif', ground())
    (folder / 'disguised.tif').write_text(vrt('/etc/hostname'))
    (folder / 'other.vrt').write_text(vrt('/etc/hostname'))
    (folder / 's_20210101.vrt').write_text(text)
    with pytest.raises(SITSError, match=match) as error:
        scan([str(folder / 's_20210101.vrt')], unreadable='raise')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('ending', ['.msk', '.ovr'])
def test_masks_beside_rasters_are_held_to_the_same(
    tmp_path: Path, port: list[int], ending: str
) -> None:
    path = write(tmp_path / 's_20210101.tif', ground())
    Path(path + ending).write_text(vrt(f'/vsicurl/http://127.0.0.1:{port[0]}/x.tif'))
    with pytest.raises(SITSError, match=rf's_20210101.tif{ending}. holds no pixels but text'):
        RasterTimeSeries(tmp_path)
    assert len(port) == 1


@pytest.mark.parametrize('name', ['[2021]', 'a*', 'b?'])
def test_names_of_folders_are_no_patterns(tmp_path: Path, name: str) -> None:
    own, other = tmp_path / name, tmp_path / {'[2021]': '2', 'a*': 'ab', 'b?': 'bc'}[name]
    write(own / 's_20210101.tif', ground(bands=1))
    write(other / 's_20210201.tif', ground(bands=1) + 1)
    series = RasterTimeSeries(own)
    assert series.source_files == [str(own / 's_20210101.tif')]
    frame = geopandas.GeoDataFrame({'crop': [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32631)
    frame.to_file(own / 'own.geojson')
    frame.to_file(other / 'other.geojson')
    (own / 's_20210101.tif').unlink()
    assert list_vectors(str(own)) == [str(own / 'own.geojson')]


def test_all_that_is_documented_as_read_still_opens(tmp_path: Path) -> None:
    data = ground('uint8', 1)
    for driver, ending in (
        ('GTiff', 'tif'),
        ('JP2OpenJPEG', 'jp2'),
        ('HFA', 'img'),
        ('ENVI', 'dat'),
    ):
        folder = tmp_path / ending
        options = {'QUALITY': '100', 'REVERSIBLE': 'YES'} if ending == 'jp2' else {}
        write(folder / f's_20210101.{ending}', data, driver=driver, **options)
        series = RasterTimeSeries(folder)
        assert np.array_equal(series[series.bounds]['image'][0].numpy(), data), driver
    assert os.path.exists(tmp_path / 'dat' / 's_20210101.hdr')
    with rasterio.open(tmp_path / 'tif' / 's_20210101.tif') as file:
        assert file.driver == 'GTiff'

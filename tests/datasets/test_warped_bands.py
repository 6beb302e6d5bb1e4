"""Each band of a warped file as GDAL warps it where it is alone in a file of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from torchgeo_sits.datasets.files import scan
from torchgeo_sits.datasets.reading import RasterReader
from torchgeo_sits.grid import Grid

UTM32 = CRS.from_epsg(32632)
SIDE = 24
PLACE = {'crs': UTM32, 'transform': from_origin(600_000, 5_000_000, 10, 10)}
SIZE = {'height': SIDE, 'width': SIDE}

#: CRS and pixel size to warp to: finer, coarser, beside, and turned.
TARGETS = [(32632, 5), (32632, 7.3), (32632, 20), (32632, 13), (32633, 10), (4326, 1.5e-4)]
#: Values for no data by the type of the pixels; float32 holds the last two inexactly.
NODATA = {'uint16': [None, 0, 65535], 'int16': [-9999], 'float32': [None, np.nan, -9999.9, 1e20]}


def alone(
    data: np.ndarray, nodata: float | None, shown: np.ndarray | None, grid: Grid, *, nearest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Values and what is valid of one band, by nothing but rasterio."""
    profile = {'driver': 'GTiff', 'count': 1, 'dtype': data.dtype, 'nodata': nodata}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(**profile, **PLACE, **SIZE) as file:
            file.write(data, 1)
            if shown is not None:
                file.write_mask(shown)
        with (
            memory.open() as file,
            WarpedVRT(
                file,
                crs=grid.crs,
                transform=grid.transform,
                width=grid.width,
                height=grid.height,
                resampling=Resampling.nearest if nearest else Resampling.bilinear,
                # By default a value that float32 holds inexactly is taken for data.
                UNIFIED_SRC_NODATA='NO',
                **({'add_alpha': True} if nodata is None else {}),
            ) as vrt,
        ):
            values = vrt.read(1)
            valid = vrt.read(2) > 0 if nodata is None else vrt.read_masks(1) > 0
    return values, valid & np.isfinite(values)


def target(crs: int, res: float) -> Grid:
    """A grid that reaches beyond the file on all sides."""
    to = CRS.from_epsg(crs)
    edges = (600_000, 5_000_000 - 10 * SIDE, 600_000 + 10 * SIDE, 5_000_000)
    west, south, east, north = transform_bounds(UTM32, to, *edges)
    size = int((east - west) / res) + 4, int((north - south) / res) + 4
    return Grid(west - 2 * res, north + 2 * res, res, res, *size, to)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('bands')


def write(folder: Path, data: np.ndarray, nodata: list[Any], mask: str, shown: np.ndarray) -> str:
    """A file of these bands, each with its own value for no data, and a mask."""
    path = folder / 'a_20200101.tif'
    alpha = mask == 'alpha'
    stored = np.concatenate([data, shown[None].astype(data.dtype)]) if alpha else data
    profile = {'driver': 'GTiff', 'count': len(stored), 'dtype': data.dtype}
    one = nodata[0] if len(set(map(str, nodata))) == 1 else None
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, 'w', nodata=one, **profile, **PLACE, **SIZE) as file,
    ):
        if alpha:
            file.colorinterp = [*[ColorInterp.gray] * len(data), ColorInterp.alpha]
        file.write(stored)
        if mask == 'mask':
            file.write_mask(shown)
    if one is not None or nodata == [None] * len(nodata):
        return str(path)
    # A GeoTIFF has one value for all; a VRT has one for each band.
    vrt = folder / 'b_20200101.vrt'
    name = {'uint16': 'UInt16', 'int16': 'Int16', 'float32': 'Float32'}[str(data.dtype)]
    bands = ''.join(
        f'<VRTRasterBand dataType="{name}" band="{i}">'
        + ('' if value is None else f'<NoDataValue>{value!r}</NoDataValue>')
        + f'<SimpleSource><SourceFilename>{path}</SourceFilename><SourceBand>{i}</SourceBand>'
        '</SimpleSource></VRTRasterBand>'
        for i, value in enumerate(nodata, 1)
    )
    vrt.write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32632</SRS>'
        f'<GeoTransform>600000,10,0,5000000,0,-10</GeoTransform>{bands}</VRTDataset>'
    )
    return str(vrt)


@st.composite
def kinds(draw: st.DrawFn) -> tuple[str, list[Any], str]:
    """Type of the pixels, value for no data of each band, and the mask of a file."""
    dtype = draw(st.sampled_from(sorted(NODATA)))
    value = st.sampled_from(NODATA[dtype])
    count = draw(st.integers(1, 4))
    nodata = [draw(value)] * count if draw(st.booleans()) else [draw(value) for _ in range(count)]
    plain = all(value is None for value in nodata)
    return dtype, nodata, draw(st.sampled_from(['none', 'mask', 'alpha'])) if plain else 'none'


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kind=kinds(),
    share=st.sampled_from([0, 0.02, 0.4]),
    seed=st.integers(0, 2**32 - 1),
    to=st.sampled_from(TARGETS),
    nearest=st.booleans(),
)
@example(kind=('int16', [-9999] * 2, 'none'), share=0, seed=0, to=(32632, 5), nearest=False)
def test_bands_are_warped_as_if_they_were_alone(
    folder: Path,
    kind: tuple[str, list[Any], str],
    share: float,
    seed: int,
    to: tuple[int, float],
    nearest: bool,
) -> None:
    dtype, nodata, mask = kind
    generator = np.random.default_rng(seed)
    data = generator.integers(1, 9000, (len(nodata), SIDE, SIDE)).astype(dtype)
    for band, value in zip(data, nodata, strict=True):
        if value is not None:  # holes of its own, and one in common
            band[generator.random(band.shape) < share] = value
            band[6:11, 8:14] = value
    shown = np.where(generator.random((SIDE, SIDE)) < 0.2, 0, 255).astype('uint8')
    path = write(folder, data, nodata, mask, shown)
    (raster,) = scan([path], unreadable='raise')
    grid = target(*to)
    method = Resampling.nearest if nearest else Resampling.bilinear
    values, observed = RasterReader().read(raster, raster.indexes, grid, resampling=method)
    hides = shown if mask != 'none' else None
    truth = [
        alone(band, value, hides, grid, nearest=nearest)
        for band, value in zip(data, nodata, strict=True)
    ]
    assert np.array_equal(observed, np.all([valid for _, valid in truth], axis=0))
    for own, (expected, _) in zip(values, truth, strict=True):
        assert np.array_equal(own[observed], expected[observed])


def test_masks_of_single_bands(folder: Path) -> None:
    data = np.full((2, SIDE, SIDE), 500, 'uint16')
    masks = np.full((2, SIDE, SIDE), 255, 'uint16')
    masks[0, 4:8, 4:8] = masks[1, 12:14, 2:8] = 0
    data[masks == 0] = 60_000
    tif = folder / 'masks & bands.tif'
    profile = {'driver': 'GTiff', 'count': 4, 'dtype': 'uint16'}
    with rasterio.open(tif, 'w', **profile, **PLACE, **SIZE) as file:
        file.write(np.concatenate([data, masks]))
    source = f'<SimpleSource><SourceFilename>{tif.name.replace("&", "&amp;")}</SourceFilename>'
    source = source.replace('<SourceFilename>', '<SourceFilename relativeToVRT="1">')
    bands = ''.join(
        f'<VRTRasterBand dataType="UInt16" band="{i}">{source}<SourceBand>{i}</SourceBand>'
        f'</SimpleSource><MaskBand><VRTRasterBand dataType="Byte">{source}<SourceBand>{i + 2}'
        '</SourceBand></SimpleSource></VRTRasterBand></MaskBand></VRTRasterBand>'
        for i in (1, 2)
    )
    vrt = folder / 'c & d_20200101.vrt'
    vrt.write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32632</SRS>'
        f'<GeoTransform>600000,10,0,5000000,0,-10</GeoTransform>{bands}</VRTDataset>'
    )
    (raster,) = scan([str(vrt)], unreadable='raise')
    own = Grid(600_000, 5_000_000, 10, 10, SIDE, SIDE, UTM32)
    assert np.array_equal(RasterReader().read(raster, [1, 2], own)[1], (masks > 0).all(axis=0))
    assert np.array_equal(RasterReader().read(raster, [2], own)[1], masks[1] > 0)
    grid = target(32632, 5)
    values, observed = RasterReader().read(raster, [1, 2], grid, resampling=Resampling.bilinear)
    truth = [
        alone(band, None, mask.astype('uint8'), grid, nearest=False)
        for band, mask in zip(data, masks, strict=True)
    ]
    assert np.array_equal(observed, truth[0][1] & truth[1][1])
    assert (values[:, observed] == 500).all()

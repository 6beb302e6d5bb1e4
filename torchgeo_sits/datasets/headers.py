"""What the header of a raster file says."""

from dataclasses import dataclass

from rasterio import open as open_raster
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from ..errors import SITSError

__all__ = ['Bounds', 'Header', 'read_header']

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Header:
    """The grid and the bands of one file.

    Attributes:
        crs: Its coordinate reference system.
        transform: Affine transformation of (column, row) to coordinates, in units of *crs*.
        width: Number of columns.
        height: Number of rows.
        bounds: West, south, east, north, in units of *crs*.
        res: Width and height of a pixel, in units of *crs*.
        block: Rows and columns of the blocks in which the first band is stored.
        indexes: Numbers of its bands, from 1, without an alpha channel.
        descriptions: Names of these bands; empty where the file does not name each.
        dtypes: Data types of these bands, as NumPy names them.
        nodata: Values of these bands that mean no data, None where the file says none.
    """

    crs: CRS
    transform: Affine
    width: int
    height: int
    bounds: Bounds
    res: tuple[float, float]
    block: tuple[int, int]
    indexes: tuple[int, ...]
    descriptions: tuple[str, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]


def read_header(path: str) -> Header:
    """Open one raster and close it again.

    Args:
        path: The raster.

    Returns:
        Its header.

    Raises:
        RasterioError: If it does not open.
        SITSError: If it has no CRS.
    """
    with open_raster(path, sharing=False) as source:
        if source.crs is None:
            raise SITSError(
                f"'{path}' has no coordinate reference system: write it into the file, for "
                'instance with `rio edit-info --crs`'
            )
        indexes = _spectral_indexes(source)
        named = [source.descriptions[i - 1] for i in indexes]
        complete = all(named) and len(set(named)) == len(named)
        left, bottom, right, top = source.bounds
        return Header(
            crs=source.crs,
            transform=source.transform,
            width=source.width,
            height=source.height,
            bounds=(min(left, right), min(bottom, top), max(left, right), max(bottom, top)),
            res=(abs(source.res[0]), abs(source.res[1])),
            block=source.block_shapes[0],
            indexes=indexes,
            descriptions=tuple(str(band).strip() for band in named) if complete else (),
            dtypes=tuple(source.dtypes[i - 1] for i in indexes),
            nodata=tuple(source.nodatavals[i - 1] for i in indexes),
        )


def _spectral_indexes(source: DatasetReader) -> tuple[int, ...]:
    """Numbers (from 1) of the bands of an open raster that are not an alpha channel."""
    return tuple(
        i
        for i, colour in zip(source.indexes, source.colorinterp, strict=True)
        if colour != ColorInterp.alpha
    )

"""Where a place lies: from coordinates to the patch around it."""

from typing import NamedTuple

from rasterio.crs import CRS
from rasterio.warp import transform

from ..errors import SITSError
from ..grid import Grid

__all__ = ['Patch', 'locate', 'patch_around']


class Patch(NamedTuple):
    """The pixels around a place.

    Attributes:
        grid: The pixels of the patch.
        pixel: Row and column of the place in it.
    """

    grid: Grid
    pixel: tuple[int, int]


def locate(text: str, crs: CRS) -> tuple[float, float]:
    """Read coordinates.

    Args:
        text: ``LON,LAT`` in degrees (WGS 84), or ``X,Y`` in units of *crs* where either number
            is beyond what degrees can be.
        crs: Coordinate reference system of the data.

    Returns:
        x and y in *crs*.

    Raises:
        SITSError: If *text* is no pair of numbers.
    """
    try:
        x, y = map(float, text.split(','))
    except ValueError as error:
        raise SITSError(
            f'expected --at LON,LAT in degrees, such as --at=4.35,50.85, or X,Y in {crs}, got '
            f'{text!r}'
        ) from error
    if abs(x) > 180 or abs(y) > 90:
        return x, y
    [x], [y] = transform('EPSG:4326', crs, [x], [y])[:2]
    return float(x), float(y)


def patch_around(data: Grid, point: tuple[float, float], size: int) -> Patch:
    """The patch in whose middle a point lies, moved into the data where it would reach beyond.

    Args:
        data: All pixels of the data.
        point: x and y, in the coordinate reference system of the data.
        size: Side of the patch in pixels; data that is smaller is taken whole.

    Returns:
        The patch, on the pixels of the data.

    Raises:
        SITSError: If the point is not in the data.
    """
    west, south, east, north = data.bounds
    x, y = point
    if not (west <= x < east and south < y <= north):
        raise SITSError(
            f'expected a place in the data, x from {west:.10g} to {east:.10g} and y from '
            f'{south:.10g} to {north:.10g} in {data.crs}, got x={x:.10g} and y={y:.10g}: give '
            '--at as longitude,latitude, or as x,y of the data'
        )
    column = min(int((x - west) / data.xres), data.width - 1)
    row = min(int((north - y) / data.yres), data.height - 1)
    height, width = min(size, data.height), min(size, data.width)
    top = min(max(row - height // 2, 0), data.height - height)
    left = min(max(column - width // 2, 0), data.width - width)
    grid = Grid(
        west + left * data.xres,
        north - top * data.yres,
        data.xres,
        data.yres,
        width,
        height,
        data.crs,
    )
    return Patch(grid, (row - top, column - left))

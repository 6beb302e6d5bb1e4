"""Where rasters lie, and the grid that they share."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.crs import CRS as RasterCRS
from rasterio.errors import CRSError
from rasterio.transform import from_origin
from rasterio.warp import calculate_default_transform, transform_bounds

from .grid import TOLERANCE, Grid
from .headers import Bounds
from .scenes import Scene, list_examples

__all__ = ['common_crs', 'extents', 'finest', 'snapped', 'to_pyproj']


def to_pyproj(crs: RasterCRS) -> CRS:
    """The same CRS as TorchGeo and GeoPandas hold it."""
    return CRS.from_wkt(crs.to_wkt(version='WKT2_2019'))


def extents(scenes: Sequence[Scene], crs: RasterCRS) -> NDArray[np.float64]:
    """``(N, 4)`` west, south, east and north of N rasters, in units of *crs*."""
    warped: dict[tuple[RasterCRS, Bounds], Bounds] = {}  # a tile has the same in all its files
    bounds = []
    for scene in scenes:
        if scene.crs == crs:
            bounds.append(scene.bounds)
            continue
        place = scene.crs, scene.bounds
        if place not in warped:
            warped[place] = transform_bounds(scene.crs, crs, *scene.bounds)
        bounds.append(warped[place])
    return np.array(bounds)


def common_crs(scenes: Sequence[Scene], crs: CRS | None) -> RasterCRS:
    """The CRS of all samples; says once how many files must be warped to it.

    Args:
        scenes: The rasters.
        crs: What the user chose, if anything; else that of the first raster.

    Returns:
        The CRS.

    Raises:
        ValueError: If *crs* is none.
    """
    try:
        target = scenes[0].crs if crs is None else RasterCRS.from_user_input(crs)
    except (CRSError, ValueError) as error:
        raise ValueError(
            f"crs={crs!r} is no coordinate reference system, such as 'EPSG:32631': {error}"
        ) from error
    others = [scene.path for scene in scenes if scene.crs != target]
    if others and crs is None:
        warnings.warn(
            f'{len(others)} of {len(scenes)} rasters are in another CRS than '
            f"'{scenes[0].path}' and are warped to its own ({target.to_string()[:60]}): "
            f'{list_examples(others)}. Give `crs` for another choice.',
            UserWarning,
            stacklevel=3,
        )
    return target


def finest(scenes: Sequence[Scene], crs: RasterCRS) -> tuple[float, float]:
    """Size of the smallest pixel among rasters, in units of *crs*."""
    same = [scene.res for scene in scenes if scene.crs == crs]
    if same:
        return min(same)
    scene = min(scenes, key=lambda s: s.res)
    left, bottom, right, top = scene.bounds
    width = round((right - left) / scene.res[0])
    height = round((top - bottom) / scene.res[1])
    transform, *_ = calculate_default_transform(scene.crs, crs, width, height, *scene.bounds)
    return float(transform.a), float(-transform.e)


def snapped(grid: Grid, scenes: Sequence[Scene]) -> Grid:
    """Move a window onto the pixel grid of the rasters below it, by half a pixel at most.

    Args:
        grid: The window as it was asked for.
        scenes: The rasters; the first one of its CRS and pixel size gives the grid.

    Returns:
        The window, as it was if it fits already or no raster has its pixel size.
    """
    for scene in scenes:
        if scene.crs != grid.crs:
            continue
        offset = grid.offset_in(from_origin(scene.bounds[0], scene.bounds[3], *scene.res))
        if offset is None:
            continue
        column, row = (float(value - np.floor(value + 0.5)) for value in offset)
        if max(abs(column), abs(row)) <= TOLERANCE:
            return grid
        return Grid(
            grid.left - column * grid.xres,
            grid.top + row * grid.yres,
            grid.xres,
            grid.yres,
            grid.width,
            grid.height,
            grid.crs,
        )
    return grid

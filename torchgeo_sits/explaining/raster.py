"""The importance of the pixels around a place as a GeoTIFF."""

from collections.abc import Mapping
from pathlib import Path

import rasterio
from torch import Tensor

from ..datasets.grid import Grid

__all__ = ['write_importance']


def write_importance(path: Path, importance: Tensor, grid: Grid, tags: Mapping[str, str]) -> None:
    """Write a map that lies on the pixels of the data.

    Args:
        path: File to write.
        importance: ``(H, W)`` float, NaN for no data.
        grid: Extent, pixels and coordinate reference system.
        tags: What is said of it.

    Raises:
        ValueError: If the map has another size than the grid.
    """
    if importance.shape != (grid.height, grid.width):
        raise ValueError(
            f'expected a map of {grid.height} x {grid.width} pixels, got {tuple(importance.shape)}'
        )
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        width=grid.width,
        height=grid.height,
        count=1,
        dtype='float32',
        nodata=float('nan'),
        crs=grid.crs,
        transform=grid.transform,
        compress='deflate',
    ) as file:
        file.write(importance.float().cpu().numpy(), 1)
        file.set_band_description(1, 'importance')
        file.update_tags(**tags)

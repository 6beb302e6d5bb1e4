"""Pixels that carry weight for the sampling of patches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from torchgeo.datasets import GeoDataset

from .regions import Region

__all__ = ['weighted_pixels']


def weighted_pixels(
    region: Region,
    weights: str | Path | Sequence[str | Path] | GeoDataset,
    dataset: GeoDataset,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pixels of a region at which a raster is neither 0 nor nodata.

    Args:
        region: Where to look.
        weights: Raster files, of which the first band is read and resampled to the nearest
            pixel, or a data set whose samples have a ``mask`` of the region's resolution,
            ``(H, W)`` or ``(T, H, W)``; any date counts.
        dataset: The data set to sample from, for its CRS.

    Returns:
        Rows and columns in the region, both ``(N,)``.

    Raises:
        ValueError: If the mask of a data set has another size than the region.
    """
    rows, columns = region.shape
    if isinstance(weights, GeoDataset):
        marked = _from_dataset(region, weights)
    else:
        paths = [weights] if isinstance(weights, str | Path) else weights
        marked = np.zeros(region.shape, bool)
        for path in paths:
            with (
                rasterio.open(path) as source,
                WarpedVRT(
                    source,
                    crs=dataset.crs.to_wkt(),
                    transform=from_origin(region.left, region.top, *region.res),
                    width=columns,
                    height=rows,
                    resampling=Resampling.nearest,
                ) as warped,
            ):
                marked |= (warped.read(1) != 0) & (warped.read_masks(1) > 0)
    row, column = np.nonzero(marked)
    return row, column


def _from_dataset(region: Region, labels: GeoDataset) -> NDArray[np.bool_]:
    """Pixels of the region, ``(H, W)``, that any mask of a data set marks."""
    rows, columns = region.shape
    x = slice(region.left, region.left + columns * region.res[0], region.res[0])
    y = slice(region.top - rows * region.res[1], region.top, region.res[1])
    try:
        mask = labels[x, y]['mask'].numpy()
    except IndexError:
        # Nothing is labelled in this region; the caller complains if that holds for all.
        return np.zeros(region.shape, bool)
    marked = (mask != 0).reshape(-1, *mask.shape[-2:]).any(axis=0)
    if marked.shape != region.shape:
        raise ValueError(
            f'weights gives masks of {marked.shape[0]} x {marked.shape[1]} pixels for a region '
            f'of {rows} x {columns}: give the label data set res={region.res}'
        )
    return marked

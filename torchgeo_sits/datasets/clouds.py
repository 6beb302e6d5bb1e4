"""Cloud masks matched to the dates of a series."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from rasterio.crs import CRS as RasterCRS

from ..errors import SITSError
from ..footprints import DistinctShapes
from ..grid import Grid
from .catalogue import extents
from .files import RasterFile, list_examples
from .reading import RasterReader

__all__ = ['CloudMasks']


class CloudMasks:
    """Classified rasters, such as Sentinel-2 SCL, matched to acquisitions by date.

    Args:
        rasters: The masks, in order: where two cover a pixel the first one counts. The first of
            their bands is read.
        times: Acquisitions of the images, UTC.
        images: Index of the images: ``filepath`` and footprints.
        group_by: Whether masks belong to images of the same day or of the same instant; a
            mask with a date alone serves each instant of its day.
        clear: For each mask, tells which of its values ``(H, W)`` mean clear, ``(H, W)`` bool.
        kept: Values that are said whatever a mask declares to be no data.
        cache: Keep files open between reads.

    Attributes:
        rules: What was given as *clear*.

    Raises:
        SITSError: If no mask has the date of an image, or none lies where one does.
    """

    def __init__(
        self,
        rasters: Sequence[RasterFile],
        times: Sequence[pd.Timestamp],
        images: GeoDataFrame,
        *,
        group_by: Literal['day', 'time'],
        clear: Sequence[Callable[[NDArray[Any]], NDArray[np.bool_]]],
        kept: Sequence[int] = (),
        cache: bool = True,
    ) -> None:
        self.rules = clear
        self._group_by = group_by
        self._reader = RasterReader(kept=kept, cache=cache)
        self._by_time: dict[pd.Timestamp, list[int]] = defaultdict(list)
        for i, raster in enumerate(rasters):
            exact = group_by == 'time' and raster.name.has_clock
            self._by_time[raster.name.time if exact else raster.name.time.normalize()].append(i)
        self._masks = list(rasters)
        self._crs: RasterCRS | None = None
        self._tree = DistinctShapes(np.zeros(0, object))
        acquisitions = sorted(set(times))
        lacking = [time for time in acquisitions if not self._of(time)]
        if len(lacking) == len(acquisitions):
            raise SITSError(
                f"none of {len(rasters)} cloud masks, such as '{rasters[0].path}', has the "
                f'{group_by} of an image, such as {acquisitions[0]}: check the dates in the names '
                'of cloud_paths'
            )
        if lacking:
            warnings.warn(
                f'{len(lacking)} of {len(acquisitions)} acquisitions have no cloud mask and count '
                f'as clear wherever there is data: {list_examples(lacking)}',
                UserWarning,
                stacklevel=3,
            )
        places = DistinctShapes(np.asarray(images.geometry)).shapes
        crs = RasterCRS.from_user_input(images.crs)
        if not _overlap(self._within(crs, shapely.total_bounds(places)), places):
            raise SITSError(
                f"none of {len(rasters)} cloud masks, such as '{rasters[0].path}', lies where the "
                f"images do, such as '{images.filepath.iloc[0]}': give the masks of these images "
                'as cloud_paths'
            )

    def __getstate__(self) -> dict[str, object]:
        """A plain state: the dictionary needs no default once it is filled."""
        return {**self.__dict__, '_by_time': dict(self._by_time)}

    def _of(self, time: pd.Timestamp) -> list[int]:
        """Look up the numbers of the masks of an acquisition."""
        day = self._by_time.get(time.normalize(), [])
        if self._group_by == 'day' or time == time.normalize():
            return day
        return self._by_time.get(time, []) or day

    def within(self, grid: Grid) -> set[int]:
        """Find the numbers of the masks that share an area with a window."""
        return set(self._within(grid.crs, np.array(grid.bounds)).meeting(grid).tolist())

    def _within(self, crs: RasterCRS, place: NDArray[np.float64]) -> DistinctShapes:
        """Footprints of the masks in a CRS, near a place with these bounds ``(4,)``."""
        if self._crs != crs:
            bounds = extents(self._masks, crs, near=float(place[[0, 2]].mean()))
            self._tree, self._crs = DistinctShapes(shapely.box(*bounds.T)), crs
        return self._tree

    @property
    def files(self) -> list[str]:
        """Files of the masks."""
        return [raster.path for raster in self._masks]

    def reserve(self, files: int) -> None:
        """Keep enough handles open for windows of so many masks."""
        self._reader.reserve(files)

    def close(self) -> None:
        """Close all handles."""
        self._reader.close()

    def read(self, time: pd.Timestamp, grid: Grid, near: set[int]) -> NDArray[np.bool_] | None:
        """Read the pixels that were clear at one acquisition.

        Args:
            time: The acquisition.
            grid: Pixels wanted.
            near: What :meth:`within` said of *grid*.

        Returns:
            ``(H, W)`` bool, False where the masks of that date do not reach; None where
            there is no mask of that date here.

        Raises:
            OSError: If a mask cannot be read.
        """
        masks = [i for i in self._of(time) if i in near]
        if not masks:
            return None
        clear = np.zeros((grid.height, grid.width), bool)
        undecided = np.ones_like(clear)
        for i in masks:
            raster = self._masks[i]
            values, covered = self._reader.read(raster, raster.indexes[:1], grid)
            clear |= undecided & covered & self.rules[i](values[0])
            undecided &= ~covered
            if not undecided.any():
                break
        return clear


def _overlap(masks: DistinctShapes, images: NDArray[np.object_]) -> bool:
    """Tell whether any of *masks* shares an area with any of *images*, in the same CRS."""
    for image in images:
        near = masks.shapes[masks.tree.query(image)]
        if (shapely.area(shapely.intersection(near, image)) > 0).any():
            return True
    return False

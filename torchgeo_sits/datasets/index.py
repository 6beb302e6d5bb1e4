"""What is asked of an index for each sample, kept until the index is another."""

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from rasterio.crs import CRS as RasterCRS

from ..footprints import DistinctShapes
from ..grid import TOLERANCE, Grid
from .frames import Frames

__all__ = ['BlockCache', 'FootprintTree', 'IndexLookup']


class BlockCache:
    """Keeps the frames of a few blocks until their last patch was cut.

    A fork keeps them, a pickle starts without any.
    """

    def __init__(self) -> None:
        self._blocks: OrderedDict[Any, Frames | None] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy nothing: another process cuts from blocks of its own."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._blocks = OrderedDict()

    def get(
        self, key: Any, read: Callable[[], Frames | None], *, last: bool, kept: int
    ) -> Frames | None:
        """Frames of a block.

        Args:
            key: Tells the block from others.
            read: Reads it.
            last: Whether nobody will ask for it again.
            kept: How many blocks to keep, this one among them.

        Returns:
            The frames, which all callers share; None where *read* found none.
        """
        if key in self._blocks:
            frames = self._blocks.pop(key)
        else:
            # Room first: the memory of all that is kept and of one that is read is the peak.
            while len(self._blocks) >= kept:
                self._blocks.popitem(last=False)
            frames = read()
        if not last:
            self._blocks[key] = frames
        return frames

    def clear(self) -> None:
        """Forget all blocks."""
        self._blocks.clear()


class FootprintTree(DistinctShapes):
    """Rows by the place of their footprints.

    Args:
        shapes: Footprints of the rows, ``(R,)``.
    """

    def meeting(self, grid: Grid) -> NDArray[np.intp]:
        """Rows whose footprints share an area with a window; a touch does not count.

        Args:
            grid: The window, in the CRS of the footprints. Less than
                :data:`~torchgeo_sits.grid.TOLERANCE` of a pixel is a touch:
                coordinates of neighbouring tiles are rounded.

        Returns:
            Their numbers, ascending, ``(M,)``.
        """
        left, bottom, right, top = grid.bounds
        dx, dy = TOLERANCE * grid.xres, TOLERANCE * grid.yres
        near = self.tree.query(shapely.box(left + dx, bottom + dy, right - dx, top - dy))
        # A footprint need not be a box: a splitter may have cut it, or a warp turned it.
        parts = shapely.clip_by_rect(self.shapes[near], left, bottom, right, top)
        return self.rows(near[shapely.area(parts) > dx * dy])


class IndexLookup:
    """Rows of an index by place and time.

    Args:
        frame: One row per product: its interval as index, and its footprint.
        instants: When the rows were acquired, ``(N,)``.

    Attributes:
        frame: The index, without the rows whose intervals do not hold their instants: a splitter
            of TorchGeo that cuts a day in two leaves the row in both parts.
        blocks: Frames that were read by this index.
    """

    def __init__(self, frame: GeoDataFrame, instants: pd.DatetimeIndex) -> None:
        holds = (frame.index.left <= instants) & (instants <= frame.index.right)
        self.frame = frame if holds.all() else frame[holds]
        self.blocks = BlockCache()
        self._intervals, self._crs = self.frame.index, self.frame.crs
        #: Microseconds since 1970; nanoseconds end in 2262.
        self.times = instants[holds].as_unit('us').asi8

    def is_of(self, frame: GeoDataFrame) -> bool:
        """Whether an index is still this one; TorchGeo moves it to another CRS in place."""
        return frame.index is self._intervals and frame.crs is self._crs

    @cached_property
    def crs(self) -> RasterCRS:
        """The CRS as rasterio holds it."""
        return RasterCRS.from_user_input(self._crs)

    @cached_property
    def extent(self) -> tuple[NDArray[np.float64], pd.Timestamp, pd.Timestamp]:
        """West, south, east and north of all rows, ``(4,)``, and their first and last instant."""
        return self.frame.total_bounds, self._intervals.left.min(), self._intervals.right.max()

    def rows(self, grid: Grid, start: pd.Timestamp, stop: pd.Timestamp) -> NDArray[np.intp]:
        """Rows that share an area with a window and were acquired in a span.

        Args:
            grid: The window, in the CRS of the index.
            start: First instant, UTC.
            stop: First instant after the span. Where it is *start*, that instant stands for all
                that it may mean, as the intervals of the rows say.

        Returns:
            Their numbers, ascending, ``(M,)``.
        """
        rows = self._tree.meeting(grid)
        first, last = (int(np.datetime64(time, 'us').astype(np.int64)) for time in (start, stop))
        if first < last:
            return rows[(self.times[rows] >= first) & (self.times[rows] < last)]
        lefts, rights = self._ends
        return rows[(lefts[rows] <= last) & (rights[rows] >= first)]

    @cached_property
    def _tree(self) -> FootprintTree:
        return FootprintTree(np.asarray(self.frame.geometry))

    @cached_property
    def _ends(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._intervals.left.as_unit('us').asi8, self._intervals.right.as_unit('us').asi8

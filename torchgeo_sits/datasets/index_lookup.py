"""What is asked of an index for each sample, kept until the index is another."""

from functools import cached_property

import numpy as np
import pandas as pd
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from rasterio.crs import CRS as RasterCRS

from .block_cache import BlockCache
from .footprint_tree import FootprintTree
from .grid import Grid

__all__ = ['IndexLookup']


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

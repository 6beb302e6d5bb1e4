"""Distinct footprints of many rows, in a spatial tree."""

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from .grid import TOLERANCE, Grid

__all__ = ['DistinctShapes']


class DistinctShapes:
    """Footprints of rows in a spatial tree, each distinct one once.

    A stack of hundreds of dates has one footprint or a few, so that windows are held against
    these instead of all rows.

    Args:
        shapes: Footprint of each row, ``(R,)``.

    Attributes:
        shapes: The distinct ones, ``(F,)``.
        tree: A tree of these.

    Examples:
        >>> import numpy as np
        >>> import shapely
        >>> from torchgeo_sits.footprints import DistinctShapes
        >>> west, east = shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10)
        >>> distinct = DistinctShapes(np.array([west, east, west]))
        >>> len(distinct.shapes), distinct.rows(np.array([0]))
        (2, array([0, 2]))
    """

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        place, known = pd.factorize(shapely.to_wkb(shapes))
        first = np.empty(len(known), np.intp)
        first[place[::-1]] = np.arange(len(shapes))[::-1]
        self.shapes = shapes[first]
        self.tree = shapely.STRtree(self.shapes)
        # Rows by footprint, those of one footprint side by side and ascending.
        self._rows = np.argsort(place, kind='stable')
        self._ends = np.searchsorted(place[self._rows], np.arange(len(first) + 1))

    def meeting(self, grid: Grid) -> NDArray[np.intp]:
        """Find the rows whose footprints share an area with a window; a touch does not count.

        Args:
            grid: The window, in the CRS of the footprints. Less than
                :data:`~torchgeo_sits.grid.TOLERANCE` of a pixel is a touch: coordinates of
                neighbouring tiles are rounded.

        Returns:
            Numbers of the rows, ascending, ``(M,)``.
        """
        left, bottom, right, top = grid.bounds
        dx, dy = TOLERANCE * grid.xres, TOLERANCE * grid.yres
        near = self.tree.query(shapely.box(left + dx, bottom + dy, right - dx, top - dy))
        # A footprint need not be a box: a splitter may have cut it, or a warp turned it.
        shared = shapely.clip_by_rect(self.shapes[near], left, bottom, right, top)
        return self.rows(near[shapely.area(shared) > dx * dy])

    def rows(self, footprints: NDArray[np.intp]) -> NDArray[np.intp]:
        """Find the rows of some footprints together.

        Args:
            footprints: Their numbers, ``(K,)``.

        Returns:
            Numbers of the rows, ascending, ``(M,)``.
        """
        first = self._ends[footprints]
        count = self._ends[footprints + 1] - first
        offset = np.repeat(first - (np.cumsum(count) - count), count)
        return np.sort(self._rows[offset + np.arange(len(offset))])

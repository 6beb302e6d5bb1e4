"""Which rows of an index lie in a window, without a look at all of them."""

import numpy as np
import shapely
from numpy.typing import NDArray

from .grid import TOLERANCE, Grid

__all__ = ['FootprintTree']


class FootprintTree:
    """Rows by the place of their footprints.

    A stack of hundreds of dates has one footprint or a few, so that a window is held against
    the distinct ones only, and against those near it.

    Args:
        footprints: Shapes of the N rows.
    """

    def __init__(self, footprints: NDArray[np.object_]) -> None:
        _, first, place = np.unique(
            shapely.to_wkb(footprints), return_index=True, return_inverse=True
        )
        self._shapes = np.asarray(footprints)[first]
        self._tree = shapely.STRtree(self._shapes)
        order = np.argsort(place, kind='stable')
        #: Rows by footprint, those of one footprint side by side and ascending.
        self._rows = order
        self._ends = np.searchsorted(place[order], np.arange(len(first) + 1))

    def meeting(self, grid: Grid) -> NDArray[np.intp]:
        """Rows whose footprints share an area with a window; a touch does not count.

        Args:
            grid: The window, in the CRS of the footprints. Less than
                :data:`~torchgeo_sits.datasets.grid.TOLERANCE` of a pixel is a touch:
                coordinates of neighbouring tiles are rounded.

        Returns:
            Their numbers, ascending, ``(M,)``.
        """
        left, bottom, right, top = grid.bounds
        dx, dy = TOLERANCE * grid.xres, TOLERANCE * grid.yres
        near = self._tree.query(shapely.box(left + dx, bottom + dy, right - dx, top - dy))
        # A footprint need not be a box: a splitter may have cut it, or a warp turned it.
        parts = shapely.clip_by_rect(self._shapes[near], left, bottom, right, top)
        near = near[shapely.area(parts) > dx * dy]
        rows = [self._rows[self._ends[i] : self._ends[i + 1]] for i in near]
        return np.sort(np.concatenate(rows)) if rows else np.empty(0, np.intp)

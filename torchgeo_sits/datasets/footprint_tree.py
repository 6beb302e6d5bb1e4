"""Which rows of an index lie in a window, without a look at all of them."""

import numpy as np
import shapely
from numpy.typing import NDArray

from ..distinct_shapes import DistinctShapes
from .grid import TOLERANCE, Grid

__all__ = ['FootprintTree']


class FootprintTree(DistinctShapes):
    """Rows by the place of their footprints.

    Args:
        shapes: Footprints of the rows, ``(R,)``.
    """

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
        near = self.tree.query(shapely.box(left + dx, bottom + dy, right - dx, top - dy))
        # A footprint need not be a box: a splitter may have cut it, or a warp turned it.
        parts = shapely.clip_by_rect(self.shapes[near], left, bottom, right, top)
        return self.rows(near[shapely.area(parts) > dx * dy])

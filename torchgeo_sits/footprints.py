"""The distinct footprints of many rows, in a spatial tree."""

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

__all__ = ['DistinctShapes']


class DistinctShapes:
    """Footprints of rows, each distinct one once.

    A stack of hundreds of dates has one footprint or a few, so that windows are held against
    these instead of all rows.

    Args:
        shapes: Footprint of each row, ``(R,)``.

    Attributes:
        shapes: The distinct ones, ``(F,)``.
        tree: A tree of these.
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

    def rows(self, footprints: NDArray[np.intp]) -> NDArray[np.intp]:
        """Rows of some footprints together.

        Args:
            footprints: Their numbers, ``(K,)``.

        Returns:
            Numbers of the rows, ascending, ``(M,)``.
        """
        first = self._ends[footprints]
        count = self._ends[footprints + 1] - first
        offset = np.repeat(first - (np.cumsum(count) - count), count)
        return np.sort(self._rows[offset + np.arange(len(offset))])

"""The distinct footprints of an index: their union, and which of them are at a place."""

from itertools import pairwise

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset

from .convex import ConvexShapes

__all__ = ['Footprints', 'join_footprints']

#: Up to so many neighbours of a footprint a union of each group that hangs together is faster.
_SPARSE = 16
#: A window overlaps a footprint by more than this share of its area, or only touches it.
_SHARE = 1e-6


class Footprints:
    """Distinct shapes in a spatial tree, with the rows of each.

    A stack of hundreds of dates has one footprint or a few.

    Args:
        shapes: Footprint of each row, ``(R,)``.

    Attributes:
        shapes: The distinct ones, ``(F,)``.
    """

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        self.shapes, place = _distinct(shapes)
        self._tree = shapely.STRtree(self.shapes)
        self._bounds = shapely.bounds(self.shapes)
        self._convex = ConvexShapes(self.shapes)
        self._box = _are_boxes(self.shapes, self._bounds)
        # Rows by footprint, those of one footprint side by side and ascending.
        self._rows = np.argsort(place, kind='stable')
        self._ends = np.searchsorted(place[self._rows], np.arange(len(self.shapes) + 1))

    def overlapping(self, bounds: NDArray[np.float64]) -> list[NDArray[np.intp]]:
        """Footprints that share more than a border with windows.

        Args:
            bounds: xmin, ymin, xmax, ymax of windows, ``(N, 4)``.

        Returns:
            Numbers of the footprints, ascending, for each window.
        """
        windows = shapely.box(*bounds.T)
        place, near = self._tree.query(windows)
        low = np.maximum(bounds[place, :2], self._bounds[near, :2])
        high = np.minimum(bounds[place, 2:], self._bounds[near, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        least = _SHARE * shapely.area(windows)[place]
        kept = shared > least
        # The shared part of the bounds is that of the shapes only where they are boxes.
        (odd,) = np.nonzero(~self._box[near] & kept)
        inside, outside = self._convex.decide(near[odd], bounds[place[odd]], _SHARE)
        kept[odd[outside]] = False
        odd = odd[~inside & ~outside]
        kept[odd] = _share_area(self.shapes[near[odd]], windows[place[odd]], least[odd])
        return _by_place(place[kept], near[kept], len(bounds))

    def touching(self, bounds: NDArray[np.float64]) -> list[NDArray[np.intp]]:
        """Footprints that share at least a point with windows, as TorchGeo counts them.

        Args:
            bounds: xmin, ymin, xmax, ymax of windows, ``(N, 4)``.

        Returns:
            Numbers of the footprints, ascending, for each window.
        """
        place, near = self._tree.query(shapely.box(*bounds.T), predicate='intersects')
        return _by_place(place, near, len(bounds))

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


def join_footprints(dataset: GeoDataset) -> BaseGeometry:
    """Union of all footprints of a data set.

    Args:
        dataset: The data set.

    Returns:
        The union.
    """
    shapes, _ = _distinct(np.asarray(dataset.index.geometry))
    tree = shapely.STRtree(shapes)
    some = shapes[:: len(shapes) // 1000 + 1]
    neighbours = tree.query(some).shape[1] / max(1, len(some))
    if neighbours <= _SPARSE:
        return shapely.disjoint_subset_union_all(shapes)
    return shapely.union_all(shapes)


def _distinct(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """Distinct shapes ``(F,)`` and the number of the shape of each row ``(R,)``."""
    place, known = pd.factorize(shapely.to_wkb(shapes))
    first = np.empty(len(known), np.intp)
    first[place[::-1]] = np.arange(len(shapes))[::-1]
    return shapes[first], place


def _are_boxes(shapes: NDArray[np.object_], bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which shapes fill their bounds, ``(F,)``."""
    return shapely.area(shapes) > np.prod(bounds[:, 2:] - bounds[:, :2], axis=1) * (1 - 1e-9)


def _share_area(
    shapes: NDArray[np.object_], windows: NDArray[np.object_], least: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which shapes share at least an area with windows, all ``(N,)``."""
    # Predicates of prepared shapes decide most; areas take ten times as long.
    shapely.prepare(shapes)
    kept = shapely.contains_properly(shapes, windows)
    part = ~kept
    part[part] = shapely.intersects(shapes[part], windows[part])
    kept[part] = shapely.area(shapely.intersection(shapes[part], windows[part])) > least[part]
    return kept


def _by_place(
    place: NDArray[np.intp], near: NDArray[np.intp], number: int
) -> list[NDArray[np.intp]]:
    """Pairs of place and footprint, as an array for each place."""
    order = np.lexsort((near, place))
    near = near[order]
    ends = np.searchsorted(place[order], np.arange(number + 1)).tolist()
    return [near[first:end] for first, end in pairwise(ends)]

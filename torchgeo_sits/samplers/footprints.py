"""The distinct footprints of an index: their union, and which of them are at a place."""

from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset

from ..distinct_shapes import DistinctShapes
from .convex import ConvexShapes

__all__ = ['Footprints', 'join_footprints']

#: Up to so many neighbours of a footprint a union of each group that hangs together is faster.
_SPARSE = 16
#: A window overlaps a footprint by more than this share of its area, or only touches it.
_SHARE = 1e-6


class Footprints(DistinctShapes):
    """Which footprints are at a place, by the rules of samplers.

    Args:
        shapes: Footprint of each row, ``(R,)``.
    """

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        super().__init__(shapes)
        self._bounds = shapely.bounds(self.shapes)
        self._convex = ConvexShapes(self.shapes)
        self._box = _are_boxes(self.shapes, self._bounds)

    def overlapping(self, bounds: NDArray[np.float64]) -> list[NDArray[np.intp]]:
        """Footprints that share more than a border with windows.

        Args:
            bounds: xmin, ymin, xmax, ymax of windows, ``(N, 4)``.

        Returns:
            Numbers of the footprints, ascending, for each window.
        """
        windows = shapely.box(*bounds.T)
        place, near = self.tree.query(windows)
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
        place, near = self.tree.query(shapely.box(*bounds.T), predicate='intersects')
        return _by_place(place, near, len(bounds))


def join_footprints(dataset: GeoDataset) -> BaseGeometry:
    """Union of all footprints of a data set.

    Args:
        dataset: The data set.

    Returns:
        The union.
    """
    distinct = DistinctShapes(np.asarray(dataset.index.geometry))
    shapes = distinct.shapes
    some = shapes[:: len(shapes) // 1000 + 1]
    neighbours = distinct.tree.query(some).shape[1] / max(1, len(some))
    if neighbours <= _SPARSE:
        return shapely.disjoint_subset_union_all(shapes)
    return shapely.union_all(shapes)


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

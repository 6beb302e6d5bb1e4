"""The distinct footprints of an index: those at a place, and the union of all."""

from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset

from ..footprints import DistinctShapes

__all__ = ['Footprints', 'join_footprints']

#: Shapes with more corners are left to GEOS: the table of edges has a column for each corner.
_CORNERS = 8
#: Up to so many neighbours of a footprint a union of each group that hangs together is faster.
_SPARSE = 16
#: A window overlaps a footprint by more than this share of its area, or only touches it.
_SHARE = 1e-6


class Footprints(DistinctShapes):
    """Footprints of rows, each distinct one once, and those at a place by the rules of samplers.

    Args:
        shapes: Footprint of each row, ``(R,)``.

    Examples:
        >>> import numpy as np
        >>> import shapely
        >>> from torchgeo_sits.samplers.footprints import Footprints
        >>> known = Footprints(shapely.box([0, 0, 10], 0, [10, 10, 20], 10))  # two distinct ones
        >>> window = np.array([[2.0, 2.0, 10.0, 8.0]])
        >>> known.overlapping(window), known.touching(window)  # a border is not shared area
        ([array([0])], [array([0, 1])])
    """

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        super().__init__(shapes)
        self._bounds = shapely.bounds(self.shapes)
        self._convex = _ConvexShapes(self.shapes)
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
    """Unite all footprints of a data set.

    Args:
        dataset: The data set.

    Returns:
        The union.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> from torchgeo_sits.samplers.footprints import join_footprints
        >>> join_footprints(series).area / 10**2  # pixels of 10 m
        1024.0
    """
    distinct = DistinctShapes(np.asarray(dataset.index.geometry))
    shapes = distinct.shapes
    some = shapes[:: len(shapes) // 1000 + 1]
    neighbours = distinct.tree.query(some).shape[1] / max(1, len(some))
    if neighbours <= _SPARSE:
        return shapely.disjoint_subset_union_all(shapes)
    return shapely.union_all(shapes)


class _ConvexShapes:
    """The edges of convex shapes of few corners, which swaths and warped tiles are.

    A window is held against a shape in tens of nanoseconds, where a prepared predicate of GEOS
    takes most of a microsecond and an area ten. Where hundreds of swaths lie over a place that
    is what a draw costs.

    Args:
        shapes: Any shapes, ``(F,)``.
    """

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        corners = shapely.get_num_coordinates(shapes) - 1
        few = (shapely.get_type_id(shapes) == 3) & (corners <= _CORNERS)
        few &= shapely.get_num_interior_rings(shapes) == 0
        hull = shapely.area(shapely.convex_hull(shapes[few]))
        self._known = few
        self._known[few] = shapely.area(shapes[few]) >= hull * (1 - 1e-9)
        rings = shapely.get_exterior_ring(shapes[self._known])
        points, ring = shapely.get_coordinates(rings, return_index=True)
        of = np.flatnonzero(self._known)[ring]
        step = points[1:] - points[:-1]
        length = np.hypot(*step.T)
        edge = np.flatnonzero((ring[1:] == ring[:-1]) & (length > 0))
        of = of[edge]
        normal = step[edge][:, ::-1] * [-1, 1] / length[edge, None]
        offset = -(normal * points[edge]).sum(axis=1)
        # Distances are positive inside, whichever way the ring turns.
        middle = shapely.get_coordinates(shapely.centroid(shapes))[of]
        sign = np.where((normal * middle).sum(axis=1) + offset < 0, -1.0, 1.0)
        # Coefficients a, b, c of a x + b y + c; columns that no edge fills are far away.
        column = np.arange(len(of)) - np.searchsorted(of, of)
        self._edges = np.zeros((3, len(shapes), column.max(initial=0) + 1))
        self._edges[2] = np.inf
        self._edges[:, of, column] = np.column_stack([normal, offset]).T * sign

    def decide(
        self, number: NDArray[np.intp], bounds: NDArray[np.float64], share: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Find the windows that overlap shapes by a share of their area for certain, or cannot.

        Args:
            number: Numbers of the shapes, ``(N,)``.
            bounds: xmin, ymin, xmax, ymax of a window for each, ``(N, 4)``, which meet the
                bounds of the shape.
            share: Least share of the area of the window.

        Returns:
            True where more of the window lies in the shape, and True where nothing does, both
            ``(N,)``; neither is true of a few windows at corners and edges.
        """
        a, b, c = self._edges[:, number]
        half = (bounds[:, 2:] - bounds[:, :2]) / 2
        x, y = ((bounds[:, 2:] + bounds[:, :2]) / 2).T[..., None]
        distance = a * x + b * y + c
        reach = abs(a) * half[:, :1] + abs(b) * half[:, 1:]
        known = self._known[number]
        inside = known & (distance >= reach).all(axis=1)
        outside = known & (distance <= -reach).any(axis=1)
        # A disc of more than the share inside both settles most of what crosses an edge.
        (crossing,) = np.nonzero(known & ~inside & ~outside)
        a, b, distance = a[crossing], b[crossing], distance[crossing]
        radius = np.sqrt(share * 4 * half[crossing].prod(axis=1))
        room = half[crossing] - radius[:, None]
        found = np.zeros(len(crossing), bool)
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                moved = distance + a * (dx * room[:, :1]) + b * (dy * room[:, 1:])
                found |= (moved >= radius[:, None]).all(axis=1)
        inside[crossing] = found & (room >= 0).all(axis=1)
        return inside, outside


def _are_boxes(shapes: NDArray[np.object_], bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell the shapes that fill their bounds, bool ``(F,)``."""
    return shapely.area(shapes) > np.prod(bounds[:, 2:] - bounds[:, :2], axis=1) * (1 - 1e-9)


def _share_area(
    shapes: NDArray[np.object_], windows: NDArray[np.object_], least: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell the shapes that share at least an area with windows, bool ``(N,)``."""
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
    """Group pairs of place and footprint into an array for each place."""
    order = np.lexsort((near, place))
    near = near[order]
    ends = np.searchsorted(place[order], np.arange(number + 1)).tolist()
    return [near[first:end] for first, end in pairwise(ends)]

"""Whether windows overlap convex footprints, by distances to edges."""

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ['ConvexShapes']

#: Shapes with more corners are left to GEOS: the table of edges has a column for each corner.
_CORNERS = 8


class ConvexShapes:
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
        """Which windows overlap shapes by a share of their area for certain, and which cannot.

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

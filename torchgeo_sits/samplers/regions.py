"""The pixel grids on which patches of a data set can lie."""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from ..errors import SITSError

__all__ = ['Region', 'Regions', 'find_regions']

Integers = NDArray[np.int64]
# Share of a pixel by which coordinates may be off a grid through rounding.
_TOLERANCE = 1e-3


class Region(NamedTuple):
    """A connected part of the data in which patches are placed, on its footprint's grid."""

    #: Least x, on the grid of the footprint, in units of the CRS.
    left: float
    #: Greatest y.
    top: float
    #: Rows and columns in pixels.
    shape: tuple[int, int]
    #: Width and height of a pixel in units of the CRS.
    res: tuple[float, float]


class Regions:
    """Regions as columns of a table: collections have a hundred thousand.

    Args:
        corner: Least x and greatest y of each region, ``(R, 2)``.
        shape: Rows and columns of each region in pixels, ``(R, 2)``.
        size: Rows and columns of a patch in pixels.
        res: Width and height of a pixel in units of the CRS.
        allowed: Shapes that patches must respect where they are no rectangles, else None,
            ``(R,)``.
        observed: Disjoint footprints of the data, ``(P,)``; what of a patch lies outside them
            holds no data.

    Attributes:
        positions: Number of rows and columns at which a patch can start, ``(R, 2)``; 1 where
            it does not fit.
        odd: Where shapes are to be respected, ``(R,)``.
    """

    def __init__(
        self,
        *,
        corner: NDArray[np.float64],
        shape: Integers,
        size: tuple[int, int],
        res: tuple[float, float],
        allowed: NDArray[np.object_],
        observed: NDArray[np.object_],
    ) -> None:
        self.corner = corner
        self.shape = shape
        self.size = size
        self.res = res
        self.positions = np.maximum(1, shape - np.array(size) + 1)
        self._allowed = allowed
        self.odd = ~shapely.is_missing(allowed)
        self._observed = observed

    def __len__(self) -> int:
        return len(self.corner)

    def __getitem__(self, where: int) -> Region:
        rows, columns = self.shape[where].tolist()
        left, top = self.corner[where].tolist()
        return Region(left, top, (rows, columns), self.res)

    def bounds(self, where: Integers, row: Integers, column: Integers) -> NDArray[np.float64]:
        """Corners of patches by the row and column of their upper left pixel, all ``(N,)``.

        Args:
            where: Numbers of the regions.
            row: First rows.
            column: First columns.

        Returns:
            xmin, ymin, xmax, ymax in units of the CRS, ``(N, 4)``.
        """
        left, top = self.corner[where].T
        # One product per corner, not a sum of steps: neighbours share their edges bit for bit.
        return np.stack(
            [
                left + column * self.res[0],
                top - (row + self.size[0]) * self.res[1],
                left + (column + self.size[1]) * self.res[0],
                top - row * self.res[1],
            ],
            axis=-1,
        )

    def accepts(
        self, where: Integers, row: Integers, column: Integers, *, whole: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which patches ``(N,)`` hold data, and none from outside the region of interest.

        Args:
            where: Numbers of the regions.
            row: First rows.
            column: First columns.
            whole: For which regions all of a patch must hold data, ``(R,)``.

        Returns:
            True for acceptable patches, ``(N,)``.
        """
        accepted = np.ones(len(where), bool)
        (odd,) = np.nonzero(self.odd[where])
        if not len(odd):
            return accepted
        bounds = self.bounds(where[odd], row[odd], column[odd])
        allowed = self._allowed[where[odd]]
        # Predicates of a prepared shape decide most patches; areas are slow where blocks of
        # a split make a shape of thousands of corners.
        shapely.prepare(allowed)
        margin = _TOLERANCE * np.array([*self.res, *(-r for r in self.res)])
        core = shapely.box(*(bounds + margin).T)
        inside = shapely.covers(allowed, core)
        partly = ~inside & ~whole[where[odd]]
        partly[partly] = shapely.intersects(allowed[partly], core[partly])
        patch = shapely.box(*bounds[partly].T)
        some = _TOLERANCE * self.res[0] * self.res[1]
        kept = shapely.area(shapely.intersection(patch, allowed[partly]))
        inside[partly] = (kept > some) & (self._seen(patch) - kept < some)
        accepted[odd] = inside
        return accepted

    @cached_property
    def coverable(self) -> NDArray[np.bool_]:
        """In which regions a patch can lie wholly inside, ``(R,)``."""
        return self._search(np.ones(len(self), bool))

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """In which regions a patch can lie at all, ``(R,)``."""
        return self._search(np.zeros(len(self), bool))

    def select(self, kept: NDArray[np.bool_]) -> 'Regions':
        """Some of the regions, from left to right.

        Args:
            kept: Which, ``(R,)``.

        Returns:
            The regions.
        """
        order = np.lexsort((-self.corner[:, 1], self.corner[:, 0]))
        order = order[kept[order]]
        return Regions(
            corner=self.corner[order],
            shape=self.shape[order],
            size=self.size,
            res=self.res,
            allowed=self._allowed[order],
            observed=self._observed,
        )

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self._observed)

    def _seen(self, patch: NDArray[np.object_]) -> NDArray[np.float64]:
        """Area of patches ``(N,)`` that holds data."""
        of, near = self._tree.query(patch, predicate='intersects')
        part = shapely.area(shapely.intersection(patch[of], self._observed[near]))
        return np.bincount(of, part, minlength=len(patch))

    def _search(self, whole: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Regions ``(R,)`` with an acceptable position."""
        found = ~self.odd
        # A few positions of all regions at once: most searches end with them.
        (open_,) = np.nonzero(self.odd)
        lattice = np.stack(np.meshgrid(*[np.linspace(0, 1, 4)] * 2), axis=-1).reshape(-1, 1, 2)
        at = np.rint(lattice * (self.positions[open_] - 1)).astype(np.int64)
        for row, column in at.transpose(0, 2, 1):
            left = ~found[open_]
            found[open_[left]] = self.accepts(open_[left], row[left], column[left], whole=whole)
        fits = (self.shape >= np.array(self.size)).all(axis=1)
        for i in np.flatnonzero(~found):
            if whole[i] and not fits[i]:
                continue
            found[i] = any(
                self.accepts(np.full(len(row), i), row, column, whole=whole).any()
                for row, column in self._every_position(i)
            )
        return found

    def _every_position(self, where: np.intp) -> Iterator[tuple[Integers, Integers]]:
        """All positions of a region in chunks, a coarse choice first."""
        total = math.prod(self.positions[where].tolist())
        for step in (max(1, total // 1000), 1):
            for start in range(0, total, 100_000 * step):
                flat = np.arange(start, min(total, start + 100_000 * step), step)
                row, column = np.divmod(flat, self.positions[where, 1])
                yield row, column


def find_regions(
    footprint: BaseGeometry,
    res: tuple[float, float],
    size: tuple[int, int],
    roi: BaseGeometry | None,
) -> Regions:
    """Cut the footprint of a data set into regions for patches of *size* pixels.

    Footprints that overlap or touch are one region, with the grid of their upper left corner;
    disjoint ones keep their own grids. A region of interest cuts regions down to whole pixels.

    Args:
        footprint: Union of the footprints of a data set.
        res: Width and height of a pixel in units of the CRS.
        size: Rows and columns of a patch.
        roi: Region of interest in the CRS of the data set (default: all).

    Returns:
        The regions, from left to right; those in which no patch is acceptable are left out.

    Raises:
        SITSError: If no patch can be placed anywhere.
    """
    step = np.array(res)
    parts = _polygons(np.array([footprint]))[0]
    pieces, part = (parts, np.arange(len(parts))) if roi is None else _cut(parts, roi)
    origin = shapely.bounds(parts)[part][:, [0, 3]] * [1, -1]
    bounds = shapely.bounds(pieces)
    # Whole pixels only, counted from the corner of the footprint rightwards and down.
    first = np.ceil((bounds[:, [0, 3]] * [1, -1] - origin) / step - _TOLERANCE)
    end = np.floor((bounds[:, [2, 1]] * [1, -1] - origin) / step + _TOLERANCE)
    shape = (end - first).astype(np.int64)[:, ::-1]
    filled = shapely.area(pieces) > np.prod(bounds[:, 2:] - bounds[:, :2], axis=1) * (1 - 1e-6)
    fits = (shape >= np.array(size)).all(axis=1)
    # A patch that leaves a rectangle may still meet data outside the roi.
    rectangle = filled & (fits | (roi is None))
    allowed = pieces.copy()
    allowed[rectangle] = None
    kept = (shape >= 1).all(axis=1)
    regions = Regions(
        corner=((origin + first * step) * [1, -1])[kept],
        shape=shape[kept],
        size=size,
        res=(float(res[0]), float(res[1])),
        allowed=allowed[kept],
        observed=parts,
    )
    regions = regions.select(regions.usable)
    if not len(regions):
        where = 'the data' if roi is None else 'roi'
        raise SITSError(
            f'no patch of {size[0]} x {size[1]} pixels lies in {where}: expected a smaller size'
            + ('' if roi is None else ' or a larger roi in the CRS of the data set')
        )
    return regions


def _cut(
    parts: NDArray[np.object_], roi: BaseGeometry
) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """Pieces ``(R,)`` of polygons ``(P,)`` in a region of interest, and whose they are."""
    shapely.prepare(roi)
    whole = shapely.covers(roi, parts)
    (crossing,) = np.nonzero(~whole & shapely.intersects(roi, parts))
    pieces, of = _polygons(shapely.intersection(parts[crossing], roi))
    return (
        np.concatenate([parts[whole], pieces]),
        np.concatenate([np.flatnonzero(whole), crossing[of]]),
    )


def _polygons(
    shapes: NDArray[np.object_],
) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """Polygons in shapes, and whose they are; lines where shapes only touch are dropped."""
    parts, of = shapely.get_parts(shapes, return_index=True)
    # Polygons of collections may come as multi-polygons.
    parts, inner = shapely.get_parts(parts, return_index=True)
    polygon = (shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)
    return parts[polygon], of[inner][polygon]

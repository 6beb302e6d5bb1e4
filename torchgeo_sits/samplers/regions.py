"""The pixel grids on which patches of a data set can lie."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset

__all__ = ['Region', 'find_regions']

# Share of a pixel by which coordinates may be off a grid through rounding.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Region:
    """A connected part of the data in which patches are placed, on its footprint's grid.

    Args:
        left: Least x of the region, on the grid of the footprint, in units of the CRS.
        top: Greatest y of the region.
        shape: Rows and columns of the region in pixels.
        size: Rows and columns of a patch in pixels.
        res: Width and height of a pixel in units of the CRS.
        allowed: Shape that patches must respect where it is no rectangle, else None.
        observed: Footprint of the data; what of a patch lies outside it holds no data.
    """

    left: float
    top: float
    shape: tuple[int, int]
    size: tuple[int, int]
    res: tuple[float, float]
    allowed: BaseGeometry | None
    observed: BaseGeometry

    @property
    def positions(self) -> tuple[int, int]:
        """Number of rows and columns at which a patch can start; 1 where it does not fit."""
        return (
            max(1, self.shape[0] - self.size[0] + 1),
            max(1, self.shape[1] - self.size[1] + 1),
        )

    def bounds(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
        """Corners of patches by the row and column of their upper left pixel, both ``(N,)``.

        Returns:
            xmin, ymin, xmax, ymax in units of the CRS, ``(N, 4)``.
        """
        # One product per corner, not a sum of steps: neighbours share their edges bit for bit.
        return np.stack(
            [
                self.left + column * self.res[0],
                self.top - (row + self.size[0]) * self.res[1],
                self.left + (column + self.size[1]) * self.res[0],
                self.top - row * self.res[1],
            ],
            axis=-1,
        )

    def accepts(
        self, row: NDArray[np.int64], column: NDArray[np.int64], *, whole: bool
    ) -> NDArray[np.bool_]:
        """Which patches ``(N,)`` hold data, and none from outside the region of interest.

        Args:
            row: First rows.
            column: First columns.
            whole: Whether all of the patch must hold data.

        Returns:
            True for acceptable patches, ``(N,)``.
        """
        if self.allowed is None:
            return np.ones(np.shape(row), bool)
        bounds = self.bounds(row, column)
        # Predicates of a prepared shape decide most patches; areas are slow where blocks of
        # a split make a shape of thousands of corners.
        shapely.prepare(self.allowed)
        margin = _TOLERANCE * np.array([*self.res, *(-r for r in self.res)])
        core = shapely.box(*(bounds + margin).T)
        accepted = shapely.covers(self.allowed, core)
        if whole:
            return accepted
        partly = ~accepted & shapely.intersects(self.allowed, core)
        patch = shapely.box(*bounds[partly].T)
        some = _TOLERANCE * self.res[0] * self.res[1]
        kept = shapely.area(shapely.intersection(patch, self.allowed))
        seen = shapely.area(shapely.intersection(patch, self.observed))
        accepted[partly] = (kept > some) & (seen - kept < some)
        return accepted

    @cached_property
    def coverable(self) -> bool:
        """Whether a patch can lie wholly inside."""
        return any(self.accepts(*p, whole=True).any() for p in self._every_position())

    @cached_property
    def usable(self) -> bool:
        """Whether a patch can lie here at all."""
        return any(self.accepts(*p, whole=False).any() for p in self._every_position())

    def _every_position(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """All positions in chunks, a coarse choice first: most searches end with it."""
        total = math.prod(self.positions)
        for step in (max(1, total // 1000), 1):
            for start in range(0, total, 100_000 * step):
                flat = np.arange(start, min(total, start + 100_000 * step), step)
                row, column = np.divmod(flat, self.positions[1])
                yield row, column


def find_regions(
    dataset: GeoDataset, size: tuple[int, int], roi: BaseGeometry | None
) -> list[Region]:
    """Cut the footprint of a data set into regions for patches of *size* pixels.

    Footprints that overlap or touch are one region, with the grid of their upper left corner;
    disjoint ones keep their own grids. A region of interest cuts regions down to whole pixels.

    Args:
        dataset: Data set with its footprints in ``dataset.index``.
        size: Rows and columns of a patch.
        roi: Region of interest in the CRS of the data set (default: all).

    Returns:
        The regions, from left to right; those in which no patch is acceptable are left out.

    Raises:
        ValueError: If no patch can be placed anywhere.
    """
    xres, yres = dataset.res
    regions: list[Region] = []
    footprint = dataset.index.geometry.union_all()
    for part in _polygons(footprint):
        left, _, _, top = part.bounds
        for piece in _polygons(part if roi is None else part & roi):
            xmin, ymin, xmax, ymax = piece.bounds
            # Whole pixels only, counted from the corner of the footprint.
            first_column = np.ceil((xmin - left) / xres - _TOLERANCE)
            first_row = np.ceil((top - ymax) / yres - _TOLERANCE)
            columns = int(np.floor((xmax - left) / xres + _TOLERANCE) - first_column)
            rows = int(np.floor((top - ymin) / yres + _TOLERANCE) - first_row)
            if rows < 1 or columns < 1:
                continue
            rectangle = shapely.area(piece) > shapely.box(*piece.bounds).area * (1 - 1e-6)
            fits = rows >= size[0] and columns >= size[1]
            region = Region(
                left=float(left + first_column * xres),
                top=float(top - first_row * yres),
                shape=(rows, columns),
                size=size,
                res=(xres, yres),
                # A patch that leaves a rectangle may still meet data outside the roi.
                allowed=None if rectangle and (fits or roi is None) else piece,
                observed=footprint,
            )
            if region.usable:
                regions.append(region)
    if not regions:
        where = 'the data' if roi is None else 'roi'
        raise ValueError(
            f'no patch of {size[0]} x {size[1]} pixels lies in {where}: expected a smaller size'
            + ('' if roi is None else ' or a larger roi in the CRS of the data set')
        )
    return sorted(regions, key=lambda region: (region.left, -region.top))


def _polygons(geometry: BaseGeometry) -> list[Polygon]:
    """Polygons of a geometry; lines and points where shapes only touch are dropped."""
    if isinstance(geometry, Polygon):
        return [] if geometry.is_empty else [geometry]
    if isinstance(geometry, MultiPolygon) or hasattr(geometry, 'geoms'):
        return [polygon for part in geometry.geoms for polygon in _polygons(part)]
    return []

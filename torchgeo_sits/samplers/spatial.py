"""Random and gridded patches on the pixel grids of a data set."""

import abc
import math
from collections.abc import Iterator
from functools import cached_property
from itertools import islice

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import SpatialSampler, TemporalSampler

from ..errors import SITSError
from .epochs import EpochSampler, SpaceWindow, draw_seed, epoch_generator
from .footprints import join_footprints
from .spatiotemporal import SkippingSampler

__all__ = [
    'GriddedSeriesPatchSampler',
    'PatchGrids',
    'RandomSeriesPatchSampler',
    'SeriesPatchSampler',
]

Integers = NDArray[np.int64]
#: Patches that are made at a time, so that a large area takes no large memory.
_CHUNK = 100_000
#: Share of a pixel by which coordinates may be off a grid through rounding.
_TOLERANCE = 1e-3


class SeriesPatchSampler(EpochSampler, SpatialSampler):
    """Base of samplers of patches of whole pixels on each footprint's own grid.

    The grid starts at the upper left corner of the footprint in ``dataset.index``. TorchGeo's
    splitters that cut footprints to boxes off the grid of the files move it along; *roi* does
    not.

    Put before ``@`` and a temporal sampler, ours or TorchGeo's, it gives windows in space and time;
    places without acquisitions are skipped (:class:`SkippingSampler`). A subclass gives the
    patches of an epoch in :meth:`iter_epoch` and their number in :meth:`epoch_length`.

    Args:
        dataset: Data set to sample from.
        size: Side of a patch in pixels, or its height and width.
        roi: Region of interest in the CRS of the data set. No patch holds data from outside
            it, so that regions that do not overlap give patches that do not.

    Raises:
        SITSError: If *size* is not positive, or no patch lies in *roi*.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import SeriesPatchSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> class CornerSampler(SeriesPatchSampler):
        ...     strategy = 'sequential'
        ...     def epoch_length(self, number):
        ...         return 1
        ...     def iter_epoch(self, number):
        ...         xmin, ymin, xmax, ymax = self.grids.extent(0)
        ...         yield slice(xmin, xmin + 80), slice(ymax - 80, ymax)
        >>> [(x, y)] = CornerSampler(series, size=8)
        >>> series[x, y]['image'].shape
        torch.Size([6, 10, 8, 8])
    """

    def __init__(
        self,
        dataset: GeoDataset,
        *,
        size: int | tuple[int, int],
        roi: BaseGeometry | None = None,
    ) -> None:
        self.size = _pair('size', size)
        # TorchGeo's own __init__ joins the footprints of all rows, alike or not.
        self.geometry = join_footprints(dataset)
        self.grids = _find_grids(self.geometry, dataset.res, self.size, roi)
        self.bounds = self.geometry.bounds
        self.res = dataset.res
        if roi is not None:
            self.geometry &= roi

    @abc.abstractmethod
    def iter_epoch(self, number: int) -> Iterator[SpaceWindow]:
        """Go through the patches of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """

    def __matmul__(self, other: TemporalSampler) -> SkippingSampler:
        """Compose with a temporal sampler; places without acquisitions are skipped.

        Args:
            other: A temporal sampler, ours or TorchGeo's.

        Returns:
            Sampler of windows in space and time.
        """
        return SkippingSampler(self, other)


class RandomSeriesPatchSampler(SeriesPatchSampler):
    """Random patches, every position on the pixel grids with the same probability.

    Unlike TorchGeo's ``RandomPatchSampler``, which erodes the footprint by half the diagonal
    of the patch, every position up to the border is drawn, and a patch may be as large as the
    footprint. A larger one starts at the upper left corner and reaches beyond the data. Where
    the footprint is no rectangle, only patches wholly inside are drawn, if there are any.

    Args:
        dataset: Data set to sample from.
        size: Side of a patch in pixels, or its height and width.
        length: Patches per epoch (default: as many as do not overlap, rounded up).
        roi: Region of interest in the CRS of the data set.
        generator: A seed, a generator to draw a seed from, or None for a new seed.

    Raises:
        SITSError: If *size* or *length* is not positive, or no patch lies in *roi*.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import RandomSeriesPatchSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> sampler = RandomSeriesPatchSampler(series, size=8, length=3, generator=0)
        >>> [series[x, y]['image'].shape for x, y in sampler][0]  # all dates of a place
        torch.Size([6, 10, 8, 8])
    """

    strategy = 'random'

    def __init__(
        self,
        dataset: GeoDataset,
        *,
        size: int | tuple[int, int],
        length: int | None = None,
        roi: BaseGeometry | None = None,
        generator: int | Generator | None = None,
    ) -> None:
        if length is not None and length < 1:
            raise SITSError(f'length must be at least 1 patch, got {length}')
        super().__init__(dataset, size=size, roi=roi)
        area = int(self.grids.shape.prod(axis=1).sum())
        self._length = length or math.ceil(area / math.prod(self.size))
        self._seeds = [draw_seed(generator)]
        self._shares = np.cumsum(self.grids.positions.prod(axis=1))

    def epoch_length(self, number: int) -> int:
        """Number of patches in an epoch, as asked for.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number.
        """
        return self._length

    def iter_epoch(self, number: int) -> Iterator[SpaceWindow]:
        """Draw the patches of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """
        return islice(self.iter_endless(number), self._length)

    def iter_endless(self, number: int) -> Iterator[SpaceWindow]:
        """Draw patches without end; those of the epoch come first.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """
        generator = epoch_generator(self._seeds[0], number, stream=0)
        while True:
            yield from _slices(self._draw(min(self._length, _CHUNK), generator))

    def _draw(self, number: int, generator: Generator) -> NDArray[np.float64]:
        """Draw patches: their bounds, ``(N, 4)``."""
        bounds = np.empty((number, 4))
        pending = np.arange(number)
        barren = 0
        while len(pending):
            if barren > 1000:
                raise SITSError(
                    'no acceptable patch in 1000 rounds of draws: no patch inside the data and '
                    'roi holds what it must; expected a smaller size'
                )
            at = self._positions(len(pending), generator)
            good = self.grids.accepts(*at, whole=self.grids.coverable)
            bounds[pending[good]] = self.grids.bounds(*at[:, good])
            barren = 0 if good.any() else barren + 1
            pending = pending[~good]
        return bounds

    def _positions(self, number: int, generator: Generator) -> Integers:
        """Draw positions with equal probability: grid, row and column, ``(3, N)``."""
        flat = generator.integers(self._shares[-1], size=number)
        grid = np.searchsorted(self._shares, flat, side='right')
        flat -= np.append(0, self._shares)[grid]
        return np.stack([grid, *np.divmod(flat, self.grids.positions[grid, 1])])


class GriddedSeriesPatchSampler(SeriesPatchSampler):
    """Patches that cover each footprint row by row.

    The last patch of a row or column is shifted inward rather than reaching outside; only
    where the footprint is smaller than a patch does it reach beyond the data. Patches with
    data from outside *roi* are left out.

    Args:
        dataset: Data set to sample from.
        size: Side of a patch in pixels, or its height and width.
        stride: Pixels from one patch to the next, or rows and columns (default: *size*).
        roi: Region of interest in the CRS of the data set.

    Raises:
        SITSError: If *size* or *stride* is not positive, *stride* exceeds *size*, or no patch
            lies in *roi*.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import GriddedSeriesPatchSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> len(GriddedSeriesPatchSampler(series, size=8))  # 4 x 4 side by side
        16
        >>> len(GriddedSeriesPatchSampler(series, size=8, stride=4))
        49
    """

    strategy = 'sequential'

    def __init__(
        self,
        dataset: GeoDataset,
        *,
        size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        roi: BaseGeometry | None = None,
    ) -> None:
        self.stride = _pair('stride', size if stride is None else stride)
        super().__init__(dataset, size=size, roi=roi)
        if self.stride[0] > self.size[0] or self.stride[1] > self.size[1]:
            raise SITSError(
                f'stride {self.stride} exceeds size {self.size}: pixels would be left out'
            )

    def epoch_length(self, number: int) -> int:
        """Number of patches, counted once without making them.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number.
        """
        if not hasattr(self, '_length'):
            steps = -(-(self.grids.positions - 1) // np.array(self.stride)) + 1
            count = int(steps[~self.grids.odd].prod(axis=1).sum())
            for grid in np.flatnonzero(self.grids.odd):
                count += sum(int(good.sum()) for _, good in self._rows_of_patches(grid))
            self._length = count
        return self._length

    def iter_epoch(self, number: int) -> Iterator[SpaceWindow]:
        """Go through all patches, the same in each epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """
        for grid in range(len(self.grids)):
            for at, good in self._rows_of_patches(grid):
                yield from _slices(self.grids.bounds(*at[:, good]))

    def _rows_of_patches(self, grid: int | np.intp) -> Iterator[tuple[Integers, NDArray[np.bool_]]]:
        """Go through a grid: grid, row and column of patches ``(3, N)``, and which are good."""
        rows, columns = (
            np.unique(np.append(np.arange(0, most, stride), most - 1))
            for most, stride in zip(self.grids.positions[grid], self.stride, strict=True)
        )
        height = max(1, _CHUNK // len(columns))
        for first in range(0, len(rows), height):
            row, column = np.meshgrid(rows[first : first + height], columns, indexing='ij')
            at = np.stack([np.full(row.size, grid), row.ravel(), column.ravel()])
            # A patch of the grid may reach beyond the data, but not beyond the roi.
            yield at, self.grids.accepts(*at, whole=np.zeros(len(self.grids), bool))


def _slices(bounds: NDArray[np.float64]) -> Iterator[SpaceWindow]:
    """Turn bounds ``(N, 4)`` into windows."""
    for xmin, ymin, xmax, ymax in bounds.tolist():
        yield slice(xmin, xmax), slice(ymin, ymax)


def _pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Read height and width of an argument."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < 1:
        raise SITSError(f'{name} must be one or two positive numbers of pixels, got {value!r}')
    return pair[0], pair[1]


class PatchGrids:
    """Pixel grids on which patches can lie, as columns of a table.

    A grid covers a connected part of the data, or of it in a region of interest, from its upper
    left corner on. Collections have a hundred thousand.

    Args:
        corner: Least x and greatest y of each of G grids in units of the CRS, ``(G, 2)``.
        shape: Rows and columns of each grid in pixels, ``(G, 2)``.
        size: Rows and columns of a patch in pixels.
        res: Width and height of a pixel in units of the CRS.
        allowed: Shapes that patches must respect where they are no rectangles, else None,
            ``(G,)``.
        observed: Disjoint footprints of the data, ``(P,)``; what of a patch lies outside them
            holds no data.

    Attributes:
        positions: Number of rows and columns at which a patch can start, ``(G, 2)``; 1 where
            it does not fit.
        odd: True for grids whose shape patches must respect, ``(G,)``.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import GriddedSeriesPatchSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> grids = GriddedSeriesPatchSampler(series, size=8).grids
        >>> len(grids), grids.shape.tolist(), grids.positions.tolist()
        (1, [[32, 32]], [[25, 25]])
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

    def extent(self, grid: int) -> tuple[float, float, float, float]:
        """Bounds of a grid.

        Args:
            grid: Number of the grid.

        Returns:
            xmin, ymin, xmax, ymax in units of the CRS.
        """
        rows, columns = self.shape[grid].tolist()
        left, top = self.corner[grid].tolist()
        return left, top - rows * self.res[1], left + columns * self.res[0], top

    def bounds(self, grid: Integers, row: Integers, column: Integers) -> NDArray[np.float64]:
        """Corners of patches by the row and column of their upper left pixel, all ``(N,)``.

        Args:
            grid: Numbers of the grids.
            row: First rows.
            column: First columns.

        Returns:
            xmin, ymin, xmax, ymax in units of the CRS, ``(N, 4)``.
        """
        left, top = self.corner[grid].T
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
        self, grid: Integers, row: Integers, column: Integers, *, whole: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Tell the patches that hold data, and none from outside the region of interest.

        Args:
            grid: Numbers of the grids.
            row: First rows.
            column: First columns.
            whole: Grids of which all of a patch must hold data, ``(G,)``.

        Returns:
            True for acceptable patches, ``(N,)``.
        """
        accepted = np.ones(len(grid), bool)
        (odd,) = np.nonzero(self.odd[grid])
        if not len(odd):
            return accepted
        bounds = self.bounds(grid[odd], row[odd], column[odd])
        allowed = self._allowed[grid[odd]]
        # Predicates of a prepared shape decide most patches; areas are slow where blocks of
        # a split make a shape of thousands of corners.
        shapely.prepare(allowed)
        margin = _TOLERANCE * np.array([*self.res, *(-r for r in self.res)])
        core = shapely.box(*(bounds + margin).T)
        inside = shapely.covers(allowed, core)
        partly = ~inside & ~whole[grid[odd]]
        partly[partly] = shapely.intersects(allowed[partly], core[partly])
        patch = shapely.box(*bounds[partly].T)
        some = _TOLERANCE * self.res[0] * self.res[1]
        kept = shapely.area(shapely.intersection(patch, allowed[partly]))
        inside[partly] = (kept > some) & (self._seen(patch) - kept < some)
        accepted[odd] = inside
        return accepted

    @cached_property
    def coverable(self) -> NDArray[np.bool_]:
        """Grids in which a patch can lie wholly inside, bool ``(G,)``."""
        return self._search(np.ones(len(self), bool))

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Grids in which a patch can lie at all, bool ``(G,)``."""
        return self._search(np.zeros(len(self), bool))

    def select(self, kept: NDArray[np.bool_]) -> 'PatchGrids':
        """Select some of the grids, from left to right.

        Args:
            kept: True for those to keep, ``(G,)``.

        Returns:
            The grids.
        """
        order = np.lexsort((-self.corner[:, 1], self.corner[:, 0]))
        order = order[kept[order]]
        return PatchGrids(
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
        """Measure the area of patches that holds data, ``(N,)``."""
        of, near = self._tree.query(patch, predicate='intersects')
        part = shapely.area(shapely.intersection(patch[of], self._observed[near]))
        return np.bincount(of, part, minlength=len(patch))

    def _search(self, whole: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Find the grids with an acceptable position, bool ``(G,)``."""
        found = ~self.odd
        # A few positions of all grids at once: most searches end with them.
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

    def _every_position(self, grid: np.intp) -> Iterator[tuple[Integers, Integers]]:
        """Go through the positions of a grid in chunks, a coarse choice first."""
        total = math.prod(self.positions[grid].tolist())
        for step in (max(1, total // 1000), 1):
            for start in range(0, total, 100_000 * step):
                flat = np.arange(start, min(total, start + 100_000 * step), step)
                row, column = np.divmod(flat, self.positions[grid, 1])
                yield row, column


def _find_grids(
    footprint: BaseGeometry,
    res: tuple[float, float],
    size: tuple[int, int],
    roi: BaseGeometry | None,
) -> PatchGrids:
    """Lay grids over the footprint of a data set for patches of *size* pixels.

    Footprints that overlap or touch have one grid, from their upper left corner on; disjoint
    ones have their own. A region of interest cuts grids down to whole pixels.

    Args:
        footprint: Union of the footprints of a data set.
        res: Width and height of a pixel in units of the CRS.
        size: Rows and columns of a patch.
        roi: Region of interest in the CRS of the data set (default: all).

    Returns:
        The grids, from left to right; those in which no patch is acceptable are left out.

    Raises:
        SITSError: If no patch can be placed anywhere.
    """
    step = np.array(res)
    polygons = _polygons(np.array([footprint]))[0]
    shapes, of = (polygons, np.arange(len(polygons))) if roi is None else _cut(polygons, roi)
    origin = shapely.bounds(polygons)[of][:, [0, 3]] * [1, -1]
    bounds = shapely.bounds(shapes)
    # Whole pixels only, counted from the corner of the footprint rightwards and down.
    first = np.ceil((bounds[:, [0, 3]] * [1, -1] - origin) / step - _TOLERANCE)
    end = np.floor((bounds[:, [2, 1]] * [1, -1] - origin) / step + _TOLERANCE)
    shape = (end - first).astype(np.int64)[:, ::-1]
    filled = shapely.area(shapes) > np.prod(bounds[:, 2:] - bounds[:, :2], axis=1) * (1 - 1e-6)
    fits = (shape >= np.array(size)).all(axis=1)
    # A patch that leaves a rectangle may still meet data outside the roi.
    rectangle = filled & (fits | (roi is None))
    allowed = shapes.copy()
    allowed[rectangle] = None
    kept = (shape >= 1).all(axis=1)
    grids = PatchGrids(
        corner=((origin + first * step) * [1, -1])[kept],
        shape=shape[kept],
        size=size,
        res=(float(res[0]), float(res[1])),
        allowed=allowed[kept],
        observed=polygons,
    )
    grids = grids.select(grids.usable)
    if not len(grids):
        where = 'the data' if roi is None else 'roi'
        raise SITSError(
            f'no patch of {size[0]} x {size[1]} pixels lies in {where}: expected a smaller size'
            + ('' if roi is None else ' or a larger roi in the CRS of the data set')
        )
    return grids


def _cut(
    polygons: NDArray[np.object_], roi: BaseGeometry
) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """Cut polygons ``(P,)`` by a region of interest: polygons ``(G,)``, and of which they are."""
    shapely.prepare(roi)
    whole = shapely.covers(roi, polygons)
    (crossing,) = np.nonzero(~whole & shapely.intersects(roi, polygons))
    inside, of = _polygons(shapely.intersection(polygons[crossing], roi))
    return (
        np.concatenate([polygons[whole], inside]),
        np.concatenate([np.flatnonzero(whole), crossing[of]]),
    )


def _polygons(
    shapes: NDArray[np.object_],
) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """Take shapes apart into polygons, and tell of which each is; lines are dropped."""
    single, of = shapely.get_parts(shapes, return_index=True)
    # Polygons of collections may come as multi-polygons.
    single, inner = shapely.get_parts(single, return_index=True)
    polygon = (shapely.get_type_id(single) == 3) & ~shapely.is_empty(single)
    return single[polygon], of[inner][polygon]

"""Random and gridded patches on the pixel grids of a data set."""

import abc
import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import SpatialSampler, TemporalSampler

from ..errors import SITSError
from .epochs import EpochSampler, draw_seed, epoch_generator
from .footprints import join_footprints
from .regions import find_regions
from .spatiotemporal import SkippingSampler

__all__ = ['GriddedSeriesPatchSampler', 'RandomSeriesPatchSampler', 'SeriesPatchSampler']

Place = tuple[slice, slice]
Integers = NDArray[np.int64]
#: Patches that are made at a time, so that a large area takes no large memory.
_CHUNK = 100_000


class SeriesPatchSampler(EpochSampler, SpatialSampler):
    """Base of samplers of patches of whole pixels on each footprint's own grid.

    The grid starts at the upper left corner of the footprint in ``dataset.index``. TorchGeo's
    splitters that cut footprints to boxes off the grid of the files move it along; *roi* does
    not.

    Args:
        dataset: Data set to sample from.
        size: Side of a patch in pixels, or its height and width.
        roi: Region of interest in the CRS of the data set. No patch holds data from outside
            it, so that regions that do not overlap give patches that do not.

    Raises:
        SITSError: If *size* is not positive, or no patch lies in *roi*.
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
        self.regions = find_regions(self.geometry, dataset.res, self.size, roi)
        self.bounds = self.geometry.bounds
        self.res = dataset.res
        if roi is not None:
            self.geometry &= roi

    @abc.abstractmethod
    def iter_epoch(self, number: int) -> Iterator[Place]:
        """All patches of an epoch.

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
        area = int(self.regions.shape.prod(axis=1).sum())
        self._length = length or math.ceil(area / math.prod(self.size))
        self._seeds = [draw_seed(generator)]
        self._shares = np.cumsum(self.regions.positions.prod(axis=1))

    def epoch_length(self, number: int) -> int:
        """Number of patches in an epoch, as asked for.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number.
        """
        return self._length

    def iter_epoch(self, number: int) -> Iterator[Place]:
        """Draw the patches of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """
        return islice(self.draws(number), self._length)

    def draws(self, number: int) -> Iterator[Place]:
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
        """Bounds ``(N, 4)`` of random patches."""
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
            good = self.regions.accepts(*at, whole=self.regions.coverable)
            bounds[pending[good]] = self.regions.bounds(*at[:, good])
            barren = 0 if good.any() else barren + 1
            pending = pending[~good]
        return bounds

    def _positions(self, number: int, generator: Generator) -> Integers:
        """Region, row and column of positions with equal probability, ``(3, N)``."""
        flat = generator.integers(self._shares[-1], size=number)
        where = np.searchsorted(self._shares, flat, side='right')
        flat -= np.append(0, self._shares)[where]
        return np.stack([where, *np.divmod(flat, self.regions.positions[where, 1])])


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
            steps = -(-(self.regions.positions - 1) // np.array(self.stride)) + 1
            count = int(steps[~self.regions.odd].prod(axis=1).sum())
            for where in np.flatnonzero(self.regions.odd):
                count += sum(int(good.sum()) for _, good in self._blocks(where))
            self._length = count
        return self._length

    def iter_epoch(self, number: int) -> Iterator[Place]:
        """Go through all patches, the same in each epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """
        for where in range(len(self.regions)):
            for at, good in self._blocks(where):
                yield from _slices(self.regions.bounds(*at[:, good]))

    def _blocks(self, where: int | np.intp) -> Iterator[tuple[Integers, NDArray[np.bool_]]]:
        """Region, row and column of the patches of a region, ``(3, N)``, and which are good."""
        rows, columns = (
            np.unique(np.append(np.arange(0, most, stride), most - 1))
            for most, stride in zip(self.regions.positions[where], self.stride, strict=True)
        )
        height = max(1, _CHUNK // len(columns))
        for first in range(0, len(rows), height):
            row, column = np.meshgrid(rows[first : first + height], columns, indexing='ij')
            at = np.stack([np.full(row.size, where), row.ravel(), column.ravel()])
            # A patch of the grid may reach beyond the data, but not beyond the roi.
            yield at, self.regions.accepts(*at, whole=np.zeros(len(self.regions), bool))


def _slices(bounds: NDArray[np.float64]) -> Iterator[Place]:
    """Patches by their bounds ``(N, 4)``."""
    for xmin, ymin, xmax, ymax in bounds.tolist():
        yield slice(xmin, xmax), slice(ymin, ymax)


def _pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of an argument, checked."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < 1:
        raise SITSError(f'{name} must be one or two positive numbers of pixels, got {value!r}')
    return pair[0], pair[1]

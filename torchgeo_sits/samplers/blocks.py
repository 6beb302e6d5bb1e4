"""Random patches, several from each block of the files, so that a block is read once."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torch import distributed

from ..errors import SITSError
from .epochs import epoch_generator
from .spatial import RandomSeriesPatchSampler
from .spatiotemporal import BlockWindow

__all__ = ['BlockPatchSampler']

Integers = NDArray[np.int64]
#: Proposals of positions at a time where some of a block are not acceptable, and how often.
_PROPOSALS, _ROUNDS = 256, 20


class _BlockGrid(Protocol):
    """Corner, pixel size and size in pixels of a block of the files."""

    left: float
    top: float
    width: int
    height: int


class BlockPatchSampler(RandomSeriesPatchSampler):
    """Random patches drawn block by block, every position with the same probability.

    Files are decoded by blocks, of which a patch needs a corner only. This sampler draws a
    position, and then *per_block* positions among all that need the very same blocks as it:
    those inside a block, or astride one border, or astride a corner. Given the kind every
    position is as likely as any other, so that each patch alone is distributed as those of
    :class:`RandomSeriesPatchSampler`; only patches of one draw go together. These are spread
    over the epoch: *open_blocks* draws are in use at a time, and two patches of one are never
    neighbours. Series of this package read the window around a draw once, as it is stored.

    Workers of a DataLoader each get every so many batches, and so do the processes of a
    distributed run with samples. To read a block in one of them only the sampler is told their
    numbers; wrong ones cost time and nothing else. Give *shuffle* of the DataLoader no value.

    Args:
        dataset: Series to sample from, alone or joined with labels.
        size: Side of a patch in pixels, or its height and width.
        length: Patches per epoch (default: as many as do not overlap, rounded up).
        per_block: Patches of a draw (default: as many as fit side by side into the blocks that
            a draw needs on average).
        open_blocks: Draws in use at a time in each worker. Each keeps all dates of a block in
            memory, as they are stored.
        batch_size: That of the DataLoader.
        num_workers: That of the DataLoader.
        num_replicas: Number of processes (default: those of ``torch.distributed``).
        roi: Region of interest in the CRS of the data set.
        generator: A seed, a generator to draw a seed from, or None for a new seed.

    Raises:
        SITSError: If an argument is out of its range or no patch lies in *roi*.
        TypeError: If *dataset* does not say how its files are blocked.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import BlockPatchSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> sampler = BlockPatchSampler(series, size=8, length=12, generator=0)
        >>> windows = list(sampler)
        >>> len(windows), len({window.block for window in windows}) < 12
        (12, True)
    """

    def __init__(
        self,
        dataset: Any,
        *,
        size: int | tuple[int, int],
        length: int | None = None,
        per_block: int | None = None,
        open_blocks: int = 4,
        batch_size: int = 1,
        num_workers: int = 0,
        num_replicas: int | None = None,
        roi: BaseGeometry | None = None,
        generator: int | Generator | None = None,
    ) -> None:
        for name in ('per_block', 'open_blocks', 'batch_size', 'num_replicas'):
            if (value := locals()[name]) is not None and value < 1:
                raise SITSError(f'{name} must be at least 1, got {value}')
        if open_blocks < 2:
            raise SITSError(
                f'open_blocks must be at least 2, so that neighbours can differ, got {open_blocks}'
            )
        if num_workers < 0:
            raise SITSError(f'num_workers must be at least 0, got {num_workers}')
        block: _BlockGrid | None = getattr(dataset, 'block_grid', None)
        if block is None:
            raise TypeError(
                f'{type(dataset).__name__} does not say how its files are blocked: give a series '
                'of torchgeo_sits, or labels joined to one, or use RandomSeriesPatchSampler'
            )
        super().__init__(dataset, size=size, length=length, roi=roi, generator=generator)
        self.block = block.height, block.width
        # A patch of s pixels astride blocks of b needs (b + s - 1) / b of them on average.
        needed = [b + s - 1 for b, s in zip(self.block, self.size, strict=True)]
        self.per_block = per_block or math.prod(needed) // math.prod(self.size)
        self.open_blocks = open_blocks
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.num_replicas = num_replicas
        # Where the corner of each grid lies in its block, (G, 2) of row and column.
        offset = (self.grids.corner - [block.left, block.top]) / self.grids.res * [1, -1]
        self._phase = np.floor(offset[:, ::-1] + 0.5).astype(np.int64) % self.block

    def iter_endless(self, number: int) -> Iterator[BlockWindow]:
        """Draw patches without end; those of the epoch come first.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``, which know their block.
        """
        generator = epoch_generator(self._seeds[0], number, stream=0)
        blocks = self._blocks(generator)
        replicas, workers = self._replicas(), max(1, self.num_workers)
        open_: list[list[list[BlockWindow]]] = [[] for _ in range(replicas * workers)]
        latest: list[list[BlockWindow] | None] = [None] * len(open_)
        position = 0
        while True:
            # Samples go round the processes, and in each batches go round the workers.
            of_process, process = divmod(position, replicas)
            stream = process * workers + of_process // self.batch_size % workers
            mine = open_[stream]
            while len(mine) < self.open_blocks:
                mine.append(next(blocks))
            others = [block for block in mine if block is not latest[stream]]
            chosen = others[generator.integers(len(others))]
            latest[stream] = chosen
            yield chosen.pop()
            if not chosen:
                # Not `remove`, which compares by value.
                open_[stream] = [block for block in mine if block is not chosen]
            position += 1

    def iter_epoch(self, number: int) -> Iterator[BlockWindow]:
        """Draw the patches of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``, which know their block.
        """
        return islice(self.iter_endless(number), self._length)

    def _replicas(self) -> int:
        """Count the processes that share the epoch."""
        if self.num_replicas is not None:
            return self.num_replicas
        known = distributed.is_available() and distributed.is_initialized()
        return distributed.get_world_size() if known else 1

    def _blocks(self, generator: Generator) -> Iterator[list[BlockWindow]]:
        """Draw lists of patches of one block, the one to be used last at the front."""
        while True:
            grid, row, column = self._anchor(generator)
            rows = self._alike(grid, row, axis=0)
            columns = self._alike(grid, column, axis=1)
            at = self._among(grid, rows, columns, generator)
            bounds = self.grids.bounds(np.full(self.per_block, grid), *at)
            (xmin, ymin), (xmax, ymax) = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
            block = slice(float(xmin), float(xmax)), slice(float(ymin), float(ymax))
            yield [
                BlockWindow.cut(
                    (slice(x0, x1), slice(y0, y1)), block, last=i == 0, kept=self.open_blocks
                )
                for i, (x0, y0, x1, y1) in enumerate(bounds.tolist())
            ]

    def _anchor(self, generator: Generator) -> tuple[int, int, int]:
        """Draw an acceptable position: grid, row and column."""
        while True:
            at = self._positions(_PROPOSALS if self.grids.odd.any() else 1, generator)
            good = self.grids.accepts(*at, whole=self.grids.coverable)
            if good.any():
                grid, row, column = at[:, good.argmax()].tolist()
                return grid, row, column

    def _alike(self, grid: int, start: int, axis: int) -> tuple[int, int]:
        """Find the first and last position that need the same blocks along an axis as *start*."""
        block, size, phase = self.block[axis], self.size[axis], int(self._phase[grid, axis])
        first, last = (start + phase) // block, (start + phase + size - 1) // block
        low = max(first * block, last * block - size + 1) - phase
        high = min((first + 1) * block - 1, (last + 1) * block - size) - phase
        return max(low, 0), min(high, int(self.grids.positions[grid, axis]) - 1)

    def _among(
        self,
        grid: int,
        rows: tuple[int, int],
        columns: tuple[int, int],
        generator: Generator,
    ) -> tuple[Integers, Integers]:
        """Draw acceptable positions, each as likely as any other: rows and columns ``(K,)``."""
        wanted = self.per_block
        if not self.grids.odd[grid]:
            return (
                generator.integers(rows[0], rows[1] + 1, wanted),
                generator.integers(columns[0], columns[1] + 1, wanted),
            )
        found = np.empty((2, 0), np.int64)
        for _ in range(_ROUNDS):
            row = generator.integers(rows[0], rows[1] + 1, _PROPOSALS)
            column = generator.integers(columns[0], columns[1] + 1, _PROPOSALS)
            found = np.concatenate([found, self._good(grid, row, column)], axis=1)
            if found.shape[1] >= wanted:
                return found[0, :wanted], found[1, :wanted]
        # So few are acceptable that they are quicker counted than met.
        every = np.mgrid[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1].reshape(2, -1)
        good = self._good(grid, *every)
        row, column = good[:, generator.integers(good.shape[1], size=wanted)]
        return row, column

    def _good(self, grid: int, row: Integers, column: Integers) -> Integers:
        """Select the acceptable ones of some positions, ``(2, N)``."""
        grids = np.full(len(row), grid)
        good = self.grids.accepts(grids, row, column, whole=self.grids.coverable)
        return np.stack([row[good], column[good]])

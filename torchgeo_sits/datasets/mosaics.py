"""Frames of a series: the files of an acquisition in one image, with its clouds."""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.enums import Resampling

from ..grid import Grid
from .catalogue import Product
from .clouds import CloudMasks
from .reading import RasterReader
from .scenes import Scene, list_examples

__all__ = ['MosaicReader', 'Mosaics', 'ReadingThreads']


class ReadingThreads:
    """Calls a function many times, on several threads at once.

    GDAL and the codecs of Zarr release the interpreter while they decode, so threads read at
    once. A fork or a pickle starts without threads.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        """Begin without threads, in this process."""
        self._pid = os.getpid()
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy nothing: threads belong to their process."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._start()

    def close(self) -> None:
        """Stop the threads; calling again starts what it needs."""
        if self._pool is not None and self._pid == os.getpid():
            self._pool.shutdown()
        self._start()

    def map(self, function: Callable[[int], None], count: int) -> None:
        """Call *function* with 0 ... *count* - 1, on as many threads as this process may use.

        Args:
            function: Called once per number, from any thread. What it raises is raised here,
                after all threads have ended.
            count: How many calls.
        """
        if self._pid != os.getpid():
            self._start()
        threads = min(available_threads(), count)
        if threads < 2:
            for i in range(count):
                function(i)
            return
        if self._pool is None or self._size < threads:
            self._size = threads
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix='sits-reader')

        def run(first: int) -> None:
            for i in range(first, count, threads):
                function(i)

        # One task per thread: handing over each frame costs as much as reading a small one.
        # The first share runs here, so that a window costs one handover less.
        others = [self._pool.submit(run, first) for first in range(1, threads)]
        try:
            run(0)
        finally:
            errors = [task.exception() for task in others]
        if error := next((error for error in errors if error is not None), None):
            raise error


def available_threads() -> int:
    """Threads this process may read with: its share of the cores, four at most.

    Returns:
        The cores that this process may run on, over the number of workers of its DataLoader.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    worker = torch.utils.data.get_worker_info()
    share = (cores or 1) // (worker.num_workers if worker else 1)
    return min(4, max(1, share))


class Mosaics(NamedTuple):
    """The frames of T acquisitions.

    Attributes:
        values: ``(T, C, H, W)`` as stored, 0 where nothing was observed.
        observed: ``(T, H, W)`` bool, True where there is data.
        clear: ``(T, H, W)`` bool, True where the ground was seen.
        offset: ``(T,)`` float32, what is to be added to *values*: that of the first product.
    """

    values: NDArray[Any]
    observed: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    offset: NDArray[np.float32]


class MosaicReader:
    """Reads acquisitions, several at once, each to one frame.

    Args:
        bands: Names of the channels, in their order.
        reader: Reads the files.
        clouds: Masks of clouds, if there are any.
        dtype: Type that holds what any of the files stores.
        offset: What is to be added to the pixels of a product, by the path of its first file.
        unreadable: What to do about a file that breaks off: fail, or leave its pixels
            unobserved and say so once.
    """

    def __init__(
        self,
        bands: Sequence[str],
        reader: RasterReader,
        *,
        clouds: CloudMasks | None,
        dtype: np.dtype[Any],
        offset: Callable[[str], float],
        unreadable: Literal['raise', 'skip'],
    ) -> None:
        self.bands = tuple(bands)
        self.reader = reader
        self.clouds = clouds
        self.dtype = dtype
        self.offset = offset
        self.unreadable = unreadable
        #: Files that could not be read so far, and were left out.
        self.skipped: set[str] = set()
        self._threads = ReadingThreads()

    def close(self) -> None:
        """Close all open files; reading again opens what it needs."""
        self._threads.close()
        self.reader.close()
        if self.clouds is not None:
            self.clouds.close()

    def read(self, acquisitions: Sequence[Sequence[Product]], grid: Grid) -> Mosaics:
        """Read frames.

        Args:
            acquisitions: The products of T acquisitions. Where two of one acquisition cover a
                pixel, the first that observed it counts.
            grid: Pixels wanted.

        Returns:
            The frames.

        Raises:
            OSError: If a file cannot be read, unless it is to be skipped.
        """
        shape = (len(acquisitions), grid.height, grid.width)
        offsets = [[self.offset(p.scenes[0].path) for p in a] for a in acquisitions]
        mixed = any(len(set(own)) > 1 for own in offsets)
        # One frame of products with different offsets: only once added they are the same.
        dtype = np.result_type(self.dtype, np.float32) if mixed else self.dtype
        values = np.empty((shape[0], len(self.bands), *shape[1:]), dtype)
        observed = np.zeros(shape, bool)
        clear = np.zeros(shape, bool) if self.clouds is not None else observed
        self.reader.reserve(sum(len(p.scenes) for a in acquisitions for p in a))
        near: set[int] = set()
        if self.clouds is not None:
            near = self.clouds.within(grid)
            self.clouds.reserve(len(near))
        broken: list[str] = []

        def frame(i: int) -> None:
            self._mosaic(values[i], observed[i], acquisitions[i], offsets[i], grid, broken)
            if self.clouds is not None:
                time = min(product.name.time for product in acquisitions[i])
                clear[i] = observed[i]
                self._leave_out_clouds(clear[i], time, grid, near, broken)

        self._threads.map(frame, len(acquisitions))
        if broken:
            self._report(broken)
        first = np.array([own[0] for own in offsets], np.float32)
        return Mosaics(values, observed, clear, first)

    def _mosaic(
        self,
        values: NDArray[Any],
        observed: NDArray[np.bool_],
        products: Sequence[Product],
        offsets: Sequence[float],
        grid: Grid,
        broken: list[str],
    ) -> None:
        """Fill a frame ``(C, H, W)`` and what of it is *observed* ``(H, W)``, in place."""
        for product, offset in zip(products, offsets, strict=True):
            fresh = not observed.any()
            data = values if fresh else np.empty_like(values)
            try:
                seen = self._read(product, grid, data)
            except OSError:
                if self.unreadable == 'raise':
                    raise
                broken.append(product.scenes[0].path)
                continue
            if offset != offsets[0]:
                data += offset - offsets[0]  # what the frame says is that of the first
            if not fresh:
                np.copyto(values, data, where=seen & ~observed)
            observed |= seen
            if observed.all():
                return
        values[:, ~observed] = 0

    def _read(self, product: Product, grid: Grid, out: NDArray[Any]) -> NDArray[np.bool_]:
        """Read a product ``(C, H, W)``; where all of its bands were observed, ``(H, W)``."""
        seen = np.ones(out.shape[1:], bool)
        for scene, channels, indexes in self._files(product):
            # A slice of the frame is read into as it is, a choice of channels by a copy.
            first, last = channels[0], channels[-1] + 1
            direct = channels == list(range(first, last))
            values, valid = self.reader.read(
                scene,
                indexes,
                grid,
                resampling=Resampling.bilinear,
                out=out[first:last] if direct else None,
            )
            if not direct:
                out[channels] = values
            seen &= valid
            if not seen.any():
                break
        return seen

    def _files(self, product: Product) -> list[tuple[Scene, list[int], list[int]]]:
        """Files of a product, with the channels that they fill and their bands' numbers."""
        found: dict[str, tuple[Scene, list[int], list[int]]] = {}
        scenes = {scene.path: scene for scene in product.scenes}
        for channel, band in enumerate(self.bands):
            path, index = product.sources[band]
            _, channels, indexes = found.setdefault(path, (scenes[path], [], []))
            channels.append(channel)
            indexes.append(index)
        return list(found.values())

    def _leave_out_clouds(
        self,
        clear: NDArray[np.bool_],
        time: Any,
        grid: Grid,
        near: set[int],
        broken: list[str],
    ) -> None:
        """Take what the mask of an acquisition calls cloudy out of *clear*, in place."""
        if self.clouds is None or not clear.any():
            return
        try:
            mask = self.clouds.read(time, grid, near)
        except OSError:
            if self.unreadable == 'raise':
                raise
            broken.append(f'cloud mask of {time}')
            clear[:] = False
            return
        if mask is not None:
            clear &= mask

    def _report(self, broken: Sequence[str]) -> None:
        """Warn of files that were not reported before."""
        new = sorted(set(broken) - self.skipped)
        self.skipped.update(new)
        if new:
            warnings.warn(
                f'{len(new)} rasters cannot be read and count as unobserved: {list_examples(new)}',
                UserWarning,
                stacklevel=4,
            )

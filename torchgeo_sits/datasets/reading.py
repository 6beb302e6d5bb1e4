"""Reading windows of many rasters: handles that survive workers, masks that mean what they say."""

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio import open as open_raster
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from .grid import Grid

__all__ = ['RasterReader']


class _Handle:
    """An open raster with what each read needs to know: asking GDAL takes longer than reading."""

    def __init__(self, path: str, nodata: float | None, default_nodata: float | None) -> None:
        self.source = open_raster(path, sharing=False)
        self.nodata = tuple(
            nodata if nodata is not None else default_nodata if own is None else own
            for own in self.source.nodatavals
        )
        flags = [set(band) for band in self.source.mask_flag_enums]
        #: Whether a mask beside the bands says what was observed.
        self.masked = nodata is None and any(MaskFlags.per_dataset in flag for flag in flags)
        #: Number of the band that says it. GDAL's own mask heeds it in 2 or 4 bands only.
        self.alpha = next(
            (
                index
                for index, colour in zip(self.source.indexes, self.source.colorinterp, strict=True)
                if colour == ColorInterp.alpha and nodata is None
            ),
            None,
        )
        self.transform = self.source.transform
        self.crs = self.source.crs


class RasterReader:
    """Reads windows of rasters onto a grid, with a mask of what was observed.

    A rasterio handle shares its file offset with every process forked from this one, and
    returns wrong pixels when two threads use it at once. So handles belong to one process
    (a fork or a pickle starts without any), each is lent to one thread at a time, and the
    least recently used ones are closed.

    Args:
        nodata: Value that means no data, in place of what the files say.
        default_nodata: Value that means no data in files that do not say.
        cache: Keep handles open between reads.
    """

    #: Handles kept open when a window needs fewer.
    least_open = 256

    def __init__(
        self,
        *,
        nodata: float | None = None,
        default_nodata: float | None = None,
        cache: bool = True,
    ) -> None:
        self.nodata = nodata
        self.default_nodata = default_nodata
        self.cache = cache
        self._start()

    def _start(self) -> None:
        """Begin without handles, in this process."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: OrderedDict[str, _Handle] = OrderedDict()
        # Also at the end of the program: left to the interpreter's shutdown, each handle
        # prints an error, since GDAL's own error handling is gone by then.
        weakref.finalize(self, _close_all, self._idle)
        self._pool: ThreadPoolExecutor | None = None
        self._threads = 0
        self._capacity = self.least_open

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy the options, never handles, threads or locks."""
        return {name: getattr(self, name) for name in ('nodata', 'default_nodata', 'cache')}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def close(self) -> None:
        """Close all handles and stop the threads; reading again opens what it needs."""
        if self._pid == os.getpid():
            _close_all(self._idle)
            if self._pool is not None:
                self._pool.shutdown()
        self._start()

    def reserve(self, files: int) -> None:
        """Keep enough handles open for two windows of so many files, within the system's limit.

        Args:
            files: Number of files that one window needs.
        """
        if self._pid != os.getpid():
            self._start()
        self._capacity = min(max(self.least_open, 2 * files, self._capacity), _open_files_limit())

    def map(self, function: Callable[[int], None], count: int) -> None:
        """Call *function* with 0 ... *count* - 1, on as many threads as this process may use.

        GDAL releases the interpreter while it decodes, so threads read at once. A
        DataLoader's worker takes its share of the cores only.

        Args:
            function: Called once per number, from any thread.
            count: How many calls.
        """
        if self._pid != os.getpid():
            self._start()
        threads = min(_threads(), count)
        if threads < 2:
            for i in range(count):
                function(i)
            return
        if self._pool is None or self._threads < threads:
            self._threads = threads
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix='raster-reader')

        def run(first: int) -> None:
            for i in range(first, count, threads):
                function(i)

        # One task per thread: handing over each frame costs as much as reading a small one.
        for done in [self._pool.submit(run, first) for first in range(threads)]:
            done.result()

    @contextmanager
    def _lend(self, path: str) -> Iterator[_Handle]:
        """An open handle of *path* that nobody else uses meanwhile."""
        with self._lock:
            handle = self._idle.pop(path, None)
        if handle is None:
            handle = _Handle(path, self.nodata, self.default_nodata)
        try:
            yield handle
        except BaseException:
            handle.source.close()
            raise
        surplus = []
        with self._lock:
            if self.cache and path not in self._idle:
                self._idle[path] = handle
            else:
                surplus.append(handle)
            while len(self._idle) > self._capacity:
                surplus.append(self._idle.popitem(last=False)[1])
        for old in surplus:
            old.source.close()

    def read(
        self,
        path: str,
        indexes: Sequence[int],
        grid: Grid,
        *,
        resampling: Resampling = Resampling.nearest,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read some bands of one raster onto *grid*.

        Where CRS and pixel size agree the pixels are copied as they are, moved by less than
        half a pixel if the grids are shifted; elsewhere they are warped.

        Args:
            path: Raster to read.
            indexes: Numbers of the bands, from 1.
            grid: Pixels wanted; they may lie outside the raster.
            resampling: Method, used where the raster must be warped only.

        Returns:
            Values ``(C, H, W)`` in the raster's own type, and ``(H, W)`` bool, True where all
            bands were observed: inside the raster, finite, not nodata, not masked out.

        Raises:
            OSError: If the raster cannot be opened or read; the message names it.
        """
        if self._pid != os.getpid():
            self._start()
        try:
            with self._lend(path) as handle:
                offset = grid.offset_in(handle.transform) if handle.crs == grid.crs else None
                if offset is None:
                    return _warp(handle, indexes, grid, resampling)
                # Half a pixel is rounded towards the same side for every file of a grid.
                column, row = (int(np.floor(value + 0.5)) for value in offset)
                return _copy(handle, indexes, grid, column, row)
        except RasterioError as error:
            # rasterio's own message only points to its cause.
            raise OSError(
                f"'{path}' cannot be read ({error.__cause__ or error}): it may be truncated. Fetch "
                'or write it again, remove it, or leave its pixels unobserved with '
                "unreadable='skip'."
            ) from error


def _close_all(handles: OrderedDict[str, _Handle]) -> None:
    """Close all *handles* and forget them."""
    while handles:
        handles.popitem()[1].source.close()


def _copy(
    handle: _Handle, indexes: Sequence[int], grid: Grid, column: int, row: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read pixel by pixel, from *column* and *row* on."""
    source = handle.source
    left, top = max(column, 0), max(row, 0)
    right = min(column + grid.width, source.width)
    bottom = min(row + grid.height, source.height)
    shape = (grid.height, grid.width)
    if right <= left or bottom <= top:
        empty = np.zeros((len(indexes), *shape), source.dtypes[indexes[0] - 1])
        return empty, np.zeros(shape, bool)
    window = Window(left, top, right - left, bottom - top)
    data = source.read(list(indexes), window=window)
    observed = _observed(data, [handle.nodata[index - 1] for index in indexes])
    if handle.alpha is not None:
        observed &= source.read(handle.alpha, window=window) > 0
    elif handle.masked:
        observed &= source.dataset_mask(window=window) > 0
    if data.shape[1:] == shape:
        return data, observed
    rows, columns = slice(top - row, bottom - row), slice(left - column, right - column)
    padded = np.zeros((len(indexes), *shape), data.dtype)
    padded[:, rows, columns] = data
    inside = np.zeros(shape, bool)
    inside[rows, columns] = observed
    return padded, inside


def _warp(
    handle: _Handle, indexes: Sequence[int], grid: Grid, resampling: Resampling
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read through a warp onto exactly *grid*."""
    nodata = handle.nodata[indexes[0] - 1]
    options: dict[str, Any] = {'src_nodata': nodata, 'nodata': nodata}
    if nodata is None:
        # Only an alpha band tells the border of a warp, and what a mask hides, from pixels.
        options = {'add_alpha': handle.alpha is None}
    with WarpedVRT(
        handle.source,
        crs=grid.crs,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=resampling,
        # Per band: else a pixel that only some bands miss would be blended with nodata.
        UNIFIED_SRC_NODATA='NO',
        **options,
    ) as vrt:
        data = vrt.read(list(indexes))
        observed = _observed(data, [nodata] * len(indexes))
        if nodata is None or handle.alpha is not None:
            # Not vrt.dataset_mask(): it calls all pixels valid, whatever the alpha band says.
            observed &= vrt.read(handle.alpha or vrt.count) > 0
        return data, observed


def _observed(data: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """``(H, W)``: no band of *data* ``(C, H, W)`` is its *nodata*, NaN or inf."""
    inexact = np.issubdtype(data.dtype, np.inexact)
    if inexact:  # float32 rounds a nodata of -3.4028234663852886e+38
        nodata = [value if value is None else data.dtype.type(value) for value in nodata]
    if len(set(nodata)) == 1:
        missing = np.zeros(data.shape[1:], bool)
        if nodata[0] is not None:
            missing = (data == nodata[0]).any(axis=0)
    else:
        pairs = [(b, v) for b, v in zip(data, nodata, strict=True) if v is not None]
        missing = np.any([band == value for band, value in pairs], axis=0)
    if inexact:
        missing |= ~np.isfinite(data).all(axis=0)
    return ~missing


def _threads() -> int:
    """Threads this process may read with: its share of the cores, four at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    worker = torch.utils.data.get_worker_info()
    share = (cores or 1) // (worker.num_workers if worker else 1)
    return min(4, max(1, share))


def _open_files_limit() -> int:
    """Handles that may stay open: half of what the system allows this process."""
    try:
        import resource
    except ImportError:  # Windows counts otherwise
        return 2048
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 65536 if soft == resource.RLIM_INFINITY else max(soft // 2, 16)

"""Reading windows of many rasters: handles that survive workers, masks that mean what they say."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio import open as open_raster
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import Affine, from_origin
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

__all__ = ['Grid', 'RasterReader', 'spectral_indexes']

#: Share of a pixel by which two grids may differ and still count as the same one.
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Grid:
    """The pixels to read: a north-up grid in a coordinate reference system.

    Attributes:
        left: West edge, in units of *crs*.
        top: North edge, in units of *crs*.
        xres: Width of a pixel, in units of *crs*.
        yres: Height of a pixel, in units of *crs*.
        width: Number of columns.
        height: Number of rows.
        crs: Coordinate reference system.
    """

    left: float
    top: float
    xres: float
    yres: float
    width: int
    height: int
    crs: CRS

    @property
    def transform(self) -> Affine:
        """Affine transformation of (column, row) to coordinates."""
        return from_origin(self.left, self.top, self.xres, self.yres)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north edge, in units of the CRS."""
        return (
            self.left,
            self.top - self.height * self.yres,
            self.left + self.width * self.xres,
            self.top,
        )

    def offset_in(self, transform: Affine) -> tuple[float, float] | None:
        """Column and row of this grid's corner in a raster of the same pixel size.

        Args:
            transform: Affine transformation of the raster, in the CRS of this grid.

        Returns:
            The column and row, not rounded; None where pixel sizes or axes differ by more
            than :data:`TOLERANCE` of a pixel from one end of this grid to the other.
        """
        drift = max(
            abs(transform.a / self.xres - 1) * self.width,
            abs(transform.e / -self.yres - 1) * self.height,
            abs(transform.b / self.xres) * self.height,
            abs(transform.d / self.yres) * self.width,
        )
        if drift > TOLERANCE:
            return None
        return (self.left - transform.c) / transform.a, (self.top - transform.f) / transform.e


def spectral_indexes(source: DatasetReader) -> tuple[int, ...]:
    """Numbers (from 1) of the bands of an open raster that are not an alpha channel."""
    return tuple(
        i
        for i, colour in zip(source.indexes, source.colorinterp, strict=True)
        if colour != ColorInterp.alpha
    )


class RasterReader:
    """Reads windows of rasters onto a grid, with a mask of what was observed.

    A rasterio handle shares its file offset with every process forked from this one, and
    returns wrong pixels when two threads use it at once. So handles belong to one process
    (a fork or a pickle starts without any), each is lent to one thread at a time, and the
    least recently used ones are closed.

    Args:
        nodata: Value that means no data, in place of what the files say.
        cache: Keep handles open between reads.
    """

    #: Handles kept open when a window needs fewer.
    least_open = 256

    def __init__(self, *, nodata: float | None = None, cache: bool = True) -> None:
        self.nodata = nodata
        self.cache = cache
        self._start()

    def _start(self) -> None:
        """Begin without handles, in this process."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: OrderedDict[str, DatasetReader] = OrderedDict()
        self._pool: ThreadPoolExecutor | None = None
        self._threads = 0
        self._capacity = self.least_open

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy the options, never handles, threads or locks."""
        return {'nodata': self.nodata, 'cache': self.cache}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.nodata = state['nodata']
        self.cache = state['cache']
        self._start()

    def close(self) -> None:
        """Close all handles and stop the threads; reading again opens what it needs."""
        if self._pid == os.getpid():
            for source in self._idle.values():
                source.close()
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
    def _lend(self, path: str) -> Iterator[DatasetReader]:
        """An open handle of *path* that nobody else uses meanwhile."""
        with self._lock:
            source = self._idle.pop(path, None)
        if source is None:
            source = open_raster(path, sharing=False)
        try:
            yield source
        except BaseException:
            source.close()
            raise
        surplus = []
        with self._lock:
            if self.cache and path not in self._idle:
                self._idle[path] = source
            else:
                surplus.append(source)
            while len(self._idle) > self._capacity:
                surplus.append(self._idle.popitem(last=False)[1])
        for old in surplus:
            old.close()

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
            bands were observed: inside the raster, not nodata, not NaN, not masked out.

        Raises:
            OSError: If the raster cannot be opened or read; the message names it.
        """
        if self._pid != os.getpid():
            self._start()
        try:
            with self._lend(path) as source:
                offset = grid.offset_in(source.transform) if source.crs == grid.crs else None
                if offset is None:
                    return self._warp(source, indexes, grid, resampling)
                # Half a pixel is rounded towards the same side for every file of a grid.
                column, row = (int(np.floor(value + 0.5)) for value in offset)
                return self._copy(source, indexes, grid, column, row)
        except RasterioError as error:
            raise OSError(
                f"'{path}' cannot be read ({error}): it may be truncated. Fetch or write it "
                "again, remove it, or leave its pixels unobserved with unreadable='skip'."
            ) from error

    def _copy(
        self, source: DatasetReader, indexes: Sequence[int], grid: Grid, column: int, row: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read pixel by pixel, from *column* and *row* on."""
        left, top = max(column, 0), max(row, 0)
        right = min(column + grid.width, source.width)
        bottom = min(row + grid.height, source.height)
        shape = (grid.height, grid.width)
        whole = (right - left, bottom - top) == (grid.width, grid.height)
        if right <= left or bottom <= top:
            data = np.zeros((len(indexes), *shape), source.dtypes[indexes[0] - 1])
            return data, np.zeros(shape, bool)
        window = Window(left, top, right - left, bottom - top)
        data = source.read(list(indexes), window=window)
        observed = self._observed(source, indexes, data, window)
        if whole:
            return data, observed
        rows, columns = slice(top - row, bottom - row), slice(left - column, right - column)
        padded = np.zeros((len(indexes), *shape), data.dtype)
        padded[:, rows, columns] = data
        inside = np.zeros(shape, bool)
        inside[rows, columns] = observed
        return padded, inside

    def _warp(
        self, source: DatasetReader, indexes: Sequence[int], grid: Grid, resampling: Resampling
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read through a warp onto exactly *grid*."""
        nodata = source.nodata if self.nodata is None else self.nodata
        # Without a nodata value only an alpha band tells the warp's border from its pixels.
        has_alpha = ColorInterp.alpha in source.colorinterp
        options: dict[str, Any] = (
            {'add_alpha': True}
            if nodata is None and not has_alpha
            else {
                'src_nodata': nodata,
                'nodata': nodata,
            }
        )
        with WarpedVRT(
            source,
            crs=grid.crs,
            transform=grid.transform,
            width=grid.width,
            height=grid.height,
            resampling=resampling,
            # Per band: else a pixel that only some bands miss would be blended with nodata.
            UNIFIED_SRC_NODATA='NO',
            **options,
        ) as vrt:
            window = Window(0, 0, grid.width, grid.height)
            data = vrt.read(list(indexes))
            observed = self._observed(vrt, indexes, data, window)
            if nodata is not None and has_alpha:
                observed &= vrt.read(vrt.count) > 0
            return data, observed

    def _observed(
        self,
        source: DatasetReader | WarpedVRT,
        indexes: Sequence[int],
        data: NDArray[Any],
        window: Window,
    ) -> NDArray[np.bool_]:
        """``(H, W)``: no band of *data* is nodata, NaN or masked out."""
        observed = np.ones(data.shape[1:], bool)
        masked = False
        for band, index in zip(data, indexes, strict=True):
            nodata = source.nodatavals[index - 1] if self.nodata is None else self.nodata
            if nodata is not None and not np.isnan(nodata):
                observed &= band != _as_type(nodata, band.dtype)
            if np.issubdtype(band.dtype, np.inexact):
                observed &= ~np.isnan(band)
            flags = source.mask_flag_enums[index - 1]
            masked |= MaskFlags.per_dataset in flags or MaskFlags.alpha in flags
        if masked and self.nodata is None:
            observed &= source.dataset_mask(window=window) > 0
        return observed


def _as_type(nodata: float, dtype: np.dtype[Any]) -> float | np.generic:
    """*nodata* as a raster of *dtype* holds it: float32 rounds -3.4028234663852886e+38."""
    return dtype.type(nodata) if np.issubdtype(dtype, np.inexact) else nodata


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

"""Open rasters that survive workers, threads and files that change under them."""

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rasterio import Env
from rasterio import open as open_raster
from rasterio.enums import ColorInterp, MaskFlags

from .file_stamps import file_signature, is_changed

__all__ = ['Handle', 'HandlePool']

#: Nanoseconds within which two changes of a file may carry one time.
_TICK = 50_000_000


class Handle:
    """An open raster with what each read needs to know: asking GDAL takes longer than reading.

    Args:
        path: The raster.
        level: Overview to open, from 0; None for the raster itself.
        nodata: Value that means no data, in place of what the file says.
        default_nodata: Value that means no data in files that do not say.

    Attributes:
        signature: State of the file when it was opened; None where it cannot be told.
        settled: Whether a change since would show. Systems note the time of changes by ticks,
            so that two in quick succession look like one.
        source: The open raster.
        nodata: Value that means no data, by band.
        masked: Whether a mask beside the bands says what was observed.
        alpha: Number of the band that says it. GDAL's own mask heeds it in 2 or 4 bands only.
        sparse: Whether blocks that were never written would read as zeros like any other.
        factors: Decimation of each overview, ascending.
        transform: Affine transformation of (column, row) to coordinates.
        crs: Coordinate reference system.
        shape: Rows and columns.
        dtypes: Data types of the bands.
        scene: What this handle was found to agree with.
    """

    def __init__(
        self, path: str, level: int | None, nodata: float | None, default_nodata: float | None
    ) -> None:
        # Before opening: a change between the two shows as a change later on.
        self.signature = file_signature(path)
        age = None if self.signature is None else abs(time.time_ns() - self.signature[2])
        self.settled = age is None or age > _TICK
        options = {} if level is None else {'overview_level': level}
        # GDAL lists the whole folder for files beside a raster: as slow as opening ten of them
        # where there are thousands. Without the list it asks for each by its name.
        local = self.signature is not None
        with Env(**({'GDAL_DISABLE_READDIR_ON_OPEN': 'TRUE'} if local else {})):
            self.source = open_raster(path, sharing=False, **options)
        self.nodata = tuple(
            nodata if nodata is not None else default_nodata if own is None else own
            for own in self.source.nodatavals
        )
        flags = [set(band) for band in self.source.mask_flag_enums]
        self.masked = nodata is None and any(MaskFlags.per_dataset in flag for flag in flags)
        self.alpha = next(
            (
                index
                for index, colour in zip(self.source.indexes, self.source.colorinterp, strict=True)
                if colour == ColorInterp.alpha and nodata is None
            ),
            None,
        )
        self.sparse = self.source.driver == 'GTiff' and level is None and None in self.nodata
        self.factors = [] if level is not None else self.source.overviews(1)
        self.transform = self.source.transform
        self.crs = self.source.crs
        self.shape = (self.source.height, self.source.width)
        self.dtypes = self.source.dtypes
        self.scene: object | None = None


class HandlePool:
    """Lends open rasters to one thread at a time and closes the least recently used.

    A rasterio handle shares its file offset with every process forked from this one, and
    returns wrong pixels when two threads use it at once. So handles belong to one process (a
    fork or a pickle starts without any), and each is lent to one thread at a time.

    Args:
        nodata: Value that means no data, in place of what the files say.
        default_nodata: Value that means no data in files that do not say.
        cache: Keep handles open between reads.
    """

    #: Handles kept open when a window needs fewer.
    least_open = 256

    def __init__(self, *, nodata: float | None, default_nodata: float | None, cache: bool) -> None:
        self.nodata = nodata
        self.default_nodata = default_nodata
        self.cache = cache
        self._start()

    def _start(self) -> None:
        """Begin without handles, in this process."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: OrderedDict[tuple[str, int | None], Handle] = OrderedDict()
        # Also at the end of the program: left to the interpreter's shutdown, each handle
        # prints an error, since GDAL's own error handling is gone by then.
        weakref.finalize(self, _close_all, self._idle)
        self._capacity = self.least_open

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy the options, never handles or locks."""
        return {name: getattr(self, name) for name in ('nodata', 'default_nodata', 'cache')}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def close(self) -> None:
        """Close all handles; lending again opens what it needs."""
        if self._pid != os.getpid():
            self._start()  # those of the process that this one was forked from are not ours
        with self._lock:
            _close_all(self._idle)

    def reserve(self, files: int) -> None:
        """Keep enough handles open for two windows of so many files, within the system's limit.

        Args:
            files: Number of files that one window needs.
        """
        if self._pid != os.getpid():
            self._start()
        self._capacity = min(max(self.least_open, 2 * files, self._capacity), _open_files_limit())

    @contextmanager
    def lend(self, path: str, level: int | None = None) -> Iterator[Handle]:
        """An open raster that nobody else uses meanwhile.

        A local file that has changed since it was opened is opened anew; one that was deleted
        is still read, as it was.

        Args:
            path: The raster.
            level: Overview to open, from 0; None for the raster itself.

        Yields:
            The handle.

        Raises:
            RasterioError: If the raster cannot be opened.
        """
        if self._pid != os.getpid():
            self._start()
        key = path, level
        with self._lock:
            handle = self._idle.pop(key, None)
        if handle is not None and is_changed(path, handle.signature):
            handle.source.close()
            handle = None
        if handle is None:
            handle = Handle(path, level, self.nodata, self.default_nodata)
        try:
            yield handle
        except BaseException:
            handle.source.close()
            raise
        surplus = []
        with self._lock:
            if self.cache and handle.settled and key not in self._idle:
                self._idle[key] = handle
            else:
                surplus.append(handle)
            while len(self._idle) > self._capacity:
                surplus.append(self._idle.popitem(last=False)[1])
        for old in surplus:
            old.source.close()


def _close_all(handles: OrderedDict[tuple[str, int | None], Handle]) -> None:
    """Close all *handles* and forget them."""
    while handles:
        handles.popitem()[1].source.close()


def _open_files_limit() -> int:
    """Handles that may stay open: half of what the system allows this process."""
    try:
        import resource
    except ImportError:  # Windows counts otherwise
        return 2048
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 65536 if soft == resource.RLIM_INFINITY else max(soft // 2, 16)

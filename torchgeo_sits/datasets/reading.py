"""Windows of rasters on any grid, with masks that mean what they say.

Handles survive workers, threads, and files that change under them.
"""

import errno
import math
import os
import re
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from ..grid import TOLERANCE, Grid
from .files import RasterFile
from .formats import looking_beside, open_raster
from .frames import within_range

__all__ = ['RasterReader', 'file_signature']

#: Seconds to wait before a file that could not be read, or changed meanwhile, is read again.
_PAUSES = (0.02, 0.1, 0.4)


class _ChangedError(Exception):
    """A file is not what it was when a read of it began."""


class RasterReader:
    """Reader of windows of rasters onto a grid, with a mask of what was observed.

    What a read returns is what one state of the file holds: a file that changes while it is
    read is read again, and one that is no longer the raster that was indexed is refused.

    Args:
        nodata: Value that means no data, in place of what the files say.
        default_nodata: Value that means no data in files that do not say.
        kept: Values that are observed even where a file calls them no data.
        cache: Keep handles open between reads.
    """

    def __init__(
        self,
        *,
        nodata: float | None = None,
        default_nodata: float | None = None,
        kept: Sequence[float] = (),
        cache: bool = True,
    ) -> None:
        meaning = _Missing(nodata, default_nodata, tuple(kept))
        self._handles = _HandlePool(meaning, cache=cache)
        #: Decimation of the overviews of each file from which coarser pixels were asked for.
        self._factors: dict[str, list[int]] = {}
        #: Of each file with values that are too large: how many pixels of the first window that
        #: met some, and one of the values.
        self.too_large: dict[str, tuple[int, float]] = {}

    def close(self) -> None:
        """Close all handles; reading again opens what it needs."""
        self._handles.close()

    def reserve(self, files: int) -> None:
        """Keep enough handles open for windows of so many files."""
        self._handles.reserve(files)

    def read(
        self,
        raster: RasterFile,
        indexes: Sequence[int],
        grid: Grid,
        *,
        resampling: Resampling = Resampling.nearest,
        out: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read some bands of one raster onto *grid*.

        Where CRS and pixel size agree the pixels are copied as they are, moved by less than
        half a pixel if the grids are shifted; elsewhere they are warped. Pixels of images that
        are twice as large as the raster's or more come from its overviews, if it has any;
        classes, which are read by the nearest pixel, never do.

        Args:
            raster: Raster to read.
            indexes: Numbers of the bands, from 1.
            grid: Pixels wanted; they may lie outside the raster.
            resampling: Method, used where the raster must be warped only.
            out: Array ``(C, H, W)`` to read into, of a type that holds the raster's.

        Returns:
            Values ``(C, H, W)``, which are *out* if it was given, and ``(H, W)`` bool, True
            where all bands were observed: inside the raster, finite and no larger than
            :data:`~torchgeo_sits.datasets.frames.LARGEST`, not nodata, not masked out, written
            at all. Other values are undefined.

        Raises:
            OSError: If the raster cannot be opened or read, or is not the one that was
                indexed; the message names it.
        """
        for pause in (*_PAUSES, None):
            before = file_signature(raster.path)
            try:
                data, observed = self._read_once(raster, indexes, grid, resampling, out)
            except (RasterioError, _ChangedError) as error:
                reason = error.__cause__ or error  # rasterio's own message only points to it
                self._factors.pop(raster.path, None)
                # A local file that nobody writes to stays as broken as it is.
                still = before is not None and file_signature(raster.path) == before
                full = _is_for_lack_of_files(error)
                if full and pause is None:
                    raise OSError(
                        f"'{raster.path}' cannot be opened: this process may open "
                        f'{_open_files_allowed()[0]} files, and all are in use. Allow more '
                        '(`ulimit -n 4096`), or read with fewer workers (num_workers)'
                    ) from error
                changed = full or isinstance(error, _ChangedError)
                if pause is None or (still and not changed):
                    raise OSError(
                        f"'{raster.path}' cannot be read ({reason}): it may be truncated, or be "
                        'written at this moment. Fetch or write it again, remove it, or leave its '
                        "pixels unobserved with unreadable='skip'."
                    ) from error
                time.sleep(pause)
            else:
                return data, observed
        raise AssertionError  # the last round returns or raises

    def _read_once(
        self,
        raster: RasterFile,
        indexes: Sequence[int],
        grid: Grid,
        resampling: Resampling,
        out: NDArray[Any] | None,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read what one state of the file holds."""
        level = self._overview(raster, grid) if resampling != Resampling.nearest else None
        with self._handles.lend(raster.path, level) as handle:
            if handle.raster is not raster:
                _require_same(raster, handle, level)
                handle.raster = raster
            data, observed = _read(handle, indexes, grid, resampling, out)
            if not handle.settled or _is_changed(raster.path, handle.signature):
                raise _ChangedError('it changed while it was read')
            if data.dtype.kind == 'f' and raster.path not in self.too_large and not observed.all():
                self._note_too_large(raster.path, data, [handle.nodata[i - 1] for i in indexes])
        return data, observed

    def _note_too_large(
        self, path: str, data: NDArray[Any], nodata: Sequence[float | None]
    ) -> None:
        """Count the pixels with values that are finite, too large and not said to be no data."""
        large = np.isfinite(data) & ~within_range(data)
        for band, values, value in zip(large, data, nodata, strict=True):
            if value is not None:
                band &= values != data.dtype.type(value)
        if large.any():
            number = int(large.any(axis=0).sum())
            self.too_large[path] = number, float(data[large][0])

    def _overview(self, raster: RasterFile, grid: Grid) -> int | None:
        """Find the coarsest overview that is as fine as *grid*, None for the raster."""
        if raster.crs != grid.crs:
            return None
        most = min(grid.xres / raster.res[0], grid.yres / raster.res[1]) * (1 + TOLERANCE)
        if most < 2:
            return None
        if raster.path not in self._factors:
            with self._handles.lend(raster.path) as handle:
                self._factors[raster.path] = handle.factors
        fine = [i for i, factor in enumerate(self._factors[raster.path]) if factor <= most]
        return fine[-1] if fine else None


#: Inode, size in bytes and time of the last change in nanoseconds.
_FileSignature = tuple[int, int, int]


def file_signature(path: str) -> _FileSignature | None:
    """Read what tells one state of a local file from another.

    Args:
        path: Path, or a URL or ``/vsi...`` path of GDAL.

    Returns:
        Inode, size and time of change, those of the archive for a file in a local one; None
        where there is no such local file.
    """
    if path.startswith(('/vsizip/', '/vsitar/')):
        ending = f'.{path[4:7]}/'
        path = path[8:].partition(ending)[0] + ending[:-1]
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _is_changed(path: str, signature: _FileSignature | None) -> bool:
    """Tell whether there is another file, or other content, at *path* than when it was opened."""
    now = file_signature(path)
    return now is not None and now != signature


def _wrapped(source: DatasetReader) -> CRS | None:
    """Make a CRS in which all longitudes of a raster are one piece; None where they are.

    Else GDAL takes 180.1 degrees, or those from 0 to 360, for a place outside the raster.
    """
    if not source.crs.is_geographic:
        return None
    half = math.pi / source.crs.units_factor[1]
    west, _, east, _ = source.bounds
    if -half <= min(west, east) and max(west, east) <= half:
        return None
    plain = re.sub(r',(AXIS|AUTHORITY)\["[^"]*",[^\]]*\]', '', source.crs.to_wkt())
    middle = math.degrees((west + east) / 2 * source.crs.units_factor[1])
    proj = f'{source.crs.to_proj4()} +lon_wrap={middle}'
    return CRS.from_wkt(f'{plain[:-1]},EXTENSION["PROJ4","{proj}"]]')


def _held(nodata: float | None, dtype: str) -> float | None:
    """Spell a value for no data as pixels of a type hold it; None where they cannot."""
    if nodata is None or np.isnan(nodata):
        return None if nodata is None or np.issubdtype(dtype, np.integer) else np.nan
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        whole = float(nodata).is_integer() and limits.min <= nodata <= limits.max
        return nodata if whole else None
    with np.errstate(over='ignore'):
        held = float(np.dtype(dtype).type(nodata).real)
    return held if np.isfinite(held) else nodata


#: Nanoseconds within which two changes of a file may carry one time.
_TICK = 50_000_000


class _Missing(NamedTuple):
    """Options on which values mean no data: as files say, instead, by default, and never."""

    nodata: float | None = None
    default: float | None = None
    kept: tuple[float, ...] = ()

    def of(self, own: float | None, dtype: str) -> float | None:
        """Find the value for no data of a band; None where there is none."""
        value = self.nodata
        if value is None:
            value = self.default if own is None or own in self.kept else own
        return _held(value, dtype)


class _Handle:
    """Open raster with all that a read needs to know: asking GDAL takes longer than reading.

    Args:
        path: The raster.
        level: Overview to open, from 0; None for the raster itself.
        missing: Which values mean no data.
        is_own: Whether *path* is a VRT that was made here, as text.

    Attributes:
        signature: State of the file when it was opened; None where it cannot be told.
        settled: Whether a change since would show. Systems note the time of changes by ticks,
            so that two in quick succession look like one.
        source: The open raster.
        nodata: Value that means no data, by band.
        masked: Whether masks beside the bands say what was observed.
        own_masks: Whether bands have such masks of their own, as those of a VRT may.
        alpha: Number of the band that says it. GDAL's own mask heeds it in 2 or 4 bands only.
        sparse: Whether blocks that were never written would read as zeros like any other.
        factors: Decimation of each overview, ascending.
        transform: Affine transformation of (column, row) to coordinates.
        crs: Coordinate reference system.
        wrapped: The same for warps, where longitudes go on beyond 180 degrees.
        shape: Rows and columns.
        dtypes: Data types of the bands.
        raster: What this handle was found to agree with.
    """

    def __init__(
        self, path: str, level: int | None, missing: _Missing, *, is_own: bool = False
    ) -> None:
        # Before opening: a change between the two shows as a change later on.
        self.signature = file_signature(path)
        self.level = level
        age = None if self.signature is None else abs(time.time_ns() - self.signature[2])
        self.settled = age is None or age > _TICK
        options = {} if level is None else {'overview_level': level}
        with looking_beside(path):
            if is_own:
                self.source = rasterio.open(path, sharing=False, **options)
            else:
                self.source = open_raster(path, **options)
        self.nodata = tuple(
            missing.of(own, dtype)
            for own, dtype in zip(self.source.nodatavals, self.source.dtypes, strict=True)
        )
        own_rules = missing.nodata is None
        flags = self.source.mask_flag_enums
        self.own_masks = own_rules and not all(flags)
        self.masked = own_rules and any(not flag or MaskFlags.per_dataset in flag for flag in flags)
        self.alpha = next(
            (
                index
                for index, colour in zip(self.source.indexes, self.source.colorinterp, strict=True)
                if colour == ColorInterp.alpha and own_rules
            ),
            None,
        )
        self.sparse = self.source.driver == 'GTiff' and level is None and None in self.nodata
        self.factors = [] if level is not None else self.source.overviews(1)
        self.transform = self.source.transform
        self.crs = self.source.crs
        self.wrapped = _wrapped(self.source)
        self.shape = (self.source.height, self.source.width)
        self.dtypes = self.source.dtypes
        self.raster: object | None = None


class _OpenRasters:
    """Rasters that this process keeps open, of all readers together, the last used last.

    A rasterio handle shares its file offset with every process forked from this one, so all that
    nobody uses are closed before a fork, and a fork starts without any: their descriptors would
    count against its own limit.
    """

    #: Handles kept open when windows need fewer.
    least = 256

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, 'register_at_fork'):
            os.register_at_fork(before=self._close_all, after_in_child=self._forget)

    def _forget(self) -> None:
        """Begin without handles, in this process."""
        self._lock = threading.Lock()
        self._idle: OrderedDict[_Key, _Handle] = OrderedDict()
        #: Number of files of a window, by reader.
        self._wanted: weakref.WeakKeyDictionary[_HandlePool, int] = weakref.WeakKeyDictionary()
        #: What the system was found to allow.
        self._most: int | None = None
        #: Readers that are gone, whose handles are to be closed.
        self._gone: deque[object] = deque()

    def _close_all(self) -> None:
        """Close what nobody uses."""
        with self._lock:
            _close(self._idle, list(self._idle))

    def reserve(self, pool: '_HandlePool', files: int) -> None:
        """Keep enough handles open for two windows of so many files of a reader."""
        with self._lock:
            if files > self._wanted.get(pool, 0):
                self._wanted[pool] = files
                if self.least < self._asked() > _open_files_limit():
                    _raise_open_files_limit()

    def _asked(self) -> int:
        """Count the handles that two windows of all readers need."""
        return 2 * sum(self._wanted.values())

    def take(self, key: '_Key') -> '_Handle | None':
        """Take an idle handle, which is the caller's then."""
        with self._lock:
            return self._idle.pop(key, None)

    def keep(self, key: '_Key', handle: '_Handle') -> None:
        """Keep a handle, and close the least recently used ones beyond what is allowed."""
        limit = _open_files_limit()
        with self._lock:
            self._close_gone()
            most = min(max(self.least, self._asked()), limit)
            surplus = [self._idle.pop(key)] if key in self._idle else []
            self._idle[key] = handle
            most = most if self._most is None else min(most, self._most)
            while len(self._idle) > most:
                surplus.append(self._idle.popitem(last=False)[1])
        for old in surplus:
            old.source.close()

    def shrink(self) -> bool:
        """Keep half as many open from now on; False where none is open that nobody uses."""
        with self._lock:
            found = list(self._idle)
            self._most = max(len(found) // 2, 1)
            _close(self._idle, found[: len(found) - len(found) // 2])
        return bool(found)

    def close(self, owner: object) -> None:
        """Close the handles of one reader."""
        with self._lock:
            self._close_of(owner)

    def forget(self, owner: object) -> None:
        """Close the handles of a reader that is gone, soon.

        Called by the garbage collector, at any time: while this thread has the lock, too.
        """
        self._gone.append(owner)
        if self._lock.acquire(blocking=False):
            try:
                self._close_gone()
            finally:
                self._lock.release()

    def _close_gone(self) -> None:
        """Close the handles of readers that are gone."""
        while self._gone:
            self._close_of(self._gone.popleft())

    def _close_of(self, owner: object) -> None:
        """Close the handles of one reader, under the lock."""
        _close(self._idle, [key for key in list(self._idle) if key[0] is owner])


#: Whose handle it is, the path, and the overview.
type _Key = tuple[object, str, int | None]

_OPEN_RASTERS = _OpenRasters()


def _close(handles: 'OrderedDict[_Key, _Handle]', keys: Sequence[_Key]) -> None:
    """Close some of *handles* and forget them."""
    for key in keys:
        handles.pop(key).source.close()


class _HandlePool:
    """Open rasters of one reader, each lent to one thread at a time.

    A rasterio handle returns wrong pixels when two threads use it at once, or two processes. A
    fork or a pickle starts without any.

    Args:
        missing: Which values mean no data.
        cache: Keep handles open between reads.
    """

    def __init__(self, missing: _Missing, *, cache: bool) -> None:
        self.missing = missing
        self.cache = cache
        self._start()

    def _start(self) -> None:
        """Begin without handles."""
        self._owner = object()
        # Also at the end of the program: left to the interpreter's shutdown, each handle
        # prints an error, since GDAL's own error handling is gone by then.
        weakref.finalize(self, _OPEN_RASTERS.forget, self._owner)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy the options, never handles."""
        return {name: getattr(self, name) for name in ('missing', 'cache')}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def close(self) -> None:
        """Close all handles; lending again opens what it needs."""
        _OPEN_RASTERS.close(self._owner)

    def reserve(self, files: int) -> None:
        """Keep enough handles open for two windows of so many files, within the system's limit.

        Args:
            files: Number of files that one window needs.
        """
        _OPEN_RASTERS.reserve(self, files)

    @contextmanager
    def lend(self, path: str, level: int | None = None) -> Iterator[_Handle]:
        """Lend an open raster that nobody else uses meanwhile.

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
        key = self._owner, path, level
        handle = _OPEN_RASTERS.take(key)
        if handle is not None and _is_changed(path, handle.signature):
            handle.source.close()
            handle = None
        while handle is None:
            try:
                handle = _Handle(path, level, self.missing)
            except RasterioError as error:
                if not (_is_for_lack_of_files(error) and _OPEN_RASTERS.shrink()):
                    raise
        try:
            yield handle
        except BaseException:
            handle.source.close()
            raise
        if self.cache and handle.settled:
            _OPEN_RASTERS.keep(key, handle)
        else:
            handle.source.close()


def _is_for_lack_of_files(error: BaseException) -> bool:
    """Tell whether the system refused to open one file more."""
    text = os.strerror(errno.EMFILE)
    return text in str(error) or text in str(error.__cause__)


def _open_files_limit() -> int:
    """Count the handles that may stay open: half of what the system allows this process."""
    soft = _open_files_allowed()[0]
    return min(max(soft // 2, 16), _MOST_FILES)


#: No more files than this are kept open, whatever the system allows.
_MOST_FILES = 32_768


def _open_files_allowed() -> tuple[int, int]:
    """Look up how many files this process may open, and how many it may allow itself."""
    try:
        import resource
    except ImportError:  # Windows counts otherwise
        return 4096, 4096
    most = 2 * _MOST_FILES
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (most if n == resource.RLIM_INFINITY else min(n, most) for n in limits)
    return soft, hard


def _raise_open_files_limit() -> None:
    """Let this process, and those that it starts, open as many files as the system permits."""
    soft, hard = _open_files_allowed()
    if hard > soft:
        import resource

        with suppress(ValueError, OSError):  # macOS refuses numbers that it calls permitted
            ends = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, ends))


def _require_same(raster: RasterFile, handle: _Handle, level: int | None) -> None:
    """Refuse a raster on another grid, or with other bands, than when it was indexed."""
    types = tuple(
        handle.dtypes[index - 1] for index in raster.indexes if index <= len(handle.dtypes)
    )
    left, bottom, right, top = handle.source.bounds
    bounds = (min(left, right), min(bottom, top), max(left, right), max(bottom, top))
    size = (raster.height, raster.width) if level is None else handle.shape
    if (size, raster.bounds, raster.dtypes, raster.crs) == (
        handle.shape,
        bounds,
        types,
        handle.crs,
    ):
        return
    raise OSError(
        f"'{raster.path}' is not the raster that it was when the series was opened: it had "
        f'{raster.height} x {raster.width} pixels of {raster.dtypes} within {raster.bounds}, and '
        f'has {handle.shape[0]} x {handle.shape[1]} of {types} within {bounds}. Open the series '
        'again.'
    )


def _read(
    handle: _Handle,
    indexes: Sequence[int],
    grid: Grid,
    resampling: Resampling,
    out: NDArray[Any] | None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Copy or warp, as the grids demand."""
    snapped = grid.snapped(handle.transform) if handle.crs == grid.crs else None
    if snapped is None:
        return _warp(handle, indexes, grid, resampling, out)
    _, column, row = snapped
    return _copy(handle, indexes, grid, column, row, out)


def _copy(
    handle: _Handle,
    indexes: Sequence[int],
    grid: Grid,
    column: int,
    row: int,
    out: NDArray[Any] | None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read pixel by pixel, from *column* and *row* on."""
    source = handle.source
    left, top = max(column, 0), max(row, 0)
    right = min(column + grid.width, handle.shape[1])
    bottom = min(row + grid.height, handle.shape[0])
    shape = (len(indexes), grid.height, grid.width)
    if right <= left or bottom <= top:
        data = np.zeros(shape, handle.dtypes[indexes[0] - 1]) if out is None else out
        return data, np.zeros(shape[1:], bool)
    window = Window(left, top, right - left, bottom - top)
    whole = (bottom - top, right - left) == shape[1:]
    direct = whole and out is not None and out.dtype == handle.dtypes[indexes[0] - 1]
    data = source.read(list(indexes), window=window, out=out if direct else None)
    observed = _observed(data, [handle.nodata[index - 1] for index in indexes])
    if handle.alpha is not None:
        observed &= source.read(handle.alpha, window=window) > 0
    elif handle.masked:
        masks = list(indexes) if handle.own_masks else [indexes[0]]
        observed &= (source.read_masks(masks, window=window) > 0).all(axis=0)
    elif handle.sparse:
        _leave_out_unwritten(observed, data, handle, indexes, window)
    if whole and (direct or out is None):
        return data, observed
    rows, columns = slice(top - row, bottom - row), slice(left - column, right - column)
    padded = np.zeros(shape, data.dtype) if out is None else out
    padded[:, rows, columns] = data
    inside = np.zeros(shape[1:], bool)
    inside[rows, columns] = observed
    return padded, inside


def _leave_out_unwritten(
    observed: NDArray[np.bool_],
    data: NDArray[Any],
    handle: _Handle,
    indexes: Sequence[int],
    window: Window,
) -> None:
    """Take blocks that were never written out of *observed* ``(H, W)``, in place.

    GDAL reads them as zeros. A program that was stopped while it wrote leaves such files
    behind; without a nodata value nothing else tells these zeros from measured ones.
    """
    if data.any(axis=0).all():
        return
    height, width = handle.source.block_shapes[0]
    left, top = int(window.col_off), int(window.row_off)
    right, bottom = left + data.shape[2], top + data.shape[1]
    for y in range(top // height, -(-bottom // height)):
        for x in range(left // width, -(-right // width)):
            name = f'BLOCK_OFFSET_{x}_{y}'
            if any(handle.source.get_tag_item(name, 'TIFF', bidx=i) is None for i in indexes):
                rows = slice(max(y * height - top, 0), (y + 1) * height - top)
                observed[rows, max(x * width - left, 0) : (x + 1) * width - left] = False


def _warp(
    handle: _Handle,
    indexes: Sequence[int],
    grid: Grid,
    resampling: Resampling,
    out: NDArray[Any] | None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read through a warp onto exactly *grid*."""
    shape = (len(indexes), grid.height, grid.width)
    data = np.empty(shape, handle.dtypes[indexes[0] - 1]) if out is None else out
    observed = np.ones(shape[1:], bool)
    if handle.own_masks:
        for channel, index in enumerate(indexes):
            own = _Missing(default=handle.nodata[index - 1])
            band = _Handle(_band_alone(handle, index), None, own, is_own=True)
            with closing(band.source):
                data[[channel]], seen = _warp_alike(band, [1], band.nodata[0], grid, resampling)
            observed &= seen
        return data, observed
    # A warp knows one value for no data. Files whose bands differ in it are rare.
    kinds = [handle.nodata[index - 1] for index in indexes]
    for nodata in dict.fromkeys(kinds):
        channels = [
            channel for channel, kind in enumerate(kinds) if kind is nodata or kind == nodata
        ]
        bands = [indexes[i] for i in channels]
        data[channels], seen = _warp_alike(handle, bands, nodata, grid, resampling)
        observed &= seen
    return data, observed


def _band_alone(handle: _Handle, index: int) -> str:
    """Describe, as a VRT, a raster of one band with its mask: warps heed no masks of bands."""
    height, width = handle.shape
    level = '' if handle.level is None else f'<OOI key="OVERVIEW_LEVEL">{handle.level}</OOI>'

    def source(band: str) -> str:
        return (
            f'<SimpleSource><SourceFilename shared="0">{escape(handle.source.files[0])}'
            f'</SourceFilename><OpenOptions>{level}</OpenOptions><SourceBand>{band}</SourceBand>'
            '</SimpleSource></VRTRasterBand>'
        )

    dtype = handle.dtypes[index - 1].replace('uint8', 'byte')
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">'
        f'<SRS>{escape(handle.crs.to_wkt())}</SRS>'
        f'<GeoTransform>{",".join(map(repr, handle.transform.to_gdal()))}</GeoTransform>'
        f'<VRTRasterBand dataType="{dtype}" band="1">{source(str(index))}'
        f'<MaskBand><VRTRasterBand dataType="byte">{source(f"mask,{index}")}</MaskBand>'
        '</VRTDataset>'
    )


def _warp_alike(
    handle: _Handle,
    indexes: Sequence[int],
    nodata: float | None,
    grid: Grid,
    resampling: Resampling,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Warp bands that share a value for no data, each as if it were alone in its file."""
    missing = [nodata] * len(indexes)
    with _warped(handle, nodata, grid, resampling) as vrt:
        data = vrt.read(list(indexes))
        observed = _observed(data, missing)
        if nodata is None or handle.alpha is not None:
            # Not vrt.dataset_mask(): it calls all pixels valid, whatever the alpha band says.
            observed &= vrt.read(handle.alpha or vrt.count) > 0
    if nodata is None or resampling == Resampling.nearest or handle.source.count == 1:
        return data, observed
    # A pixel whose centre lies in a hole is none: GDAL leaves it out where a file has one band,
    # and makes it up from what lies around the hole where there are several.
    if observed.any() and _has_holes(handle, indexes, grid, missing):
        with _warped(handle, nodata, grid, Resampling.nearest) as vrt:
            observed &= _observed(vrt.read(list(indexes)), missing)
    return data, observed


def _warped(handle: _Handle, nodata: float | None, grid: Grid, resampling: Resampling) -> WarpedVRT:
    """Lay all bands of a raster onto exactly *grid*."""
    options: dict[str, Any] = {'src_nodata': nodata, 'nodata': nodata}
    if nodata is None:
        # Only an alpha band tells the border of a warp, and what a mask hides, from pixels.
        options['add_alpha'] = handle.alpha is None
    return WarpedVRT(
        handle.source,
        src_crs=handle.wrapped if handle.crs != grid.crs else None,
        crs=grid.crs,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=resampling,
        # Per band: else a pixel that only some bands miss would be blended with nodata.
        UNIFIED_SRC_NODATA='NO',
        **options,
    )


def _has_holes(
    handle: _Handle, indexes: Sequence[int], grid: Grid, nodata: Sequence[float | None]
) -> bool:
    """Tell whether any of the pixels below *grid* may be missing.

    They were decoded for a warp a moment ago, so that reading them is cheaper than another warp.
    """
    try:
        west, south, east, north = transform_bounds(grid.crs, handle.crs, *grid.bounds)
    except RasterioError:  # a corner that the CRS cannot say
        return True
    inverse = ~handle.transform
    x, y = np.array([west, west, east, east]), np.array([south, north, south, north])
    columns, rows = inverse.a * x + inverse.b * y, inverse.d * x + inverse.e * y
    corners = np.array([columns + inverse.c, rows + inverse.f])
    if west > east or not np.isfinite(corners).all():
        return True
    # Two pixels more: GDAL places pixels to an eighth of one.
    left, top = np.clip(np.floor(corners.min(axis=1)) - 2, 0, None).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(corners.max(axis=1)) + 2, handle.shape[::-1]).astype(int)
    if top >= bottom or left >= right:
        return False
    data = handle.source.read(list(indexes), window=Window(left, top, right - left, bottom - top))
    return not _observed(data, nodata).all()


def _observed(data: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """Find where ``(H, W)`` no band of *data* ``(C, H, W)`` is its *nodata*, NaN or too large."""
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
        missing |= ~within_range(data).all(axis=0)
    return ~missing

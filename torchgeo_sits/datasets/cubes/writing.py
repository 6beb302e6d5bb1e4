"""From a series to a cube, shard by shard."""

import errno
import hashlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
import zarr
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pyproj import CRS
from zarr.errors import ZarrUserWarning

from ...errors import SITSError
from ...grid import TOLERANCE, Grid, grid_of
from ...keys import IMAGE, MASK_CLEAR
from ..file_stamps import stamps
from ..frames import Frames, acquisition_keys
from ..series import TimeSeries
from .layout import (
    ATTRIBUTE,
    FORMAT,
    MASK_OBSERVED,
    CubeLayout,
    Shard,
    array_attributes,
    group_attributes,
    shard_file,
    write_coordinates,
    zarr_options,
)
from .store import CubeStore, cube_record

__all__ = ['CubeSource', 'Progress', 'verify_cube', 'write_cube']

#: Called with the number of shards that are done, and of all.
Progress = Callable[[int, int], None]
_LOCK = '.lock'


class CubeSource:
    """A series as the content of a cube, shard by shard.

    A cube holds all acquisitions on one pixel grid, which is that of the series' first file
    and covers all footprints.

    Args:
        series: The series.

    Attributes:
        grid: Pixels of the cube.
        crs: Their coordinate reference system.
        bands: Names of the channels.
        times: Seconds since 1970 UTC of the acquisitions, ``(T,)``, ascending.
        spans: First second of each and first after it, ``(T, 2)``.
        footprints: Where each may have pixels, as WKT, T of them.
        dtype: Type of the stored pixels.
        scale: Factor on them.
        has_clouds: Whether some pixels are observed but not clear.
        layout: Chunks and shards.

    Raises:
        SITSError: If the series leaves out frames, or two acquisitions are of one second.
    """

    def __init__(self, series: TimeSeries) -> None:
        if series.min_clear > 0:
            raise SITSError(
                f'a cube holds all acquisitions, but the series has min_clear={series.min_clear}: '
                'give min_clear to ZarrTimeSeries when you read the cube'
            )
        self.series = series
        self.crs: CRS = series.crs
        self.bands = series.bands
        self.dtype = series.stored_dtype
        self.scale = float(series.scale)
        self.has_clouds = series.has_clouds
        self.grid = _cube_grid(series)
        index = series.index
        instants = series.instants(index).as_unit('ns')
        acquisition, days = pd.factorize(
            acquisition_keys(instants.asi8 // 10**9, series.group_by), sort=True
        )
        self._known = np.asarray(days)
        frame = pd.DataFrame(
            {
                'time': instants,
                'left': index.index.left.as_unit('ns'),
                # Closed at the last microsecond; as whole seconds, open at the next.
                'right': (index.index.right + pd.Timedelta(microseconds=1)).as_unit('ns'),
            }
        )
        groups = frame.groupby(acquisition)
        self.times = _seconds(groups['time'].min())
        self.spans = np.stack(
            [_seconds(groups['left'].min()), _seconds(groups['right'].max().dt.ceil('s'))], axis=1
        )
        if series.group_by == 'time' and len(set(instants)) > len(self.times):
            raise SITSError(
                'two acquisitions of the series are within one second, which is as fine as the '
                "times of a cube are: open the series with group_by='day'"
            )
        shapes = np.asarray(index.geometry)
        self.footprints = [
            shapely.to_wkt(shapely.union_all(shapes[acquisition == i]), rounding_precision=-1)
            for i in range(len(self.times))
        ]
        shape = (len(self.times), len(self.bands), self.grid.height, self.grid.width)
        self.layout = CubeLayout.of(shape, self.dtype.itemsize)

    def describe(self) -> dict[str, Any]:
        """Describe this source in plain values, which tell it from another one.

        Returns:
            The options that change pixels, and digests of the acquisitions and of the files'
            names, sizes and times.
        """
        series, grid = self.series, self.grid
        paths = sorted({*series.source_files, *series.cloud_files})
        states = stamps(paths)
        files = hashlib.sha256()
        for path in paths:
            state = states.get(path)
            size, changed = (-1, 0) if state is None else (state.size, state.mtime_ns)
            line = (os.path.abspath(path), size, changed, series.offset_of(path))
            files.update(repr(line).encode())
        acquisitions = hashlib.sha256(self.times.tobytes() + self.spans.tobytes())
        acquisitions.update(repr(self.footprints).encode())
        return {
            'dataset': type(series).__name__,
            'files': len(paths),
            'files_sha256': files.hexdigest(),
            'acquisitions': len(self.times),
            'acquisitions_sha256': acquisitions.hexdigest(),
            'bands': list(self.bands),
            'dtype': self.dtype.name,
            'scale': self.scale,
            'crs': self.crs.to_wkt(),
            'grid': [grid.left, grid.top, grid.xres, grid.yres, grid.width, grid.height],
            'group_by': series.group_by,
            **series.pixel_options(),
        }

    def require_same(self, path: str, record: dict[str, Any], but: tuple[str, ...] = ()) -> None:
        """Refuse a cube that was made of something else.

        Args:
            path: The cube.
            record: What it says about its source.
            but: Keys of :meth:`describe` that may differ.

        Raises:
            SITSError: If another one differs.
        """
        own = self.describe()
        known = record['source']
        differ = [key for key in own if key not in but and known.get(key) != own[key]]
        if not differ:
            return
        told = [
            f'{key} was {known.get(key)!r} and is {own[key]!r}'
            for key in differ
            if not key.endswith('sha256')
        ]
        if not told:
            what = 'files' if 'files_sha256' in differ else 'acquisitions'
            told = [f'{what} have other names, sizes, times or offsets']
        raise SITSError(
            f"'{path}' was made of another source, or with other options: {'; '.join(told)}. "
            'Choose another name, remove the cube, or repeat the command that made it: '
            f'{record["command"]}'
        )

    def batches(self) -> Iterator[list[Shard]]:
        """Give all shards, in batches that are best read together; each time the same."""
        block = self.series.block_grid
        size = (1, 1) if block is None else (block.height, block.width)
        return self.layout.batches(size, self.dtype.itemsize)

    def read(self, batch: Sequence[Shard]) -> Iterator[tuple[Shard, Frames]]:
        """Read all acquisitions of some shards, together.

        Args:
            batch: One of :meth:`batches`.

        Yields:
            Each shard, and its frames as a cube stores them, with the offset added.

        Raises:
            OSError: If a file cannot be read.
        """
        top, left = batch[0][0].start, batch[0][1].start
        bottom, right = batch[-1][0].stop, batch[-1][1].stop
        whole = self._read(self.grid.crop(top, left, bottom - top, right - left))
        for rows, columns in batch:
            size = rows.stop - rows.start, columns.stop - columns.start
            yield (rows, columns), whole.crop(rows.start - top, columns.start - left, *size)

    def _read(self, grid: Grid) -> Frames:
        """Read all acquisitions of a part of the cube."""
        left, bottom, right, top = grid.bounds
        time = self.series.bounds[2]
        stop = time.stop + pd.Timedelta(microseconds=1)  # the bounds are closed
        size = grid.height, grid.width
        shape = len(self.times), len(self.bands), *size
        try:
            frames = self.series.frames(
                (
                    slice(left, right, grid.xres),
                    slice(bottom, top, grid.yres),
                    slice(time.start, stop, 1),
                )
            )
        except IndexError:  # between the footprints
            nothing = np.zeros((shape[0], *size), bool)
            return Frames(np.zeros(shape, self.dtype), nothing, self.times, grid, observed=nothing)
        values, observed = frames.values, frames.observed
        if observed is None:
            if self.has_clouds:
                raise SITSError(
                    f'{type(self.series).__name__} does not tell what was observed under clouds, '
                    'which a cube keeps: convert from what it was made of'
                )
            observed = frames.clear
        if frames.offset is not None:
            # As Frames makes pixels of them, so that both are the same to the last bit.
            values = values.astype(self.dtype)
            values += frames.offset.astype(self.dtype)[:, None, None, None]
            values *= observed[:, None]
        clear = frames.clear
        if len(frames.times) == shape[0]:
            values = values.astype(self.dtype, copy=False)
        else:
            at = np.searchsorted(self._known, acquisition_keys(frames.times, self.series.group_by))
            some = values, clear, observed
            values = np.zeros(shape, self.dtype)
            clear, observed = np.zeros((2, shape[0], *size), bool)
            values[at], clear[at], observed[at] = some
        return Frames(values, clear, self.times, grid, observed=observed, scale=self.scale)


def _cube_grid(series: TimeSeries) -> Grid:
    """Lay a grid over all footprints, on the pixels of the first file in the CRS."""
    block = series.block_grid or grid_of(series)
    xres, yres = series.res
    west, south, east, north = series.index.total_bounds
    first = np.floor((west - block.left) / xres + TOLERANCE), (block.top - north) / yres
    last = np.ceil((east - block.left) / xres - TOLERANCE), (block.top - south) / yres
    column, row = int(first[0]), int(np.floor(first[1] + TOLERANCE))
    width, height = int(last[0]) - column, int(np.ceil(last[1] - TOLERANCE)) - row
    left, top = block.left + column * xres, block.top - row * yres
    return Grid(float(left), float(top), xres, yres, width, height, block.crs)


def _seconds(times: 'pd.Series[Any]') -> NDArray[np.int64]:
    """Turn times into seconds since 1970."""
    return times.to_numpy().astype('datetime64[s]').astype(np.int64)


def write_cube(
    series: TimeSeries,
    path: str | os.PathLike[str],
    *,
    command: str = 'torchgeo_sits.datasets.write_cube',
    progress: Progress | None = None,
) -> int:
    """Write all acquisitions of a series to a cube.

    Shards are written one by one, each as a whole or not at all, so that the memory needed is
    that of a few shards however large the cube is. A conversion that was stopped at any moment
    goes on where it was when it is called again; shards that are broken are written anew. Only
    a cube with all shards is marked complete.

    Args:
        series: The series; its transforms are not applied.
        path: The cube, new or begun before.
        command: How to call this again, for messages.
        progress: Called after each shard with the number of those done, and of all.

    Returns:
        The number of shards that were written, 0 where the cube was complete already.

    Raises:
        SITSError: If *path* is something else, was made of another source, or the series
            leaves frames out.
        OSError: If a file cannot be read or written; what is there stays, and can go on.
        SITSError: If another process writes the same cube.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_cube
        >>> from torchgeo_sits.datasets import write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> series = RasterTimeSeries(files.images)
        >>> write_cube(series, f'{folder.name}/s.zarr')
        1
        >>> write_cube(series, f'{folder.name}/s.zarr')  # complete already
        0
    """
    path, source = os.fspath(path), CubeSource(series)
    _begun(path)  # refuses what is something else, before anything is written into it
    with _writing(path, command):
        known = _begun(path)
        record: dict[str, Any] = {
            'format': FORMAT,
            'complete': False,
            'command': command,
            'arrays': _names(source),
            'source': source.describe(),
        }
        if known is not None:
            source.require_same(path, known)
        if known is None:
            _check_room(path, source)
            attributes = group_attributes(source.grid, source.crs) | {ATTRIBUTE: record}
            root = zarr.create_group(path, attributes=attributes, overwrite=False)
        else:
            root = zarr.open_group(path, mode='r+', use_consolidated=False)
        complete = known is not None and known['complete']
        if not complete:
            _create(root, source)
        arrays = _open(path, _names(source))
        total, done, written = source.layout.number_of_shards, 0, 0
        begun = known is not None and not complete
        for batch in source.batches():
            missing = [s for s in batch if not _is_done(path, arrays, s, read=begun)]
            done += len(batch) - len(missing)
            if progress is not None:
                progress(done, total)
            # The whole batch, not what is missing only: warped pixels depend on the window.
            for shard, frames in source.read(batch) if missing else ():
                if shard not in missing:
                    continue
                for name, array in arrays.items():
                    array[(..., *shard)] = _stored(frames, name)
                done, written = done + 1, written + 1
                if progress is not None:
                    progress(done, total)
        if not complete:
            if source.describe() != record['source']:
                raise OSError(
                    f"files of the source changed while they were converted to '{path}', so that "
                    'it may hold a mixture: remove the cube and convert again'
                )
            if hasattr(os, 'sync'):
                os.sync()  # a cube that says it is complete is so after a power cut too
            with warnings.catch_warnings():  # no part of the format, and what xarray looks for
                warnings.simplefilter('ignore', ZarrUserWarning)
                root = zarr.consolidate_metadata(root.store)
            root.attrs.update({ATTRIBUTE: record | {'complete': True}})
    return written


#: How much smaller than its pixels a cube may be expected to be at best.
_COMPRESSION = 10


def _check_room(path: str, source: CubeSource) -> None:
    """Raise OSError where a cube will not fit on its disk, however well it is compressed."""
    masks = len(_names(source)) - 1
    frames, bands, height, width = source.layout.shape
    size = frames * height * width * (bands * source.dtype.itemsize + masks)
    folder = next(one for one in Path(path).absolute().parents if one.exists())
    free = shutil.disk_usage(folder).free
    if size > _COMPRESSION * free:
        raise OSError(
            f'the cube holds {size / 1e9:,.0f} GB of pixels ({frames} frames of {height} x {width} '
            f'pixels, {bands} bands), {free / 1e9:,.0f} GB are free in {folder}: choose another '
            'disk, fewer bands, or a coarser `res`'
        )


def _begun(path: str) -> dict[str, Any] | None:
    """Read the record of a cube at *path*; None where there is nothing."""
    if not os.path.lexists(path):
        return None
    if not os.path.isdir(path):
        raise SITSError(f"'{path}' is a file, expected a name for a new cube")
    if not os.path.exists(os.path.join(path, 'zarr.json')):
        # A conversion that was stopped in its first moment leaves these.
        others = [n for n in os.listdir(path) if n != _LOCK and not n.endswith('.partial')]
        if others:
            raise SITSError(
                f"the folder '{path}' is not empty and no cube (it holds '{others[0]}'): choose "
                'another name for the new cube'
            )
        return None
    return cube_record(path)


def _names(source: CubeSource) -> list[str]:
    """Name the arrays of pixels and masks."""
    return [IMAGE, MASK_CLEAR, MASK_OBSERVED] if source.has_clouds else [IMAGE, MASK_CLEAR]


def _create(root: zarr.Group, source: CubeSource) -> None:
    """Write all of a cube but its shards."""
    with zarr_options():
        write_coordinates(
            root,
            source.grid,
            source.crs,
            bands=source.bands,
            times=source.times,
            spans=source.spans,
            footprints=source.footprints,
        )
        for name in _names(source):
            if name not in root:
                dtype = source.dtype if name == IMAGE else np.dtype(bool)
                source.layout.create(root, name, dtype, array_attributes(name, source.scale))


def _open(path: str, names: Sequence[str]) -> dict[str, 'zarr.Array[Any]']:
    """Open some arrays of a cube."""
    try:
        with zarr_options():
            group = zarr.open_group(path, mode='r+', use_consolidated=False)
            found = {name: group[name] for name in names}
    except Exception as error:  # whatever Zarr and JSON raise
        raise OSError(
            f"the arrays of the cube '{path}' cannot be opened ({error}): remove the cube and "
            'convert again'
        ) from error
    return {name: array for name, array in found.items() if isinstance(array, zarr.Array)}


def _stored(frames: Frames, name: str) -> Any:
    """Look up what goes into an array."""
    return {IMAGE: frames.values, MASK_CLEAR: frames.clear, MASK_OBSERVED: frames.observed}[name]


def _is_done(
    path: str,
    arrays: dict[str, 'zarr.Array[Any]'],
    shard: Shard,
    *,
    read: bool,
) -> bool:
    """Tell whether all files of a shard can be read, and remove those that cannot."""
    for array in arrays.values():
        file = shard_file(path, array, shard[0].start, shard[1].start)
        if not os.path.exists(file):
            return False
        if not read:
            continue
        try:  # a power cut may have left a file whose content never reached the disk
            array[(..., *shard)]
        except Exception:  # whatever the codecs raise
            os.unlink(file)  # Zarr would read it to write a shard on the border
            return False
    return True


@contextmanager
def _writing(path: str, command: str) -> Iterator[None]:
    """Write a cube alone, leave no rests, and say what to do where it fails."""
    try:
        os.makedirs(path, exist_ok=True)
        with FileLock(os.path.join(path, _LOCK), timeout=0):
            _remove_rests(path)
            yield
            os.unlink(os.path.join(path, _LOCK))
    except Timeout as error:
        raise SITSError(f"another process is writing '{path}': wait for it to end") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise OSError(
            f"no space is left for '{path}' ({error.strerror}). What was written stays: free "
            f'space and run the same command again, and it goes on where it stopped: {command}'
        ) from error


def _remove_rests(path: str) -> None:
    """Remove the files that writes left behind which were stopped in the middle."""
    for file in Path(path).rglob('*.partial'):
        file.unlink(missing_ok=True)


def verify_cube(
    series: TimeSeries,
    path: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> int:
    """Read everything again, from the source and from the cube, and compare bit for bit.

    Args:
        series: The series that the cube was made of.
        path: The complete cube.
        progress: Called after each shard with the number of those done, and of all.

    Returns:
        The number of shards, all of which are equal.

    Raises:
        SITSError: If the cube holds other dates, bands or pixels; the message names the first
            place.
        OSError: If the cube is not complete, or a file or a shard cannot be read.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import (
        ...     RasterTimeSeries,
        ...     verify_cube,
        ...     write_cube,
        ...     write_synthetic_series,
        ... )
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> series = RasterTimeSeries(files.images)
        >>> write_cube(series, f'{folder.name}/s.zarr')
        1
        >>> verify_cube(series, f'{folder.name}/s.zarr')  # shards, all of them equal
        1
    """
    path, source = os.fspath(path), CubeSource(series)
    store = CubeStore(path)
    record = cube_record(path)
    # Pixels are compared, so that it does not matter where the files lie by now.
    source.require_same(path, record, but=('files', 'files_sha256', 'dataset'))
    channels, frames = range(len(store.bands)), np.arange(len(store.times))
    total, first, differing = source.layout.number_of_shards, '', 0
    read = chain.from_iterable(map(source.read, source.batches()))
    for done, ((rows, columns), wanted) in enumerate(read, start=1):
        size = rows.stop - rows.start, columns.stop - columns.start
        ours = store.read(frames, channels, rows.start, columns.start, *size, observed=True)
        where = _first_difference(ours, wanted, source, rows, columns)
        first = first or where
        differing += bool(where)
        if progress is not None:
            progress(done, total)
    if differing:
        raise SITSError(
            f"{differing} of {total} shards of '{path}' differ from the source, first at "
            f'{first}. If the source is right, remove the cube and convert again'
        )
    return total


def _first_difference(
    ours: Frames, wanted: Frames, source: CubeSource, rows: slice, columns: slice
) -> str:
    """Describe the first pixel in which cube and source differ, empty for none."""
    for name in (IMAGE, MASK_CLEAR, MASK_OBSERVED):
        a, b = _stored(ours, name), _stored(wanted, name)
        equal = a == b
        if a.dtype.kind == 'f':  # NaN is stored as it is, -0 is not 0
            equal = a.view(f'u{a.itemsize}') == b.view(f'u{b.itemsize}')
        if equal.all():
            continue
        place = np.argwhere(~equal)[0]
        date = np.datetime64(int(source.times[place[0]]), 's')
        band = f', band {source.bands[place[1]]}' if a.ndim == 4 else ''
        return (
            f'{name} of {date}{band}, row {rows.start + place[-2]}, column '
            f'{columns.start + place[-1]}: the cube has {a[tuple(place)]}, the source '
            f'{b[tuple(place)]}'
        )
    return ''

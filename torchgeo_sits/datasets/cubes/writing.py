"""From a series of rasters to a cube, shard by shard."""

import errno
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from filelock import FileLock, Timeout
from zarr.errors import ZarrUserWarning

from ...errors import SITSError
from ...keys import IMAGE, MASK_CLEAR
from ..raster_series import RasterTimeSeries
from .layout import (
    ATTRIBUTE,
    FORMAT,
    MASK_OBSERVED,
    Window,
    array_attributes,
    group_attributes,
    shard_file,
    write_coordinates,
    zarr_options,
)
from .source import CubeSource, StoredFrames
from .store import CubeStore, CubeWindow, cube_record

__all__ = ['Progress', 'verify_cube', 'write_cube']

#: Called with the number of shards that are done, and of all.
Progress = Callable[[int, int], None]
_LOCK = '.lock'


def write_cube(
    series: RasterTimeSeries,
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
            attributes = group_attributes(source.grid, source.crs) | {ATTRIBUTE: record}
            root = zarr.create_group(path, attributes=attributes, overwrite=False)
        else:
            root = zarr.open_group(path, mode='r+', use_consolidated=False)
        complete = known is not None and known['complete']
        if not complete:
            _create(root, source)
        arrays = _open(path, _names(source))
        batches = source.batches()
        total, done, written = sum(map(len, batches)), 0, 0
        begun = known is not None and not complete
        for batch in batches:
            missing = [w for w in batch if not _is_done(path, arrays, w, read=begun)]
            done += len(batch) - len(missing)
            if progress is not None:
                progress(done, total)
            # The whole batch, not what is missing only: warped pixels depend on the window.
            for window, frames in source.read(batch) if missing else ():
                if window not in missing:
                    continue
                for name, array in arrays.items():
                    array[(..., *window)] = _stored(frames, name)
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


def _begun(path: str) -> dict[str, Any] | None:
    """The record of a cube at *path*; None where there is nothing."""
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
    """The arrays of pixels and masks."""
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
    """Some arrays of a cube."""
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


def _stored(frames: StoredFrames, name: str) -> Any:
    """What goes into an array."""
    return {IMAGE: frames.values, MASK_CLEAR: frames.clear, MASK_OBSERVED: frames.observed}[name]


def _is_done(
    path: str,
    arrays: dict[str, 'zarr.Array[Any]'],
    window: Window,
    *,
    read: bool,
) -> bool:
    """Whether all files of a shard are there, and can be read; those that cannot are removed."""
    for array in arrays.values():
        file = shard_file(path, array, window[0].start, window[1].start)
        if not os.path.exists(file):
            return False
        if not read:
            continue
        try:  # a power cut may have left a file whose content never reached the disk
            array[(..., *window)]
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
    series: RasterTimeSeries,
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
    """
    path, source = os.fspath(path), CubeSource(series)
    store = CubeStore(path)
    record = cube_record(path)
    # Pixels are compared, so that it does not matter where the files lie by now.
    source.require_same(path, record, but=('files', 'files_sha256', 'dataset'))
    channels, frames = range(len(store.bands)), np.arange(len(store.times))
    batches = source.batches()
    total, first, differing = sum(map(len, batches)), '', 0
    read = chain.from_iterable(map(source.read, batches))
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
    ours: CubeWindow, wanted: StoredFrames, source: CubeSource, rows: slice, columns: slice
) -> str:
    """The first pixel of a shard in which cube and source differ, empty for none."""
    for name, a, b in zip(('image', 'mask_clear', 'mask_observed'), ours, wanted, strict=True):
        assert a is not None  # what was observed was asked for
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

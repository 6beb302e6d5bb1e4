"""Cubes against the series that they were made of."""

import os
from itertools import chain

import numpy as np

from .cube_source import CubeSource, StoredFrames
from .cube_store import CubeStore, CubeWindow, cube_record
from .cube_writing import Progress
from .timeseries import RasterTimeSeries

__all__ = ['verify_cube']


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
        ValueError: If the cube holds other dates, bands or pixels; the message names the first
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
        raise ValueError(
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

"""A series of rasters as what a cube is made of."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from ...errors import SITSError
from ...grid import TOLERANCE, Grid
from ..catalogue import acquisition_keys
from ..file_stamps import stamps
from ..raster_series import RasterTimeSeries
from .layout import CubeLayout, Window

__all__ = ['CubeSource', 'StoredFrames']


class StoredFrames(NamedTuple):
    """All T acquisitions of a window as a cube stores them.

    Attributes:
        values: ``(T, C, H, W)``, 0 where nothing was observed.
        clear: ``(T, H, W)`` bool.
        observed: ``(T, H, W)`` bool.
    """

    values: NDArray[Any]
    clear: NDArray[np.bool_]
    observed: NDArray[np.bool_]


class CubeSource:
    """What a cube of a series holds, and where each part of it comes from.

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

    def __init__(self, series: RasterTimeSeries) -> None:
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
        self.has_clouds = bool(series.cloud_files)
        self.grid = _cube_grid(series)
        index = series.index
        instants = series._instants(index).as_unit('ns')
        place, days = pd.factorize(
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
        groups = frame.groupby(place)
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
            shapely.to_wkt(shapely.union_all(shapes[place == i]), rounding_precision=-1)
            for i in range(len(self.times))
        ]
        shape = (len(self.times), len(self.bands), self.grid.height, self.grid.width)
        self.layout = CubeLayout.of(shape, self.dtype.itemsize)

    def describe(self) -> dict[str, Any]:
        """What tells this source from another one, in plain values.

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
            line = (os.path.abspath(path), size, changed, series._offset(path))
            files.update(repr(line).encode())
        acquisitions = hashlib.sha256(self.times.tobytes() + self.spans.tobytes())
        acquisitions.update(repr(self.footprints).encode())
        clouds = series._mosaics.clouds
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
            'nodata': _plain(series.nodata, series.default_nodata),
            'clear_values': [] if clouds is None else [int(v) for v in clouds.clear_values],
            'unreadable': series.unreadable,
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

    def batches(self) -> list[list[Window]]:
        """All parts of the cube, in batches that are best read together; each time the same."""
        block = self.series.block_grid
        return self.layout.batches((block.height, block.width), self.dtype.itemsize)

    def read(self, batch: Sequence[Window]) -> Iterator[tuple[Window, StoredFrames]]:
        """Read all acquisitions of some parts of the cube, together.

        Args:
            batch: One of :meth:`batches`.

        Yields:
            Each part, and its frames.

        Raises:
            OSError: If a file cannot be read.
        """
        top, left = batch[0][0].start, batch[0][1].start
        whole = self._read(slice(top, batch[-1][0].stop), slice(left, batch[-1][1].stop))
        for rows, columns in batch:
            y = slice(rows.start - top, rows.stop - top)
            x = slice(columns.start - left, columns.stop - left)
            yield (rows, columns), StoredFrames(*(array[..., y, x] for array in whole))

    def _window(self, rows: slice, columns: slice) -> Grid:
        """Pixels of a part of the cube."""
        grid = self.grid
        return Grid(
            grid.left + columns.start * grid.xres,
            grid.top - rows.start * grid.yres,
            grid.xres,
            grid.yres,
            columns.stop - columns.start,
            rows.stop - rows.start,
            grid.crs,
        )

    def _read(self, rows: slice, columns: slice) -> StoredFrames:
        """All acquisitions of a part of the cube."""
        left, bottom, right, top = self._window(rows, columns).bounds
        time = self.series.bounds[2]
        stop = time.stop + pd.Timedelta(microseconds=1)  # the bounds are closed
        size = rows.stop - rows.start, columns.stop - columns.start
        shape = len(self.times), len(self.bands), *size
        try:
            frames = self.series.frames(
                (
                    slice(left, right, self.grid.xres),
                    slice(bottom, top, self.grid.yres),
                    slice(time.start, stop, 1),
                )
            )
        except IndexError:  # between the footprints
            nothing = np.zeros((shape[0], *size), bool)
            return StoredFrames(np.zeros(shape, self.dtype), nothing, nothing)
        values, observed = frames.values, frames.observed
        assert observed is not None  # series of rasters know
        if frames.offset is not None:
            # As Frames makes pixels of them, so that both are the same to the last bit.
            values = values.astype(self.dtype)
            values += frames.offset.astype(self.dtype)[:, None, None, None]
            values *= observed[:, None]
        if len(frames.times) == shape[0]:
            return StoredFrames(values.astype(self.dtype, copy=False), frames.clear, observed)
        at = np.searchsorted(self._known, acquisition_keys(frames.times, self.series.group_by))
        whole = np.zeros(shape, self.dtype)
        clear, seen = np.zeros((2, shape[0], *size), bool)
        whole[at], clear[at], seen[at] = values, frames.clear, observed
        return StoredFrames(whole, clear, seen)


def _cube_grid(series: RasterTimeSeries) -> Grid:
    """Pixels that cover all footprints, on the grid of the first file in the CRS."""
    block = series.block_grid
    xres, yres = series.res
    west, south, east, north = series.index.total_bounds
    first = np.floor((west - block.left) / xres + TOLERANCE), (block.top - north) / yres
    last = np.ceil((east - block.left) / xres - TOLERANCE), (block.top - south) / yres
    column, row = int(first[0]), int(np.floor(first[1] + TOLERANCE))
    width, height = int(last[0]) - column, int(np.ceil(last[1] - TOLERANCE)) - row
    left, top = block.left + column * xres, block.top - row * yres
    return Grid(float(left), float(top), xres, yres, width, height, block.crs)


def _seconds(times: 'pd.Series[Any]') -> NDArray[np.int64]:
    """Seconds since 1970."""
    return times.to_numpy().astype('datetime64[s]').astype(np.int64)


def _plain(*values: float | None) -> list[str]:
    """Numbers as JSON can hold all of them."""
    return [repr(None if value is None else float(value)) for value in values]

"""Cubes of image time series as a TorchGeo data set."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS
from torchgeo.datasets.utils import Path, Sample

from ..errors import SITSError
from ..grid import TOLERANCE, Grid
from .catalogue import acquisition_intervals, acquisition_keys
from .cubes.store import (
    CubeStore,
    CubeWindow,
    channels_of,
    find_cubes,
    require_expected,
    require_same_grid,
)
from .filenames import RasterName
from .frames import Frames
from .series import TimeSeries

__all__ = ['ZarrTimeSeries']


class ZarrTimeSeries(TimeSeries):
    """Image time series from one or several cubes that ``torchgeo-sits cube`` wrote.

    Samples are those of the :class:`RasterTimeSeries` that a cube was made of, bit for bit where
    its files needed no warp, and all that works on one works on the other; windows are read
    several times as fast, since all dates of a place lie side by side. A pixel counts as observed
    where all bands of the cube were, whichever are read, and an acquisition of several tiles has
    the time of the first one everywhere. Pixels are not warped: a cube has one grid, and all cubes
    of a data set share its CRS, pixel size and alignment. Where several hold pixels of one
    acquisition the first that observed a pixel counts, in the order of their paths.

    What is missing, broken or replaced meanwhile is an error that names the file, never zeros.
    Safe under forked and spawned workers.
    """

    def __init__(
        self,
        paths: Path | Iterable[Path],
        crs: CRS | str | None = None,
        res: float | tuple[float, float] | None = None,
        bands: Sequence[str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        *,
        group_by: Literal['day', 'time'] = 'day',
        min_clear: float = 0.0,
    ) -> None:
        """Open the cubes.

        Args:
            paths: Cubes, or folders that hold some.
            crs: The coordinate reference system to expect; that of the cubes by default.
            res: The size of a pixel to expect; that of the cubes by default.
            bands: Names of the bands to read, in this order; all by default.
            transforms: Called with each sample.
            group_by: What makes frames one acquisition: the same UTC day, or the same time.
            min_clear: Frames with a smaller share of clear pixels are left out of a sample;
                0 keeps all, the empty ones too. Where no frame is clear enough the clearest
                is kept.

        Raises:
            DatasetNotFoundError: If there is no cube.
            SITSError: If cubes differ in grid or scale, are not what is expected, a band is
                unknown, or an option is out of range.
            OSError: If a cube is not complete or cannot be read.
        """
        if group_by not in ('day', 'time'):
            raise SITSError(f"group_by must be 'day' or 'time', got {group_by!r}")
        if not 0 <= min_clear <= 1:
            raise SITSError(f'min_clear must be a share from 0 to 1, got {min_clear}')
        self.paths = paths
        self.transforms = transforms
        self.group_by = group_by
        self.min_clear = min_clear
        self._cubes = [CubeStore(path) for path in self.files]
        first = self._cubes[0]
        for cube in self._cubes[1:]:
            require_same_grid(cube, first)
        require_expected(first, crs, res)
        self._transform = first.grid.transform
        self._crs = first.grid.crs
        self._res = first.grid.xres, first.grid.yres
        self.all_bands = tuple(dict.fromkeys(band for cube in self._cubes for band in cube.bands))
        self.bands = first.bands if bands is None else tuple(bands)
        self._channels = [channels_of(cube, self.bands) for cube in self._cubes]
        #: Column and row of the corner of the first cube in each.
        self._shifts = []
        for cube in self._cubes:
            offset = first.grid.offset_in(cube.grid.transform)
            assert offset is not None  # they have the same pixels
            self._shifts.append((round(offset[0]), round(offset[1])))
        self._dtype = np.result_type(*(cube.dtype for cube in self._cubes))
        rows = [
            (i, frame) for i, cube in enumerate(self._cubes) for frame in range(len(cube.times))
        ]
        times = np.concatenate([cube.times for cube in self._cubes])
        names = [
            f'{self._cubes[i].path}?time={time}'
            for (i, _), time in zip(rows, times.astype('datetime64[s]'), strict=True)
        ]
        #: Number of the cube, and of the frame in it, of each row by its name.
        self._rows_by_name = dict(zip(names, rows, strict=True))
        self._placed: tuple[pd.Index, NDArray[np.intp], NDArray[np.int64]] | None = None
        self.index = self._make_index(names, times, first.crs)

    def _make_index(self, names: list[str], times: NDArray[np.int64], crs: CRS) -> GeoDataFrame:
        """One row per acquisition and cube."""
        ends = np.concatenate([cube.spans[:, 1] for cube in self._cubes])
        stops = pd.to_datetime(ends, unit='s').as_unit('us') - pd.Timedelta(microseconds=1)
        starts = pd.to_datetime(times, unit='s').as_unit('us')
        intervals = acquisition_intervals(
            [RasterName(a, b, None, '') for a, b in zip(starts, stops, strict=True)],
            self.group_by,
        )
        footprints = [text for cube in self._cubes for text in cube.footprints]
        shapes = shapely.from_wkt(np.array(footprints, object))
        # In the order of time, as those of rasters are.
        order = np.argsort(times, kind='stable')
        return GeoDataFrame(
            {'filepath': np.array(names, object)[order]},
            index=intervals[order],
            geometry=shapes[order],
            crs=crs,
        )

    @property
    def files(self) -> list[str]:
        """The cubes, sorted."""
        return find_cubes(self.paths)

    @property
    def block_grid(self) -> Grid:
        """One chunk of the first cube: what is decoded at once."""
        grid, (rows, columns) = self._cubes[0].grid, self._cubes[0].chunk
        return replace(grid, height=rows, width=columns)

    def _instants(self, index: GeoDataFrame) -> pd.DatetimeIndex:
        """When the rows of an index were acquired."""
        times = [self._time(*self._rows_by_name[name]) for name in index.filepath]
        return pd.to_datetime(np.array(times, np.int64), unit='s').as_unit('ns')

    def _time(self, cube: int, frame: int) -> int:
        """Seconds since 1970."""
        return int(self._cubes[cube].times[frame])

    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Cube and frame ``(R, 2)`` and time ``(R,)`` of the rows of the index."""
        index = self.index
        if self._placed is None or self._placed[0] is not index.index:
            rows = np.array([self._rows_by_name[name] for name in index.filepath], np.intp)
            times = np.array([self._time(*row) for row in rows], np.int64)
            self._placed = index.index, rows.reshape(-1, 2), times
        return self._placed[1:]

    def _read(self, rows: NDArray[np.intp], grid: Grid, step: int) -> Frames | None:
        """Frames of some rows, one for each acquisition."""
        if not len(rows):
            return None
        grid, column, row = self._on_pixels(grid)
        places, times = self._places()
        places, times = places[rows], times[rows]
        _, frame = np.unique(acquisition_keys(times, self.group_by), return_inverse=True)
        if step > 1:
            kept = frame % step == 0
            places, times, frame = places[kept], times[kept], frame[kept] // step
        count = int(frame.max()) + 1
        first = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(first, frame, times)
        cubes = np.unique(places[:, 0])
        window = row, column, grid.height, grid.width
        if len(cubes) == 1 and len(places) == count:
            values, clear, observed = self._window(
                int(cubes[0]), places[np.argsort(frame), 1], window
            )
        else:
            values, clear, observed = self._merge(places, frame, count, window)
        scale = self._cubes[0].scale
        return Frames(values, clear, first, grid, observed=observed, scale=scale)

    def _on_pixels(self, grid: Grid) -> tuple[Grid, int, int]:
        """A window moved onto the pixels, by half of one at most, and its column and row."""
        if grid.crs is not self._crs:
            if grid.crs != self._crs:
                raise SITSError(
                    f"'{self._cubes[0].path}' is in {self._crs.to_string()[:60]} and cannot be "
                    f'read in {grid.crs.to_string()[:60]}, as another data set joined to it may '
                    'ask: convert again with --crs, or put the cube first'
                )
            self._crs = grid.crs
        offset = grid.offset_in(self._transform)
        if offset is None:
            raise SITSError(
                f"'{self._cubes[0].path}' has pixels of {self._cubes[0].grid.xres} x "
                f'{self._cubes[0].grid.yres} and cannot be read with {grid.xres} x {grid.yres}: '
                'convert again with --res'
            )
        column, row = int(np.floor(offset[0] + 0.5)), int(np.floor(offset[1] + 0.5))
        right, down = offset[0] - column, offset[1] - row
        if max(abs(right), abs(down)) > TOLERANCE:
            left, top = grid.left - right * grid.xres, grid.top + down * grid.yres
            grid = replace(grid, left=left, top=top)
        return grid, column, row

    def _window(
        self,
        cube: int,
        frames: NDArray[np.intp],
        window: tuple[int, int, int, int],
        *,
        observed: bool = False,
    ) -> CubeWindow:
        """Frames of one cube; row and column are those in the first cube."""
        row, column, height, width = window
        right, down = self._shifts[cube]
        return self._cubes[cube].read(
            frames,
            self._channels[cube],
            row + down,
            column + right,
            height,
            width,
            observed=observed,
        )

    def _merge(
        self,
        places: NDArray[np.intp],
        frame: NDArray[np.intp],
        count: int,
        window: tuple[int, int, int, int],
    ) -> CubeWindow:
        """Frames of several rows each, whose first one that observed a pixel counts."""
        height, width = window[2:]
        values = np.zeros((count, len(self.bands), height, width), self._dtype)
        clear, observed = np.zeros((2, count, height, width), bool)
        for cube in np.unique(places[:, 0]):
            mine = places[:, 0] == cube
            frames, at = np.unique(places[mine, 1], return_index=True)
            found = self._window(int(cube), frames, window, observed=True)
            assert found.observed is not None  # it was asked for
            for i, k in enumerate(frame[mine][at]):
                fresh = found.observed[i] & ~observed[k]
                np.copyto(values[k], found.values[i], where=fresh)
                np.copyto(clear[k], found.clear[i], where=fresh)
                observed[k] |= fresh
        return CubeWindow(values, clear, observed)

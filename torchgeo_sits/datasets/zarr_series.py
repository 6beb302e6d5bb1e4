"""Cubes of image time series as a TorchGeo data set."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from torchgeo.datasets.utils import Path, Sample

from ..errors import SITSError
from ..grid import TOLERANCE, Grid, pixel_size
from .catalogue import acquisition_intervals
from .cubes import CubeStore
from .filenames import RasterName
from .files import RastersNotFoundError
from .frames import Frames
from .series import TimeSeries

__all__ = ['ZarrTimeSeries']

#: Options of series of rasters that a cube was written with.
_OF_CONVERSION = (
    *('cloud_paths', 'clear_values', 'nodata', 'filename_regex', 'date_format', 'unreadable'),
    *('snow_is_clear', 'scale', 'offset', 'quality', 'cloud_bits'),
)


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

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import (
        ...     RasterTimeSeries,
        ...     ZarrTimeSeries,
        ...     write_cube,
        ...     write_synthetic_series,
        ... )
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> rasters = RasterTimeSeries(files.images)
        >>> write_cube(rasters, f'{folder.name}/s.zarr')
        1
        >>> cube = ZarrTimeSeries(f'{folder.name}/s.zarr', bands=['B04', 'B08'])
        >>> cube[cube.bounds]['image'].shape
        torch.Size([4, 2, 32, 32])
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
        **kwargs: Any,
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
            **kwargs: Options of a series of rasters, such as ``nodata``, are refused unless they
                are None or what they are by default: a cube was given them when it was written.

        Raises:
            DatasetNotFoundError: If there is no cube.
            SITSError: If cubes differ in grid or scale, are not what is expected, a band is
                unknown, or an option is out of range or one of the conversion.
            OSError: If a cube is not complete or cannot be read.
        """
        given = {name: kwargs.pop(name) for name in _OF_CONVERSION if name in kwargs}
        for name, value in given.items():
            if value is not None and (name, value) != ('unreadable', 'raise'):
                raise SITSError(
                    f'{name} is no argument of ZarrTimeSeries: leave it out, or give it to '
                    '`torchgeo-sits cube` for a cube that is read'
                )
        super().__init__(paths, transforms, group_by=group_by, min_clear=min_clear, **kwargs)
        self._cubes = [CubeStore(path) for path in self.files]
        first = self._cubes[0]
        for cube in self._cubes[1:]:
            _require_same_grid(cube, first)
        _require_expected(first, crs, res)
        self._transform = first.grid.transform
        self._crs = first.grid.crs
        self._res = first.grid.xres, first.grid.yres
        self.all_bands = tuple(dict.fromkeys(band for cube in self._cubes for band in cube.bands))
        self.bands = first.bands if bands is None else tuple(bands)
        self._channels = [_channels_of(cube, self.bands) for cube in self._cubes]
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
        self._known_rows: tuple[pd.Index, NDArray[np.intp], NDArray[np.int64]] | None = None
        self.index = self._make_index(names, times, first.crs)

    def _make_index(self, names: list[str], times: NDArray[np.int64], crs: CRS) -> GeoDataFrame:
        """Index acquisitions and cubes, a row for each."""
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
        return _find_cubes(self.paths)

    @property
    def block_grid(self) -> Grid:
        """First chunk of the first cube: the pixels decoded at once."""
        grid, (rows, columns) = self._cubes[0].grid, self._cubes[0].chunk
        return replace(grid, height=rows, width=columns)

    def instants(self, index: GeoDataFrame) -> pd.DatetimeIndex:
        """Look up when the rows of an index were acquired."""
        times = [self._time(*self._rows_by_name[name]) for name in index.filepath]
        return pd.to_datetime(np.array(times, np.int64), unit='s').as_unit('ns')

    def read_frames(self, acquisitions: Sequence[NDArray[np.intp]], grid: Grid) -> Frames:
        """Read the frames of some rows, one for each acquisition."""
        grid, column, row = self._on_pixels(grid)
        stored, times = self._stored_rows()
        first = np.array([times[rows].min() for rows in acquisitions])
        frame = np.repeat(np.arange(len(acquisitions)), [len(rows) for rows in acquisitions])
        stored = stored[np.concatenate(acquisitions)]
        cubes = np.unique(stored[:, 0])
        if len(cubes) == 1 and len(stored) == len(acquisitions):
            frames = self._read_cube(int(cubes[0]), stored[:, 1], grid, row, column)
        else:
            frames = self._merge(stored, frame, grid, row, column)
        return replace(frames, times=first, grid=grid, scale=self._cubes[0].scale)

    def _time(self, cube: int, frame: int) -> int:
        """Look up the seconds since 1970 of a frame of a cube."""
        return int(self._cubes[cube].times[frame])

    def _stored_rows(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Look up cube and frame ``(R, 2)`` and time ``(R,)`` of the rows of the index."""
        index = self.index
        if self._known_rows is None or self._known_rows[0] is not index.index:
            rows = np.array([self._rows_by_name[name] for name in index.filepath], np.intp)
            times = np.array([self._time(*row) for row in rows], np.int64)
            self._known_rows = index.index, rows.reshape(-1, 2), times
        return self._known_rows[1:]

    def _on_pixels(self, grid: Grid) -> tuple[Grid, int, int]:
        """Move a window onto the pixels; its column and row in the first cube."""
        first = self._cubes[0]
        if grid.crs is not self._crs:
            if grid.crs != self._crs:
                raise SITSError(
                    f"'{first.path}' is in {self._crs.to_string()[:60]} and cannot be "
                    f'read in {grid.crs.to_string()[:60]}, as another data set joined to it may '
                    'ask: convert again with --crs, or put the cube first'
                )
            self._crs = grid.crs
        snapped = grid.snapped(self._transform)
        if snapped is None:
            raise SITSError(
                f"'{first.path}' has pixels of {first.grid.xres} x {first.grid.yres} and cannot "
                f'be read with {grid.xres} x {grid.yres}: convert again with --res'
            )
        return snapped

    def _read_cube(
        self,
        cube: int,
        frames: NDArray[np.intp],
        grid: Grid,
        row: int,
        column: int,
        *,
        observed: bool = False,
    ) -> Frames:
        """Read frames of one cube; row and column are those in the first cube."""
        right, down = self._shifts[cube]
        return self._cubes[cube].read(
            frames,
            self._channels[cube],
            row + down,
            column + right,
            grid.height,
            grid.width,
            observed=observed,
        )

    def _merge(
        self,
        stored: NDArray[np.intp],
        frame: NDArray[np.intp],
        grid: Grid,
        row: int,
        column: int,
    ) -> Frames:
        """Read frames of several rows each, whose first one that observed a pixel counts."""
        count = int(frame[-1]) + 1
        values = np.zeros((count, len(self.bands), grid.height, grid.width), self._dtype)
        clear, observed = np.zeros((2, count, grid.height, grid.width), bool)
        for cube in np.unique(stored[:, 0]):
            mine = stored[:, 0] == cube
            frames, at = np.unique(stored[mine, 1], return_index=True)
            found = self._read_cube(int(cube), frames, grid, row, column, observed=True)
            assert found.observed is not None  # it was asked for
            for i, k in enumerate(frame[mine][at]):
                fresh = found.observed[i] & ~observed[k]
                np.copyto(values[k], found.values[i], where=fresh)
                np.copyto(clear[k], found.clear[i], where=fresh)
                observed[k] |= fresh
        return Frames(values, clear, np.zeros(count, np.int64), grid, observed=observed)


def _find_cubes(paths: Path | Iterable[Path]) -> list[str]:
    """List the stores among paths and in the folders among them, each once, sorted."""
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: set[str] = set()
    for root in [os.fspath(root) for root in roots]:
        if not os.path.isdir(root):
            raise RastersNotFoundError(
                f"'{root}' does not exist: give a cube that `torchgeo-sits cube` wrote, or a "
                'folder of some, as `paths`'
            )
        for folder, inner, files in os.walk(root):
            if 'zarr.json' in files:
                found.add(folder)
                inner.clear()  # the arrays of a store have one too
    if not found:
        raise RastersNotFoundError(
            f'no cubes in {", ".join(repr(os.fspath(root)) for root in roots)}: write one with '
            '`torchgeo-sits cube`'
        )
    return sorted(found)


def _require_same_grid(cube: CubeStore, first: CubeStore) -> None:
    """Refuse a cube whose pixels do not lie side by side with those of the first one."""
    if cube.grid.crs != first.grid.crs:
        raise SITSError(
            f"'{cube.path}' is in another CRS than '{first.path}', and cubes are not warped: "
            f'convert again with --crs {_short(first.crs)}'
        )
    offset = first.grid.offset_in(cube.grid.transform)
    if offset is None:
        raise SITSError(
            f"'{cube.path}' has pixels of {cube.grid.xres} x {cube.grid.yres}, '{first.path}' of "
            f'{first.grid.xres} x {first.grid.yres}: convert again with --res {first.grid.xres}'
        )
    shift = max(abs(value - round(value)) for value in offset)
    if shift > 10 * TOLERANCE:
        raise SITSError(
            f"the pixels of '{cube.path}' lie {shift:.2f} of a pixel beside those of "
            f"'{first.path}': open them as two data sets and join these with |"
        )
    if cube.scale != first.scale:
        raise SITSError(
            f"'{cube.path}' has scale {cube.scale}, '{first.path}' {first.scale}: convert one of "
            'them again, so that both have the same'
        )


def _require_expected(
    cube: CubeStore, crs: CRS | str | None, res: float | tuple[float, float] | None
) -> None:
    """Refuse a cube in another CRS or of another pixel size than asked for."""
    if crs is not None:
        try:
            wanted = CRS.from_user_input(crs)
        except CRSError as error:
            raise SITSError(
                f"crs={crs!r} is no coordinate reference system, such as 'EPSG:32631': {error}"
            ) from error
        if wanted != cube.crs:
            raise SITSError(
                f"'{cube.path}' is in {_short(cube.crs)}, and cubes are not warped to "
                f'{_short(wanted)}: convert again with --crs {_short(wanted)}'
            )
    if res is not None:
        own = cube.grid.xres, cube.grid.yres
        asked = pixel_size(res)
        if max(abs(a / b - 1) for a, b in zip(asked, own, strict=True)) > 1e-9:
            raise SITSError(
                f"'{cube.path}' has pixels of {own[0]} x {own[1]}, and cubes are not resampled "
                f'to {asked[0]} x {asked[1]}: convert again with --res {asked[0]}'
            )


def _channels_of(cube: CubeStore, bands: Sequence[str]) -> list[int]:
    """Look up the numbers of bands in a cube, from 0."""
    unknown = [band for band in bands if band not in cube.bands]
    if unknown:
        raise SITSError(
            f"unknown bands {unknown}: '{cube.path}' holds {cube.bands}. Give some of these "
            'names, in the order in which the channels are wanted.'
        )
    if not bands:
        raise SITSError('bands is empty: name at least one, or leave it None for all')
    return [cube.bands.index(band) for band in bands]


def _short(crs: CRS) -> str:
    """Spell a CRS as the command line takes it, where it has a code."""
    authority = crs.to_authority(min_confidence=100)
    return ':'.join(authority) if authority else str(crs.name)

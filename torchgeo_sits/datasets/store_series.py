"""The base of series whose frames lie in stores with one grid each: cubes, NetCDF and Zarr."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from torchgeo.datasets.utils import Path, Sample

from ..errors import SITSError
from ..grid import TOLERANCE, Grid, crs_name, pixel_size
from .catalogue import acquisition_intervals
from .filenames import RasterName
from .frames import Frames
from .series import TimeSeries

__all__ = ['SeriesStore', 'StoreTimeSeries']


class SeriesStore(Protocol):
    """Frames of one grid, of which windows are read."""

    #: Where it lies.
    path: str
    #: Its pixels.
    grid: Grid
    #: Their coordinate reference system.
    crs: CRS
    #: Names of the bands.
    bands: tuple[str, ...]
    #: Seconds since 1970 UTC, ``(T,)``, ascending.
    times: NDArray[np.int64]
    #: First second of each acquisition and first after it, ``(T, 2)``.
    spans: NDArray[np.int64]
    #: Where each may have pixels, as WKT, T of them.
    footprints: list[str]
    #: Type of the pixels that it gives.
    dtype: np.dtype[Any]
    #: Factor on them.
    scale: float

    @property
    def block(self) -> Grid:
        """One of the blocks of pixels that are decoded at once."""

    def read(
        self,
        frames: NDArray[np.intp],
        channels: Sequence[int],
        row: int,
        column: int,
        height: int,
        width: int,
        *,
        observed: bool = False,
        scaled: bool = False,
    ) -> Frames:
        """Read some acquisitions of a window, which may lie outside of the grid.

        Values are as they are stored, or *scaled*: float32, and with the factor applied.
        """


class StoreTimeSeries(TimeSeries):
    """Base of series from one store or several that share CRS, pixel size and alignment.

    Stores lie side by side, on top of each other, or follow each other in time. Where several
    hold pixels of one acquisition the first that observed a pixel counts. Pixels are not warped.

    A subclass calls this ``__init__`` and then :meth:`_join`.

    Attributes:
        all_bands: All bands that any of the stores has.
    """

    #: What to do about a store in another CRS, or of another pixel size, than wanted.
    _other_crs: ClassVar[str]
    _other_res: ClassVar[str]

    def __init__(
        self,
        paths: Path | Iterable[Path],
        transforms: Callable[[Sample], Sample] | None = None,
        *,
        group_by: Literal['day', 'time'] = 'day',
        min_clear: float = 0.0,
        refused: Sequence[str] = (),
        advice: str = '',
        **kwargs: Any,
    ) -> None:
        """Keep the options that all series have, and refuse some.

        Args:
            paths: Where the stores lie.
            transforms: Called with each sample.
            group_by: What makes frames one acquisition: the same UTC day, or the same time.
            min_clear: Frames with a smaller share of clear pixels are left out of a sample.
            refused: Names of options of other series that have no meaning here.
            advice: What to do about one that is given.
            **kwargs: Options, of which those that are refused must be None or what they are by
                default.

        Raises:
            SITSError: If an option is out of its range or refused.
        """
        given = {name: kwargs.pop(name) for name in refused if name in kwargs}
        for name, value in given.items():
            if value is not None and (name, value) != ('unreadable', 'raise'):
                raise SITSError(f'{name} is no argument of {type(self).__name__}: {advice}')
        super().__init__(paths, transforms, group_by=group_by, min_clear=min_clear, **kwargs)

    def _join(
        self,
        stores: Sequence[SeriesStore],
        *,
        crs: CRS | str | None,
        res: float | tuple[float, float] | None,
        bands: Sequence[str] | None,
    ) -> None:
        """Make one series of the stores.

        Args:
            stores: At least one.
            crs: The CRS to expect; None for that of the first store.
            res: The size of a pixel to expect; None for that of the first store.
            bands: Names of the bands to read; None for those of the first store.

        Raises:
            SITSError: If stores differ in grid or scale, are not what is expected, or a band is
                unknown.
        """
        self._stores = list(stores)
        first = self._stores[0]
        for store in self._stores[1:]:
            self._require_same_grid(store)
        self._require_expected(crs, res)
        self._transform = first.grid.transform
        self._crs = first.grid.crs
        self._res = first.grid.xres, first.grid.yres
        self.scale = first.scale
        self.all_bands = tuple(dict.fromkeys(band for store in stores for band in store.bands))
        self.bands = first.bands if bands is None else tuple(bands)
        self._channels = [_channels_of(store, self.bands) for store in self._stores]
        #: Column and row of the corner of the first store in each.
        self._shifts = []
        for store in self._stores:
            offset = first.grid.offset_in(store.grid.transform)
            assert offset is not None  # they have the same pixels
            self._shifts.append((round(offset[0]), round(offset[1])))
        self._dtype = np.result_type(*(store.dtype for store in self._stores))
        rows = [
            (i, frame) for i, store in enumerate(self._stores) for frame in range(len(store.times))
        ]
        times = np.concatenate([store.times for store in self._stores])
        names = [
            f'{self._stores[i].path}?time={time}'
            for (i, _), time in zip(rows, times.astype('datetime64[s]'), strict=True)
        ]
        if len(set(names)) < len(names):  # a time stands twice in a store
            names = [f'{name}&frame={row[1]}' for name, row in zip(names, rows, strict=True)]
        #: Number of the store, and of the frame in it, of each row by its name.
        self._rows_by_name = dict(zip(names, rows, strict=True))
        self._known_rows: tuple[pd.Index, NDArray[np.intp], NDArray[np.int64]] | None = None
        self.index = self._make_index(names, times, first.crs)

    def _make_index(self, names: list[str], times: NDArray[np.int64], crs: CRS) -> GeoDataFrame:
        """Index acquisitions and stores, a row for each."""
        ends = np.concatenate([store.spans[:, 1] for store in self._stores])
        stops = pd.to_datetime(ends, unit='s').as_unit('us') - pd.Timedelta(microseconds=1)
        starts = pd.to_datetime(times, unit='s').as_unit('us')
        intervals = acquisition_intervals(
            [RasterName(a, b, None, '') for a, b in zip(starts, stops, strict=True)],
            self.group_by,
        )
        footprints = [text for store in self._stores for text in store.footprints]
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
    def block_grid(self) -> Grid:
        """A block of the first store: the pixels decoded at once."""
        return self._stores[0].block

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type of the pixels of frames."""
        return self._dtype

    def instants(self, index: GeoDataFrame) -> pd.DatetimeIndex:
        """Look up when the rows of an index were acquired."""
        times = [self._time(*self._rows_by_name[name]) for name in index.filepath]
        return pd.to_datetime(np.array(times, np.int64), unit='s').as_unit('ns')

    def read_frames(self, acquisitions: Sequence[NDArray[np.intp]], grid: Grid) -> Frames:
        """Read the frames of some rows, one for each acquisition."""
        return self._read_rows(acquisitions, grid, scaled=False)

    def _read_for_sample(self, acquisitions: Sequence[NDArray[np.intp]], grid: Grid) -> Frames:
        """Read frames as float32, with the scale applied."""
        if type(self).read_frames is not StoreTimeSeries.read_frames:
            return self.read_frames(acquisitions, grid)  # a subclass reads in its own way
        return self._read_rows(acquisitions, grid, scaled=True)

    def _read_rows(
        self, acquisitions: Sequence[NDArray[np.intp]], grid: Grid, *, scaled: bool
    ) -> Frames:
        """Read the frames of some rows, as they are stored or *scaled*."""
        grid, column, row = self._on_pixels(grid)
        stored, times = self._stored_rows()
        lengths = [len(rows) for rows in acquisitions]
        frame = np.repeat(np.arange(len(acquisitions)), lengths)
        rows = np.concatenate(acquisitions)
        first = np.minimum.reduceat(times[rows], np.cumsum(lengths) - lengths)
        stored = stored[rows]
        numbers = np.unique(stored[:, 0])
        if len(numbers) == 1 and len(stored) == len(acquisitions):
            frames = self._read_store(
                int(numbers[0]), stored[:, 1], grid, row, column, scaled=scaled
            )
        else:
            frames = self._merge(stored, frame, grid, row, column, scaled=scaled)
        return replace(frames, times=first, grid=grid, scale=1.0 if scaled else self.scale)

    def _time(self, store: int, frame: int) -> int:
        """Look up the seconds since 1970 of a frame of a store."""
        return int(self._stores[store].times[frame])

    def _stored_rows(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Look up store and frame ``(R, 2)`` and time ``(R,)`` of the rows of the index."""
        index = self.index
        if self._known_rows is None or self._known_rows[0] is not index.index:
            rows = np.array([self._rows_by_name[name] for name in index.filepath], np.intp)
            times = np.array([self._time(*row) for row in rows], np.int64)
            self._known_rows = index.index, rows.reshape(-1, 2), times
        return self._known_rows[1:]

    def _on_pixels(self, grid: Grid) -> tuple[Grid, int, int]:
        """Move a window onto the pixels; its column and row in the first store."""
        first = self._stores[0]
        if grid.crs is not self._crs:
            if grid.crs != self._crs:
                raise SITSError(
                    f"'{first.path}' is in {crs_name(self._crs)} and cannot be "
                    f'read in {crs_name(grid.crs)}, as another data set joined to it may '
                    f'ask: {self._other_crs.format("CRS")}, or put it first'
                )
            self._crs = grid.crs
        snapped = grid.snapped(self._transform)
        if snapped is None:
            raise SITSError(
                f"'{first.path}' has pixels of {first.grid.xres} x {first.grid.yres} and cannot "
                f'be read with {grid.xres} x {grid.yres}: {self._other_res.format(grid.xres)}'
            )
        return snapped

    def _read_store(
        self,
        store: int,
        frames: NDArray[np.intp],
        grid: Grid,
        row: int,
        column: int,
        *,
        scaled: bool,
        observed: bool = False,
    ) -> Frames:
        """Read frames of one store; row and column are those in the first store."""
        right, down = self._shifts[store]
        return self._stores[store].read(
            frames,
            self._channels[store],
            row + down,
            column + right,
            grid.height,
            grid.width,
            observed=observed,
            scaled=scaled,
        )

    def _merge(
        self,
        stored: NDArray[np.intp],
        frame: NDArray[np.intp],
        grid: Grid,
        row: int,
        column: int,
        *,
        scaled: bool,
    ) -> Frames:
        """Read frames of several rows each, whose first one that observed a pixel counts."""
        count = int(frame[-1]) + 1
        dtype = np.float32 if scaled else self._dtype
        values = np.zeros((count, len(self.bands), grid.height, grid.width), dtype)
        clear, observed = np.zeros((2, count, grid.height, grid.width), bool)
        for store in np.unique(stored[:, 0]):
            mine = stored[:, 0] == store
            frames, at = np.unique(stored[mine, 1], return_index=True)
            found = self._read_store(
                int(store), frames, grid, row, column, scaled=scaled, observed=True
            )
            assert found.observed is not None  # it was asked for
            for i, k in enumerate(frame[mine][at]):
                fresh = found.observed[i] & ~observed[k]
                np.copyto(values[k], found.values[i], where=fresh)
                np.copyto(clear[k], found.clear[i], where=fresh)
                observed[k] |= fresh
        return Frames(values, clear, np.zeros(count, np.int64), grid, observed=observed)

    def _require_same_grid(self, store: SeriesStore) -> None:
        """Refuse a store whose pixels do not lie side by side with those of the first one."""
        first = self._stores[0]
        if store.grid.crs != first.grid.crs:
            raise SITSError(
                f"'{store.path}' is in another CRS than '{first.path}', and pixels are not "
                f'warped: {self._other_crs.format(_short(first.crs))}'
            )
        offset = first.grid.offset_in(store.grid.transform)
        if offset is None:
            raise SITSError(
                f"'{store.path}' has pixels of {store.grid.xres} x {store.grid.yres}, "
                f"'{first.path}' of {first.grid.xres} x {first.grid.yres}: "
                f'{self._other_res.format(first.grid.xres)}'
            )
        shift = max(abs(value - round(value)) for value in offset)
        if shift > 10 * TOLERANCE:
            raise SITSError(
                f"the pixels of '{store.path}' lie {shift:.2f} of a pixel beside those of "
                f"'{first.path}': open them as two data sets and join these with |"
            )
        if store.scale != first.scale:
            raise SITSError(
                f"'{store.path}' has scale {store.scale}, '{first.path}' {first.scale}: convert "
                'one of them again, so that both have the same'
            )

    def _require_expected(
        self, crs: CRS | str | None, res: float | tuple[float, float] | None
    ) -> None:
        """Refuse stores in another CRS or of another pixel size than asked for."""
        first = self._stores[0]
        if crs is not None:
            wanted = parse_crs(crs)
            if wanted != first.crs:
                raise SITSError(
                    f"'{first.path}' is in {_short(first.crs)}, and pixels are not warped to "
                    f'{_short(wanted)}: {self._other_crs.format(_short(wanted))}'
                )
        if res is not None:
            own = first.grid.xres, first.grid.yres
            asked = pixel_size(res)
            if max(abs(a / b - 1) for a, b in zip(asked, own, strict=True)) > 1e-9:
                raise SITSError(
                    f"'{first.path}' has pixels of {own[0]} x {own[1]}, and pixels are not "
                    f'resampled to {asked[0]} x {asked[1]}: {self._other_res.format(asked[0])}'
                )


def parse_crs(crs: CRS | str) -> CRS:
    """Read the name of a coordinate reference system.

    Args:
        crs: Anything that pyproj takes, such as ``'EPSG:32631'``.

    Returns:
        The CRS.

    Raises:
        SITSError: If it is none.
    """
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise SITSError(
            f"crs={crs!r} is no coordinate reference system, such as 'EPSG:32631': {error}"
        ) from error


def _channels_of(store: SeriesStore, bands: Sequence[str]) -> list[int]:
    """Look up the numbers of bands in a store, from 0."""
    unknown = [band for band in bands if band not in store.bands]
    if unknown:
        raise SITSError(
            f"unknown bands {unknown}: '{store.path}' holds {store.bands}. Give some of these "
            'names, in the order in which the channels are wanted.'
        )
    if not bands:
        raise SITSError('bands is empty: name at least one, or leave it None for all')
    return [store.bands.index(band) for band in bands]


def _short(crs: CRS) -> str:
    """Spell a CRS as the command line takes it, where it has a code."""
    authority = crs.to_authority(min_confidence=100)
    return ':'.join(authority) if authority else str(crs.name)

"""The base of all data sets of image time series: a window in, a sample out."""

import abc
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from geopandas import GeoDataFrame
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rasterio.crs import CRS as RasterCRS
from torchgeo.datasets.utils import GeoSlice, Path, Sample

from ..errors import SITSError, SITSIndexError
from ..footprints import DistinctShapes
from ..grid import TOLERANCE, Grid
from .combine import SeriesOperators
from .frames import Frames, acquisition_keys, utc
from .plotting import plot_series
from .queries import require_memory

__all__ = ['TimeSeries']


class TimeSeries(SeriesOperators):
    """Base of data sets whose samples are dated frames of one place.

    A sample holds ``image`` ``(T, C, H, W)`` float32, ``acquisition_times`` ``(T,)`` int64
    (seconds since 1970 UTC), ``valid`` ``(T,)`` bool, ``length`` ``()`` int64, ``mask_clear``
    ``(T, H, W)`` bool, ``bounds`` ``(9,)`` and ``transform`` ``(9,)`` float64; see
    :mod:`torchgeo_sits.keys`.

    A subclass calls this ``__init__``, sets :attr:`bands`, ``_res`` and :attr:`index`, and has
    :meth:`instants`, :meth:`read_frames` and :attr:`block_grid`. What ``torchgeo-sits cube`` asks
    for beside these may stay as it is. For rasters with dates in their names there is
    :class:`RasterTimeSeries`, whose subclasses need less.

    Attributes:
        paths: Where the series lies.
        bands: Names of the channels, in their order.
        transforms: Called with each sample.
        group_by: What makes rows of the index one acquisition: the same UTC day, or time.
        min_clear: Share of clear pixels that a frame of a sample must have.
        scale: Factor on the stored pixels of frames.

    Examples:
        >>> import geopandas
        >>> import numpy as np
        >>> import pandas as pd
        >>> import shapely
        >>> from torchgeo_sits.datasets import Frames, TimeSeries
        >>> class Constant(TimeSeries):
        ...     bands = ('value',)
        ...     _res = (10.0, 10.0)
        ...     block_grid = None
        ...
        ...     def __init__(self):
        ...         super().__init__('memory')
        ...         days = pd.to_datetime(['2021-03-01', '2021-04-01'])
        ...         ends = days + pd.Timedelta(hours=23)
        ...         spans = pd.IntervalIndex.from_arrays(days, ends, closed='both', name='datetime')
        ...         place = [shapely.box(0, 0, 80, 80)] * 2
        ...         self.index = geopandas.GeoDataFrame(
        ...             {'filepath': ['a', 'b']}, index=spans, geometry=place, crs='EPSG:32631'
        ...         )
        ...
        ...     def instants(self, index):
        ...         return pd.DatetimeIndex(index.index.left)
        ...
        ...     def read_frames(self, acquisitions, grid):
        ...         times = self.instants(self.index)[[rows[0] for rows in acquisitions]]
        ...         values = np.ones((len(times), 1, grid.height, grid.width), np.float32)
        ...         return Frames(values, values[:, 0] > 0, times.as_unit('s').asi8, grid)
        >>> Constant()[0:40, 0:40]['image'].shape
        torch.Size([2, 1, 4, 4])
    """

    bands: tuple[str, ...]
    transforms: Callable[[Sample], Sample] | None
    group_by: Literal['day', 'time']
    min_clear: float
    scale: float = 1.0

    _index: GeoDataFrame
    _lookup: '_IndexLookup | None' = None

    def __init__(
        self,
        paths: Path | Iterable[Path],
        transforms: Callable[[Sample], Sample] | None = None,
        *,
        group_by: Literal['day', 'time'] = 'day',
        min_clear: float = 0.0,
    ) -> None:
        """Keep the options that all series have.

        Args:
            paths: Where the series lies.
            transforms: Called with each sample.
            group_by: What makes rows of the index one acquisition: the same UTC day, or the
                same time (for several passes a day).
            min_clear: Frames with a smaller share of clear pixels are left out of a sample;
                0 keeps all, the empty ones too. Where no frame is clear enough the clearest
                is kept.

        Raises:
            SITSError: If an option is out of its range.
        """
        if group_by not in ('day', 'time'):
            raise SITSError(f"group_by must be 'day' or 'time', got {group_by!r}")
        if not 0 <= min_clear <= 1:
            raise SITSError(f'min_clear must be a share from 0 to 1, got {min_clear}')
        self.paths = paths
        self.transforms = transforms
        self.group_by = group_by
        self.min_clear = min_clear

    @abc.abstractmethod
    def instants(self, index: GeoDataFrame) -> pd.DatetimeIndex:
        """Look up when the rows of an index were acquired.

        Args:
            index: :attr:`index`, or some of its rows.

        Returns:
            UTC without a zone, ``(N,)``, each between the ends of the row's interval.
        """

    @abc.abstractmethod
    def read_frames(self, acquisitions: Sequence[NDArray[np.intp]], grid: Grid) -> Frames:
        """Read one frame for each acquisition.

        Args:
            acquisitions: For each, in the order of time, the numbers of its rows of
                :attr:`index`; at least one acquisition, of at least one row.
            grid: Pixels wanted; may be moved onto the pixels that are stored.

        Returns:
            The frames.
        """

    @property
    @abc.abstractmethod
    def block_grid(self) -> Grid | None:
        """First block of the files: its corner, and as height and width the pixels read at once.

        None where nothing is stored in blocks.
        """

    @property
    def source_files(self) -> list[str]:
        """Files that frames are read from, without those of cloud masks."""
        return sorted(set(self.index.filepath))

    @property
    def cloud_files(self) -> list[str]:
        """Files of cloud masks."""
        return []

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type that holds the stored pixels of all frames with their offsets added."""
        return np.dtype(np.float32)

    @property
    def has_clouds(self) -> bool:
        """Whether pixels may be observed and not be clear; frames say what was observed then."""
        return False

    def offset_of(self, path: str) -> float:
        """Tell what is to be added to the stored values of a file before they are scaled."""
        return 0.0

    def pixel_options(self) -> dict[str, Any]:
        """List options that change pixels, in plain values, by which a cube knows its source."""
        return {}

    @property
    def index(self) -> GeoDataFrame:
        """Rows of products: their intervals as index, ``filepath`` and footprints.

        A row that a splitter of TorchGeo left in two parts stays in the one that holds the
        instant of the acquisition, so that parts share no frame.
        """
        return self._by_place.frame

    @index.setter
    def index(self, index: GeoDataFrame) -> None:
        self._index = index
        self._lookup = None

    @property
    def _by_place(self) -> '_IndexLookup':
        """The index by place and time, made anew when it was set to or turned into another."""
        if self._lookup is None or not self._lookup.is_of(self._index):
            frame = self._index
            if 'filepath' not in frame:  # lost by random_grid_cell_assignment of TorchGeo 0.10
                frame = frame.rename(columns={0: 'filepath'})[['filepath', 'geometry']]
            self._lookup = _IndexLookup(frame, self.instants(frame))
            self._index = self._lookup.frame
        return self._lookup

    @property
    def bounds(self) -> tuple[slice, slice, slice]:
        """Bounds of the index in x, y and time."""
        (xmin, ymin, xmax, ymax), first, last = self._by_place.extent
        xres, yres = self.res
        return slice(xmin, xmax, xres), slice(ymin, ymax, yres), slice(first, last, 1)

    def __getitem__(self, index: GeoSlice) -> Sample:
        """Read the series of a window.

        Args:
            index: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:step]``; parts may be left
                out. Times without a zone are UTC, tmax is excluded unless it equals tmin, and
                *step* takes every so many acquisitions.

        Returns:
            The sample, see the class.

        Raises:
            IndexError: If there is no acquisition in the window.
            SITSError: If the window is smaller than half a pixel.
            OSError: If a file cannot be read and is not to be skipped.
        """
        sample = self._read(index, self._read_for_sample).to_sample()
        return sample if self.transforms is None else self.transforms(sample)

    def frames(self, index: GeoSlice) -> Frames:
        """Read a window as it is stored.

        Args:
            index: See :meth:`__getitem__`. A window that knows a larger one by its attribute
                ``block``, as those of
                :class:`~torchgeo_sits.samplers.BlockPatchSampler` do, is cut from it; all
                dates of the larger one are read once and kept. Pixels are the same but where
                files must be warped: GDAL's approximation depends on the window.

        Returns:
            The frames, which :meth:`~torchgeo_sits.datasets.frames.Frames.to_sample` makes a
            sample.

        Raises:
            IndexError: If there is no acquisition in the window.
            SITSError: If the window is smaller than half a pixel.
            OSError: If a file cannot be read.
        """
        return self._read(index, self.read_frames)

    def _read_for_sample(self, acquisitions: Sequence[NDArray[np.intp]], grid: Grid) -> Frames:
        """Read frames that become a sample at once; float32 with a scale of 1 saves a copy."""
        return self.read_frames(acquisitions, grid)

    def _read(
        self,
        index: GeoSlice,
        read_frames: Callable[[Sequence[NDArray[np.intp]], Grid], Frames],
    ) -> Frames:
        """Read a window as :meth:`frames` says, where no block holds it by *read_frames*."""
        lookup = self._by_place
        x, y, t = self._disambiguate_slice(index)
        start, stop = utc(t.start), utc(t.stop)
        grid = Grid.of(x, y, lookup.crs)
        span = (start.timestamp(), stop.timestamp(), float(t.step))
        acquisitions = lookup.acquisitions(grid, start, stop, self.group_by)[:: t.step]
        if not acquisitions:
            raise SITSIndexError(
                f'no acquisition in the window x={x}, y={y}, t={t}: the data set spans '
                f'{self.bounds}'
            )
        require_memory(
            (len(acquisitions), len(self.bands), grid.height, grid.width),
            np.dtype(np.float32),
            'a window',
        )
        frames = self._cut_from_block(index, grid, acquisitions)
        if frames is None:
            frames = read_frames(acquisitions, grid)
        left, bottom, right, top = frames.grid.bounds
        if (frames.grid.left, frames.grid.top) == (x.start, y.stop):
            right, bottom = x.stop, y.start  # exactly as asked for
        frames = replace(frames, bounds=(left, right, bottom, top), span=span)
        return frames.clearest(self.min_clear) if self.min_clear > 0 else frames

    def _cut_from_block(
        self, index: Any, grid: Grid, acquisitions: Sequence[NDArray[np.intp]]
    ) -> Frames | None:
        """Frames of a window that knows its block; None for others, and off its pixels."""
        block = getattr(index, 'block', None)
        if block is None:
            return None
        lookup = self._by_place
        times = np.array([lookup.times[rows].min() for rows in acquisitions]) // 1_000_000
        keys = acquisition_keys(times, self.group_by)
        if len(set(keys.tolist())) < len(keys):
            return None  # several within a second, which is as fine as the times of frames are
        x, y, t = self._disambiguate_slice(block)

        def read() -> Frames | None:
            whole = Grid.of(x, y, lookup.crs)
            after = utc(t.stop) + pd.Timedelta(microseconds=1)  # the bounds are closed
            found = lookup.acquisitions(whole, utc(t.start), after, self.group_by)
            return self.read_frames(found, whole) if found else None

        corners = (x.start, x.stop, y.start, y.stop)
        frames = lookup.blocks.get(corners, read, last=index.last, kept=index.kept)
        offset = None if frames is None else grid.offset_in(frames.grid.transform)
        if frames is None or offset is None:
            return None
        known = acquisition_keys(frames.times, self.group_by)
        column, row = (round(value) for value in offset)
        cut = frames.crop(row, column, grid.height, grid.width)
        # The acquisitions of this window alone: a block may lie on more tiles than it.
        cut = replace(cut.select(np.searchsorted(known, keys)), times=times)
        if max(abs(offset[0] - column), abs(offset[1] - row)) <= TOLERANCE:
            cut = replace(cut, grid=grid)  # rounded by less than the index is
        return cut

    def plot(self, sample: Sample, *, columns: int = 8) -> Figure:
        """Draw the frames of a sample, in true colour where the bands are known.

        Args:
            sample: What :meth:`__getitem__` returned.
            columns: Frames in a row.

        Returns:
            The figure.
        """
        return plot_series(sample, self.bands, columns=columns)


class _IndexLookup:
    """Cached queries of an index by place and time.

    Args:
        frame: One row per product: its interval as index, and its footprint.
        instants: When the rows were acquired, ``(N,)``.

    Attributes:
        frame: The index, without the rows whose intervals do not hold their instants: a splitter
            of TorchGeo that cuts a day in two leaves the row in both parts.
        blocks: Frames that were read by this index.
    """

    def __init__(self, frame: GeoDataFrame, instants: pd.DatetimeIndex) -> None:
        holds = (frame.index.left <= instants) & (instants <= frame.index.right)
        self.frame = frame if holds.all() else frame[holds]
        self.blocks = _BlockCache()
        self._intervals, self._crs = self.frame.index, self.frame.crs
        #: Microseconds since 1970; nanoseconds end in 2262.
        self.times = instants[holds].as_unit('us').asi8

    def is_of(self, frame: GeoDataFrame) -> bool:
        """Tell whether an index is still this one; TorchGeo moves it to another CRS in place."""
        return frame.index is self._intervals and frame.crs is self._crs

    @cached_property
    def crs(self) -> RasterCRS:
        """The CRS as rasterio holds it."""
        return RasterCRS.from_user_input(self._crs)

    @cached_property
    def extent(self) -> tuple[NDArray[np.float64], pd.Timestamp, pd.Timestamp]:
        """West, south, east and north of all rows, ``(4,)``, and their first and last instant."""
        return self.frame.total_bounds, self._intervals.left.min(), self._intervals.right.max()

    def acquisitions(
        self, grid: Grid, start: pd.Timestamp, stop: pd.Timestamp, group_by: Literal['day', 'time']
    ) -> list[NDArray[np.intp]]:
        """Find the rows that share an area with a window and were acquired in a span.

        Args:
            grid: The window, in the CRS of the index.
            start: First instant, UTC.
            stop: First instant after the span. Where it is *start*, that instant stands for all
                that it may mean, as the intervals of the rows say.
            group_by: What makes rows one acquisition: the UTC day, or the time.

        Returns:
            Numbers of the rows of each acquisition, ascending, in the order of time.
        """
        rows = self._tree.meeting(grid)
        first, last = (int(np.datetime64(time, 'us').astype(np.int64)) for time in (start, stop))
        if first < last:
            rows = rows[(self.times[rows] >= first) & (self.times[rows] < last)]
        else:
            lefts, rights = self._ends
            rows = rows[(lefts[rows] <= last) & (rights[rows] >= first)]
        keys = acquisition_keys(self.times[rows], group_by, per_second=1_000_000)
        order = np.argsort(keys, kind='stable')
        rows, keys = rows[order], keys[order]
        ends = [*(np.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist(), len(rows)]
        return [rows[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True) if b > a]

    @cached_property
    def _tree(self) -> DistinctShapes:
        return DistinctShapes(np.asarray(self.frame.geometry))

    @cached_property
    def _ends(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._intervals.left.as_unit('us').asi8, self._intervals.right.as_unit('us').asi8


class _BlockCache:
    """Frames of a few blocks, kept until their last patch was cut.

    A fork keeps them, a pickle starts without any.
    """

    def __init__(self) -> None:
        self._blocks: OrderedDict[Any, Frames | None] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy nothing: another process cuts from blocks of its own."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._blocks = OrderedDict()

    def get(
        self, key: Any, read: Callable[[], Frames | None], *, last: bool, kept: int
    ) -> Frames | None:
        """Look up the frames of a block, or read them.

        Args:
            key: Tells the block from others.
            read: Reads it.
            last: Whether nobody will ask for it again.
            kept: How many blocks to keep, this one among them.

        Returns:
            The frames, which all callers share; None where *read* found none.
        """
        if key in self._blocks:
            frames = self._blocks.pop(key)
        else:
            # Room first: the memory of all that is kept and of one that is read is the peak.
            while len(self._blocks) >= kept:
                self._blocks.popitem(last=False)
            frames = read()
        if not last:
            self._blocks[key] = frames
        return frames

    def clear(self) -> None:
        """Forget all blocks."""
        self._blocks.clear()

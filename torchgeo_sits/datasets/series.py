"""What all data sets of image time series share: a window in, a sample out."""

import abc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from geopandas import GeoDataFrame
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.crs import CRS as RasterCRS
from torchgeo.datasets import GeoDataset, IntersectionDataset, UnionDataset
from torchgeo.datasets.utils import GeoSlice, Sample

from .block_cache import BlockCache
from .combine import LabelledTimeSeries, TimeSeriesUnion, is_labels, is_series
from .filenames import utc
from .footprint_tree import FootprintTree
from .frames import Frames
from .grid import TOLERANCE, Grid
from .plotting import plot_series

__all__ = ['TimeSeries']


class TimeSeries(GeoDataset):
    """Base of data sets whose samples are dated frames of one place.

    A sample holds ``image`` ``(T, C, H, W)`` float32, ``acquisition_times`` ``(T,)`` int64
    (seconds since 1970 UTC), ``valid`` ``(T,)`` bool, ``length`` ``()`` int64, ``mask_clear``
    ``(T, H, W)`` bool, ``bounds`` ``(9,)`` and ``transform`` ``(9,)`` float64; see
    :mod:`torchgeo_sits.keys`.

    A subclass sets the attributes below and an index with the instants of its rows between
    the ends of their intervals, and reads frames.

    Attributes:
        bands: Names of the channels, in their order.
        transforms: Called with each sample.
        group_by: What makes rows of the index one acquisition: the same UTC day, or time.
        min_clear: Share of clear pixels that a frame of a sample must have.
    """

    bands: tuple[str, ...]
    transforms: Callable[[Sample], Sample] | None
    group_by: Literal['day', 'time']
    min_clear: float

    _index: GeoDataFrame
    #: The intervals of ``_index`` when it was last held against the acquisitions.
    _checked: pd.Index | None = None
    _tree: FootprintTree | None = None
    _bounds: tuple[pd.Index, tuple[slice, slice, slice]] | None = None
    _crs_made: tuple[CRS, RasterCRS] | None = None

    _blocks: BlockCache

    @abc.abstractmethod
    def _instants(self, index: GeoDataFrame) -> pd.DatetimeIndex:
        """When the rows of an index were acquired, ``(N,)``."""

    @abc.abstractmethod
    def _read(self, rows: NDArray[np.intp], grid: Grid, step: int) -> Frames | None:
        """Frames of rows of ``index``.

        Args:
            rows: Numbers of the rows in the window, ascending.
            grid: Pixels wanted; may be moved onto the pixels that are stored.
            step: Every which acquisition is read.

        Returns:
            The frames, or None where there are none.
        """

    @property
    @abc.abstractmethod
    def block_grid(self) -> Grid:
        """One block of the files: its corner, and as height and width the pixels read at once."""

    @property
    def index(self) -> GeoDataFrame:
        """One row per product: its interval as index, ``filepath`` and footprint.

        A splitter of TorchGeo that cuts a day in two leaves the row in both parts. It stays
        in the part with the instant of the acquisition only, so that parts share no frame.
        """
        frame = self._index
        if frame.index is not self._checked:
            if 'filepath' not in frame:  # lost by random_grid_cell_assignment of TorchGeo 0.10
                frame = frame.rename(columns={0: 'filepath'})[['filepath', 'geometry']]
            times = self._instants(frame)
            holds = (frame.index.left <= times) & (times <= frame.index.right)
            self._index = frame if holds.all() else frame[holds]
            self._checked = self._index.index
            self._tree = None
        return self._index

    @index.setter
    def index(self, index: GeoDataFrame) -> None:
        self._index = index
        self._checked = None
        self._blocks = BlockCache()

    @property
    def bounds(self) -> tuple[slice, slice, slice]:
        """Bounds of the index in x, y and time, found once."""
        if self._bounds is None or self._bounds[0] is not self.index.index:
            self._bounds = self.index.index, super().bounds
        return self._bounds[1]

    def _rows(self, grid: Grid, start: pd.Timestamp, stop: pd.Timestamp) -> NDArray[np.intp]:
        """Rows of the index with an area in a window and an instant in ``[start, stop)``."""
        index = self.index
        if self._tree is None:
            self._tree = FootprintTree(np.asarray(index.geometry))
            self._times = self._instants(index).as_unit('ns').asi8
            self._lefts = index.index.left.as_unit('ns').asi8
            self._rights = index.index.right.as_unit('ns').asi8
        rows = self._tree.meeting(grid)
        first, last = start.as_unit('ns').value, stop.as_unit('ns').value
        if first < last:
            times = self._times[rows]
            return rows[(times >= first) & (times < last)]
        # An instant stands for all that it may mean; a span ends before its end.
        return rows[(self._lefts[rows] <= last) & (self._rights[rows] >= first)]

    def _raster_crs(self) -> RasterCRS:
        """The CRS as rasterio holds it, made anew only when it was set to another."""
        crs = self._index.crs
        if self._crs_made is None or self._crs_made[0] is not crs:
            self._crs_made = (crs, RasterCRS.from_user_input(crs))
        return self._crs_made[1]

    def frames(self, index: GeoSlice) -> Frames:
        """Read a window as it is stored.

        Args:
            index: See :meth:`__getitem__`. A window that knows a larger one by its attribute
                ``block``, as those of
                :class:`~torchgeo_sits.samplers.BlockPatchSampler` do, is cut from it; all
                dates of the larger one are read once and kept.

        Returns:
            The frames, which :meth:`~torchgeo_sits.datasets.frames.Frames.to_sample` makes a
            sample.

        Raises:
            IndexError: If there is no acquisition in the window.
            ValueError: If the window is smaller than half a pixel.
            OSError: If a file cannot be read.
        """
        x, y, t = self._disambiguate_slice(index)
        start, stop = utc(t.start), utc(t.stop)
        width, height = round((x.stop - x.start) / x.step), round((y.stop - y.start) / y.step)
        if width < 1 or height < 1:
            raise ValueError(f'the window x={x}, y={y} is less than a pixel of {x.step} x {y.step}')
        grid = Grid(x.start, y.stop, x.step, y.step, width, height, self._raster_crs())
        span = (start.timestamp(), stop.timestamp(), float(t.step or 1))
        frames = None
        if start < stop:
            frames = self._cut_from_block(index, grid, span)
        if frames is None:
            frames = self._read(self._rows(grid, start, stop), grid, t.step or 1)
        if frames is None or not len(frames.times):
            raise IndexError(
                f'no acquisition in the window x={x}, y={y}, t={t}: the data set spans '
                f'{self.bounds}'
            )
        left, bottom, right, top = frames.grid.bounds
        if (frames.grid.left, frames.grid.top) == (x.start, y.stop):
            right, bottom = x.stop, y.start  # exactly as asked for
        frames = replace(frames, bounds=(left, right, bottom, top), span=span)
        return frames.clearest(self.min_clear) if self.min_clear > 0 else frames

    def _cut_from_block(
        self, index: Any, grid: Grid, span: tuple[float, float, float]
    ) -> Frames | None:
        """Frames of a window that knows its block; None for others, and off its pixels."""
        block = getattr(index, 'block', None)
        if block is None:
            return None
        x, y, t = self._disambiguate_slice(block)

        def read() -> Frames | None:
            width, height = round((x.stop - x.start) / x.step), round((y.stop - y.start) / y.step)
            whole = Grid(x.start, y.stop, x.step, y.step, width, height, self._raster_crs())
            after = utc(t.stop) + pd.Timedelta(microseconds=1)  # the bounds are closed
            return self._read(self._rows(whole, utc(t.start), after), whole, 1)

        key = (x.start, x.stop, y.start, y.stop)
        frames = self._blocks.get(key, read, last=index.last, kept=index.kept)
        offset = None if frames is None else grid.offset_in(frames.grid.transform)
        if frames is None or offset is None:
            return None
        column, row = (round(value) for value in offset)
        cut = frames.crop(row, column, grid.height, grid.width, span)
        if max(abs(offset[0] - column), abs(offset[1] - row)) <= TOLERANCE:
            cut = replace(cut, grid=grid)  # rounded by less than the index is
        return cut

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
            ValueError: If the window is smaller than half a pixel.
            OSError: If a file cannot be read and is not to be skipped.
        """
        sample = self.frames(index).to_sample()
        return sample if self.transforms is None else self.transforms(sample)

    def __and__(self, other: GeoDataset) -> IntersectionDataset:
        """Join with labels by place whatever their date, or with images as TorchGeo does."""
        if is_labels(other):
            return LabelledTimeSeries(self, other)
        return super().__and__(other)

    def __or__(self, other: GeoDataset) -> UnionDataset:
        """Merge with another series in the order of time."""
        if is_series(other):
            return TimeSeriesUnion(self, other, group_by=self.group_by)
        return super().__or__(other)

    def plot(self, sample: Sample, *, columns: int = 8) -> Figure:
        """Draw the frames of a sample, in true colour where the bands are known.

        Args:
            sample: What :meth:`__getitem__` returned.
            columns: Frames in a row.

        Returns:
            The figure.
        """
        return plot_series(sample, self.bands, columns=columns)

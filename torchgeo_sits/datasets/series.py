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
from torchgeo.datasets.utils import GeoSlice, Sample

from ..errors import SITSError, SITSIndexError
from ..grid import TOLERANCE, Grid
from .catalogue import acquisition_keys
from .combine import SeriesOperators
from .filenames import utc
from .frames import Frames
from .index import IndexLookup
from .plotting import plot_series

__all__ = ['TimeSeries']


class TimeSeries(SeriesOperators):
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
    _lookup: IndexLookup | None = None

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

        A row that a splitter of TorchGeo left in two parts stays in the one that holds the
        instant of the acquisition, so that parts share no frame.
        """
        return self._by_place.frame

    @index.setter
    def index(self, index: GeoDataFrame) -> None:
        self._index = index
        self._lookup = None

    @property
    def _by_place(self) -> IndexLookup:
        """The index by place and time, made anew when it was set to or turned into another."""
        if self._lookup is None or not self._lookup.is_of(self._index):
            frame = self._index
            if 'filepath' not in frame:  # lost by random_grid_cell_assignment of TorchGeo 0.10
                frame = frame.rename(columns={0: 'filepath'})[['filepath', 'geometry']]
            self._lookup = IndexLookup(frame, self._instants(frame))
            self._index = self._lookup.frame
        return self._lookup

    @property
    def bounds(self) -> tuple[slice, slice, slice]:
        """Bounds of the index in x, y and time."""
        (xmin, ymin, xmax, ymax), first, last = self._by_place.extent
        xres, yres = self.res
        return slice(xmin, xmax, xres), slice(ymin, ymax, yres), slice(first, last, 1)

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
        lookup = self._by_place
        x, y, t = self._disambiguate_slice(index)
        start, stop = utc(t.start), utc(t.stop)
        width, height = round((x.stop - x.start) / x.step), round((y.stop - y.start) / y.step)
        if width < 1 or height < 1:
            raise SITSError(f'the window x={x}, y={y} is less than a pixel of {x.step} x {y.step}')
        grid = Grid(x.start, y.stop, x.step, y.step, width, height, lookup.crs)
        span = (start.timestamp(), stop.timestamp(), float(t.step or 1))
        rows = lookup.rows(grid, start, stop)
        frames = self._cut_from_block(index, grid, rows, t.step or 1)
        if frames is None:
            frames = self._read(rows, grid, t.step or 1)
        if frames is None:
            raise SITSIndexError(
                f'no acquisition in the window x={x}, y={y}, t={t}: the data set spans '
                f'{self.bounds}'
            )
        left, bottom, right, top = frames.grid.bounds
        if (frames.grid.left, frames.grid.top) == (x.start, y.stop):
            right, bottom = x.stop, y.start  # exactly as asked for
        frames = replace(frames, bounds=(left, right, bottom, top), span=span)
        return frames.clearest(self.min_clear) if self.min_clear > 0 else frames

    def _cut_from_block(
        self, index: Any, grid: Grid, rows: NDArray[np.intp], step: int
    ) -> Frames | None:
        """Frames of a window that knows its block; None for others, and off its pixels."""
        block = getattr(index, 'block', None)
        if block is None or not len(rows):
            return None
        lookup = self._by_place
        x, y, t = self._disambiguate_slice(block)

        def read() -> Frames | None:
            width, height = round((x.stop - x.start) / x.step), round((y.stop - y.start) / y.step)
            whole = Grid(x.start, y.stop, x.step, y.step, width, height, lookup.crs)
            after = utc(t.stop) + pd.Timedelta(microseconds=1)  # the bounds are closed
            return self._read(lookup.rows(whole, utc(t.start), after), whole, 1)

        key = (x.start, x.stop, y.start, y.stop)
        frames = lookup.blocks.get(key, read, last=index.last, kept=index.kept)
        offset = None if frames is None else grid.offset_in(frames.grid.transform)
        if frames is None or offset is None:
            return None
        # The acquisitions of this window alone: a block may lie on more tiles than it.
        seconds = np.sort(lookup.times[rows] // 1_000_000)
        keys, first = np.unique(acquisition_keys(seconds, self.group_by), return_index=True)
        known = acquisition_keys(frames.times, self.group_by)
        column, row = (round(value) for value in offset)
        cut = frames.crop(row, column, grid.height, grid.width)
        cut = replace(
            cut.select(np.searchsorted(known, keys[::step])), times=seconds[first[::step]]
        )
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
            SITSError: If the window is smaller than half a pixel.
            OSError: If a file cannot be read and is not to be skipped.
        """
        sample = self.frames(index).to_sample()
        return sample if self.transforms is None else self.transforms(sample)

    def plot(self, sample: Sample, *, columns: int = 8) -> Figure:
        """Draw the frames of a sample, in true colour where the bands are known.

        Args:
            sample: What :meth:`__getitem__` returned.
            columns: Frames in a row.

        Returns:
            The figure.
        """
        return plot_series(sample, self.bands, columns=columns)

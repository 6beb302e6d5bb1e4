"""The images of a series on a page: tiles of a date, and the series of a pixel."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rasterio.windows import Window

from ..bands import SENSORS, find_band, find_sensor
from ..datasets import Frames, RasterTimeSeries, TimeSeries
from ..errors import SITSError, SITSIndexError
from ..grid import Grid
from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR
from .pyramid import Pyramid

__all__ = ['PixelSeries', 'SeriesImages']

#: Pictures by name: the light that is shown as red, green and blue, and what stands for it.
_PICTURES: Final = {
    'true colour': (('red',), ('green',), ('blue',)),
    'false colour (near infrared, red, green)': (('nir', 'nir08'), ('red',), ('green',)),
    'false colour (short wave, near infrared, red)': (('swir16',), ('nir', 'nir08'), ('red',)),
}
#: Dates and side of the window in the middle that pictures are stretched by.
_STRETCHED: Final = (12, 256)
#: Side of the blocks by which stores, which have no overviews, are read from afar.
_BLOCK: Final = 1024
#: What covers pixels that were not clear, and how much.
_CLOUD, _VEIL = (214, 92, 190), 0.45


@dataclass(frozen=True)
class PixelSeries:
    """Series of a pixel.

    Attributes:
        times: ``(T,)`` int64, seconds since 1970 UTC.
        values: ``(C, T)`` float32 by band, NaN where nothing was observed.
        clear: ``(T,)`` bool.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.exploring import PixelSeries
        >>> PixelSeries(np.zeros(1, int), {'B04': np.ones(1)}, np.ones(1, bool)).clear.tolist()
        [True]
    """

    times: NDArray[np.int64]
    values: dict[str, NDArray[np.float32]]
    clear: NDArray[np.bool_]


class SeriesImages:
    """Pictures of a series, and the series of its pixels.

    Args:
        open_bands: Opens the series with some of its bands, or with all for None.
        grid: Pixels of the map; None for those of the series.

    Attributes:
        series: The series with all bands.
        dates: First instant of each acquisition, ascending, UTC.
        pictures: Bands that are shown as red, green and blue, or as grey, by name.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.exploring import SeriesImages
        >>> from torchgeo_sits.grid import grid_of
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> def open_bands(bands):
        ...     return RasterTimeSeries(files.images, bands=bands)
        >>> images = SeriesImages(open_bands, grid_of(open_bands(None)))
        >>> len(images.dates), next(iter(images.pictures.items()))
        (4, ('true colour', ('B04', 'B03', 'B02')))
        >>> images.tile(0, 0, 0, date=1, picture='true colour').shape
        (32, 32, 4)
    """

    def __init__(
        self, open_bands: Callable[[Sequence[str] | None], TimeSeries], grid: Grid
    ) -> None:
        self._open_bands = open_bands
        self.series = open_bands(None)
        self.grid = grid
        self.pyramid = Pyramid(grid.height, grid.width)
        self._by_picture: dict[str, TimeSeries] = {}
        self._ranges: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        # Handles of files are shared by those who ask.
        self._lock = threading.Lock()
        instants = self.series.instants(self.series.index)
        if self.series.group_by == 'day':
            instants = instants.floor('D')
        self.dates = list(instants.unique().sort_values())
        self.pictures = self._find_pictures()

    @cached_property
    def light(self) -> dict[str, str]:
        """Bands by the common name of their light, as far as it is known."""
        bands = self.series.bands
        own = {band.name for band in SENSORS['Sentinel-2']}
        paths = self.series.source_files[:1]
        sensor = (find_sensor(paths[0]) if paths else None) or (
            'Sentinel-2' if set(bands) <= own else None
        )
        found = {band: find_band(sensor, band) for band in bands}
        return {entry.common: band for band, entry in found.items() if entry is not None} | {
            band: band for band in bands if band in ('red', 'green', 'blue', 'nir', 'swir16')
        }

    @cached_property
    def clearest(self) -> int:
        """Number of the date that is clearest in the middle of the area, of some dates."""
        with self._lock:
            series = self._series_of(next(iter(self.pictures)))
            shares = [(float(f.clear.mean()), date) for date, f in self._middle(series)]
        return max(shares, default=(0.0, 0))[1]

    def tile(
        self, level: int, row: int, column: int, *, date: int, picture: str, marked: bool = True
    ) -> NDArray[np.uint8]:
        """Draw a tile of a date.

        Args:
            level: See :meth:`Pyramid.tile`.
            row: See there.
            column: See there.
            date: Number of the date.
            picture: Name of the picture.
            marked: Cover pixels that were not clear by a thin veil.

        Returns:
            ``(h, w, 4)``, transparent where nothing was observed.

        Raises:
            SITSError: If there is no such tile, date or picture.
            OSError: If a file cannot be read.
        """
        if picture not in self.pictures or not 0 <= date < len(self.dates):
            raise SITSError(f'there is no picture {picture!r} of date {date}')
        place = self.pyramid.tile(level, row, column)
        with self._lock:
            series = self._series_of(picture)
            low, high = self._range_of(picture, series)
            frames = self._frames(series, date, place.window, place.scale)
        if frames is None:
            return np.zeros((*place.shape, 4), np.uint8)
        image = frames.to_sample()[IMAGE][0].numpy()
        seen = frames.clear[0] if frames.observed is None else frames.observed[0]
        shown = np.clip((image - low[:, None, None]) / (high - low)[:, None, None], 0, 1)
        rgb = 255 * np.moveaxis(np.broadcast_to(shown, (3, *shown.shape[1:])), 0, -1) ** 0.8
        if marked:
            veiled = seen & ~frames.clear[0]
            rgb[veiled] = (1 - _VEIL) * rgb[veiled] + _VEIL * np.array(_CLOUD)
        return np.concatenate([rgb, 255 * seen[..., None]], -1).astype(np.uint8)

    def pixel(self, row: int, column: int) -> PixelSeries:
        """Read the series of a pixel.

        Args:
            row: Its row.
            column: Its column.

        Returns:
            Its series, empty where there is no image.

        Raises:
            OSError: If a file cannot be read.
        """
        x, y = self._slices(Window(column, row, 1, 1), 1)
        with self._lock:
            try:
                frames = self.series.frames((x, y))
            except SITSIndexError:
                none = np.zeros(0)
                values = {band: none.astype(np.float32) for band in self.series.bands}
                return PixelSeries(none.astype(np.int64), values, none.astype(bool))
        sample = frames.to_sample()
        clear = sample[MASK_CLEAR][:, 0, 0].numpy()
        seen = clear if frames.observed is None else frames.observed[:, 0, 0]
        image = np.where(seen, sample[IMAGE][:, :, 0, 0].numpy().T, np.nan).astype(np.float32)
        values = dict(zip(self.series.bands, image, strict=True))
        nir, red = self.light.get('nir') or self.light.get('nir08'), self.light.get('red')
        if nir is not None and red is not None:
            with np.errstate(invalid='ignore', divide='ignore'):
                index = (values[nir] - values[red]) / (values[nir] + values[red])
            values = {'NDVI': np.where(np.isfinite(index), index, np.nan), **values}
        return PixelSeries(sample[ACQUISITION_TIMES].numpy(), values, clear)

    def sample(self, row: int, column: int, size: int) -> tuple[dict[str, Any], tuple[int, int]]:
        """Read all bands and dates of the patch around a pixel.

        Args:
            row: Its row.
            column: Its column.
            size: Side of the patch.

        Returns:
            The sample, and row and column of the pixel in it.
        """
        top = min(max(row - size // 2, 0), max(self.grid.height - size, 0))
        left = min(max(column - size // 2, 0), max(self.grid.width - size, 0))
        height, width = min(size, self.grid.height), min(size, self.grid.width)
        x, y = self._slices(Window(left, top, width, height), 1)
        with self._lock:
            return self.series.frames((x, y)).to_sample(), (row - top, column - left)

    def _find_pictures(self) -> dict[str, tuple[str, ...]]:
        """Bands of the pictures that the series has light for, then of each band alone."""
        found: dict[str, tuple[str, ...]] = {}
        for name, lights in _PICTURES.items():
            chosen = [next((self.light[n] for n in own if n in self.light), None) for own in lights]
            if None not in chosen:
                found[name] = tuple(str(band) for band in chosen)
        return found | {band: (band,) for band in self.series.bands}

    def _series_of(self, picture: str) -> TimeSeries:
        """The series with the bands of a picture alone, opened when it is first asked for."""
        bands = self.pictures[picture]
        if picture not in self._by_picture:
            whole = tuple(self.series.bands) == bands
            self._by_picture[picture] = self.series if whole else self._open_bands(bands)
        return self._by_picture[picture]

    def _range_of(
        self, picture: str, series: TimeSeries
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """2nd and 98th percentile ``(C,)`` of what is clear in the middle, over some dates."""
        if picture in self._ranges:
            return self._ranges[picture]
        values = [
            frames.to_sample()[IMAGE][0].numpy()[:, frames.clear[0]]
            for _, frames in self._middle(series)
        ]
        seen = np.concatenate([np.zeros((len(series.bands), 0)), *values], 1)
        low, high = np.percentile(seen, (2, 98), axis=1) if seen.size else np.array([[0.0], [1.0]])
        self._ranges[picture] = low, np.maximum(high, low + 1e-9)
        return self._ranges[picture]

    def _middle(self, series: TimeSeries) -> Iterator[tuple[int, Frames]]:
        """Read a window in the middle of the area on some dates, evenly spread."""
        number, side = _STRETCHED
        height, width = min(side, self.grid.height), min(side, self.grid.width)
        window = Window(
            (self.grid.width - width) // 2, (self.grid.height - height) // 2, width, height
        )
        chosen = np.linspace(0, len(self.dates) - 1, min(number, len(self.dates)))
        for date in chosen.round().astype(int).tolist():
            frames = self._frames(series, date, window, 1)
            if frames is not None:
                yield date, frames

    def _frames(self, series: TimeSeries, date: int, window: Window, scale: int) -> Frames | None:
        """Read a date of a window in pixels of *scale*; None where there is no image of it."""
        start = self.dates[date]
        span = pd.Timedelta(days=1) if series.group_by == 'day' else pd.Timedelta(0)
        x, y = self._slices(window, scale)
        try:
            if scale == 1 or isinstance(series, RasterTimeSeries):
                return series.frames((x, y, slice(start, start + span)))
            return self._thinned(series, window, scale, slice(start, start + span))
        except SITSIndexError:
            return None

    def _thinned(self, series: TimeSeries, window: Window, scale: int, span: slice) -> Frames:
        """Read every *scale*-th pixel of a store, which has no overviews, block by block."""
        step = max(_BLOCK // scale, 1) * scale
        rows = []
        for top in range(0, int(window.height), step):
            parts = []
            for left in range(0, int(window.width), step):
                height = min(step, int(window.height) - top)
                width = min(step, int(window.width) - left)
                part = Window(window.col_off + left, window.row_off + top, width, height)
                frames = series.frames((*self._slices(part, 1), span))
                parts.append(_strided(frames, scale))
            rows.append(_joined(parts, 3))
        return _joined(rows, 2)

    def _slices(self, window: Window, scale: int) -> tuple[slice, slice]:
        """Write a window as data sets read it, in pixels of *scale*.

        Edges are those of whole pixels of that scale: the last may reach beyond the raster.
        """
        grid = self.grid
        left = grid.left + window.col_off * grid.xres
        top = grid.top - window.row_off * grid.yres
        width = -(-int(window.width) // scale) * scale * grid.xres
        height = -(-int(window.height) // scale) * scale * grid.yres
        return (
            slice(left, left + width, grid.xres * scale),
            slice(top - height, top, grid.yres * scale),
        )


def _strided(frames: Frames, scale: int) -> Frames:
    """Every so many-th pixel of frames, in memory of their own."""
    every = np.s_[..., ::scale, ::scale]
    observed = None if frames.observed is None else frames.observed[every].copy()
    return Frames(
        frames.values[every].copy(), frames.clear[every].copy(), frames.times, frames.grid,
        observed=observed, offset=frames.offset, scale=frames.scale,
    )  # fmt: skip


def _joined(parts: Sequence[Frames], axis: int) -> Frames:
    """Frames side by side: along columns (3) or rows (2)."""
    first = parts[0]
    observed = None
    if first.observed is not None:
        observed = np.concatenate([p.observed for p in parts if p.observed is not None], axis - 1)
    return Frames(
        np.concatenate([part.values for part in parts], axis),
        np.concatenate([part.clear for part in parts], axis - 1),
        first.times, first.grid, observed=observed, offset=first.offset, scale=first.scale,
    )  # fmt: skip

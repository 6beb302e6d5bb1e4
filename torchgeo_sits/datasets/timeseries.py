"""A folder of dated rasters as a TorchGeo data set of image time series."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch
from geopandas import GeoDataFrame
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.crs import CRS as RasterCRS
from torchgeo.datasets import GeoDataset, IntersectionDataset, RasterDataset, UnionDataset
from torchgeo.datasets.utils import GeoSlice, Path, Sample

from ..keys import ACQUISITION_TIMES, BOUNDS, IMAGE, LENGTH, MASK_CLEAR, TRANSFORM, VALID
from .acquisitions import group_products, product_index
from .catalogue import Product, catalogue
from .clouds import CloudMasks
from .combine import LabelledTimeSeries, TimeSeriesUnion, is_labels, is_series
from .filenames import utc
from .files import list_rasters
from .footprints import common_crs, finest, meets, snapped, to_pyproj
from .frames import FrameReader
from .grid import Grid, pixel_size
from .plotting import plot_series
from .reading import RasterReader
from .scenes import Scene, scan

__all__ = ['RasterTimeSeries']


class RasterTimeSeries(RasterDataset):
    """Image time series from a folder of dated rasters.

    A sample holds one frame per acquisition, in the order of time, with its date and a mask
    of what was seen. Against ``RasterDataset(time_series=True)``: frames carry dates; tiles
    and products of one acquisition are one frame; files that only touch the window are left
    out; nodata, partial cover, the borders of a warp and clouds are told apart from zeros;
    coordinates keep float64; time windows are half-open; handles are safe under workers.

    Names, bands, layout (a file per date, or per date and band), CRS and resolution are found
    in the files. Values are left as they are stored, as float32; where nothing was observed
    they are 0. A window that is not on the pixel grid is moved onto it, by half a pixel at
    most, and the sample's ``bounds`` and ``transform`` say where it really lies.

    The samplers, splitters and operators of TorchGeo work on it: ``series & labels`` joins
    labels by place, whatever their date; ``series | other`` merges in the order of time.

    A sample holds ``image`` ``(T, C, H, W)`` float32, ``acquisition_times`` ``(T,)`` int64
    (seconds since 1970 UTC), ``valid`` ``(T,)`` bool, ``length`` ``()`` int64, ``mask_clear``
    ``(T, H, W)`` bool, ``bounds`` ``(9,)`` and ``transform`` ``(9,)`` float64; see
    :mod:`torchgeo_sits.keys`.
    """

    #: Regular expression for the names; this one means that the common names are recognised.
    filename_regex = '.*'

    #: Value that means no data in files that do not say, unless ``nodata`` is given.
    default_nodata: float | None = None

    _index: GeoDataFrame
    #: The intervals of ``_index`` when it was last held against the acquisitions.
    _checked: pd.Index | None

    def __init__(
        self,
        paths: Path | Iterable[Path] = 'data',
        crs: CRS | None = None,
        res: float | tuple[float, float] | None = None,
        bands: Sequence[str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        cache: bool = True,
        *,
        cloud_paths: Path | Iterable[Path] | None = None,
        clear_values: Sequence[int] | None = None,
        nodata: float | None = None,
        filename_regex: str | None = None,
        date_format: str | None = None,
        group_by: Literal['day', 'time'] = 'day',
        unreadable: Literal['raise', 'skip'] = 'raise',
        min_clear: float = 0.0,
    ) -> None:
        """Find the rasters and read their headers.

        Args:
            paths: Folders, searched with all they contain, or files.
            crs: Coordinate reference system to warp to; that of the first file by default.
            res: Size of a pixel in units of *crs*; the finest of the files by default.
            bands: Names of the bands to read, in this order; all by default.
            transforms: Called with each sample.
            cache: Keep files open between samples.
            cloud_paths: Folders or files of masks with the same dates as the images.
            clear_values: Values of these masks that mean clear; required with *cloud_paths*.
            nodata: Value that means no data, in place of what the files say.
            filename_regex: Only for names that are not recognised: a regular expression with
                the groups ``date`` (or ``start`` and ``stop``) and, for a file per band,
                ``band``.
            date_format: Format of these groups; ``'%Y%m%d'`` by default.
            group_by: What makes files one acquisition: the same UTC day, or the same time
                (for several passes a day).
            unreadable: What to do about files that cannot be read: fail, or leave them out
                with one warning (in the middle of a file: leave its pixels unobserved).
            min_clear: Frames with a smaller share of clear pixels are left out of a sample;
                0 keeps all, the empty ones too. Where no frame is clear enough the clearest
                is kept.

        Raises:
            DatasetNotFoundError: If a folder is missing or holds no rasters.
            ValueError: If names hold no date, files differ in their bands, a band is unknown,
                no mask fits, or an option is out of range.
            OSError: If a file cannot be opened and *unreadable* is ``'raise'``.
        """
        if group_by not in ('day', 'time'):
            raise ValueError(f"group_by must be 'day' or 'time', got {group_by!r}")
        if unreadable not in ('raise', 'skip'):
            raise ValueError(f"unreadable must be 'raise' or 'skip', got {unreadable!r}")
        if not 0 <= min_clear <= 1:
            raise ValueError(f'min_clear must be a share from 0 to 1, got {min_clear}')
        if cloud_paths is not None and not clear_values:
            raise ValueError(
                'cloud_paths needs clear_values: the values in these masks that mean clear, '
                f'for instance (2, 4, 5, 6, 7) in Sentinel-2 SCL; got {clear_values!r}'
            )
        if clear_values and cloud_paths is None:
            raise ValueError(
                f'clear_values={list(clear_values)} needs cloud_paths: the folder of the masks '
                'that hold these values'
            )
        self.paths = paths
        self.transforms = transforms
        self.cache = cache
        self.time_series = True
        self.group_by = group_by
        self.unreadable = unreadable
        self.min_clear = min_clear
        self.nodata = self.nodata if nodata is None else nodata
        self.filename_regex = filename_regex or self.filename_regex
        self.date_format = date_format or self.date_format
        self._crs_made: tuple[CRS, RasterCRS] | None = None

        masks = [] if cloud_paths is None else list_rasters(cloud_paths, option='cloud_paths')
        images = [path for path in self.files if path not in set(masks)]
        found = catalogue(
            self._scan(images),
            bands=None if bands is None else [self._band_name(band) for band in bands],
            unreadable=unreadable,
            band_name=self._band_name,
            default_names=self._default_names,
            default_bands=self._default_bands,
        )
        products, self.all_bands, self.bands = found
        self._products = {product.scenes[0].path: product for product in products}
        scenes = [scene for product in products for scene in product.scenes]
        target = common_crs(scenes, crs)
        self._res = finest(scenes, target) if res is None else pixel_size(res)
        self.index = product_index(
            products,
            group_by=group_by,
            target=target,
            crs=to_pyproj(target) if crs is None else CRS.from_user_input(crs),
        )
        self._frames = FrameReader(
            self.bands,
            RasterReader(nodata=self.nodata, default_nodata=self.default_nodata, cache=cache),
            clouds=self._cloud_masks(masks, clear_values),
            calibrate=self._calibrate,
            unreadable=unreadable,
        )

    def _scan(self, files: Sequence[str]) -> list[Scene]:
        """Names and headers of *files*."""
        if not files:
            raise ValueError(
                f'cloud_paths holds all rasters of paths={self.paths!r}: give the '
                'folder of the images as paths'
            )
        return scan(
            files,
            unreadable=self.unreadable,
            filename_regex=None if self.filename_regex == '.*' else self.filename_regex,
            date_format=self.date_format,
        )

    def _cloud_masks(
        self, files: Sequence[str], clear_values: Sequence[int] | None
    ) -> CloudMasks | None:
        """Match masks to the acquisitions."""
        if not files:
            return None
        try:
            scenes = self._scan(files)
        except ValueError:  # a regular expression for the images need not fit the masks
            scenes = scan(files, unreadable=self.unreadable)
        return CloudMasks(
            scenes,
            [product.name.time for product in self._products.values()],
            self._index,
            group_by=self.group_by,
            clear_values=clear_values or (),
            cache=self.cache,
        )

    @property
    def files(self) -> list[str]:
        """All rasters under ``paths`` whose names fit ``filename_glob``, sorted."""
        return list_rasters(self.paths, self.filename_glob)

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
            times = pd.DatetimeIndex([self._products[path].name.time for path in frame.filepath])
            holds = (frame.index.left <= times) & (times <= frame.index.right)
            self._index = frame if holds.all() else frame[holds]
            self._checked = self._index.index
        return self._index

    @index.setter
    def index(self, index: GeoDataFrame) -> None:
        self._index = index
        self._checked = None

    def _raster_crs(self) -> RasterCRS:
        """The CRS as rasterio holds it, made anew only when it was set to another."""
        crs = self._index.crs
        if self._crs_made is None or self._crs_made[0] is not crs:
            self._crs_made = (crs, RasterCRS.from_user_input(crs))
        return self._crs_made[1]

    def _band_name(self, name: str) -> str:
        """Spelling of a band found in a file; subclasses know their sensor."""
        return name

    def _default_names(self, count: int) -> tuple[str, ...]:
        """Names of so many bands that the files do not name."""
        own = type(self).all_bands
        return own if len(own) == count else tuple(f'B{i + 1}' for i in range(count))

    def _default_bands(self, all_bands: tuple[str, ...]) -> tuple[str, ...]:
        """Bands to read where the user names none."""
        return all_bands

    def _calibrate(self, image: NDArray[np.float32], path: str) -> None:
        """Turn the stored values ``(C, H, W)`` of a file into those of a sample, in place."""

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
            OSError: If a file cannot be read and ``unreadable`` is ``'raise'``.
        """
        x, y, t = self._disambiguate_slice(index)
        start, stop = utc(t.start), utc(t.stop)
        width, height = round((x.stop - x.start) / x.step), round((y.stop - y.start) / y.step)
        if width < 1 or height < 1:
            raise ValueError(f'the window x={x}, y={y} is less than a pixel of {x.step} x {y.step}')
        grid = Grid(x.start, y.stop, x.step, y.step, width, height, self._raster_crs())
        acquisitions = self._acquisitions(grid, start, stop)[:: t.step or 1]
        if not acquisitions:
            raise IndexError(
                f'no acquisition in the window x={x}, y={y}, t={t}: the data set spans '
                f'{self.bounds}'
            )
        grid = snapped(grid, [scene for a in acquisitions for p in a for scene in p.scenes])
        image, clear = self._frames.read(acquisitions, grid)
        firsts = [min(product.name.time for product in a) for a in acquisitions]
        times = np.array([int(first.timestamp()) for first in firsts], np.int64)

        if self.min_clear > 0:
            shares = clear.mean(axis=(1, 2))
            kept = np.flatnonzero(shares >= self.min_clear)
            kept = kept if len(kept) else shares.argmax(keepdims=True)
            image, clear, times = image[kept], clear[kept], times[kept]

        left, bottom, right, top = grid.bounds
        if (grid.left, grid.top) == (x.start, y.stop):
            right, bottom = x.stop, y.start  # exactly as asked for
        place = [left, right, x.step, bottom, top, y.step]
        span = [start.timestamp(), stop.timestamp(), float(t.step or 1)]
        sample: Sample = {
            IMAGE: torch.from_numpy(image),
            ACQUISITION_TIMES: torch.from_numpy(times),
            VALID: torch.ones(len(times), dtype=torch.bool),
            LENGTH: torch.tensor(len(times)),
            MASK_CLEAR: torch.from_numpy(clear),
            BOUNDS: torch.tensor(place + span, dtype=torch.float64),
            TRANSFORM: torch.tensor(tuple(grid.transform), dtype=torch.float64),
        }
        return sample if self.transforms is None else self.transforms(sample)

    def _acquisitions(
        self, grid: Grid, start: pd.Timestamp, stop: pd.Timestamp
    ) -> list[list[Product]]:
        """Products of each acquisition in a window, in the order of time and then of name."""
        index = self.index
        intervals = index.index
        near = (intervals.left <= stop) & (intervals.right >= start)
        near &= meets(index.geometry, grid)
        paths = dict.fromkeys(index['filepath'].to_numpy()[near])  # a splitter may repeat rows
        products = [self._products[path] for path in paths]
        if start < stop:
            # An instant stands for all that it may mean; a span ends before its end.
            products = [p for p in products if start <= p.name.time < stop]
        return group_products(products, self.group_by)

    def close(self) -> None:
        """Close all open files; the next sample opens what it needs."""
        self._frames.close()

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

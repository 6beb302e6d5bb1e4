"""A folder of dated rasters as a TorchGeo data set of image time series."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Literal

import numpy as np
import pandas as pd
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from torchgeo.datasets import RasterDataset
from torchgeo.datasets.utils import Path, Sample

from ..errors import SITSError
from ..grid import Grid, pixel_size
from .catalogue import (
    Product,
    catalogue,
    common_crs,
    finest,
    product_index,
    rank_products,
    to_pyproj,
)
from .clouds import CloudMasks
from .files import RasterFile, find_rasters, list_examples, list_rasters, scan
from .formats import is_on_server
from .frames import LARGEST, Frames
from .quality import QUALITY_LAYERS, ClearRule, Mask, QualityLayer, QualityNames
from .reading import RasterReader
from .rivals import later_first
from .series import TimeSeries
from .threads import ReadingThreads

__all__ = ['RasterTimeSeries']


#: Bands that are read unasked at most; imaging spectrometers have some hundreds.
_MOST_BANDS = 2048


class RasterTimeSeries(TimeSeries, RasterDataset):
    """Image time series from a folder of dated rasters.

    A sample holds one frame per acquisition, in the order of time, with its date and a mask
    of what was seen. Against ``RasterDataset(time_series=True)``: frames carry dates; tiles
    and products of one acquisition are one frame; files that only touch the window are left
    out; nodata, partial cover, the borders of a warp and clouds are told apart from zeros;
    coordinates keep float64; time windows are half-open; handles are safe under workers.

    Names, bands, layout (a file per date, or per date and band), CRS and resolution are found
    in the files. Pixels are ``(stored + offset) x scale`` as float32, by default as they are
    stored; where nothing was observed they are 0. A window that is not on the pixel grid is
    moved onto it, by half a pixel at most, and the sample's ``bounds`` and ``transform`` say
    where it really lies.

    The samplers, splitters and operators of TorchGeo work on it: ``series & labels`` joins
    labels by place, whatever their date; ``series | other`` merges in the order of time.

    Files that are replaced, truncated or deleted while a series is open give the right pixels
    or an error that names them, never others.

    **Subclasses** tell of a sensor by any of these; :class:`LandsatTimeSeries` is an example:

    ==============================  ===========================================================
    ``filename_glob``               names of the files that are images
    ``filename_regex``              names that are not recognised, with ``date_format``
    ``default_nodata``              no data in files that do not say
    ``scale``, ``offset``           from what is stored to physical values
    ``offset_of(path)``             the offset of each file, where they differ
    ``quality_band``                layer among the files that tells what is clear
    ``clear_values``                its values that mean clear, where they are not known, or
    ``clear(quality)``              any other rule, for instance for bits
    ``band_name(name)``             one spelling of bands
    ``default_band_names(count)``   bands of files that do not name them
    ``default_bands(all_bands)``    bands to read unless ``bands`` is given
    ==============================  ===========================================================

    A subclass with options of its own takes ``*args`` and ``**kwargs`` too and hands them on.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> clouds = {'cloud_paths': files.clouds, 'clear_values': [4, 5, 6]}
        >>> series = RasterTimeSeries(files.images, **clouds)
        >>> sample = series[series.bounds]
        >>> sample['image'].shape
        torch.Size([4, 10, 32, 32])
        >>> sample['mask_clear'].float().mean((1, 2)).round(decimals=2)
        tensor([1.0000, 0.1800, 0.0700, 0.4500])
    """

    #: Regular expression for the names; this one means that the common names are recognised.
    filename_regex = '.*'

    #: Value that means no data in files that do not say, unless ``nodata`` is given.
    default_nodata: float | None = None

    bands: tuple[str, ...]

    #: Factor on the stored values, after *offset* was added.
    scale: float = 1.0

    #: Added to the stored values, see :meth:`offset_of`.
    offset: float = 0.0

    #: Layer of each product that tells what is clear, as its file name says it, such as 'SCL'. It
    #: counts before other layers of quality among *paths*.
    quality_band: str | None = None

    #: Values of the masks that mean clear, unless ``clear_values`` is given.
    clear_values: tuple[int, ...] | None = None

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
        quality: str | None = None,
        cloud_bits: Sequence[int] | None = None,
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
            bands: Names of the bands to read, in this order; all by default. Common names of
                light such as ``red`` find the bands of each sensor that hold it, see
                :mod:`torchgeo_sits.bands`.
            transforms: Called with each sample.
            cache: Keep files open between samples.
            cloud_paths: Folders or files of masks with the same dates as the images; of a folder
                that holds both, those whose names tell of a layer of quality. By default such
                files among *paths*, or bands of that name in the images.
            clear_values: Values of these masks that mean clear, whatever a mask declares to be no
                data. By default what :data:`~torchgeo_sits.datasets.quality.QUALITY_LAYERS` says
                of the layer; required for layers that it does not know.
            quality: Name of the layer of quality: SCL, QA_PIXEL, pixel_qa, BQA, Fmask, oa_fmask,
                UDM2, UDM, pixel_reliability, VI_Quality, QA60 or CLM, or any other with
                *clear_values* or *cloud_bits*. By default that which names of files or bands tell.
            cloud_bits: Bits of the masks, from 0, that make a pixel not clear, in place of
                *clear_values*.
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
            SITSError: If names hold no date, files differ in their bands, a band is unknown,
                no mask fits, or an option is out of range.
            OSError: If a file cannot be opened and *unreadable* is ``'raise'``.
        """
        super().__init__(paths, transforms, group_by=group_by, min_clear=min_clear)
        if unreadable not in ('raise', 'skip'):
            raise SITSError(f"unreadable must be 'raise' or 'skip', got {unreadable!r}")
        self.cache = cache
        self.time_series = True
        self.unreadable = unreadable
        self.nodata = self.nodata if nodata is None else nodata
        self.filename_regex = filename_regex or self.filename_regex
        self.date_format = date_format or self.date_format
        if clear_values is not None:
            self.clear_values = tuple(clear_values)

        layers = QualityNames(quality, self.quality_band)
        masks, images = self._mask_files(cloud_paths, layers, bands or ())
        rasters, inside = layers.take_out(self._scan(images), bands or ())
        spelt = None if bands is None else [self.band_name(band) for band in bands]
        products, self.all_bands, self.bands = self._find_products(rasters, spelt)
        if bands is None and len(self.bands) > _MOST_BANDS:
            raise SITSError(
                f"'{products[0].rasters[0].path}' holds {len(self.bands)} bands, more than "
                f'{_MOST_BANDS}, which are not read unasked: name those to read as `bands`, such '
                f'as {list(self.bands[:3])}'
            )
        rasters = [raster for product in products for raster in product.rasters]
        target = common_crs(rasters, crs)
        self._res = finest(rasters, target) if res is None else pixel_size(res)
        index = product_index(
            products,
            group_by=group_by,
            target=target,
            crs=to_pyproj(target) if crs is None else CRS.from_user_input(crs),
        )
        products = rank_products(products, index, group_by=group_by)
        self._products = {product.key: product for product in products}
        self.index = index
        self._mosaics = _MosaicReader(
            self.bands,
            RasterReader(nodata=self.nodata, default_nodata=self.default_nodata, cache=cache),
            clouds=self._cloud_masks(
                masks, [] if masks else inside, layers, clear_values, cloud_bits, cloud_paths
            ),
            dtype=np.result_type(*{dtype for raster in rasters for dtype in raster.dtypes}),
            offset=self.offset_of,
            unreadable=unreadable,
        )

    def offset_of(self, path: str) -> float:
        """Tell what is to be added to the stored values of a file before they are scaled.

        Args:
            path: First file of a product.

        Returns:
            :attr:`offset`, unless a subclass reads another one off the name.
        """
        return self.offset

    def clear(self, quality: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which pixels a mask of clouds calls clear.

        Not asked where ``clear_values`` is given.

        Args:
            quality: ``(H, W)``, the first band of a mask as it is stored.

        Returns:
            ``(H, W)`` bool: where it is one of :attr:`clear_values`, unless a subclass decodes
            bits. What the mask calls no data counts as not clear either way.
        """
        return np.isin(quality, self.clear_values or ())

    def band_name(self, name: str) -> str:
        """Spell a band that was found in a file or its name, or asked for, in one way.

        Args:
            name: As it was found.

        Returns:
            The same, unless a subclass knows better.
        """
        return name

    def default_band_names(self, count: int) -> tuple[str, ...]:
        """Name the bands of files that do not.

        Args:
            count: Number of bands in each file.

        Returns:
            So many names: ``all_bands`` of the class if they are as many, else B1, B2, ...
        """
        own = type(self).all_bands
        return own if len(own) == count else tuple(f'B{i + 1}' for i in range(count))

    def default_bands(self, all_bands: tuple[str, ...]) -> tuple[str, ...]:
        """Choose the bands to read where the user names none.

        Args:
            all_bands: All bands in the files but masks.

        Returns:
            Some of them, here all.
        """
        return all_bands

    def _mask_files(
        self,
        cloud_paths: Path | Iterable[Path] | None,
        layers: QualityNames,
        bands: Sequence[str],
    ) -> tuple[dict[str, QualityLayer | None], list[str]]:
        """List the files of masks, with the layer that their names tell of, and of images."""
        files = find_rasters(self.paths, self.filename_glob)
        files.warn_of_others()
        own = files.rasters if self.filename_glob == '*' else list_rasters(self.paths)
        named = layers.of_files(own)
        if len(named) == len(own):
            named = {}  # a folder of masks only is a series of masks
        masks: dict[str, QualityLayer | None] = dict(layers.chosen(named))
        if cloud_paths is not None:
            given = find_rasters(cloud_paths, option='cloud_paths')
            given.warn_of_others('cloud_paths')
            carriers = layers.of_files(given.rasters)
            others = set(own) - set(given.rasters)
            if carriers and (others or len(carriers) < len(given.rasters)):
                masks = dict(layers.chosen(carriers))
            else:
                # No name tells: all of them, or bands of the images, where there is nothing else.
                masks = dict.fromkeys(given.rasters, layers.asked) if others else {}
        asked = [layer for path, layer in named.items() if any(map(layer.is_named_in, bands))]
        hidden = {path for path, layer in named.items() if layer not in asked}
        hidden |= {path for path in masks if path not in named}
        return masks, [path for path in files.rasters if path not in hidden]

    def _scan(self, files: Sequence[str]) -> list[RasterFile]:
        """Read names and headers of *files*."""
        return scan(
            files,
            unreadable=self.unreadable,
            filename_regex=None if self.filename_regex == '.*' else self.filename_regex,
            date_format=self.date_format,
        )

    def _find_products(
        self, rasters: Sequence[RasterFile], bands: Sequence[str] | None
    ) -> tuple[list[Product], tuple[str, ...], tuple[str, ...]]:
        """Group files to products; all bands found, and those to read."""
        return catalogue(
            rasters,
            bands=bands,
            unreadable=self.unreadable,
            band_name=self.band_name,
            default_band_names=self.default_band_names,
            default_bands=self.default_bands,
        )

    def _cloud_masks(
        self,
        files: dict[str, QualityLayer | None],
        inside: Sequence[Mask],
        layers: QualityNames,
        clear_values: Sequence[int] | None,
        cloud_bits: Sequence[int] | None,
        cloud_paths: Path | Iterable[Path] | None,
    ) -> CloudMasks | None:
        """Match masks to the acquisitions, and refuse options that do not go together."""
        if clear_values and cloud_bits:
            raise SITSError(
                f'clear_values={list(clear_values)} and cloud_bits={list(cloud_bits)} both say '
                'what is clear: give one of them'
            )
        masks = list(inside)
        if files:
            try:
                rasters = self._scan(list(files))
            except ValueError:  # a regular expression for the images need not fit the masks
                rasters = scan(list(files), unreadable=self.unreadable)
            masks = [layers.mask(raster, files[raster.path]) for raster in later_first(rasters)]
        if cloud_paths is not None and not masks:
            raise SITSError(
                f'cloud_paths holds all rasters of paths={self.paths!r}, and no name of a file or '
                'a band tells the masks from the images: give the folder of the images as paths'
            )
        asked = {
            'clear_values': clear_values,
            'cloud_bits': cloud_bits,
            'quality': layers.asked and layers.asked.name,
        }
        for option, value in asked.items():
            if value and not masks:
                raise SITSError(
                    f'{option}={value!r} needs cloud_paths: the folder of the masks, or masks '
                    'among the images whose files or bands have the name of a layer of quality '
                    f'({", ".join(QUALITY_LAYERS)}, or that given as `quality`)'
                )
        if not masks:
            return None
        given = ClearRule(tuple(clear_values)) if clear_values else None
        given = ClearRule.of_bits(cloud_bits) if cloud_bits is not None else given
        return CloudMasks(
            [mask.raster for mask in masks],
            [product.name.time for product in self._products.values()],
            self._index,
            group_by=self.group_by,
            clear=[given or self._rule(mask, layers) for mask in masks],
            kept=clear_values or (),
            cache=self.cache,
        )

    def _rule(
        self, mask: Mask, layers: QualityNames
    ) -> Callable[[NDArray[Any]], NDArray[np.bool_]]:
        """Find what tells which pixels of a mask are clear, where the user does not."""
        decodes = type(self).clear is not RasterTimeSeries.clear or self.clear_values
        if decodes and (mask.layer is None or layers.own in (None, mask.layer)):
            return self.clear
        if mask.layer is not None and mask.layer.rule != ClearRule():
            return mask.layer.rule
        named = f' (layer {mask.layer.name})' if mask.layer is not None else ''
        raise SITSError(
            f"'{mask.raster.path}'{named} needs clear_values or cloud_bits: the values in such "
            'masks that mean clear, for instance (2, 4, 5, 6, 7) in Sentinel-2 SCL, or the bits '
            'that mean not clear; or the name of a layer that is known as quality: '
            f'{", ".join(QUALITY_LAYERS)}'
        )

    @property
    def files(self) -> list[str]:
        """Rasters under ``paths`` whose names fit ``filename_glob``, sorted."""
        return list_rasters(self.paths, self.filename_glob)

    @property
    def source_files(self) -> list[str]:
        """Files that frames are read from, without those of cloud masks."""
        products = (self._products[key] for key in dict.fromkeys(self.index.filepath))
        paths = (raster.path for product in products for raster in product.rasters)
        return list(dict.fromkeys(paths))  # a file of many dates once

    @property
    def cloud_files(self) -> list[str]:
        """Files of cloud masks."""
        return [] if self._mosaics.clouds is None else self._mosaics.clouds.files

    @property
    def clear_rules(self) -> list[int | str]:
        """What tells which pixels of masks are clear: values, or bits in words."""
        rules = [] if self._mosaics.clouds is None else self._mosaics.clouds.rules
        told: dict[int | str, None] = {}
        for rule in dict.fromkeys(rules):
            by_bits = isinstance(rule, ClearRule) and rule.values is None
            values = rule.values if isinstance(rule, ClearRule) else self.clear_values
            told |= dict.fromkeys([str(rule)] if by_bits else map(int, values or ()))
        return list(told)

    @property
    def has_clouds(self) -> bool:
        """Whether there are masks of clouds."""
        return bool(self.cloud_files)

    def pixel_options(self) -> dict[str, Any]:
        """List options that change pixels, in plain values, by which a cube knows its source."""
        nodata = (self.nodata, self.default_nodata)
        return {
            'nodata': [repr(None if value is None else float(value)) for value in nodata],
            'clear_values': self.clear_rules,
            'unreadable': self.unreadable,
        }

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type that holds the stored pixels of all frames with their offsets added."""
        dtype = self._mosaics.dtype
        offsets = {
            self.offset_of(self._products[key].rasters[0].path)
            for key in dict.fromkeys(self.index.filepath)
        }
        if not any(offsets):
            return dtype
        small = np.issubdtype(dtype, np.integer) and dtype.itemsize <= 2
        if small and all(float(offset).is_integer() for offset in offsets):
            return np.dtype(np.int32)
        return np.dtype(np.float32)  # that of samples, to which offsets are added in it

    @property
    def block_grid(self) -> Grid:
        """First block of the first file in the CRS of the samples: the pixels decoded at once."""
        rasters = (p.rasters[0] for p in self._products.values())
        crs = self._by_place.crs
        raster = next((raster for raster in rasters if raster.crs == crs), None)
        if raster is None:  # all are warped, so that no block of pixels is any file's own
            xmin, _, _, ymax = self.index.total_bounds
            return Grid(xmin, ymax, *self.res, 256, 256, crs)
        (rows, columns), (xres, yres) = raster.block, raster.res
        size = round(columns * xres / self.res[0]), round(rows * yres / self.res[1])
        return Grid(raster.bounds[0], raster.bounds[3], *self.res, *size, crs)

    def instants(self, index: GeoDataFrame) -> pd.DatetimeIndex:
        """Look up when the products of an index were acquired."""
        return pd.DatetimeIndex([self._products[key].name.time for key in index.filepath])

    def read_frames(self, acquisitions: Sequence[NDArray[np.intp]], grid: Grid) -> Frames:
        """Read the frames of some rows, one for each acquisition."""
        keys = self.index['filepath'].to_numpy()
        # Products in the order of their names, but superseded ones last; a splitter may repeat
        # rows.
        found = [
            sorted((self._products[key] for key in sorted({*keys[a]})), key=attrgetter('rank'))
            for a in acquisitions
        ]
        for raster in (raster for own in found for product in own for raster in product.rasters):
            if raster.crs == grid.crs:
                own_pixels = from_origin(raster.bounds[0], raster.bounds[3], *raster.res)
                snapped = grid.snapped(own_pixels)
                if snapped is not None:
                    grid = snapped[0]
                    break
        return replace(self._mosaics.read(found, grid), scale=self.scale)

    def close(self) -> None:
        """Close all open files; the next sample opens what it needs."""
        self._by_place.blocks.clear()
        self._mosaics.close()


#: Of files that were read before: their observed pixels, or why they cannot be read.
type _Fetched = dict[str, NDArray[np.bool_] | OSError]


class _MosaicReader:
    """Reader of acquisitions, several at once, each to one frame.

    Args:
        bands: Names of the channels, in their order.
        reader: Reads the files.
        clouds: Masks of clouds, if there are any.
        dtype: Type that holds what any of the files stores.
        offset: What is to be added to the pixels of a product, by the path of its first file.
        unreadable: What to do about a file that breaks off: fail, or leave its pixels
            unobserved and say so once.
    """

    def __init__(
        self,
        bands: Sequence[str],
        reader: RasterReader,
        *,
        clouds: CloudMasks | None,
        dtype: np.dtype[Any],
        offset: Callable[[str], float],
        unreadable: Literal['raise', 'skip'],
    ) -> None:
        self.bands = tuple(bands)
        self.reader = reader
        self.clouds = clouds
        self.dtype = dtype
        self.offset = offset
        self.unreadable = unreadable
        #: Files that could not be read so far, and were left out.
        self.skipped: set[str] = set()
        #: Files with values that are too large, which were reported.
        self._told_large: set[str] = set()
        self._threads = ReadingThreads()

    def close(self) -> None:
        """Close all open files; reading again opens what it needs."""
        self._threads.close()
        self.reader.close()
        if self.clouds is not None:
            self.clouds.close()

    def read(self, acquisitions: Sequence[Sequence[Product]], grid: Grid) -> Frames:
        """Read frames.

        Args:
            acquisitions: The products of T acquisitions. Where two of one acquisition cover a
                pixel, the first that observed it counts.
            grid: Pixels wanted.

        Returns:
            The frames, with a factor of 1.

        Raises:
            OSError: If a file cannot be read, unless it is to be skipped.
        """
        shape = (len(acquisitions), grid.height, grid.width)
        offsets = [[self.offset(p.rasters[0].path) for p in a] for a in acquisitions]
        mixed = any(len(set(own)) > 1 for own in offsets)
        # One frame of products with different offsets: only once added they are the same.
        dtype = np.result_type(self.dtype, np.float32) if mixed else self.dtype
        values = np.empty((shape[0], len(self.bands), *shape[1:]), dtype)
        observed = np.zeros(shape, bool)
        clear = np.zeros(shape, bool) if self.clouds is not None else observed
        self.reader.reserve(sum(len(p.rasters) for a in acquisitions for p in a))
        near: set[int] = set()
        if self.clouds is not None:
            near = self.clouds.within(grid)
            self.clouds.reserve(len(near))
        broken: list[str] = []
        on_servers, fetched = self._fetch(acquisitions, values, grid)
        times = [min(product.name.time for product in own) for own in acquisitions]

        def frame(i: int) -> None:
            own = acquisitions[i], offsets[i], fetched[i]
            self._mosaic(values[i], observed[i], *own, grid, broken)
            if self.clouds is not None:
                clear[i] = observed[i]
                self._leave_out_clouds(clear[i], times[i], grid, near, broken)

        self._threads.map(frame, len(acquisitions), waits=on_servers)
        if broken:
            self._report(broken)
        if len(self._told_large) < len(self.reader.too_large):
            self._report_too_large()
        first = np.array([own[0] for own in offsets], np.float32)
        return Frames(
            values,
            clear,
            np.array([int(time.timestamp()) for time in times], np.int64),
            grid,
            observed=observed,
            offset=first if first.any() else None,
        )

    def _mosaic(
        self,
        values: NDArray[Any],
        observed: NDArray[np.bool_],
        products: Sequence[Product],
        offsets: Sequence[float],
        fetched: _Fetched,
        grid: Grid,
        broken: list[str],
    ) -> None:
        """Fill a frame ``(C, H, W)`` and what of it is *observed* ``(H, W)``, in place."""
        for product, offset in zip(products, offsets, strict=True):
            fresh = not observed.any()
            data = values if fresh else np.empty_like(values)
            try:
                seen = self._read(product, grid, data, fetched if product is products[0] else {})
            except OSError:
                if self.unreadable == 'raise':
                    raise
                broken.append(product.rasters[0].path)
                continue
            if offset != offsets[0]:
                data += offset - offsets[0]  # what the frame says is that of the first
            if not fresh:
                np.copyto(values, data, where=seen & ~observed)
            observed |= seen
            if observed.all():
                return
        values[:, ~observed] = 0

    def _fetch(
        self, acquisitions: Sequence[Sequence[Product]], values: NDArray[Any], grid: Grid
    ) -> tuple[bool, list[_Fetched]]:
        """Read what lies on servers of the first product of each frame, all files at once.

        A server takes its time for each file, however little of it is read, and frames of a file
        for each band would ask for these one after the other.

        Returns:
            Whether any file lies on a server; and for each frame what was read into *values*.
        """
        fetched: list[_Fetched] = [{} for _ in acquisitions]
        files = [
            (i, *file)
            for i, own in enumerate(acquisitions)
            for file in self._files(own[0])
            if is_on_server(file[0].path)
        ]

        def fetch(number: int) -> None:
            i, raster, channels, indexes = files[number]
            found: NDArray[np.bool_] | OSError
            try:
                found = self._read_file(raster, channels, indexes, grid, values[i])
            except OSError as error:  # for whoever comes to this file
                found = error
            fetched[i][raster.path] = found

        self._threads.map(fetch, len(files), waits=True)
        return bool(files), fetched

    def _read(
        self, product: Product, grid: Grid, out: NDArray[Any], fetched: _Fetched
    ) -> NDArray[np.bool_]:
        """Read a product ``(C, H, W)``; its pixels of which all bands were observed, ``(H, W)``."""
        seen = np.ones(out.shape[1:], bool)
        for raster, channels, indexes in self._files(product):
            valid = fetched.get(raster.path)
            if valid is None:
                valid = self._read_file(raster, channels, indexes, grid, out)
            if isinstance(valid, OSError):
                raise valid
            seen &= valid
            if not seen.any():
                break
        return seen

    def _read_file(
        self,
        raster: RasterFile,
        channels: list[int],
        indexes: list[int],
        grid: Grid,
        out: NDArray[Any],
    ) -> NDArray[np.bool_]:
        """Read some channels of *out* ``(C, H, W)``; their observed pixels, ``(H, W)``."""
        # A slice of the frame is read into as it is, a choice of channels by a copy.
        first, last = channels[0], channels[-1] + 1
        direct = channels == list(range(first, last))
        values, valid = self.reader.read(
            raster,
            indexes,
            grid,
            resampling=Resampling.bilinear,
            out=out[first:last] if direct else None,
        )
        if not direct:
            out[channels] = values
        return valid

    def _files(self, product: Product) -> list[tuple[RasterFile, list[int], list[int]]]:
        """List the files of a product with the channels they fill and their bands' numbers."""
        found: dict[str, tuple[RasterFile, list[int], list[int]]] = {}
        rasters = {raster.path: raster for raster in product.rasters}
        for channel, band in enumerate(self.bands):
            path, index = product.sources[band]
            _, channels, indexes = found.setdefault(path, (rasters[path], [], []))
            channels.append(channel)
            indexes.append(index)
        return list(found.values())

    def _leave_out_clouds(
        self,
        clear: NDArray[np.bool_],
        time: Any,
        grid: Grid,
        near: set[int],
        broken: list[str],
    ) -> None:
        """Take what the mask of an acquisition calls cloudy out of *clear*, in place."""
        if self.clouds is None or not clear.any():
            return
        try:
            mask = self.clouds.read(time, grid, near)
        except OSError:
            if self.unreadable == 'raise':
                raise
            broken.append(f'cloud mask of {time}')
            clear[:] = False
            return
        if mask is not None:
            clear &= mask

    def _report_too_large(self) -> None:
        """Warn of files with values that are too large, which were not reported before."""
        new = sorted(set(self.reader.too_large) - self._told_large)
        self._told_large.update(new)
        found = [self.reader.too_large[path] for path in new]
        if found:
            warnings.warn(
                f'{sum(number for number, _ in found)} pixels of {len(new)} rasters hold values '
                f'beyond {LARGEST:g}, such as {found[0][1]:g}, and count as unobserved, there and '
                f'wherever such values are: {list_examples(new)}. No sensor measures them: give '
                'as `nodata` what means no data, or look at what wrote the files',
                UserWarning,
                stacklevel=4,
            )

    def _report(self, broken: Sequence[str]) -> None:
        """Warn of files that were not reported before."""
        new = sorted(set(broken) - self.skipped)
        self.skipped.update(new)
        if new:
            warnings.warn(
                f'{len(new)} rasters cannot be read and count as unobserved: {list_examples(new)}',
                UserWarning,
                stacklevel=4,
            )

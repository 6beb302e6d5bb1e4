"""A folder of dated rasters as a TorchGeo data set of image time series."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS
from torchgeo.datasets import RasterDataset
from torchgeo.datasets.utils import Path, Sample

from ..errors import SITSError
from ..grid import Grid, pixel_size
from .catalogue import catalogue, group_products, product_index
from .clouds import CloudMasks
from .frames import Frames
from .mosaics import MosaicReader
from .reading import RasterReader
from .scenes import Scene, common_crs, finest, list_rasters, scan, snapped, to_pyproj
from .series import TimeSeries

__all__ = ['RasterTimeSeries']


class RasterTimeSeries(TimeSeries, RasterDataset):
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

    Files that are replaced, truncated or deleted while a series is open give the right pixels
    or an error that names them, never others.
    """

    #: Regular expression for the names; this one means that the common names are recognised.
    filename_regex = '.*'

    #: Value that means no data in files that do not say, unless ``nodata`` is given.
    default_nodata: float | None = None

    bands: tuple[str, ...]

    #: Factor on the stored values.
    scale: float = 1.0

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
            SITSError: If names hold no date, files differ in their bands, a band is unknown,
                no mask fits, or an option is out of range.
            OSError: If a file cannot be opened and *unreadable* is ``'raise'``.
        """
        if group_by not in ('day', 'time'):
            raise SITSError(f"group_by must be 'day' or 'time', got {group_by!r}")
        if unreadable not in ('raise', 'skip'):
            raise SITSError(f"unreadable must be 'raise' or 'skip', got {unreadable!r}")
        if not 0 <= min_clear <= 1:
            raise SITSError(f'min_clear must be a share from 0 to 1, got {min_clear}')
        if cloud_paths is not None and not clear_values:
            raise SITSError(
                'cloud_paths needs clear_values: the values in these masks that mean clear, '
                f'for instance (2, 4, 5, 6, 7) in Sentinel-2 SCL; got {clear_values!r}'
            )
        if clear_values and cloud_paths is None:
            raise SITSError(
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

        masks = [] if cloud_paths is None else list_rasters(cloud_paths, option='cloud_paths')
        hidden = set(masks)
        images = [path for path in self.files if path not in hidden]
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
        self._mosaics = MosaicReader(
            self.bands,
            RasterReader(nodata=self.nodata, default_nodata=self.default_nodata, cache=cache),
            clouds=self._cloud_masks(masks, clear_values),
            dtype=np.result_type(*{dtype for scene in scenes for dtype in scene.dtypes}),
            offset=self._offset,
            unreadable=unreadable,
        )

    def _scan(self, files: Sequence[str]) -> list[Scene]:
        """Names and headers of *files*."""
        if not files:
            raise SITSError(
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
    def source_files(self) -> list[str]:
        """The files that frames are read from, those of cloud masks apart."""
        products = (self._products[path] for path in dict.fromkeys(self.index.filepath))
        return [scene.path for product in products for scene in product.scenes]

    @property
    def cloud_files(self) -> list[str]:
        """The files of cloud masks."""
        return [] if self._mosaics.clouds is None else self._mosaics.clouds.files

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type that holds the stored pixels of all frames with their offsets added."""
        dtype = self._mosaics.dtype
        offsets = {self._offset(path) for path in dict.fromkeys(self.index.filepath)}
        if not any(offsets):
            return dtype
        small = np.issubdtype(dtype, np.integer) and dtype.itemsize <= 2
        if small and all(float(offset).is_integer() for offset in offsets):
            return np.dtype(np.int32)
        return np.dtype(np.float32)  # that of samples, to which offsets are added in it

    def _instants(self, index: GeoDataFrame) -> pd.DatetimeIndex:
        """When the products of an index were acquired."""
        return pd.DatetimeIndex([self._products[path].name.time for path in index.filepath])

    @property
    def block_grid(self) -> Grid:
        """One block of the first file in the CRS of the samples: what is decoded at once."""
        scenes = (p.scenes[0] for p in self._products.values())
        crs = self._by_place.crs
        scene = next((scene for scene in scenes if scene.crs == crs), None)
        if scene is None:  # all are warped, so that no block of pixels is any file's own
            xmin, _, _, ymax = self.index.total_bounds
            return Grid(xmin, ymax, *self.res, 256, 256, crs)
        rows, columns = scene.block
        size = round(columns * scene.res[0] / self.res[0]), round(rows * scene.res[1] / self.res[1])
        return Grid(scene.bounds[0], scene.bounds[3], *self.res, *size, crs)

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

    def _offset(self, path: str) -> float:
        """What is to be added to the stored values of a file before they are scaled."""
        return 0.0

    def _read(self, rows: NDArray[np.intp], grid: Grid, step: int) -> Frames | None:
        """Frames of the products of some rows, one for each acquisition."""
        # A splitter may repeat rows.
        paths = dict.fromkeys(self.index['filepath'].to_numpy()[rows])
        found = group_products([self._products[path] for path in paths], self.group_by)[::step]
        if not found:
            return None
        grid = snapped(grid, [scene for a in found for product in a for scene in product.scenes])
        values, observed, clear, offset = self._mosaics.read(found, grid)
        firsts = [min(product.name.time for product in a) for a in found]
        return Frames(
            values=values,
            clear=clear,
            times=np.array([int(first.timestamp()) for first in firsts], np.int64),
            grid=grid,
            observed=observed,
            offset=offset if offset.any() else None,
            scale=self.scale,
        )

    def close(self) -> None:
        """Close all open files; the next sample opens what it needs."""
        self._by_place.blocks.clear()
        self._mosaics.close()

"""Image time series from the items of a STAC catalogue."""

import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import fields
from typing import Any, NoReturn

from torchgeo.datasets.utils import Path

from ..errors import SITSError
from .catalogue import Product, with_all_bands
from .filenames import RasterName, is_ancillary
from .files import RasterFile, list_examples, list_rasters
from .headers import Header, read_headers
from .quality import QualityLayer, QualityNames
from .raster_series import RasterTimeSeries
from .stac_items import StacAsset, StacItem, read_items

__all__ = ['StacTimeSeries']

#: Names of all that a header holds.
_FIELDS = tuple(part.name for part in fields(Header))


class StacTimeSeries(RasterTimeSeries):
    """Image time series from the items of a STAC catalogue on disk.

    Items come from a catalogue or collection whose links lead to files, a folder of items, an
    ItemCollection (what ``pystac_client`` and ``odc-stac`` save), or a STAC-GeoParquet file [1]_.
    No server is asked to open a series; rasters may lie on one and are read window by window, as
    GDAL reads them (``https``, ``s3`` and ``gs`` addresses).

    An item is a product of its ``datetime``, or of its ``start_datetime``. Bands are the keys of
    its assets, the names of the bands in them, or their common names (``red``). Without ``bands``
    all assets of one band with a common name are read, or all that hold data where none has one.
    Grids are those of the projection extension, so that a raster is opened at its first window; of
    items that leave something out the headers are read. A layer of quality among the assets
    (``scl``, ``qa_pixel``) is the mask of clouds.

    Pixels are ``stored x scale + offset`` where items say these (``raster:bands``), but for
    offsets that ``earthsearch:boa_offset_applied`` says are in the files already.

    .. [1] https://github.com/radiantearth/stac-spec, versions 1.0 and 1.1, and
       https://github.com/stac-utils/stac-geoparquet.

    Examples:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets import StacTimeSeries, write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=2, days=60)
        >>> items = [
        ...     {
        ...         'type': 'Feature', 'stac_version': '1.1.0', 'id': path.stem, 'geometry': None,
        ...         'properties': {'datetime': f'2020-0{i + 1}-15T10:30:00Z'}, 'links': [],
        ...         'assets': {'data': {'href': str(path), 'roles': ['data']}},
        ...     }
        ...     for i, path in enumerate(sorted(files.images.iterdir()))
        ... ]
        >>> collection = Path(folder.name, 'items.json')
        >>> _ = collection.write_text(json.dumps({'type': 'FeatureCollection', 'features': items}))
        >>> series = StacTimeSeries(collection)
        >>> series[series.bounds]['image'].shape
        torch.Size([2, 10, 32, 32])
    """

    def __init__(
        self,
        paths: Path | Iterable[Path],
        crs: Any = None,
        res: float | tuple[float, float] | None = None,
        bands: Sequence[str] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Read the items.

        Args:
            paths: Catalogues, collections, items, ItemCollections, STAC-GeoParquet files, or
                folders of items.
            crs: See :class:`RasterTimeSeries`.
            res: See :class:`RasterTimeSeries`.
            bands: Keys of assets, names of bands, or common names, in the order of the channels.
            *args: See :class:`RasterTimeSeries`.
            **kwargs: See :class:`RasterTimeSeries`. ``filename_regex`` and ``date_format`` have
                no effect: dates are those of the items.

        Raises:
            DatasetNotFoundError: If a path does not exist or holds no items.
            SITSError: If a file is no STAC, an item has no date or lacks a band, or bands differ in
                their scale.
            OSError: If a raster cannot be opened and *unreadable* is ``'raise'``.
        """
        self._items = read_items(paths)
        self._asked = bands
        #: Item and asset of each raster.
        self._told: dict[str, tuple[StacItem, StacAsset]] = {}
        self._offsets: dict[str, float] = {}
        super().__init__(paths, crs, res, bands, *args, **kwargs)

    def offset_of(self, path: str) -> float:
        """Tell the offset that the item of a file says, in units of what is stored."""
        return self._offsets.get(path, self.offset)

    @property
    def files(self) -> list[str]:
        """Rasters of all items that are read as images, in their order."""
        return [path for path, (_, asset) in self._told.items() if asset.is_data]

    def _mask_files(
        self,
        cloud_paths: Path | Iterable[Path] | None,
        layers: QualityNames,
        bands: Sequence[str],
    ) -> tuple[dict[str, QualityLayer | None], list[str]]:
        """Choose the assets that are masks, and those that are images."""
        images: list[str] = []
        found: dict[str, QualityLayer] = {}
        twice: list[str] = []
        keys = {key for item in self._items for key in item.assets}
        known = {key: layers.of_band(key) for key in keys}
        for item in self._items:
            named = {key: known[key] for key in item.assets}
            quality = {key for key, layer in named.items() if layer is not None}
            chosen = _choose(item, self._asked, quality)
            if any(asset.path in self._told for asset in chosen):
                twice.append(item.id)
                continue
            for asset in chosen:
                self._told[asset.path] = item, asset
                images.append(asset.path)
            for key, layer in named.items():
                asset = item.assets[key]
                if layer is not None and asset not in chosen:
                    found[asset.path] = layer
                    self._told.setdefault(asset.path, (item, asset))
        if twice:
            warnings.warn(
                f'{len(twice)} items have the rasters of others and are left out: '
                f'{list_examples(twice)}',
                UserWarning,
                stacklevel=4,
            )
        if cloud_paths is not None:
            return dict.fromkeys(list_rasters(cloud_paths, option='cloud_paths')), images
        return dict(layers.chosen(found)), images

    def _scan(self, files: Sequence[str]) -> list[RasterFile]:
        """Take names and grids from the items, and grids that they leave out from the files."""
        if any(path not in self._told for path in files):
            return super()._scan(files)
        gone = [path for path in files if _is_gone(path)]
        unsaid = [p for p in files if self._told[p][1].header is None and p not in set(gone)]
        read = dict(zip(unsaid, read_headers(unsaid), strict=True))
        gone += [path for path, header in read.items() if not isinstance(header, Header)]
        if gone and (self.unreadable == 'raise' or len(gone) == len(files)):
            item, asset = self._told[gone[0]]
            raise OSError(
                f"{len(gone)} of {len(files)} assets cannot be opened, such as '{asset.key}' of "
                f"the item '{item.id}' in '{item.source}', '{asset.path}': fetch them, remove the "
                "items, or leave them out with unreadable='skip'"
            )
        if gone:
            warnings.warn(
                f'{len(gone)} of {len(files)} assets cannot be opened and are left out: '
                f'{list_examples(gone)}',
                UserWarning,
                stacklevel=4,
            )
        left_out = set(gone)
        rasters = []
        for path in files:
            if path in left_out:
                continue
            item, asset = self._told[path]
            header = asset.header or read[path]
            band = asset.key if len(asset.names) == 1 else None
            name = RasterName(item.time, item.stop, band, item.id)
            said = {part: getattr(header, part) for part in _FIELDS}
            rasters.append(RasterFile(path=path, name=name, **said))
        return rasters

    def _find_products(
        self, rasters: Sequence[RasterFile], bands: Sequence[str] | None
    ) -> tuple[list[Product], tuple[str, ...], tuple[str, ...]]:
        """Make each item a product."""
        by_item: dict[str, list[RasterFile]] = defaultdict(list)
        for raster in rasters:
            by_item[raster.name.product].append(raster)
        products = [self._product(own, bands or ()) for own in by_item.values()]
        found = {band: None for product in products for band in product.sources}
        wanted = tuple(bands) if bands is not None else self.default_bands(tuple(found))
        unknown = [band for band in wanted if band not in found]
        if unknown:
            told = {key: None for item in self._items for key in item.assets}
            raise SITSError(
                f'unknown bands {unknown}: the items have the assets {tuple(told)}. Give keys of '
                'assets, names of bands in them, or common names such as red'
            )
        complete = with_all_bands(products, wanted, self.unreadable)
        self._take_values(complete, wanted)
        return complete, tuple(found), wanted

    def _product(self, rasters: Sequence[RasterFile], bands: Sequence[str]) -> Product:
        """The product of an item: its bands by key, by name, and those asked for by common name."""
        sources: dict[str, tuple[str, int]] = {}
        common: dict[str, dict[tuple[str, int], str]] = defaultdict(dict)
        for raster in rasters:
            asset = self._told[raster.path][1]
            names = asset.names or raster.descriptions
            if not names and len(raster.indexes) == 1:
                names = (asset.key,)
            names = names or self.default_band_names(len(raster.indexes))
            for i, (name, index) in enumerate(zip(names, raster.indexes, strict=True)):
                sources.setdefault(name, (raster.path, index))
                if asset.common and asset.common[i]:
                    common[asset.common[i]][raster.path, index] = name
        for band in bands:
            same = common.get(band, {})
            if band not in sources and len(same) > 1:
                raise SITSError(
                    f'the common name {band} means {sorted(same.values())} in the item '
                    f"'{rasters[0].name.product}': give the keys of assets instead"
                )
            if band not in sources and same:
                sources[band] = next(iter(same))
        kept = tuple(sorted(rasters, key=lambda raster: raster.path))
        return Product(rasters[0].name, kept, sources)

    def _take_values(self, products: Sequence[Product], bands: Sequence[str]) -> None:
        """Take no data, scale and offsets from the items.

        Raises:
            SITSError: If bands differ in them.
        """
        scales: dict[float, str] = {}
        no_data: dict[float, str] = {}
        for product in products:
            offsets: dict[float, str] = {}
            for path, index in (product.sources[band] for band in bands):
                _, asset = self._told[path]
                scale, offset = asset.scales[index - 1] if asset.scales else (1.0, 0.0)
                scales.setdefault(scale, path)
                offsets.setdefault(offset / scale, path)
                if asset.nodata is not None:
                    no_data.setdefault(asset.nodata, path)
            if len(offsets) > 1:
                _refuse('offsets', offsets)
            self._offsets[product.rasters[0].path] = next(iter(offsets))
        if len(scales) > 1:
            _refuse('scales', scales)
        if len(no_data) > 1:
            _refuse('values of no data', no_data)
        self.scale = next(iter(scales), 1.0)
        self.default_nodata = next(iter(no_data), self.default_nodata)


def _refuse(what: str, found: dict[float, str]) -> NoReturn:
    """Refuse bands whose numbers do not mean the same."""
    (one, path), (other, beside) = list(found.items())[:2]
    raise SITSError(
        f"bands differ in their {what}: {one} of '{path}', {other} of '{beside}'. Name those in "
        '`bands` that agree, and open the others as a series of their own'
    )


def _is_gone(path: str) -> bool:
    """Tell whether a local file does not exist."""
    return not path.startswith('/vsi') and not os.path.exists(path)


def _choose(item: StacItem, bands: Sequence[str] | None, quality: Set[str]) -> list[StacAsset]:
    """Choose the assets of an item that hold bands.

    Args:
        item: The item.
        bands: What is asked for: keys, names of bands, or common names; None for all bands.
        quality: Keys of assets that are masks of clouds.

    Returns:
        The assets, those of JPEG 2000 left out where another holds the same bands.
    """
    assets = list(item.assets.values())
    wanted = set(bands or ())
    if bands is None:
        data = [a for a in assets if a.is_data and a.key not in quality and not is_ancillary(a.key)]
        light = [asset for asset in data if len(asset.names) == 1 and asset.common[0]]
        found = light or data
    else:
        exact = [a for a in assets if wanted & {a.key, *a.names}]
        named = wanted - {name for a in exact for name in (a.key, *a.names)}
        shared = [a for a in assets if a.is_data and a not in exact and named & {*a.common}]
        found = exact + shared
        if named - {name for a in shared for name in a.common}:
            found += [a for a in assets if a.is_data and not a.names and a not in found]
    cogs = {a.common for a in found if any(a.common) and not a.path.lower().endswith('.jp2')}
    double = [a for a in found if a.path.lower().endswith('.jp2') and a.common in cogs]
    return [a for a in found if a not in double or a.key in wanted]

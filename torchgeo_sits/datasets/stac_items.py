"""STAC items from files: a catalogue, a folder of items, an ItemCollection, or STAC-GeoParquet."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
import pyarrow.parquet as pq
from pyarrow import ArrowException
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine, array_bounds

from ..errors import SITSError
from .files import RastersNotFoundError
from .headers import Header

__all__ = ['StacAsset', 'StacItem', 'is_stac', 'read_items']

#: Roles of assets that are no measurements.
_NO_DATA_ROLES = frozenset({'thumbnail', 'overview', 'visual', 'metadata', 'documentation'})
#: Beginnings of the media types of rasters; assets without a type are judged by their ending.
_RASTER_TYPES = ('image/tiff', 'image/jp2', 'image/vnd.stac', 'application/geotiff')
_RASTER_ENDINGS = ('.tif', '.tiff', '.jp2', '.vrt', '.img')
#: GDAL's file systems for the schemes of addresses.
_SCHEMES = {'http': '/vsicurl/', 'https': '/vsicurl/', 's3': '/vsis3/', 'gs': '/vsigs/'}
#: Properties of the projection extension that hold the CRS, the newest first.
_CRS = ('proj:code', 'proj:epsg', 'proj:wkt2', 'proj:projjson')
#: Rows and columns of a block where an item does not say, as most COGs have them.
_BLOCK = (512, 512)


class StacAsset:
    """Raster of an item; what it takes time to find is looked up when it is asked for.

    Args:
        key: Its key among the assets of the item.
        content: What the item says of it.
        properties: Properties of the item, which hold for all its assets.
        source: File that the item stands in.

    Attributes:
        key: Its key among the assets of the item.
        names: Names of its bands, the key where there is one band; empty where the item says
            nothing of bands.
        common: Common names of its bands, '' where there is none.
        is_data: Whether it holds measurements, by its roles.
    """

    def __init__(
        self, key: str, content: Mapping[str, Any], properties: Mapping[str, Any], source: str
    ) -> None:
        self.key = key
        self._content = content
        self._properties = properties
        self._source = source
        self._bands = _bands(content)
        if len(self._bands) == 1:
            self.names: tuple[str, ...] = (key,)
        else:
            self.names = tuple(
                str(band.get('name') or f'{key}_{i + 1}') for i, band in enumerate(self._bands)
            )
        self.common = tuple(
            str(band.get('eo:common_name') or band.get('common_name') or '') for band in self._bands
        )
        self.is_data = _NO_DATA_ROLES.isdisjoint(content.get('roles') or ())

    @cached_property
    def path(self) -> str:
        """Its path, as GDAL reads it."""
        return _resolved(str(self._content['href']), self._source)

    @cached_property
    def header(self) -> Header | None:
        """Its grid and bands, None where the item does not say all of them."""
        where = {**self._properties, **self._content}
        shape, transform = where.get('proj:shape'), where.get('proj:transform')
        own = self._content.get('data_type')
        types = tuple(str(band.get('data_type') or own or '') for band in self._bands)
        code = next((where[name] for name in _CRS if where.get(name) is not None), None)
        if code is None or not shape or not transform or not types or not all(types):
            return None
        text = json.dumps(code) if isinstance(code, dict) else str(code)
        text = f'EPSG:{text}' if text.isdigit() else text
        no_data = tuple(b.get('nodata') for b in self._bands)
        return _header(
            text,
            tuple(map(int, shape)),
            tuple(map(float, transform[:6])),
            self.names,
            types,
            tuple(None if value is None else float(value) for value in no_data),
        )

    @property
    def nodata(self) -> float | None:
        """Value that means no data, None where the item says none for all bands."""
        said = {str(band['nodata']) for band in self._bands if band.get('nodata') is not None}
        return float(said.pop()) if len(said) == 1 else None

    @property
    def scales(self) -> tuple[tuple[float, float], ...]:
        """Scale and offset of each band to physical values; empty where the item says none."""
        found = [
            (_either(band, 'raster:scale', 'scale'), _either(band, 'raster:offset', 'offset'))
            for band in self._bands
        ]
        if not any(value is not None for pair in found for value in pair):
            return ()
        applied = bool(self._properties.get('earthsearch:boa_offset_applied'))
        return tuple(
            (float(1 if scale is None else scale), 0.0 if applied else float(offset or 0))
            for scale, offset in found
        )


@dataclass(frozen=True, slots=True)
class StacItem:
    """Item with its rasters.

    Attributes:
        id: Its identifier.
        source: File that it stands in.
        time: Acquisition, UTC without a zone.
        stop: End of the acquisition.
        assets: Rasters by key.
    """

    id: str
    source: str
    time: pd.Timestamp
    stop: pd.Timestamp
    assets: Mapping[str, StacAsset]


def is_stac(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a STAC catalogue, item, ItemCollection, GeoParquet or item folder.

    Args:
        path: A local file or folder; of a folder the first JSON file is looked at.

    Returns:
        Whether the content says so.
    """
    path = Path(path)
    if path.is_dir():
        found = (
            os.path.join(folder, name)
            for folder, _, files in os.walk(path)
            for name in sorted(files)
            if name.lower().endswith('.json')
        )
        first = next(found, None)
        return first is not None and is_stac(first)
    if path.suffix.lower() in ('.parquet', '.geoparquet'):
        try:
            return {'assets', 'datetime'} <= set(pq.read_schema(path).names)
        except (ArrowException, OSError):
            return False
    if path.suffix.lower() not in ('.json', '.geojson'):
        return False
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and (_is_item(content) or _is_parent(content))


def read_items(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[StacItem]:
    """Read items, without opening their rasters or asking any server.

    Args:
        paths: One or more of: a catalogue or collection (its links are followed on disk), an
            item, an ItemCollection, a STAC-GeoParquet file, or a folder of these.

    Returns:
        The items in the order of time and name, each once.

    Raises:
        RastersNotFoundError: If a path does not exist, or there is no item.
        SITSError: If a file is no STAC, or an item has no date.

    Examples:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.stac_items import read_items
        >>> item = {
        ...     'type': 'Feature', 'stac_version': '1.0.0', 'id': 'scene', 'geometry': None,
        ...     'properties': {'datetime': '2021-06-01T10:30:00Z'}, 'links': [],
        ...     'assets': {'red': {'href': './B04.tif', 'roles': ['data']}},
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, 'scene.json').write_text(json.dumps(item))
        ...     (found,) = read_items(folder)
        >>> found.id, found.time, found.assets['red'].names
        ('scene', Timestamp('2021-06-01 10:30:00'), ())
    """
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: dict[tuple[str, str], StacItem] = {}
    for root in roots:
        for content, source in _contents(os.fspath(root)):
            item = _item(content, source)
            found.setdefault((str(content.get('collection')), item.id), item)
    if not found:
        raise RastersNotFoundError(
            f'no STAC items in {", ".join(repr(os.fspath(root)) for root in roots)}, given as '
            '`paths`'
        )
    return sorted(found.values(), key=lambda item: (item.time, item.id))


def _contents(root: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Contents of all items below a path, each with the file that it stands in."""
    if '://' in root:
        raise SITSError(
            f"'{root}' is an address, and no server is asked: save the items that a search finds "
            '(pystac_client: `search.item_collection().save_object("items.json")`) and give that '
            'file'
        )
    if os.path.isdir(root):
        top = [name for name in ('catalog.json', 'collection.json') if _exists(root, name)]
        if top:
            yield from _contents(os.path.join(root, top[0]))
            return
        for folder, _, files in sorted(os.walk(root)):
            for name in sorted(files):
                if name.lower().endswith(('.json', '.geojson')):
                    path = os.path.join(folder, name)
                    content = _load(path)
                    if isinstance(content, dict) and _is_item(content):
                        yield from _items_of(content, path)
        return
    if not os.path.exists(root):
        raise RastersNotFoundError(
            f"'{root}' does not exist: give a STAC catalogue, items, or a STAC-GeoParquet file, "
            'as `paths`'
        )
    if root.lower().endswith(('.parquet', '.geoparquet')):
        yield from ((content, root) for content in _rows(root))
        return
    content = _load(root)
    if isinstance(content, dict) and _is_item(content):
        yield from _items_of(content, root)
    elif isinstance(content, dict) and _is_parent(content):
        yield from _linked(content, root, set())
    else:
        raise SITSError(
            f"'{root}' is no STAC: expected a catalogue, a collection, an item or an ItemCollection"
        )


def _exists(folder: str, name: str) -> bool:
    return os.path.exists(os.path.join(folder, name))


def _load(path: str) -> Any:
    """Content of a JSON file."""
    try:
        with open(path, 'rb') as file:
            return json.loads(file.read())
    except ValueError as error:
        raise SITSError(f"'{path}' is no JSON ({error}): write it again, or remove it") from error


def _is_item(content: Mapping[str, Any]) -> bool:
    """Tell whether it is an item or a collection of items."""
    if content.get('type') == 'FeatureCollection':
        features = content.get('features') or [{}]
        return isinstance(features[0], dict) and 'assets' in features[0]
    return content.get('type') == 'Feature' and 'assets' in content


def _is_parent(content: Mapping[str, Any]) -> bool:
    """Tell whether it is a catalogue or a collection, which link to items."""
    return 'stac_version' in content and isinstance(content.get('links'), list)


def _items_of(content: dict[str, Any], path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The item, or all of a collection of items."""
    if content.get('type') == 'FeatureCollection':
        yield from ((feature, path) for feature in content['features'])
    else:
        yield content, path


def _linked(
    parent: dict[str, Any], path: str, seen: set[str]
) -> Iterator[tuple[dict[str, Any], str]]:
    """Items that a catalogue links to, also by catalogues below it."""
    seen.add(os.path.realpath(path))
    for link in parent['links']:
        if link.get('rel') not in ('item', 'child'):
            continue
        target = _resolved(str(link.get('href')), path)
        if target.startswith('/vsi'):
            raise SITSError(
                f"'{path}' links to '{link['href']}' on a server, and no server is asked: save the "
                'catalogue with all its items, or an ItemCollection'
            )
        if os.path.realpath(target) in seen:
            continue
        if not os.path.exists(target):
            raise RastersNotFoundError(
                f"'{path}' links to '{target}', which does not exist: fetch it, or remove the link"
            )
        content = _load(target)
        if _is_item(content):
            seen.add(os.path.realpath(target))
            yield from _items_of(content, target)
        elif _is_parent(content):
            yield from _linked(content, target, seen)


def _rows(path: str) -> list[dict[str, Any]]:
    """Items of a STAC-GeoParquet file, whose columns are properties and the parts of items."""
    try:
        table = pq.read_table(path)
    except (ArrowException, OSError) as error:
        raise SITSError(f"'{path}' cannot be read as GeoParquet ({error})") from error
    if not {'id', 'assets'} <= set(table.column_names):
        raise SITSError(
            f"'{path}' is no STAC-GeoParquet: expected the columns id, datetime and assets, got "
            f'{table.column_names}'
        )
    kept = [name for name in table.column_names if name not in ('geometry', 'links', 'bbox')]
    parts = ('id', 'assets', 'collection', 'type', 'stac_version', 'stac_extensions')
    found = []
    for row in table.select(kept).to_pylist():
        assets = {key: asset for key, asset in row['assets'].items() if asset is not None}
        properties = {key: value for key, value in row.items() if key not in parts}
        item = {'id': row['id'], 'collection': row.get('collection')}
        found.append({**item, 'assets': assets, 'properties': properties})
    return found


def _item(content: dict[str, Any], source: str) -> StacItem:
    """Parse an item."""
    properties = content.get('properties') or {}
    name = str(content.get('id'))
    start = properties.get('datetime') or properties.get('start_datetime')
    if start is None:
        raise SITSError(
            f"the item '{name}' in '{source}' has neither datetime nor start_datetime: write the "
            'date of its acquisition into it, or remove it'
        )
    time = _time(start, name, source)
    end = properties.get('end_datetime') if not properties.get('datetime') else None
    stop = time if end is None else _time(end, name, source)
    assets = {
        key: StacAsset(key, asset, properties, source)
        for key, asset in (content.get('assets') or {}).items()
        if isinstance(asset, dict) and asset.get('href') and _is_raster(asset)
    }
    return StacItem(name, source, time, max(stop, time), assets)


def _time(value: Any, name: str, source: str) -> pd.Timestamp:
    """Instant in UTC without a zone."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise SITSError(
            f"the item '{name}' in '{source}' has the date {value!r}, which is none: expected one "
            'such as 2021-06-01T10:30:00Z'
        ) from error
    if found.tzinfo is not None:
        found = found.astimezone(UTC).replace(tzinfo=None)
    return pd.Timestamp(found)


def _is_raster(asset: Mapping[str, Any]) -> bool:
    """Tell by type and ending whether an asset is a raster."""
    kind = str(asset.get('type') or '').lower()
    if kind:
        return kind.startswith(_RASTER_TYPES)
    return urlsplit(str(asset['href'])).path.lower().endswith(_RASTER_ENDINGS)


def _bands(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is said of each band: STAC 1.1 has one list of bands, 1.0 one for each extension."""
    lists = [asset.get(name) or () for name in ('eo:bands', 'raster:bands', 'bands')]
    bands: list[dict[str, Any]] = [{} for _ in range(max(map(len, lists)))]
    for own in lists:
        for band, more in zip(bands, own, strict=False):
            band.update({k: v for k, v in (more or {}).items() if v is not None})
    return bands


def _either(content: Mapping[str, Any], *names: str) -> Any:
    """Value of the first name that is there."""
    return next((content[name] for name in names if content.get(name) is not None), None)


@lru_cache(1 << 14)
def _header(
    crs: str,
    shape: tuple[int, int],
    transform: tuple[float, ...],
    names: tuple[str, ...],
    types: tuple[str, ...],
    nodata: tuple[float | None, ...],
) -> Header | None:
    """Grid and bands, which assets of a tile share; None where the CRS is not known."""
    try:
        known = _parsed_crs(crs)
    except (CRSError, ValueError):
        return None
    affine = Affine(*transform)
    height, width = shape
    left, bottom, right, top = array_bounds(height, width, affine)
    return Header(
        crs=known,
        transform=affine,
        width=width,
        height=height,
        bounds=(min(left, right), min(bottom, top), max(left, right), max(bottom, top)),
        res=(abs(affine.a), abs(affine.e)),
        block=(min(_BLOCK[0], height), min(_BLOCK[1], width)),
        indexes=tuple(range(1, len(types) + 1)),
        descriptions=names if len(names) > 1 else (),
        dtypes=types,
        nodata=nodata,
        scales=(1.0,) * len(types),
        offsets=(0.0,) * len(types),
        is_map=False,
    )


@lru_cache(256)
def _parsed_crs(text: str) -> CRS:
    return CRS.from_user_input(text)


def _resolved(href: str, source: str) -> str:
    """Path of a reference as GDAL reads it, relative ones from the file that they stand in."""
    if '://' not in href:
        if href.startswith('/vsi') or PurePath(href).is_absolute():
            return href
        return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(source)), href))
    parts = urlsplit(href)
    if parts.scheme in ('http', 'https'):
        return f'{_SCHEMES[parts.scheme]}{href}'
    if parts.scheme in _SCHEMES:
        return f'{_SCHEMES[parts.scheme]}{parts.netloc}{parts.path}'
    return unquote(parts.path) if parts.scheme == 'file' else href

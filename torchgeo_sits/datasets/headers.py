"""Headers of raster files, those of large collections kept between runs."""

import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray
from pyproj import CRS as PyprojCRS
from pyproj.exceptions import CRSError, ProjError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import Affine
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import SITSError
from ..whole_files import whole_file
from .cache_folder import cache_folder
from .file_stamps import Stamp, stamps
from .formats import looking_beside, open_raster, require_own_pixels

__all__ = [
    'MAP_TAG',
    'Bounds',
    'Header',
    'HeaderCache',
    'read_header',
    'read_headers',
    'require_real',
]

#: Tag of the maps that this package writes, which tells those of one run from those of another.
MAP_TAG = 'TORCHGEO_SITS_RUN'

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Header:
    """Grid and bands of one file, as they are stored: rotated or south-up ones too.

    Attributes:
        crs: Its coordinate reference system.
        transform: Affine transformation of (column, row) to coordinates, in units of *crs*.
        width: Number of columns.
        height: Number of rows.
        bounds: West, south, east, north, in units of *crs*.
        res: Width and height of a pixel, in units of *crs*.
        block: Rows and columns of the blocks in which the first band is stored.
        indexes: Numbers of its bands, from 1, without an alpha channel.
        descriptions: Names of these bands; empty where the file does not name each. The date
            that a tag of a band holds stands before its name.
        dtypes: Data types of these bands, as NumPy names them.
        nodata: Values of these bands that mean no data, None where the file says none.
        scales: Factors on the stored values of these bands, 1 where the file says none.
        offsets: What is added behind, 0 where the file says none.
        is_map: Whether it is a map that this package drew.
    """

    crs: CRS
    transform: Affine
    width: int
    height: int
    bounds: Bounds
    res: tuple[float, float]
    block: tuple[int, int]
    indexes: tuple[int, ...]
    descriptions: tuple[str, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    is_map: bool


def read_header(path: str) -> Header:
    """Open one raster and close it again.

    Args:
        path: The raster.

    Returns:
        Its header.

    Raises:
        RasterioError: If it does not open.
        SITSError: If it has no CRS, or no grid of pixels in it, holds complex numbers, or names
            servers or files elsewhere.
    """
    require_own_pixels(path)
    with open_raster(path) as source:
        _require_grid(path, source)
        indexes = _spectral_indexes(source)
        require_real(path, [source.dtypes[i - 1] for i in indexes])
        named = _descriptions(source, indexes)
        left, bottom, right, top = source.bounds
        return Header(
            crs=source.crs,
            transform=source.transform,
            width=source.width,
            height=source.height,
            bounds=(min(left, right), min(bottom, top), max(left, right), max(bottom, top)),
            res=(abs(source.res[0]), abs(source.res[1])),
            block=source.block_shapes[0],
            indexes=indexes,
            descriptions=named if all(named) else (),
            dtypes=tuple(source.dtypes[i - 1] for i in indexes),
            nodata=tuple(source.nodatavals[i - 1] for i in indexes),
            scales=tuple(source.scales[i - 1] for i in indexes),
            offsets=tuple(source.offsets[i - 1] for i in indexes),
            is_map=MAP_TAG in source.tags(),
        )


#: Tags of bands that hold their date, in small letters.
_DATE_TAGS = {'timestamp', 'datetime', 'date', 'time', 'acquisition_date', 'date_acquired'}


def _descriptions(source: DatasetReader, indexes: Sequence[int]) -> tuple[str, ...]:
    """Read the names of bands, with the dates in their tags; empty for those without either."""
    named = [_description(source, i) for i in indexes]
    if len(indexes) < 2 or not _DATE_TAGS & {key.lower() for key in source.tags(indexes[0])}:
        return tuple(named)
    dates = [
        next((v for key, v in source.tags(i).items() if key.lower() in _DATE_TAGS), '')
        for i in indexes
    ]
    return tuple(
        f'{date} {name}'.strip() if date not in name else name
        for date, name in zip(dates, named, strict=True)
    )


#: What GDAL takes for the place of a raster that has none, with rows downwards and upwards.
_NOWHERE = (Affine.identity(), Affine.scale(1, -1))


def _require_grid(path: str, source: DatasetReader) -> None:
    """Refuse a raster whose pixels have no place on the Earth, and say what gives them one."""
    transform = source.transform
    if transform not in _NOWHERE and abs(transform.determinant) > 0:  # False for NaN, too
        if source.crs is None:
            raise SITSError(
                f"'{path}' has no coordinate reference system: write it into the file, for "
                'instance with `rio edit-info --crs`'
            )
        return
    points = len(source.gcps[0])
    if points:
        placed, options = f'{points} ground control points', '-tps'
    elif source.rpcs is not None:
        placed, options = 'rational polynomial coefficients (RPC)', '-rpc -to RPC_DEM=dem.tif'
    elif source.tags(ns='GEOLOCATION'):
        placed, options = 'arrays of longitudes and latitudes', '-geoloc'
    else:
        raise SITSError(
            f"'{path}' has no georeferencing: nothing says where its pixels lie. Write it into the "
            'file, for instance with `gdal_edit.py -a_srs EPSG:CODE -a_ullr WEST NORTH EAST SOUTH`'
        )
    raise SITSError(
        f"'{path}' is placed by {placed}, not by a grid of pixels: warp it first, for instance "
        f'with `gdalwarp {options} -t_srs EPSG:CODE {os.path.basename(path)} warped.tif`'
    )


def require_real(path: str, dtypes: Sequence[str]) -> None:
    """Refuse complex numbers, of which every type of pixels here would drop a part.

    Args:
        path: The raster, for the message.
        dtypes: Types of its bands.

    Raises:
        SITSError: If one is complex.
    """
    if any(dtype.startswith('complex') for dtype in dtypes):
        raise SITSError(
            f"'{path}' holds complex numbers ({next(d for d in dtypes if 'complex' in d)}), and a "
            'band has real ones: write what is wanted of them to a raster, such as the amplitude '
            'or the phase'
        )


def _description(source: DatasetReader, index: int) -> str:
    """Read the name of a band; empty where it is but the number that a format gives it."""
    name = (source.descriptions[index - 1] or '').strip()
    return '' if name in (f'Layer_{index}', f'Band {index}') else name


def _spectral_indexes(source: DatasetReader) -> tuple[int, ...]:
    """Find the numbers (from 1) of the bands of an open raster that are not an alpha channel."""
    return tuple(
        i
        for i, colour in zip(source.indexes, source.colorinterp, strict=True)
        if colour != ColorInterp.alpha
    )


#: Part of the names of cache files: another one for another meaning of the columns.
_VERSION = 4

_OF_BANDS = ('indexes', 'descriptions', 'dtypes', 'nodata', 'scales', 'offsets')
_TRANSFORM = ['a', 'b', 'c', 'd', 'e', 'f']
_BOUNDS = ['west', 'south', 'east', 'north']
_GRID = [*_TRANSFORM, 'width', 'height', *_BOUNDS, 'xres', 'yres', 'block_rows', 'block_columns']
_HEADER = ['crs', 'bands', 'is_map', *_GRID]
_COLUMNS = ['path', *Stamp._fields, *_HEADER, 'geometry']


class HeaderCache:
    """A GeoParquet file with the headers of the rasters below one folder.

    One row per file: its path, what tells that it is unchanged, its grid in its own CRS, its
    bands as JSON, and its extent in longitude and latitude, which any GIS draws. Rows count only
    while a local file is as it was; what lies on a server is trusted. Options such as
    ``filename_regex`` are not part of it, so all datasets below a folder share it.

    It is kept in the folder that the environment variable ``TORCHGEO_SITS_CACHE`` names, else in
    the user's folder for caches (``~/.cache/torchgeo_sits`` on Linux). It may be removed at any
    time. Whatever is wrong with it is no error: then all headers are read. Processes that write
    at once replace each other's file as a whole, and the last one stays.

    Args:
        files: The rasters.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._keys = {path: _absolute(path) for path in files}
        # Before anything is read: what changes from here on has another stamp next time.
        self._now = time.time_ns()
        self._stamps = stamps(files)
        self.path = _cache_path(list(self._keys.values()))
        self._frame: GeoDataFrame | None = None

    def load(self) -> dict[str, Header]:
        """Look up the headers of the files that are as they were when they were read."""
        try:
            frame = geopandas.read_parquet(self.path, columns=_COLUMNS)
            paths = frame['path'].tolist()
            rows = list(zip(*(frame[name].tolist() for name in _HEADER), strict=True))
            kept = map(Stamp, *(frame[name].tolist() for name in Stamp._fields))
            row_of = {path: i for i, path in enumerate(paths)}
            stamp_of = dict(zip(paths, kept, strict=True))
            shared: dict[tuple[Any, ...], Header] = {}
            crs: dict[str, CRS] = {}
            known = {}
            for path, stamp in self._stamps.items():
                key = self._keys[path]
                if stamp_of.get(key) != stamp:
                    continue
                row = rows[row_of[key]]
                if row not in shared:
                    if row[0] not in crs:
                        crs[row[0]] = CRS.from_wkt(row[0])
                    shared[row] = _header(crs[row[0]], *row[1:])
                known[path] = shared[row]
        except Exception:  # missing, cut off, of another make: what a cache holds is no matter
            return {}
        self._frame = frame
        return known

    def keep(self, headers: Mapping[str, Header]) -> None:
        """Add headers that have been read since this object was made.

        Args:
            headers: Header of each file. Files that had changed so lately that another change
                might not show are left out.

        Raises:
            OSError: If the file cannot be written.
        """
        settled = {
            path: stamp
            for path, stamp in self._stamps.items()
            if path in headers and stamp.settled(self._now)
        }
        if not settled:
            return
        new = _table([headers[path] for path in settled])
        new.insert(0, 'path', [self._keys[path] for path in settled])
        for name, values in zip(Stamp._fields, zip(*settled.values(), strict=True), strict=True):
            new[name] = values
        tables = [new[_COLUMNS]]
        if self._frame is not None:
            dropped = {self._keys[path] for path in headers}
            tables.append(self._frame[[_stays(p, dropped) for p in self._frame['path']]])
        _write(pd.concat(tables, ignore_index=True), self.path)


def _absolute(path: str) -> str:
    """Make a path the same from whatever folder a program is started."""
    return path if '://' in path or path.startswith('/vsi') else os.path.abspath(path)


def _cache_path(paths: Sequence[str]) -> Path:
    """Name the file that keeps the headers of the files below one folder."""
    try:
        root = os.path.commonpath(paths)
    except ValueError:  # on a disk and on a server: those have nothing in common
        root = ''
    digest = hashlib.sha256(root.encode(errors='surrogateescape')).hexdigest()[:20]
    return cache_folder() / f'headers-v{_VERSION}-{digest}.parquet'


def _stays(path: str, dropped: set[str]) -> bool:
    """Tell whether an older row stays: it is not replaced, and its file may still be there."""
    if path in dropped:
        return False
    return '://' in path or path.startswith('/vsi') or os.path.exists(path)


def _header(crs: CRS, bands: str, is_map: bool, *grid: float) -> Header:
    """Make a header of the values of a row."""
    band = json.loads(bands)
    return Header(
        crs=crs,
        transform=Affine(*grid[:6]),
        width=int(grid[6]),
        height=int(grid[7]),
        bounds=(grid[8], grid[9], grid[10], grid[11]),
        res=(grid[12], grid[13]),
        block=(int(grid[14]), int(grid[15])),
        indexes=tuple(band['indexes']),
        descriptions=tuple(band['descriptions']),
        dtypes=tuple(band['dtypes']),
        nodata=tuple(band['nodata']),
        scales=tuple(band['scales']),
        offsets=tuple(band['offsets']),
        is_map=bool(is_map),
    )


def _table(headers: Sequence[Header]) -> GeoDataFrame:
    """Tabulate headers, without the path and the stamp."""
    grid: NDArray[np.float64] = np.array(
        [(*h.transform[:6], h.width, h.height, *h.bounds, *h.res, *h.block) for h in headers]
    )
    wkt = pd.Series([h.crs.to_wkt() for h in headers])
    bands = [json.dumps({key: getattr(h, key) for key in _OF_BANDS}) for h in headers]
    frame = pd.DataFrame(
        {'crs': wkt, 'bands': bands, 'is_map': [h.is_map for h in headers]}
        | dict(zip(_GRID, grid.T, strict=True))
    )
    extent = np.full(len(frame), None, object)
    for text, rows in frame.groupby('crs').indices.items():
        boxes = shapely.box(*frame[_BOUNDS].to_numpy()[rows].T)
        try:
            extent[rows] = GeoSeries(boxes, crs=PyprojCRS.from_wkt(text)).to_crs('EPSG:4326').values
        except (CRSError, ProjError):  # not on the Earth, or its corners are not
            continue
    return GeoDataFrame(frame, geometry=extent, crs='EPSG:4326')


def _write(frame: GeoDataFrame, path: Path) -> None:
    """Replace the file as a whole, so that nobody ever reads a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        frame.to_parquet(draft, index=False)


#: Fewer files are read sooner than a cache pays, and leave no trace.
_WORTH_KEEPING = 256
#: Files that one thread reads before it says so.
_BATCH = 16
#: Seconds after which a person who waits is told how far it is.
_PATIENCE = 1.0


def read_headers(files: Sequence[str]) -> list[Header | RasterioError]:
    """Read the headers of rasters.

    Args:
        files: The rasters.

    Returns:
        The header of each, or the error that opening it raised.

    Raises:
        SITSError: If a raster has no CRS, or no grid of pixels in it.
    """
    if len(files) < _WORTH_KEEPING:
        return _read(files)
    cache = HeaderCache(files)
    found: dict[str, Header | RasterioError] = {**cache.load()}
    new = [path for path in files if path not in found]
    if new:
        start = time.monotonic()
        found.update(zip(new, _read(new), strict=True))
        _keep(cache, {path: found[path] for path in new}, time.monotonic() - start)
    return [found[path] for path in files]


def _keep(cache: HeaderCache, found: dict[str, Header | RasterioError], seconds: float) -> None:
    """Keep what was read; say so where it cannot be kept and took long."""
    headers = {path: header for path, header in found.items() if isinstance(header, Header)}
    try:
        cache.keep(headers)
    except Exception as error:  # a full disk, a home that is read only: only slower next time
        if seconds > 10 * _PATIENCE:
            warnings.warn(
                f'the headers of {len(headers)} rasters, read in {seconds:.0f} s, cannot be kept '
                f"in '{cache.path}' ({error}) and are read again each time: set the environment "
                'variable TORCHGEO_SITS_CACHE to a folder that can be written',
                UserWarning,
                stacklevel=5,
            )


def _read(files: Sequence[str]) -> list[Header | RasterioError]:
    """Read the headers of rasters on several threads, with a bar where it takes long."""
    remote = any('://' in path or path.startswith('/vsi') for path in files)
    start = time.monotonic()
    results: list[Header | RasterioError] = []
    shared: dict[Header, Header] = {}
    bar: Progress | None = None
    # Opening waits for a server, or a disk: from a warm disk more threads gain nothing, since
    # GDAL and Python each do it one by one.
    pool = ThreadPoolExecutor(32 if remote else 8, thread_name_prefix='header')
    try:
        for batch in pool.map(_read_batch, batched(files, _BATCH)):
            results += [shared.setdefault(h, h) if isinstance(h, Header) else h for h in batch]
            if bar is None and time.monotonic() - start > _PATIENCE and sys.stderr.isatty():
                bar = _bar(len(files))
            if bar is not None:
                bar.update(bar.task_ids[0], completed=len(results))
    finally:
        if bar is not None:
            bar.stop()
        pool.shutdown(cancel_futures=True)  # what is left need not be read after a failure
    return results


def _bar(total: int) -> Progress:
    """Show a bar on the terminal, such as ``reading headers ━━━━ 3,412/10,000 0:00:02``."""
    bar = Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        TextColumn('{task.completed:,.0f}/{task.total:,.0f}'),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task('reading headers', total=total)
    bar.start()
    return bar


def _read_batch(files: Sequence[str]) -> list[Header | RasterioError]:
    """Read a few headers in one thread."""
    results: list[Header | RasterioError] = []
    for path in files:
        try:
            with looking_beside(path):
                results.append(read_header(path))
        except RasterioError as error:
            results.append(error)
    return results

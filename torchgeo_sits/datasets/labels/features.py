"""Features of vector files and tables: their geometries, and the values of a column."""

import csv
import json
import math
import os
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from ...errors import SITSError
from ...grid import Grid, crs_name
from ..files import RASTER_EXTENSIONS, files_in, list_examples
from .values import list_some

__all__ = ['Features', 'list_vectors', 'read_features', 'read_point_table']

#: Endings of vector files, whatever their case.
_VECTORS = ('.gpkg', '.geojson', '.shp', '.fgb', '.parquet', '.geoparquet')
#: Those of files that may be something else: they are taken where they are named themselves.
_NAMED = ('.csv', '.json', '.geojsonl', '.zip', '.shz', '.kml', '.gml')
#: Names of columns with coordinates in tables, in lower case.
_LON, _LAT = ('lon', 'longitude', 'lng', 'long'), ('lat', 'latitude')
_X, _Y = ('x', 'easting'), ('y', 'northing')
_WKT = ('wkt', 'geometry', 'geom', 'wkt_geom')
#: Features that examples of values are taken from.
_SOME = 1000


class Features(NamedTuple):
    """What was read of a file."""

    #: Geometries and ``value`` of the features near the images, in the CRS of the file.
    frame: gpd.GeoDataFrame
    #: Values of the column in all of the file, each once, without those that are missing.
    found: pd.Series
    #: West, south, east and north of the whole file, in its CRS.
    extent: tuple[float, float, float, float]


def list_vectors(paths: str | Sequence[str]) -> list[str]:
    """List the vector files and tables among labels.

    Args:
        paths: Files, or folders of them.

    Returns:
        Paths of the files, each once, sorted; none where labels are rasters.

    Raises:
        SITSError: If labels are rasters and vectors at once, or a file is neither.

    Examples:
        >>> from torchgeo_sits.datasets.labels.features import list_vectors
        >>> list_vectors(['/data/fields.gpkg'])
        ['/data/fields.gpkg']
    """
    vectors: set[str] = set()
    rasters: set[str] = set()
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        path = os.fspath(path)
        if os.path.isdir(path):
            files = files_in(path)
            vectors.update(name for name in files if name.lower().endswith(_VECTORS))
        else:
            files = [path]
            vectors.update(name for name in files if name.lower().endswith(_VECTORS + _NAMED))
        rasters.update(name for name in files if name.lower().endswith(RASTER_EXTENSIONS))
        if os.path.isfile(path) and not path.lower().endswith(
            RASTER_EXTENSIONS + _VECTORS + _NAMED
        ):
            raise SITSError(
                f"labels.paths: '{path}' is no raster ({', '.join(RASTER_EXTENSIONS)}) and no "
                f'vector file or table ({", ".join(_VECTORS + _NAMED)})'
            )
    if vectors and rasters:
        raise SITSError(
            f'labels.paths={paths!r} hold rasters ({list_examples(sorted(rasters), 1)}) and vector '
            f'files ({list_examples(sorted(vectors), 1)}): name the files of one kind'
        )
    return sorted(vectors)


def read_features(
    path: str, *, column: str | None, layer: str | None, crs: str | None, area: Grid
) -> Features:
    r"""Read the features of a vector file or of a table of points.

    Args:
        path: The file.
        column: Column that holds the labels.
        layer: Layer of a file with several.
        crs: Coordinate reference system of a file that does not say its own.
        area: The images; features far from them are left out.

    Returns:
        The features.

    Raises:
        SITSError: If there is no such column or layer, or no coordinate reference system.
        OSError: If the file cannot be read.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from rasterio.crs import CRS
        >>> from torchgeo_sits.datasets.labels.features import read_features
        >>> from torchgeo_sits.grid import Grid
        >>> area = Grid(10, 50, 0.1, 0.1, 20, 20, CRS.from_epsg(4326))
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'points.csv'
        ...     _ = path.write_text('lon,lat,crop\n11,49,maize\n11.5,49,\n77,10,rice\n')
        ...     features = read_features(str(path), column='crop', layer=None, crs=None, area=area)
        >>> features.frame.value.tolist(), features.found.tolist()
        (['maize', nan], ['maize', 'rice'])
    """
    if not os.path.exists(path) and '://' not in path and not path.startswith('/vsi'):
        raise OSError(f"the labels '{path}' do not exist: check labels.paths")
    try:
        own = CRS.from_user_input(crs) if crs is not None else None
    except CRSError as error:
        raise SITSError(
            f"labels.crs={crs!r} is no coordinate reference system, such as 'EPSG:32631': {error}"
        ) from error
    read = _read_vectors
    if path.lower().endswith('.csv'):
        read = _read_csv
    elif path.lower().endswith(('.parquet', '.geoparquet')):
        read = _read_parquet
    try:
        return read(path, column, layer, own, area)
    except SITSError:
        raise
    except (OSError, ValueError, pyogrio.errors.DataSourceError, RuntimeError) as error:
        raise OSError(
            f"the labels '{path}' cannot be read ({' '.join(str(error).split())}): write them "
            'again, or check that all files of theirs were copied'
        ) from error


def _read_vectors(
    path: str, column: str | None, layer: str | None, crs: CRS | None, area: Grid
) -> Features:
    """Read a file by GDAL."""
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if layer is not None and layer not in layers:
        raise SITSError(f"labels.layer={layer!r}: '{path}' has the layers {list_some(layers)}")
    if layer is None and len(layers) > 1:
        raise SITSError(
            f"'{path}' has several layers, {list_some(layers)}: name one as labels.layer"
        )
    if not layers:
        raise SITSError(f"'{path}' holds no geometries: give polygons or points as labels.paths")
    layer = layer or layers[0]
    info = pyogrio.read_info(path, layer=layer, force_total_bounds=True)

    def some() -> pd.DataFrame:
        return pyogrio.read_dataframe(path, layer=layer, read_geometry=False, max_features=_SOME)

    column = _checked_column(path, column, list(info['fields']), some)
    own = _own_crs(path, info['crs'], crs)
    options = {'layer': layer, 'columns': [column], 'use_arrow': True}
    found = pyogrio.read_dataframe(path, read_geometry=False, **options)[column]
    bounds = _bounds_in(area, own)
    frame = pyogrio.read_dataframe(
        path, bbox=bounds, force_2d=True, on_invalid='ignore', **options
    ).rename(columns={column: 'value'})
    if not isinstance(frame, gpd.GeoDataFrame):  # what GDAL gives where there is no feature
        frame = gpd.GeoDataFrame({'value': []}, geometry=[])
    extent = info['total_bounds'] or (math.nan,) * 4
    return Features(frame.set_crs(own, allow_override=True), _distinct(found), tuple(extent))


def _read_parquet(
    path: str, column: str | None, layer: str | None, crs: CRS | None, area: Grid
) -> Features:
    """Read a GeoParquet file, or a table in a Parquet file."""
    _refuse_layer(path, layer)
    schema = pq.read_schema(path)
    about = json.loads((schema.metadata or {}).get(b'geo', b'null'))
    if about is None:
        return _of_table(path, pd.read_parquet(path), column, crs, area)
    geometry = about['primary_column']
    names = [name for name in schema.names if name not in about['columns']]

    def some() -> pd.DataFrame:
        return next(pq.ParquetFile(path).iter_batches(_SOME, columns=names)).to_pandas()

    column = _checked_column(path, column, names, some)
    frame = gpd.read_parquet(path, columns=[column, geometry])
    own = _own_crs(path, frame.crs, crs)
    frame = gpd.GeoDataFrame({'value': frame[column]}, geometry=frame.geometry.array, crs=own)
    return _near(frame.set_crs(own, allow_override=True), area)


def _read_csv(
    path: str, column: str | None, layer: str | None, crs: CRS | None, area: Grid
) -> Features:
    """Read a table of points."""
    _refuse_layer(path, layer)
    return _of_table(path, _read_text(path), column, crs, area)


def read_point_table(path: str | os.PathLike[str]) -> gpd.GeoDataFrame:
    """Read a table of points in degrees, with all of its columns.

    Args:
        path: CSV file with columns of longitude and latitude, separated by commas, semicolons,
            tabs or bars.

    Returns:
        A row for each of the file; one without coordinates has no geometry.

    Raises:
        SITSError: If it has no such columns, or what they hold is no place in degrees.
        ValueError: If the file cannot be read.
    """
    table = _read_text(path)
    known = {str(name).strip().lower(): name for name in reversed(table.columns)}
    lon, lat = (next((known[n] for n in names if n in known), None) for names in (_LON, _LAT))
    if lon is None or lat is None:
        raise SITSError(
            f"the table '{path}' says no places: it needs columns lon and lat, in degrees, and has "
            f'{list_some(list(table.columns))}. Write points in other coordinates as a GeoPackage'
        )
    shapes = _points(path, table, lon, lat, in_degrees=True)
    return gpd.GeoDataFrame(table, geometry=shapes, crs='EPSG:4326')


def _read_text(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table of text, whose separator is found in its first line."""
    with open(path, encoding='utf-8-sig', newline='') as file:
        head = file.readline()
    try:
        delimiter = csv.Sniffer().sniff(head, delimiters=',;\t|').delimiter
    except csv.Error:  # of one column
        delimiter = ','
    return pd.read_csv(path, sep=delimiter, encoding='utf-8-sig', low_memory=False)


def _of_table(
    path: str, table: pd.DataFrame, column: str | None, crs: CRS | None, area: Grid
) -> Features:
    """Make points, or what is written as WKT, of the rows of a table."""
    known = {str(name).strip().lower(): name for name in reversed(table.columns)}

    def named(names: tuple[str, ...]) -> object:
        return next((known[name] for name in names if name in known), None)

    lon, lat, x, y, wkt = map(named, (_LON, _LAT, _X, _Y, _WKT))
    in_degrees = lon is not None and lat is not None
    used = [lon, lat] if in_degrees else [x, y]
    if None in used:
        used = [wkt]
    if used == [None]:
        raise SITSError(
            f"the table '{path}' says no places: it needs columns lon and lat, or x and y and "
            f'their labels.crs, or wkt; it has {list_some(list(table.columns))}'
        )
    names = [str(name) for name in table.columns if name not in used]
    column = _checked_column(path, column, names, lambda: table[names])
    own = _own_crs(path, 'EPSG:4326' if in_degrees and crs is None else None, crs)
    if len(used) == 1:
        shapes = shapely.from_wkt(table[wkt].astype(object), on_invalid='ignore')
    else:
        shapes = _points(path, table, used[0], used[1], in_degrees=own.is_geographic)
    frame = gpd.GeoDataFrame({'value': table[column].array}, geometry=shapes, crs=own)
    return _near(frame, area)


def _points(
    path: str | os.PathLike[str], table: pd.DataFrame, x: Any, y: Any, *, in_degrees: bool
) -> NDArray[np.object_]:
    """Points of two columns of coordinates; None where one is missing."""
    east, north = _numbers(table[x]), _numbers(table[y])
    if in_degrees and (odd := (abs(east) > 360) | (abs(north) > 90)).any():
        row = int(odd.argmax())
        raise SITSError(
            f"the table '{path}' has {x}={east[row]:g} and {y}={north[row]:g} in row {row + 1}, "
            'which is no place in degrees: are the columns swapped? Labels in other coordinates '
            'have columns x and y, and labels.crs'
        )
    lost = ~np.isfinite(east + north)
    found: NDArray[np.object_] = np.full(len(east), None, dtype=object)
    found[~lost] = shapely.points(east[~lost], north[~lost])
    return found


def _numbers(values: pd.Series) -> NDArray[np.float64]:
    """Coordinates as numbers, also with a comma before their decimals; NaN where there is none."""
    if not pd.api.types.is_numeric_dtype(values):
        values = values.astype(str).str.strip().str.replace(',', '.')
    return pd.to_numeric(values, errors='coerce').to_numpy(np.float64, na_value=math.nan)


def _near(frame: gpd.GeoDataFrame, area: Grid) -> Features:
    """Leave out what is far from the images; features without a geometry are kept."""
    found, extent = _distinct(frame['value']), tuple(frame.total_bounds.tolist())
    bounds = _bounds_in(area, frame.crs)
    if bounds is not None:
        west, south, east, north = shapely.bounds(frame.geometry.array).T
        far = (west > bounds[2]) | (east < bounds[0]) | (south > bounds[3]) | (north < bounds[1])
        frame = frame[~far]
    return Features(frame, found, extent)


def _bounds_in(area: Grid, crs: CRS) -> tuple[float, float, float, float] | None:
    """Bounds of the images in another CRS, a little wider; None where there are none in it."""
    try:
        west, south, east, north = transform_bounds(
            area.crs.to_wkt(), crs.to_wkt(), *area.bounds, densify_pts=51
        )
    except RasterioError:
        return None
    if not all(map(math.isfinite, (west, south, east, north))) or west > east:
        return None  # beyond the CRS, or across 180 degrees
    dx, dy = 0.01 * (east - west), 0.01 * (north - south)
    return west - dx, south - dy, east + dx, north + dy


def _checked_column(
    path: str, column: str | None, names: Sequence[str], some: Callable[[], pd.DataFrame]
) -> str:
    """The column, if the file has it.

    Args:
        path: The file.
        column: Its name.
        names: All columns but those of places.
        some: Reads a few rows, for examples of values.

    Returns:
        The name.

    Raises:
        SITSError: If it is not given, or not there.
    """
    if not names:
        where = ' (is its .dbf missing?)' if path.lower().endswith('.shp') else ''
        raise SITSError(f"'{path}' has no columns{where}: labels.column must name one with labels")
    if column in names:
        assert column is not None
        return column
    if column is None:
        raise SITSError(
            f"'{path}' holds vectors: name the column with their labels as labels.column. It has "
            f'{_examples(some())}'
        )
    like = get_close_matches(column.lower(), [name.lower() for name in names], 1)
    hint = next((f": did you mean '{n}'?" for n in names if [n.lower()] == like), '')
    raise SITSError(f"labels.column={column!r}: '{path}' has the columns {list_some(names)}{hint}")


def _examples(some: pd.DataFrame) -> str:
    """Names of columns with some of their values."""
    shown = []
    for name in some.columns[:12]:
        values = list(dict.fromkeys(map(str, some[name].dropna())))
        shown.append(f'{name} ({", ".join(values[:3])}{", ..." if len(values) > 3 else ""})')
    more = len(some.columns) - len(shown)
    return '; '.join(shown) + (f' and {more} more' if more > 0 else '')


def _own_crs(path: str, says: object, given: CRS | None) -> CRS:
    """The CRS of a file: what it says, else what was given.

    Raises:
        SITSError: If there is none, or both and they differ.
    """
    if says is None and given is None:
        where = ', or copy its .prj' if path.lower().endswith('.shp') else ''
        raise SITSError(
            f"'{path}' does not say its coordinate reference system: give it as labels.crs, such "
            f"as 'EPSG:4326'{where}"
        )
    own = given if says is None else CRS.from_user_input(says)
    assert own is not None
    if given is not None and not own.equals(given, ignore_axis_order=True):
        raise SITSError(
            f"labels.crs='{crs_name(given)}' is for files that do not say theirs, but '{path}' "
            f'is in {crs_name(own)}: leave labels.crs out'
        )
    return own


def _refuse_layer(path: str, layer: str | None) -> None:
    """Refuse a layer of a file that has none."""
    if layer is not None:
        raise SITSError(f"labels.layer={layer!r}: '{path}' has no layers, leave it out")


def _distinct(values: pd.Series) -> pd.Series:
    """All values but those that are missing, each once."""
    return values.dropna().drop_duplicates().reset_index(drop=True)

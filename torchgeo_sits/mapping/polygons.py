"""Tables of polygons: what maps hold within each polygon of a file, a row each."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from exactextract import exact_extract
from exactextract.raster import RasterioRasterSource
from numpy.typing import NDArray
from pandas import DataFrame
from pyogrio.errors import DataSourceError
from rasterio.crs import CRS

from ..datasets.labels.features import read_point_table
from ..errors import SITSError
from .outputs import ClassMap, Embedding, MapOutput, Probabilities

__all__ = ['read_polygons', 'summarise_maps', 'summarise_steps']


def read_polygons(path: Path) -> gpd.GeoDataFrame:
    """Read polygons or points to summarise maps in.

    Args:
        path: GeoPackage, GeoJSON, Shapefile, or another file that GDAL reads, GeoParquet, or a CSV
            file of points with columns of longitude and latitude.

    Returns:
        One row per feature, in the order of the file.

    Raises:
        SITSError: If the file does not open, holds no feature, or has no CRS.
        FileNotFoundError: If there is none.
    """
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist: give a file of polygons')
    try:
        parquet = path.suffix.lower() in ('.parquet', '.geoparquet')
        if path.suffix.lower() == '.csv':
            found = read_point_table(path)
        else:
            found = gpd.read_parquet(path) if parquet else gpd.read_file(path)
    except SITSError:
        raise
    except (DataSourceError, ValueError) as error:
        raise SITSError(
            f'{path} cannot be read as polygons or points ({error}): give a GeoPackage, GeoJSON, '
            'Shapefile or GeoParquet file, or a CSV file with columns lon and lat'
        ) from error
    if not isinstance(found, gpd.GeoDataFrame) or not len(found):
        raise SITSError(f'{path} holds no polygon and no point')
    if found.crs is None:
        raise SITSError(
            f'{path} has no coordinate reference system: write it into the file, for instance with '
            '`ogr2ogr -a_srs EPSG:32631`'
        )
    return found


def summarise_maps(polygons: gpd.GeoDataFrame, maps: Mapping[MapOutput, Path]) -> gpd.GeoDataFrame:
    """Summarise maps within polygons, each pixel by the share of it that lies inside.

    Shares of pixels are exact, by exactextract [1]_. A point stands for the pixel that it lies in.

    .. [1] D. Baston, exactextract, https://github.com/isciences/exactextract.

    Args:
        polygons: Polygons or points in any CRS. Invalid ones are repaired.
        maps: The maps and their rasters, all on one grid.

    Returns:
        The rows of *polygons* with all their columns, and after these

        - ``observed``: share of the polygon where the map has data;
        - ``pixels``: number of pixels with data, those on its edge by their share;
        - of a map of classes ``NAME``, the class of the largest share, and ``NAME_id``, its value;
        - of a map of classes ``NAME_share_CLASS``, too, the share of each class;
        - of probabilities ``NAME_CLASS``, their means;
        - of maps whose values have no mean, such as dates, ``NAME``, the value of most pixels;
        - of any other ``NAME``, the mean, with the number of the band where there are several.

        NAME is that of the map; a column that is there already keeps its own, and that of the map
        ends in ``_map``. Where nothing was observed all are missing.

    Examples:
        >>> import geopandas as gpd, numpy as np, rasterio, shapely, tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.mapping import ClassMap, summarise_maps
        >>> pixels = np.array([[[0, 0, 1, 1]]], np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'class.tif'
        ...     where = {'crs': 'EPSG:32631', 'transform': rasterio.Affine(10, 0, 0, 0, -10, 10)}
        ...     with rasterio.open(
        ...         path, 'w', count=1, width=4, height=1, dtype='uint8', nodata=255, **where
        ...     ) as file:
        ...         file.write(pixels)
        ...     field = gpd.GeoDataFrame(
        ...         {'farm': [7]}, geometry=[shapely.box(5, 0, 25, 10)], crs='EPSG:32631'
        ...     )
        ...     table = summarise_maps(field, {ClassMap('crop', 'p', ['wheat', 'maize']): path})
        >>> table['crop'][0], float(table['crop_share_wheat'][0])
        ('wheat', 0.75)
    """
    table = _summarise(polygons, maps)
    _warn_of_unseen(table.iloc[:, len(polygons.columns)] == 0)
    return table


def summarise_steps(
    polygons: gpd.GeoDataFrame,
    steps: Mapping[Embedding, Path],
    others: Mapping[MapOutput, Path] = MappingProxyType({}),
) -> gpd.GeoDataFrame:
    """Summarise embeddings of several steps in time within polygons.

    Args:
        polygons: Polygons or points, as of :func:`summarise_maps`.
        steps: Embeddings with a span, and their rasters.
        others: Maps that are no step in time, and their rasters.

    Returns:
        For each of the rows of *polygons* a row for each step, one below the other, with ``time``,
        the last day of the step, and the columns of :func:`summarise_maps`.
    """
    tables = []
    for step, path in steps.items():
        assert step.span is not None  # asked of no others
        found = _summarise(polygons, {Embedding('embedding', step.key): path, **others})
        name = 'time_map' if 'time' in polygons.columns else 'time'
        day = pd.Timestamp(step.span.last).as_unit('ms')
        dated = polygons.assign(**{name: pd.Series(day, polygons.index)})
        found = dated.join(found.iloc[:, len(polygons.columns) :])
        tables.append(found.set_axis(range(len(found))))
    observed = np.stack([table.iloc[:, len(polygons.columns) + 1] for table in tables])
    _warn_of_unseen((observed == 0).all(0))
    return pd.concat(tables).sort_index(kind='stable').reset_index(drop=True)


def _warn_of_unseen(unseen: NDArray[np.bool_] | pd.Series) -> None:
    """Say how many polygons have no value."""
    if none := int(unseen.sum()):
        warnings.warn(
            f'{none} of {len(unseen)} polygons have no value: they are empty, lines, off the '
            'map, or nothing was observed in them',
            UserWarning,
            stacklevel=3,
        )


def _summarise(polygons: gpd.GeoDataFrame, maps: Mapping[MapOutput, Path]) -> gpd.GeoDataFrame:
    """Summarise maps within polygons, as :func:`summarise_maps` does."""
    first = next(iter(maps.values()))
    with rasterio.open(first) as file:
        crs, transform, bounds = file.crs, file.transform, file.bounds
    shapes = _placed(polygons, crs, transform)
    area = shapely.area(shapes) / abs(transform.a * transform.e)
    here = shapely.intersects(shapes, shapely.box(*bounds)) & (area > 0)
    features = gpd.GeoDataFrame({_ROW: np.flatnonzero(here)}, geometry=shapes[here], crs=crs)
    count = _extract(first, features, ['count']).iloc[:, 0]
    count = count.reindex(range(len(polygons))).fillna(0).to_numpy(float)
    covered = DataFrame(
        {
            'observed': np.where(area > 0, count / np.where(area > 0, area, 1), 0).clip(0, 1),
            'pixels': count,
        }
    )
    found = [_summary(output, path, features) for output, path in maps.items()]
    table = pd.concat([covered, *found], axis=1).reindex(range(len(polygons)))
    taken = set(polygons.columns)
    table.columns = [f'{name}_map' if name in taken else name for name in table.columns]
    return polygons.join(table.set_axis(polygons.index))


def areas_of(shapes: gpd.GeoSeries) -> NDArray[np.float64]:
    """Measure areas in square metres, on the ellipsoid where coordinates are degrees.

    Args:
        shapes: N polygons.

    Returns:
        ``(N,)``.

    Examples:
        >>> import geopandas as gpd, shapely
        >>> from torchgeo_sits.mapping.polygons import areas_of
        >>> round(areas_of(gpd.GeoSeries([shapely.box(0, 0, 1, 1)], crs='EPSG:4326'))[0] / 1e6)
        12309
    """
    if shapes.crs.is_geographic:
        geod = shapes.crs.get_geod()
        # Clockwise ones are negative.
        found = [abs(geod.geometry_area_perimeter(outline)[0]) for outline in shapes]
        return np.array(found, float)
    axes = shapes.crs.axis_info  # none of some compound systems
    metres = axes[0].unit_conversion_factor if axes else 1.0
    return shapes.area.to_numpy(float) * metres**2


def means_of_classes(
    shapes: gpd.GeoSeries, classes: NDArray[np.integer], raster: Path, *, binary: bool = False
) -> NDArray[np.float64]:
    """Average the probability of its own class within each polygon.

    Args:
        shapes: N polygons in the CRS of the raster.
        classes: Position of the class of each among the bands, ``(N,)``.
        raster: Probabilities, a band for each class.
        binary: Whether there is one band, of class 1: class 0 has the rest.

    Returns:
        ``(N,)``, NaN where there is none.

    Examples:
        >>> import geopandas as gpd, numpy as np, rasterio, shapely, tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.mapping.polygons import means_of_classes
        >>> where = {'crs': 'EPSG:32631', 'transform': rasterio.Affine(10, 0, 0, 0, -10, 10)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'p.tif'
        ...     with rasterio.open(
        ...         path, 'w', count=1, width=2, height=1, dtype='float32', **where
        ...     ) as file:
        ...         file.write(np.array([[[0.25, 0.75]]], np.float32))
        ...     both = gpd.GeoSeries([shapely.box(0, 0, 20, 10)] * 2, crs='EPSG:32631')
        ...     means_of_classes(both, np.array([0, 1]), path, binary=True).tolist()
        [0.5, 0.5]
    """
    means = np.full(len(shapes), np.nan)
    with rasterio.open(raster) as file:
        for position in np.unique(classes):
            rows = np.flatnonzero(classes == position)
            features = gpd.GeoDataFrame({_ROW: rows}, geometry=shapes.array[rows])
            band = _StoredBand(file, 1 if binary else int(position) + 1)
            found = _extract_bands(band, features, ['mean'])
            means[found.index] = found.iloc[:, 0]
    return np.where(classes == 0, 1 - means, means) if binary else means


#: Column with the number of the row of a feature, from 0.
_ROW: Final = 'torchgeo_sits_row'


def _placed(
    polygons: gpd.GeoDataFrame, crs: CRS, transform: rasterio.Affine
) -> NDArray[np.object_]:
    """Valid shapes ``(N,)`` in the CRS of the maps, points as the pixels that they lie in."""
    shapes = np.array(polygons.geometry.to_crs(crs.to_wkt()).force_2d(), dtype=object)
    shapes[shapely.is_missing(shapes)] = shapely.Polygon()
    broken = ~shapely.is_valid(shapes)
    if broken.any():
        shapes[broken] = shapely.make_valid(
            shapes[broken], method='structure', keep_collapsed=False
        )
        warnings.warn(
            f'{broken.sum()} of {len(shapes)} polygons cross or touch themselves and are repaired',
            UserWarning,
            stacklevel=3,
        )
    points = shapely.get_type_id(shapes) == shapely.GeometryType.POINT
    points &= ~shapely.is_empty(shapes)
    x, y = shapely.get_x(shapes[points]), shapely.get_y(shapes[points])
    column, row = np.floor(np.stack(~transform * (x, y)))
    (left, top), (right, bottom) = transform * (column, row), transform * (column + 1, row + 1)
    shapes[points] = shapely.box(left, bottom, right, top)
    return shapes


def _extract(path: Path, features: gpd.GeoDataFrame, operations: list[str]) -> DataFrame:
    """Summarise a raster by operations of exactextract, a row for each feature by its number."""
    if not len(features):
        return DataFrame(columns=operations, index=pd.Index([], dtype=int))
    with rasterio.open(path) as file:
        bands = [_StoredBand(file, i, name=f'band {i}') for i in file.indexes]
        return _extract_bands(bands if len(bands) > 1 else _StoredBand(file), features, operations)


def _extract_bands(bands: Any, features: gpd.GeoDataFrame, operations: list[str]) -> DataFrame:
    """Summarise open bands by operations of exactextract, as :func:`_extract` does."""
    found = exact_extract(
        bands,
        features,
        operations,
        include_cols=[_ROW],
        strategy='raster-sequential',  # a tile is decoded once, not once for each polygon
        output='pandas',
    )
    return found.set_index(_ROW)


class _StoredBand(RasterioRasterSource):
    """A band as it is stored: of scaled ones exactextract counts what is no data as zeros."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scaled = False


def _summary(output: MapOutput, path: Path, features: gpd.GeoDataFrame) -> DataFrame:
    """Columns of one map, a row for each feature by its number."""
    if isinstance(output, ClassMap):
        return _shares(output, _extract(path, features, ['unique', 'frac']))
    if output.is_picked:
        return _extract(path, features, ['majority']).set_axis([output.name], axis=1)
    means = _extract(path, features, ['mean'])
    with rasterio.open(path) as file:
        if not len(features):
            means = DataFrame(np.empty((0, file.count)), index=means.index)
        means = means * file.scales + file.offsets
        names: list[Any] = list(range(file.count))
    if isinstance(output, Probabilities):
        names = output.classes
    single = len(names) == 1
    return means.set_axis([output.name if single else f'{output.name}_{n}' for n in names], axis=1)


def _shares(output: ClassMap, found: DataFrame) -> DataFrame:
    """Share of each class, and the class with the largest one."""
    shares = np.full((len(found), len(output.classes)), np.nan)
    for share, classes, parts in zip(shares, found['unique'], found['frac'], strict=True):
        if len(classes):
            share[:] = 0
            share[[output.values.index(int(value)) for value in classes]] = parts
    seen = np.isfinite(shares[:, 0])
    largest = np.nan_to_num(shares, nan=-1).argmax(1)
    names = np.array([*output.classes, None], dtype=object)
    return DataFrame(
        {
            output.name: names[np.where(seen, largest, len(output.classes))],
            f'{output.name}_id': pd.Series(
                np.array(output.values)[largest], found.index, 'Int32'
            ).where(seen),
        }
        | {f'{output.name}_share_{name}': shares[:, i] for i, name in enumerate(output.classes)},
        index=found.index,
    )

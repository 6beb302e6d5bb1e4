"""Geometries of labels in pixels of the images: repaired, reprojected, shrunk."""

from collections import Counter
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from ...grid import Grid

__all__ = ['PARTS', 'as_geojson', 'shapes_on_pixels']

Shapes = NDArray[np.object_]

#: Parts of a pixel that coordinates are rounded to. Sums with numbers of rows and columns are exact
#: then, so that a pixel whose centre lies on an edge has one label, whatever the window.
PARTS = 1 << 20
#: Longest edge, in degrees and in units of other systems, that is taken to be straight in another
#: system: it is off by centimetres.
_LONGEST = {True: 0.01, False: 1000.0}
#: Numbers of types of geometries in shapely.
_LINES, _POLYGONS, _COLLECTION = (1, 2, 5), (3, 6), 7


def shapes_on_pixels(
    frame: gpd.GeoDataFrame, area: Grid, shrink: float, lost: Counter[str]
) -> Shapes:
    """Turn geometries into shapes in columns and rows of the images.

    Args:
        frame: F features in a coordinate reference system of their own.
        area: Grid of the images.
        shrink: Distance in metres by which polygons are shrunk.
        lost: Counts features that have no shape or another one, by what is wrong.

    Returns:
        Polygons and points ``(F,)``, None where there is nothing to burn. The corner of the
        first pixel is (0, 0), y points down.
    """
    shapes = np.array(frame.geometry.array, dtype=object)
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    lost['no geometry'] += int(empty.sum())
    shapes[empty] = None
    invalid = ~shapely.is_valid(shapes) & ~empty
    lost['an invalid geometry, which was repaired'] += int(invalid.sum())
    shapes[invalid] = shapely.make_valid(shapes[invalid], method='structure', keep_collapsed=False)
    mixed = shapely.get_type_id(shapes) == _COLLECTION
    shapes[mixed] = [_burnable(shape) for shape in shapes[mixed]]
    lines = np.isin(shapely.get_type_id(shapes), _LINES)
    lost['a line, which labels no pixel: buffer it'] += int(lines.sum())
    shapes[lines] = None
    shapes = _reproject(shapes, frame.crs, area.crs, shrink, lost)

    def to_pixels(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        found = (xy - [area.left, area.top]) / [area.xres, -area.yres]
        rounded: NDArray[np.float64] = np.round(found * PARTS) / PARTS
        return rounded

    pixels: Shapes = shapely.transform(shapes, to_pixels)
    return pixels


def as_geojson(shapes: Shapes) -> list[dict[str, Any]]:
    """Spell polygons and points as rasterio burns them.

    All at a time, which takes a tenth of the time of ``__geo_interface__`` of each.

    Args:
        shapes: Polygons and points, or several of one kind in one, ``(F,)``.

    Returns:
        A mapping for each.
    """
    parts, owner = shapely.get_parts(shapes, return_index=True)
    are_points = shapely.get_type_id(parts) == 0
    rings, of_part = shapely.get_rings(parts, return_index=True)
    places: list[list[Any]] = [[] for _ in parts]
    coordinates, of_ring = shapely.get_coordinates(rings, return_index=True)
    ends = np.searchsorted(of_ring, np.arange(1, len(rings) + 1))
    flat, first = coordinates.tolist(), 0
    for part, end in zip(of_part.tolist(), ends.tolist(), strict=True):
        places[part].append(flat[first:end])
        first = end
    for part, place in zip(
        np.flatnonzero(are_points).tolist(),
        shapely.get_coordinates(parts[are_points]).tolist(),
        strict=True,
    ):
        places[part] = place
    found: list[dict[str, Any]] = [{'coordinates': []} for _ in shapes]
    for part, (number, is_point) in enumerate(
        zip(owner.tolist(), are_points.tolist(), strict=True)
    ):
        found[number]['type'] = 'MultiPoint' if is_point else 'MultiPolygon'
        found[number]['coordinates'].append(places[part])
    return found


def _burnable(shape: shapely.Geometry) -> shapely.Geometry | None:
    """The polygons of a collection, or its points where there are none."""
    parts = shapely.get_parts(shape)
    while (nested := shapely.get_type_id(parts) == _COLLECTION).any():
        parts = np.concatenate([parts[~nested], shapely.get_parts(parts[nested])])
    kinds = shapely.get_type_id(parts)
    for wanted in (_POLYGONS, (0, 4)):
        if (chosen := np.isin(kinds, wanted)).any():
            return shapely.union_all(parts[chosen])
    return parts[0] if len(parts) else None  # lines are counted as such


def _reproject(shapes: Shapes, crs: CRS, target: CRS, shrink: float, lost: Counter[str]) -> Shapes:
    """Reproject, and shrink by metres: in degrees by way of UTM."""
    target = CRS.from_user_input(target)
    if not crs.equals(target, ignore_axis_order=True):
        shapes = shapely.segmentize(shapes, _LONGEST[crs.is_geographic])
    series = gpd.GeoSeries(shapes, crs=crs)
    if shrink:
        metric = series.estimate_utm_crs() if target.is_geographic else target
        series = _to_crs(series, metric, lost)
        metres = metric.axis_info[0].unit_conversion_factor
        polygons = np.isin(shapely.get_type_id(series.to_numpy()), _POLYGONS)
        smaller = series.to_numpy().copy()
        smaller[polygons] = shapely.buffer(smaller[polygons], -shrink / metres)
        series = gpd.GeoSeries(smaller, crs=metric)
    return np.array(_to_crs(series, target, lost), dtype=object)


def _to_crs(series: gpd.GeoSeries, crs: CRS, lost: Counter[str]) -> gpd.GeoSeries:
    """Reproject, without those that have no coordinates there."""
    shapes: Shapes = np.array(series.to_crs(crs), dtype=object)
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    beyond = there & ~np.isfinite(shapely.bounds(shapes)).all(axis=1)
    lost["coordinates outside of the images' coordinate reference system"] += int(beyond.sum())
    shapes[beyond] = None
    return gpd.GeoSeries(shapes, crs=crs)

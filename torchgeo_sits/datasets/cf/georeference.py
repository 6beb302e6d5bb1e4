"""Coordinate reference system and grid of pixels of a data set, by the CF conventions."""

import warnings
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.crs import CRS as RasterCRS
from rasterio.errors import CRSError as RasterCRSError

from ...errors import SITSError
from ...grid import Grid
from .axes import UNITS, Variables, axis_of, coordinates_along

__all__ = ['crs_of', 'grid_of_axes']

#: Metres in units of projected coordinates.
_METRES = {
    **dict.fromkeys(('m', 'metre', 'metres', 'meter', 'meters'), 1.0),
    **dict.fromkeys(('km', 'kilometre', 'kilometres', 'kilometer', 'kilometers'), 1000.0),
}
#: Share of a pixel by which coordinates may be off an even grid.
_UNEVEN = 0.01


def crs_of(
    dataset: xr.Dataset,
    variable: xr.Variable,
    variables: Variables,
    axes: tuple[Hashable, Hashable],
    path: str,
    *,
    given: CRS | None,
) -> tuple[CRS, Mapping[str, Any]]:
    """Find the CRS of a variable, and the attributes of its grid mapping."""
    referenced = str(variable.attrs.get('grid_mapping', '')).split()[:1]
    mapping: Mapping[str, Any] = {}
    # What is referenced counts; a mapping that nobody references is what rioxarray reads, too.
    for name in (*(n.rstrip(':') for n in referenced), 'spatial_ref', 'crs', *variables):
        if name in variables and (crs := _mapping_crs(variables[name].attrs, path)):
            mapping = variables[name].attrs
            return crs, mapping
    for said in _told_crs(dataset, variable, variables):
        try:
            return CRS.from_user_input(said), mapping
        except CRSError:
            continue
    if all(_is_degrees(variables, dim) for dim in axes):
        return CRS.from_epsg(4326), mapping  # what CF leaves open, and nearly all mean
    if given is not None:
        return given, mapping
    raise SITSError(
        f"'{path}' has no coordinate reference system: give the one of its x and y as `crs`, such "
        "as 'EPSG:32631', or write it, for instance with rioxarray's ds.rio.write_crs"
    )


def _mapping_crs(attributes: Mapping[str, Any], path: str) -> CRS | None:
    """The CRS of a grid mapping; None where a variable is none."""
    text = attributes.get('crs_wkt') or attributes.get('spatial_ref')
    if text is None and 'grid_mapping_name' not in attributes:
        return None
    try:
        if text is not None:
            return CRS.from_user_input(text)
        return CRS.from_cf(dict(attributes))
    except (CRSError, KeyError, ValueError) as error:
        name = attributes.get('grid_mapping_name', text)
        raise SITSError(
            f"the grid mapping {str(name)[:60]!r} of '{path}' is no coordinate reference system "
            f"({error}): write it again, for instance with rioxarray's ds.rio.write_crs"
        ) from error


def _told_crs(dataset: xr.Dataset, variable: xr.Variable, variables: Variables) -> Iterator[Any]:
    """What else may say the CRS: attributes of xarray and GeoZarr, and numbers of EPSG."""
    for attributes in (variable.attrs, dataset.attrs):
        for key in ('proj:code', 'proj:wkt2', 'proj:epsg', 'crs', 'spatial_ref', 'crs_wkt'):
            if isinstance(said := attributes.get(key), str | int | np.integer):
                yield said
    for name in ('epsg', 'proj:epsg', 'proj:code'):  # as stackstac writes them
        if name in variables and variables[name].size == 1:
            yield variables[name].values.item()


def _is_degrees(variables: Variables, dim: Hashable) -> bool:
    """Tell whether a dimension is one of latitudes or longitudes."""
    for name in coordinates_along(variables, dim):
        attributes = variables[name].attrs
        units = str(attributes.get('units', '')).lower()
        standard = attributes.get('standard_name')
        if units in UNITS or standard in ('latitude', 'longitude'):
            return True
        if not units and not standard and str(name).lower().startswith(('lat', 'lon')):
            return True
    return False


def grid_of_axes(
    dataset: xr.Dataset,
    variable: xr.Variable,
    axes: tuple[Hashable, Hashable],
    crs: CRS,
    mapping: Mapping[str, Any],
    path: str,
) -> tuple[Grid, tuple[bool, bool]]:
    """Lay the grid over coordinates of the centres of pixels; which axes are stored reversed."""
    variables = dataset.variables
    told = _transform(dataset, variable, mapping)
    edges: list[tuple[float, float]] = []  # of the first and of the last pixel, as stored
    for i, dim in enumerate(axes):
        size = dataset.sizes[dim]
        step = None if told is None else told[i][1]
        named = [
            n for n in coordinates_along(variables, dim) if axis_of(n, variables[n]) is not None
        ]
        if named:
            factor = _unit(variables[named[0]], crs, mapping)
            own, loose = _edges(variables, named[0], factor, step, path)
            if told is not None:
                start, step = told[i]
                said = start, start + step * size
                # Coordinates are what counts: a transform stays behind when a part is cut out.
                if max(abs(a - b) for a, b in zip(own, said, strict=True)) <= loose:
                    own = said
        elif told is not None:
            own = told[i][0], told[i][0] + told[i][1] * size
        else:
            raise SITSError(
                f"'{path}' has no coordinates for the dimension {str(dim)!r}: write those of the "
                "centres of its pixels, for instance with rioxarray's ds.rio.write_transform"
            )
        edges.append(own)
    (first_y, last_y), (first_x, last_x) = edges
    height, width = (dataset.sizes[dim] for dim in axes)
    left, top = min(first_x, last_x), max(first_y, last_y)
    xres, yres = abs(last_x - first_x) / width, abs(last_y - first_y) / height
    if crs.is_geographic and left >= 180:  # from 0 to 360
        left -= 360
    elif crs.is_geographic and left + width * xres > 180 + xres / 2:
        warnings.warn(
            f"'{path}' spans longitudes from {left:g} to {left + width * xres:g}: those beyond 180 "
            'are kept as they are, and do not meet labels that are written as -180 and more',
            UserWarning,
            stacklevel=2,
        )
    try:
        raster_crs = RasterCRS.from_user_input(crs)
    except RasterCRSError as error:
        raise SITSError(f"the CRS of '{path}' is none that GDAL knows ({error})") from error
    grid = Grid(left, top, xres, yres, width, height, raster_crs)
    return grid, (last_y > first_y, last_x < first_x)


def _unit(variable: xr.Variable, crs: CRS, mapping: Mapping[str, Any]) -> float:
    """Factor from a coordinate to units of the CRS."""
    units = str(variable.attrs.get('units', '')).lower()
    if units in ('rad', 'radian', 'radians') and 'perspective_point_height' in mapping:
        return float(mapping['perspective_point_height'])
    if units not in _METRES or crs.is_geographic:
        return 1.0
    return _METRES[units] / crs.axis_info[0].unit_conversion_factor


def _edges(
    variables: Variables, name: Hashable, factor: float, step: float | None, path: str
) -> tuple[tuple[float, float], float]:
    """Outer edges of the first and the last pixel along an axis, and how exact they are."""
    coordinate = variables[name]
    values = np.asarray(coordinate.values, np.float64) * factor
    if not np.isfinite(values).all():
        raise SITSError(f"the coordinate {str(name)!r} of '{path}' is not finite")
    bounds = variables.get(coordinate.attrs.get('bounds'))
    if bounds is not None and bounds.shape == (len(values), 2):
        # They say so where coordinates are no centres.
        own = np.asarray(bounds.values, np.float64) * factor
        own = np.sort(own, axis=1)[:, :: 1 if values[-1] >= values[0] else -1]
        values, step = own.mean(axis=1), float((own[:, 1] - own[:, 0]).mean())
    if len(values) > 1:
        step = float(values[-1] - values[0]) / (len(values) - 1)
    if not step:
        raise SITSError(
            f"'{path}' has one pixel along {str(name)!r}, which does not say how large it is: "
            "write a transform, for instance with rioxarray's ds.rio.write_transform"
        )
    kind = coordinate.dtype if coordinate.dtype.kind == 'f' else np.dtype(np.float64)
    rounding = 2 * float(np.spacing(np.abs(values / factor).max().astype(kind))) * factor
    loose = max(_UNEVEN * abs(step), rounding)
    off = np.abs(values - (values[0] + step * np.arange(len(values)))).max()
    if off > loose:
        steps = np.diff(values)
        raise SITSError(
            f"'{path}' is not on an even grid: steps along {str(name)!r} go from {steps.min():g} "
            f'to {steps.max():g}. Interpolate it to even steps first, for instance with '
            "xarray's ds.interp"
        )
    return (float(values[0]) - step / 2, float(values[-1]) + step / 2), loose


def _transform(
    dataset: xr.Dataset, variable: xr.Variable, mapping: Mapping[str, Any]
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """First edge and step along y and along x, as an attribute tells; None where none does."""
    if (text := mapping.get('GeoTransform')) is not None:
        numbers = _floats(text.split() if isinstance(text, str) else text)
        if len(numbers) == 6 and numbers[2] == numbers[4] == 0:
            return (numbers[3], numbers[5]), (numbers[0], numbers[1])
    for attributes in (variable.attrs, dataset.attrs):
        for key in ('spatial:transform', 'transform', 'proj:transform'):
            numbers = _floats(attributes.get(key, ()))
            if len(numbers) in (6, 9) and numbers[1] == numbers[3] == 0:
                return (numbers[5], numbers[4]), (numbers[2], numbers[0])
    return None


def _floats(values: Any) -> list[float]:
    """Numbers of an attribute; empty where it holds others."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return []

"""What a data set of xarray says of a series by the CF conventions: its grid, times and bands."""

import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.crs import CRS as RasterCRS
from rasterio.errors import CRSError as RasterCRSError
from xarray.conventions import decode_cf_variable

from ...errors import SITSError
from ...grid import Grid
from ..filenames import ANCILLARY_BANDS
from ..files import list_examples

__all__ = ['Band', 'CFLayout', 'read_layout']


Variables = Mapping[Hashable, xr.Variable]
Axis = Literal['T', 'Y', 'X']

#: Axes by ``standard_name``, by ``units``, and by common names of variables that have neither.
STANDARD_NAMES: dict[str, Axis] = {
    'time': 'T',
    'latitude': 'Y',
    'grid_latitude': 'Y',
    'projection_y_coordinate': 'Y',
    'projection_y_angular_coordinate': 'Y',
    'longitude': 'X',
    'grid_longitude': 'X',
    'projection_x_coordinate': 'X',
    'projection_x_angular_coordinate': 'X',
}
UNITS: dict[str, Axis] = {
    **dict.fromkeys(('degrees_north', 'degree_north', 'degreesn', 'degree_n', 'degrees_n'), 'Y'),
    **dict.fromkeys(('degrees_east', 'degree_east', 'degreese', 'degree_e', 'degrees_e'), 'X'),
}
_NAMES: dict[str, Axis] = {
    **dict.fromkeys(('time', 't', 'date', 'dates', 'datetime'), 'T'),
    **dict.fromkeys(('y', 'lat', 'latitude', 'northing', 'northings', 'yc'), 'Y'),
    **dict.fromkeys(('x', 'lon', 'long', 'longitude', 'easting', 'eastings', 'xc'), 'X'),
}


def axes_of(variables: Variables, sizes: Mapping[Hashable, int]) -> dict[Hashable, Axis]:
    """Axis of each dimension that is one of time, y and x."""
    axes: dict[Hashable, Axis] = {}
    for dim in sizes:
        known = [axis_of(name, variables[name]) for name in coordinates_along(variables, dim)]
        axis = next((axis for axis in known if axis is not None), None)
        if axis is None and dim not in variables:  # the transform may say where it lies
            axis = _NAMES.get(str(dim).lower())
        if axis is not None:
            axes[dim] = axis
    return axes


def coordinates_along(variables: Variables, dim: Hashable) -> list[Hashable]:
    """Variables along a dimension alone, that of its name first."""
    along = [name for name, variable in variables.items() if variable.dims == (dim,)]
    return sorted(along, key=lambda name: name != dim)


def axis_of(name: Hashable, variable: xr.Variable) -> Axis | None:
    """Axis of a coordinate, by its attributes, failing these by its name."""
    said = {key: str(variable.attrs.get(key, '')) for key in ('axis', 'standard_name', 'units')}
    axis = said['axis'].upper()
    if axis in ('T', 'Y', 'X'):
        return axis  # type: ignore[return-value]
    if axis or said['standard_name']:
        return STANDARD_NAMES.get(said['standard_name']) or _NAMES.get(str(name).lower())
    if ' since ' in said['units']:
        return 'T'
    return UNITS.get(said['units'].lower()) or _NAMES.get(str(name).lower())


def times_along(variables: Variables, dim: Hashable | None, path: str) -> NDArray[np.int64]:
    """Seconds since 1970 UTC along the dimension of time, in its order."""
    if dim is None:
        names = [n for n, v in variables.items() if v.ndim == 0 and axis_of(n, v) == 'T']
    else:
        names = [n for n in coordinates_along(variables, dim) if axis_of(n, variables[n]) == 'T']
    if not names:
        raise SITSError(
            f"the dimension of time {str(dim)!r} of '{path}' has no coordinate: write the times of "
            "its frames, for instance with xarray's ds.assign_coords"
        )
    name, variable = names[0], variables[names[0]]
    values = _decoded_times(name, variable, path)
    if lacking := int(np.isnat(values).sum()):
        raise SITSError(
            f"{lacking} of {len(values)} times of '{path}' are missing ({str(name)!r} has no "
            'value): write them, or leave these frames out'
        )
    # Floats of days are off by microseconds: to the nearest millisecond, and its second.
    micros = values.astype('datetime64[us]').astype(np.int64)
    return np.floor_divide((micros + 500) // 1000, 1000)


def _decoded_times(name: Hashable, variable: xr.Variable, path: str) -> NDArray[np.datetime64]:
    """Times of a coordinate, ``(T,)``."""
    values = np.atleast_1d(variable.values)
    what = f"the times {str(name)!r} of '{path}'"
    if values.dtype.kind in 'USOT':
        text = [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
        try:
            stamps = pd.to_datetime(text, utc=True, format='ISO8601')
        except ValueError as error:
            raise SITSError(f'{what} cannot be read ({error}): write them as CF does') from error
        return stamps.tz_localize(None).to_numpy()
    if ' since ' not in str(variable.attrs.get('units', '')):
        raise SITSError(
            f"{what} have no units such as 'days since 1970-01-01' (they say "
            f'{variable.attrs.get("units")!r}): write them as CF does'
        )
    calendar = str(variable.attrs.get('calendar', 'standard'))
    if calendar.lower() == 'julian':
        raise SITSError(f'{what} are of the calendar {calendar!r}, expected the usual one')
    try:
        decoded = np.atleast_1d(decode_cf_variable(name, variable).values)
    except Exception as error:  # whatever xarray and cftime raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SITSError(f'{what} cannot be read ({reason}): write them as CF does') from error
    if decoded.dtype.kind == 'M':
        return decoded
    try:
        dates = [
            datetime(d.year, d.month, d.day, d.hour, d.minute, d.second, d.microsecond)
            for d in decoded
        ]
    except ValueError as error:
        wrong = next(d for d in decoded if not _exists(d))
        raise SITSError(
            f'{what} are of the calendar {calendar!r}, and {wrong} is no date: convert them, for '
            "instance with xarray's ds.convert_calendar('standard', align_on='date')"
        ) from error
    return np.array(dates, 'datetime64[us]')


def _exists(date: Any) -> bool:
    """Tell whether a date of another calendar is one of the usual calendar."""
    try:
        datetime(date.year, date.month, date.day)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Band:
    """A band of the series.

    Attributes:
        name: Its name.
        variable: Variable that holds it.
        position: Number along the dimension of bands; None where the variable has none.
    """

    name: str
    variable: str
    position: int | None = None


@dataclass(frozen=True)
class CFLayout:
    """Axes, grid, times and bands of a series.

    Attributes:
        dims: Names of the dimensions of time (None for one time without), y and x.
        band_dims: Dimension of bands of the variables that have one.
        flipped: Whether y is stored from south to north, and x from east to west.
        grid: The pixels, from north to south and from west to east.
        crs: Their coordinate reference system.
        times: Seconds since 1970 UTC, ``(T,)``, ascending.
        frames: Numbers of these along the dimension of time, ``(T,)``.
        bands: The bands that were asked for, or all that are spectral.
    """

    dims: tuple[Hashable | None, Hashable, Hashable]
    band_dims: dict[str, Hashable]
    flipped: tuple[bool, bool]
    grid: Grid
    crs: CRS
    times: NDArray[np.int64]
    frames: NDArray[np.intp]
    bands: tuple[Band, ...]


def read_layout(
    dataset: xr.Dataset,
    path: str,
    *,
    bands: Sequence[str] | None = None,
    crs: CRS | None = None,
    apart_from: str | None = None,
) -> CFLayout:
    """Find the series in a data set.

    Args:
        dataset: As it is stored: neither times nor values decoded, attributes at their variables.
        path: Where it lies, for messages.
        bands: Bands wanted; None for all variables of one grid but masks and flags.
        crs: CRS of a data set that says none.
        apart_from: A variable that is no band unless it is asked for.

    Returns:
        The layout.

    Raises:
        SITSError: If there is no series on an even grid, or it cannot be told which.
    """
    variables = dataset.variables
    axes = axes_of(variables, dataset.sizes)
    candidates = _candidates(dataset, axes)
    if not candidates:
        raise SITSError(_no_series(dataset, path, axes))
    found, band_dims = _bands(variables, candidates, axes)
    chosen = _choose(found, path, variables, bands=bands, apart_from=apart_from)
    grids = defaultdict(list)
    for band in chosen:
        grids[candidates[band.variable]].append(band.name)
    if len(grids) > 1:
        told = '; '.join(
            f'{_sizes(dims, dataset)}: {list_examples(g)}' for dims, g in grids.items()
        )
        raise SITSError(
            f"'{path}' holds variables on {len(grids)} grids ({told}): name those of one of them "
            'in `bands`'
        )
    [dims] = grids
    time, y, x = dims
    first = variables[chosen[0].variable]
    found_crs, mapping = crs_of(dataset, first, variables, (y, x), path, given=crs)
    grid, flipped = grid_of_axes(dataset, first, (y, x), found_crs, mapping, path)
    times = times_along(variables, time, path)
    order = np.argsort(times, kind='stable')
    return CFLayout(
        dims=dims,
        band_dims={b.variable: band_dims[b.variable] for b in chosen if b.position is not None},
        flipped=flipped,
        grid=grid,
        crs=found_crs,
        times=times[order],
        frames=order,
        bands=chosen,
    )


def _candidates(
    dataset: xr.Dataset, axes: Mapping[Hashable, Axis]
) -> dict[str, tuple[Hashable | None, Hashable, Hashable]]:
    """Variables of dated images by name, with their dimensions of time, y and x."""
    variables = dataset.variables
    one_time = any(axis_of(n, v) == 'T' for n, v in variables.items() if v.ndim == 0)
    found: dict[str, tuple[Hashable | None, Hashable, Hashable]] = {}
    for name, variable in variables.items():
        own: dict[str, list[Hashable]] = {'T': [], 'Y': [], 'X': [], '': []}
        for dim in variable.dims:
            own[axes.get(dim, '')].append(dim)
        places = variable.attrs.get('standard_name') in STANDARD_NAMES or (
            str(variable.attrs.get('units', '')).lower() in UNITS
        )
        if variable.dtype.kind not in 'iufb' or places:
            continue
        if len(own['Y']) != 1 or len(own['X']) != 1 or len(own['T']) > 1:
            continue
        if not own['T'] and not one_time:
            continue
        if sum(dataset.sizes[dim] > 1 for dim in own['']) > 1:
            continue
        found[str(name)] = (own['T'][0] if own['T'] else None, own['Y'][0], own['X'][0])
    return found


def _no_series(dataset: xr.Dataset, path: str, axes: Mapping[Hashable, Axis]) -> str:
    """Tell why a data set holds no series, and what to do."""
    variables = dataset.variables
    two = [n for n, v in variables.items() if v.ndim == 2 and axis_of(n, v) in ('Y', 'X')]
    images = [n for n, v in variables.items() if {axes.get(d) for d in v.dims} >= {'Y', 'X'}]
    if two and not {'Y', 'X'} <= set(axes.values()):
        return (
            f"'{path}' is on a curvilinear grid: {list_examples(two)} have two dimensions. Put it "
            'on an even grid first, for instance with pyresample or xESMF'
        )
    if images:
        return (
            f"'{path}' has no dimension of time in {list_examples(images)}: add one, for instance "
            "with xarray's ds.expand_dims(time=[date]), and write it again"
        )
    told = [f'{name}({", ".join(map(str, v.dims))})' for name, v in variables.items() if v.ndim]
    return (
        f"'{path}' holds no variable with dimensions of time, y and x: it has "
        f'{list_examples(told) or "no variables"}. Name the coordinates as the CF conventions do '
        '(axis, standard_name or units), or give `group` where variables lie in a group'
    )


def _bands(
    variables: Variables,
    candidates: Mapping[str, tuple[Hashable | None, Hashable, Hashable]],
    axes: Mapping[Hashable, Axis],
) -> tuple[list[Band], dict[str, Hashable]]:
    """All bands of some variables, and the dimensions of bands."""
    labels: dict[str, list[str] | None] = {}
    dims: dict[str, Hashable] = {}
    for name in candidates:
        variable = variables[name]
        extra = [d for d in variable.dims if d not in axes and variable.sizes[d] > 1]
        labels[name] = _labels(variables, variable, extra[0]) if extra else None
        if extra:
            dims[name] = extra[0]
    named = [label for name, own in labels.items() for label in own or [name]]
    clash = len(set(named)) < len(named)
    found: list[Band] = []
    for name, own in labels.items():
        if own is None:
            found.append(Band(name, name))
        else:
            prefix = f'{name}_' if clash else ''
            found += [Band(f'{prefix}{label}', name, i) for i, label in enumerate(own)]
    return found, dims


def _labels(variables: Variables, variable: xr.Variable, dim: Hashable) -> list[str]:
    """Names along a dimension of bands: of its coordinate, else of the variable, else B1, B2..."""
    size = variable.sizes[dim]
    numbered = [f'B{i + 1}' for i in range(size)]
    for name in coordinates_along(variables, dim):
        values = variables[name].values
        if values.dtype.kind in 'USOT':
            named = [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
            return named if len(set(named)) == size else numbered
        if name == dim and values.dtype.kind == 'f':
            return [f'{value:g}' for value in values.tolist()]
    long_name = variable.attrs.get('long_name')  # as rioxarray keeps descriptions
    if isinstance(long_name, list | tuple) and len(set(long_name)) == size:
        return [str(name) for name in long_name]
    if dim in variables and variables[dim].dtype.kind in 'iu':
        return [f'B{value}' for value in variables[dim].values.tolist()]
    return numbered


def _choose(
    found: Sequence[Band],
    path: str,
    variables: Variables,
    *,
    bands: Sequence[str] | None,
    apart_from: str | None,
) -> tuple[Band, ...]:
    """Choose the bands by name, or all that are no masks and flags."""
    if bands is not None:
        named = {band.name: band for band in found}
        if unknown := [name for name in bands if name not in named]:
            raise SITSError(
                f"unknown bands {unknown}: '{path}' holds {tuple(named)}. Give some of these "
                'names, in the order in which the channels are wanted.'
            )
        if not bands:
            raise SITSError('bands is empty: name at least one, or leave it None for all')
        return tuple(named[name] for name in bands)
    ancillary = {
        name
        for variable in variables.values()
        for name in str(variable.attrs.get('ancillary_variables', '')).split()
    }
    spectral = tuple(
        band
        for band in found
        if band.variable not in ancillary | {apart_from}
        and band.name.upper() not in ANCILLARY_BANDS
        and not _is_flag(variables[band.variable])
    )
    return spectral or tuple(found)  # a series of masks alone is one of masks


def _is_flag(variable: xr.Variable) -> bool:
    """Tell whether a variable holds flags or a mask."""
    named = any(key in variable.attrs for key in ('flag_meanings', 'flag_values', 'flag_masks'))
    quality = str(variable.attrs.get('standard_name', '')).split()[-1:] in (
        ['status_flag'],
        ['quality_flag'],
    )
    return named or quality or variable.dtype.kind == 'b'


def _sizes(dims: Sequence[Hashable | None], dataset: xr.Dataset) -> str:
    """Spell dimensions with their lengths."""
    return ' x '.join(f'{dim} {dataset.sizes[dim]}' for dim in dims if dim is not None)


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

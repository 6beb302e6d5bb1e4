"""Axes of time, y and x among the coordinates of a data set, by the CF conventions."""

from collections.abc import Hashable, Mapping
from typing import Literal

import xarray as xr

__all__ = [
    'STANDARD_NAMES',
    'UNITS',
    'Axis',
    'Variables',
    'axes_of',
    'axis_of',
    'coordinates_along',
]

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

"""What a cube says about itself, in words that other programs understand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pyproj import CRS
from zarr.codecs import Crc32cCodec, ZstdCodec

from ..keys import IMAGE
from .grid import Grid

__all__ = ['array_attributes', 'group_attributes', 'write_coordinates']

#: The conventions whose attributes the root has, as their schemas ask for them.
_CONVENTIONS = [
    {
        'schema_url': 'https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/'
        'schema.json',
        'spec_url': 'https://github.com/zarr-conventions/geo-proj/blob/v1/README.md',
        'uuid': 'f17cb550-5864-4468-aeb7-f3180cfb622f',
        'name': 'proj:',
        'description': 'Coordinate reference system information for geospatial data',
    },
    {
        'schema_url': 'https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/'
        'schema.json',
        'spec_url': 'https://github.com/zarr-conventions/spatial/blob/v1/README.md',
        'uuid': '689b58e2-cf7b-45e0-9fff-9cfc0883d6b4',
        'name': 'spatial',
        'description': 'Spatial coordinate information',
    },
]
_EPOCH = {'units': 'seconds since 1970-01-01', 'calendar': 'proleptic_gregorian'}


def group_attributes(grid: Grid, crs: CRS) -> dict[str, Any]:
    """Attributes of the root: CF, and the ``proj:`` and ``spatial:`` conventions of GeoZarr.

    Args:
        grid: The pixels of the cube.
        crs: Its coordinate reference system.

    Returns:
        The attributes, in plain values.
    """
    authority = crs.to_authority(min_confidence=100)
    # The schema of proj: takes one of these, not both.
    known = authority is not None and authority[0] == 'EPSG'
    place = {'proj:code': ':'.join(authority)} if known else {'proj:wkt2': crs.to_wkt()}
    return {
        'Conventions': 'CF-1.11',
        'zarr_conventions': _CONVENTIONS,
        **place,
        'spatial:dimensions': ['y', 'x'],
        'spatial:transform': list(grid.transform)[:6],
        'spatial:shape': [grid.height, grid.width],
        'spatial:bbox': list(grid.bounds),
        'spatial:registration': 'pixel',
    }


def array_attributes(name: str, scale: float) -> dict[str, Any]:
    """Attributes of the pixels or of a mask.

    Args:
        name: Of the array.
        scale: Factor on the stored pixels.

    Returns:
        The attributes, in plain values.
    """
    meaning = {
        IMAGE: 'stored values of the bands, 0 where nothing was observed',
        'mask_clear': 'observed, and neither cloud nor shadow',
        'mask_observed': 'observed, clear or not',
    }
    attributes = {
        'long_name': meaning[name],
        'grid_mapping': 'spatial_ref',
        'coordinates': 'spatial_ref',
    }
    return attributes | ({'scale_factor': scale} if name == IMAGE and scale != 1 else {})


def write_coordinates(
    group: zarr.Group,
    grid: Grid,
    crs: CRS,
    *,
    bands: Sequence[str],
    times: NDArray[np.int64],
    spans: NDArray[np.int64],
    footprints: Sequence[str],
) -> None:
    """Write all of a cube but its pixels and masks.

    Args:
        group: The cube.
        grid: Its pixels.
        crs: Its coordinate reference system.
        bands: Names of the bands.
        times: Seconds since 1970 UTC of the acquisitions, ``(T,)``.
        spans: First second of each, and first after it, ``(T, 2)``.
        footprints: Where each may have pixels, as WKT, T of them.
    """
    x = grid.left + grid.xres * (np.arange(grid.width) + 0.5)
    y = grid.top - grid.yres * (np.arange(grid.height) + 0.5)
    axes: dict[str, Any] = {str(axis.get('axis')).lower(): axis for axis in crs.cs_to_cf()}
    geotransform = ' '.join(repr(float(value)) for value in grid.transform.to_gdal())
    mapping = crs.to_cf() | {'spatial_ref': crs.to_wkt(), 'GeoTransform': geotransform}
    time = {'standard_name': 'time', 'axis': 'T', 'bounds': 'time_bounds', **_EPOCH}
    arrays: list[tuple[str, NDArray[Any], tuple[str, ...], dict[str, Any]]] = [
        ('time', times, ('time',), time),
        ('time_bounds', spans, ('time', 'bounds'), {}),
        ('band', _text(bands), ('band',), {'long_name': 'name of the band'}),
        ('y', y, ('y',), axes.get('y', {'axis': 'Y'})),
        ('x', x, ('x',), axes.get('x', {'axis': 'X'})),
        ('spatial_ref', np.array(0), (), mapping),
        (
            'footprint',
            _text(footprints),
            ('time',),
            {'long_name': 'where the acquisition may have pixels, as WKT'},
        ),
    ]
    for name, values, dimensions, attributes in arrays:
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape or 'auto',
            dtype=str if values.dtype.kind == 'T' else values.dtype,
            dimension_names=dimensions,
            compressors=[ZstdCodec(), Crc32cCodec()],
            attributes=attributes,
            overwrite=True,
        )
        array[...] = values


def _text(values: Sequence[str]) -> NDArray[Any]:
    """Strings of any length."""
    return np.array(list(values), np.dtypes.StringDType())

"""Polygons of a GeoJSON file, on the ground of a raster."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform
from shapely.geometry.base import BaseGeometry

from ...errors import SITSError
from .side_files import read_json, told

__all__ = ['read_polygons']

#: What is raised by text of another form, and by coordinates that lie nowhere on Earth.
_REFUSED = (
    *(AttributeError, KeyError, TypeError, ValueError, CRSError, RasterioError, CPLE_BaseError),
    shapely.errors.ShapelyError,
)


def read_polygons(path: Path, crs: CRS | None) -> list[tuple[dict[str, Any], BaseGeometry]]:
    """Read the features of a GeoJSON file that have a shape.

    Args:
        path: The file; it is in degrees unless it names another reference system.
        crs: Reference system to bring the shapes to. None leaves them as they are.

    Returns:
        Properties and shape of each.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If it is no GeoJSON.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.polygons import read_polygons
        >>> shape = '{"type": "Point", "coordinates": [1, 2]}'
        >>> text = f'{{"features": [{{"properties": {{"id": 3}}, "geometry": {shape}}}]}}'
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / 'a.geojson').write_text(text)
        ...     [(found['id'], shape.x) for found, shape in
        ...      read_polygons(Path(folder) / 'a.geojson', None)]
        [(3, 1.0)]
    """
    if not path.exists():
        raise FileNotFoundError(2, 'No such file or directory', str(path))
    found = read_json(path)
    try:
        features = [feature for feature in found['features'] if feature['geometry']]
        properties = [dict(feature.get('properties') or {}) for feature in features]
        shapes = shapely.from_geojson([json.dumps(feature['geometry']) for feature in features])
        own = CRS.from_user_input(
            (found.get('crs') or {}).get('properties', {}).get('name', 'OGC:CRS84')
        )
        if crs is not None and own != crs:
            shapes = shapely.transform(
                shapes, lambda xy: np.column_stack(transform(own, crs, xy[:, 0], xy[:, 1]))
            )
    except _REFUSED as error:
        raise SITSError(
            f"'{path}' is no GeoJSON of shapes ({type(error).__name__}: {told(error)}): fetch it "
            'again'
        ) from error
    pairs = zip(properties, shapes, strict=True)
    return [(values, shape) for values, shape in pairs if not shape.is_empty]

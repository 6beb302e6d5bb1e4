"""Labels that were clicked or drawn: where they lie, and the file that keeps them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.transform import from_origin
from rasterio.windows import Window

from ..errors import SITSError
from ..grid import Grid, crs_name
from ..whole_files import whole_file
from .features import EmbeddedArea

__all__ = ['Label', 'label_pixels', 'parse_shape', 'read_labels', 'write_labels']

#: Most corners of a polygon.
_CORNERS: Final = 2000
#: Largest side of the picture that the pixels of a polygon are taken from.
_SIDE: Final = 64


@dataclass(frozen=True)
class Label:
    """Class of a pixel or a polygon.

    Attributes:
        number: Number of the label, which no other ever has.
        name: Name of its class.
        shape: Point or polygon in columns and rows of the grid, from its upper left corner.

    Examples:
        >>> import shapely
        >>> from torchgeo_sits.exploring import Label
        >>> Label(1, 'maize', shapely.Point(3.5, 0.5)).name
        'maize'
    """

    number: int
    name: str
    shape: shapely.Geometry


def parse_shape(geometry: Any, grid: Grid) -> shapely.Geometry:
    """Read a point or a polygon that a page sent.

    Args:
        geometry: GeoJSON in columns and rows of the grid.
        grid: The pixels.

    Returns:
        The middle of the pixel, or the polygon cut to the grid.

    Raises:
        SITSError: If it is another shape, or none, or lies outside.

    Examples:
        >>> from rasterio.crs import CRS
        >>> from torchgeo_sits.exploring import parse_shape
        >>> from torchgeo_sits.grid import Grid
        >>> grid = Grid(0, 640, 10, 10, 64, 64, CRS.from_epsg(32631))
        >>> parse_shape({'type': 'Point', 'coordinates': [3.2, 7.9]}, grid).wkt
        'POINT (3.5 7.5)'
    """
    kind = geometry.get('type') if isinstance(geometry, dict) else None
    wanted = 'expected a Point, or a Polygon of one ring, in columns and rows'
    try:
        if kind == 'Point':
            column, row = (float(v) for v in geometry['coordinates'])
            if not (0 <= column < grid.width and 0 <= row < grid.height):
                raise SITSError(
                    f'the place is outside of the {grid.height} x {grid.width} pixels of the map'
                )
            return shapely.Point(int(column) + 0.5, int(row) + 0.5)
        if kind != 'Polygon':
            raise SITSError(f'{wanted}, got {kind}')
        [ring] = geometry['coordinates']
        if not 4 <= len(ring) <= _CORNERS:
            raise SITSError(
                f'expected a polygon of 3 to {_CORNERS - 1:,} corners, got {len(ring) - 1:,}'
            )
        points = np.array(ring, np.float64)
        if points.shape != (len(ring), 2) or not np.isfinite(points).all():
            raise SITSError(f'{wanted}, got corners that are no pairs of numbers')
        drawn = shapely.make_valid(shapely.Polygon(points), method='structure')
    except (TypeError, ValueError, KeyError, OverflowError, shapely.errors.ShapelyError) as error:
        if isinstance(error, SITSError):
            raise
        raise SITSError(f'{wanted}, got {str(geometry)[:80]}') from error
    cut = shapely.intersection(drawn, shapely.box(0, 0, grid.width, grid.height))
    if cut.is_empty or cut.area == 0:
        raise SITSError('the polygon has no area on the map: draw it around some pixels')
    return cut


def label_pixels(shape: shapely.Geometry, area: EmbeddedArea) -> NDArray[np.float16]:
    """Read the features of the pixels that a label covers.

    Of a large polygon they are those of an even grid over it, 64 x 64 at most.

    Args:
        shape: See :class:`Label`.
        area: The embeddings.

    Returns:
        Standardised features ``(N, D)`` of what was observed there.

    Raises:
        SITSError: If there is none.
    """
    if isinstance(shape, shapely.Point):
        pixels = area.at(int(shape.y), int(shape.x))[None]
    else:
        west, north, east, south = shape.bounds
        left, top = int(west), int(north)
        width = min(int(np.ceil(east)), area.grid.width) - left
        height = min(int(np.ceil(south)), area.grid.height) - top
        rows, columns = min(height, _SIDE), min(width, _SIDE)
        # Rows count downwards here, which the transformation turns round.
        place = from_origin(left, -top, width / columns, height / rows)
        upwards = shapely.transform(shape, lambda xy: xy * [1, -1])
        inside = geometry_mask([upwards], (rows, columns), place, invert=True)
        if not inside.any():
            raise SITSError('the polygon holds the middle of no pixel: click the pixel instead')
        pixels = area.read(Window(left, top, width, height), (rows, columns))[:, inside].T
    seen = np.isfinite(pixels).all(1)
    if not seen.any():
        raise SITSError('nothing was observed there: label another place')
    return pixels[seen]


def write_labels(path: Path, labels: Sequence[Label], grid: Grid) -> None:
    """Write labels as a GeoPackage, which ``fit`` takes; the file of before stays till it is whole.

    Args:
        path: The file.
        labels: The labels.
        grid: The pixels that their shapes count.

    Examples:
        >>> import shapely, tempfile
        >>> from pathlib import Path
        >>> from rasterio.crs import CRS
        >>> from torchgeo_sits.exploring import Label, read_labels, write_labels
        >>> from torchgeo_sits.grid import Grid
        >>> grid = Grid(0, 640, 10, 10, 64, 64, CRS.from_epsg(32631))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'labels.gpkg'
        ...     write_labels(path, [Label(1, 'maize', shapely.Point(3.5, 0.5))], grid)
        ...     read_labels(path, grid)
        [Label(number=1, name='maize', shape=<POINT (3.5 0.5)>)]
    """
    size = np.array([grid.xres, -grid.yres])
    corner = np.array([grid.left, grid.top])
    frame = gpd.GeoDataFrame(
        {
            'class': np.array([label.name for label in labels], object),
            'label': np.array([label.number for label in labels], np.int32),
        },
        geometry=_moved(labels, lambda xy: xy * size + corner),
        crs=grid.crs.to_wkt(),
    )
    with whole_file(path) as draft:
        # A type for the layer, which would follow from the shapes, and be another one with each.
        frame.to_file(draft, driver='GPKG', layer='labels', geometry_type='Unknown', FID='ogc_fid')


def read_labels(path: Path, grid: Grid) -> list[Label]:
    """Read the labels that :func:`write_labels` wrote.

    Args:
        path: The file.
        grid: The pixels that their shapes are to count.

    Returns:
        The labels.

    Raises:
        SITSError: If the file holds no labels, or labels of another place.
        OSError: If it cannot be read.
    """
    again = 'move it away to begin anew, or give the session another folder'
    try:
        frame = gpd.read_file(path, layer='labels')
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise OSError(f"'{path}' cannot be read as labels ({error}): {again}") from error
    if not {'class', 'label'} <= set(frame.columns):
        raise SITSError(f"'{path}' has no columns 'class' and 'label': {again}")
    if len(frame) and not frame.crs.equals(grid.crs.to_wkt(), ignore_axis_order=True):
        raise SITSError(
            f"'{path}' is in {crs_name(frame.crs)}, the map in {crs_name(grid.crs)}: {again}"
        )
    size = np.array([grid.xres, -grid.yres])
    corner = np.array([grid.left, grid.top])
    found = [
        Label(int(number), str(name), shape)
        for number, name, shape in zip(frame['label'], frame['class'], frame.geometry, strict=True)
    ]
    shapes = _moved(found, lambda xy: (xy - corner) / size)
    here = shapely.box(0, 0, grid.width, grid.height)
    if not all(here.covers(shape) for shape in shapes):
        raise SITSError(f"'{path}' has labels outside of the map: {again}")
    return [
        Label(label.number, label.name, shape) for label, shape in zip(found, shapes, strict=True)
    ]


def _moved(labels: Iterable[Label], change: Any) -> NDArray[np.object_]:
    """Shapes of labels in other coordinates; corners that were whole millionths are so again."""
    shapes = np.array([label.shape for label in labels], object)
    moved: NDArray[np.object_] = shapely.transform(shapes, lambda xy: np.round(change(xy), 6))
    return moved

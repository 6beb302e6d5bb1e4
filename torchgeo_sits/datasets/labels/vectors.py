"""Polygons and points as labels: burnt onto the pixels of the images, each a field."""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import torch
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from rasterio.transform import Affine, from_origin
from torchgeo.datasets.utils import GeoSlice, Sample

from ...errors import SITSError
from ...grid import Grid, crs_name
from ...keys import BOUNDS, MASK, TRANSFORM
from ..files import list_examples
from ..queries import CheckedQueries
from .columns import LabelColumn
from .features import Features, read_features
from .fields import NumberedFields
from .values import LabelValues

__all__ = ['VectorLabels']


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


#: Pixels that are burnt at a time.
_CHUNK = 1 << 22


class VectorLabels(CheckedQueries):
    r"""Polygons and points, burnt onto the pixels of the images as a window is read.

    A polygon labels the pixels whose centres it holds, a point the pixel that holds it. Each
    feature is a field. Pixels that features of two labels claim are not labelled; of features
    of one label the first in the file has them. What no feature covers is not labelled.

    Args:
        paths: Vector files (GeoPackage, GeoJSON, Shapefile, GeoParquet, FlatGeobuf), or tables
            with columns lon and lat, or x and y.
        area: Grid of the images.
        column: Column that holds the labels: text, whole numbers, or values.
        layer: Layer of files with several.
        crs: Coordinate reference system of files that do not say theirs.
        shrink: Distance in metres by which polygons are shrunk.
        values: What is known of the labels.
        num_classes: Number of classes, counting 0; None does not check.

    Attributes:
        values: What is known of the labels, with the classes of a column of text.

    Raises:
        SITSError: If the column cannot be labels, or no feature lies on the images.
        OSError: If a file cannot be read.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from rasterio.crs import CRS
        >>> from torchgeo_sits.datasets.labels import VectorLabels
        >>> from torchgeo_sits.grid import Grid
        >>> area = Grid(10, 50, 0.1, 0.1, 20, 20, CRS.from_epsg(4326))
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'points.csv'
        ...     _ = path.write_text('lon,lat,crop\n10.15,49.95,maize\n10.05,49.95,leek\n')
        ...     labels = VectorLabels(str(path), area=area, column='crop')
        >>> labels.values.names, labels[10:10.3, 49.9:50]['mask']
        (['unlabelled', 'leek', 'maize'], tensor([[1, 2, 0]]))
    """

    is_image = False
    #: Whether files number the fields: each feature is one.
    knows_fields = True

    def __init__(
        self,
        paths: str | Sequence[str],
        *,
        area: Grid,
        column: str | None,
        layer: str | None = None,
        crs: str | None = None,
        shrink: float = 0.0,
        values: LabelValues | None = None,
        num_classes: int | None = None,
    ) -> None:
        self.paths = files = [paths] if isinstance(paths, str) else list(paths)
        self.area = area
        self._res = (area.xres, area.yres)
        self.transforms = None
        read = {
            path: read_features(path, column=column, layer=layer, crs=crs, area=area)
            for path in files
        }
        #: What holds the labels, for messages.
        self.source = f'labels.column={column!r} of {list_examples(files, 2)}'
        self._column = LabelColumn(
            {path: part.found for path, part in read.items()},
            values or LabelValues(),
            num_classes=num_classes,
            source=self.source,
        )
        self.values = self._column.values
        self._shapes, self._labels = self._take_features(read, shrink)
        self._tree = shapely.STRtree(self._shapes)
        kind = np.int64 if self.values.kind == 'class' else np.float32
        #: What masks hold by the number of the feature, 0 for none.
        self._in_masks = np.insert(self._labels.astype(kind), 0, self.values.missing)
        #: Labels by their order, so that they can be compared.
        self._rank = np.unique(self._labels, return_inverse=True)[1]
        self.index = _everywhere(files, area)

    def found(self) -> list[int]:
        """Find all classes in the files, ascending."""
        return self._column.labels

    def __getitem__(self, index: GeoSlice) -> Sample:
        """Burn the labels of a window.

        Args:
            index: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:step]``.

        Returns:
            The sample, with ``mask`` ``(H, W)`` int64, or float32 of values.
        """
        x, y, t = self._disambiguate_slice(index)
        numbers, _ = self._burn(Grid.of(x, y, self.area.crs))
        return {
            BOUNDS: self._slice_to_tensor((x, y, t)),
            TRANSFORM: torch.tensor(from_origin(x.start, y.stop, x.step, y.step)),
            MASK: torch.from_numpy(self._in_masks[numbers]),
        }

    def fields(self, grids: Sequence[Grid]) -> list[NumberedFields]:
        """Number the features in areas, and warn of those that label no pixel of theirs.

        Args:
            grids: The areas, on the pixels of the images.

        Returns:
            Of each area the fields, in the order of their first pixels.
        """
        size = np.zeros(len(self._shapes) + 1, np.int64)
        near = np.zeros(len(self._shapes), bool)
        claimed = np.zeros(len(self._shapes) + 1, bool)
        disputed, found = 0, []
        for grid in map(self._part_with_features, grids):
            numbers = np.zeros((grid.height, grid.width), np.int32)
            order: list[NDArray[np.int64]] = []
            first = np.full(len(size), -1)
            first[0] = 0
            step = max(1, _CHUNK // grid.width)
            for top in range(0, grid.height, step):
                strip = grid.crop(top, 0, min(step, grid.height - top), grid.width)
                burnt, claims = self._burn(strip)
                numbers[top : top + step] = burnt
                size += np.bincount(burnt.ravel(), minlength=len(size))
                order.append(_new_in(burnt, first))
                disputed += claims.shape[1]
                claimed[claims.ravel()] = True
                near[self._near(strip)] = True
            present = np.concatenate(order)
            renumbered = np.zeros(len(size), np.int32)
            renumbered[present] = np.arange(1, len(present) + 1)
            found.append(NumberedFields(grid, renumbered[numbers], self._labels[present - 1]))
        self._warn_of_unburnt(np.flatnonzero(near & (size[1:] == 0)), claimed, disputed)
        return found

    def _take_features(
        self, read: dict[str, Features], shrink: float
    ) -> tuple[NDArray[np.object_], NDArray[Any]]:
        """Shapes in pixels and labels of all features that label something; count the others."""
        lost: Counter[str] = Counter()
        shapes, labels, total = [], [], 0
        for part in read.values():
            total += len(part.frame)
            label = self._column.encode(part.frame['value'], lost)
            labelled = np.isfinite(label)
            shapes.append(shapes_on_pixels(part.frame[labelled], self.area, shrink, lost))
            labels.append(label[labelled])
        shape, label = np.concatenate(shapes), np.concatenate(labels)
        kept = ~shapely.is_missing(shape)
        area = shapely.box(0, 0, self.area.width, self.area.height)
        if not shapely.intersects(shape[kept], area).any():
            raise SITSError(self._elsewhere(read, lost))
        known = pd.DataFrame({'shape': shapely.to_wkb(shape), 'label': label})
        lost['a copy of another'] += int((again := known[kept].duplicated()).sum())
        kept[kept] = ~again
        if lost := +lost:
            reasons = '; '.join(f'{number} with {reason}' for reason, number in lost.items())
            warnings.warn(
                f'of {total} features in {self.source} near the images some label nothing, or '
                f'not as they are: {reasons}',
                UserWarning,
                stacklevel=4,
            )
        kind = np.int64 if self.values.kind == 'class' else np.float64
        return shape[kept], label[kept].astype(kind)

    def _elsewhere(self, read: dict[str, Features], lost: Counter[str]) -> str:
        """Say where features lie, none of which labels a pixel of the images."""
        if any(len(part.frame) for part in read.values()) and (lost := +lost):
            reasons = '; '.join(f'{number} with {reason}' for reason, number in lost.items())
            return f'no feature in {self.source} labels the images: {reasons}'
        spans = {path: [round(float(v), 4) for v in part.extent] for path, part in read.items()}
        here = gpd.GeoSeries([shapely.box(*self.area.bounds)], crs=self.area.crs)
        theirs = {
            path: [round(float(v), 4) for v in here.to_crs(part.frame.crs).total_bounds]
            for path, part in read.items()
        }
        path = next(iter(read))
        return (
            f'the labels {list_examples(list(read))} lie nowhere on the images: in the CRS of the '
            f'labels ({crs_name(read[path].frame.crs)}) they span {spans[path]} and the images '
            f'{theirs[path]} (west, south, east, north). Give labels of the same place'
        )

    def _position(self, window: Grid) -> tuple[float, float, float, float]:
        """Column and row of a window's corner, and its pixels' size, in pixels of the images."""
        column = (window.left - self.area.left) / self.area.xres
        row = (self.area.top - window.top) / self.area.yres
        wide, high = window.xres / self.area.xres, window.yres / self.area.yres
        corner = (round(value * PARTS) / PARTS for value in (column, row))
        return (*corner, wide, high)  # type: ignore[return-value]

    def _near(self, window: Grid) -> NDArray[np.int64]:
        """Numbers of the features that may label a window, from 0 and ascending."""
        column, row, wide, high = self._position(window)
        box = shapely.box(column, row, column + window.width * wide, row + window.height * high)
        found: NDArray[np.int64] = np.sort(self._tree.query(box))
        return found

    def _part_with_features(self, grid: Grid) -> Grid:
        """Pixels of an area, one at least, around all features that may label it."""
        near = shapely.total_bounds(self._shapes[self._near(grid)])
        if np.isnan(near).any():
            return grid.crop(0, 0, 1, 1)
        column, row, wide, high = self._position(grid)
        left, top, right, bottom = ((near.reshape(2, 2) - [column, row]) / [wide, high]).ravel()
        first = np.clip(np.floor([top, left]), 0, [grid.height - 1, grid.width - 1])
        last = np.clip(np.ceil([bottom, right]), first + 1, [grid.height, grid.width])
        (y, x), (rows, columns) = first.astype(int).tolist(), (last - first).astype(int).tolist()
        return grid.crop(y, x, rows, columns)

    def _burn(self, window: Grid) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Burn the numbers of features, from 1 on.

        Args:
            window: The window.

        Returns:
            Number of the feature of each pixel ``(H, W)``, 0 for none; of each of the D pixels
            that features of several labels claim two such ``(2, D)``.
        """
        near = self._near(window)
        shape = (window.height, window.width)
        column, row, wide, high = self._position(window)
        transform = Affine(wide, 0.0, column, 0.0, high, row)

        none = np.zeros((2, 0), np.int32)
        if not len(near):
            return np.zeros(shape, np.int32), none
        features = list(zip(as_geojson(self._shapes[near]), (near + 1).tolist(), strict=True))

        def burn(rank: NDArray[np.int64]) -> NDArray[np.int32]:
            # What is burnt last stays: of the highest rank the first feature.
            order = np.lexsort((-near, rank)).tolist()
            burnt: NDArray[np.int32] = rasterize(
                [features[i] for i in order], shape, transform=transform, dtype='int32'
            )
            return burnt

        rank = self._rank[near]
        numbers = burn(rank)
        if (rank == rank[0]).all():
            return numbers, none
        # A pixel has one label where the highest that is burnt is the lowest, too.
        others = burn(-rank)
        claimed = self._rank[numbers - 1] != self._rank[others - 1]
        claims = np.stack([numbers[claimed], others[claimed]])
        numbers[claimed] = 0
        return numbers, claims

    def _warn_of_unburnt(
        self, numbers: NDArray[np.int64], claimed: NDArray[np.bool_], disputed: int
    ) -> None:
        """Say which features have no pixel, and why.

        Args:
            numbers: Numbers of the features near the images without a pixel, from 0.
            claimed: Whether pixels of a feature are claimed by others, ``(F + 1,)``.
            disputed: Number of such pixels.
        """
        if disputed:
            warnings.warn(
                f'{disputed} pixels lie in features of several labels, {int(claimed[1:].sum())} of '
                f'{len(self._shapes)} in {self.source}, and are not labelled',
                UserWarning,
                stacklevel=5,
            )
        area = shapely.box(0, 0, self.area.width, self.area.height)
        numbers = numbers[shapely.intersects(self._shapes[numbers], area)]
        numbers = numbers[~claimed[numbers + 1]]
        if not len(numbers):
            return
        small = sum(not _holds_a_centre(shape) for shape in self._shapes[numbers])
        hidden = len(numbers) - small
        reasons = [f'{small} hold no centre of a pixel'] if small else []
        reasons += [f'{hidden} lie under others of their label'] if hidden else []
        warnings.warn(
            f'{len(numbers)} of {len(self._shapes)} features in {self.source} label no pixel of '
            f'{self.area.xres:g} x {self.area.yres:g}: {", ".join(reasons)}',
            UserWarning,
            stacklevel=5,
        )


def _new_in(numbers: NDArray[np.int32], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers that had no first pixel, in the order of their first pixels, which are noted."""
    flat = numbers.ravel()
    known = first >= 0
    (at,) = np.nonzero(flat)
    where = np.full(len(first), -1)
    where[flat[at][::-1]] = at[::-1]  # what is written last stays
    (new,) = np.nonzero((where >= 0) & ~known)
    first[new] = where[new]
    order: NDArray[np.int64] = new[np.argsort(where[new])]
    return order


def _holds_a_centre(shape: shapely.Geometry) -> bool:
    """Whether a shape in pixels labels any, were it alone."""
    west, north, east, south = shape.bounds
    column, row = math.floor(west), math.floor(north)
    size = math.floor(south) - row + 1, math.floor(east) - column + 1
    transform = Affine.translation(column, row)
    return bool(rasterize([shape], size, transform=transform, dtype='uint8').any())


def _everywhere(paths: Sequence[str], area: Grid) -> gpd.GeoDataFrame:
    """Index of labels that cover all of the images, at all times."""
    always = pd.IntervalIndex.from_tuples(
        [(pd.Timestamp.min, pd.Timestamp.max)], closed='both', name='datetime'
    )
    west, south, east, north = area.bounds
    # A pixel more, so that no footprint is cut by the last digit.
    box = shapely.box(west - area.xres, south - area.yres, east + area.xres, north + area.yres)
    return gpd.GeoDataFrame({'filepath': [paths[0]]}, index=always, geometry=[box], crs=area.crs)

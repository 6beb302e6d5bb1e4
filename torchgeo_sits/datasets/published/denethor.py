"""DENETHOR: parcels of Brandenburg, daily Planet images, another place and year for the test."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import ceil, floor
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import geometry_mask
from shapely import point_on_surface
from shapely.affinity import affine_transform
from shapely.geometry.base import BaseGeometry

from ...errors import SITSError
from .base import About, Part, Window, seconds_of
from .dated_files import Frame, raster_grid, raster_size
from .fields import FieldSquares
from .polygons import read_polygons
from .side_files import find_paths

__all__ = ['Denethor']

_LABELS = '*-crop-labels-{}.geojson'
_TILE = re.compile(r'\d+E-\d+N')
_DATE = re.compile(r'(20\d{2})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])')


class _Parcel(NamedTuple):
    """A sample."""

    tile: str
    year: int
    number: int
    value: int


class Denethor(FieldSquares):
    """DENETHOR: 9 crops of 4,598 parcels in Brandenburg, from daily Planet images of 3 m.

    Kondmann et al., DENETHOR: the DynamicEarthNET dataset for harmonized, inter-operable,
    analysis-ready, daily crop monitoring from space, NeurIPS Datasets and Benchmarks 2021,
    https://openreview.net/forum?id=uUa4jNMLjrL. Training has a tile of 2018, the test another of
    2019. Every fifth parcel of training, by number, is held out for validation, which the authors
    draw at random. Their baseline leaves out parcels of less than 1,000 square metres; here all
    are kept.

    A sample is a square around a parcel, whose pixels alone are clear. Only the Planet images are
    read: those of Sentinel-2 are pickled, which may run code. The order of the bands is not
    stated, and is taken to be that of other Planet products.

    Examples:
        >>> from torchgeo_sits.datasets.published import Denethor
        >>> Denethor.classes[4], Denethor.about.dates
        ('corn', 'day')
    """

    about = About(
        title='DENETHOR',
        sensor='PlanetFusion, 4 bands, daily, 3 m',
        labels='9 crops, by parcel',
        size='4,598 parcels',
        licence='DL-DE/BY-2.0 for the labels',
        paper='https://openreview.net/forum?id=uUa4jNMLjrL',
        hosts=('https://source.coop/esa/fusion-competition',),
        dates='day',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='classification',
    )
    band_names = ('B', 'G', 'R', 'NIR')
    classes = (
        'wheat', 'rye', 'barley', 'oats', 'corn', 'oil seeds', 'root crops', 'meadows', 'forage',
    )  # fmt: skip
    marker = _LABELS.format('train-2018')
    #: Published of reflectance, one for all bands.
    mean = (1014.0,) * 4
    std = (1171.0,) * 4
    _files: ClassVar[dict[Part, str]] = {
        'train': 'train-2018',
        'val': 'train-2018',
        'test': 'test-2019',
    }

    def list_samples(self, part: Part) -> Sequence[_Parcel]:
        """Parcels of a part whose crop is one of the nine."""
        if part == 'unlabelled':
            return []
        path, tile, year = self._source(part)
        try:
            features = read_polygons(path, None)
        except FileNotFoundError as error:
            raise SITSError(f"'{path}' does not exist: fetch it again") from error
        found = []
        for properties, _ in features:
            try:
                number, crop = int(properties['fid']), int(properties['crop_id'])
            except (KeyError, TypeError, ValueError) as error:
                raise SITSError(
                    f"'{path}' has a parcel without the numbers 'fid' and 'crop_id': fetch it again"
                ) from error
            if 1 <= crop <= len(self.classes):
                found.append(_Parcel(tile, year, number, crop - 1))
        found.sort()
        if part == 'train':
            return [parcel for turn, parcel in enumerate(found) if turn % 5 != 4]
        return found[4::5] if part == 'val' else found

    def list_frames(self, key: _Parcel) -> Sequence[Frame]:
        """The image of each day."""
        if not (frames := self._days.get((key.tile, key.year))):
            raise SITSError(
                f"'{self.folder}' has no image of tile {key.tile}, {key.year}: expected "
                f'.../{key.tile}/PF-SR/{key.year}-MM-DD.tif'
            )
        return frames

    def read_label(self, key: _Parcel, window: Window) -> NDArray[np.int64]:
        """Crop of a parcel."""
        return np.array(key.value)

    def sample_classes(self) -> NDArray[np.int64]:
        """Crops of the parcels."""
        return np.array([parcel.value for parcel in self.samples], np.int64)

    def centre(self, key: _Parcel) -> tuple[int, int]:
        """Row and column of a point within the parcel.

        Raises:
            SITSError: If it lies beside the images.
        """
        image = self.list_frames(key)[0].paths[0]
        height, width = raster_size(image)
        point = point_on_surface(self._shapes[key.number])
        if not (0 <= point.y < height and 0 <= point.x < width):
            raise SITSError(f"parcel {key.number} does not lie on '{image}': fetch it again")
        return int(point.y), int(point.x)

    def inside(self, key: _Parcel, window: Window) -> NDArray[np.bool_]:
        """Pixels whose centres lie in the parcel; those that it touches, if there are none."""
        shape = self._shapes[key.number]
        left, top, right, bottom = shape.bounds
        row, column = floor(top), floor(left)
        options: dict[str, Any] = {
            'out_shape': (max(ceil(bottom) - row, 1), max(ceil(right) - column, 1)),
            'transform': Affine.translation(column, row),
            'invert': True,
        }
        own: NDArray[np.bool_] = geometry_mask([shape], **options)
        if not own.any():
            own = geometry_mask([shape], all_touched=True, **options)
        rows, columns = (np.arange(part.start, part.stop) for part in window)
        rows, columns = rows - row, columns - column
        known = ((rows >= 0) & (rows < len(own)))[:, None]
        known = known & (columns >= 0) & (columns < own.shape[1])
        # What lies beside is read at the edge, and not counted.
        rows, columns = rows.clip(0, len(own) - 1), columns.clip(0, own.shape[1] - 1)
        return own[rows[:, None], columns] & known

    @cached_property
    def _shapes(self) -> Mapping[int, BaseGeometry]:
        """Shapes of the parcels of this part by number, in columns and rows of the images."""
        path, tile, year = self._source(self.part)
        crs, grid = raster_grid(self._days[tile, year][0].paths[0])
        to_pixels = [getattr(~grid, name) for name in 'abdecf']
        return {
            int(found['fid']): affine_transform(shape, to_pixels)
            for found, shape in read_polygons(path, crs)
        }

    @cached_property
    def _days(self) -> Mapping[tuple[str, int], list[Frame]]:
        """Days of each tile and year that have an image, or its quality, by which it is missed."""
        found: dict[tuple[str, int], list[Frame]] = {}
        for folder in find_paths(self.folder, '**/PF-SR'):
            beside = [
                p for one in ('PF-SR', 'PF-QA') for p in find_paths(folder.parent / one, '*.tif')
            ]
            # Copies and files of quality, whose names say more, are of the same days.
            for day in sorted({date[0] for path in beside if (date := _DATE.match(path.name))}):
                frame = Frame(seconds_of(day, '%Y-%m-%d'), (folder / f'{day}.tif',))
                found.setdefault((folder.parent.name, int(day[:4])), []).append(frame)
        return found

    def _source(self, part: Part) -> tuple[Path, str, int]:
        """File of the parcels of a part, its tile and year."""
        pattern = _LABELS.format(self._files[part])
        path = min(find_paths(self.folder, pattern), default=self.folder / pattern)
        tile = _TILE.search(path.name)
        return path, tile[0] if tile else '', int(self._files[part][-4:])

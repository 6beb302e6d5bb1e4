"""CV4A Kenya: fields of western Kenya, Sentinel-2 on 13 dates of 2019."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, Part, Window, seconds_of
from .dated_files import MOST_CLOUD, Frame, read_raster
from .fields import FieldSquares
from .side_files import find_paths

__all__ = ['CV4AKenya']

_DATE = re.compile(r'20\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])')
_TURNS: dict[Part, tuple[int, ...]] = {'train': (0, 1, 2), 'val': (3,), 'test': (4,)}


class _Field(NamedTuple):
    """A sample."""

    tile: str
    number: int
    row: int
    column: int
    #: -1 for a field of the official test.
    value: int


class CV4AKenya(FieldSquares):
    """CV4A Kenya: 7 crops of 3,286 fields and 1,402 without labels, on 13 dates.

    Radiant Earth Foundation, CV4A competition Kenya crop type dataset, 2020,
    https://doi.org/10.34911/RDNT.DW605X. The labels of the official test are not public: its
    fields are the part 'unlabelled'. Of the others, in the order of their numbers, every fifth
    from the fourth is for validation and every fifth from the fifth for the test, which is no
    official split. The crops have numbers from 1 to 7, whose names were not at hand.

    A sample is a square around a field, whose pixels alone are clear, and of those the ones with
    a probability of cloud of 50 % at most; that limit is not the authors'.

    Examples:
        >>> from torchgeo_sits.datasets.published import CV4AKenya
        >>> len(CV4AKenya.band_names), CV4AKenya.classes[0]
        (12, 'crop 1')
    """

    about = About(
        title='CV4A Kenya',
        sensor='Sentinel-2 L2A, 12 bands',
        labels='7 crops, by field',
        size='4,688 fields in 4 tiles',
        licence='CC-BY-SA-4.0',
        paper='https://doi.org/10.34911/RDNT.DW605X',
        hosts=('https://source.coop/radiantearth/african-crops-kenya-02',),
        dates='day',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='classification',
    )
    band_names = (
        'B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B11', 'B12',
    )  # fmt: skip
    classes = tuple(f'crop {number}' for number in range(1, 8))
    marker = 'data/*/*_field_id.tif'
    official: ClassVar[dict[Part, int]] = {'unlabelled': 1402}

    def list_samples(self, part: Part) -> Sequence[_Field]:
        """Fields of a part."""
        if part == 'unlabelled':
            return [field for field in self._fields if field.value < 0]
        labelled = sorted({field.number for field in self._fields if field.value >= 0})
        chosen = {n for turn, n in enumerate(labelled) if turn % 5 in _TURNS[part]}
        return [f for f in self._fields if f.value >= 0 and f.number in chosen]

    @cached_property
    def _fields(self) -> list[_Field]:
        """All fields, with the mean of the rows and columns of their pixels."""
        found = []
        for tile in sorted(p.name for p in (self.folder / 'data').iterdir() if p.name.isdigit()):
            numbers, labels = self._read(tile, 'field_id'), self._read(tile, 'label')
            if numbers.shape != labels.shape:
                raise SITSError(
                    f"the fields of '{self._path(tile, 'label')}' have the size {labels.shape}, "
                    f'expected {numbers.shape}: fetch it again'
                )
            if not np.isfinite([numbers, labels]).all():
                raise SITSError(
                    f"'{self._path(tile, 'field_id')}' or the labels beside it hold numbers that "
                    'are not finite: fetch both again'
                )
            rows, columns = np.nonzero(numbers > 0)
            fields, first, which = np.unique(
                numbers[rows, columns], return_index=True, return_inverse=True
            )
            count = np.bincount(which)
            middles = (np.bincount(which, axis) // count for axis in (rows, columns))
            values = labels[rows[first], columns[first]].astype(int) - 1
            found += [
                _Field(tile, *(int(x) for x in field))
                for field in zip(fields, *middles, values, strict=True)
            ]
        return found

    @cached_property
    def _dates(self) -> Mapping[str, list[Frame]]:
        """Dates of each tile, with a file for each band and for the cloud."""
        found: dict[str, list[Frame]] = {}
        for folder in find_paths(self.folder / 'data', '*/*'):
            if folder.is_dir() and _DATE.fullmatch(folder.name):
                tile = folder.parent.name
                bands = (*self.band_names, 'CLD')
                paths = tuple(folder / f'{tile}_{band}_{folder.name}.tif' for band in bands)
                found.setdefault(tile, []).append(Frame(seconds_of(folder.name), paths))
        return found

    def list_frames(self, key: _Field) -> Sequence[Frame]:
        """The files of each date."""
        if not (frames := self._dates.get(key.tile)):
            raise SITSError(
                f"'{self.folder / 'data' / key.tile}' has no folder of a date, YYYYMMDD: fetch it "
                'again'
            )
        return frames

    def mark_clear(
        self, frame: Frame, pixels: NDArray[Any], window: Window
    ) -> NDArray[np.bool_] | None:
        """What is not taken for cloud."""
        return pixels[-1] <= MOST_CLOUD

    def read_label(self, key: _Field, window: Window) -> NDArray[np.int64]:
        """Crop of a field."""
        return np.array(key.value)

    def sample_classes(self) -> NDArray[np.int64]:
        """Crops of the fields."""
        return np.array([field.value for field in self.samples], np.int64)

    def centre(self, key: _Field) -> tuple[int, int]:
        """Mean row and column of the field."""
        return key.row, key.column

    def inside(self, key: _Field, window: Window) -> NDArray[np.bool_]:
        """Pixels with the number of the field."""
        found: NDArray[np.bool_] = self._read(key.tile, 'field_id', window) == key.number
        return found

    def _path(self, tile: str, kind: str) -> Path:
        """A raster of the fields of a tile."""
        return self.folder / 'data' / tile / f'{tile}_{kind}.tif'

    def _read(
        self, tile: str, kind: str, window: Window = (slice(None), slice(None))
    ) -> NDArray[Any]:
        """Read a raster of the fields of a tile."""
        try:
            return read_raster(self._path(tile, kind), window)[0][0]
        except FileNotFoundError as error:
            raise SITSError(f"'{self._path(tile, kind)}' does not exist: fetch it again") from error

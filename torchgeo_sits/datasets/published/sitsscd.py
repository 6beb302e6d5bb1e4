"""Family of the packagings of SitsSCD: a JPEG for each month, and an array of 24 maps."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import LabelKind, Part, StoredSeries, Window
from .dated_files import DatedFiles, Frame
from .side_files import read_json, read_npy

__all__ = ['MONTHS', 'SitsSCD']

#: Months of the maps, 2018-01 to 2019-12.
MONTHS = 24
#: Squares that a side is divided into, and those by row and column that are held out.
_SQUARES = 8
_HELD_OUT: dict[Part, tuple[tuple[int, int], ...]] = {
    'val': ((7, 7), (6, 6)),
    'test': ((7, 6), (6, 7)),
}


class _Area(NamedTuple):
    """A sample: a place, or a rectangle of it."""

    place: str
    #: Folder of the images, which is the part that the lists have the place in.
    split: str
    #: First and last row and column, the latter exclusive; None is the whole place.
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None


class SitsSCD(DatedFiles):
    """Base class of the data sets that Vincent et al. packed for semantic change detection.

    Vincent, Ponce and Aubry, Satellite image time series semantic change detection: novel
    architecture and analysis of domain shift, https://arxiv.org/abs/2407.07616. Places have a
    JPEG for each month of 2018 and 2019 and a map for each: ``label_kind`` is 'frame'. Their two
    protocols are ``domain_shift``: with it validation and test are places that training has not
    seen, as ``split.json`` has them; without it they are four squares of the places of training,
    each of an eighth of the side: (7, 7) and (6, 6) by row and column for validation, (7, 6) and
    (6, 7) for the test. Training has two samples of each place then, the columns left of that
    corner and the rows above it.

    A subclass lists the files of a place in :meth:`month_files`.
    """

    label_kind: LabelKind = 'frame'
    #: Value of a map that means no label.
    ignored: ClassVar[int]

    def __init__(self, *args: Any, domain_shift: bool = True, **kwargs: Any) -> None:
        """Initialize a new SitsSCD instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            domain_shift: Validate and test on other places than those of training; False: on
                other squares of the same places.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        self.domain_shift = domain_shift
        super().__init__(*args, **kwargs)

    @abstractmethod
    def month_files(self, folder: Path, place: str) -> Mapping[int, Frame]:
        """Frames of a place by month, from 0; months without an image are left out.

        Args:
            folder: Folder of its images.
            place: Its name.
        """

    def list_samples(self, part: Part) -> Sequence[_Area]:
        """Places of the part, or rectangles of those of training."""
        if part == 'unlabelled':
            return []
        path = self.folder / 'split.json'
        split = part if self.domain_shift else 'train'
        listed = read_json(path)
        if not isinstance(listed, dict) or not isinstance(listed.get(split), list):
            raise SITSError(f"'{path}' has no list {split!r}: fetch it again")
        places = sorted({str(place) for place in listed[split]})
        if self.domain_shift:
            return [_Area(place, split) for place in places]
        return [area for place in places for area in self._rectangles(place, part)]

    def list_frames(self, key: _Area) -> Sequence[Frame]:
        """The frames of a place."""
        return list(self._months(key).values())

    def files(self, key: _Area) -> Sequence[Path]:
        """Images and maps of a sample."""
        return [*super().files(key), self._label_path(key.place)]

    def size(self, key: _Area) -> tuple[int, int]:
        """Height and width of the place, or of the rectangle."""
        if key.rows is None or key.columns is None:
            return super().size(key)
        return key.rows[1] - key.rows[0], key.columns[1] - key.columns[0]

    def read_series(self, key: _Area, window: Window) -> StoredSeries:
        """Read a window of each image."""
        return super().read_series(key, _within(key, window))

    def read_label(self, key: _Area, window: Window) -> NDArray[np.int64]:
        """The map of the month of each frame."""
        maps = self._read_maps(key.place)
        rows, columns = _within(key, window)
        found = np.stack([maps[month, rows, columns] for month in self._months(key)])
        return np.where(found == self.ignored, -1, found.astype(np.int64))

    def _months(self, key: _Area) -> Mapping[int, Frame]:
        """Frames of a place by month."""
        folder = self.folder / key.split / key.place
        if not (found := self.month_files(folder, key.place)):
            raise SITSError(f"'{folder}' has no image of place {key.place}: fetch it again")
        return found

    def _label_path(self, place: str) -> Path:
        """The file of the maps of a place."""
        return self.folder / 'labels' / f'{place}.npy'

    def _read_maps(self, place: str) -> NDArray[Any]:
        """The maps of a place ``(24, H, W)``."""
        maps = read_npy(self._label_path(place))
        if maps.ndim != 3 or len(maps) != MONTHS:
            raise SITSError(
                f"'{self._label_path(place)}' has the shape {maps.shape}, expected ({MONTHS}, "
                'height, width): fetch it again'
            )
        return maps

    def _rectangles(self, place: str, part: Part) -> list[_Area]:
        """Rectangles of a place of training that are a part without domain shift."""
        try:
            height, width = self._read_maps(place).shape[1:]
        except FileNotFoundError as error:
            raise SITSError(
                f"'{self._label_path(place)}' does not exist, the maps of place {place}: fetch "
                'them again'
            ) from error
        tall, wide = height // _SQUARES, width // _SQUARES
        if part == 'train':
            corner = _SQUARES - 2
            return [
                _Area(place, 'train', (0, height), (0, corner * wide)),
                _Area(place, 'train', (0, corner * tall), (0, width)),
            ]
        return [
            _Area(place, 'train', (row * tall, (row + 1) * tall), (left * wide, (left + 1) * wide))
            for row, left in _HELD_OUT[part]
        ]


def _within(key: _Area, window: Window) -> Window:
    """Rows and columns of a place, of a window of a sample."""
    if key.rows is None or key.columns is None:
        return window
    rows, columns = range(*key.rows)[window[0]], range(*key.columns)[window[1]]
    return slice(rows.start, rows.stop), slice(columns.start, columns.stop)

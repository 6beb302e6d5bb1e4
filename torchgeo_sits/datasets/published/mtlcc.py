"""MTLCC (Munich 480): crops around Munich, Sentinel-2 of 2016 and 2017."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, Part, Window, seconds_of
from .codes import GappedClasses
from .dated_files import DatedFiles, Frame, read_raster
from .side_files import find_paths, read_lines

__all__ = ['MTLCC']

_DATE = re.compile(r'(20\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))_10m')
#: Numbers and names of the crops; 0 is unknown.
_CROPS: Final[dict[int, str]] = {
    1: 'sugar beet',
    2: 'summer oat',
    3: 'meadow',
    5: 'rape',
    8: 'hop',
    9: 'winter spelt',
    12: 'winter triticale',
    13: 'beans',
    15: 'peas',
    16: 'potato',
    17: 'soy',
    19: 'asparagus',
    22: 'winter wheat',
    23: 'winter barley',
    24: 'winter rye',
    25: 'summer barley',
    26: 'maize',
}

_CLASSES: Final = {number: value for value, number in enumerate(_CROPS)}


class MTLCC(DatedFiles):
    """MTLCC: 17 crops in tiles of 240 or 480 m around Munich, Sentinel-2 in its 13 bands.

    Rußwurm and Körner, Multi-temporal land cover classification with sequential recurrent
    encoders, ISPRS IJGI 2018, https://doi.org/10.3390/ijgi7040129. It is read as the authors
    repacked it for PyTorch, with rasters for each date and resolution; the records for TensorFlow
    are not, whose years are wrong. Bands of 20 and 60 m are brought to 10 m by the nearest pixel.
    The order of the bands of one resolution is not stated, and is taken to be that of their
    numbers.

    A fold has lists of tiles for training and for validation (the authors' test of the fold); the
    test is the list ``eval``. The numbers of the crops have gaps, of which nothing is published:
    labels of other numbers are none, as 0 is, and the first file with any is told by a warning.
    The authors draw 30 dates at random, of the test too: ``data.num_dates=30`` draws as many
    in training.

    Examples:
        >>> from torchgeo_sits.datasets.published import MTLCC
        >>> len(MTLCC.band_names), MTLCC.classes[16]
        (13, 'maize')
    """

    about = About(
        title='MTLCC',
        sensor='Sentinel-2, 13 bands',
        labels='17 crops, by pixel',
        size='not stated for the repack, 42 GB of records',
        licence='CC-BY-4.0',
        paper='https://doi.org/10.3390/ijgi7040129',
        hosts=(
            'https://s3.eu-central-1.amazonaws.com/corupublic/mtlcc/pytorch/data.zip',
            'https://zenodo.org/records/5712933',
        ),
        dates='day',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='segmentation',
    )
    band_names = (
        'B02', 'B03', 'B04', 'B08', 'B05', 'B06', 'B07', 'B8A', 'B11', 'B12', 'B01', 'B09', 'B10',
    )  # fmt: skip
    classes = tuple(_CROPS.values())
    label_kind = 'pixel'
    marker = 'tileids/*.tileids'
    mean = (0.0,) * len(band_names)
    std = (1e4,) * len(band_names)
    folds: ClassVar[int] = 10

    def __init__(self, *args: Any, fold: int = 0, **kwargs: Any) -> None:
        """Initialize a new MTLCC instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            fold: Number of the fold, from 0 to 9.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if fold not in range(self.folds):
            raise SITSError(f'fold={fold!r}: expected a number from 0 to {self.folds - 1}')
        self.fold = fold
        self._classes = GappedClasses({0: -1, **_CLASSES})
        super().__init__(*args, **kwargs)

    def list_samples(self, part: Part) -> Sequence[str]:
        """Tiles of a list."""
        if part == 'unlabelled':
            return []
        fold = self.fold
        name = {'train': f'train_fold{fold}', 'val': f'test_fold{fold}', 'test': 'eval'}[part]
        return sorted(set(read_lines(self.folder / 'tileids' / f'{name}.tileids')))

    def list_frames(self, key: str) -> Sequence[Frame]:
        """The rasters of each date, of 10, 20 and 60 m."""
        folder = self._tile(key)
        frames = []
        for path in find_paths(folder, '*_10m.tif'):
            if date := _DATE.fullmatch(path.stem):
                coarse = (folder / f'{date[1]}_{metres}m.tif' for metres in (20, 60))
                frames.append(Frame(seconds_of(date[1]), (path, *coarse)))
        if not frames:
            raise SITSError(f"'{folder}' has no image of tile {key}: expected YYYYMMDD_10m.tif")
        return frames

    def files(self, key: str) -> Sequence[Path]:
        """Images and labels of a tile."""
        return [*super().files(key), self._tile(key) / 'y.tif']

    def read_label(self, key: str, window: Window) -> NDArray[np.int64]:
        """Crops of the pixels."""
        path = self._tile(key) / 'y.tif'
        numbers = read_raster(path, window)[0][0]
        return self._classes.classes_of(numbers, path)

    def _tile(self, key: str) -> Path:
        """The folder of a tile, which lies in one of a year where the list does not say so."""
        expected = self.folder / 'data' / key
        if expected.is_dir():
            return expected
        return min(find_paths(self.folder / 'data', f'*/{key}'), default=expected)

"""TiSeLaC: pixels of Reunion Island, Landsat 8 of 2014, nine land covers."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, Part, Window
from .side_files import told
from .tables import Rows, TableSeries
from .undated import frame_times

__all__ = ['TiSeLaC']

_FRAMES = 23
_NAMES: dict[Part, str] = {'train': 'training', 'test': 'test'}


class TiSeLaC(TableSeries):
    """TiSeLaC: 99,687 pixels of Reunion Island, 23 frames of Landsat 8 of 2014, land cover.

    Ienco and Gaetano, Time series land cover classification challenge at ECML-PKDD 2017. Seven
    reflectances and three indices, which are NDVI, NDWI and the brightness index. No dates are
    published. The coordinates of the pixels are not read, and none of them is for validation.

    The files are those of the challenge: ``training.txt`` and ``test.txt`` with a row for each
    pixel, and ``training_class.txt`` and ``test_class.txt`` with its class.

    Examples:
        >>> from torchgeo_sits.datasets.published import TiSeLaC
        >>> TiSeLaC.classes[6], TiSeLaC.band_names[-3:]
        ('sugarcane crops', ('NDVI', 'NDWI', 'BI'))
    """

    about = About(
        title='TiSeLaC',
        sensor='Landsat 8, 7 reflectances and 3 indices',
        labels='9 land covers, by pixel without neighbours',
        size='99,687 pixels',
        licence='not stated',
        paper='https://sites.google.com/site/dinoienco/tiselac-time-series-land-cover-classification-challenge',
        hosts=(
            'https://sites.google.com/site/dinoienco/tiselac-time-series-land-cover-classification-challenge',
        ),
        dates='order',
        metric=('AverageF1Score', 'OverallAccuracy'),
        config='classification',
    )
    band_names = (
        'coastal', 'blue', 'green', 'red', 'nir08', 'swir16', 'swir22', 'NDVI', 'NDWI', 'BI',
    )  # fmt: skip
    classes = (
        'urban areas', 'other built-up surfaces', 'forests', 'sparse vegetation',
        'rocks and bare soil', 'grassland', 'sugarcane crops', 'other crops', 'water',
    )  # fmt: skip
    label_kind = 'series'
    marker = 'training_class.txt'
    official: ClassVar[dict[Part, int]] = {'train': 81_714, 'test': 17_973}

    def __init__(self, *args: Any, dates: list[str] | None = None, **kwargs: Any) -> None:
        """Initialize a new TiSeLaC instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            dates: The date of each of the 23 frames, ``YYYYMMDD``. None places frames one day
                apart from 1970-01-01, with a warning.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        self.dates = dates
        super().__init__(*args, **kwargs)

    @cached_property
    def _times(self) -> NDArray[np.int64]:
        """Times of the frames."""
        return frame_times(self.about.title, _FRAMES, self.dates)

    @cached_property
    def _values(self) -> NDArray[np.float32]:
        """Pixels, frames and bands of this part."""
        path = self._path()
        found = _read_numbers(path)
        bands = len(self.band_names)
        if found.shape != (len(self._classes), _FRAMES * bands):
            raise SITSError(
                f"'{path}' has {len(found)} rows of {found.shape[1]} numbers, expected "
                f'{len(self._classes)} of {_FRAMES * bands}: fetch it and the classes again'
            )
        return found.reshape(-1, _FRAMES, bands)

    @cached_property
    def _classes(self) -> NDArray[np.int64]:
        """Class of each pixel of this part."""
        return _read_numbers(self._path('_class'))[:, 0].astype(np.int64) - 1

    def _path(self, ending: str = '') -> Path:
        """A file of this part."""
        return self.folder / f'{_NAMES[self.part]}{ending}.txt'

    def list_samples(self, part: Part) -> Sequence[tuple[str, int]]:
        """File and row of each pixel."""
        if part not in _NAMES:
            return []
        try:
            return [(_NAMES[part], row) for row in range(len(self._classes))]
        except FileNotFoundError as error:
            raise SITSError(
                f"'{self._path('_class')}' does not exist, the classes of the part {part!r}"
            ) from error

    def files(self, key: tuple[str, int]) -> Sequence[Path]:
        """The classes, and the values."""
        return [self._path('_class'), self._path()]

    def read_rows(self, key: tuple[str, int]) -> Rows:
        """Rows of a pixel."""
        return Rows(self._values[key[1]], self._times)

    def read_label(self, key: tuple[str, int], window: Window) -> NDArray[np.int64]:
        """Class of a pixel."""
        return self._classes[key[1]]

    def sample_classes(self) -> NDArray[np.int64]:
        """Classes of the pixels."""
        return self._classes


def _read_numbers(path: Path) -> NDArray[np.float32]:
    """Read a table of numbers, which commas divide in one file and tabulators in another."""
    with path.open() as file:
        first = file.readline()
    separator = ',' if ',' in first else '\t'
    try:
        table = pd.read_csv(path, sep=separator, header=None, dtype=np.float32)
    except (UnicodeDecodeError, ValueError, pd.errors.ParserError) as error:
        raise SITSError(
            f"'{path}' is no table of numbers ({told(error)}): fetch it again"
        ) from error
    return table.to_numpy()

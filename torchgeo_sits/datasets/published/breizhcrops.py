"""BreizhCrops: parcels of Brittany, Sentinel-2 at L1C or L2A, nine crops."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, Part, Window
from .hierarchical import open_hdf5
from .tables import Rows, TableSeries, read_csv

__all__ = ['BreizhCrops']

_L1C = ('B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B9', 'B10', 'B11', 'B12')
_L2A = ('B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B11', 'B12')
#: Columns of the arrays; ``doa`` is the date, the rest after the bands is quality.
_COLUMNS = {
    'L1C': (*_L1C, 'QA10', 'QA20', 'QA60', 'doa'),
    'L2A': ('doa', *_L2A, 'CLD', 'EDG', 'SAT'),
}
_REGIONS: dict[Part, tuple[str, ...]] = {
    'train': ('frh01', 'frh02'),
    'val': ('frh03',),
    'test': ('frh04',),
    'unlabelled': (),
}


class BreizhCrops(TableSeries):
    """BreizhCrops: mean Sentinel-2 series of some 610,000 parcels of Brittany, of 2017.

    Rußwurm, Pelletier, Zollner, Lefèvre and Körner, BreizhCrops: a time series dataset for crop
    type mapping, ISPRS Archives 2020, https://arxiv.org/abs/1905.11893. Regions frh01 and frh02
    are for training, frh03 for validation, frh04 for the test. The authors' loader draws 45
    dates at random, also of the test; here all are given, and ``data.num_dates=45`` draws as
    many in training.

    Examples:
        >>> from torchgeo_sits.datasets.published import BreizhCrops
        >>> BreizhCrops.classes[3], BreizhCrops.about.dates
        ('corn', 'day')
    """

    about = About(
        title='BreizhCrops',
        sensor='Sentinel-2, 13 bands (L1C) or 10 (L2A)',
        labels='9 crops, by parcel',
        size='610,000 parcels, 0.6 to 2.6 GB a region',
        licence='not stated for the data',
        paper='https://arxiv.org/abs/1905.11893',
        hosts=('https://breizhcrops.s3.eu-central-1.amazonaws.com',),
        dates='day',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='classification',
    )
    band_names: tuple[str, ...] = _L1C
    classes = (
        'barley', 'wheat', 'rapeseed', 'corn', 'sunflower', 'orchards', 'nuts',
        'permanent meadows', 'temporary meadows',
    )  # fmt: skip
    label_kind = 'series'
    marker = 'classmapping.csv'
    mean: tuple[float, ...] = (0.0,) * len(_L1C)
    std: tuple[float, ...] = (1e4,) * len(_L1C)
    year: ClassVar[int] = 2017

    def __init__(self, *args: Any, level: Literal['L1C', 'L2A'] = 'L1C', **kwargs: Any) -> None:
        """Initialize a new BreizhCrops instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            level: Level of processing, of which the folder ``2017/LEVEL`` is read.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if level not in _COLUMNS:
            raise SITSError(f"unknown level {level!r}: expected 'L1C' or 'L2A'")
        self.level = level
        if level == 'L2A':
            self.band_names = _L2A
            self.mean, self.std = (0.0,) * len(_L2A), (1e4,) * len(_L2A)
        super().__init__(*args, **kwargs)

    @cached_property
    def _class_of_code(self) -> dict[str, int]:
        """Class of each code of the French register."""
        path = self.folder / 'classmapping.csv'
        table = read_csv(path, ('id', 'code'))
        try:
            return dict(zip(table['code'].astype(str), table['id'].astype(int), strict=True))
        except (OverflowError, ValueError) as error:
            raise SITSError(
                f"'{path}' does not give each code a number as id ({error}): fetch it again"
            ) from error

    def list_samples(self, part: Part) -> Sequence[tuple[str, str, int]]:
        """Region, key in its file and class of each parcel whose crop is one of the nine."""
        found: list[tuple[str, str, int]] = []
        for region in _REGIONS[part]:
            index = read_csv(self._find(f'{region}.csv'), ('CODE_CULTU', 'path'))
            labels = index['CODE_CULTU'].astype(str).map(self._class_of_code)
            known = labels.notna()
            paths = index['path'].astype(str)
            found += [
                (region, path, int(label))
                for path, label in zip(paths[known], labels[known], strict=True)
            ]
        return found

    def files(self, key: tuple[str, str, int]) -> Sequence[Path]:
        """The file of the region."""
        return [self._find(f'{key[0]}.h5')]

    def read_rows(self, key: tuple[str, str, int]) -> Rows:
        """Read the array of a parcel: a row for each date."""
        columns = _COLUMNS[self.level]
        with open_hdf5(self.files(key)[0]) as file:
            array = file[key[1]][()]
        if array.ndim != 2 or array.shape[1] != len(columns):
            raise SITSError(
                f"'{self.files(key)[0]}': {key[1]} has the shape {array.shape}, expected "
                f'(dates, {len(columns)}): is it of level {self.level}?'
            )
        bands = [columns.index(name) for name in self.band_names]
        if not np.isfinite(array[:, columns.index('doa')]).all():
            raise SITSError(
                f"'{self.files(key)[0]}': {key[1]} has rows without a date (doa): fetch it again"
            )
        # Nanoseconds as float64 are off by some hundred, so that the day is rounded to.
        days = np.rint(array[:, columns.index('doa')] / 86_400e9).astype(np.int64)
        return Rows(array[:, bands], days * 86_400)

    def read_label(self, key: tuple[str, str, int], window: Window) -> NDArray[np.int64]:
        """Class of a parcel."""
        return np.array(key[2])

    def sample_classes(self) -> NDArray[np.int64]:
        """Classes of the parcels, of which the index knows."""
        return np.array([key[2] for key in self.samples], np.int64)

    def _find(self, name: str) -> Path:
        """A file of the level; the archives of L2A unpack into deeper folders."""
        expected = self.folder / str(self.year) / self.level / name
        if expected.exists():
            return expected
        deeper = self.folder.glob(f'{self.year}/**/{self.level}/**/{name}')
        return min(deeper, default=expected)

"""SICKLE: paddy and other crops of the Cauvery delta in India, Sentinel-2 and Sentinel-1."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import SITSError
from .base import PARTS, About, Part, PublishedTimeSeries, StoredSeries, Window, seconds_of
from .dated_files import read_raster
from .side_files import find_paths, read_npz, told

__all__ = ['Sickle']

_TABLE = 'sickle_dataset_tabular.csv'
_COLUMNS = ('UNIQUE_ID', 'PLOT_ID', 'STANDARD_SEASON', 'YEAR', 'SPLIT')
_NUMBERS = ('UNIQUE_ID', 'PLOT_ID', 'YEAR')
_MONTHS = ('jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec')
#: Days from the first of a season that its images are of.
_SEASON = 183
#: Height and width that the authors bring arrays and masks to.
_SIDE = 32


class Sickle(PublishedTimeSeries):
    """SICKLE: paddy against other crops in 2,370 samples of 32 x 32 pixels of 10 m.

    Sani et al., SICKLE: a multi-sensor satellite imagery dataset annotated with multiple key
    cropping parameters, WACV 2024, https://arxiv.org/abs/2312.00069. A sample is a plot and its
    surroundings in a season, the 183 days from the first of the month that ``STANDARD_SEASON``
    begins with. Sentinel-1 lies beside Sentinel-2; Landsat 8, and the other labels (sowing,
    transplanting, harvest and yield), are not read. Arrays and masks are brought to 32 x 32 by
    the nearest pixel, as the authors do. Pixels of 0 hold no data; the authors leave out images
    with a quarter of those. Plots of other parts are not labelled.

    Examples:
        >>> from torchgeo_sits.datasets.published import Sickle
        >>> Sickle.classes, Sickle.band_names_s1
        (('paddy', 'other crops'), ('VV', 'VH'))
    """

    about = About(
        title='SICKLE',
        sensor='Sentinel-2, 12 bands; Sentinel-1, VV and VH',
        labels='paddy or other crops, by pixel',
        size='2,370 samples',
        licence='for research, on request',
        paper='https://arxiv.org/abs/2312.00069',
        hosts=('https://github.com/Depanshu-Sani/SICKLE',),
        dates='day',
        metric=('AverageJaccardIndex',),
        config='segmentation',
    )
    band_names = ('B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B9', 'B11', 'B12')
    band_names_s1 = ('VV', 'VH')
    classes = ('paddy', 'other crops')
    label_kind = 'pixel'
    nodata = (0.0,)
    marker = _TABLE

    @cached_property
    def _table(self) -> pd.DataFrame:
        """The table of the samples."""
        path = self.folder / _TABLE
        try:
            table = pd.read_csv(path, usecols=list(_COLUMNS))
            numbers = table.astype(dict.fromkeys(_NUMBERS, int))
        except (OSError, OverflowError, ValueError) as error:
            raise SITSError(
                f"'{path}' is no table with the columns {list(_COLUMNS)} ({told(error)}): "
                'fetch it again'
            ) from error
        odd = table[list(_NUMBERS)].ne(numbers[list(_NUMBERS)]).any(axis=1)
        odd |= ~numbers['YEAR'].between(1900, 2200) | ~table['SPLIT'].isin(PARTS)
        if odd.any():
            raise SITSError(
                f"'{path}' has the row {table[odd].iloc[0].to_dict()}: expected whole numbers, a "
                f'year, and one of train, val and test: fetch it again'
            )
        return numbers

    def list_samples(self, part: Part) -> Sequence[int]:
        """Numbers of the samples of a part."""
        table = self._table
        return sorted(set(table['UNIQUE_ID'][table['SPLIT'] == part].tolist()))

    @cached_property
    def _plots(self) -> NDArray[np.int64]:
        """Plots of this part."""
        return np.unique(self._table['PLOT_ID'][self._table['SPLIT'] == self.part])

    def size(self, key: int) -> tuple[int, int]:
        """32 x 32 pixels."""
        return _SIDE, _SIDE

    def files(self, key: int) -> Sequence[Path]:
        """Arrays of both sensors and the mask of a sample."""
        images = [path for sensor in ('S2', 'S1') for path, _ in self._images(key, sensor)]
        return [*images, self._mask(key)]

    def read_series(self, key: int, window: Window) -> StoredSeries:
        """Read the arrays of Sentinel-2."""
        if (stored := self._read(key, 'S2', self.band_names, window)) is None:
            raise SITSError(
                f"'{self.folder / 'images/S2/npy' / str(key)}' has no image of the season of "
                f'sample {key}: fetch it again'
            )
        return stored

    def read_series_s1(self, key: int, window: Window) -> StoredSeries | None:
        """Read the arrays of Sentinel-1."""
        return self._read(key, 'S1', self.band_names_s1, window)

    def read_label(self, key: int, window: Window) -> NDArray[np.int64]:
        """0 for paddy and 1 for other crops, of the plots of this part."""
        layers, _ = read_raster(self._mask(key), (slice(None), slice(None)))
        plots, crops = (np.nan_to_num(_nearest(layer))[window] for layer in layers[:2])
        if np.any(crops % 1) or crops.min() < 0:
            raise SITSError(
                f"'{self._mask(key)}' has crops that are no numbers from 0: fetch it again"
            )
        known = (crops >= 1) & np.isin(plots, self._plots)
        return np.where(known, np.minimum(crops - 1, 1), -1).astype(np.int64)

    def _read(
        self, key: int, sensor: str, bands: Sequence[str], window: Window
    ) -> StoredSeries | None:
        """Read the arrays of a sensor; None where there are none."""
        if not (images := self._images(key, sensor)):
            return None
        values = []
        for path, _ in images:
            arrays = read_npz(path, bands)
            if odd := {array.shape for array in arrays if array.ndim != 2 or not array.size}:
                raise SITSError(
                    f"'{path}' has arrays of the shapes {sorted(odd)}, expected (height, width): "
                    'fetch it again'
                )
            values.append(np.stack([_nearest(array)[window] for array in arrays]))
        return StoredSeries(np.stack(values), np.array([time for _, time in images], np.int64))

    def _images(self, key: int, sensor: str) -> list[tuple[Path, int]]:
        """Files of a sensor within the season, and their dates."""
        start, found = self._start(key), []
        for path in find_paths(self.folder / 'images' / sensor / 'npy' / str(key), '*.npz'):
            words = path.stem.split('_')
            place = 4 if sensor == 'S1' else int(path.name.startswith('T'))
            try:
                time = seconds_of(words[place][:8])
            except (IndexError, ValueError) as error:
                raise SITSError(
                    f"'{path}' has no date in its name, which is expected behind {place} of its "
                    'underscores: give the file its published name'
                ) from error
            if start <= time < start + 86_400 * _SEASON:
                found.append((path, time))
        return found

    def _start(self, key: int) -> int:
        """The first day of the season of a sample."""
        row = self._table[self._table['UNIQUE_ID'] == key].iloc[0]
        month = str(row['STANDARD_SEASON']).split('-')[0].strip().lower()[:3]
        if month not in _MONTHS:
            raise SITSError(
                f"'{self.folder / _TABLE}' has the season {row['STANDARD_SEASON']!r}, expected one "
                "such as 'jan-mar': fetch it again"
            )
        return int(datetime(row['YEAR'], _MONTHS.index(month) + 1, 1, tzinfo=UTC).timestamp())

    def _mask(self, key: int) -> Path:
        """The mask of a sample, which some copies have a folder deeper."""
        expected = self.folder / f'masks/10m/{key}.tif'
        deeper = find_paths(self.folder, f'masks/*/10m/{key}.tif')
        return expected if expected.exists() else min(deeper, default=expected)


def _nearest(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """An array ``(H, W)`` brought to 32 x 32 by the nearest pixel."""
    rows, columns = ((np.arange(_SIDE) + 0.5) * n // _SIDE for n in array.shape)
    return array[rows.astype(int)[:, None], columns.astype(int)]

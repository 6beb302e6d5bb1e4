"""PASTIS, PASTIS-R and PASTIS-HD: Sentinel-2 with Sentinel-1 beside it, twenty classes."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import SITSError
from ..pastis import PASTIS, published_dates, published_statistics, read_patches
from .arrays import ArraySeries, read_array_series
from .base import About, Download, Part, StoredSeries, Window, join_series
from .side_files import read_npy

__all__ = ['PASTISHD']

_ORBITS = {'ascending': ('S1A',), 'descending': ('S1D',), 'both': ('S1A', 'S1D'), None: ()}


class PASTISHD(ArraySeries):
    """PASTIS, PASTIS-R or PASTIS-HD: 2,433 patches of France, each with both sensors.

    Garnot and Landrieu, ICCV 2021, https://arxiv.org/abs/2107.07933; Garnot, Landrieu and
    Chehata, 2022, https://arxiv.org/abs/2112.07558; Astruc et al., OmniSat, ECCV 2024,
    https://arxiv.org/abs/2404.08351, which adds SPOT images of one date that are not read here.

    Fold k trains on the folds k, k + 1 and k + 2, validates on the next and tests on the last, as
    the authors do; fold 1 is the split of later work. All parts are normalised by the published
    statistics of the folds of training. Void parcels are not labelled. For parcels, few fields
    and each split by statistics of its own there is
    :class:`~torchgeo_sits.datamodules.PASTISDataModule`.

    Examples:
        >>> from torchgeo_sits.datasets.published import PASTISHD
        >>> PASTISHD.band_names_s1, PASTISHD.classes[3]
        (('VV', 'VH', 'VV/VH'), 'corn')
    """

    about = About(
        title='PASTIS-HD',
        sensor='Sentinel-2, 10 bands; Sentinel-1, both orbits',
        labels='19 classes of crops, by pixel',
        size='2,433 patches, 29 GB (S2), 54 GB (with S1)',
        licence='etalab-2.0 (PASTIS-HD)',
        paper='https://arxiv.org/abs/2107.07933',
        hosts=(
            'https://zenodo.org/records/5735646',
            'https://huggingface.co/datasets/IGNF/PASTIS-HD',
        ),
        dates='day',
        metric=('AverageJaccardIndex', 'OverallAccuracy'),
        config='segmentation',
        # PASTIS-R: what is read here of PASTIS-HD, in one file.
        downloads=(Download(PASTIS.url, PASTIS.md5, 54_000_000_000),),
    )
    band_names = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')
    band_names_s1: tuple[str, ...] = ('VV', 'VH', 'VV/VH')
    classes = tuple(PASTIS.classes[: PASTIS.void])
    label_kind = 'pixel'
    nodata = (-10000.0,)
    marker = 'metadata.geojson'

    def __init__(
        self,
        *args: Any,
        fold: int = 1,
        sentinel1: Literal['ascending', 'descending', 'both'] | None = 'both',
        **kwargs: Any,
    ) -> None:
        """Initialize a new PASTISHD instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            fold: Number of the official run, from 1 to 5.
            sentinel1: Orbits of Sentinel-1 to read beside the images, in one series; None for
                none, as PASTIS has none.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if fold not in range(1, 6):
            raise SITSError(f'fold={fold}: expected one of the official runs, from 1 to 5')
        if sentinel1 not in _ORBITS:
            raise SITSError(f'unknown sentinel1 {sentinel1!r}: expected one of {tuple(_ORBITS)}')
        turned = [(fold - 1 + i) % 5 + 1 for i in range(5)]
        self.folds: dict[Part, list[int]] = {
            'train': turned[:3],
            'val': turned[3:4],
            'test': turned[4:],
            'unlabelled': [],
        }
        self._sensors = _ORBITS[sentinel1]
        if not self._sensors:
            self.band_names_s1 = ()
        super().__init__(*args, **kwargs)
        self.mean, self.std = self._statistics('S2', len(self.band_names))
        if self._sensors:
            found = [self._statistics(name, len(self.band_names_s1)) for name in self._sensors]
            means, stds = zip(*found, strict=True)
            self.mean_s1, self.std_s1 = (tuple(np.mean(v, axis=0).tolist()) for v in (means, stds))

    @cached_property
    def _patches(self) -> pd.DataFrame:
        """The table of the patches, by their numbers."""
        patches = read_patches(self.folder / self.marker).set_index('ID_PATCH')
        for name in ('S2', *self._sensors):
            if f'dates-{name}' not in patches:
                raise SITSError(
                    f"'{self.folder / self.marker}' has no 'dates-{name}': PASTIS has no "
                    'Sentinel-1, give sentinel1=null'
                )
        return patches

    def list_samples(self, part: Part) -> Sequence[int]:
        """Numbers of the patches of a part."""
        chosen = self._patches['Fold'].isin(self.folds[part])
        return [int(number) for number in self._patches.index[chosen]]

    def array_file(self, key: int) -> Path:
        """The Sentinel-2 series of a patch."""
        return self._file('S2', key)

    def times(self, key: int) -> NDArray[np.int64]:
        """Dates of the Sentinel-2 series of a patch."""
        return self._dates('S2', key)

    def files(self, key: int) -> Sequence[Path]:
        """The arrays of a patch."""
        return [*(self._file(name, key) for name in ('S2', *self._sensors)), self._target(key)]

    def read_series_s1(self, key: int, window: Window) -> StoredSeries | None:
        """Read the orbits of Sentinel-1 as one series."""
        if not self._sensors:
            return None
        found = [
            read_array_series(
                self._file(name, key), self._dates(name, key), self.band_names_s1, window
            )
            for name in self._sensors
        ]
        return join_series(found)

    def read_label(self, key: int, window: Window) -> NDArray[np.int64]:
        """Classes of the pixels; void parcels have none."""
        target = read_npy(self._target(key))
        # The authors' loader takes the first layer of three.
        labels = (target[0] if target.ndim == 3 else target)[window].astype(np.int64)
        return np.where(labels == PASTIS.void, -1, labels)

    def _file(self, sensor: str, key: int) -> Path:
        """The array of a sensor and a patch."""
        return self.folder / f'DATA_{sensor}/{sensor}_{key}.npy'

    def _target(self, key: int) -> Path:
        """The annotations of a patch."""
        return self.folder / f'ANNOTATIONS/TARGET_{key}.npy'

    def _dates(self, sensor: str, key: int) -> NDArray[np.int64]:
        """Dates of a sensor and a patch."""
        column = f'dates-{sensor}'
        value = self._patches.at[key, column]
        return published_dates(value, column=column, patch=key, path=self.folder / self.marker)

    def _statistics(self, sensor: str, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Published statistics of a sensor, averaged over the folds of training."""
        path = self.folder / f'NORM_{sensor}_patch.json'
        mean, std = published_statistics(path, self.folds['train'], range(bands))
        return tuple(mean), tuple(std)

"""BioMassters: biomass of forests in Finland, a year of Sentinel-1 and Sentinel-2."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, Part, StoredSeries, Window, seconds_of
from .dated_files import MOST_CLOUD, DatedFiles, Frame, read_raster
from .tables import read_csv

__all__ = ['BioMassters']

_TABLE = 'biomassters_features_metadata.csv'
_COLUMNS = ('filename', 'chip_id', 'satellite', 'split')
_IMAGE = re.compile(r'\w+_S[12]_(0\d|1[01])\.tif')


class _Chip(NamedTuple):
    """A sample."""

    chip: str
    split: str


class BioMassters(DatedFiles):
    """BioMassters: biomass above ground by pixel, 256 x 256 of 10 m, in 12 months.

    Nascetti et al., BioMassters: a benchmark dataset for forest biomass estimation using
    multi-modal satellite time-series, https://nascetti-a.github.io/BioMasster/. Sentinel-1 of
    two orbits lies beside Sentinel-2, of which months are missing. Months are published without
    years, from September to August: dates are the first of the months from September 1970 on,
    so that seasons are right and years mean nothing. Pixels with a probability of cloud above 50 %
    are not clear; that limit is not the authors'. The unit of the biomass is not stated.

    Every fifth chip of training, in the order of their names, is held out for validation, which
    the authors do not name. Chips of the test are without labels where ``test_agbm`` is not
    there: they are the part 'unlabelled' then.

    Examples:
        >>> from torchgeo_sits.datasets.published import BioMassters
        >>> BioMassters.label_kind, BioMassters.about.dates
        ('pixel_value', 'month of any year')
    """

    about = About(
        title='BioMassters',
        sensor='Sentinel-2, 10 bands; Sentinel-1, VV and VH of two orbits',
        labels='biomass above ground, by pixel',
        size='13,000 chips',
        licence='CC-BY-4.0',
        paper='https://nascetti-a.github.io/BioMasster/',
        hosts=('https://huggingface.co/datasets/torchgeo/biomassters',),
        dates='month of any year',
        metric=('RMSE',),
        config='regression',
    )
    band_names = ('B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B11', 'B12')
    band_names_s1 = ('VV_asc', 'VH_asc', 'VV_desc', 'VH_desc')
    label_kind = 'pixel_value'
    #: Of an orbit of Sentinel-1 that is missing.
    nodata = (-9999.0,)
    marker = _TABLE

    @cached_property
    def _images(self) -> dict[tuple[str, str], dict[str, list[str]]]:
        """Names of the images of each chip and split, by satellite."""
        path = self.folder / _TABLE
        table = read_csv(path, _COLUMNS)[list(_COLUMNS)]
        if (empty := table.isna().any(axis=1)).any():
            raise SITSError(
                f"'{path}' has {int(empty.sum())} rows without one of {list(_COLUMNS)}: fetch it "
                'again'
            )
        found: dict[tuple[str, str], dict[str, list[str]]] = {}
        for name, chip, satellite, split in table.itertuples(index=False):
            found.setdefault((chip, split), {}).setdefault(satellite, []).append(name)
        return found

    def list_samples(self, part: Part) -> Sequence[_Chip]:
        """Chips of a part that have Sentinel-2."""
        chips = sorted(key for key, images in self._images.items() if images.get('S2'))
        train = [_Chip(*key) for key in chips if key[1] == 'train']
        test = [_Chip(*key) for key in chips if key[1] == 'test']
        labelled = (self.folder / 'test_agbm').is_dir()
        return {
            'train': [chip for number, chip in enumerate(train) if number % 5 != 4],
            'val': train[4::5],
            'test': test if labelled else [],
            'unlabelled': [] if labelled else test,
        }[part]

    def list_frames(self, key: _Chip) -> Sequence[Frame]:
        """Images of Sentinel-2."""
        return self._frames(key, 'S2')

    def files(self, key: _Chip) -> Sequence[Path]:
        """Images of both and the biomass of a chip."""
        frames = [*self._frames(key, 'S2'), *self._frames(key, 'S1')]
        images = [path for frame in frames for path in frame.paths]
        return images if self.part == 'unlabelled' else [*images, self._biomass(key)]

    def read_series_s1(self, key: _Chip, window: Window) -> StoredSeries | None:
        """Read a window of each image of Sentinel-1."""
        frames = self._frames(key, 'S1')
        return self.read_frames(key, frames, window, self.band_names_s1) if frames else None

    def mark_clear(
        self, frame: Frame, pixels: NDArray[Any], window: Window
    ) -> NDArray[np.bool_] | None:
        """What the eleventh band of Sentinel-2 does not take for cloud."""
        cloud = len(self.band_names)
        return pixels[cloud] <= MOST_CLOUD if len(pixels) > cloud else None

    def read_label(self, key: _Chip, window: Window) -> NDArray[np.float32]:
        """Biomass of the pixels."""
        values, seen = read_raster(self._biomass(key), window)
        return np.where(seen, values[0], np.nan).astype(np.float32)

    def _frames(self, key: _Chip, satellite: str) -> list[Frame]:
        """Images of a satellite by month; the first is September."""
        folder, frames = self.folder / f'{key.split}_features', []
        for name in self._images[key].get(satellite, []):
            if (month := _IMAGE.fullmatch(name)) is None:
                raise SITSError(
                    f"'{self.folder / _TABLE}' names {name!r}: expected CHIP_{satellite}_MM.tif, "
                    'of the months 00 to 11'
                )
            years, rest = divmod(8 + int(month[1]), 12)
            frames.append(
                Frame(seconds_of(f'{1970 + years}{rest + 1:02}', '%Y%m'), (folder / name,))
            )
        return frames

    def _biomass(self, key: _Chip) -> Path:
        """The biomass of a chip."""
        return self.folder / f'{key.split}_agbm' / f'{key.chip}_agbm.tif'

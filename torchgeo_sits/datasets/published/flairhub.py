"""FLAIR-HUB: the Sentinel series of patches of France, with land cover from aerial images."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from rasterio.enums import Resampling

from ...errors import SITSError
from .base import About, Part, PublishedTimeSeries, StoredSeries, Window, join_series, seconds_of
from .codes import classes_of
from .dated_files import raster_size, read_raster
from .side_files import find_paths, told
from .stacked import read_stack

__all__ = ['FLAIRHUB']

_SPLITS: dict[Part, str] = {'train': 'train', 'val': 'valid', 'test': 'test', 'unlabelled': ''}
_SPLIT_TABLE: Final = 'GLOBAL_ALL_MTD/GLOBAL_ALL_MTD_SPLIT.gpkg'
_PATCH: Final = r'[^_]+_[^_]+_[^_]+'
#: Sentinel-1, by orbit.
_ORBITS = ('SENTINEL1-ASC', 'SENTINEL1-DESC')

#: Classes of the 19 numbers of the land cover; the last four are not labelled.
_CLASSES: Final = {number: number if number < 15 else -1 for number in range(19)}


class FLAIRHUB(PublishedTimeSeries):
    """FLAIR-HUB: 241,100 patches of 102 m, Sentinel-2 and Sentinel-1 series, land cover.

    Garioud et al., FLAIR-HUB, 2025, https://arxiv.org/abs/2506.07080. Of the modalities the
    series are read, 10 m a pixel. Land cover was drawn at 0.2 m: each pixel has the class of most
    of its ground, and of the 19 classes the last four, nearly empty or undefined, are not
    labelled, as the authors have it. Pixels with more than *max_cloud* per cent of probability of
    cloud or snow are not clear.

    Examples:
        >>> from torchgeo_sits.datasets.published import FLAIRHUB
        >>> len(FLAIRHUB.band_names), len(FLAIRHUB.classes), FLAIRHUB.band_names_s1
        (10, 15, ('VV', 'VH'))
    """

    about = About(
        title='FLAIR-HUB',
        sensor='Sentinel-2, 10 bands; Sentinel-1, both orbits',
        labels='15 classes of land cover, by pixel of 10 m',
        size='241,100 patches, about 750 GB with all modalities',
        licence='Licence Ouverte 2.0 (etalab-2.0)',
        paper='https://arxiv.org/abs/2506.07080',
        hosts=('https://huggingface.co/datasets/IGNF/FLAIR-HUB',),
        dates='day',
        metric=('AverageJaccardIndex', 'OverallAccuracy'),
        config='segmentation',
    )
    band_names = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')
    band_names_s1 = ('VV', 'VH')
    classes = (
        'building', 'greenhouse', 'swimming pool', 'impervious surface', 'pervious surface',
        'bare soil', 'water', 'snow', 'herbaceous vegetation', 'agricultural land', 'plowed land',
        'vineyard', 'deciduous', 'coniferous', 'brushwood',
    )  # fmt: skip
    label_kind = 'pixel'
    nodata = (0.0,)
    marker = _SPLIT_TABLE

    def __init__(
        self, *args: Any, split: str = 'split_1', max_cloud: float = 50.0, **kwargs: Any
    ) -> None:
        """Initialize a new FLAIRHUB instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            split: Column of the table of splits to go by.
            max_cloud: Largest probability of cloud and of snow of a clear pixel, in per cent.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        self.split = split
        self.max_cloud = max_cloud
        super().__init__(*args, **kwargs)

    def list_samples(self, part: Part) -> Sequence[str]:
        """Names of the patches of a part whose Sentinel-2 series is there."""
        table = _read_table(self.folder / _SPLIT_TABLE, ('patch_id', self.split))
        if (odd := ~table['patch_id'].astype(str).str.fullmatch(_PATCH)).any():
            raise SITSError(
                f"'{self.folder / _SPLIT_TABLE}' has {table['patch_id'][odd].iloc[0]!r} for a "
                'patch, expected DOMAIN_PLACE_NUMBER: fetch it again'
            )
        chosen = table['patch_id'][table[self.split].astype(str) == _SPLITS[part]]
        # Domains are downloads of their own, of which few have all.
        here = {path.name for path in find_paths(self.folder, 'D*_SENTINEL2_TS')}
        return sorted(
            name for name in set(chosen.astype(str)) if f'{name.split("_")[0]}_SENTINEL2_TS' in here
        )

    def files(self, key: str) -> Sequence[Path]:
        """Series and land cover of a patch."""
        names = ('SENTINEL2_TS', 'SENTINEL2_MSK-SC', *(f'{name}_TS' for name in _ORBITS))
        return [*(self._file(key, name) for name in names), self._file(key, 'AERIAL_LABEL-COSIA')]

    def size(self, key: str) -> tuple[int, int]:
        """Height and width of the Sentinel-2 series."""
        return raster_size(self._file(key, 'SENTINEL2_TS'))

    def read_series(self, key: str, window: Window) -> StoredSeries:
        """Read Sentinel-2, and what of it is neither cloud nor snow."""
        times = self._times('SENTINEL2', key)
        image = read_stack(self._file(key, 'SENTINEL2_TS'), times, len(self.band_names), window)
        path = self._file(key, 'SENTINEL2_MSK-SC')
        masks = read_stack(path, times, 2, window, self.size(key))
        return image._replace(clear=(masks.values <= self.max_cloud).all(axis=1))

    def read_series_s1(self, key: str, window: Window) -> StoredSeries:
        """Read both orbits of Sentinel-1 as one series."""
        size = self.size(key)
        found = [
            read_stack(self._file(key, f'{name}_TS'), self._times(name, key), 2, window, size)
            for name in _ORBITS
        ]
        return join_series(found)

    def read_label(self, key: str, window: Window) -> NDArray[np.int64]:
        """The class of most of the ground of each pixel."""
        path, size = self._file(key, 'AERIAL_LABEL-COSIA'), self.size(key)
        whole = slice(None), slice(None)
        labels, _ = read_raster(path, whole, size, resampling=Resampling.mode)
        return classes_of(labels[0][window], _CLASSES, path)

    @cached_property
    def _dates(self) -> dict[str, dict[str, NDArray[np.int64]]]:
        """Times of the frames of each patch, by sensor."""
        found = {}
        for sensor in ('SENTINEL2', *_ORBITS):
            path = self.folder / f'GLOBAL_ALL_MTD/GLOBAL_{sensor}_MTD_DATES.gpkg'
            table = _read_table(path, ('patch_id', 'acquisition_dates'))
            try:
                found[sensor] = {
                    str(name): _parse_dates(dates)
                    for name, dates in zip(
                        table['patch_id'], table['acquisition_dates'], strict=True
                    )
                }
            except (AttributeError, TypeError, ValueError) as error:
                raise SITSError(
                    f"'{path}' does not name a date (YYYYMMDD) for each frame ({told(error)}): "
                    'fetch it again'
                ) from error
        return found

    def _times(self, sensor: str, key: str) -> NDArray[np.int64]:
        """Times of the frames of a sensor and a patch."""
        if (found := self._dates[sensor].get(key)) is None:
            raise SITSError(
                f"'{self.folder}/GLOBAL_ALL_MTD/GLOBAL_{sensor}_MTD_DATES.gpkg' has no dates of "
                f'the patch {key!r}: fetch it again'
            )
        return found

    def _file(self, key: str, modality: str) -> Path:
        """The raster of a modality and a patch."""
        domain, _, rest = key.partition('_')
        place, _, number = rest.partition('_')
        name = f'{domain}_{modality}'
        return self.folder / name / place / f'{name}_{place}_{number}.tif'


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read the attributes of a GeoPackage, which must have some columns."""
    try:
        table = gpd.read_file(path, ignore_geometry=True)
    except (DataSourceError, ValueError) as error:
        raise SITSError(f"'{path}' cannot be read ({told(error)}): fetch it again") from error
    if missing := [name for name in columns if name not in table]:
        raise SITSError(
            f"'{path}' has no column {missing}, but {list(table.columns)}: give one of these as "
            'split, or fetch it again'
        )
    return table


def _parse_dates(value: Any) -> NDArray[np.int64]:
    """Times from a dictionary of index to YYYYMMDD, or from its JSON."""
    table = json.loads(value) if isinstance(value, str) else value
    numbered = sorted((int(index), str(day)) for index, day in table.items())
    if [index for index, _ in numbered] != list(range(len(numbered))):
        raise ValueError(f'the numbers {[index for index, _ in numbered]} leave some out')
    return np.array([seconds_of(day) for _, day in numbered], np.int64)

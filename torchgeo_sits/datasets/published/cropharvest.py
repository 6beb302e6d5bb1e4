"""CropHarvest: points all over the world, a year of satellites and weather, crops."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, Download, Part, Window, seconds_of
from .hierarchical import open_hdf5
from .side_files import read_json
from .tables import Rows, TableSeries

__all__ = ['CropHarvest']

_URL = 'https://zenodo.org/records/7257688/files'
#: Groups of crops of the FAO, as the authors count them.
_GROUPS = (
    'non_crop', 'cereals', 'vegetables_melons', 'fruits_nuts', 'oilseeds', 'root_tuber',
    'beverage_spice', 'leguminous', 'sugar', 'other',
)  # fmt: skip
#: Rows of a point, and seconds between them.
_ROWS, _STEP = 12, 30 * 86_400


class CropHarvest(TableSeries):
    """CropHarvest: 70,213 points with twelve monthly rows, crop or not, and of some which.

    Tseng, Zvonkov, Nakalembe and Kerner, CropHarvest: a global dataset for crop-type
    classification, NeurIPS Datasets and Benchmarks 2021. Each row is of 30 days, the last of
    which end at the date of export. Points for the test are those that the labels say are; the
    regions of the benchmark, ``test_features/``, are not read. None is for validation. Points
    without an array are left out, as many are published so.

    Bands are of Sentinel-1 (dB), Sentinel-2 (L1C), ERA5 (K, m), elevation (m), slope (degrees)
    and NDVI.

    Examples:
        >>> from torchgeo_sits.datasets.published import CropHarvest
        >>> CropHarvest.classes, len(CropHarvest.band_names)
        (('non-crop', 'crop'), 18)
    """

    about = About(
        title='CropHarvest',
        sensor='Sentinel-1 and 2, ERA5 and SRTM, 18 bands',
        labels='crop or not, or 10 groups of crops, by point',
        size='70,213 points',
        licence='CC-BY-SA-4.0, not verified',
        paper='https://openreview.net/forum?id=JtjzUXPEaCu',
        hosts=('https://zenodo.org/records/7257688',),
        dates='month',
        metric=('AverageF1Score', 'OverallAccuracy'),
        config='classification',
        downloads=(
            Download(
                f'{_URL}/features.tar.gz?download=1', 'cad4df655c75caac805a80435e46ee3e', None
            ),
            Download(f'{_URL}/labels.geojson?download=1', 'bf7bae6812fc7213481aff6a2e34517d', None),
        ),
    )
    band_names = (
        'VV', 'VH', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B9', 'B11', 'B12',
        'temperature_2m', 'total_precipitation', 'elevation', 'slope', 'NDVI',
    )  # fmt: skip
    classes: tuple[str, ...] = ('non-crop', 'crop')
    label_kind = 'series'
    marker = 'features/arrays'

    def __init__(
        self, *args: Any, labels: Literal['crop', 'group'] = 'crop', **kwargs: Any
    ) -> None:
        """Initialize a new CropHarvest instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            labels: Whether points are crop, or of which group of crops. Crops whose group is
                not known are not labelled then.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if labels not in ('crop', 'group'):
            raise SITSError(f"unknown labels {labels!r}: expected 'crop' or 'group'")
        self.labels = labels
        if labels == 'group':
            self.classes = _GROUPS
        super().__init__(*args, **kwargs)

    @cached_property
    def _points(self) -> dict[str, dict[str, Any]]:
        """What is said of each point that has an array, by the name of its file."""
        path, arrays = self.folder / 'labels.geojson', self.folder / 'features' / 'arrays'
        there = {found.name for found in arrays.glob('*.h5')}
        try:
            every = [feature['properties'] for feature in read_json(path)['features']]
            named = {f'{int(one["index"])}_{one["dataset"]}.h5': one for one in every}
            for one in named.values():
                one['is_crop'], one['is_test'] = int(one['is_crop']), int(one['is_test'])
                one['end'] = seconds_of(str(one['export_end_date'])[:10], '%Y-%m-%d')
        except SITSError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise SITSError(
                f"'{path}' is no table of points as published ({error}): fetch it again"
            ) from error
        return {name: one for name, one in named.items() if name in there}

    def list_samples(self, part: Part) -> Sequence[str]:
        """Name of the file of each point."""
        if part not in ('train', 'test'):
            return []
        return [name for name, one in self._points.items() if one['is_test'] == (part == 'test')]

    def files(self, key: str) -> Sequence[Path]:
        """The labels, and the array of a point."""
        return [self.folder / 'labels.geojson', self._array(key)]

    def _array(self, key: str) -> Path:
        """The array of a point."""
        return self.folder / 'features' / 'arrays' / key

    def read_rows(self, key: str) -> Rows:
        """Read the array of a point: a row for each 30 days."""
        path = self._array(key)
        with open_hdf5(path) as file:
            values = file['array'][()]
        if values.shape != (_ROWS, len(self.band_names)):
            raise SITSError(
                f"'{path}': array has the shape {values.shape}, expected "
                f'({_ROWS}, {len(self.band_names)}): fetch it again'
            )
        times = self._points[key]['end'] + _STEP * np.arange(-_ROWS, 0)
        return Rows(values, times)

    def read_label(self, key: str, window: Window) -> NDArray[np.int64]:
        """Class of a point, -1 for a crop whose group is not known."""
        point = self._points[key]
        if self.labels == 'crop' or not point['is_crop']:
            return np.array(point['is_crop'])
        group = point.get('classification_label')
        if group is not None and group not in _GROUPS:
            raise SITSError(
                f"'{self.folder / 'labels.geojson'}', {key}: {group!r} is none of {_GROUPS}"
            )
        return np.array(-1 if group is None else _GROUPS.index(group))

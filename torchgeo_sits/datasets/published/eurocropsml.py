"""EuroCropsML: parcels of Estonia, Latvia and Portugal, Sentinel-2 of 2021, 176 crops."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, Part, Window
from .hcat import HCAT
from .side_files import read_json, read_npz
from .tables import Rows, TableSeries

__all__ = ['EuroCropsML']

#: Folders of the parcels, as versions of the release and of its loader have them.
_FOLDERS = ('preprocess/S2/2021', 'S2/preprocess/2021', 'preprocess')


class EuroCropsML(TableSeries):
    """EuroCropsML: median Sentinel-2 series of 706,683 parcels of three countries, of 2021.

    Reuss, Macdonald, Becker, Richter and Körner, The EuroCropsML time series benchmark dataset
    for few-shot crop type classification in Europe, Scientific Data 2025,
    https://arxiv.org/abs/2407.17458. A scenario trains on some regions and is fine-tuned on
    others, with so many parcels of each class. The authors have left out what the red band shows
    to be clouds. The series of Sentinel-1 are not read.

    ``preprocess/`` (or ``S2/``) and ``split/`` belong beside each other.

    Examples:
        >>> from torchgeo_sits.datasets.published import EuroCropsML
        >>> len(EuroCropsML.classes), EuroCropsML.classes[1]
        (176, 'winter common soft wheat')
    """

    about = About(
        title='EuroCropsML',
        sensor='Sentinel-2 L1C, 13 bands',
        labels='176 crops, by parcel',
        size='706,683 parcels',
        licence='not stated',
        paper='https://arxiv.org/abs/2407.17458',
        hosts=('https://zenodo.org/doi/10.5281/zenodo.10629609',),
        dates='day',
        metric=('OverallAccuracy',),
        config='classification',
    )
    band_names = (
        'B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B10', 'B11', 'B12',
    )  # fmt: skip
    classes = tuple(HCAT.values())
    label_kind = 'series'
    marker = 'split/*/*/region_split*.json'
    mean = (0.0,) * 13
    std = (1e4,) * 13

    def __init__(
        self,
        *args: Any,
        scenario: str = 'latvia_vs_estonia',
        stage: Literal['pretrain', 'finetune'] = 'finetune',
        shots: int | Literal['all'] = 'all',
        **kwargs: Any,
    ) -> None:
        """Initialize a new EuroCropsML instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            scenario: A folder of ``split/``.
            stage: Parcels to pretrain on, of which none is for the test, or to fine-tune on.
            shots: Number of parcels of each class to fine-tune on.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if stage not in ('pretrain', 'finetune'):
            raise SITSError(f"unknown stage {stage!r}: expected 'pretrain' or 'finetune'")
        ending = f'_{shots}' if stage == 'finetune' else ''
        self._list = f'split/{scenario}/{stage}/region_split{ending}.json'
        super().__init__(*args, **kwargs)

    @cached_property
    def _parcels(self) -> Path:
        """The folder of the parcels."""
        found = [self.folder / name for name in _FOLDERS]
        return next((folder for folder in found if folder.is_dir()), found[0])

    def list_samples(self, part: Part) -> Sequence[str]:
        """File name of each parcel."""
        path = self.folder / self._list
        if not path.exists():
            there = sorted(str(p.relative_to(self.folder)) for p in self.folder.glob(self.marker))
            raise SITSError(
                f"'{path}' does not exist: choose a scenario, a stage and shots of {there}"
            )
        lists = read_json(path)
        try:
            return [Path(name).name for name in lists.get(part, [])]
        except (AttributeError, TypeError) as error:
            raise SITSError(
                f"'{path}' is no list of parcels by part ({error}): fetch it again"
            ) from error

    def files(self, key: str) -> Sequence[Path]:
        """The file of a parcel."""
        return [self._parcels / key]

    def read_rows(self, key: str) -> Rows:
        """Read the array of a parcel: a row for each date."""
        path = self._parcels / key
        values, dates = read_npz(path, ('data', 'dates'))
        try:
            times = dates.astype('datetime64[s]').astype(np.int64)
        except (TypeError, ValueError) as error:
            raise SITSError(
                f"'{path}' holds dates that are none ({error}): fetch it again"
            ) from error
        if values.shape != (len(times), len(self.band_names)):
            raise SITSError(
                f"'{path}': data has the shape {values.shape}, expected ({len(times)}, "
                f'{len(self.band_names)}): fetch it again'
            )
        return Rows(values, times)

    def read_label(self, key: str, window: Window) -> NDArray[np.int64]:
        """Class of a parcel, by its name."""
        code = Path(key).stem.rpartition('_')[2]
        if code not in _CLASS_OF:
            raise SITSError(f"'{self._parcels / key}': {code} is the code of no published crop")
        return np.array(_CLASS_OF[code])


_CLASS_OF = {str(code): place for place, code in enumerate(HCAT)}

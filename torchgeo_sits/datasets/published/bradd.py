"""BraDD-S1TS: deforestation in Brazil from Sentinel-1 series, between two dates."""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, Part, PublishedTimeSeries, StoredSeries, Window, seconds_of
from .side_files import told
from .tables import read_csv

__all__ = ['BraDDS1TS']

_PARTS: dict[str, Part] = {'train': 'train', 'validation': 'val', 'test': 'test'}


class BraDDS1TS(PublishedTimeSeries):
    """BraDD-S1TS: 48 x 48 pixels of Sentinel-1 around alerts of deforestation, 19 to 63 dates.

    Karaman, Sainte Fare Garnot and Wegner, 2023, https://zenodo.org/records/8060250. Two maps say
    what was deforested at the first and at the last date. The label is what was deforested
    between them, without what was so before (``label='change'``), or all that is so at the end
    (``label='after'``).

    Samples are read by PyTorch's loader of weights, which runs no code.

    Examples:
        >>> from torchgeo_sits.datasets.published import BraDDS1TS
        >>> BraDDS1TS.band_names, BraDDS1TS.official['train']
        (('VV', 'VH'), 15625)
    """

    about = About(
        title='BraDD-S1TS',
        sensor='Sentinel-1, VV and VH in dB',
        labels='deforestation, by pixel',
        size='25,988 samples, 17.7 GB',
        licence='not stated for the data',
        paper='https://zenodo.org/records/8060250',
        hosts=('https://zenodo.org/records/8060250',),
        dates='day',
        metric=('ChangeIoU', 'ChangeF1'),
        config='change',
    )
    band_names = ('VV', 'VH')
    classes = ('none', 'deforestation')
    label_kind = 'pixel'
    marker = 'Samples'
    official: ClassVar[dict[Part, int]] = {'train': 15625, 'val': 5112, 'test': 5251}

    def __init__(
        self, *args: Any, label: Literal['change', 'after'] = 'change', **kwargs: Any
    ) -> None:
        """Initialize a new BraDDS1TS instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            label: What is labelled: what changed, where pixels that were deforested before are
                not labelled, or what is deforested at the end.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if label not in ('change', 'after'):
            raise SITSError(f"unknown label {label!r}: expected 'change' or 'after'")
        self.label = label
        super().__init__(*args, **kwargs)

    def list_samples(self, part: Part) -> Sequence[str]:
        """Names of the files of a part, by the column ``close_set``."""
        path = self.folder / 'meta.csv'
        table = read_csv(path, ('file', 'close_set'))
        found = table['close_set'].map(_PARTS) == part
        # Some give the folder, some do not.
        return sorted(Path(name).name for name in table['file'][found])

    def files(self, key: str) -> Sequence[Path]:
        """The file of a sample."""
        return [self.folder / 'Samples' / key]

    def size(self, key: str) -> tuple[int, int]:
        """All samples are of one size."""
        return 48, 48

    def read_series(self, key: str, window: Window) -> StoredSeries:
        """Read the image, ``(T, 2, H, W)`` in dB."""
        stored = self._load(key)
        times = [seconds_of(day.strftime('%Y%m%d')) for day in stored['image_dates']]
        image = stored['image'].numpy()[..., window[0], window[1]]
        return StoredSeries(image, np.array(times, np.int64))

    def read_label(self, key: str, window: Window) -> NDArray[np.int64]:
        """What is deforested, ``(H, W)``."""
        maps = self._load(key)['label'].numpy().astype(np.int64)
        if maps.shape[:1] != (2,) or not np.isin(maps, (0, 1)).all():
            raise SITSError(
                f"'{self.files(key)[0]}' has labels of the shape {maps.shape} with the values "
                f'{np.unique(maps)[:5].tolist()}, expected two maps of 0 and 1: fetch it again'
            )
        before, after = maps[:, window[0], window[1]]
        return np.where(before > 0, -1, after) if self.label == 'change' else after

    def _load(self, key: str) -> dict[str, Any]:
        """Load a sample, whose image and label are asked for one after the other."""
        (path,) = self.files(key)
        stamp = path.stat()
        return _load(path, (stamp.st_mtime_ns, stamp.st_size))


@lru_cache(maxsize=1)
def _load(path: Path, stamp: tuple[int, int]) -> dict[str, Any]:
    """Load a file: tensors and dates, nothing that runs.

    Args:
        path: The file.
        stamp: What tells it from what was there before.
    """
    try:
        with torch.serialization.safe_globals([date]):
            stored = torch.load(path, weights_only=True, map_location='cpu')
        lacking = {'image', 'image_dates', 'label'} - set(stored)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a file that is none raises
        raise SITSError(
            f"'{path}' cannot be read as tensors and dates ({told(error)}): fetch it again"
        ) from error
    if lacking:
        raise SITSError(f"'{path}' lacks {sorted(lacking)}: fetch it again")
    found: dict[str, Any] = stored
    return found

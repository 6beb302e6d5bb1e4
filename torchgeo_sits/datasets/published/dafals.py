"""DAFA-LS: archaeological sites of Afghanistan, looted or preserved, in monthly Planet images."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, LabelKind, Part, Window, seconds_of
from .dated_files import DatedFiles, Frame, read_raster
from .side_files import find_paths, read_json

__all__ = ['DAFALS']

_MONTH = re.compile(r'(20\d{2})_(0[1-9]|1[0-2])')


class DAFALS(DatedFiles):
    """DAFA-LS: 675 sites, 135 of them looted, each in up to 96 months of 2016 to 2023.

    Vincent et al., Detecting looted archaeological sites from satellite image time series,
    https://arxiv.org/abs/2409.09432. A site is one class; with ``target='pixel'`` its pixels
    are, within the mask of the site. Months without an image are left out, and with a warning
    sites without a folder. Dates are known to the
    month: the first of it stands for it. The authors draw three dates of each year in training:
    ``data.num_dates=24`` draws as many.

    Examples:
        >>> from torchgeo_sits.datasets.published import DAFALS
        >>> DAFALS.classes, DAFALS.about.dates
        (('preserved', 'looted'), 'month')
    """

    about = About(
        title='DAFA-LS',
        sensor='Planet, RGB as JPEG, monthly',
        labels='looted or preserved, by site',
        size='675 sites, 426 MB',
        licence="Planet's terms",
        paper='https://arxiv.org/abs/2409.09432',
        hosts=('https://drive.google.com/file/d/16v7_AcRwNeRhCacmQuX2477VYs51f4fU',),
        dates='month',
        metric=('AverageF1Score', 'OverallAccuracy'),
        config='classification',
    )
    band_names = ('R', 'G', 'B')
    classes = ('preserved', 'looted')
    label_kind: LabelKind = 'series'
    marker = 'fold_dict.json'
    mean = (172.398, 149.427, 111.427)
    std = (42.369, 40.112, 42.714)
    folds: ClassVar[int] = 5

    def __init__(
        self, *args: Any, fold: int = 1, target: Literal['site', 'pixel'] = 'site', **kwargs: Any
    ) -> None:
        """Initialize a new DAFALS instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            fold: Number of the fold for validation, from 1 to 5; training has the others.
            target: What has a class: a site, or its pixels.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if fold not in range(1, self.folds + 1):
            raise SITSError(f'fold={fold!r}: expected a number from 1 to {self.folds}')
        if target not in ('site', 'pixel'):
            raise SITSError(f"unknown target {target!r}: expected 'site' or 'pixel'")
        self.fold = fold
        if target == 'pixel':
            self.label_kind = 'pixel'
        super().__init__(*args, **kwargs)

    def list_samples(self, part: Part) -> Sequence[tuple[str, str]]:
        """Site and class of each sample."""
        others = [f'val_{j}' for j in range(1, self.folds + 1) if j != self.fold]
        parts: dict[Part, list[str]] = {
            'train': ['train', *others],
            'val': [f'val_{self.fold}'],
            'test': ['test'],
            'unlabelled': [],
        }
        path = self.folder / 'fold_dict.json'
        listed, found = read_json(path), []
        for name in parts[part]:
            for kind in self.classes:
                try:
                    found += [(str(site), kind) for site in listed[name][kind]]
                except (KeyError, TypeError) as error:
                    raise SITSError(
                        f"'{path}' has no list of the {kind} sites of {name!r}: fetch it again"
                    ) from error
        if lost := [site for site in sorted(found) if not self._site(site).is_dir()]:
            warnings.warn(
                f"'{path}' lists {len(lost)} of {len(found)} sites of the part {part!r} that have "
                f'no folder and are left out: {", ".join("/".join(site[::-1]) for site in lost)}',
                UserWarning,
                stacklevel=2,
            )
        return sorted(set(found) - set(lost))

    def list_frames(self, key: tuple[str, str]) -> Sequence[Frame]:
        """The image of each month that has one."""
        folder = self._site(key)
        frames = [
            Frame(seconds_of(f'{date[1]}{date[2]}', '%Y%m'), (path,))
            for path in find_paths(folder, '*.jpg')
            if (date := _MONTH.fullmatch(path.stem))
        ]
        if not frames:
            raise SITSError(f"'{folder}' has no image of site {key[0]}: expected YYYY_MM.jpg")
        return frames

    def files(self, key: tuple[str, str]) -> Sequence[Path]:
        """Images of a site, and its mask."""
        return [*super().files(key), self._site(key) / 'mask.png']

    def read_label(self, key: tuple[str, str], window: Window) -> NDArray[np.int64]:
        """Class of the site, or of its pixels."""
        value = self.classes.index(key[1])
        if self.label_kind == 'series':
            return np.array(value)
        inside = read_raster(self._site(key) / 'mask.png', window)[0][0] > 0
        return np.where(inside, value, -1)

    def sample_classes(self) -> NDArray[np.int64]:
        """Classes of the sites, of which the list knows."""
        return np.array([self.classes.index(kind) for _, kind in self.samples], np.int64)

    def _site(self, key: tuple[str, str]) -> Path:
        """The folder of a site."""
        return self.folder / key[1] / key[0]

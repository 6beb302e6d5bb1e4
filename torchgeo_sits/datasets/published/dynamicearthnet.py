"""DynamicEarthNet: daily Planet images of 75 places in two years, with a map for each month."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, LabelKind, Part, Window, seconds_of
from .dated_files import DatedFiles, Frame, read_raster
from .side_files import find_paths, read_lines

__all__ = ['DynamicEarthNet']

#: A place, by its quad of Planet's grid; some copies write hyphens.
_PLACE = re.compile(r'\d{4}[_-]\d{4}[_-]\d{2}(?!\d)')
_DATE = re.compile(r'(\d{4})[_-](\d{2})[_-](\d{2})$')
#: Days of a month that are read.
_DAYS: dict[str, frozenset[int]] = {
    'monthly': frozenset({1}),
    'weekly': frozenset({1, 5, 10, 15, 20, 25}),
    'daily': frozenset(range(1, 32)),
}


class DynamicEarthNet(DatedFiles):
    """DynamicEarthNet: land cover of 75 places, 1024 x 1024 pixels of 3 m, month by month.

    Toker et al., DynamicEarthNet: daily multi-spectral satellite dataset for semantic change
    segmentation, CVPR 2022, https://arxiv.org/abs/2203.12560. A sample is a month of a place
    with its map (``per='month'``), or all months of it with a map for each (``per='series'``),
    which change is scored on (SCS). Snow and ice is not labelled, as the authors have it.

    The lists of the split, ``train.txt``, ``val.txt`` and ``test.txt``, belong beside the folders
    ``planet`` and ``labels``. The labels of validation and test were released later than those
    of training.

    Examples:
        >>> from torchgeo_sits.datasets.published import DynamicEarthNet
        >>> DynamicEarthNet.band_names, DynamicEarthNet.classes[0]
        (('B', 'G', 'R', 'NIR'), 'impervious surface')
    """

    about = About(
        title='DynamicEarthNet',
        sensor='PlanetFusion, 4 bands, daily, 3 m',
        labels='6 classes of land cover, by pixel and month',
        size='75 places, 525 GB',
        licence='CC-BY-SA-4.0',
        paper='https://arxiv.org/abs/2203.12560',
        hosts=('https://mediatum.ub.tum.de/1650201', 'https://mediatum.ub.tum.de/1738088'),
        dates='day',
        metric=('AverageJaccardIndex', 'SCS_present'),
        config='segmentation',
    )
    band_names = ('B', 'G', 'R', 'NIR')
    classes = (
        'impervious surface', 'agriculture', 'forest and other vegetation', 'wetlands', 'soil',
        'water',
    )  # fmt: skip
    label_kind: LabelKind = 'pixel'
    nodata = (0.0,)
    marker = 'train.txt'
    #: Published as red, green, blue, near infrared.
    mean = (671.26, 915.62, 1042.59, 2605.21)
    std = (596.94, 715.55, 957.96, 1059.90)
    official: ClassVar[dict[Part, int]] = {'train': 55 * 24, 'val': 10 * 24, 'test': 10 * 24}

    def __init__(
        self,
        *args: Any,
        frames: Literal['monthly', 'weekly', 'daily'] = 'monthly',
        per: Literal['month', 'series'] = 'month',
        **kwargs: Any,
    ) -> None:
        """Initialize a new DynamicEarthNet instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            frames: Days of each month to read: the first, six of them, or all.
            per: What a sample is: a month of a place with one map, or a place with a map for
                each frame, that of its month.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if frames not in _DAYS:
            raise SITSError(f'unknown frames {frames!r}: expected one of {tuple(_DAYS)}')
        if per not in ('month', 'series'):
            raise SITSError(f"unknown per {per!r}: expected 'month' or 'series'")
        self.days = _DAYS[frames]
        self.per = per
        if per == 'series':
            self.label_kind = 'frame'
        super().__init__(*args, **kwargs)

    @cached_property
    def _images(self) -> dict[str, dict[str, list[Frame]]]:
        """Frames by place and month, ``YYYY-MM``."""
        found: dict[str, dict[str, list[Frame]]] = {}
        for folder in find_paths(self.folder, '**/PF-SR'):
            months = found.setdefault(folder.parent.name.replace('-', '_'), {})
            for path in find_paths(folder, '*.tif'):
                if (date := _DATE.search(path.stem)) and int(date[3]) in self.days:
                    frame = Frame(seconds_of(''.join(date.groups())), (path,))
                    months.setdefault(f'{date[1]}-{date[2]}', []).append(frame)
        return found

    @cached_property
    def _maps(self) -> dict[tuple[str, str], Path]:
        """Label rasters by place and month."""
        found = {}
        for path in find_paths(self.folder / 'labels', '**/*.tif'):
            inner = path.relative_to(self.folder / 'labels')
            place, date = _PLACE.search(str(inner)), _DATE.search(path.stem)
            if place and date:
                found[place[0].replace('-', '_'), f'{date[1]}-{date[2]}'] = path
        return found

    def list_samples(self, part: Part) -> Sequence[tuple[str, str]]:
        """Place and month of each sample; the month is '' where a sample is all of them."""
        if part == 'unlabelled':
            return []
        path = self.folder / f'{part}.txt'
        if not path.exists():
            raise SITSError(
                f"'{path}' does not exist, the list of the part {part!r}: put the lists of the "
                "authors' code beside planet/ and labels/"
            )
        found = []
        for line in map(str.split, read_lines(path)):
            places = _PLACE.findall(line[0])
            if len(line) != 3 or not places or not re.fullmatch(r'\d{4}-\d{2}', line[2]):
                raise SITSError(
                    f"'{path}' has the line {' '.join(line)!r}: expected the folder of the images, "
                    'the label and YYYY-MM'
                )
            found.append((places[-1].replace('-', '_'), line[2]))
        if self.per == 'series':
            return sorted({(place, '') for place, _ in found})
        return sorted(set(found))

    def list_frames(self, key: tuple[str, str]) -> Sequence[Frame]:
        """Frames of a month of a place, or of all."""
        place, month = key
        months = self._images.get(place, {})
        frames = months.get(month, []) if month else [f for m in sorted(months) for f in months[m]]
        if not frames:
            raise SITSError(
                f"no image of the days that are read lies in '{self.folder}' for place {place}, "
                f'month {month or "any"}: expected .../{place}/PF-SR/YYYY-MM-DD.tif'
            )
        return frames

    def files(self, key: tuple[str, str]) -> Sequence[Path]:
        """Images and maps of a sample."""
        months = [key[1]] if key[1] else sorted(self._images.get(key[0], {}))
        return [*super().files(key), *(self._map(key[0], month) for month in months)]

    def read_label(self, key: tuple[str, str], window: Window) -> NDArray[np.int64]:
        """The map of the month, or of each frame."""
        place, month = key
        if month:
            return self._read_map(place, month, window)
        months = self._images[place]
        maps = {m: self._read_map(place, m, window) for m in sorted(months)}
        return np.stack([maps[m] for m in sorted(months) for _ in months[m]])

    def _map(self, place: str, month: str) -> Path:
        """The label raster of a month of a place."""
        if (path := self._maps.get((place, month))) is None:
            raise SITSError(
                f"no label of place {place}, month {month} lies in '{self.folder / 'labels'}': "
                'those of validation and test are a download of their own'
            )
        return path

    def _read_map(self, place: str, month: str, window: Window) -> NDArray[np.int64]:
        """Classes ``(H, W)`` from one layer for each; -1 for snow and ice, and for none."""
        layers, _ = read_raster(self._map(place, month), window)
        if len(layers) < len(self.classes):
            raise SITSError(
                f"'{self._map(place, month)}' has {len(layers)} layers, expected one for each of "
                f'{list(self.classes)}: fetch it again'
            )
        shown = layers[: len(self.classes)] > 0
        return np.where(shown.any(axis=0), shown.argmax(axis=0), -1).astype(np.int64)

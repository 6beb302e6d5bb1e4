"""MUDS (SpaceNet 7) as SitsSCD packs it: a JPEG for each month."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from .base import About, seconds_of
from .dated_files import Frame
from .side_files import find_paths
from .sitsscd import MONTHS, SitsSCD

__all__ = ['SitsSCDMUDS']

_MONTH = re.compile(r'_(20\d{2})_(0[1-9]|1[0-2])$')


class SitsSCDMUDS(SitsSCD):
    """MUDS, packed by SitsSCD: buildings in the 24 months of 2018 and 2019, pixels of 4 m.

    Months without an image are left out, of which the maps hold nothing. Dates are known to the
    month: the first of it stands for it. See :class:`~.sitsscd.SitsSCD` for the protocols, and
    :class:`~.spacenet7.SpaceNet7` for the data set itself.

    Examples:
        >>> from torchgeo_sits.datasets.published import SitsSCDMUDS
        >>> SitsSCDMUDS.classes, SitsSCDMUDS.about.dates
        (('no building', 'building'), 'month')
    """

    about = About(
        title='SitsSCD MUDS',
        sensor='Planet, RGB as JPEG, monthly, 4 m',
        labels='buildings, by pixel and month',
        size='245 MB',
        licence='CC-BY-SA-4.0',
        paper='https://arxiv.org/abs/2407.07616',
        hosts=('https://drive.google.com/file/d/1RySuzHgQDSgHSw2cbriceY5gMqTsCs8I',),
        dates='month',
        metric=('SCS_present', 'AverageJaccardIndex'),
        config='change-series',
    )
    band_names = ('R', 'G', 'B')
    classes = ('no building', 'building')
    marker = 'train/*/*_20??_??.jpg'
    mean = (119.935, 105.361, 77.513)
    std = (59.592, 48.271, 44.730)
    ignored: ClassVar[int] = 2

    def month_files(self, folder: Path, place: str) -> Mapping[int, Frame]:
        """The image of each month that has one."""
        found = {}
        for path in find_paths(folder, '*.jpg'):
            if path.stem.startswith(place) and (date := _MONTH.search(path.stem)):
                month = 12 * (int(date[1]) - 2018) + int(date[2]) - 1
                if 0 <= month < MONTHS:
                    found[month] = Frame(seconds_of(f'{date[1]}{date[2]}', '%Y%m'), (path,))
        return found

"""DynamicEarthNet as SitsSCD packs it: a JPEG for each month."""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import ClassVar

from .base import About, seconds_of
from .dated_files import Frame
from .side_files import find_paths
from .sitsscd import MONTHS, SitsSCD

__all__ = ['SitsSCDDynamicEarthNet']

_START = date(2018, 1, 1)
#: Days from the start to the first of each month.
_FIRSTS = [(date(2018 + n // 12, n % 12 + 1, 1) - _START).days for n in range(MONTHS)]
#: Images of as many days around the first of a month belong to it.
_AROUND = 2


class SitsSCDDynamicEarthNet(SitsSCD):
    """DynamicEarthNet, packed by SitsSCD: 24 months in 8 bits, 1024 x 1024 pixels of 3 m.

    The images are JPEG, so that scores are not those of the 16 bits of
    :class:`~.dynamicearthnet.DynamicEarthNet`. Of each month the image nearest to its first day
    is read, two days off at most; the authors draw among those in training. Snow and ice is not
    labelled. See :class:`~.sitsscd.SitsSCD` for the protocols.

    Examples:
        >>> from torchgeo_sits.datasets.published import SitsSCDDynamicEarthNet
        >>> SitsSCDDynamicEarthNet.band_names, SitsSCDDynamicEarthNet.label_kind
        (('R', 'G', 'B', 'NIR'), 'frame')
    """

    about = About(
        title='SitsSCD DynamicEarthNet',
        sensor='PlanetFusion, 4 bands as JPEG, monthly, 3 m',
        labels='6 classes of land cover, by pixel and month',
        size='7.09 GB',
        licence='CC-BY-SA-4.0',
        paper='https://arxiv.org/abs/2407.07616',
        hosts=('https://drive.google.com/file/d/1cMP57SPQWYKMy8X60iK217C28RFBkd2z',),
        dates='day',
        metric=('SCS_present', 'AverageJaccardIndex'),
        config='change-series',
    )
    band_names = ('R', 'G', 'B', 'NIR')
    classes = (
        'impervious surface', 'agriculture', 'forest and other vegetation', 'wetlands', 'soil',
        'water',
    )  # fmt: skip
    marker = 'train/*/*_rgb.jpeg'
    mean = (83.103, 80.762, 69.333, 133.865)
    std = (33.271, 25.529, 23.987, 30.559)
    ignored: ClassVar[int] = 6

    def month_files(self, folder: Path, place: str) -> Mapping[int, Frame]:
        """The image nearest to the first of each month."""
        name = re.compile(rf'{re.escape(place)}_(\d+)_rgb')
        paths = find_paths(folder, '*_rgb.jpeg')
        days = sorted(int(m[1]) for path in paths if (m := name.fullmatch(path.stem)))
        found = {}
        for month, first in enumerate(_FIRSTS):
            near = [day for day in days if abs(day - first) <= _AROUND]
            if near:
                day = min(near, key=lambda day: abs(day - first))
                both = tuple(folder / f'{place}_{day}_{kind}.jpeg' for kind in ('rgb', 'infra'))
                found[month] = Frame(seconds_of('20180101') + 86_400 * day, both)
        return found

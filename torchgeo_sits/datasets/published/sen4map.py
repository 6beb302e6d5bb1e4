"""Sen4Map: points of the European survey of land use, Sentinel-2 of 2018, land cover or crops."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from ..quality import QUALITY_LAYERS
from .base import About, Part, PublishedTimeSeries, StoredSeries, Window, seconds_of
from .hierarchical import open_hdf5

__all__ = ['Sen4Map']

_CLEAR: Final = QUALITY_LAYERS['SCL'].rule.values or ()
_DATE: Final = re.compile(r'(?<!\d)20\d{6}(?!\d)')
#: Codes of the survey by class: the first pattern that fits the whole code.
_LAND_COVER: Final = (
    ('artificial land', r'A(?!22).+'),
    ('bare land', r'A22|F.+'),
    ('grassland', r'E.+|B5.'),
    ('cropland', r'B(?!5).+'),
    ('broadleaved woodland', r'C1.'),
    ('other woodland', r'C(?!1).+'),
    ('shrubland', r'D.+'),
    ('water', r'G.+'),
    ('wetlands', r'H.+'),
    ('no code', r''),
)
_CROPS: Final = (
    ('cereals', r'B1[1-9]'),
    ('root crops', r'B2[1-3]'),
    ('non-permanent industrial crops', r'B3[1-5]'),
    ('dry pulses, vegetables and flowers', r'B4[1-5]'),
    ('fodder crops', r'B5[1-4]'),
    ('bare land', r'F[1-4]0'),
    ('woodland and shrubland', r'B7[1-7]|B8[1-4]|C10|C[23][1-3]|D[12]0'),
    ('grassland', r'B55|E[1-3]0'),
)
#: Low and high percentiles of the bands, between which the authors scale.
_LOW = (67.0, 122.0, 93.27, 158.5, 160.77, 174.27, 162.27, 149.0, 84.5, 66.27)
_HIGH = (2089.0, 2598.45, 3214.5, 3620.45, 4033.61, 4613.0, 4825.45, 4945.72, 5140.84, 4414.45)


class Sen4Map(PublishedTimeSeries):
    """Sen4Map: 335,125 points in Europe, 64 x 64 pixels of 10 m around each, all dates of 2018.

    Sharma, Sedona, Riedel, Cavallaro and Paris, Sen4Map: advancing mapping with Sentinel-2 by
    providing detailed semantic descriptions and customizable land-use and land-cover data, IEEE
    JSTARS 2024, https://doi.org/10.1109/JSTARS.2024.3435081. The label is that of the point in
    the middle, by its code in LUCAS 2018; the names of the classes of land cover are ours. The
    authors read monthly medians of the middle 15 pixels. Bands are scaled by their percentiles,
    without being clipped. Their lists of points of the crops, which are pickles, are not read:
    points of other codes have no label.

    Examples:
        >>> from torchgeo_sits.datasets.published import Sen4Map
        >>> len(Sen4Map.classes), Sen4Map.classes[3]
        (10, 'cropland')
    """

    about = About(
        title='Sen4Map',
        sensor='Sentinel-2 L2A, 10 bands',
        labels='10 land covers, or 8 groups of crops, by point',
        size='335,125 points',
        licence='not stated',
        paper='https://doi.org/10.1109/JSTARS.2024.3435081',
        hosts=('https://datapub.fz-juelich.de/sen4map',),
        dates='day',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='classification',
    )
    band_names = ('B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B11', 'B12')
    classes: tuple[str, ...] = tuple(name for name, _ in _LAND_COVER)
    label_kind = 'series'
    marker = 'val.h5'
    mean = _LOW
    std = tuple(high - low for low, high in zip(_LOW, _HIGH, strict=True))

    def __init__(
        self, *args: Any, labels: Literal['land cover', 'crops'] = 'land cover', **kwargs: Any
    ) -> None:
        """Initialize a new Sen4Map instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            labels: Which classes points have.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if labels not in ('land cover', 'crops'):
            raise SITSError(f"unknown labels {labels!r}: expected 'land cover' or 'crops'")
        self._codes = _CROPS if labels == 'crops' else _LAND_COVER
        self.classes = tuple(name for name, _ in self._codes)
        super().__init__(*args, **kwargs)

    def list_samples(self, part: Part) -> Sequence[tuple[str, str]]:
        """File and name of each point."""
        if part == 'unlabelled':
            return []
        path = self.folder / f'{part}.h5'
        try:
            with open_hdf5(path) as file:
                return [(path.name, name) for name in file]
        except FileNotFoundError as error:
            raise SITSError(
                f"'{path}' does not exist, the part {part!r} of {self.about.title}: fetch it"
            ) from error

    def files(self, key: tuple[str, str]) -> Sequence[Path]:
        """The file of the part."""
        return [self.folder / key[0]]

    def read_series(self, key: tuple[str, str], window: Window) -> StoredSeries:
        """Read the frames of a point; what of them is clear is said by its scene classification."""
        path = self.files(key)[0]
        with open_hdf5(path) as file:
            group = file[key[1]]
            bands = [group[name][(slice(None), *window)] for name in self.band_names]
            scenes = group['SCL'][(slice(None), *window)]
            products = np.ravel(group.attrs['Image_ID']).tolist()
        dates = [_DATE.search(one.decode() if isinstance(one, bytes) else one) for one in products]
        if len(dates) != len(scenes) or not all(dates):
            raise SITSError(
                f"'{path}', {key[1]}: {len(scenes)} frames go with the products {products[:3]}..., "
                'expected one with its date for each: fetch it again'
            )
        times = np.array([seconds_of(date[0]) for date in dates if date], np.int64)
        clear = np.isin(scenes, _CLEAR)
        return StoredSeries(np.stack(bands, axis=1), times, clear)

    def read_label(self, key: tuple[str, str], window: Window) -> NDArray[np.int64]:
        """Class of a point, -1 for a code of none."""
        with open_hdf5(self.files(key)[0]) as file:
            stored = file[key[1]].attrs['lc1']
        code = stored.decode() if isinstance(stored, bytes) else str(stored)
        fits = (i for i, (_, codes) in enumerate(self._codes) if re.fullmatch(codes, code.strip()))
        return np.array(next(fits, -1))

    def size(self, key: tuple[str, str]) -> tuple[int, int]:
        """Height and width of the images."""
        with open_hdf5(self.files(key)[0]) as file:
            height, width = file[key[1]]['B2'].shape[-2:]
        return height, width

"""ZueriCrop: patches of the cantons of Zurich and Thurgau, Sentinel-2 of 2019, 48 crops."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, LabelKind, Part, PublishedTimeSeries, StoredSeries, Window
from .codes import GappedClasses
from .hierarchical import open_hdf5
from .tables import read_csv
from .undated import frame_times

__all__ = ['ZueriCrop']

_BANDS = ('B08', 'B03', 'B02', 'B04', 'B05', 'B06', 'B07', 'B11', 'B12')


class ZueriCrop(PublishedTimeSeries):
    """ZueriCrop: 27,977 patches of 24 x 24 pixels, 142 frames of 2019, crops by pixel.

    Turkoglu, D'Aronco, Perich, Liebisch, Streit, Schindler and Wegner, Crop mapping from image
    time series: deep learning with multi-scale label hierarchies, Remote Sensing of Environment
    2021, https://arxiv.org/abs/2102.08820. Classes are those of the finest level of ``labels.csv``
    that are vegetation; all else is not labelled, what the table lacks with a warning. Five blocks
    of patches follow each other, one of which is for the test and the rest for training, as the
    authors have it: none is for validation. They read every other frame; here all are given.

    No dates are published. The order of the bands is that of TorchGeo, who had it from an author.

    Examples:
        >>> from torchgeo_sits.datasets.published import ZueriCrop
        >>> len(ZueriCrop.classes), ZueriCrop.classes[0], ZueriCrop.about.dates
        (48, 'Apples', 'order')
    """

    about = About(
        title='ZueriCrop',
        sensor='Sentinel-2 L2A, 9 bands',
        labels='48 crops, by pixel',
        size='27,977 patches, 41.3 GB',
        licence='not stated',
        paper='https://arxiv.org/abs/2102.08820',
        hosts=(
            'https://polybox.ethz.ch/index.php/s/uXfdr2AcXE3QNB6',
            'https://huggingface.co/datasets/isaaccorley/zuericrop',
        ),
        dates='order',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='segmentation',
    )
    band_names = _BANDS
    classes = (
        'Apples', 'Beets', 'Berries', 'Biodiversity encouragement area', 'Buckwheat', 'Chestnut',
        'Chicory', 'EinkornWheat', 'Fallow', 'Field bean', 'Forest', 'Gardens', 'Grain', 'Hedge',
        'Hemp', 'Hops', 'Legumes', 'Linen', 'Lupine', 'Maize', 'Meadow', 'MixedCrop', 'Multiple',
        'Mustard', 'Oat', 'Pasture', 'Pears', 'Peas', 'Potatoes', 'Pumpkin', 'Rye', 'Sorghum',
        'Soy', 'Spelt', 'StoneFruit', 'Sugar_beets', 'SummerBarley', 'SummerRapeseed',
        'SummerWheat', 'Sunflowers', 'Tobacco', 'TreeCrop', 'Vegetables', 'Vines', 'Wheat',
        'WinterBarley', 'WinterRapeseed', 'WinterWheat',
    )  # fmt: skip
    label_kind: LabelKind = 'pixel'
    marker = 'ZueriCrop.hdf5'
    mean = (0.0,) * len(_BANDS)
    std = (1e4,) * len(_BANDS)

    def __init__(
        self, *args: Any, fold: int = 1, dates: list[str] | None = None, **kwargs: Any
    ) -> None:
        """Initialize a new ZueriCrop instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            fold: Block of patches for the test, from 1 to 5.
            dates: The date of each frame, ``YYYYMMDD``. None places frames one day apart from
                1970-01-01, with a warning.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if fold not in range(1, 6):
            raise SITSError(f'fold={fold!r}: expected 1 to 5')
        self.fold = fold
        self.dates = dates
        super().__init__(*args, **kwargs)

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """Patches, frames, rows, columns and bands."""
        with open_hdf5(self._path) as file:
            shape: tuple[int, ...] = getattr(file['data'], 'shape', ())
        if len(shape) != 5 or shape[-1] != len(_BANDS):
            raise SITSError(
                f"'{self._path}': data has the shape {shape}, expected (patches, frames, rows, "
                f'columns, {len(_BANDS)}): fetch it again'
            )
        return shape

    @cached_property
    def _times(self) -> NDArray[np.int64]:
        """Times of the frames."""
        return frame_times(self.about.title, self._shape[1], self.dates)

    @cached_property
    def _classes(self) -> GappedClasses:
        """Class of each stored label, -1 for none."""
        path = self._table
        table = read_csv(path, ('GT', '1st_tier', '4th_tier_ENG'))
        codes = table['GT'].dropna()
        table = table[(table['1st_tier'] == 'Vegetation') & table['4th_tier_ENG'].notna()]
        if odd := set(table['4th_tier_ENG']) - set(self.classes):
            raise SITSError(f"'{path}' has the classes {sorted(odd)}, which are not published")
        crops = {
            int(code): self.classes.index(name)
            for code, name in zip(table['GT'], table['4th_tier_ENG'], strict=True)
        }
        if not crops:
            raise SITSError(f"'{path}' has no crop: fetch it again")
        # Of what is no field the number is 0, which the table does not have.
        return GappedClasses({0: -1} | {int(code): -1 for code in codes} | crops)

    @property
    def _path(self) -> Path:
        return self.folder / 'ZueriCrop.hdf5'

    @property
    def _table(self) -> Path:
        return self.folder / 'labels.csv'

    def list_samples(self, part: Part) -> Sequence[int]:
        """Place of each patch in the file."""
        count = self._shape[0]
        start, stop = (int(count * 0.2 * block) for block in (self.fold - 1, self.fold))
        if part == 'test':
            return range(start, stop)
        return [*range(start), *range(stop, count)] if part == 'train' else []

    def files(self, key: int) -> Sequence[Path]:
        """The one file, and what its labels mean."""
        return [self._path, self._table]

    def read_series(self, key: int, window: Window) -> StoredSeries:
        """Read the frames of a patch."""
        with open_hdf5(self._path) as file:
            values = file['data'][(key, slice(None), *window)]
        return StoredSeries(np.moveaxis(values, -1, 1), self._times)

    def read_label(self, key: int, window: Window) -> NDArray[np.int64]:
        """Classes of the pixels."""
        with open_hdf5(self._path) as file:
            stored = file['gt'][(key, *window, 0)]
        return self._classes.classes_of(stored, self._path)

    def size(self, key: int) -> tuple[int, int]:
        """Height and width of the patches."""
        return self._shape[2], self._shape[3]

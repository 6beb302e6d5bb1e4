"""Sen4AgriNet: patches of Catalonia and France, Sentinel-2 in 2019 and 2020, eleven crops."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, LabelKind, Part, PublishedTimeSeries, StoredSeries, Window
from .hierarchical import cf_times, open_hdf5
from .side_files import find_paths, read_json

__all__ = ['Sen4AgriNet']

_BANDS = (
    'B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B10', 'B11', 'B12',
)  # fmt: skip
#: Codes of the crops of the experiments, in the order of the classes.
_CODES = (110, 120, 140, 150, 160, 170, 330, 435, 438, 510, 770)


class Sen4AgriNet(PublishedTimeSeries):
    """Sen4AgriNet: patches of 366 x 366 pixels of 10 m with all dates of a year, crops by pixel.

    Sykas, Sdraka, Zografakis and Papoutsis, A Sentinel-2 multiyear, multicountry benchmark
    dataset for crop classification and segmentation with deep learning, IEEE JSTARS 2022,
    https://arxiv.org/abs/2204.00951. Bands of 20 and 60 m are brought to 10 m by repeating
    pixels. Labels are the eleven crops of the authors' experiments; all else is not labelled.
    Those experiments read monthly medians of April to September, and four bands.

    The lists of the split, ``*coco_train.json``, ``*coco_val.json`` and ``*coco_test.json``, belong
    into the folder ``coco_files``, each scenario in a folder of its own or with a prefix. The
    patches may lie anywhere beside it.

    Examples:
        >>> from torchgeo_sits.datasets.published import Sen4AgriNet
        >>> len(Sen4AgriNet.band_names), Sen4AgriNet.classes[:2]
        (13, ('wheat', 'maize'))
    """

    about = About(
        title='Sen4AgriNet',
        sensor='Sentinel-2 L1C, 13 bands',
        labels='11 crops, by pixel',
        size='10,013 patches of 366 x 366 pixels, 260 GB',
        licence='CC-BY-SA-4.0',
        paper='https://arxiv.org/abs/2204.00951',
        hosts=('https://huggingface.co/datasets/orion-ai-lab/S4A',),
        dates='day',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='segmentation',
    )
    band_names = _BANDS
    classes = (
        'wheat', 'maize', 'sorghum', 'barley', 'rye', 'oats', 'grapes', 'rapeseed', 'sunflower',
        'potatoes', 'peas',
    )  # fmt: skip
    label_kind: LabelKind = 'pixel'
    marker: ClassVar[str] = 'coco_files'
    mean = (0.0,) * len(_BANDS)
    std = (1e4,) * len(_BANDS)

    def __init__(self, *args: Any, scenario: str = '', **kwargs: Any) -> None:
        """Initialize a new Sen4AgriNet instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            scenario: Text in the path of the lists of a scenario, where there are several.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        self.scenario = scenario
        super().__init__(*args, **kwargs)

    @cached_property
    def _paths(self) -> dict[str, Path]:
        """Patches by the names of their files."""
        return {path.name: path for path in find_paths(self.folder, '**/*.nc')}

    def list_samples(self, part: Part) -> Sequence[str]:
        """File name of each patch."""
        if part == 'unlabelled':
            return []
        folder = self.folder / 'coco_files'
        found = find_paths(folder, f'**/*coco_{part}.json')
        lists = [path for path in found if self.scenario in str(path.relative_to(folder))]
        if len(lists) != 1:
            there = [str(path.relative_to(folder)) for path in found]
            raise SITSError(
                f"scenario={self.scenario!r} is in the path of {len(lists)} lists '*coco_{part}"
                f".json' of '{folder}', expected one of {there}"
            )
        listed = read_json(lists[0])
        try:
            images = listed['images']
            return [Path(image['file_name']).name for image in images]
        except (KeyError, TypeError, ValueError) as error:
            raise SITSError(
                f"'{lists[0]}' is no list of patches as published ({error}): fetch it again"
            ) from error

    def files(self, key: str) -> Sequence[Path]:
        """The file of a patch."""
        return [self._paths.get(key, self.folder / key)]

    def read_series(self, key: str, window: Window) -> StoredSeries:
        """Read the bands of a patch; a pixel without any light was not seen."""
        path, whole = self.files(key)[0], self.size(key)
        with open_hdf5(path) as file:
            bands = [_stretched(file[name][name], window, whole, path) for name in _BANDS]
            times = [cf_times(file[name]['time']) for name in _BANDS]
        for name, band, own in zip(_BANDS, bands, times, strict=True):
            if len(band) != len(own) or not np.array_equal(own, times[0]):
                raise SITSError(f"'{path}': {name} has other dates than B01: fetch it again")
        values = np.stack(bands, axis=1)
        return StoredSeries(values, times[0], (values != 0).any(axis=1))

    def read_label(self, key: str, window: Window) -> NDArray[np.int64]:
        """Classes of the pixels, -1 for those of no experiment."""
        with open_hdf5(self.files(key)[0]) as file:
            codes = file['labels']['labels'][window]
        if codes.dtype.kind not in 'iuf':
            raise SITSError(
                f"'{self.files(key)[0]}': labels are of the type {codes.dtype}, expected numbers: "
                'fetch it again'
            )
        found = np.full(codes.shape, -1, np.int64)
        for place, code in enumerate(_CODES):
            found[codes == code] = place
        return found

    def size(self, key: str) -> tuple[int, int]:
        """Height and width of the bands of 10 m."""
        with open_hdf5(self.files(key)[0]) as file:
            height, width = file['B02']['B02'].shape[-2:]
        return height, width


def _stretched(band: Any, window: Window, whole: tuple[int, int], path: Path) -> NDArray[Any]:
    """Read a window of a band, whose pixels are repeated to the size of the bands of 10 m."""
    parts, inner = [], []
    for size, stored, asked in zip(whole, band.shape[-2:], window, strict=True):
        factor, rest = divmod(size, stored)
        if rest:
            raise SITSError(
                f"'{path}': {band.name} has {stored} pixels a side, which do not go into {size}: "
                'fetch it again'
            )
        chosen = range(size)[asked]
        first, last = chosen.start // factor, -(-chosen.stop // factor)
        parts.append((slice(first, last), factor))
        inner.append(slice(chosen.start - first * factor, chosen.stop - first * factor))
    (rows, tall), (columns, wide) = parts
    if tall != wide:
        raise SITSError(
            f"'{path}': {band.name} has the size {tuple(band.shape[-2:])}, which is that of no "
            f'coarser pixels of {whole}: fetch it again'
        )
    values = band[:, rows, columns].repeat(tall, axis=1).repeat(wide, axis=2)
    found: NDArray[Any] = values[:, inner[0], inner[1]]
    return found

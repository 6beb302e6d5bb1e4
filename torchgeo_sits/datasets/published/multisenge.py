"""MultiSenGE: land cover of the Grand Est of France, Sentinel-2 and Sentinel-1 of 2020."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, Part, StoredSeries, Window, seconds_of
from .codes import classes_of
from .dated_files import DatedFiles, Frame, read_raster
from .held_out import HeldOut
from .side_files import find_paths, read_json

__all__ = ['MultiSenGE']

#: Tile of Sentinel-2, column and row of a patch.
_PATCH = re.compile(r'(\w+?)_(\d+)_(\d+)')
_IMAGE = re.compile(r'\w+_(20\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))_S[12]_\d+_\d+\.tif')

#: Classes of the numbers of the labels, of which 0 is none.
_CLASSES = {number: number - 1 for number in range(15)}


class MultiSenGE(DatedFiles):
    """MultiSenGE: 14 classes of land cover in 8,157 patches of 256 x 256 pixels of 10 m.

    Wenger et al., MultiSenGE: a multimodal and multitemporal benchmark dataset for land use/land
    cover remote sensing applications, ISPRS Annals 2022,
    https://doi.org/10.5281/zenodo.6375466. Series of Sentinel-1 lie beside those of
    Sentinel-2. Some images that the descriptions of the patches list are not in the release, and
    are left out. Labels of 0 are none.

    No official split was found. Whole tiles of Sentinel-2 are held out, those of ``val_tiles``
    and ``test_tiles``, or else, in the order of their names, every fourth from the third for
    validation and every fourth from the fourth for the test.

    Examples:
        >>> from torchgeo_sits.datasets.published import MultiSenGE
        >>> MultiSenGE.band_names_s1, len(MultiSenGE.classes)
        (('VV', 'VH'), 14)
    """

    about = About(
        title='MultiSenGE',
        sensor='Sentinel-2, 10 bands; Sentinel-1, VV and VH',
        labels='14 classes of land cover, by pixel',
        size='8,157 patches',
        licence='not stated',
        paper='https://doi.org/10.5281/zenodo.6375466',
        hosts=('https://zenodo.org/records/6375466',),
        dates='day',
        metric=('AverageF1Score', 'OverallAccuracy'),
        config='segmentation',
    )
    band_names = ('B02', 'B03', 'B04', 'B08', 'B05', 'B06', 'B07', 'B8A', 'B11', 'B12')
    band_names_s1 = ('VV', 'VH')
    classes = (
        'dense built-up', 'sparse built-up', 'specialised built-up areas',
        'specialised vegetative areas', 'large scale networks', 'arable lands', 'vineyards',
        'orchards', 'grasslands', 'groves and hedges', 'forests', 'open spaces, mineral',
        'wetlands', 'water surfaces',
    )  # fmt: skip
    label_kind = 'pixel'
    marker = 'ground_reference'

    def __init__(
        self,
        *args: Any,
        val_tiles: Sequence[str] | None = None,
        test_tiles: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Initialize a new MultiSenGE instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            val_tiles: Tiles of Sentinel-2 for validation, such as ``31TFN``. None, with
                *test_tiles* None as well, holds out every fourth.
            test_tiles: Tiles for the test.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        self.held_out = HeldOut(val_tiles, test_tiles)
        super().__init__(*args, **kwargs)

    def list_samples(self, part: Part) -> Sequence[str]:
        """Patches of the tiles of a part."""
        found = [
            (match[1], path.stem)
            for path in find_paths(self.folder / 'labels', '*.json')
            if (match := _PATCH.fullmatch(path.stem))
        ]
        tiles = set(self.held_out.names_of(part, sorted({tile for tile, _ in found})))
        return [patch for tile, patch in found if tile in tiles]

    def list_frames(self, key: str) -> Sequence[Frame]:
        """Images of Sentinel-2 that the patch lists and that are there."""
        frames = self._images(key, 's2')
        if not frames:
            raise SITSError(
                f"none of the images of Sentinel-2 that '{self._description(key)}' lists is in "
                f"'{self.folder / 's2'}': fetch them again"
            )
        return frames

    def files(self, key: str) -> Sequence[Path]:
        """Images of both, the description and the labels of a patch."""
        beside = [path for frame in self._images(key, 's1') for path in frame.paths]
        return [*super().files(key), *beside, self._description(key), self._reference(key)]

    def read_series_s1(self, key: str, window: Window) -> StoredSeries | None:
        """Read a window of each image of Sentinel-1."""
        frames = self._images(key, 's1')
        return self.read_frames(key, frames, window, self.band_names_s1) if frames else None

    def read_label(self, key: str, window: Window) -> NDArray[np.int64]:
        """Classes of the pixels."""
        path = self._reference(key)
        return classes_of(read_raster(path, window)[0][0], _CLASSES, path)

    def _images(self, key: str, sensor: str) -> list[Frame]:
        """Images of a sensor that the patch lists and that are there."""
        path = self._description(key)
        listed = read_json(path)
        try:
            names = listed[f'corresponding_{sensor}'].split(';')
        except (KeyError, TypeError, AttributeError) as error:
            raise SITSError(
                f"'{path}' has no list 'corresponding_{sensor}': fetch it again"
            ) from error
        frames = []
        for name in sorted(name.strip() for name in names):
            image = self.folder / sensor / name
            if (date := _IMAGE.fullmatch(name)) and image.exists():
                frames.append(Frame(seconds_of(date[1]), (image,)))
        return frames

    def _description(self, key: str) -> Path:
        """The file that lists the images of a patch."""
        return self.folder / 'labels' / f'{key}.json'

    def _reference(self, key: str) -> Path:
        """The labels of a patch."""
        tile, rest = key.split('_', 1)
        return self.folder / 'ground_reference' / f'{tile}_GR_{rest}.tif'

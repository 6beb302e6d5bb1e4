"""SpaceNet 7: monthly Planet mosaics of two years, with the buildings of each month."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

from ...errors import SITSError
from .base import About, LabelKind, Part, Window, seconds_of
from .dated_files import DatedFiles, Frame, raster_grid, raster_size, read_raster
from .held_out import HeldOut
from .polygons import read_polygons
from .side_files import find_paths

__all__ = ['SpaceNet7']

_MONTH = re.compile(r'global_monthly_(\d{4})_(0[1-9]|1[0-2])_mosaic_(.+)\.tif')
#: Folders of the labelled and of the public test places.
_FOLDERS = {'labelled': 'train', 'unlabelled': 'test_public'}


class SpaceNet7(DatedFiles):
    """SpaceNet 7 (MUDS): buildings of 60 places, 18 to 26 months, pixels of 4 m.

    Van Etten et al., The multi-temporal urban development SpaceNet dataset, CVPR 2021,
    https://arxiv.org/abs/2102.04420. A sample is a place with all of its months, and a map of
    buildings for each (``label_kind`` 'frame'). Pixels that are masked in the images, or unusable
    by the masks of some months, are neither clear nor labelled. Dates are known to the month: the
    first of it stands for it.

    The labels of the test of the challenge are not public: its 20 public places are the part
    'unlabelled'. What is held out of the 60 labelled ones is for the user to say. By default it
    is, of the places in the order of their names, every fourth from the third for validation and
    every fourth from the fourth for the test: 30, 15 and 15 places, in as many as Hafner et al.
    (https://doi.org/10.3390/rs15215135) have, but not theirs. Their lists belong in
    ``val_places`` and ``test_places``. The score of the challenge (SCOT) follows single buildings
    and is not computed.

    Examples:
        >>> from torchgeo_sits.datasets.published import SpaceNet7
        >>> SpaceNet7.classes, SpaceNet7.label_kind
        (('no building', 'building'), 'frame')
    """

    about = About(
        title='SpaceNet 7',
        sensor='Planet, RGB, monthly, 4 m',
        labels='buildings, by pixel and month',
        size='80 places, 1,889 images',
        licence='CC-BY-SA-4.0',
        paper='https://arxiv.org/abs/2102.04420',
        hosts=('https://spacenet.ai/sn7-challenge/',),
        dates='month',
        metric=('AverageF1Score', 'SCS_present'),
        config='change-series',
    )
    band_names = ('R', 'G', 'B')
    classes = ('no building', 'building')
    label_kind: LabelKind = 'frame'
    marker = 'train/*/images_masked'
    mean = (121.83, 106.53, 78.37)
    std = (56.72, 44.52, 40.45)
    official: ClassVar[dict[Part, int]] = {'unlabelled': 20}

    def __init__(
        self,
        *args: Any,
        val_places: Sequence[str] | None = None,
        test_places: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SpaceNet7 instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            val_places: Names of the labelled places for validation. None, with *test_places*
                None as well, holds out every fourth.
            test_places: Names of those for the test.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        self.held_out = HeldOut(val_places, test_places)
        super().__init__(*args, **kwargs)

    def list_samples(self, part: Part) -> Sequence[tuple[str, str]]:
        """Place and folder of each sample."""
        folder = _FOLDERS['unlabelled' if part == 'unlabelled' else 'labelled']
        found = find_paths(self.folder, f'{folder}/*/images_masked')
        places = [path.parent.name for path in found]
        if part != 'unlabelled':
            places = self.held_out.names_of(part, places)
        return [(place, folder) for place in places]

    def list_frames(self, key: tuple[str, str]) -> Sequence[Frame]:
        """The mosaic of each month that has one."""
        folder = self.folder / key[1] / key[0] / 'images_masked'
        frames = [
            Frame(seconds_of(f'{date[1]}{date[2]}', '%Y%m'), (path,))
            for path in find_paths(folder, '*.tif')
            if (date := _MONTH.fullmatch(path.name)) and date[3] == key[0]
        ]
        if not frames:
            raise SITSError(
                f"'{folder}' has no image: expected global_monthly_YYYY_MM_mosaic_{key[0]}.tif"
            )
        return frames

    def files(self, key: tuple[str, str]) -> Sequence[Path]:
        """Images and buildings of a sample."""
        images = super().files(key)
        labels = [] if self.part == 'unlabelled' else [_buildings(path) for path in images]
        return [*images, *labels]

    def mark_clear(self, frame: Frame, pixels: NDArray[Any], window: Window) -> NDArray[np.bool_]:
        """What the fourth band shows, and the mask of the month does not mark as unusable."""
        path = frame.paths[0]
        seen: NDArray[np.bool_] = (pixels[3:] > 0).all(axis=0)
        unusable = path.parents[1] / 'UDM_masks' / f'{path.stem}_UDM.tif'
        if unusable.exists():
            marked = read_raster(unusable, window)[0][0]
            if marked.shape != seen.shape:
                raise SITSError(
                    f"'{unusable}' has another size than '{path}', which it belongs to: fetch both "
                    'again'
                )
            seen &= marked == 0
        return seen

    def read_label(self, key: tuple[str, str], window: Window) -> NDArray[np.int64]:
        """Buildings of each month, -1 where the image shows nothing."""
        found = []
        for frame in self.list_frames(key):
            pixels, seen = read_raster(frame.paths[0], window)
            clear = self.mark_clear(frame, pixels, window)
            found.append(np.where(seen & clear, _burn(frame.paths[0])[window].astype(np.int64), -1))
        return np.stack(found)


def _buildings(image: Path) -> Path:
    """The file of the buildings of an image."""
    return image.parents[1] / 'labels' / f'{image.stem}_Buildings.geojson'


@lru_cache(maxsize=64)  # squares of a place follow each other in validation
def _burn(image: Path) -> NDArray[np.uint8]:
    """Pixels ``(H, W)`` of a whole image whose centres lie in a building: 1."""
    size, (crs, grid) = raster_size(image), raster_grid(image)
    shapes = [shape for _, shape in read_polygons(_buildings(image), crs)]
    if not shapes:
        return np.zeros(size, np.uint8)
    burnt: NDArray[np.uint8] = rasterize(shapes, size, transform=grid, dtype='uint8')
    return burnt

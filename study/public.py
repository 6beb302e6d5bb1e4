"""PASTIS and DynamicEarthNet as places to train on and places to test on, as published.

Memory is bounded: patches are drawn by a seed. Scores on such a subset are not comparable to
published figures, nor are those on all patches, where pixels are scored field by field.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from torchgeo_sits.datasets import PASTIS
from torchgeo_sits.keys import ACQUISITION_TIMES, IMAGE, MASK, MASK_CLEAR

from .sites import Site, components

#: Patches of each role that are drawn unless told otherwise.
PATCHES = 60
#: Official folds of PASTIS; the fourth, which the authors validate on, is not used.
TRAIN_FOLDS, TEST_FOLDS = (1, 2, 3), (5,)
#: Class of pixels of PASTIS in no parcel; its crops are 2 (meadow) to 19 (sorghum).
BACKGROUND = 1

#: Mean and deviation of PlanetFusion in the code of its authors, in the order of the files: blue,
#: green, red, near infrared.
PLANET_MEAN = (671.260559082031, 915.618408203125, 1042.59240722656, 2605.20922851562)
PLANET_STD = (596.943908691406, 715.548767089843, 957.958435058593, 1059.90319824218)
#: Bands of a label of DynamicEarthNet, from 1: impervious, agriculture, forest and other
#: vegetation, wetlands, soil, water, snow and ice. The authors leave the last one out.
LAND_COVERS, SNOW = 7, 7


@dataclass(frozen=True)
class Official:
    """Sites by their role in the official split; a field's number occurs once in all of them.

    Attributes:
        train: Patches to pretrain on, and whose labels may be learned from.
        test: Patches that are scored.
    """

    train: list[Site]
    test: list[Site]


def pastis(root: Path, *, seed: int, patches: int = PATCHES) -> Official:
    """Patches of PASTIS: training on folds 1, 2 and 3, tests on fold 5, fold 4 unused.

    Void parcels have no label. What lies in no parcel is a class of its own, as in the official
    protocol of 19 classes, and classes count from 1: ``mask + 1``. Fields are the published
    parcels, and the connected parts of the background.

    A patch holds about 30 MB. Bands are standardised by the published statistics of the
    training folds, those of the tests too.

    Args:
        root: Folder of the release, or the one that holds it.
        seed: Seed of the draw of patches.
        patches: Patches of each role at most, as many of one fold as of another.
    """
    rng = np.random.default_rng(seed)
    normalise = _standardising(*PASTIS(root, TRAIN_FOLDS).statistics())
    roles: list[list[Site]] = []
    for folds in (TRAIN_FOLDS, TEST_FOLDS):
        data = PASTIS(root, folds, annotations=['parcel'])
        fold_of = data.patches['Fold'].to_numpy()
        sites = []
        for index in _evenly([np.flatnonzero(fold_of == f) for f in folds], patches, rng):
            sample = data[int(index)]
            classes = _pastis_classes(sample[MASK].numpy())
            fields = _pastis_fields(classes, sample['mask_parcel'].numpy())
            clear = sample[MASK_CLEAR]
            sites.append(
                Site(
                    f'patch {int(sample["patch"])}',
                    normalise(sample[IMAGE], clear),
                    sample[ACQUISITION_TIMES],
                    clear,
                    classes,
                    fields,
                )
            )
        roles.append(sites)
    return Official(*_numbered(roles))


def _numbered(roles: list[list[Site]]) -> list[list[Site]]:
    """The sites with numbers of fields that occur once in all of them."""
    numbered, number = [], 0
    for sites in roles:
        own = []
        for site in sites:
            fields = np.where(site.fields > 0, site.fields + number, 0)
            own.append(replace(site, fields=fields))
            number += int(site.fields.max())
        numbered.append(own)
    return numbered


def _pastis_classes(mask: NDArray[np.int64]) -> NDArray[np.int64]:
    """Published classes ``(H, W)`` from 1, 0 where void."""
    return np.where(mask == PASTIS.void, 0, mask + 1)


def _pastis_fields(classes: NDArray[np.int64], parcels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Parcels and parts of the background ``(H, W)``, numbered from 1."""
    ids, places = np.unique(np.where(classes > BACKGROUND, parcels, 0), return_inverse=True)
    # 0 is no id, and may be missing where parcels fill the patch.
    crops = places.reshape(classes.shape) + (ids[0] > 0)
    parts = components((classes == BACKGROUND).astype(np.int64))
    return np.where(parts > 0, parts + crops.max(), crops)


class _Crop(NamedTuple):
    """A square of a tile, by the tile's folder of images and its first row and column."""

    folder: str
    row: int
    column: int


def dynamicearthnet(root: Path, *, seed: int, patches: int = PATCHES, size: int = 128) -> Official:
    """Squares of tiles of DynamicEarthNet: training on 'train', tests on 'test', 'val' unused.

    The lists of the authors are looked for in ``dynnet_training_splits``; a line names a folder
    of daily images, a label, and its month::

        /reprocess-cropped/UTM-24000/10N/23E-188N/1311_3077_13/PF-SR
        /labels/1311_3077_13_10N/Labels/Raster/10N-122W-40N-L3H-SR/10N-122W-40N-L3H-SR-2018_01_01.tif
        2018-01

    (one line, with blanks). Archives hold the images as ``planet/10N/...`` and may be unpacked
    side by side or each in a folder of its own, such as ``planet.10N``.

    A series is the image of the first day of each month, which is what labels are of. Its label
    is that of the last month, and fields are the connected parts of a class. Snow has no label,
    as in the code of the authors; pixels in none of the bands of a label have none either, which
    that code gives to the first class. Images have no gaps, but for pixels of 0 in all bands.

    Args:
        root: Folder that holds the lists, the images and the labels.
        seed: Seed of the draw of squares.
        patches: Squares of each role at most, as many of one tile as of another. They do not
            overlap.
        size: Side of a square in pixels.

    Raises:
        FileNotFoundError: If a list, or a file of a square that was drawn, is missing.
        ValueError: If a list or a label is not as published.
    """
    rng = np.random.default_rng(seed)
    normalise = _standardising(PLANET_MEAN, PLANET_STD)
    roles: list[list[Site]] = []
    for role in ('train', 'test'):
        tiles = _read_list(root / 'dynnet_training_splits' / f'{role}.txt')
        grids = [_grid(root, folder, min(months), size) for folder, months in tiles.items()]
        sites = []
        for crop in _evenly(grids, patches, rng):
            months = sorted(tiles[crop.folder])
            window = Window(crop.column, crop.row, size, size)
            image = torch.stack([_image(root, crop.folder, m, window) for m in months])
            clear = (image != 0).any(1)
            label = _label_path(root, tiles[crop.folder][months[-1]])
            with rasterio.open(label) as raster:
                if raster.count != LAND_COVERS:
                    raise ValueError(
                        f"'{label}' has {raster.count} bands, expected {LAND_COVERS}: one of 0 and "
                        '255 for each class'
                    )
                classes = decode(raster.read(window=window))
            fields = components(classes)
            tile = crop.folder.split('/')[-2]
            sites.append(
                Site(
                    f'{tile}, row {crop.row}, column {crop.column}',
                    normalise(image, clear),
                    torch.tensor([_first_day(month) for month in months]),
                    clear,
                    classes,
                    fields,
                )
            )
        roles.append(sites)
    return Official(*_numbered(roles))


def decode(bands: NDArray[np.integer]) -> NDArray[np.int64]:
    """Classes from 1 of a label of DynamicEarthNet, 0 for snow and where no band is set.

    Args:
        bands: ``(7, H, W)`` of 0 and 255. Of several that are set the last one counts, as in the
            code of the authors.

    Returns:
        ``(H, W)``.
    """
    classes = np.zeros(bands.shape[1:], np.int64)
    for value, band in enumerate(bands, 1):
        classes[band == 255] = value
    classes[classes == SNOW] = 0
    return classes


def _read_list(path: Path) -> dict[str, dict[str, str]]:
    """Labels by month ('2018-01') by folder of images, as the authors list them."""
    if not path.is_file():
        raise FileNotFoundError(
            f"'{path}' does not exist: the authors' lists are published beside the data, at "
            'https://github.com/aysim/dynnet'
        )
    tiles: dict[str, dict[str, str]] = defaultdict(dict)
    for line in filter(None, map(str.strip, path.read_text().splitlines())):
        parts = line.split()
        if len(parts) != 3:
            raise ValueError(
                f"'{path}': expected a folder of images, a label and a month, got {line!r}"
            )
        folder, label, month = parts
        tiles[folder][month] = label
    return dict(tiles)


def _first_day(month: str) -> int:
    """Midnight of the first day of a month, in seconds since 1970-01-01 UTC."""
    return int(datetime.strptime(month, '%Y-%m').replace(tzinfo=UTC).timestamp())


def _image_path(root: Path, listed: str, month: str) -> Path:
    """The image of the first day of a month."""
    name = f'{month}-01.tif'
    # The lists name a folder of the authors' own; archives begin with 'planet' instead.
    place = Path(*listed.split('/')[-4:], name)
    zone = place.parts[0]
    own = root / f'planet.{zone}'
    folders = [root / 'planet', own / 'planet', own, root / 'reprocess-cropped' / 'UTM-24000']
    return _existing([folder / place for folder in folders])


def _label_path(root: Path, listed: str) -> Path:
    """A label; those of validation and tests were published later, in an archive of their own."""
    relative = Path(listed.lstrip('/'))
    place = Path(*relative.parts[1:])
    folders = [root / 'labels', root / 'labels' / 'labels', root / 'dynamicearthnet_test_labels']
    # Some files write the date with hyphens, whatever the lists say.
    names = [place.name, place.name[:-14] + place.name[-14:].replace('_', '-')]
    return _existing([folder / place.with_name(n) for folder in folders for n in names])


def _existing(paths: Sequence[Path]) -> Path:
    """The first of some paths that exists."""
    for path in paths:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"'{paths[0]}' does not exist, nor under any of the other names that archives give it: "
        'download it, or take its tile out of the list'
    )


def _grid(root: Path, folder: str, month: str, size: int) -> list[_Crop]:
    """The squares that a tile divides into."""
    with rasterio.open(_image_path(root, folder, month)) as raster:
        high, wide = raster.shape
    return [
        _Crop(folder, row, column)
        for row in range(0, high - size + 1, size)
        for column in range(0, wide - size + 1, size)
    ]


def _image(root: Path, folder: str, month: str, window: Window) -> Tensor:
    """The image ``(4, size, size)`` of the first day of a month."""
    with rasterio.open(_image_path(root, folder, month)) as raster:
        return torch.from_numpy(raster.read(window=window).astype(np.float32))


def _standardising(
    mean: Sequence[float], std: Sequence[float]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function that standardises an image ``(T, C, H, W)``, 0 where not clear."""
    centre, spread = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return lambda image, clear: torch.where(clear[:, None], (image - centre) / spread, 0.0)


def _evenly[T](groups: Sequence[Sequence[T]], number: int, rng: np.random.Generator) -> list[T]:
    """So many members of some groups, drawn in turns: first one of each, then another one."""
    shuffled = [
        [groups[g][i] for i in rng.permutation(len(groups[g]))]
        for g in rng.permutation(len(groups))
    ]
    turns = zip_longest(*shuffled)
    return [member for turn in turns for member in turn if member is not None][:number]


#: What gives the sites of each set.
SETS: dict[str, Callable[..., Official]] = {'pastis': pastis, 'dynamicearthnet': dynamicearthnet}

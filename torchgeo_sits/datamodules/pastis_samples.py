"""Samples of PASTIS for tasks: patches or crops of them, or parcels."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torchgeo.datasets.utils import Sample

from ..datasets import PASTIS
from ..keys import LABEL, MASK, MASK_CLEAR
from ..samplers import EpochSampler
from ..samplers.epochs import epoch_generator
from .fields import choose_fields

__all__ = [
    'ParcelSamples',
    'Parcels',
    'PatchSamples',
    'ShuffledSamples',
    'choose_parcels',
    'find_parcels',
    'parcel_map',
]

#: Room for the published ids within a patch.
_ID_BITS = 40


class Parcels(NamedTuple):
    """Parcels of some patches: a parcel that is cut by an edge is one in each patch."""

    #: Position of the patch ``(N,)``.
    patch: NDArray[np.int64]
    #: Id of the parcel ``(N,)``, see :func:`parcel_map`.
    parcel: NDArray[np.int64]
    #: Class of most of its pixels there ``(N,)``.
    label: NDArray[np.int64]

    def only(self, rows: NDArray[np.bool_]) -> 'Parcels':
        """Some of the rows.

        Args:
            rows: Which, ``(N,)``.

        Returns:
            The parcels.
        """
        return Parcels(*(values[rows] for values in self))


def parcel_map(data: PASTIS, index: int) -> NDArray[np.int64]:
    """Ids of the parcels of a patch.

    Args:
        data: The data set.
        index: Position of the patch.

    Returns:
        ``(H, W)``, different in all patches: nothing says that published ids are. What lies in
        no parcel is one of its own in each patch, with a negative id: background is a class,
        of which a share is labelled as of the others.
    """
    parcels = data.parcels(index).astype(np.int64)
    return np.where(parcels == 0, -1 - index, parcels + (index << _ID_BITS))


def find_parcels(data: PASTIS) -> Parcels:
    """Read all parcels, but for those that are void in a patch.

    Args:
        data: The data set; its annotations are read once.

    Returns:
        The parcels.
    """
    found = [np.zeros((3, 0), np.int64)]
    for index in range(len(data)):
        # One number for id and class, of which 20 fit between two ids.
        pairs = parcel_map(data, index) * len(data.classes) + data.labels(index)
        keys, sizes = np.unique(pairs, return_counts=True)
        parcel, label = np.divmod(keys, len(data.classes))
        order = np.lexsort((-sizes, parcel))
        first = order[np.unique(parcel[order], return_index=True)[1]]
        first = first[label[first] != data.void]
        where = np.full(len(first), index)
        found.append(np.stack([where, parcel[first], label[first]]))
    return Parcels(*np.concatenate(found, axis=1))


def choose_parcels(
    parcels: Parcels, *, per_class: int | None, fraction: float | None, seed: int
) -> NDArray[np.int64]:
    """Choose parcels class by class; of a larger number, a smaller one is a part.

    Args:
        parcels: The parcels.
        per_class: Number of parcels of each class.
        fraction: Share of the parcels of each class, and at least one.
        seed: Seed of the choice.

    Returns:
        Ids of the chosen ones, sorted.
    """
    everyone = np.ones(len(parcels.parcel), bool)
    chosen = choose_fields(
        parcels.label, everyone, per_class=per_class, fraction=fraction, seed=seed
    )
    return np.sort(parcels.parcel[chosen])


#: Position of a sample, and for one that draws a seed to draw by.
Item = int | tuple[int, int]


class ShuffledSamples(EpochSampler):
    """All samples in random order, each with a seed for what is drawn when it is read.

    Both follow from one seed and the number of the epoch, however many workers read.

    Args:
        count: Number of samples.
        seed: Seed of the order and of the seeds.
    """

    def __init__(self, count: int, *, seed: int) -> None:
        self.count = count
        self._seeds = [seed]

    def epoch_length(self, number: int) -> int:
        """Number of samples of an epoch, the same for all."""
        return self.count

    def iter_epoch(self, number: int) -> Iterator[Any]:
        """Samples of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            Position and seed.
        """
        generator = epoch_generator(self._seeds[0], number, stream=0)
        order, seeds = generator.permutation(self.count), generator.integers(2**31, size=self.count)
        yield from zip(order.tolist(), seeds.tolist(), strict=True)


class PatchSamples(Dataset[Sample]):
    """Some patches of PASTIS, whole or a square of each.

    Args:
        data: The data set.
        patches: Positions of the patches, ``(N,)``.
        crop: Height and width of the square; None is the whole patch.
        random: Draw the square: by the seed of the item, or by torch's generator where it has
            none. False takes the middle.
        kept: Ids of the parcels that are labelled, sorted; None labels all. Where a square is
            drawn at random it holds a pixel of one of them.
    """

    def __init__(
        self,
        data: PASTIS,
        patches: NDArray[np.int64],
        *,
        crop: int | None = None,
        random: bool = False,
        kept: NDArray[np.int64] | None = None,
    ) -> None:
        self.data = data
        self.patches = patches
        self.crop = crop
        self.random = random
        self.kept = kept

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, item: Item) -> Sample:
        """Read a patch, see :meth:`torchgeo_sits.datasets.PASTIS.read`."""
        index, seed = item if isinstance(item, tuple) else (item, None)
        patch = int(self.patches[index])
        labelled = None
        if self.kept is not None:
            labelled = np.isin(parcel_map(self.data, patch), self.kept)
        window = self._window(self.data.labels(patch).shape, labelled, seed)
        sample = self.data.read(patch, window)
        if labelled is not None:
            hidden = torch.from_numpy(~labelled[window])
            sample[MASK] = sample[MASK].masked_fill(hidden, self.data.void)
        return sample

    def _window(
        self, shape: tuple[int, ...], labelled: NDArray[np.bool_] | None, seed: int | None
    ) -> tuple[slice, slice]:
        """Rows and columns to read of a patch."""
        if self.crop is None:
            return slice(0, shape[0]), slice(0, shape[1])
        if not self.random:
            middle = [_slice_around(self.crop, side, side // 2) for side in shape]
            return middle[0], middle[1]
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        around: list[int | None] = [None, None]
        if labelled is not None and labelled.any():
            pixels = np.argwhere(labelled)
            around = pixels[_draw(0, len(pixels) - 1, generator)].tolist()
        drawn = [
            _random_slice(self.crop, side, pixel, generator)
            for side, pixel in zip(shape, around, strict=True)
        ]
        return drawn[0], drawn[1]


class ParcelSamples(Dataset[Sample]):
    """Parcels of PASTIS, one sample for each.

    ``label`` is the class; ``mask_clear`` and ``mask`` are those of the parcel alone, the rest
    is neither clear nor labelled.

    Args:
        data: The data set.
        parcels: The parcels.
        crop: Height and width of the square around the middle of the parcel's extent; pixels
            of a larger parcel are left out. None is the whole patch.
    """

    def __init__(self, data: PASTIS, parcels: Parcels, *, crop: int | None = None) -> None:
        self.data = data
        self.parcels = parcels
        self.crop = crop

    def __len__(self) -> int:
        return len(self.parcels.patch)

    def __getitem__(self, item: Item) -> Sample:
        """Read a parcel; nothing is drawn."""
        index = item[0] if isinstance(item, tuple) else item
        patch = int(self.parcels.patch[index])
        inside = parcel_map(self.data, patch) == self.parcels.parcel[index]
        window = slice(0, inside.shape[0]), slice(0, inside.shape[1])
        if self.crop is not None:
            pixels = np.argwhere(inside)
            # A pixel of the parcel, also where its shape leaves the middle of the extent out.
            middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
            row, column = pixels[np.square(pixels - middle).sum(axis=1).argmin()]
            window = (
                _slice_around(self.crop, inside.shape[0], int(row)),
                _slice_around(self.crop, inside.shape[1], int(column)),
            )
        sample = self.data.read(patch, window)
        here = torch.from_numpy(inside[window])
        sample[MASK_CLEAR] = sample[MASK_CLEAR] & here
        sample[MASK] = sample[MASK].masked_fill(~here, self.data.void)
        sample[LABEL] = torch.tensor(int(self.parcels.label[index]))
        return sample


def _slice_around(length: int, whole: int, middle: int) -> slice:
    """A slice of *length*, or of the whole, with *middle* as near to its middle as fits."""
    start = min(max(middle - length // 2, 0), max(whole - length, 0))
    return slice(start, min(start + length, whole))


def _random_slice(
    length: int, whole: int, around: int | None, generator: torch.Generator | None
) -> slice:
    """A random slice of *length*, or the whole, which holds *around*."""
    first, last = 0, max(whole - length, 0)
    if around is not None:
        first, last = min(max(around - length + 1, 0), last), min(around, last)
    start = _draw(first, last, generator)
    return slice(start, min(start + length, whole))


def _draw(first: int, last: int, generator: torch.Generator | None) -> int:
    """A random number from *first* to *last*."""
    return int(torch.randint(first, last + 1, (), generator=generator))

"""One sample per field: the window around it, and its class as the label of the series."""

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from torchgeo.datasets import GeoDataset, IntersectionDataset
from torchgeo.datasets.utils import Sample
from torchgeo.samplers import GeoSampler, SpatialSampler, TemporalSampler

from ..errors import SITSError
from ..keys import BOUNDS, LABEL, MASK, MASK_CLEAR
from ..samplers import EpochSampler, RandomDateCountSampler, SkippingSampler
from ..samplers.epochs import draw_seed, epoch_generator
from .fields import FieldMap
from .patches import Stage
from .splits import Parts

__all__ = ['FieldSampler', 'FieldTargets', 'FieldWindows', 'field_stage', 'field_windows']


class FieldWindows(NamedTuple):
    """A window for each of some fields, no two the same."""

    #: xmin, ymin, xmax, ymax ``(N, 4)`` in the CRS of the fields.
    bounds: NDArray[np.float64]
    #: Numbers of the fields ``(N,)``, counting from 1.
    numbers: NDArray[np.int64]


def field_windows(fields: FieldMap, kept: NDArray[np.bool_], size: int) -> FieldWindows:
    """Place a window around each of some fields.

    It is centred on the bounds of the field where these fit, else on the pixel of the field
    that lies nearest to its centre. At the border of the images it reaches beyond them.

    Args:
        fields: The fields.
        kept: Which of the F fields, ``(F,)``.
        size: Height and width of the windows in pixels.

    Returns:
        The windows, in the order of the numbers of the fields.
    """
    (where, row, column), ends = fields.pixels()
    numbers = np.flatnonzero(kept) + 1
    taken: set[tuple[int, int, int]] = set()
    bounds = []
    for first, last in zip(ends[numbers - 1].tolist(), ends[numbers].tolist(), strict=True):
        area = fields.areas[int(where[first])]
        rows, columns = row[first:last], column[first:last]
        far = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
        middle = int(far.argmin())
        start = []
        for pixels in (rows, columns):
            low, high = int(pixels.min()), int(pixels.max()) + 1
            at = (low + high - size) // 2 if high - low <= size else int(pixels[middle]) - size // 2
            start.append(at)
        # A field within another may have its centre: the window tells which one is meant.
        while (int(where[first]), start[0], start[1]) in taken:
            start[1] += 1
        taken.add((int(where[first]), start[0], start[1]))
        left, top = area.left + start[1] * fields.res[0], area.top - start[0] * fields.res[1]
        bounds.append((left, top - size * fields.res[1], left + size * fields.res[0], top))
    return FieldWindows(np.array(bounds).reshape(-1, 4), numbers)


class FieldTargets:
    """Make a window the sample of its field: a transform of samples.

    Args:
        fields: The fields.
        windows: The windows that samples may have.
        unlabelled: Value in masks of what is not labelled; classes are counted from 0 without
            it.
    """

    def __init__(self, fields: FieldMap, windows: FieldWindows, unlabelled: int) -> None:
        self.fields = fields
        self.windows = windows
        classes = fields.classes[windows.numbers - 1]
        self.labels = classes - ((classes > unlabelled) & (unlabelled >= 0))

    def __call__(self, sample: Sample) -> Sample:
        """Restrict ``mask_clear`` to the field, and replace ``mask`` by its ``label``.

        Args:
            sample: A sample with ``mask_clear`` ``(T, H, W)``, ``mask`` and ``bounds``.

        Returns:
            The sample with ``label`` ``()`` int64.
        """
        xmin, xmax, _, ymin, ymax, _ = sample[BOUNDS][:6].tolist()
        # Series move windows onto their pixels, by less than windows differ.
        far = np.abs(self.windows.bounds[:, [0, 3]] - [xmin, ymax]).sum(axis=1)
        at = int(far.argmin())
        rows, columns = sample[MASK_CLEAR].shape[-2:]
        found = self.fields.at((xmin, ymin, xmax, ymax), (rows, columns))
        inside = torch.from_numpy(found == self.windows.numbers[at])
        sample[MASK_CLEAR] = sample[MASK_CLEAR] & inside
        sample[LABEL] = torch.tensor(int(self.labels[at]))
        del sample[MASK]
        return sample


Place = tuple[slice, slice]


class FieldSampler(EpochSampler, SpatialSampler):
    """The windows of fields, each once in an epoch, or in random order over and over.

    Args:
        dataset: Data set to sample from.
        windows: The windows.
        length: Windows of an epoch in random order, which go through all fields before one
            comes again; None for each field once, in order.
        seed: Seed of the order.
    """

    def __init__(
        self,
        dataset: GeoDataset,
        windows: FieldWindows,
        *,
        length: int | None = None,
        seed: int = 0,
    ) -> None:
        self.windows = windows
        self.res = dataset.res
        self.geometry = shapely.union_all(shapely.box(*windows.bounds.T))
        self.bounds = self.geometry.bounds
        self._drawn = length  # None: each once
        self._seeds = [] if length is None else [draw_seed(seed)]

    @property
    def strategy(self) -> Literal['random', 'sequential']:
        """Whether windows are drawn."""
        return 'sequential' if self._drawn is None else 'random'

    def epoch_length(self, number: int) -> int:
        """Number of windows of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number.
        """
        return len(self.windows.numbers) if self._drawn is None else self._drawn

    def iter_epoch(self, number: int) -> Iterator[Place]:
        """Go through an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """
        if self._drawn is None:
            yield from (self._place(i) for i in range(len(self.windows.numbers)))
        else:
            yield from islice(self.draws(number), self._drawn)

    def draws(self, number: int) -> Iterator[Place]:
        """Draw windows without end; those of the epoch come first.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """
        generator = epoch_generator(self._seeds[0], number, stream=0)
        while True:
            yield from map(self._place, generator.permutation(len(self.windows.numbers)).tolist())

    def __matmul__(self, other: TemporalSampler) -> SkippingSampler:
        """Compose with a temporal sampler, as patches are."""
        return SkippingSampler(self, other)  # type: ignore[arg-type]

    def _place(self, i: int) -> Place:
        """The window of a field."""
        xmin, ymin, xmax, ymax = self.windows.bounds[i].tolist()
        return slice(xmin, xmax), slice(ymin, ymax)


def field_stage(
    parts: Parts,
    stage: Stage,
    *,
    size: int,
    length: int | None = None,
    least: int,
    num_dates: int | None,
    group_by: Literal['day', 'time'],
    seed: int,
) -> tuple[GeoDataset, GeoSampler] | None:
    """Data set and windows of a stage with one sample per field.

    Args:
        parts: The splits, with fields.
        stage: Its name; to predict takes the labelled fields of all splits.
        size: Height and width of a window in pixels.
        length: Samples in an epoch of training, or None for one of each field.
        least: Fewest samples in an epoch of training where *length* does not say.
        num_dates: Dates of a sample of training, spread over all there are; None for all.
        group_by: What makes files of one day, or of one time, a date.
        seed: Seed of order and dates.

    Returns:
        Both, or None where nothing is held out for the stage.

    Raises:
        SITSError: If no field is left for the stage.
    """
    assert parts.fields is not None  # they are looked for where they are the target
    assert parts.labels is not None  # there are no fields without
    number = {'train': 0, 'val': 1, 'test': 2}.get(stage)
    if number is None:
        part: GeoDataset | None = parts.labelled
        kept = np.ones(len(parts.fields), bool)
    else:
        part = (parts.labelled_train, parts.labelled_val, parts.labelled_test)[number]
        kept = parts.kept[number]
    if part is None:
        return None
    if not kept.any():
        raise SITSError(
            f'no field is left for {stage}: hold out another share (val_fraction, test_fraction), '
            "or hold out whole fields of each class (split='fields')"
        )
    windows = field_windows(parts.fields, kept, size)
    dataset = copy.copy(part)
    assert isinstance(dataset, IntersectionDataset)  # all that is labelled is joined
    dataset.transforms = FieldTargets(parts.fields, windows, parts.labels.values.unlabelled)
    if stage != 'train':
        return dataset, FieldSampler(dataset, windows)
    if length is None:
        length = max(len(windows.numbers), least)
    sampler = FieldSampler(dataset, windows, length=length, seed=seed)
    if num_dates is None:
        return dataset, sampler
    dates = RandomDateCountSampler(
        dataset, count=num_dates, stride='max', group_by=group_by, generator=seed
    )
    return dataset, sampler @ dates

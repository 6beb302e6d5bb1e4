"""Windows of fields, for training and for scoring."""

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import numpy as np
import shapely
from torchgeo.datasets import GeoDataset, IntersectionDataset
from torchgeo.samplers import GeoSampler, SpatialSampler, TemporalSampler

from ..samplers import EpochSampler, RandomDateCountSampler, SkippingSampler
from ..samplers.epochs import draw_seed, epoch_generator
from .field_windows import FieldTargets, FieldWindows, field_windows
from .parts import Parts
from .patches import Stage

__all__ = ['FieldSampler', 'field_stage']

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
        ValueError: If no field is left for the stage.
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
        raise ValueError(
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

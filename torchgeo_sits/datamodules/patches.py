"""Patches of the splits: random ones for training, side by side for the rest."""

import math
import warnings
from typing import Any, Literal

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import GeoSampler

from ..errors import SITSError
from ..samplers import (
    BlockPatchSampler,
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
    RandomSeriesPatchSampler,
)
from ..samplers.footprints import join_footprints
from .fields import FieldMap
from .splits import Parts

__all__ = [
    'STAGES',
    'FieldPatchSampler',
    'Stage',
    'around_fields',
    'gridded_patches',
    'patch_stage',
    'random_patches',
]

Integers = NDArray[np.int64]


class FieldPatchSampler(RandomSeriesPatchSampler):
    """Random patches of which each holds at least a pixel of some fields.

    A class is drawn, a field of it, a pixel of that, and a patch that holds it, each with the
    same probability: rare classes and small fields are seen as often as others.

    Args:
        dataset: Data set to sample from.
        fields: Its fields.
        kept: Which of the F fields patches shall hold, ``(F,)``.
        **kwargs: As for :class:`~torchgeo_sits.samplers.RandomSeriesPatchSampler`.

    Raises:
        SITSError: If no such field lies where patches can.
    """

    def __init__(
        self, dataset: GeoDataset, *, fields: FieldMap, kept: NDArray[np.bool_], **kwargs: Any
    ) -> None:
        super().__init__(dataset, **kwargs)
        wanted = np.append(False, kept)
        pixels, numbers = [], []
        for i in range(len(self.regions)):
            left, top, shape, res = self.regions[i]
            bounds = (left, top - shape[0] * res[1], left + shape[1] * res[0], top)
            found = fields.at(bounds, shape)
            row, column = np.nonzero(wanted[found])
            pixels.append(np.stack([np.full(len(row), i), row, column]))
            numbers.append(found[row, column])
        number = np.concatenate(numbers)
        if not len(number):
            raise SITSError(
                f'none of the {int(kept.sum())} fields for training lies where patches of '
                f'{self.size} pixels (height, width) can: choose a smaller patch_size'
            )
        # Pixels by field, and fields by class, so that each is a range of the other.
        present = np.unique(number)
        present = present[np.argsort(fields.classes[present - 1], kind='stable')]
        rank = np.zeros(len(fields) + 1, np.int64)
        rank[present] = np.arange(len(present))
        order = np.argsort(rank[number], kind='stable')
        self._pixels = np.concatenate(pixels, axis=1)[:, order]
        self._by_field = _starts(rank[number][order])
        self._by_class = _starts(fields.classes[present - 1])

    def _draw(self, number: int, generator: Generator) -> NDArray[np.float64]:
        """Bounds ``(N, 4)`` of random patches."""
        generator.random(number)  # not used: a seed gives the patches that it gave in 0.1
        return super()._draw(number, generator)

    def _positions(self, number: int, generator: Generator) -> Integers:
        """Region, row and column of positions around a pixel of a field, ``(3, N)``."""
        at = generator.integers(len(self._by_class) - 1, size=number)
        for starts in (self._by_class, self._by_field):
            at = generator.integers(starts[at], starts[at + 1])
        where, row, column = self._pixels[:, at]
        start = []
        for pixel, side, most in zip(
            (row, column), self.size, self.regions.positions[where].T, strict=True
        ):
            low, high = np.maximum(pixel - side + 1, 0), np.minimum(pixel, most - 1)
            start.append(generator.integers(low, high + 1))
        return np.stack([where, *start])


def around_fields(fields: FieldMap, kept: NDArray[np.bool_], size: int) -> BaseGeometry:
    """Where patches lie that reach into the bounds of a field, as a region of interest.

    Args:
        fields: The fields.
        kept: Which of them, ``(F,)``.
        size: Side of a patch in pixels.

    Returns:
        The region, in the CRS of the fields.
    """
    (where, row, column), starts = fields.pixels()
    # A field lies in one area.
    first = starts[:-1]
    reach = size - 1
    low = [np.minimum.reduceat(axis, first)[kept] - reach for axis in (row, column)]
    high = [np.maximum.reduceat(axis, first)[kept] + 1 + reach for axis in (row, column)]
    corner = np.array([(area.left, area.top) for area in fields.areas])[where[first]][kept]
    (xres, yres), (left, top) = fields.res, corner.T
    return shapely.union_all(
        shapely.box(
            left + low[1] * xres, top - high[0] * yres, left + high[1] * xres, top - low[0] * yres
        )
    )


def _starts(values: Integers) -> Integers:
    """Where each run of equal values begins, and the end."""
    begins = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    return np.append(begins, len(values))


type Stage = Literal['train', 'val', 'test', 'predict']
#: Which of these a stage of the trainer needs.
STAGES: dict[str, tuple[Stage, ...]] = {
    'fit': ('train', 'val'),
    'validate': ('val',),
    'test': ('test',),
    'predict': ('predict',),
}


def patch_stage(
    parts: Parts, stage: Stage, *, supervised: bool, size: int, **options: Any
) -> tuple[GeoDataset, GeoSampler] | None:
    """Data set and patches of a stage.

    Args:
        parts: All splits.
        stage: Its name.
        supervised: Train on labelled places only.
        size: Side of a patch in pixels.
        **options: Those of :func:`random_patches`, for training.

    Returns:
        Both, or None where nothing is held out for the stage.
    """
    if stage == 'train':
        labelled = parts.labelled_train if supervised else None
        train = parts.train if labelled is None else labelled
        return train, random_patches(parts, train, size=size, **options)
    part = {'val': parts.labelled_val, 'test': parts.labelled_test}.get(stage, parts.series)
    return None if part is None else (part, gridded_patches(parts, part, size))


def gridded_patches(parts: Parts, part: GeoDataset, size: int) -> GriddedSeriesPatchSampler:
    """Patches of a split side by side, on all dates.

    Args:
        parts: All splits.
        part: The one to sample from.
        size: Side of a patch in pixels.

    Returns:
        The sampler.
    """
    whole, roi = parts.places(part)
    return GriddedSeriesPatchSampler(whole, size=size, roi=roi)


def random_patches(
    parts: Parts,
    part: GeoDataset,
    *,
    size: int,
    length: int | None,
    least: int,
    num_dates: int | None,
    group_by: Literal['day', 'time'],
    seed: int,
    blocks: tuple[int, int] | None,
) -> GeoSampler:
    """Random patches of a split, on random dates where they are counted.

    Where labels are restricted to fields, patches of labelled training hold some of them:
    each one at least a pixel; by block each one a part of the box around a field.

    Args:
        parts: All splits.
        part: The one to sample from.
        size: Side of a patch in pixels.
        length: Patches in an epoch, or None for as many as fit side by side.
        least: Fewest patches in an epoch where *length* does not say.
        num_dates: Dates of a patch, spread over all there are; None for all.
        group_by: What makes files of one day, or of one time, a date.
        seed: Seed of places and dates.
        blocks: Batch size and number of workers, to draw patches by the blocks of the files;
            None draws each for itself.

    Returns:
        The sampler.
    """
    whole, roi = parts.places(part)
    if length is None:
        area = join_footprints(part).area
        length = max(round(area / (size**2 * math.prod(part.res))), least)
    options: dict[str, Any] = {'size': size, 'length': length, 'roi': roi, 'generator': seed}
    fields = parts.fields if part is parts.labelled_train else None
    if blocks is None:
        if fields is None:
            patches = RandomSeriesPatchSampler(whole, **options)
        else:
            patches = FieldPatchSampler(whole, fields=fields, kept=parts.kept[0], **options)
    else:
        batch_size, workers = blocks
        if fields is not None:
            near = around_fields(fields, parts.kept[0], size)
            options['roi'] = near if roi is None else near & roi
        patches = BlockPatchSampler(whole, batch_size=batch_size, num_workers=workers, **options)
    shapes = patches.regions.shape
    if (shapes.min(axis=1) < size).all():
        largest = max(map(tuple, shapes.tolist()))
        warnings.warn(
            f'patch_size={size} is larger than the imagery, {largest} pixels '
            '(height, width): patches reach beyond it, and what lies there counts as '
            'not observed. Choose a smaller patch_size',
            UserWarning,
            stacklevel=3,
        )
    if num_dates is None:
        return patches
    dates = RandomDateCountSampler(
        part, count=num_dates, stride='max', group_by=group_by, generator=seed
    )
    return patches @ dates

"""Patches of the splits: random ones for training, side by side for the rest."""

import math
import warnings
from typing import Any, Literal

from torchgeo.datasets import GeoDataset
from torchgeo.samplers import GeoSampler

from ..samplers import (
    BlockPatchSampler,
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
    RandomSeriesPatchSampler,
)
from ..samplers.footprints import join_footprints
from .field_patches import FieldPatchSampler, around_fields
from .parts import Parts

__all__ = ['STAGES', 'Stage', 'gridded_patches', 'patch_stage', 'random_patches']

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

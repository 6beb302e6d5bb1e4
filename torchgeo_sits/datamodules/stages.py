"""Data set and sampler of each stage: random patches or fields to train, all others in order."""

import copy
import math
import warnings
from typing import Any, Literal

import numpy as np
from torchgeo.datasets import GeoDataset, IntersectionDataset
from torchgeo.samplers import GeoSampler

from ..errors import SITSError
from ..samplers import (
    BlockPatchSampler,
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
    RandomSeriesPatchSampler,
)
from ..samplers.footprints import join_footprints
from .fields import FieldPatchSampler, FieldSampler, FieldTargets, around_fields, field_windows
from .options import PatchOptions
from .splits import Splits

__all__ = ['STAGES', 'Stage', 'field_stage', 'gridded_patches', 'patch_stage', 'random_patches']

type Stage = Literal['train', 'val', 'test', 'predict']
#: Which of these a stage of the trainer needs.
STAGES: dict[str, tuple[Stage, ...]] = {
    'fit': ('train', 'val'),
    'validate': ('val',),
    'test': ('test',),
    'predict': ('predict',),
}


def patch_stage(
    splits: Splits, stage: Stage, patches: PatchOptions, *, supervised: bool, **options: Any
) -> tuple[GeoDataset, GeoSampler] | None:
    """Data set and patches of a stage.

    Args:
        splits: All splits.
        stage: Its name.
        patches: How patches are drawn for training.
        supervised: Train on labelled places only.
        **options: As for :func:`random_patches`, for training.

    Returns:
        Both, or None where nothing is held out for the stage.
    """
    if stage == 'train':
        labelled = splits.labelled_train if supervised else None
        train = splits.train if labelled is None else labelled
        return train, random_patches(splits, train, patches, **options)
    dataset = {'val': splits.labelled_val, 'test': splits.labelled_test}.get(stage, splits.series)
    return None if dataset is None else (dataset, gridded_patches(splits, dataset, patches.size))


def gridded_patches(splits: Splits, dataset: GeoDataset, size: int) -> GriddedSeriesPatchSampler:
    """Patches of a split side by side, on all dates.

    Args:
        splits: All splits.
        dataset: The one to sample from.
        size: Side of a patch in pixels.

    Returns:
        The sampler.
    """
    whole, roi = splits.places(dataset)
    return GriddedSeriesPatchSampler(whole, size=size, roi=roi)


def random_patches(
    splits: Splits,
    dataset: GeoDataset,
    patches: PatchOptions,
    *,
    batch_size: int,
    num_workers: int,
    group_by: Literal['day', 'time'],
    seed: int,
) -> GeoSampler:
    """Random patches of a split, on random dates where they are counted.

    Where labels are restricted to fields, patches of labelled training hold some of them:
    each one at least a pixel; by block each one a part of the box around a field.

    Args:
        splits: All splits.
        dataset: The one to sample from.
        patches: How patches are drawn.
        batch_size: Patches in a batch.
        num_workers: Number of processes that read, each its own blocks.
        group_by: What makes files of one day, or of one time, a date.
        seed: Seed of places and dates.

    Returns:
        The sampler.
    """
    size = patches.size
    whole, roi = splits.places(dataset)
    length = patches.length
    if length is None:
        area = join_footprints(dataset).area
        length = max(round(area / (size**2 * math.prod(dataset.res))), 10 * batch_size)
    options: dict[str, Any] = {'size': size, 'length': length, 'roi': roi, 'generator': seed}
    fields = splits.fields if dataset is splits.labelled_train else None
    if patches.by_block:
        if fields is not None:
            near = around_fields(fields, splits.kept[0], size)
            options['roi'] = near if roi is None else near & roi
        places: RandomSeriesPatchSampler | BlockPatchSampler = BlockPatchSampler(
            whole, batch_size=batch_size, num_workers=num_workers, **options
        )
    elif fields is None:
        places = RandomSeriesPatchSampler(whole, **options)
    else:
        places = FieldPatchSampler(whole, fields=fields, kept=splits.kept[0], **options)
    shapes = places.grids.shape
    if (shapes.min(axis=1) < size).all():
        largest = max(map(tuple, shapes.tolist()))
        warnings.warn(
            f'patches.size={size} is larger than the imagery, {largest} pixels '
            '(height, width): patches reach beyond it, and what lies there counts as '
            'not observed. Choose a smaller patches.size',
            UserWarning,
            stacklevel=3,
        )
    if patches.num_dates is None:
        return places
    dates = RandomDateCountSampler(
        dataset, count=patches.num_dates, stride='max', group_by=group_by, generator=seed
    )
    return places @ dates


def field_stage(
    splits: Splits,
    stage: Stage,
    patches: PatchOptions,
    *,
    batch_size: int,
    group_by: Literal['day', 'time'],
    seed: int,
) -> tuple[GeoDataset, GeoSampler] | None:
    """Data set and windows of a stage with one sample per field.

    Args:
        splits: The splits, with fields.
        stage: Its name; to predict takes the labelled fields of all splits.
        patches: Size of the windows, and how they are drawn for training: without a length
            each field once, and ten batches at least.
        batch_size: Samples in a batch.
        group_by: What makes files of one day, or of one time, a date.
        seed: Seed of order and dates.

    Returns:
        Both, or None where nothing is held out for the stage.

    Raises:
        SITSError: If no field is left for the stage.
    """
    assert splits.fields is not None  # they are looked for where they are the target
    assert splits.labels is not None  # there are no fields without
    number = {'train': 0, 'val': 1, 'test': 2}.get(stage)
    if number is None:
        labelled: GeoDataset | None = splits.labelled
        kept = np.ones(len(splits.fields), bool)
    else:
        labelled = (splits.labelled_train, splits.labelled_val, splits.labelled_test)[number]
        kept = splits.kept[number]
    if labelled is None:
        return None
    if not kept.any():
        raise SITSError(
            f'no field is left for {stage}: hold out another share (split.val_fraction, '
            "split.test_fraction), or hold out whole fields of each class (split.by='fields')"
        )
    windows = field_windows(splits.fields, kept, patches.size)
    dataset = copy.copy(labelled)
    assert isinstance(dataset, IntersectionDataset)  # all that is labelled is joined
    dataset.transforms = FieldTargets(splits.fields, windows, splits.labels.values.unlabelled)
    if stage != 'train':
        return dataset, FieldSampler(dataset, windows)
    length = patches.length
    if length is None:
        length = max(len(windows.numbers), 10 * batch_size)
    sampler = FieldSampler(dataset, windows, length=length, seed=seed)
    if patches.num_dates is None:
        return dataset, sampler
    dates = RandomDateCountSampler(
        dataset, count=patches.num_dates, stride='max', group_by=group_by, generator=seed
    )
    return dataset, sampler @ dates

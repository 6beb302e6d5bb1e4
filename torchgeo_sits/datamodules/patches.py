"""Random patches of a split, for training."""

import math
import warnings
from typing import Any, Literal

from torchgeo.datasets import GeoDataset
from torchgeo.samplers import GeoSampler

from ..samplers import BlockPatchSampler, RandomDateCountSampler, RandomSeriesPatchSampler
from ..samplers.footprints import join_footprints
from .field_patches import FieldPatchSampler, around_fields
from .parts import Parts

__all__ = ['random_patches']


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

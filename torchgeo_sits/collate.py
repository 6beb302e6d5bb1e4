"""Collation of series of different lengths into one batch."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .errors import SITSError
from .keys import FRAME_KEYS, IMAGE, LENGTH, MASK, VALID

__all__ = ['pad_time']


def pad_time(samples: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Stack samples into a batch, padded in time at the end, and keep every key.

    Frames are padded with zeros (False for masks) up to the longest series of the batch;
    ``valid`` is False there. Unlike :func:`torchgeo.datasets.utils.pad_across_batches` no
    key is dropped; values that are not tensors are collected in a list.

    Args:
        samples: One dictionary per sample, all with the same keys. Tensors named in
            :data:`~torchgeo_sits.keys.FRAME_KEYS`, and ``mask`` where it has as many axes
            as ``image`` less one, are ``(T, ...)`` with T free; all others have one shape.
            So are the frame keys of another series beside the first, such as ``valid_s1a``
            where there is an ``image_s1a``: each series has a T of its own.

    Returns:
        The batch: ``(B, T_max, ...)`` for frame keys, ``(B, ...)`` for the others, and
        ``length`` ``(B,)`` int64.

    Raises:
        SITSError: If *samples* is empty, or a key is missing from some samples, or shapes
            differ otherwise than in time.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.collate import pad_time
        >>> batch = pad_time({'image': torch.ones(t, 2, 4, 4)} for t in (3, 1))
        >>> batch['image'].shape, batch['length']
        (torch.Size([2, 3, 2, 4, 4]), tensor([3, 1]))
        >>> batch['valid']
        tensor([[ True,  True,  True],
                [ True, False, False]])
    """
    samples = list(samples)
    if not samples:
        raise SITSError('pad_time got no samples: expected at least one')
    keys = list(samples[0])
    for i, sample in enumerate(samples):
        if set(sample) != set(keys):
            odd = sorted(set(sample) ^ set(keys))
            raise SITSError(f'samples 0 and {i} of a batch differ in their keys: {odd}')

    batch: dict[str, Any] = {}
    for key in keys:
        values = [sample[key] for sample in samples]
        if not isinstance(values[0], Tensor):
            batch[key] = values
        elif _per_frame(key, samples[0]):
            batch[key] = _stack(key, _pad(values))
        else:
            batch[key] = _stack(key, values)

    if IMAGE in batch:
        lengths = [len(sample[IMAGE]) for sample in samples]
        batch.setdefault(LENGTH, torch.tensor(lengths))
        steps = torch.arange(max(lengths))
        batch.setdefault(VALID, steps[None] < torch.tensor(lengths)[:, None])
    return batch


def _per_frame(key: str, sample: dict[str, Any]) -> bool:
    """Tell whether the tensor of *key* has one entry per frame."""
    if key == MASK:
        return IMAGE in sample and sample[MASK].ndim == sample[IMAGE].ndim - 1
    base, _, series = key.rpartition('_')
    return key in FRAME_KEYS or (base in FRAME_KEYS and f'{IMAGE}_{series}' in sample)


def _pad(values: Sequence[Tensor]) -> list[Tensor]:
    """Pad the first axis with zeros at the end, to the longest of *values*."""
    longest = max(len(value) for value in values)
    return [
        torch.cat([value, value.new_zeros(longest - len(value), *value.shape[1:])])
        if len(value) < longest
        else value
        for value in values
    ]


def _stack(key: str, values: Sequence[Tensor]) -> Tensor:
    """Stack, and name key and shapes where they do not fit."""
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) > 1:
        raise SITSError(
            f"'{key}' has different shapes in one batch, apart from time: {sorted(shapes)}. "
            'Sample windows of one size, or use batch_size=1.'
        )
    return torch.stack(list(values))

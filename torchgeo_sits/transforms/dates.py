"""Subsets of the dates of a series, for views that differ in what they saw when."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, VALID
from .random import uniform

__all__ = ['Dates', 'check_dates', 'draw_dates', 'observed', 'take_dates']

#: Least and most dates of a view: two fractions of a series' dates, or two counts.
Dates = tuple[int, int] | tuple[float, float]


def check_dates(dates: Dates) -> None:
    """Raise SITSError unless *dates* are two fractions in (0, 1] or two counts, in order."""
    numbers = isinstance(dates, Sequence) and all(isinstance(d, int | float) for d in dates)
    counts = numbers and all(isinstance(d, int) for d in dates)
    if not (numbers and len(dates) == 2 and 0 < dates[0] <= dates[1] and (counts or dates[1] <= 1)):
        raise SITSError(
            'expected dates=(low, high) with 0 < low <= high, two counts (int) or two '
            f'fractions (float) up to 1.0, got {dates}'
        )


def observed(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Give ``valid`` ``(B, T)`` and ``mask_clear`` ``(B, T, H, W)`` of a batch.

    Where the batch has none, all its frames are valid, and all pixels of a valid frame clear.
    """
    image = batch[IMAGE]
    valid = batch.get(VALID)
    if valid is None:
        valid = torch.ones(image.shape[:2], dtype=torch.bool, device=image.device)
    clear = batch.get(MASK_CLEAR)
    if clear is None:
        clear = valid[..., None, None].expand(*image.shape[:2], *image.shape[-2:])
    return valid, clear


def draw_dates(
    batch: dict[str, Any],
    dates: Dates,
    *,
    views: int = 1,
    clear: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw a subset of the dates of each sample for each of several views.

    The dates of a sample are put in one random order, from which the views take turns: views
    share no date as long as there are enough of them, and as few as possible after that.
    Dates without a clear pixel are left out, unless a sample has no others.

    Args:
        batch: ``image`` ``(B, T, C, H, W)`` in chronological order, and ``valid`` and
            ``mask_clear`` where there are any.
        dates: How many dates a view has, ``(low, high)``, drawn for each view and sample; at
            least one where the sample has one.
        views: Number of views V.
        clear: ``(B, T, h, w)`` bool, clear pixels of the part that the views show; by default
            ``mask_clear`` of the batch.
        generator: Source of randomness; torch's default without one.

    Returns:
        frames: ``(V, B, T')`` int64, indices of frames in chronological order, with
            ``T' = ceil(high * T)`` or ``min(high, T)`` whatever was drawn.
        keep: ``(V, B, T')`` bool, False in the padding at the end.
    """
    valid, whole = observed(batch)
    clear = whole if clear is None else clear
    device = valid.device
    low, high = dates
    steps = valid.shape[1]
    seen = valid & clear.flatten(2).any(2)
    usable = torch.where(seen.any(1, keepdim=True), seen, valid)
    count = usable.sum(1)

    u = uniform((views, len(valid)), generator=generator, device=device)
    if isinstance(high, int):
        number = low + (u * (high - low + 1)).floor().clamp(max=high - low)
        longest = min(high, steps)
    else:
        number = ((low + u * (high - low)) * count).round().clamp(min=1)
        longest = math.ceil(high * steps)
    number = torch.minimum(number.long(), count)

    noise = uniform(valid.shape, generator=generator, device=device)
    turn = noise.masked_fill(~usable, 2.0).argsort(1).argsort(1)
    start = number.cumsum(0) - number
    place = (turn - start[..., None]) % count.clamp(min=1)[:, None]
    chosen = usable & (place < number[..., None])

    index = torch.arange(steps, device=device)
    frames = torch.where(chosen, index, index + steps).argsort(2)[..., :longest]
    return frames, chosen.gather(2, frames)


def take_dates(batch: dict[str, Any], frames: Tensor, keep: Tensor) -> dict[str, Any]:
    """Take frames out of a batch, and blank the padding.

    Args:
        batch: ``image`` ``(B, T, C, H, W)``, ``acquisition_times``, ``mask_clear``.
        frames: ``(B, T')`` int64.
        keep: ``(B, T')`` bool, False in padding.

    Returns:
        ``image`` ``(B, T', C, H, W)``, ``acquisition_times``, ``valid``, ``mask_clear``: zero
        and False in padding.
    """
    sample = torch.arange(len(frames), device=frames.device)[:, None]
    _, clear = observed(batch)
    image = batch[IMAGE][sample, frames]
    return {
        IMAGE: image.masked_fill_(~keep[..., None, None, None], 0.0),
        ACQUISITION_TIMES: batch[ACQUISITION_TIMES].gather(1, frames).masked_fill_(~keep, 0),
        VALID: keep,
        MASK_CLEAR: clear[sample, frames] & keep[..., None, None],
    }

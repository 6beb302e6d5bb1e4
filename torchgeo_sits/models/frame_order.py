"""Frames in the order of their dates, for models whose time axis is a sequence."""

import torch
from torch import Tensor

__all__ = ['chronological', 'mark_unclear', 'stable_order', 'take_frames']


def chronological(acquisition_times: Tensor, valid: Tensor) -> Tensor:
    """Indices that put the valid frames of each series first, by date.

    Frames of the same second keep the order in which they came.

    Args:
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(B, T)`` bool, False in padding frames.

    Returns:
        ``(B, T)`` int64. The ``argsort`` of it along T leads back.
    """
    latest = torch.iinfo(acquisition_times.dtype).max
    return stable_order(acquisition_times.masked_fill(~valid, latest))


def stable_order(times: Tensor) -> Tensor:
    """Indices that sort the last axis, equal entries as they came.

    Args:
        times: ``(B, T)`` int64.

    Returns:
        ``(B, T)`` int64.
    """
    if not torch.compiler.is_exporting():
        return times.argsort(dim=-1, stable=True)
    # ONNX knows no sort that is stable. Ranks do: how many come before each.
    place = torch.arange(times.shape[1], device=times.device)
    this, other = times[:, :, None], times[:, None]
    before = (other < this) | ((other == this) & (place < place[:, None]))
    rank = before.long().sum(-1)
    return (rank[:, None] == place[:, None]).long().argmax(-1)


def take_frames(series: Tensor, order: Tensor) -> Tensor:
    """Frames of each series in another order.

    Args:
        series: ``(B, T, ...)``.
        order: ``(B, T)`` int64, from :func:`chronological`.

    Returns:
        ``(B, T, ...)``.
    """
    return series[torch.arange(order.shape[0], device=order.device)[:, None], order]


def mark_unclear(image: Tensor, clear: Tensor) -> Tensor:
    """Zeros where a pixel was not seen, and a last channel that says so.

    A convolution cannot leave a pixel out; the channel tells it a zero that stands for
    nothing from one that was measured.

    Args:
        image: ``(B, T, C, H, W)``, anything where not clear.
        clear: ``(B, T, H, W)`` bool.

    Returns:
        ``(B, T, C + 1, H, W)``, 1 in the last channel where clear.
    """
    shown = clear[:, :, None]
    # where, not a product: NaN times zero is NaN.
    return torch.cat([torch.where(shown, image, 0), shown.to(image.dtype)], 2)

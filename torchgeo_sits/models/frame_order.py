"""Frames in the order of their dates, for models whose time axis is a sequence."""

import torch
from torch import Tensor

__all__ = ['chronological', 'mark_unclear', 'take_frames']


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
    return acquisition_times.masked_fill(~valid, latest).argsort(dim=-1, stable=True)


def take_frames(series: Tensor, order: Tensor) -> Tensor:
    """Frames of each series in another order.

    Args:
        series: ``(B, T, ...)``.
        order: ``(B, T)`` int64, from :func:`chronological`.

    Returns:
        ``(B, T, ...)``.
    """
    return series[torch.arange(len(order), device=order.device)[:, None], order]


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

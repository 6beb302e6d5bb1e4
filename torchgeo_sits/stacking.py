"""Frames stacked as channels: the layout of series for what only knows single images.

``(B, T * C, H, W)``, all bands of the first date first, so that a channel always is one band
of one date. Nothing in it says which frames are valid or which pixels clear.
"""

import calendar

import torch
from torch import Tensor

from .errors import SITSError

__all__ = ['evenly_spaced', 'unstack']


def evenly_spaced(frames: int, *, year: int = 2020) -> list[int]:
    """Spread dates over the middles of equal shares of a year, in seconds since 1970-01-01 UTC.

    Args:
        frames: Number of dates T.
        year: Calendar year, UTC.

    Returns:
        T dates, ascending.

    Examples:
        >>> from torchgeo_sits.stacking import evenly_spaced
        >>> evenly_spaced(2, year=2021)
        [1617343200, 1633111200]
    """
    start, end = (calendar.timegm((y, 1, 1, 0, 0, 0)) for y in (year, year + 1))
    return [start + (2 * i + 1) * (end - start) // (2 * frames) for i in range(frames)]


def unstack(x: Tensor, acquisition_times: Tensor, num_bands: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unstack channels into frames, all of which count as valid.

    Args:
        x: ``(B, T * C, H, W)``, all bands of the first date first.
        acquisition_times: ``(T,)`` int64, seconds since 1970-01-01 UTC.
        num_bands: Number of bands C.

    Returns:
        image ``(B, T, C, H, W)``, acquisition_times ``(B, T)`` and valid ``(B, T)``.

    Raises:
        SITSError: If *x* has another number of axes, or its channels are not T times C.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.stacking import evenly_spaced, unstack
        >>> times = torch.tensor(evenly_spaced(3))
        >>> image, dates, valid = unstack(torch.zeros(2, 12, 8, 8), times, num_bands=4)
        >>> image.shape, dates.shape
        (torch.Size([2, 3, 4, 8, 8]), torch.Size([2, 3]))
    """
    t, c = len(acquisition_times), num_bands
    if x.ndim != 4 or x.shape[1] != t * c:
        raise SITSError(
            f'expected (B, {t * c}, H, W), {t} dates of {c} bands, got {tuple(x.shape)}'
        )
    times = acquisition_times.expand(len(x), -1)
    return x.unflatten(1, (t, c)), times, torch.ones_like(times).bool()

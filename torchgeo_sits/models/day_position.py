"""Position of a date in days, as the field's models encode it."""

from typing import Final

import torch
from torch import Tensor

from .temporal_encoding import SECONDS_PER_YEAR

__all__ = ['days_since_september']

_SECONDS_PER_DAY: Final = 86_400
#: 2018-09-01 UTC, the date from which PASTIS counts.
_FIRST_SEPTEMBER: Final = 1_535_760_000


def days_since_september(acquisition_times: Tensor, valid: Tensor) -> Tensor:
    """Days since the 1st of September before the first valid frame of each series.

    L-TAE and U-TAE count days from one date for a whole data set: 2018-09-01 for PASTIS, whose
    numbers these are. Counting from that day of each series' own year gives the same numbers to
    the same season of other years. Years have 365.2425 days, so that outside 2018 the day zero
    may be off by a day.

    Args:
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(B, T)`` bool, False in padding frames.

    Returns:
        ``(B, T)`` float32, at least 0; 0 in padding frames.
    """
    latest = torch.iinfo(acquisition_times.dtype).max
    first = acquisition_times.masked_fill(~valid, latest).amin(-1, keepdim=True)
    # In integers: the seconds since 1970 do not fit float32.
    season = torch.remainder(torch.where(valid, first, 0) - _FIRST_SEPTEMBER, SECONDS_PER_YEAR)
    seconds = torch.where(valid, acquisition_times - first + season, 0)
    whole = torch.div(seconds, _SECONDS_PER_DAY, rounding_mode='floor')
    return whole.float() + (seconds - whole * _SECONDS_PER_DAY).float() / _SECONDS_PER_DAY

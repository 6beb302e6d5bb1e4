"""Encoding of acquisition dates: the season, and the time since the series began."""

from typing import Final

import torch
from torch import Tensor, nn

from ..errors import SITSError

__all__ = [
    'DAYS_OF_YEAR',
    'SECONDS_PER_YEAR',
    'TemporalEncoding',
    'calendar_month',
    'day_of_year',
    'days_since_september',
    'season_phase',
    'years_elapsed',
]

#: With the 29th of February.
DAYS_OF_YEAR: Final = 366

_SECONDS_PER_DAY: Final = 86_400


def day_of_year(acquisition_times: Tensor) -> Tensor:
    """Day of the year of any date of the Gregorian calendar, UTC.

    Args:
        acquisition_times: ``(...)`` int64, seconds since 1970-01-01 UTC.

    Returns:
        ``(...)`` int64, 0 on the 1st of January and at most 365.

    Examples:
        >>> import torch
        >>> day_of_year(torch.tensor([0, 86_400 * 59]))
        tensor([ 0, 59])
    """
    year, of_march = _year_from_march(acquisition_times)
    # March and later months: 59 days, 60 in leap years, lie before them in the calendar's year.
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    late = of_march < 306
    return (of_march + 59 + is_leap.long()).where(late, of_march - 306)


def calendar_month(acquisition_times: Tensor) -> Tensor:
    """Number of calendar months since January 1970, UTC.

    Args:
        acquisition_times: ``(...)`` int64, seconds since 1970-01-01 UTC.

    Returns:
        ``(...)`` int64, 0 in January 1970; the remainder by 12 is the month of the year, from 0.

    Examples:
        >>> import torch
        >>> calendar_month(torch.tensor([0, 86_400 * 31, -1]))
        tensor([ 0,  1, -1])
    """
    year, of_march = _year_from_march(acquisition_times)
    # Five months from March have 153 days in whatever year.
    month = (5 * of_march + 2).div(153, rounding_mode='floor')
    return 12 * (year - 1970) + month + 2


def _year_from_march(acquisition_times: Tensor) -> tuple[Tensor, Tensor]:
    """The year that began in March, and the day of it.

    After the algorithm for days of the proleptic calendar by H. Hinnant (chrono-compatible
    low-level date algorithms, ``civil_from_days``): years begin in March, so that a leap day
    is the last of its year.

    Args:
        acquisition_times: ``(...)`` int64, seconds since 1970-01-01 UTC.

    Returns:
        The year ``(...)``, and the day ``(...)`` int64, 0 on the 1st of March.
    """
    days = acquisition_times.div(_SECONDS_PER_DAY, rounding_mode='floor') + 719_468
    era = days.div(146_097, rounding_mode='floor')  # of 400 years, from 0000-03-01
    day = days.remainder(146_097)
    leap = day.div(1_460, rounding_mode='floor') - day.div(36_524, rounding_mode='floor')
    leap = leap + day.div(146_096, rounding_mode='floor')
    year = (day - leap).div(365, rounding_mode='floor')
    centuries = year.div(100, rounding_mode='floor')
    of_march = day - (365 * year + year.div(4, rounding_mode='floor') - centuries)
    return 400 * era + year, of_march


#: Mean Gregorian year of 365.2425 days. Seasons follow it more closely than the calendar,
#: whose day of year slips by one in leap years; a calendar date moves by at most 1.5 days.
SECONDS_PER_YEAR: Final = 31_556_952


def season_phase(acquisition_times: Tensor) -> Tensor:
    """Part of the year that has gone by at each date.

    The remainder is taken in integers: 1.5e9 seconds in float32 would be off by a minute.

    Args:
        acquisition_times: ``(...)`` int64, seconds since 1970-01-01 UTC.

    Returns:
        ``(...)`` float32 in [0, 1), 0 at the turn of the year.

    Examples:
        >>> import torch
        >>> season_phase(torch.tensor([0, SECONDS_PER_YEAR // 4]))
        tensor([0.0000, 0.2500])
    """
    return torch.remainder(acquisition_times, SECONDS_PER_YEAR).float() / SECONDS_PER_YEAR


def years_elapsed(acquisition_times: Tensor, valid: Tensor) -> Tensor:
    """Years since the first valid frame of each series.

    Args:
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(B, T)`` bool, False in padding frames.

    Returns:
        ``(B, T)`` float32, 0 in padding frames and in series without a valid frame.

    Examples:
        >>> import torch
        >>> times = torch.tensor([[SECONDS_PER_YEAR, 3 * SECONDS_PER_YEAR, 0]])
        >>> years_elapsed(times, torch.tensor([[True, True, False]]))
        tensor([[0., 2., 0.]])
    """
    latest = torch.iinfo(torch.int64).max
    first = acquisition_times.masked_fill(~valid, latest).amin(-1, keepdim=True)
    seconds = torch.where(valid, acquisition_times - first, 0)
    whole = torch.div(seconds, SECONDS_PER_YEAR, rounding_mode='floor')
    return whole.float() + season_phase(seconds)


class TemporalEncoding(nn.Module):
    """Learned linear map of sines and cosines of dates.

    The season enters with its first *harmonics*, the elapsed time with periods of 2, 4, 8,
    ... years, so that values stay bounded however long a series is. Elapsed time counts from
    the first valid frame and not from a fixed year: an encoder trained on the seasons of one
    year must not meet unseen values in the next. It depends on no other series of the batch.

    Args:
        dim: Number of output features.
        harmonics: Number of harmonics of the year, 0 to leave the season out.
        octaves: Number of periods of the elapsed time (2, 4, ... years), 0 to leave it out.

    Raises:
        SITSError: If *dim* is below 1 or *harmonics* or *octaves* below 0.

    Examples:
        >>> import torch
        >>> times = torch.tensor([[1_500_000_000, 1_510_000_000, 0]])
        >>> valid = torch.tensor([[True, True, False]])
        >>> TemporalEncoding(16)(times, valid).shape
        torch.Size([1, 3, 16])
    """

    frequencies: Tensor

    def __init__(self, dim: int, *, harmonics: int = 4, octaves: int = 5) -> None:
        super().__init__()
        if dim < 1 or harmonics < 0 or octaves < 0:
            raise SITSError(
                'expected dim >= 1, harmonics >= 0 and octaves >= 0, got '
                f'dim={dim}, harmonics={harmonics}, octaves={octaves}'
            )
        self.harmonics = harmonics
        self.octaves = octaves
        seasonal = torch.arange(1, harmonics + 1).float()
        elapsed = 0.5 ** torch.arange(1, octaves + 1).float()
        self.register_buffer('frequencies', torch.cat([seasonal, elapsed]), persistent=False)
        self.proj = nn.Linear(max(1, 2 * (harmonics + octaves)), dim)

    def forward(self, acquisition_times: Tensor, valid: Tensor) -> Tensor:
        """Encode dates.

        Args:
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.

        Returns:
            ``(B, T, dim)``.
        """
        season = season_phase(acquisition_times)[..., None].expand(-1, -1, self.harmonics)
        years = years_elapsed(acquisition_times, valid)[..., None].expand(-1, -1, self.octaves)
        angles = 2 * torch.pi * torch.cat([season, years], -1) * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], -1)
        if not waves.shape[-1]:
            # Neither is wanted: a constant keeps the module and its shapes the same.
            waves = torch.zeros_like(season_phase(acquisition_times))[..., None]
        return self.proj(waves.to(self.proj.weight.dtype))


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

    Examples:
        >>> import torch
        >>> times = torch.tensor([[1_535_760_000, 1_535_760_000 + 10 * 86_400]])  # from 2018-09-01
        >>> days_since_september(times, torch.ones(1, 2, dtype=torch.bool))
        tensor([[ 0., 10.]])
    """
    latest = torch.iinfo(acquisition_times.dtype).max
    first = acquisition_times.masked_fill(~valid, latest).amin(-1, keepdim=True)
    # In integers: the seconds since 1970 do not fit float32.
    season = torch.remainder(torch.where(valid, first, 0) - _FIRST_SEPTEMBER, SECONDS_PER_YEAR)
    seconds = torch.where(valid, acquisition_times - first + season, 0)
    whole = torch.div(seconds, _SECONDS_PER_DAY, rounding_mode='floor')
    return whole.float() + (seconds - whole * _SECONDS_PER_DAY).float() / _SECONDS_PER_DAY

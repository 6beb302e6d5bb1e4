"""Encoding of acquisition dates: the season, and the time since the series began."""

from typing import Final

import torch
from torch import Tensor, nn

__all__ = ['SECONDS_PER_YEAR', 'TemporalEncoding', 'season_phase', 'years_elapsed']

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
    """
    return torch.remainder(acquisition_times, SECONDS_PER_YEAR).float() / SECONDS_PER_YEAR


def years_elapsed(acquisition_times: Tensor, valid: Tensor) -> Tensor:
    """Years since the first valid frame of each series.

    Args:
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(B, T)`` bool, False in padding frames.

    Returns:
        ``(B, T)`` float32, 0 in padding frames and in series without a valid frame.
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
        ValueError: If *dim* is below 1 or *harmonics* or *octaves* below 0.
    """

    frequencies: Tensor

    def __init__(self, dim: int, *, harmonics: int = 4, octaves: int = 5) -> None:
        super().__init__()
        if dim < 1 or harmonics < 0 or octaves < 0:
            raise ValueError(
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

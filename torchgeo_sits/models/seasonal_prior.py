"""Queries that look at a part of the year before they have learned anything."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .temporal_encoding import season_phase

__all__ = ['EncodedDates', 'SeasonalPrior']


class EncodedDates(NamedTuple):
    """What the time stage knows of the dates of a series.

    Attributes:
        code: ``(B, T, dim)``, added to the hidden vector of each date.
        prior: ``(B, T, K)``, added to the scores of the K queries.
    """

    code: Tensor
    prior: Tensor


class SeasonalPrior(nn.Module):
    r"""Scores of dates for queries that are spread over the year, and for free ones.

    Seasonal query k begins as a window about its time of year :math:`\phi_k = 2\pi k / S`,
    with the score :math:`\kappa \cos(2 \pi t - \phi_k)` of a von Mises kernel; free queries
    begin without preference. Pooling by softmax over clear dates then resamples an irregular
    series to the same S times of the year, whatever its dates: two views on other dates start
    comparable, and an untrained encoder already keeps the order of the seasons. Attention
    from reference times to observed ones is that of mTAN (Shukla & Marlin, ICLR 2021,
    https://arxiv.org/abs/2101.10318); places and widths are learned from there.

    Args:
        seasonal: Number S of seasonal queries.
        free: Number of free queries.
        kappa: Concentration of the windows at the start; 4 is a standard deviation of a
            month, about.
    """

    def __init__(self, seasonal: int, free: int, *, kappa: float = 4.0) -> None:
        super().__init__()
        anchors = 2 * torch.pi * torch.arange(seasonal) / max(1, seasonal)
        weight = kappa * torch.stack([anchors.cos(), anchors.sin()], dim=1)
        self.weight = nn.Parameter(torch.cat([weight, torch.zeros(free, 2)]))

    def forward(self, acquisition_times: Tensor) -> Tensor:
        """Score dates.

        Args:
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.

        Returns:
            ``(B, T, S + free)``.
        """
        angle = 2 * torch.pi * season_phase(acquisition_times)
        return torch.stack([angle.cos(), angle.sin()], dim=-1) @ self.weight.T

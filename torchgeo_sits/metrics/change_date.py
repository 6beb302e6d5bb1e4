"""Scores of the date of a change."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ['ChangeDateScores']


class ChangeDateScores(Metric):
    """How well the dates of changes are told, among pixels that changed and were said to.

    * ``DateMAE``: mean absolute error in days.
    * ``DateWithin<n>``: share of them within n days, of all that truly changed: a change that
      was missed is within no number of days.

    NaN where there is no such pixel.
    """

    full_state_update = False
    error: Tensor
    found: Tensor
    changed: Tensor
    within: Tensor

    def __init__(self, *, days: Sequence[int] = (30, 90), **kwargs: Any) -> None:
        """Initialize a new ChangeDateScores instance.

        Args:
            days: Tolerances n, in days.
            **kwargs: Arguments of :class:`torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        self.days = tuple(days)
        self.add_state('error', torch.zeros((), dtype=torch.float64), dist_reduce_fx='sum')
        for name in ('found', 'changed'):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx='sum')
        zeros = torch.zeros(len(self.days), dtype=torch.int64)
        self.add_state('within', zeros, dist_reduce_fx='sum')

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Count pixels.

        Args:
            predicted: ``(...)`` days since 1970-01-01, 0 where no change is predicted.
            target: ``(...)``, the same of the truth.
        """
        both = (predicted != 0) & (target != 0)
        days = (predicted[both] - target[both]).abs().double()
        self.error += days.sum()
        self.found += both.sum()
        self.changed += (target != 0).sum()
        self.within += torch.stack([(days <= n).sum() for n in self.days])

    def compute(self) -> dict[str, Tensor]:
        """The scores, by name."""
        scores = {'DateMAE': self.error / self.found}
        for n, count in zip(self.days, self.within, strict=True):
            scores[f'DateWithin{n}'] = count.double() / self.changed
        return scores

"""Scores of measured values, exact to 64 bits."""

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ['RegressionScores']

#: Sums that are kept: number, errors, their squares, values and their squares.
_SUMS = 5
#: Share of the squares below which their deviation from the mean is rounding.
_ROUNDING = 1e-13


class RegressionScores(Metric):
    """Root mean squared error, mean absolute error, and the coefficient of determination.

    ``RMSE``, ``MAE`` and ``R2`` of all places together, in float64, which metrics of torchmetrics
    do not keep: those take values whose squares deviate by less than 0.0001 in all for one and
    the same. R2 is NaN where all values are the same.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import RegressionScores
        >>> metric = RegressionScores()
        >>> metric.update(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 2.0, 3.0]))
        >>> {name: round(value.item(), 3) for name, value in metric.compute().items()}
        {'RMSE': 1.155, 'MAE': 0.667, 'R2': -1.0}
    """

    full_state_update = False
    bits: Tensor

    def __init__(self) -> None:
        """Initialize a new RegressionScores instance."""
        super().__init__()
        # The bits of floats of 64: Apple's GPUs have these of integers only.
        self.add_state('bits', torch.zeros(_SUMS, dtype=torch.int64), dist_reduce_fx=None)

    def update(self, found: Tensor, wanted: Tensor, origin: Tensor | float = 0.0) -> None:
        """Count places.

        Args:
            found: Predicted values ``(P,)``.
            wanted: Measured values ``(P,)``.
            origin: A value near those, always the same: the squares of values far from 0 would
                lose digits.
        """
        device = self.bits.device
        here = torch.device('cpu') if device.type == 'mps' else device
        found, wanted = found.to(here).double(), wanted.to(here).double()
        if isinstance(origin, Tensor):
            origin = origin.to(here).double()
        error, value = found - wanted, wanted - origin
        sums = [error.abs().sum(), error.square().sum(), value.sum(), value.square().sum()]
        added = torch.stack([torch.full_like(sums[0], len(error)), *sums])
        self.bits = (self.bits.to(here).view(torch.float64) + added).view(torch.int64).to(device)

    def compute(self) -> dict[str, Tensor]:
        """The scores, by name; NaN where nothing was measured."""
        # One row for each process.
        sums = self.bits.cpu().view(torch.float64).reshape(-1, _SUMS).sum(0)
        number, absolute, squared, values, squares = sums
        deviation = squares - values.square() / number
        alike = deviation <= _ROUNDING * squares
        return {
            'RMSE': (squared / number).sqrt(),
            'MAE': absolute / number,
            'R2': torch.where(alike, torch.nan, 1 - squared / deviation),
        }

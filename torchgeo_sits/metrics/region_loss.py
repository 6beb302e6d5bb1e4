"""The loss of regions, counted over batches."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics import Metric

__all__ = ['RegionLoss']


class RegionLoss(Metric):
    """Dice or Jaccard loss of all places of an epoch, as one batch of all of them would have it.

    These losses are ratios of sums, so the mean of those of batches depends on how places are
    dealt out to batches. With the probability p and the truth t (0 or 1) of a class at each
    place, the Dice loss is ``1 - 2 sum(p t) / sum(p + t)`` and the Jaccard loss
    ``1 - sum(p t) / (sum(p + t) - sum(p t))`` (Milletari et al., 3DV 2016, section 3, and Rahman
    and Wang, ISVC 2016, equation 3). As in segmentation_models_pytorch, of which this is the
    epoch's value, the mean is over classes, of which those without a true place count as 0.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import RegionLoss
        >>> loss = RegionLoss('dice', num_outputs=2)
        >>> loss.update(torch.tensor([[9.0, -9.0], [-9.0, 9.0]]), torch.tensor([0, 1]))
        >>> round(loss.compute().item(), 3)
        0.0
        >>> loss.update(torch.tensor([[9.0, -9.0], [-9.0, 9.0]]), torch.tensor([1, 0]))
        >>> round(loss.compute().item(), 3)
        0.5
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    common: Tensor
    total: Tensor
    truth: Tensor

    def __init__(self, kind: Literal['dice', 'jaccard'], num_outputs: int, **kwargs: Any) -> None:
        """Initialise a new RegionLoss instance.

        Args:
            kind: The loss.
            num_outputs: Number of scores K of a place, 1 for binary tasks.
            **kwargs: Arguments of :class:`torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        self.kind = kind
        for name in ('common', 'total', 'truth'):
            self.add_state(name, torch.zeros(num_outputs), dist_reduce_fx='sum')

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Count places.

        Args:
            scores: ``(P, K)`` raw scores.
            labels: ``(P,)`` classes; of a binary task 0 and 1.
        """
        classes = scores.shape[1]
        scores = scores.float()
        if classes == 1:
            found, truth = scores.sigmoid(), labels[:, None].float()
        else:
            found, truth = scores.softmax(1), one_hot(labels.long(), classes).float()
        self.common += (found * truth).sum(0)
        self.total += (found + truth).sum(0)
        self.truth += truth.sum(0)

    def compute(self) -> Tensor:
        """Compute the loss of all places so far, a number."""
        common, total = self.common, self.total
        score = (
            2 * common / total.clamp(min=1e-7)
            if self.kind == 'dice'
            else common / (total - common).clamp(min=1e-7)
        )
        return ((1 - score) * (self.truth > 0)).mean()

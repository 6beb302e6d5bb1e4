"""Scores of series with any number of classes, exact to 64 bits."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

__all__ = ['MultilabelScores']


class MultilabelScores(Metric):
    """F1, precision, recall and average precision of series with any number of classes.

    A class is predicted where its probability is above one half. As scikit-learn counts them
    (``f1_score`` with ``zero_division=0``, ``average_precision_score``), and in float64, which
    metrics of torchmetrics do not keep:

    * ``WeightedF1Score``, ``AverageF1Score``, ``OverallF1Score``: F1 of the classes, averaged by
      their labels or evenly, and that of all labels together. ``ClasswiseF1Score_<name>``.
    * ``OverallPrecision``, ``OverallRecall``: those of all labels together.
    * ``AveragePrecision``: the mean over the classes that occur; NaN where none does.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import MultilabelScores
        >>> metric = MultilabelScores(['oak', 'pine'])
        >>> metric.update(torch.tensor([[0.9, 0.2], [0.8, 0.7]]), torch.tensor([[1, 0], [0, 1]]))
        >>> scores = metric.compute()
        >>> round(scores['AverageF1Score'].item(), 3), scores['AveragePrecision'].item()
        (0.833, 1.0)
    """

    full_state_update = False
    found: list[Tensor]
    truth: list[Tensor]

    def __init__(self, names: Sequence[str]) -> None:
        """Initialize a new MultilabelScores instance.

        Args:
            names: Names of the K classes.
        """
        super().__init__()
        self.names = list(names)
        self.add_state('found', default=[], dist_reduce_fx='cat')
        self.add_state('truth', default=[], dist_reduce_fx='cat')

    def update(self, found: Tensor, truth: Tensor) -> None:
        """Count series.

        Args:
            found: Probabilities ``(P, K)``.
            truth: ``(P, K)``, 1 for a class that is there, 0 for one that is not.
        """
        self.found.append(found)
        self.truth.append(truth.bool())

    def compute(self) -> dict[str, Tensor]:
        """The scores, by name."""
        number = len(self.names)
        # On the CPU: not every device has 64 bits. One tensor once processes are joined.
        found, truth = (
            dim_zero_cat(values).cpu() if len(values) else torch.zeros(0, number)
            for values in (self.found, self.truth)
        )
        truth, said = truth.bool(), found > 0.5
        hits, labels, predicted = (counts.sum(0).double() for counts in (truth & said, truth, said))
        f1 = _share(2 * hits, labels + predicted)
        columns = zip(found.T, truth.T, strict=True)
        precision = torch.stack([_average_precision(*column) for column in columns])
        classwise = dict(zip(self.names, f1, strict=True))
        return {
            'WeightedF1Score': _share((f1 * labels).sum(), labels.sum()),
            'AverageF1Score': f1.mean(),
            'OverallF1Score': _share(2 * hits.sum(), (labels + predicted).sum()),
            'AveragePrecision': precision.nanmean(),
            'OverallPrecision': _share(hits.sum(), predicted.sum()),
            'OverallRecall': _share(hits.sum(), labels.sum()),
            **{f'ClasswiseF1Score_{name}': value for name, value in classwise.items()},
        }


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """A part of a whole, 0 where that is 0."""
    return torch.where(whole > 0, part / whole, 0.0)


def _average_precision(found: Tensor, truth: Tensor) -> Tensor:
    """Sum of the precisions at each probability, by what recall gains there; NaN without truth.

    Args:
        found: Probabilities ``(P,)``.
        truth: ``(P,)`` bool.
    """
    order = found.argsort(descending=True)
    found, hits = found[order], truth[order].cumsum(0).double()
    # Series of one probability are predicted together.
    last = torch.ones_like(found, dtype=torch.bool)
    last[:-1] = found[1:] != found[:-1]
    hits, number = hits[last], 1 + last.nonzero()[:, 0]
    gains = hits.diff(prepend=hits.new_zeros(1))
    return (gains * hits / number).sum() / truth.sum()

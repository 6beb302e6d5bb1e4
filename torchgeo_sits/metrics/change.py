"""Scores of change: what changed, and into which class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ['ChangeDateScores', 'ChangeScores', 'SemanticChangeScores', 'semantic_change_scores']


class ChangeDateScores(Metric):
    """Scores of the dates of changes, over pixels that changed and were said to.

    * ``DateMAE``: mean absolute error in days.
    * ``DateWithin<n>``: share of them within n days, of all that truly changed: a change that
      was missed is within no number of days.

    NaN where there is no such pixel.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import ChangeDateScores
        >>> metric = ChangeDateScores(days=(30,))
        >>> metric.update(torch.tensor([18_300, 18_400, 0]), torch.tensor([18_310, 18_300, 0]))
        >>> {name: score.item() for name, score in metric.compute().items()}
        {'DateMAE': 55.0, 'DateWithin30': 0.5}
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
        self.add_state('error', torch.zeros((), dtype=torch.int64), dist_reduce_fx='sum')
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
        days = (predicted[both] - target[both]).abs().long()
        self.error += days.sum()
        self.found += both.sum()
        self.changed += (target != 0).sum()
        self.within += torch.stack([(days <= n).sum() for n in self.days])

    def compute(self) -> dict[str, Tensor]:
        """The scores, by name."""
        # On the CPU: not every device has 64 bits.
        changed = self.changed.cpu().double()
        scores = {'DateMAE': self.error.cpu().double() / self.found.cpu()}
        for n, count in zip(self.days, self.within.cpu(), strict=True):
            scores[f'DateWithin{n}'] = count / changed
        return scores


class ChangeScores(Metric):
    """IoU, F1, precision and recall of change, over all pixels together.

    A score whose denominator is 0 (nothing changed and nothing was said to) is NaN, where
    torchmetrics gives 0 or 1: a run then logs none, and not a wrong one.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import ChangeScores
        >>> metric = ChangeScores()
        >>> metric.update(torch.tensor([True, True, False]), torch.tensor([True, False, False]))
        >>> metric.compute()['ChangePrecision'].item()
        0.5
    """

    full_state_update = False
    tp: Tensor
    fp: Tensor
    fn: Tensor

    def __init__(self, **kwargs: Any) -> None:
        """Initialize a new ChangeScores instance.

        Args:
            **kwargs: Arguments of :class:`torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        for name in ('tp', 'fp', 'fn'):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx='sum')

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Count pixels.

        Args:
            predicted: ``(...)`` bool, True where change is predicted.
            target: ``(...)`` bool, True where something changed.
        """
        predicted, target = predicted.bool(), target.bool()
        self.tp += (predicted & target).sum()
        self.fp += (predicted & ~target).sum()
        self.fn += (~predicted & target).sum()

    def compute(self) -> dict[str, Tensor]:
        """The scores, by name."""
        # On the CPU: not every device has 64 bits.
        tp, fp, fn = (count.cpu().double() for count in (self.tp, self.fp, self.fn))
        return {
            'ChangeIoU': tp / (tp + fp + fn),
            'ChangeF1': 2 * tp / (2 * tp + fp + fn),
            'ChangePrecision': tp / (tp + fp),
            'ChangeRecall': tp / (tp + fn),
        }


class SemanticChangeScores(Metric):
    """Semantic change segmentation: BC, SC and their mean SCS, of maps that follow each other.

    From DynamicEarthNet (Toker et al., CVPR 2022, https://arxiv.org/abs/2203.12560, section 4):
    each map is compared with the one before. BC is the IoU of the pixels that changed, SC the
    mean IoU of the classes of the later map over the pixels that truly changed. All pixels
    of all areas count together.

    Two variants of the mean are published, and differ where classes are absent: over the
    classes that occur among the truly changed pixels (``SC_present``, ``SCS_present``; the
    authors' evaluation), and over all classes, an absent one counting as 0 (``SC_all``,
    ``SCS_all``; the evaluation of SitsSCD, https://arxiv.org/abs/2407.07616). A pixel that is
    not labelled in one of the two maps is left out of both scores, as SitsSCD does; the
    authors' evaluation leaves it out of SC only where the later map lacks it.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import SemanticChangeScores
        >>> truth = torch.tensor([0, 1, 0, 2]).view(1, 2, 1, 2)
        >>> metric = SemanticChangeScores(num_classes=3)
        >>> metric.update(truth, truth, torch.ones(1, 2, dtype=torch.bool))
        >>> metric.compute()['SCS_present'].item()
        1.0
    """

    full_state_update = False
    binary: Tensor
    semantic: Tensor

    def __init__(self, num_classes: int, *, ignore_index: int | None = None, **kwargs: Any) -> None:
        """Initialize a new SemanticChangeScores instance.

        Args:
            num_classes: Number of classes K.
            ignore_index: Label of what is not labelled. If it is one of the classes, it is
                no class of the mean.
            **kwargs: Arguments of :class:`torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        zeros = torch.zeros(2, 2, dtype=torch.int64)
        self.add_state('binary', zeros, dist_reduce_fx='sum')
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state('semantic', zeros, dist_reduce_fx='sum')

    def update(self, predicted: Tensor, target: Tensor, valid: Tensor) -> None:
        """Count the pixels of series of maps.

        Args:
            predicted: ``(B, T, H, W)`` int64, in the order of time.
            target: ``(B, T, H, W)`` int64.
            valid: ``(B, T)`` bool, False for maps of padding. Those that follow each other
                among the others are compared.
        """
        for guess, truth, real in zip(predicted, target, valid, strict=True):
            guess, truth = guess[real], truth[real]
            known = torch.ones_like(truth[1:], dtype=torch.bool)
            if self.ignore_index is not None:
                known = (truth[1:] != self.ignore_index) & (truth[:-1] != self.ignore_index)
            changed, said = truth[1:] != truth[:-1], guess[1:] != guess[:-1]
            pairs = 2 * changed[known].long() + said[known].long()
            self.binary += torch.bincount(pairs, minlength=4).view(2, 2)
            among = known & changed
            pairs = truth[1:][among] * self.num_classes + guess[1:][among]
            counts = torch.bincount(pairs, minlength=self.num_classes**2)
            self.semantic += counts.view(self.num_classes, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """The scores, by name; NaN where nothing changed."""
        return semantic_change_scores(self.binary, self.semantic, ignore_index=self.ignore_index)


def semantic_change_scores(
    binary: Tensor, semantic: Tensor, *, ignore_index: int | None = None
) -> dict[str, Tensor]:
    """BC, SC and SCS from counts, see :class:`SemanticChangeScores`.

    Args:
        binary: ``(2, 2)``, rows the truth, columns what was predicted; 1 is change.
        semantic: ``(K, K)``, the same for the classes of truly changed pixels.
        ignore_index: A class that is none.

    Returns:
        ``BC`` and the ``ChangeF1`` of the same pixels, ``SC_present``, ``SCS_present``,
        ``SC_all`` and ``SCS_all``.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import semantic_change_scores
        >>> binary, semantic = torch.tensor([[5, 1], [1, 3]]), torch.diag(torch.tensor([2, 1]))
        >>> round(semantic_change_scores(binary, semantic)['BC'].item(), 3)
        0.6
    """
    # On the CPU: not every device has 64 bits.
    binary, semantic = binary.cpu().double(), semantic.cpu().double()
    change = binary[1, 1] / (binary.sum() - binary[0, 0])
    hits, truth = semantic.diagonal(), semantic.sum(1)
    union = truth + semantic.sum(0) - hits
    iou = torch.where(union > 0, hits / union, 0.0)
    counted = torch.ones_like(iou, dtype=torch.bool)
    if ignore_index is not None and 0 <= ignore_index < len(iou):
        counted[ignore_index] = False
    present = iou[counted & (truth > 0)].mean()
    everything = iou[counted].mean() if truth.sum() > 0 else present
    hit = 2 * binary[1, 1]
    return {
        'BC': change,
        'ChangeF1': hit / (hit + binary[0, 1] + binary[1, 0]),
        'SC_present': present,
        'SCS_present': (change + present) / 2,
        'SC_all': everything,
        'SCS_all': (change + everything) / 2,
    }

"""Confusion matrix of named classes, and the scores of each of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ['ClassScores', 'Confusion', 'binary_scores', 'multiclass_scores']


class ClassScores(NamedTuple):
    """Scores of a class, None where they cannot be said, and the numbers of its labels."""

    name: str
    f1: float | None
    precision: float | None
    recall: float | None
    labels: int
    fields: int | None


class Confusion(NamedTuple):
    """Confusion matrix of K classes, with what is known of their labels.

    Examples:
        >>> from torchgeo_sits.metrics import Confusion
        >>> confusion = Confusion(['wheat', 'maize'], [[3, 1], [2, 4]], unit='pixels')
        >>> wheat, maize = confusion.scores()
        >>> wheat.labels, wheat.precision, wheat.recall
        (4, 0.6, 0.75)
    """

    #: Names of the classes.
    names: Sequence[str]
    #: Counts ``(K, K)``, rows the truth.
    counts: Sequence[Sequence[int]]
    #: What is counted, such as pixels.
    unit: str = 'labels'
    #: Number of the labelled fields of each class, where they are known.
    fields: Sequence[int] | None = None

    def scores(self) -> list[ClassScores]:
        """Compute F1, precision and recall of each class.

        Returns:
            The scores of each class. A class without labels has no recall, one that was never
            predicted no precision, one of neither no F1.
        """
        found = []
        for i, (row, name) in enumerate(zip(self.counts, self.names, strict=True)):
            right, labels = row[i], sum(row)
            predicted = sum(other[i] for other in self.counts)
            found.append(
                ClassScores(
                    name,
                    f1=2 * right / (labels + predicted) if labels + predicted else None,
                    precision=right / predicted if predicted else None,
                    recall=right / labels if labels else None,
                    labels=labels,
                    fields=None if self.fields is None else self.fields[i],
                )
            )
        return found


def binary_scores(matrix: Tensor) -> dict[str, Tensor]:
    """Scores of two classes, of which the second is what is looked for.

    Args:
        matrix: Confusion matrix ``(2, 2)``, rows the truth.

    Returns:
        ``Accuracy``, ``Precision``, ``Recall``, ``F1Score`` and ``JaccardIndex``, float64, 0
        where there is nothing to count. TorchGeo logs each with ``Overall`` and with ``Average``
        before it, and so do tasks here.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import binary_scores
        >>> binary_scores(torch.tensor([[5, 1], [1, 3]]))['OverallJaccardIndex'].item()
        0.6
    """
    # On the CPU: not every device has 64 bits.
    (right, wrong), (missed, hits) = matrix.cpu().double()
    scores = {
        'Accuracy': _share(right + hits, matrix.sum().cpu().double()),
        'Precision': _share(hits, hits + wrong),
        'Recall': _share(hits, hits + missed),
        'F1Score': _share(2 * hits, 2 * hits + wrong + missed),
        'JaccardIndex': _share(hits, hits + wrong + missed),
    }
    return {f'{kind}{name}': v for name, v in scores.items() for kind in ('Overall', 'Average')}


def multiclass_scores(matrix: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Scores of K classes, by the names that TorchGeo gives them.

    Args:
        matrix: Confusion matrix ``(K, K)``, rows the truth.
        names: Names of the classes; None numbers them.

    Returns:
        ``Accuracy``, ``Precision``, ``Recall``, ``F1Score`` and ``JaccardIndex``, float64:
        ``Overall`` of all places together, ``Average`` over the classes that occur among the
        labels (NaN if none does), and ``Classwise..._<name>``, 0 where there is nothing to count.
        torchmetrics counts a class without labels as 0 in averages as soon as one place is taken
        for it, and leaves it out until then; what is taken for it costs the classes that are
        there as misses.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import multiclass_scores
        >>> scores = multiclass_scores(torch.tensor([[3, 1], [2, 4]]), ['wheat', 'maize'])
        >>> scores['OverallAccuracy'].item(), scores['ClasswiseRecall_wheat'].item()
        (0.7, 0.75)
    """
    # On the CPU: not every device has 64 bits.
    counts = matrix.cpu().double()
    scores = _five_scores(counts.diagonal(), counts.sum(1), counts.sum(0))
    total = _five_scores(counts.trace(), counts.sum(), counts.sum())
    there = counts.sum(1) > 0
    names = [str(i) for i in range(len(counts))] if names is None else names
    return {
        **{f'Overall{name}': value for name, value in total.items()},
        **{f'Average{name}': values[there].mean() for name, values in scores.items()},
        **{
            f'Classwise{name}_{own}': value
            for name, values in scores.items()
            for own, value in zip(names, values, strict=True)
        },
    }


def _five_scores(hits: Tensor, truth: Tensor, found: Tensor) -> dict[str, Tensor]:
    """Scores of numbers of places that were right, are of a class, and were taken for it."""
    return {
        'Accuracy': _share(hits, truth),
        'Precision': _share(hits, found),
        'Recall': _share(hits, truth),
        'F1Score': _share(2 * hits, truth + found),
        'JaccardIndex': _share(hits, truth + found - hits),
    }


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """A part of a whole, 0 where that is 0."""
    return torch.where(whole > 0, part / whole, 0.0)

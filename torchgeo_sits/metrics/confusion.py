"""Confusion matrix of named classes, and the scores of each of them."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ['ClassScores', 'Confusion']


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

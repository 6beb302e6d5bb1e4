"""Scores of PASTIS, as its authors count them."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from ..errors import SITSError

__all__ = ['PASTISScores', 'overall_score', 'pastis_scores']

#: Classes of PASTIS, background (0) and void (the last) included.
NUM_CLASSES = 20


class PASTISScores(MulticlassConfusionMatrix):
    """OA, mIoU and IoU of each class over all pixels together, void left out.

    As in the authors' code (https://github.com/VSainteuf/utae-paps, miou.py and metrics.py):
    the row and the column of void are taken out of the confusion matrix, so that a labelled
    pixel for which void is predicted counts nowhere. Background is a class like the others.
    The mean is over classes that occur, in the truth or in the prediction; one that does
    neither has an IoU of NaN and is left out, as is sorghum where a fold has none.

    ``confmat`` ``(20, 20)``, rows the truth, is what :func:`overall_score` takes of each fold.
    """

    is_differentiable = False

    def __init__(
        self, num_classes: int = NUM_CLASSES, *, ignore_index: int | None = 19, **kwargs: Any
    ) -> None:
        """Initialize a new PASTISScores instance.

        Args:
            num_classes: Number of classes K, void included.
            ignore_index: Class that is void.
            **kwargs: Arguments of :class:`torchmetrics.Metric`.
        """
        super().__init__(num_classes, ignore_index=ignore_index, **kwargs)

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]
        """The scores, by name, see :func:`pastis_scores`."""
        return pastis_scores(self.confmat, ignore_index=self.ignore_index)


def pastis_scores(confusion: Tensor, *, ignore_index: int | None = 19) -> dict[str, Tensor]:
    """Scores from a confusion matrix, see :class:`PASTISScores`.

    Args:
        confusion: ``(K, K)``, rows the truth, columns what was predicted.
        ignore_index: Class that is void.

    Returns:
        ``OA`` and ``mIoU``, float64 shares of 1, and ``IoU`` ``(K,)``, NaN for classes that
        do not occur.
    """
    counts = confusion.double()
    if ignore_index is not None:
        counts = counts.clone()
        counts[ignore_index] = counts[:, ignore_index] = 0
    hits = counts.diagonal()
    iou = hits / (counts.sum(0) + counts.sum(1) - hits)
    return {'OA': hits.sum() / counts.sum(), 'mIoU': iou.nanmean(), 'IoU': iou}


def overall_score(
    confusion_matrices: Iterable[Tensor], *, ignore_index: int | None = 19
) -> dict[str, Tensor]:
    """The score over the five folds: that of the sum of their confusion matrices.

    It is not the mean of the five scores: a class that is rare in one fold counts by its
    pixels. The authors drop the last batch of each fold; to compare, score all patches.

    Args:
        confusion_matrices: ``(K, K)`` of each fold.
        ignore_index: Class that is void.

    Returns:
        The scores, see :func:`pastis_scores`.

    Raises:
        SITSError: If there is none, or their shapes differ.
    """
    matrices = [torch.as_tensor(matrix) for matrix in confusion_matrices]
    shapes = {tuple(matrix.shape) for matrix in matrices}
    if len(shapes) != 1:
        raise SITSError(
            f'expected confusion matrices of one shape (K, K), one per fold, got {sorted(shapes)}'
        )
    return pastis_scores(torch.stack(matrices).sum(0), ignore_index=ignore_index)

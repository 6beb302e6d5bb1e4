"""Score of PASTIS over its five folds, as its authors count it."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..errors import SITSError

__all__ = ['overall_score']


def overall_score(
    confusion_matrices: Iterable[Tensor], *, ignore_index: int | None = 19
) -> dict[str, Tensor]:
    """Score the sum of the confusion matrices of several folds.

    It is not the mean of the scores of the folds: a class that is rare in one of them counts by
    its pixels. As in the authors' code (https://github.com/VSainteuf/utae-paps, miou.py and
    train_semantic.py), the row and the column of void are taken out, so that a labelled pixel
    for which void is predicted counts nowhere; background is a class like the others. The mean
    is over classes that occur, in the truth or in the prediction. The authors drop the last
    batch of each fold; to compare, score all patches.

    Args:
        confusion_matrices: ``(K, K)`` of each fold, rows the truth, columns what was predicted:
            ``test_confusion`` of :class:`~torchgeo_sits.tasks.SITSSegmentation`.
        ignore_index: Class that is void; None if there is none.

    Returns:
        ``OA`` and ``mIoU``, float64 shares of 1, and ``IoU`` ``(K,)``, NaN for classes that
        do not occur.

    Raises:
        SITSError: If there is no matrix, or their shapes differ.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import overall_score
        >>> folds = [torch.tensor([[8, 2], [0, 0]]), torch.tensor([[0, 0], [1, 9]])]
        >>> scores = overall_score(folds, ignore_index=None)
        >>> round(scores['OA'].item(), 3), round(scores['mIoU'].item(), 3)
        (0.85, 0.739)
    """
    matrices = [torch.as_tensor(matrix) for matrix in confusion_matrices]
    shapes = {tuple(matrix.shape) for matrix in matrices}
    if len(shapes) != 1:
        raise SITSError(
            f'expected confusion matrices of one shape (K, K), one per fold, got {sorted(shapes)}'
        )
    counts = torch.stack(matrices).sum(0).cpu().double()
    if ignore_index is not None:
        counts[ignore_index] = counts[:, ignore_index] = 0
    hits = counts.diagonal()
    iou = hits / (counts.sum(0) + counts.sum(1) - hits)
    return {'OA': hits.sum() / counts.sum(), 'mIoU': iou.nanmean(), 'IoU': iou}

"""Scores and labels of what is labelled in a batch."""

from torch import Tensor

__all__ = ['labelled_scores']


def labelled_scores(
    scores: Tensor, target: Tensor, *, ignore_index: int | None, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Select what is labelled: losses and metrics then have nothing to ignore.

    Losses of libraries differ in what they do with labels to be ignored: a mean over nothing
    is NaN, and the Jaccard loss counts what is predicted there as wrong.

    Args:
        scores: ``(B, K, ...)``.
        target: ``(B, ...)`` or ``(B, 1, ...)`` int64.
        ignore_index: Label of what is not labelled; None if all is.
        num_classes: Labels lie in [0, num_classes).

    Returns:
        ``(P, K)`` and ``(P,)`` of the P labelled places.

    Raises:
        ValueError: If shapes do not fit, or a label is no class.
    """
    if target.ndim == scores.ndim and target.shape[1] == 1:
        target = target[:, 0]
    if target.shape != (expected := scores.shape[:1] + scores.shape[2:]):
        raise ValueError(
            f'expected labels {tuple(expected)} for the scores {tuple(scores.shape)}, got '
            f'{tuple(target.shape)}: labels need the size of the images, and those of a series '
            'a frame axis only where each frame has a map of its own'
        )
    chosen = (
        target.new_ones(target.shape).bool() if ignore_index is None else target != ignore_index
    )
    labels = target[chosen].long()
    odd = labels[(labels < 0) | (labels >= num_classes)]
    if len(odd):
        ignored = '' if ignore_index is None else f', or {ignore_index} where not labelled'
        raise ValueError(
            f'the labels hold {sorted(odd.unique().tolist())[:5]}, expected classes from 0 to '
            f'{num_classes - 1}{ignored}: set num_classes or ignore_index, or renumber the '
            'labels (`classes` of SITSDataModule)'
        )
    return scores.movedim(1, -1)[chosen], labels

"""Pairs of objects, such as parcels, that two views both saw."""

from typing import Any

import torch
from torch import Tensor

from ..models import PlaneFeatures
from .matching import Pairs, token_pixels

__all__ = ['match_objects']


def match_objects(
    ours: PlaneFeatures,
    theirs: PlaneFeatures,
    view: dict[str, Any],
    other: dict[str, Any],
    objects: Tensor,
    number: int,
) -> Pairs:
    """Match the mean token of an object in one view to that in another.

    Args:
        ours: Features of B samples in one view, late ``(B, N, S, D)``.
        theirs: Features of the same samples in the other view.
        view: The view, with its paths ``(B, N, L)``.
        other: The other view, on the same grid.
        objects: ``(B, H, W)`` int64, the object of each pixel, from 0 to *number* - 1.
        number: Number of objects K.

    Returns:
        The pairs, one for each object.

    Raises:
        ValueError: If the tokens are not segments of the paths.
    """
    (first, a), (second, b) = (
        _pooled(features, at, objects, number) for features, at in ((ours, view), (theirs, other))
    )
    return Pairs(first, second, a & b)


def _pooled(
    features: PlaneFeatures, view: dict[str, Any], objects: Tensor, number: int
) -> tuple[Tensor, Tensor]:
    """Mean late token ``(B, K, D)`` of each object, and whether it was seen ``(B, K)``."""
    index, real = token_pixels(features, view)
    owner = objects.flatten(1).gather(1, index.flatten(1)).view_as(index)
    # A token of several pixels counts for each object by its share of them.
    share = torch.nn.functional.one_hot(owner, number) * real[..., None]
    share = share.sum(-2).transpose(1, 2).to(features.late.dtype)
    total = share.sum(-1, keepdim=True)
    return share @ features.late.flatten(1, 2) / total.clamp(min=1), total[..., 0] > 0

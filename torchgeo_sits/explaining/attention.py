"""Attention over time: how an encoder weighs the dates of a place."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .place import Place

__all__ = ['DateWeights', 'date_weights']


class DateWeights(NamedTuple):
    """Weights of the dates, which sum to 1.

    Attributes:
        place: ``(T,)``, at the pixel of the place.
        patch: ``(T,)``, the mean over the pixels of the patch that were seen.
    """

    place: Tensor
    patch: Tensor


@torch.no_grad()
def date_weights(encoder: nn.Module, place: Place) -> DateWeights | None:
    """Attention of an encoder over the dates, the mean over its queries or heads.

    These weights say what is averaged, not what decides: ``benchmarks/explanation.py`` finds
    that dates with large weights are often not those that a prediction rests on. Use
    :func:`~.occlusion.occlusion` to rank dates.

    Args:
        encoder: The encoder, in evaluation mode.
        place: The place.

    Returns:
        The weights; None for encoders that have none, such as
        :class:`~torchgeo_sits.models.DeepSTaR`.
    """
    attend: Any = getattr(encoder, 'time_attention', None)
    if attend is None:
        return None
    clear = place.clear
    weights = attend(place.image[None], place.times[None], place.valid[None], clear[None])[0]
    row, column = place.pixel
    seen = clear.any(0)
    return DateWeights(weights[:, row, column].float(), weights[:, seen].float().mean(1))

"""What a task does with views: join those of one shape, and encode them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, VALID
from ..models import PlaneFeatures, SITSEncoder
from ..transforms import PLANES

__all__ = ['encode_view', 'join_views']


def join_views(views: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join views of one shape along the batch, so that one forward serves them all.

    Args:
        views: V views of B samples each.

    Returns:
        One view of V * B samples, those of the first view first.
    """
    return {
        key: torch.cat([view[key] for view in views]) if isinstance(value, Tensor) else value
        for key, value in views[0].items()
    }


def encode_view(
    encoder: SITSEncoder, view: dict[str, Any], token_mask: Tensor | None = None
) -> PlaneFeatures:
    """Encode a view, be it of planes or of whole images.

    Args:
        encoder: The encoder.
        view: A view, see :mod:`torchgeo_sits.transforms`.
        token_mask: ``(B, N, S)``, tokens of planes that the encoder must not see.

    Returns:
        Features; without tokens where the view has no planes.
    """
    times, valid, clear = view[ACQUISITION_TIMES], view[VALID], view[MASK_CLEAR]
    if PLANES in view:
        return encoder.encode_planes(view[PLANES], times, valid, clear, token_mask=token_mask)
    embed = encoder(view[IMAGE], times, valid, clear)
    none = embed.new_zeros(len(embed), 0, 0, embed.shape[1])
    return PlaneFeatures(embed=embed, early=none, late=none, seen=none[..., 0] > 0)

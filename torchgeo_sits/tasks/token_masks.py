"""Which tokens of a view the student must not see."""

import torch
from torch import Tensor

__all__ = ['draw_token_mask']


def draw_token_mask(seen: Tensor, ratio: float) -> Tensor:
    """Draw tokens to hide, among those that were seen.

    Args:
        seen: ``(B, N, S)`` bool.
        ratio: Share of the seen tokens of a sample to hide; one at least is, and one in a
            batch that saw nothing, since processes must agree on what they exchange.

    Returns:
        ``(B, N, S)`` bool.
    """
    flat = seen.flatten(1)
    number = (ratio * flat.sum(1, keepdim=True)).clamp(min=1)
    noise = torch.rand(flat.shape, device=seen.device).masked_fill(~flat, 2.0)
    rank = noise.argsort(1).argsort(1)
    mask = flat & (rank < number)
    mask[0, 0] |= ~mask.any()
    return mask.view_as(seen)

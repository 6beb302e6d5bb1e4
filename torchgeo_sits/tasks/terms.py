"""Terms of a loss, and what goes with them."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ['Terms', 'no_loss']


class Terms(NamedTuple):
    """What a method makes of the views of a batch.

    Attributes:
        losses: Terms of the loss by name; the hyperparameter ``<name>_weight`` weighs each.
        health: What the watch over the run looks at: ``embedding`` ``(B, D)``, and
            ``projection`` ``(B, D')`` or ``assignment`` ``(B, K)`` where there are any.
    """

    losses: dict[str, Tensor]
    health: dict[str, Tensor]


def no_loss(*tensors: Tensor) -> Tensor:
    """A loss of 0 with gradients of 0, for a term that a batch has nothing for."""
    return torch.stack([tensor.sum() for tensor in tensors]).sum() * 0.0

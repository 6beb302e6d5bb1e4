"""Occlusion: what an answer loses when one part is taken away."""

import torch
from torch import Tensor

from .parts import Parts

__all__ = ['occlusion']


def occlusion(game: Parts) -> Tensor:
    r"""How much the answer falls when each part alone is not observed.

    .. math:: I_u = f(U) - f(U \setminus \{u\}),

    with the logarithm of the odds f where a set of parts is shown (Zeiler & Fergus 2014, section
    4.2, https://arxiv.org/abs/1311.2901). There the part is painted grey; here it counts as not
    clear, which is what an encoder of time series knows how to do without.

    Args:
        game: The U parts.

    Returns:
        ``(U,)``. Above 0 for what speaks for the class, below 0 for what speaks against it.
    """
    alone = torch.eye(len(game), dtype=torch.bool, device=game.chosen.device)
    whole = torch.ones_like(alone[:1])
    values = game(torch.cat([whole, ~alone]))
    return values[0] - values[1:]

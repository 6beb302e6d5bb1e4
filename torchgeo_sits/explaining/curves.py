"""Deletion and insertion curves: whether an explanation names what a prediction rests on."""

from typing import NamedTuple

import torch
from torch import Tensor

from .parts import Game

__all__ = ['Curves', 'area', 'ranking_curves']


class Curves(NamedTuple):
    """Probability of the class while parts go, and while they come.

    Attributes:
        shares: ``(S,)``, share of the parts that are gone, or there, from 0 to 1.
        deletion: ``(S,)``, while the most important parts are taken away first.
        insertion: ``(S,)``, while the most important parts are put back first.
    """

    shares: Tensor
    deletion: Tensor
    insertion: Tensor


def ranking_curves(game: Game, importance: Tensor, *, most: int = 16) -> Curves:
    """Curves of a ranking of parts (RISE, Petsiuk et al. 2018, section 4.1).

    See https://arxiv.org/abs/1806.07421. A ranking is good where the first curve falls soon and
    the second rises soon: a small :func:`area` under the one, a large one under the other.

    Args:
        game: Gives the logarithm of the odds for choices of its U parts.
        importance: ``(U,)``, larger for parts to be taken first.
        most: Points of a curve at most, beside its start.

    Returns:
        The curves.

    Raises:
        ValueError: If there is not one importance per part.
    """
    if importance.shape != (len(game),):
        raise ValueError(
            f'expected one importance for each of {len(game)} parts, got {tuple(importance.shape)}'
        )
    u = len(game)
    counts = torch.linspace(0, u, min(u, most) + 1).round().long().to(importance.device)
    rank = importance.argsort(descending=True, stable=True).argsort()
    first = rank < counts[:, None]
    values = game(torch.cat([~first, first])).sigmoid()
    deletion, insertion = values.chunk(2)
    return Curves(counts / u, deletion, insertion)


def area(shares: Tensor, values: Tensor) -> float:
    """Area under a curve by the trapezoidal rule.

    Args:
        shares: ``(S,)``, ascending.
        values: ``(S,)``.
    """
    return float(torch.trapezoid(values.double(), shares.double()))

"""Measures of the health of a batch of embeddings: has it collapsed, and how far?

A falling loss alone proves nothing: a self-supervised model that maps all inputs to one
vector can have a low loss. These four numbers see it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    'Sign',
    'assignment_information',
    'assignment_perplexity',
    'effective_rank',
    'mean_cosine',
    'normalized_std',
    'signs_of_collapse',
]


class Sign(NamedTuple):
    """Sign of collapse: a measure that is out of its healthy range.

    Attributes:
        what: What is wrong, with the number and its limit.
        cause: Likely cause, and what to do.

    Examples:
        >>> from torchgeo_sits.metrics import Sign
        >>> Sign('the embeddings fall together (embedding_std 0)', 'lower `lr`').cause
        'lower `lr`'
    """

    what: str
    cause: str


class _Rule(NamedTuple):
    """Limit of a measure: a number, or a share of the measure at the first step if higher."""

    measure: str
    least: float
    share: float
    what: str
    cause: str


_APART = (
    'the encoder maps all samples to one place: lower `lr`, raise `batch_size`, and see that no '
    'gradient reaches the targets'
)
# The limits lie between what healthy and broken runs of 50 to 80 steps showed, with room on both
# sides: see benchmarks/collapse.py. Shares, because what is usual for an encoder and a data set
# differs more between them than a healthy run changes it.
_RULES = (
    _Rule(
        'projection_std',
        0.02,
        0.5,
        'the projections fall together',
        'the method agrees with itself whatever it sees: see that the prediction head is in '
        'place and that no gradient reaches the targets, and raise `momentum`',
    ),
    _Rule(
        'projection_rank',
        1.5,
        0.15,
        'the projections vary along few directions only',
        'steps are too large, or nothing keeps features apart: lower `lr`, and see that no '
        'gradient reaches the targets',
    ),
    _Rule(
        'prototypes_used',
        4.0,
        0.0,
        'few prototypes take all samples',
        'the centring does not keep up: lower `center_momentum`, raise `teacher_temp`, or use '
        "`centering='sinkhorn'`",
    ),
    _Rule(
        'assignment_information',
        1e-3,
        0.1,
        'all samples share one assignment',
        'the teacher tells samples apart no more: lower `teacher_temp` (sharper targets), raise '
        '`momentum`, and see that no gradient reaches the teacher',
    ),
    _Rule('embedding_std', 0.02, 0.3, 'the embeddings fall together', _APART),
    _Rule('embedding_rank', 1.5, 0.2, 'the embeddings vary along few directions only', _APART),
)
#: Healthy runs of the defaults change their weights by a third of it at most.
_MOST_CHANGE = 0.02


def signs_of_collapse(
    health: Mapping[str, float], first: Mapping[str, float], count: int
) -> list[Sign]:
    """Compare measures of a step with what is healthy, and with the first step of the run.

    Args:
        health: Measures of this step by name: those of :mod:`torchgeo_sits.metrics.health` and
            ``weight_change``, the norm of the step's change of the weights over theirs.
        first: The same of the first step.
        count: Number of embeddings of a step. Few of them have a low rank and few prototypes
            whatever the encoder does.

    Returns:
        The signs, the likeliest cause first: too large steps make all else.

    Examples:
        >>> from torchgeo_sits.metrics import signs_of_collapse
        >>> [sign] = signs_of_collapse({'embedding_std': 0.01}, {'embedding_std': 0.9}, count=16)
        >>> sign.what.partition(',')[0]
        'the embeddings fall together (embedding_std 0.01'
    """
    signs = []
    change = health.get('weight_change', 0.0)
    if change > _MOST_CHANGE:
        signs.append(
            Sign(
                'the weights change too much in each step '
                f'(weight_change {change:.3g}, expected below {_MOST_CHANGE:g})',
                'the learning rate is too high: lower `lr`, or warm up for longer',
            )
        )
    for rule in _RULES:
        if rule.measure not in health or (rule.measure.endswith('_rank') and count <= 4):
            # Two embeddings span one line whatever they are, three at most a plane.
            continue
        limit = max(rule.least, rule.share * first.get(rule.measure, 0.0))
        if rule.measure == 'prototypes_used':
            # Nor can a few samples use many prototypes, nor a small head have them.
            limit = min(limit, max(1.05, min(count, first.get(rule.measure, 0.0)) / 4))
        value = health[rule.measure]
        if value < limit:
            numbers = f'{rule.measure} {value:.3g}, expected above {limit:.3g}'
            if rule.measure in first:
                numbers += f', {first[rule.measure]:.3g} at the first step'
            signs.append(Sign(f'{rule.what} ({numbers})', rule.cause))
    return signs


@torch.no_grad()
def normalized_std(embeddings: Tensor) -> Tensor:
    r"""Standard deviation of the L2-normalised embeddings, relative to a healthy one.

    The mean over dimensions of the standard deviation over the batch, times
    :math:`\sqrt{D}`: 1 for directions drawn from an isotropic Gaussian, 0 when all
    embeddings point the same way (Chen and He, SimSiam, CVPR 2021, section 4.1).

    Args:
        embeddings: ``(B, D)``, B at least 2.

    Returns:
        Scalar in [0, 1], about.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import normalized_std
        >>> normalized_std(torch.ones(8, 16)).item()
        0.0
    """
    z = F.normalize(embeddings.float(), dim=1)
    return z.std(dim=0).mean() * z.shape[1] ** 0.5


@torch.no_grad()
def mean_cosine(embeddings: Tensor) -> Tensor:
    """Mean cosine similarity between different embeddings of a batch.

    Args:
        embeddings: ``(B, D)``, B at least 2.

    Returns:
        Scalar in [-1, 1]; 1 when all point the same way.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import mean_cosine
        >>> mean_cosine(torch.eye(4)).item()
        0.0
    """
    z = F.normalize(embeddings.float(), dim=1)
    count = len(z)
    # The sum over all pairs is the squared norm of the sum; the diagonal is B ones.
    return (z.sum(dim=0).square().sum() - count) / (count * (count - 1))


@torch.no_grad()
def effective_rank(embeddings: Tensor) -> Tensor:
    r"""Effective rank of the centred embeddings.

    :math:`\exp(-\sum_i p_i \log p_i)` with :math:`p_i = \sigma_i / \sum_j \sigma_j` over
    the singular values (Roy and Vetterli, EUSIPCO 2007; RankMe, ICML 2023).

    Args:
        embeddings: ``(B, D)``, B at least 2.

    Returns:
        Scalar in [1, min(B - 1, D)]; 0 when all embeddings are equal.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import effective_rank
        >>> round(effective_rank(torch.eye(5)).item(), 3)
        4.0
    """
    z = embeddings.float()
    singular = torch.linalg.svdvals(z - z.mean(dim=0))
    # Below float32's resolution of the embeddings themselves there is only rounding.
    if singular[0] <= torch.finfo(z.dtype).eps * z.abs().max() * len(z):
        return singular.new_zeros(())
    share = singular / singular.sum()
    return torch.special.entr(share).sum().exp()


@torch.no_grad()
def assignment_perplexity(assignment: Tensor) -> Tensor:
    r"""Number of prototypes that a batch uses: the perplexity of its mean assignment.

    :math:`\exp H(\bar p)` with :math:`\bar p` the mean over the batch. 1 when every sample
    goes to one prototype, K when the prototypes share the batch evenly.

    Args:
        assignment: ``(B, K)`` probabilities, rows sum to 1.

    Returns:
        Scalar in [1, K].

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import assignment_perplexity
        >>> round(assignment_perplexity(torch.eye(4)).item(), 3)
        4.0
    """
    return torch.special.entr(assignment.float().mean(dim=0)).sum().exp()


@torch.no_grad()
def assignment_information(assignment: Tensor) -> Tensor:
    r"""Information of an assignment about its sample, in nats.

    The mean divergence of the assignments from their mean,
    :math:`H(\bar p) - \overline{H(p)}`: 0 when all samples share one assignment, uniform or
    not, :math:`\log K` when each takes a prototype for sure and all are used. The divergence
    whose fall to 0 marks collapse in DINO (section 5.3 and figure 7).

    Args:
        assignment: ``(B, K)`` probabilities, rows sum to 1.

    Returns:
        Scalar in [0, log K].

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import assignment_information
        >>> assignment_information(torch.full((8, 4), 0.25)).item()
        0.0
    """
    p = assignment.float()
    return torch.special.entr(p.mean(dim=0)).sum() - torch.special.entr(p).sum(dim=1).mean()

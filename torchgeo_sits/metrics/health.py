"""Measures of the health of a batch of embeddings: has it collapsed, and how far?

A falling loss alone proves nothing: a self-supervised model that maps all inputs to one
vector can have a low loss. These four numbers see it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    'assignment_information',
    'assignment_perplexity',
    'effective_rank',
    'mean_cosine',
    'normalized_std',
]


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
    """
    return torch.special.entr(assignment.float().mean(dim=0)).sum().exp()


@torch.no_grad()
def assignment_information(assignment: Tensor) -> Tensor:
    r"""What an assignment says about its sample, in nats.

    The mean divergence of the assignments from their mean,
    :math:`H(\bar p) - \overline{H(p)}`: 0 when all samples share one assignment, uniform or
    not, :math:`\log K` when each takes a prototype for sure and all are used. The divergence
    whose fall to 0 marks collapse in DINO (section 5.3 and figure 7).

    Args:
        assignment: ``(B, K)`` probabilities, rows sum to 1.

    Returns:
        Scalar in [0, log K].
    """
    p = assignment.float()
    return torch.special.entr(p.mean(dim=0)).sum() - torch.special.entr(p).sum(dim=1).mean()

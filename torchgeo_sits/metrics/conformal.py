"""Width of prediction intervals, by split conformal prediction."""

import math

import torch
from torch import Tensor

from ..errors import SITSError

__all__ = ['conformal_half_width']


def conformal_half_width(errors: Tensor, coverage: float) -> Tensor:
    """Find how far around a prediction an interval reaches that covers a share of all values.

    Of n errors of places that took no part in training, the one of rank
    ``ceil((n + 1) * coverage)`` (Lei et al. 2018, https://arxiv.org/abs/1604.04173, algorithm 2).
    A new place lies within it with a probability of at least *coverage*, whatever the model and
    the distribution, provided that it and the n places are exchangeable: the probability is one
    over all places and draws of the n, not one of each place.

    Args:
        errors: ``(n,)``, absolute errors, one for each place; NaN where nothing was measured.
        coverage: Share to cover, above 0 and below 1.

    Returns:
        ``()``, in the unit of the errors; NaN where there are fewer than
        ``coverage / (1 - coverage)`` of them, too few to say.

    Raises:
        SITSError: If the coverage is out of its range.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import conformal_half_width
        >>> conformal_half_width(torch.arange(1.0, 20.0), 0.9)
        tensor(18.)
    """
    if not 0 < coverage < 1:
        raise SITSError(f'coverage must be above 0 and below 1, got {coverage}')
    known = errors[errors.isfinite()]
    # Less what a product such as 10 * 0.7 has too much.
    rank = math.ceil((len(known) + 1) * coverage - 1e-9)
    if rank > len(known):
        return errors.new_tensor(torch.nan)
    return known.sort().values[rank - 1]

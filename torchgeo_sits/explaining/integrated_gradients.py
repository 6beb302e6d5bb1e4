"""Integrated gradients: what each value of a series adds to an answer."""

import torch
from torch import Tensor

from .place import Place

__all__ = ['integrated_gradients']


def integrated_gradients(place: Place, *, steps: int = 16) -> Tensor:
    r"""What each clear value of a series adds to the answer for a place.

    .. math:: I_i = x_i \int_0^1 \frac{\partial f(\alpha x)}{\partial x_i} d\alpha,

    with the logarithm of the odds f (Sundararajan et al. 2017, eq. 1,
    https://arxiv.org/abs/1703.01365). The path starts from a series that shows the mean of each
    band, 0 where images are normalised, at all dates and pixels.

    Args:
        place: The place.
        steps: Points at which the integral is taken, in the middle of equal parts.

    Returns:
        ``(T, C, H, W)``, zeros where not clear; sums to ``f(x) - f(0)`` but for the steps.
    """
    image = torch.where(place.clear[:, None], place.image, 0)
    total = torch.zeros_like(image)
    for i in range(steps):
        total += place.gradient(image * ((i + 0.5) / steps))
    return total / steps * image

"""Mean and standard deviation of each band over the clear pixels of a data set."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..keys import IMAGE, MASK_CLEAR

__all__ = ['band_statistics']


def band_statistics(samples: Iterable[dict[str, Any]]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per band over clear pixels.

    Sums are kept in float64 relative to the first sample's mean, so that neither many
    pixels nor a mean far from zero costs digits.

    Args:
        samples: Samples with ``image`` ``(T, C, H, W)`` and ``mask_clear`` ``(T, H, W)``.

    Returns:
        Mean and standard deviation, ``(C,)`` float32. A band that never varies gets 1, so
        that dividing by it is harmless.

    Raises:
        ValueError: If there is not one clear pixel.
    """
    count = 0
    shift = total = square = torch.zeros(())
    for sample in samples:
        pixels = sample[IMAGE].movedim(1, -1)[sample[MASK_CLEAR]].double()
        if not len(pixels):
            continue
        if not count:
            shift = pixels.mean(dim=0)
        pixels = pixels - shift
        count += len(pixels)
        total = total + pixels.sum(dim=0)
        square = square + pixels.square().sum(dim=0)
    if not count:
        raise ValueError(
            'No clear pixel found for the normalisation statistics: check `cloud_paths` and '
            '`clear_values`, or give `mean` and `std`.'
        )
    mean = total / count
    std = (square / count - mean.square()).clamp(min=0).sqrt()
    std = torch.where(std > 1e-6 * (mean + shift).abs().clamp(min=1e-12), std, 1.0)
    return (mean + shift).float(), std.float()

"""Series of many sizes, to trace a model with and to hold what was exported against it."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..models import EncoderCard

__all__ = ['Series', 'example', 'unseen_series']


class Series(NamedTuple):
    """What an exported model takes, by the names that it gives its inputs.

    Attributes:
        image: ``(B, T, C, H, W)`` float32.
        acquisition_times: ``(B, T)`` int64.
        valid: ``(B, T)`` bool.
        mask_clear: ``(B, T, H, W)`` bool.
    """

    image: Tensor
    acquisition_times: Tensor
    valid: Tensor
    mask_clear: Tensor


def example(channels: int, size: tuple[int, int, int, int], *, seed: int = 0) -> Series:
    """A series of noise with clouds, and with padding where there are two samples or more.

    Args:
        channels: Number of bands C.
        size: B, T, H and W.
        seed: Seed of values, dates and clouds.
    """
    b, t, h, w = size
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(b, t, channels, h, w, generator=generator)
    times = torch.randint(1_500_000_000, 1_600_000_000, (b, t), generator=generator).sort(1).values
    valid = torch.ones(b, t, dtype=torch.bool)
    valid[1:, (t + 1) // 2 :] = False
    clear = torch.rand(b, t, h, w, generator=generator) > 0.3
    clear[:, :, 0, 0] = False  # a pixel that no frame saw
    return Series(image, times * valid, valid, clear)


def unseen_series(card: EncoderCard, cell: int) -> Iterator[Series]:
    """Series of other sizes than a model was traced with, in the unit of its training data.

    Args:
        card: The model's card.
        cell: Pixels along the side of a cell of the model's features.
    """
    for seed, (b, t, h, w) in enumerate([(1, 1, 1, 2), (3, 7, 6, 9), (1, 12, 23, 8)], start=1):
        series = example(card['in_channels'], (b, t, cell + h, cell + w), seed=seed)
        if card['mean']:
            mean, std = (torch.tensor(v)[:, None, None] for v in (card['mean'], card['std']))
            series = series._replace(image=series.image * std + mean)
        yield series

"""Walks that the imagery guides: they tend to stay among pixels with a similar series."""

import math

import torch
from torch import Tensor

from ..errors import SITSError
from .random import integers, uniform

__all__ = ['guided_walks', 'step_logits', 'walk_along']


def guided_walks(
    image: Tensor,
    n: int,
    length: int,
    *,
    mask_clear: Tensor | None = None,
    temperature: float = 0.5,
    radius: int = 6,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw walks that step to a similar neighbour more often than to a different one.

    ``p(next = j | now = i) = softmax_j(-d(i, j) / temperature)`` over the 4 neighbours j of
    pixel i, as in the random walker of image segmentation [1]_ (whose weights fall with the
    squared distance). A walk then stays inside a parcel without knowing any parcel.

    Args:
        image: Series or features, ``(B, T, C, H, W)`` floating point.
        n: Walks per sample.
        length: Pixels per walk.
        mask_clear: ``(B, T, H, W)`` bool; only dates clear at both pixels are compared.
        temperature: In units of the mean distance between neighbours of the sample. Plain
            walks are the limit of a high temperature; at a low one a walk keeps to fewer
            pixels, going to and fro between those that are most alike.
        radius: A walk stays within so many rows and columns of its start.
        generator: Source of randomness; torch's default without one.

    Returns:
        ``(B, n, length)`` int64 on the device of *image*.

    Raises:
        SITSError: If a shape or a number is out of range.

    References:
        .. [1] L. Grady, "Random walks for image segmentation", IEEE TPAMI 28(11), 2006, eq. 1.
    """
    logits = step_logits(image, mask_clear=mask_clear, temperature=temperature)
    return walk_along(logits, n, length, radius=radius, generator=generator)


def step_logits(
    image: Tensor, *, mask_clear: Tensor | None = None, temperature: float = 0.5
) -> Tensor:
    """Score the steps to the right, left, down and up of each pixel.

    The distance of two neighbours is the root of the mean squared difference over bands and
    dates that are clear at both, divided by its mean over the sample. Neighbours that share
    no clear date are at the mean distance.

    Args:
        image: ``(B, T, C, H, W)`` floating point.
        mask_clear: ``(B, T, H, W)`` bool.
        temperature: Greater than 0.

    Returns:
        ``(B, 4, H, W)`` float32, ``-inf`` for steps off the grid.

    Raises:
        SITSError: If *image* is not 5-D or *temperature* is not positive.
    """
    if image.ndim != 5 or temperature <= 0:
        raise SITSError(
            f'expected an image (B, T, C, H, W) and temperature > 0, got '
            f'{tuple(image.shape)} and {temperature}'
        )
    image = image.detach().float()
    if mask_clear is None:
        mask_clear = torch.ones_like(image[:, :, 0], dtype=torch.bool)
    image = image.masked_fill(~mask_clear[:, :, None], 0.0)  # NaN would outlive the mask below

    right = _distance(image[..., 1:], image[..., :-1], mask_clear[..., 1:], mask_clear[..., :-1])
    down = _distance(
        image[..., 1:, :], image[..., :-1, :], mask_clear[..., 1:, :], mask_clear[..., :-1, :]
    )
    edges = torch.cat([right.flatten(1), down.flatten(1)], 1)
    mean = edges.nanmean(1)[:, None, None]
    right, down = (torch.where(d.isnan() | (mean == 0), 1.0, d / mean) for d in (right, down))

    logits = image.new_full((len(image), 4, *image.shape[-2:]), -math.inf)
    logits[:, 0, :, :-1] = logits[:, 1, :, 1:] = -right / temperature
    logits[:, 2, :-1] = logits[:, 3, 1:] = -down / temperature
    return logits


def walk_along(
    logits: Tensor,
    n: int,
    length: int,
    *,
    radius: int = 6,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw walks from the scores of :func:`step_logits`, all steps at once.

    Each walk draws, for each of its steps, where it would go from every pixel within
    *radius* of its start: a random map of that window onto itself. The walk is the orbit of
    its start under these maps. Maps are composed in pairs, pairs of pairs and so on, and the
    orbit is read off from the longest composition to the shortest, so ``2 log2(length)``
    gathers replace a loop over steps. Every walk follows exactly the law of the scores,
    restricted to its window, and walks are independent of each other.

    Memory is ``8 n (2 radius + 1)^2 length`` bytes per sample, about twice over.

    Args:
        logits: ``(B, 4, H, W)``, right, left, down, up; ``-inf`` where there is no step.
        n: Walks per sample.
        length: Pixels per walk.
        radius: Half the side of the window, in pixels.
        generator: Source of randomness; torch's default without one.

    Returns:
        ``(B, n, length)`` int64.

    Raises:
        SITSError: If a number is out of range.
    """
    if n < 1 or length < 1 or radius < 1:
        raise SITSError(
            f'expected n, length and radius >= 1, got n={n}, length={length}, radius={radius}'
        )
    batch, _, h, w = logits.shape
    device = logits.device
    high, wide = min(2 * radius + 1, h), min(2 * radius + 1, w)
    start_row = integers(h, (batch, n, 1), generator=generator, device=device)
    start_column = integers(w, (batch, n, 1), generator=generator, device=device)
    if high * wide == 1:
        return (start_row * w + start_column).expand(-1, -1, length).contiguous()

    # The window of a walk, moved inside the grid where its start lies near the border.
    top, left = (start_row - radius).clamp(0, h - high), (start_column - radius).clamp(0, w - wide)
    here = torch.arange(high * wide, device=device)
    row, column = here // wide, here % wide
    to_grid = (top + row) * w + left + column

    rim = torch.stack([column == wide - 1, column == 0, row == high - 1, row == 0])
    local = logits.flatten(2)[:, :, None].expand(-1, -1, n, -1)
    local = local.gather(3, to_grid[:, None].expand(-1, 4, -1, -1))
    bounds = local.masked_fill(rim[:, None], -math.inf).softmax(1).cumsum(1)
    bounds = bounds / bounds[:, 3:]  # exactly one from the last possible step on

    doublings = max(1, math.ceil(math.log2(length)))
    drawn = uniform((batch, n, 2**doublings, len(here)), generator=generator, device=device)
    step = sum((drawn >= bounds[:, i, :, None]).long() for i in range(3))
    offsets = torch.tensor([1, -1, wide, -wide], device=device)
    maps = [here + offsets[step]]
    for _ in range(doublings - 1):
        maps.append(maps[-1][:, :, 1::2].gather(3, maps[-1][:, :, 0::2]))

    orbit = (start_row - top) * wide + start_column - left
    for composed in reversed(maps):
        halfway = composed[:, :, 0::2].gather(3, orbit[..., None])
        orbit = torch.cat([orbit[..., None], halfway], 3).flatten(2)
    return to_grid.gather(2, orbit[..., :length])


def _distance(a: Tensor, b: Tensor, clear_a: Tensor, clear_b: Tensor) -> Tensor:
    """Root mean squared difference ``(B, H, W)`` over what is clear in both, else NaN."""
    both = clear_a & clear_b
    squares = (a - b).square_().mean(2).masked_fill_(~both, 0.0)
    return (squares.sum(1) / both.sum(1)).sqrt()

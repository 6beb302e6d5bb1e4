"""Pairs of tokens that see the same pixel in two views."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models import PlaneFeatures
from ..transforms import PATHS, SIZE

__all__ = ['Pairs', 'match_pixels', 'token_pixels']


class Pairs(NamedTuple):
    """Vectors of two views that stand for the same thing.

    Attributes:
        ours: ``(B, K, D)``.
        theirs: ``(B, K, D)``, of the other view.
        found: ``(B, K)`` bool, False where a sample has fewer than K pairs. The number is
            fixed, so that processes can exchange pairs and no step waits for a count.
    """

    ours: Tensor
    theirs: Tensor
    found: Tensor


def token_pixels(features: PlaneFeatures, view: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Pixels that each token of a view sees.

    Args:
        features: Features of the view, late ``(B, N, S, D)``.
        view: The view, with its paths ``(B, N, L)``.

    Returns:
        index: ``(B, N * S, p)`` int64, flat indices of p pixels.
        real: ``(B, N * S, p)`` bool, False where the encoder filled the last segment up, and
            in tokens that saw no clear pixel.

    Raises:
        ValueError: If the tokens are not segments of the paths.
    """
    paths = view[PATHS]
    batch, lines, length = paths.shape
    tokens = features.late.shape[2]
    if features.late.shape[:2] != (batch, lines):
        raise ValueError(
            f'expected one row of tokens for each of {lines} paths, got '
            f'{tuple(features.late.shape[:3])}: pixel_weight and object_weight need an encoder '
            'that keeps paths apart; set both to 0'
        )
    segment = -(-length // tokens)
    # What fills the last segment up lies on no pixel.
    pixels = F.pad(paths, (0, tokens * segment - length), value=-1)
    pixels = pixels.reshape(batch, lines * tokens, segment)
    return pixels.clamp(min=0), (pixels >= 0) & features.seen.reshape(batch, -1, 1)


def match_pixels(
    ours: PlaneFeatures,
    theirs: PlaneFeatures,
    view: dict[str, Any],
    other: dict[str, Any],
    number: int,
) -> Pairs:
    """Match tokens of one view to those of another that see the same pixels.

    Paths are index maps, so the match is exact. Where paths of the other view cross, the mean
    of its tokens stands for the pixel; a token of several pixels is matched by those of them
    that the other view covers. Tokens that begin at one pixel make one pair, of their mean, and
    those that saw nothing are left out.

    Args:
        ours: Features of B samples in one view, late ``(B, N, S, D)``.
        theirs: Features of the same samples in the other view.
        view: The view, with its paths ``(B, N, L)``.
        other: The other view, on the same grid.
        number: Pairs K per sample; where there are more, they are drawn at random.

    Returns:
        The pairs.

    Raises:
        ValueError: If the tokens are not segments of the paths.
    """
    index, real = token_pixels(ours, view)
    there, known = token_pixels(theirs, other)
    cells = view[SIZE][0] * view[SIZE][1]
    batch = len(index)

    # How often the other view sees each pixel.
    count = torch.zeros(batch, cells, device=index.device)
    count.scatter_add_(1, there.flatten(1), known.flatten(1).float())
    met = (count.gather(1, index.flatten(1)).view_as(index) > 0) & real
    matched = met.any(-1)
    order = torch.rand(matched.shape, device=index.device).masked_fill(~matched, -1.0)
    # Paths meet, and walks come back: tokens that begin at one pixel make one pair, or contrast
    # would tell a pixel from itself. One of them is drawn for it, and their mean taken.
    begin = index[..., 0]
    best = order.new_full((batch, cells), -1.0)
    best = best.scatter_reduce_(1, begin, order, 'amax').gather(1, begin)
    twins, matched = matched, matched & (order == best)
    order = order.masked_fill(~matched, -1.0)
    chosen = order.topk(min(number, matched.shape[1]), dim=1).indices
    rows = torch.arange(batch, device=index.device)[:, None]
    found, pixels, met = matched[rows, chosen], index[rows, chosen], met[rows, chosen]

    # Weight of each of their tokens in each of our pairs, (B, K, N * S).
    weights = index.new_zeros(*chosen.shape, there.shape[1], dtype=torch.float32)
    for ours_at in range(pixels.shape[-1]):
        pixel = pixels[..., ours_at]
        share = met[..., ours_at] / count.gather(1, pixel).clamp(min=1)
        for theirs_at in range(there.shape[-1]):
            same = (pixel[:, :, None] == there[:, None, :, theirs_at]) & known[
                :, None, :, theirs_at
            ]
            weights += same * share[..., None]
    weights = weights / met.sum(-1).clamp(min=1)[..., None]
    same = (begin[rows, chosen][..., None] == begin[:, None]) & twins[:, None]
    mean = same / same.sum(-1, keepdim=True).clamp(min=1)
    mine, late = ours.late.flatten(1, 2), theirs.late.flatten(1, 2)
    return Pairs(mean.to(mine.dtype) @ mine, weights.to(late.dtype) @ late, found)

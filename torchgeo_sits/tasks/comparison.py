"""Pairs of vectors of two views that stand for the same place, object or pixel."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import IMAGE
from ..models import PlaneFeatures
from ..transforms import PATHS, SIZE, count_superpixels, superpixels
from .distributed import gather_batch

__all__ = [
    'LEVELS',
    'Level',
    'Objects',
    'Pairs',
    'draw_objects',
    'level_pairs',
    'match_objects',
    'match_pixels',
    'pool_objects',
]


#: Granularities at which views are compared, after SkySense (Guo et al., CVPR 2024,
#: https://arxiv.org/abs/2312.10115, section 3.2).
Level = Literal['image', 'object', 'pixel']
LEVELS: tuple[Level, ...] = ('image', 'object', 'pixel')


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


class Objects(NamedTuple):
    """Superpixels of the places of a batch.

    Attributes:
        ids: ``(B, H, W)`` int64, the object of each pixel, from 0 to *number* - 1.
        number: Number of objects of a place.
    """

    ids: Tensor
    number: int


def level_pairs(
    level: Level,
    ours: PlaneFeatures,
    theirs: PlaneFeatures,
    view: dict[str, Any],
    other: dict[str, Any],
    *,
    objects: Objects | None = None,
    pixels: int = 64,
) -> tuple[Tensor, Tensor]:
    """Match two views at one level.

    Args:
        level: What is compared.
        ours: Features of B samples in one view.
        theirs: Features of the same samples in the other view.
        view: The view.
        other: The other view.
        objects: Objects of the B samples, for the level of objects.
        pixels: Largest number of pixels of a sample, for the level of pixels.

    Returns:
        Two tensors ``(P, D)``, of all processes together.
    """
    if level == 'image':
        return gather_batch(ours.embed), gather_batch(theirs.embed)
    if level == 'pixel':
        pairs = match_pixels(ours, theirs, view, other, pixels)
    else:
        assert objects is not None
        pairs = match_objects(ours, theirs, view, other, *objects)
    whole = Pairs(*map(gather_batch, pairs))
    return whole.ours[whole.found], whole.theirs[whole.found]


def draw_objects(batch: dict[str, Any], size: int) -> Objects:
    """Find superpixels of about *size* x *size* pixels in the series of a batch.

    Args:
        batch: A batch, see :mod:`torchgeo_sits.keys`.
        size: Side of a superpixel in pixels, about.
    """
    number = count_superpixels(*batch[IMAGE].shape[-2:], size=size)
    return Objects(superpixels(batch, size=size), number)


def _token_pixels(features: PlaneFeatures, view: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Pixels that each token of a view sees.

    Args:
        features: Features of the view, late ``(B, N, S, D)``.
        view: The view, with its paths ``(B, N, L)``.

    Returns:
        index: ``(B, N * S, p)`` int64, flat indices of p pixels.
        real: ``(B, N * S, p)`` bool, False where the encoder filled the last segment up, and
            in tokens that saw no clear pixel.

    Raises:
        SITSError: If the tokens are not segments of the paths.
    """
    paths = view[PATHS]
    batch, lines, length = paths.shape
    tokens = features.late.shape[2]
    if features.late.shape[:2] != (batch, lines):
        raise SITSError(
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
        SITSError: If the tokens are not segments of the paths.
    """
    index, real = _token_pixels(ours, view)
    there, known = _token_pixels(theirs, other)
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


def match_objects(
    ours: PlaneFeatures,
    theirs: PlaneFeatures,
    view: dict[str, Any],
    other: dict[str, Any],
    objects: Tensor,
    number: int,
) -> Pairs:
    """Match the mean token of an object in one view to that in another.

    Args:
        ours: Features of B samples in one view, late ``(B, N, S, D)``.
        theirs: Features of the same samples in the other view.
        view: The view, with its paths ``(B, N, L)``.
        other: The other view, on the same grid.
        objects: ``(B, H, W)`` int64, the object of each pixel, from 0 to *number* - 1.
        number: Number of objects K.

    Returns:
        The pairs, one for each object.

    Raises:
        SITSError: If the tokens are not segments of the paths.
    """
    (first, a), (second, b) = (
        pool_objects(features, at, objects, number)
        for features, at in ((ours, view), (theirs, other))
    )
    return Pairs(first, second, a & b)


def pool_objects(
    features: PlaneFeatures, view: dict[str, Any], objects: Tensor, number: int
) -> tuple[Tensor, Tensor]:
    """Pool the late tokens of each object in a view.

    Args:
        features: Features of B samples in the view, late ``(B, N, S, D)``.
        view: The view, with its paths ``(B, N, L)``.
        objects: ``(B, H, W)`` int64, the object of each pixel, from 0 to *number* - 1.
        number: Number of objects K.

    Returns:
        Mean late token ``(B, K, D)`` of each object, and whether it was seen ``(B, K)``.

    Raises:
        SITSError: If the tokens are not segments of the paths.
    """
    index, real = _token_pixels(features, view)
    owner = objects.flatten(1).gather(1, index.flatten(1)).view_as(index)
    # A token of several pixels counts for each object by its share of them.
    # Not one_hot, which looks at the values, and waits for them.
    numbers = torch.arange(number, device=owner.device)
    share = (owner[..., None] == numbers).long() * real[..., None]
    share = share.sum(-2).transpose(1, 2).to(features.late.dtype)
    total = share.sum(-1, keepdim=True)
    return share @ features.late.flatten(1, 2) / total.clamp(min=1), total[..., 0] > 0

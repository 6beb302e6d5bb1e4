"""Paths through an ``H x W`` grid: ordered lists of pixels, as flat indices.

A path is what a plane is cut along. Each builder returns int64 indices ``row * w + column``,
``(N, L)`` for N paths of L pixels. Rows, columns and curves are pure functions of the size; random
walks draw from a generator; guided walks also follow the imagery. The examples print the turn in
which a path comes to each pixel of the grid.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from ..errors import SITSError
from .random import integers, uniform

__all__ = [
    'column_snake',
    'columns',
    'guided_walks',
    'hilbert',
    'random_walks',
    'rows',
    'snake',
    'spiral',
    'step_logits',
    'walk_along',
]


def rows(h: int, w: int) -> Tensor:
    """Build a path along every row, from left to right.

    Args:
        h: Rows of the grid.
        w: Columns of the grid.

    Returns:
        ``(h, w)`` int64.

    Raises:
        SITSError: If the grid is empty.

    Examples:
        >>> from torchgeo_sits.transforms import rows
        >>> rows(2, 3)
        tensor([[0, 1, 2],
                [3, 4, 5]])
    """
    _check_size(h, w)
    return torch.arange(h * w).view(h, w)


def columns(h: int, w: int) -> Tensor:
    """Build a path along every column, from top to bottom.

    Args:
        h: Rows of the grid.
        w: Columns of the grid.

    Returns:
        ``(w, h)`` int64.

    Raises:
        SITSError: If the grid is empty.

    Examples:
        >>> from torchgeo_sits.transforms import columns
        >>> columns(2, 3)
        tensor([[0, 3],
                [1, 4],
                [2, 5]])
    """
    return rows(h, w).T.contiguous()


def snake(h: int, w: int) -> Tensor:
    """Build one path along all rows that turns at their ends.

    Steps lead to a neighbour, always. Pixels next to each other in a column lie up to
    ``2 * w - 1`` steps apart.

    Args:
        h: Rows of the grid.
        w: Columns of the grid.

    Returns:
        ``(1, h * w)`` int64.

    Raises:
        SITSError: If the grid is empty.

    Examples:
        >>> from torchgeo_sits.transforms import snake
        >>> snake(3, 4).argsort().view(3, 4)
        tensor([[ 0,  1,  2,  3],
                [ 7,  6,  5,  4],
                [ 8,  9, 10, 11]])
    """
    path = rows(h, w).clone()
    path[1::2] = path[1::2].flip(1)
    return path.view(1, -1)


def column_snake(h: int, w: int) -> Tensor:
    """Build one path along all columns that turns at their ends.

    Args:
        h: Rows of the grid.
        w: Columns of the grid.

    Returns:
        ``(1, h * w)`` int64.

    Raises:
        SITSError: If the grid is empty.

    Examples:
        >>> from torchgeo_sits.transforms import column_snake
        >>> column_snake(3, 4).argsort().view(3, 4)
        tensor([[ 0,  5,  6, 11],
                [ 1,  4,  7, 10],
                [ 2,  3,  8,  9]])
    """
    return columns(h, w).flatten()[snake(w, h)]


def spiral(h: int, w: int) -> Tensor:
    """Build one path from the upper left corner, clockwise along the rim and inwards.

    Steps lead to a neighbour, always.

    Args:
        h: Rows of the grid.
        w: Columns of the grid.

    Returns:
        ``(1, h * w)`` int64.

    Raises:
        SITSError: If the grid is empty.

    Examples:
        >>> from torchgeo_sits.transforms import spiral
        >>> spiral(3, 4).argsort().view(3, 4)
        tensor([[ 0,  1,  2,  3],
                [ 9, 10, 11,  4],
                [ 8,  7,  6,  5]])
    """
    flat = rows(h, w)
    i, j = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
    ring = torch.stack([i, j, h - 1 - i, w - 1 - j]).amin(0)
    high, wide = h - 2 * ring, w - 2 * ring  # size of what is left inside, this ring included
    y, x = i - ring, j - ring
    upper_right = (y == 0) | (x == wide - 1)
    step = torch.where(upper_right, x + y, 2 * (wide + high - 2) - x - y)
    path = torch.empty(h * w, dtype=torch.int64)
    path[(h * w - high * wide + step).flatten()] = flat.flatten()
    return path[None]


def hilbert(h: int, w: int) -> Tensor:
    """Build one path that fills the grid and stays local at every scale.

    The Hilbert curve [1]_ generalised to any size: a block is cut in two along its longer
    side, or in the three strokes up, across and down, until lines are left. For
    ``h = w = 2^k`` it is a Hilbert curve.

    Steps lead to a neighbour for *every* size. A path that fills the grid from one corner to
    the other end of the same side cannot do so when that side is odd and the other is even
    (colour the pixels as a chess board: the path must begin and end on different colours).
    Where the longer side is odd and the shorter even, the last line across the longer side
    is therefore left out of the curve and appended to it: the path then ends in the corner
    that lies diagonally across from its start.

    Args:
        h: Rows of the grid.
        w: Columns of the grid.

    Returns:
        ``(1, h * w)`` int64.

    Raises:
        SITSError: If the grid is empty.

    Examples:
        >>> from torchgeo_sits.transforms import hilbert
        >>> hilbert(4, 4).argsort().view(4, 4)
        tensor([[ 0,  1, 14, 15],
                [ 3,  2, 13, 12],
                [ 4,  7,  8, 11],
                [ 5,  6,  9, 10]])
        >>> hilbert(4, 4).view(-1, 8).shape  # two paths of 8 pixels
        torch.Size([2, 8])

    References:
        .. [1] D. Hilbert, "Über die stetige Abbildung einer Linie auf ein Flächenstück",
           Mathematische Annalen 38, 1891.
    """
    _check_size(h, w)
    along, across = max(h, w), min(h, w)
    if along % 2 and not across % 2:
        line = torch.arange(across)
        tail = torch.stack([torch.full_like(line, along - 1), line], 1)
        steps = torch.cat([_hilbert_block(along - 1, across), tail])
    else:
        steps = _hilbert_block(along, across)
    u, v = steps.unbind(1)
    return (u * w + v if h > w else v * w + u)[None]


@lru_cache(maxsize=512)  # blocks repeat within one curve: two or four shapes per scale
def _hilbert_block(along: int, across: int) -> Tensor:
    """Fill a block from its corner ``(0, 0)`` to ``(along - 1, 0)``: ``(along * across, 2)``.

    Needs ``along`` even, or both odd; and ``along > 1`` unless ``across == 1``. Every cut
    below hands on blocks for which the same holds.
    """
    if across == 1:
        line = torch.arange(along)
        return torch.stack([line, torch.zeros_like(line)], 1)

    if 2 * along > 3 * across:
        first = along // 2
        if first % 2:
            first += 1  # an even first half leaves a second half as odd or even as the whole
        head, tail = _hilbert_block(first, across), _hilbert_block(along - first, across)
        return torch.cat([head, tail + torch.tensor([first, 0])])

    # Up, across and down. An even number of steps up and down suits any width of the two.
    up = 1 if across == 2 else max(2, across // 4 * 2)
    left = along // 2
    rise = _hilbert_block(up, left).flip(1)
    middle = _hilbert_block(along, across - up) + torch.tensor([0, up])
    fall = torch.tensor([along - 1, up - 1]) - _hilbert_block(up, along - left).flip(1)
    return torch.cat([rise, middle, fall])


def random_walks(
    h: int,
    w: int,
    n: int,
    length: int,
    *,
    batch: int | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw walks from random pixels, each step to one of the 4 neighbours.

    A step goes along the rows or the columns, either way, each with probability 1/4; at the
    border it is reflected, so that every step moves. Walks may cross themselves and each
    other, and may be longer than the grid has pixels. On a grid of one pixel they stay.

    Args:
        h: Rows of the grid.
        w: Columns of the grid.
        n: Number of walks.
        length: Pixels per walk.
        batch: Number of samples to draw walks for; None for one set without a batch axis.
        generator: Source of randomness; torch's default without one.
        device: Where the indices are wanted; the generator's device by default.

    Returns:
        ``(n, length)``, or ``(batch, n, length)``, int64.

    Raises:
        SITSError: If a size is less than one.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import random_walks
        >>> walk = random_walks(5, 5, 1, 8, generator=torch.Generator().manual_seed(0))
        >>> [divmod(pixel, 5) for pixel in walk[0, :4].tolist()]  # row and column
        [(2, 3), (2, 2), (3, 2), (4, 2)]
    """
    _check_size(h, w)
    if n < 1 or length < 1:
        raise SITSError(f'expected n >= 1 walks of length >= 1, got n={n}, length={length}')
    lead = (n,) if batch is None else (batch, n)
    turn = integers(4, (*lead, length), generator=generator, device=device)
    row = integers(h, (*lead, 1), generator=generator, device=device)
    column = integers(w, (*lead, 1), generator=generator, device=device)

    sign = 1 - 2 * (turn % 2)
    vertical = turn < 2
    if h == 1 or w == 1:  # one way only, or every other step would stand still
        vertical = torch.full_like(vertical, h > 1)
    sign[..., 0] = 0  # the first pixel is the start
    down = (sign * vertical).cumsum(-1)
    right = (sign * ~vertical).cumsum(-1)
    return _reflect(row + down, h) * w + _reflect(column + right, w)


def _reflect(position: Tensor, size: int) -> Tensor:
    """Fold positions on a line back into ``0, ..., size - 1``, without repeating the ends."""
    if size == 1:
        return torch.zeros_like(position)
    folded = position % (2 * size - 2)  # the sign of the divisor: never negative
    return torch.minimum(folded, 2 * size - 2 - folded)


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

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import guided_walks
        >>> image = torch.zeros(1, 6, 2, 16, 16)
        >>> image[..., 8:] = 1  # two parcels, side by side
        >>> walks = guided_walks(image, 50, 12, temperature=0.01)
        >>> left = walks % 16 < 8
        >>> bool((left == left[..., :1]).all())  # no walk leaves its parcel
        True

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

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms.paths import step_logits
        >>> step_logits(torch.rand(1, 6, 2, 8, 8))[0, :, 0, 0].isinf()  # left, up: off the grid
        tensor([False,  True, False,  True])
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
    *radius* of its start: a random map of that square onto itself. The walk is the orbit of
    its start under these maps. Maps are composed in pairs, pairs of pairs and so on, and the
    orbit is read off from the longest composition to the shortest, so ``2 log2(length)``
    gathers replace a loop over steps. Every walk follows exactly the law of the scores,
    restricted to its square, and walks are independent of each other.

    Memory is ``8 n (2 radius + 1)^2 length`` bytes per sample, about twice over.

    Args:
        logits: ``(B, 4, H, W)``, right, left, down, up; ``-inf`` where there is no step.
        n: Walks per sample.
        length: Pixels per walk.
        radius: Rows and columns that a walk may go from its start.
        generator: Source of randomness; torch's default without one.

    Returns:
        ``(B, n, length)`` int64.

    Raises:
        SITSError: If a number is out of range.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms.paths import step_logits, walk_along
        >>> logits = step_logits(torch.rand(2, 6, 2, 8, 8))
        >>> walk_along(logits, 5, 20).shape
        torch.Size([2, 5, 20])
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

    # The square of a walk, moved inside the grid where its start lies near the border.
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


def _check_size(h: int, w: int) -> None:
    """Raise SITSError unless both sides are at least one."""
    if h < 1 or w < 1:
        raise SITSError(f'expected a grid of at least 1 x 1 pixels, got h={h}, w={w}')

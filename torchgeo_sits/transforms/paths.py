"""Paths through an ``H x W`` grid: ordered lists of pixels, as flat indices.

A path is what a plane is cut along. Builders are pure functions of the size (and of a generator,
where they draw); each returns int64 indices ``row * w + column``, ``(N, L)`` for N paths of L
pixels. Walks that follow the imagery stand in :mod:`~torchgeo_sits.transforms.guided`.
"""

from functools import lru_cache

import torch
from torch import Tensor

from ..errors import SITSError
from .random import integers

__all__ = [
    'column_snake',
    'columns',
    'hilbert',
    'random_walks',
    'rows',
    'snake',
    'spiral',
    'windows',
]


def rows(h: int, w: int) -> Tensor:
    """Every row, from left to right: ``(h, w)``."""
    _check_size(h, w)
    return torch.arange(h * w).view(h, w)


def columns(h: int, w: int) -> Tensor:
    """Every column, from top to bottom: ``(w, h)``."""
    return rows(h, w).T.contiguous()


def snake(h: int, w: int) -> Tensor:
    """All rows as one path that turns at their ends: ``(1, h * w)``.

    Steps lead to a neighbour, always. Pixels next to each other in a column lie up to
    ``2 * w - 1`` steps apart.
    """
    path = rows(h, w).clone()
    path[1::2] = path[1::2].flip(1)
    return path.view(1, -1)


def column_snake(h: int, w: int) -> Tensor:
    """All columns as one path that turns at their ends: ``(1, h * w)``."""
    return columns(h, w).flatten()[snake(w, h)]


def spiral(h: int, w: int) -> Tensor:
    """One path from the upper left corner, clockwise along the rim and inwards: ``(1, h * w)``.

    Steps lead to a neighbour, always.
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
    """One path that fills the grid and stays local at every scale: ``(1, h * w)``.

    The Hilbert curve [1]_ generalised to any size: a block is cut in two along its longer
    side, or in the three strokes up, across and down, until lines are left. For
    ``h = w = 2^k`` it is a Hilbert curve.

    Steps lead to a neighbour for *every* size. A path that fills the grid from one corner to
    the other end of the same side cannot do so when that side is odd and the other is even
    (colour the pixels as a chess board: the path must begin and end on different colours).
    Where the longer side is odd and the shorter even, the last line across the longer side
    is therefore left out of the curve and appended to it: the path then ends in the corner
    that lies diagonally across from its start.

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
    """Walks from random pixels, each step to one of the 4 neighbours.

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


def windows(paths: Tensor, length: int, *, stride: int | None = None, offset: int = 0) -> Tensor:
    """Cut long paths into pieces of one length.

    Args:
        paths: ``(N, P)`` int64.
        length: Pixels per piece, at most ``P - offset``.
        stride: Pixels from the start of a piece to that of the next; *length* by default,
            so that pieces do not overlap. What is left over at the end is not used.
        offset: Pixels left out at the start of each path.

    Returns:
        ``(N * M, length)`` with ``M = (P - offset - length) // stride + 1``.

    Raises:
        SITSError: If *length*, *stride* or *offset* do not fit the paths.
    """
    stride = length if stride is None else stride
    if paths.ndim != 2 or length < 1 or stride < 1 or not 0 <= offset <= paths.shape[-1] - length:
        raise SITSError(
            f'expected paths (N, P), 1 <= length <= P - offset, stride >= 1 and offset >= 0, got '
            f'paths {tuple(paths.shape)}, length={length}, stride={stride}, offset={offset}'
        )
    return paths[:, offset:].unfold(1, length, stride).flatten(0, 1)


def _check_size(h: int, w: int) -> None:
    """Raise SITSError unless both sides are at least one."""
    if h < 1 or w < 1:
        raise SITSError(f'expected a grid of at least 1 x 1 pixels, got h={h}, w={w}')

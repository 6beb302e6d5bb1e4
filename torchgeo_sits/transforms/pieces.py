"""Pieces of paths for views: N paths of L pixels per sample, of any kind, in a square region."""

from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

from ..keys import IMAGE
from .dates import observed
from .draws import integers, uniform
from .guided import guided_walks
from .paths import (
    column_snake,
    columns,
    hilbert,
    random_walks,
    rows,
    snake,
    spiral,
    windows,
)
from .planar import masks_to_planes, to_planes

__all__ = ['MIXED', 'Kind', 'Region', 'check_kind', 'draw_paths', 'draw_region']

#: What a path can be; 'mixed' draws one of :data:`MIXED` for each sample.
Kind = Literal['mixed', 'rows', 'columns', 'snake', 'hilbert', 'spiral', 'walk', 'guided']
#: The kinds that 'mixed' draws from.
MIXED: Final = tuple(kind for kind in get_args(Kind) if kind != 'mixed')

#: Size ``(h, w)`` of a region, and the row and column of its corner per sample, ``(B, 2)``.
Region = tuple[int, int, Tensor]


def check_kind(kind: str) -> None:
    """Raise ValueError unless *kind* is one of :data:`Kind`."""
    if kind not in get_args(Kind):
        raise ValueError(f'expected kind to be one of {get_args(Kind)}, got {kind!r}')


def draw_region(
    batch: dict[str, Any], side: int, *, generator: torch.Generator | None = None
) -> Region:
    """Draw where in each sample paths may run: a square, or what of it fits the image.

    Views whose paths run in the same small region meet in some pixels.

    Args:
        batch: ``image`` ``(B, T, C, H, W)``.
        side: Side of the square in pixels.
        generator: Source of randomness; torch's default without one.

    Returns:
        Size of the region and its corners.
    """
    image = batch[IMAGE]
    height, width = image.shape[-2:]
    high, wide = min(side, height), min(side, width)
    corner = [
        integers(room, (len(image),), generator=generator, device=image.device)
        for room in (height - high + 1, width - wide + 1)
    ]
    return high, wide, torch.stack(corner, 1)


def draw_paths(
    batch: dict[str, Any],
    kind: Kind,
    n: int,
    length: int,
    *,
    region: Region,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw pieces of paths of one kind, or of a random kind per sample.

    Rows and columns shorter than *length* go on in the next one, in the way of a snake.

    Args:
        batch: ``image`` ``(B, T, C, H, W)``; guided walks also look at ``mask_clear``.
        kind: What paths to draw.
        n: Paths per sample.
        length: Pixels per path.
        region: Where they may run, from :func:`draw_region`.
        generator: Source of randomness; torch's default without one.

    Returns:
        ``(B, n, length)`` int64 indices of the whole ``H x W`` grid.

    Raises:
        ValueError: If a curve of the region has fewer pixels than *length*.
    """
    image = batch[IMAGE]
    high, wide, _ = region
    if kind == 'mixed':
        drawn = integers(len(MIXED), (len(image), 1, 1), generator=generator, device=image.device)
        paths = drawn.new_zeros(len(image), n, length)
        for i, one in enumerate(MIXED):
            piece = draw_paths(batch, one, n, length, region=region, generator=generator)
            paths = torch.where(drawn == i, piece, paths)
        return paths

    if kind == 'walk':
        local = random_walks(
            high, wide, n, length, batch=len(image), generator=generator, device=image.device
        )
    elif kind == 'guided':
        block = _to_grid(rows(high, wide).to(image.device)[None], region, image.shape[-1])
        local = guided_walks(
            to_planes(image, block).permute(0, 3, 2, 1, 4),
            n,
            length,
            mask_clear=masks_to_planes(observed(batch)[1], block).transpose(1, 2),
            generator=generator,
        )
    else:
        curve = _curve(kind, high, wide, length).to(image.device)
        local = _pieces(curve, len(image), n, length, generator)
    return _to_grid(local, region, image.shape[-1])


def _curve(kind: Kind, high: int, wide: int, length: int) -> Tensor:
    """Give the curve of *kind* that fills the region, ``(M, P)`` with ``P >= length``."""
    if high * wide < length:
        raise ValueError(
            f'paths of {length} pixels do not fit {high} x {wide} pixels; ask for shorter '
            "ones, or for kind='walk', which may visit pixels again"
        )
    if kind == 'rows':
        return rows(high, wide) if wide >= length else snake(high, wide)
    if kind == 'columns':
        return columns(high, wide) if high >= length else column_snake(high, wide)
    return {'snake': snake, 'hilbert': hilbert, 'spiral': spiral}[kind](high, wide)


def _pieces(
    curve: Tensor, batch: int, n: int, length: int, generator: torch.Generator | None
) -> Tensor:
    """Cut *n* random pieces per sample out of a curve, none twice while there are enough.

    The cuts lie at a random offset, that of the sample.
    """
    pixels = curve.shape[1]
    each = max(1, pixels // length - 1)  # leaves room to move the cuts by a whole piece
    offset = integers(
        pixels - each * length + 1, (batch, 1, 1), generator=generator, device=curve.device
    )
    starts = windows(torch.arange(curve.numel(), device=curve.device).view_as(curve), length)
    starts = starts[:, 0].view(len(curve), -1)[:, :each].flatten()
    order = uniform((batch, len(starts)), generator=generator, device=curve.device).argsort(1)
    pick = order[:, torch.arange(n, device=curve.device) % len(starts)]
    steps = torch.arange(length, device=curve.device)
    return curve.flatten()[starts[pick][..., None] + offset + steps]


def _to_grid(local: Tensor, region: Region, width: int) -> Tensor:
    """Turn indices ``(B or 1, N, L)`` of a region into ``(B, N, L)`` of the whole grid."""
    _, wide, corner = region
    shift = corner[:, 0] * width + corner[:, 1]
    return local // wide * width + local % wide + shift[:, None, None]

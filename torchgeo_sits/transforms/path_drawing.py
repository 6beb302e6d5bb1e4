"""Pieces of paths for views: N paths of L pixels per sample, of any kind, in a square region."""

from functools import cached_property
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

from ..errors import SITSError
from ..keys import IMAGE
from .dates import observed
from .guided import step_logits, walk_along
from .paths import column_snake, columns, hilbert, random_walks, rows, snake, spiral, windows
from .planar import masks_to_planes, to_planes
from .random import integers, uniform

__all__ = ['MIXED', 'Kind', 'Region', 'check_kind', 'draw_paths']

#: What a path can be; 'mixed' draws one of :data:`MIXED` for each sample.
Kind = Literal['mixed', 'rows', 'columns', 'snake', 'hilbert', 'spiral', 'walk', 'guided']
#: The kinds that 'mixed' draws from.
MIXED: Final = tuple(kind for kind in get_args(Kind) if kind != 'mixed')


def check_kind(kind: str) -> None:
    """Raise SITSError unless *kind* is one of :data:`Kind`."""
    if kind not in get_args(Kind):
        raise SITSError(f'expected kind to be one of {get_args(Kind)}, got {kind!r}')


class Region:
    """A random square in each sample, or what of it fits the image: where paths may run.

    Views whose paths run in the same small region meet in some pixels.
    """

    def __init__(
        self, batch: dict[str, Any], side: int, *, generator: torch.Generator | None = None
    ) -> None:
        """Draw a region.

        Args:
            batch: ``image`` ``(B, T, C, H, W)``, and ``valid`` and ``mask_clear`` if any.
            side: Side of the square in pixels.
            generator: Source of randomness; torch's default without one.
        """
        image = batch[IMAGE]
        height, self.grid_width = image.shape[-2:]
        self.batch = batch
        self.height, self.width = min(side, height), min(side, self.grid_width)
        self.top, self.left = (
            integers(room, (len(image), 1, 1), generator=generator, device=image.device)
            for room in (height - self.height + 1, self.grid_width - self.width + 1)
        )

    def to_grid(self, local: Tensor) -> Tensor:
        """Turn indices ``(B or 1, N, L)`` of the region into ``(B, N, L)`` of the image."""
        row, column = local // self.width, local % self.width
        return (self.top + row) * self.grid_width + self.left + column

    @property
    def block(self) -> Tensor:
        """All pixels of the region, ``(B, h, w)`` int64."""
        return self.to_grid(rows(self.height, self.width).to(self.top.device)[None])

    @cached_property
    def clear(self) -> Tensor:
        """``mask_clear`` of the region, ``(B, T, h, w)``."""
        return masks_to_planes(observed(self.batch)[1], self.block).transpose(1, 2)

    @cached_property
    def logits(self) -> Tensor:
        """Scores of the steps of guided walks, ``(B, 4, h, w)``; the views share them."""
        image = to_planes(self.batch[IMAGE], self.block).permute(0, 3, 2, 1, 4)
        return step_logits(image, mask_clear=self.clear)


def draw_paths(
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
        kind: What paths to draw.
        n: Paths per sample.
        length: Pixels per path.
        region: Where they may run, drawn before.
        generator: Source of randomness; torch's default without one.

    Returns:
        ``(B, n, length)`` int64 indices of the whole ``H x W`` grid.

    Raises:
        SITSError: If a curve of the region has fewer pixels than *length*.
    """
    batch, device = len(region.top), region.top.device
    if kind == 'mixed':
        drawn = integers(len(MIXED), (batch, 1, 1), generator=generator, device=device)
        paths = drawn.new_zeros(batch, n, length)
        for i, one in enumerate(MIXED):
            piece = draw_paths(one, n, length, region=region, generator=generator)
            paths = torch.where(drawn == i, piece, paths)
        return paths

    size = region.height, region.width
    if kind == 'walk':
        local = random_walks(*size, n, length, batch=batch, generator=generator, device=device)
    elif kind == 'guided':
        local = walk_along(region.logits, n, length, generator=generator)
    else:
        local = _pieces(_curve(kind, *size, length).to(device), batch, n, length, generator)
    return region.to_grid(local)


def _curve(kind: Kind, high: int, wide: int, length: int) -> Tensor:
    """Give the curve of *kind* that fills the region, ``(M, P)`` with ``P >= length``."""
    if high * wide < length:
        raise SITSError(
            f'paths of {length} pixels do not fit a region of {high} x {wide} pixels: choose a '
            'shorter length (and local_length) of the views or larger patches, or '
            "kind='walk', which may visit pixels again"
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

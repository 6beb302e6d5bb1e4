"""Random parts of a view: a region of each sample, dates, and paths in the region."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

from ..errors import SITSError
from ..keys import IMAGE
from .batches import observed
from .paths import (
    column_snake,
    columns,
    hilbert,
    random_walks,
    rows,
    snake,
    spiral,
    step_logits,
    walk_along,
)
from .planar import masks_to_planes, to_planes
from .random import integers, uniform

__all__ = [
    'PATH_KINDS',
    'NumDates',
    'PathKind',
    'ViewRegion',
    'check_dates',
    'check_kind',
    'draw_dates',
    'draw_paths',
]

#: Least and most dates of a view: two fractions of a series' dates, or two counts.
NumDates = tuple[int, int] | tuple[float, float]
#: Kind of the paths of a view; 'mixed' draws one of :data:`PATH_KINDS` for each sample.
PathKind = Literal['mixed', 'rows', 'columns', 'snake', 'hilbert', 'spiral', 'walk', 'guided']
#: The kinds that 'mixed' draws from.
PATH_KINDS: Final = tuple(kind for kind in get_args(PathKind) if kind != 'mixed')


class ViewRegion:
    """A random square in each sample in which the paths of its views run.

    Views whose paths run in the same small square meet in some pixels. A square that is larger
    than the image is cut down to it.

    Attributes:
        height: Rows of the region.
        width: Columns of the region.
        top: First row in the image, ``(B, 1, 1)`` int64.
        left: First column in the image, ``(B, 1, 1)`` int64.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import ViewRegion, rows
        >>> batch = {'image': torch.rand(2, 5, 3, 32, 32)}
        >>> region = ViewRegion(batch, side=8)
        >>> region.to_grid(rows(8, 8)[None]).shape  # the rows of each sample's square
        torch.Size([2, 8, 8])
        >>> bool((region.to_grid(rows(8, 8)[None]) == region.pixels).all())
        True
    """

    def __init__(
        self, batch: dict[str, Any], side: int, *, generator: torch.Generator | None = None
    ) -> None:
        """Draw the place of the square in each sample.

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
        """Turn flat indices of the region into those of the image.

        Args:
            local: ``row * width + column`` in the region, ``(B, N, L)`` or ``(1, N, L)`` int64.

        Returns:
            ``row * W + column`` in the image, ``(B, N, L)`` int64.
        """
        row, column = local // self.width, local % self.width
        return (self.top + row) * self.grid_width + self.left + column

    @property
    def pixels(self) -> Tensor:
        """Flat indices of the pixels of the region in the image, ``(B, h, w)`` int64."""
        return self.to_grid(rows(self.height, self.width).to(self.top.device)[None])

    @cached_property
    def clear(self) -> Tensor:
        """``mask_clear`` of the region, ``(B, T, h, w)``."""
        return masks_to_planes(observed(self.batch)[1], self.pixels).transpose(1, 2)

    @cached_property
    def logits(self) -> Tensor:
        """Scores of the steps of guided walks, ``(B, 4, h, w)``; the views share them."""
        image = to_planes(self.batch[IMAGE], self.pixels).permute(0, 3, 2, 1, 4)
        return step_logits(image, mask_clear=self.clear)


def check_dates(dates: NumDates) -> None:
    """Check that dates are two fractions in (0, 1] or two counts, in order.

    Args:
        dates: Least and most dates of a view.

    Raises:
        SITSError: If they are not.
    """
    numbers = isinstance(dates, Sequence) and all(isinstance(d, int | float) for d in dates)
    counts = numbers and all(isinstance(d, int) for d in dates)
    if not (numbers and len(dates) == 2 and 0 < dates[0] <= dates[1] and (counts or dates[1] <= 1)):
        raise SITSError(
            'expected dates=(low, high) with 0 < low <= high, two counts (int) or two '
            f'fractions (float) up to 1.0, got {dates}'
        )


def draw_dates(
    batch: dict[str, Any],
    dates: NumDates,
    *,
    views: int = 1,
    clear: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw a subset of the dates of each sample for each of several views.

    The dates of a sample are put in one random order, from which the views take turns: views
    share no date as long as there are enough of them, and as few as possible after that.
    Dates without a clear pixel are left out, unless a sample has no others.

    Args:
        batch: ``image`` ``(B, T, C, H, W)`` in chronological order, and ``valid`` and
            ``mask_clear`` where there are any.
        dates: How many dates a view has, ``(low, high)``, drawn for each view and sample; at
            least one where the sample has one.
        views: Number of views V.
        clear: ``(B, T, h, w)`` bool, clear pixels of the region that the views show; by
            default ``mask_clear`` of the batch.
        generator: Source of randomness; torch's default without one.

    Returns:
        frames: ``(V, B, T')`` int64, indices of frames in chronological order, with
            ``T' = ceil(high * T)`` or ``min(high, T)`` whatever was drawn.
        keep: ``(V, B, T')`` bool, False in the padding at the end.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms.drawing import draw_dates
        >>> batch = {'image': torch.rand(1, 6, 3, 8, 8)}
        >>> frames, keep = draw_dates(batch, (0.5, 0.5), views=2)
        >>> sorted(frames.flatten().tolist())  # two views share no date of the six
        [0, 1, 2, 3, 4, 5]
    """
    valid, whole = observed(batch)
    clear = whole if clear is None else clear
    device = valid.device
    low, high = dates
    steps = valid.shape[1]
    seen = valid & clear.flatten(2).any(2)
    usable = torch.where(seen.any(1, keepdim=True), seen, valid)
    count = usable.sum(1)

    u = uniform((views, len(valid)), generator=generator, device=device)
    if isinstance(high, int):
        number = low + (u * (high - low + 1)).floor().clamp(max=high - low)
        longest = min(high, steps)
    else:
        number = ((low + u * (high - low)) * count).round().clamp(min=1)
        longest = math.ceil(high * steps)
    number = torch.minimum(number.long(), count)

    noise = uniform(valid.shape, generator=generator, device=device)
    turn = noise.masked_fill(~usable, 2.0).argsort(1).argsort(1)
    start = number.cumsum(0) - number
    place = (turn - start[..., None]) % count.clamp(min=1)[:, None]
    chosen = usable & (place < number[..., None])

    index = torch.arange(steps, device=device)
    frames = torch.where(chosen, index, index + steps).argsort(2)[..., :longest]
    return frames, chosen.gather(2, frames)


def check_kind(kind: str) -> None:
    """Check that there is such a kind of path.

    Args:
        kind: Name of the kind.

    Raises:
        SITSError: If it is not one of :data:`PathKind`.
    """
    if kind not in get_args(PathKind):
        raise SITSError(f'expected kind to be one of {get_args(PathKind)}, got {kind!r}')


def draw_paths(
    kind: PathKind,
    n: int,
    length: int,
    *,
    region: ViewRegion,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw paths of one kind, or of a random kind per sample, in a region.

    Curves that fill the region are cut into paths of *length* pixels, at random.

    Rows and columns shorter than *length* go on in the next one, in the way of a snake.

    Args:
        kind: What paths to draw.
        n: Paths per sample.
        length: Pixels per path.
        region: Region in which they run, drawn before.
        generator: Source of randomness; torch's default without one.

    Returns:
        ``(B, n, length)`` int64 indices of the whole ``H x W`` grid.

    Raises:
        SITSError: If a curve of the region has fewer pixels than *length*.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import ViewRegion
        >>> from torchgeo_sits.transforms.drawing import draw_paths
        >>> region = ViewRegion({'image': torch.rand(1, 5, 3, 32, 32)}, side=4)
        >>> (paths,) = draw_paths('snake', 2, 8, region=region)
        >>> bool(((paths.diff().abs() == 1) | (paths.diff().abs() == 32)).all())  # neighbours
        True
    """
    batch, device = len(region.top), region.top.device
    if kind == 'mixed':
        drawn = integers(len(PATH_KINDS), (batch, 1, 1), generator=generator, device=device)
        paths = drawn.new_zeros(batch, n, length)
        for i, one in enumerate(PATH_KINDS):
            of_kind = draw_paths(one, n, length, region=region, generator=generator)
            paths = torch.where(drawn == i, of_kind, paths)
        return paths

    size = region.height, region.width
    if kind == 'walk':
        local = random_walks(*size, n, length, batch=batch, generator=generator, device=device)
    elif kind == 'guided':
        local = walk_along(region.logits, n, length, generator=generator)
    else:
        local = _cut_at_random(_curve(kind, *size, length).to(device), batch, n, length, generator)
    return region.to_grid(local)


def _curve(kind: PathKind, high: int, wide: int, length: int) -> Tensor:
    """Build the curves of a kind that fill the region, ``(M, P)`` with ``P >= length``."""
    if high * wide == 1 < length:
        raise SITSError(
            f'paths of {length} pixels do not fit points, which are single pixels: compare other '
            "dates of them (model.views='resampling', without the views_kwargs of planes)"
        )
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


def _cut_at_random(
    curve: Tensor, batch: int, n: int, length: int, generator: torch.Generator | None
) -> Tensor:
    """Cut *n* random paths per sample out of curves, none twice while there are enough.

    Args:
        curve: ``(M, P)`` int64, M curves of P pixels.
        batch: Number of samples B.
        n: Paths per sample.
        length: Pixels per path.
        generator: Source of randomness.

    Returns:
        ``(B, n, length)`` int64; the cuts of a sample lie at one random offset.
    """
    pixels = curve.shape[1]
    each = max(1, pixels // length - 1)  # leaves room to move the cuts by a whole path
    offset = integers(
        pixels - each * length + 1, (batch, 1, 1), generator=generator, device=curve.device
    )
    cuts = torch.arange(each, device=curve.device) * length
    starts = (torch.arange(len(curve), device=curve.device)[:, None] * pixels + cuts).flatten()
    order = uniform((batch, len(starts)), generator=generator, device=curve.device).argsort(1)
    pick = order[:, torch.arange(n, device=curve.device) % len(starts)]
    steps = torch.arange(length, device=curve.device)
    return curve.flatten()[starts[pick][..., None] + offset + steps]

"""What of two views is compared: pixels, objects, whole places."""

from typing import Any, Literal

from torch import Tensor

from ..models import PlaneFeatures
from .gathering import gather_batch
from .matching import Pairs, match_pixels
from .objects import match_objects

__all__ = ['LEVELS', 'Level', 'level_pairs']

#: Granularities at which views are compared, after SkySense (Guo et al., CVPR 2024,
#: https://arxiv.org/abs/2312.10115, section 3.2).
Level = Literal['image', 'object', 'pixel']
LEVELS: tuple[Level, ...] = ('image', 'object', 'pixel')


def draw_objects(batch: dict[str, Any], size: int) -> Tensor:
    """Superpixels of the places of a batch: ``(B, H, W)`` int64.

    Args:
        batch: A batch, see :mod:`torchgeo_sits.keys`.
        size: Side of a superpixel in pixels, about.
    """
    from ..transforms import superpixels

    return superpixels(batch, size=size)


def level_pairs(
    level: Level,
    ours: PlaneFeatures,
    theirs: PlaneFeatures,
    view: dict[str, Any],
    other: dict[str, Any],
    *,
    objects: Tensor | None = None,
    pixels: int = 64,
) -> tuple[Tensor, Tensor]:
    """Vectors of two views that stand for the same place, object or pixel.

    Args:
        level: What is compared.
        ours: Features of B samples in one view.
        theirs: Features of the same samples in the other view.
        view: The view.
        other: The other view.
        objects: ``(B, H, W)`` int64, for the level of objects.
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
        pairs = match_objects(ours, theirs, view, other, objects, int(objects.max()) + 1)
    whole = Pairs(*map(gather_batch, pairs))
    return whole.ours[whole.found], whole.theirs[whole.found]

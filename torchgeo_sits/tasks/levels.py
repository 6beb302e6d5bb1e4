"""What of two views is compared: pixels, objects, whole places."""

from typing import Any, Literal, NamedTuple

from torch import Tensor

from ..keys import IMAGE
from ..models import PlaneFeatures
from ..transforms import count_superpixels, superpixels
from .gathering import gather_batch
from .matching import Pairs, match_pixels
from .objects import match_objects

__all__ = ['LEVELS', 'Level', 'Objects', 'draw_objects', 'level_pairs']

#: Granularities at which views are compared, after SkySense (Guo et al., CVPR 2024,
#: https://arxiv.org/abs/2312.10115, section 3.2).
Level = Literal['image', 'object', 'pixel']
LEVELS: tuple[Level, ...] = ('image', 'object', 'pixel')


class Objects(NamedTuple):
    """Superpixels of the places of a batch.

    Attributes:
        ids: ``(B, H, W)`` int64, the object of each pixel, from 0 to *number* - 1.
        number: Number of objects of a place.
    """

    ids: Tensor
    number: int


def draw_objects(batch: dict[str, Any], size: int) -> Objects:
    """Find superpixels of about *size* x *size* pixels in the series of a batch.

    Args:
        batch: A batch, see :mod:`torchgeo_sits.keys`.
        size: Side of a superpixel in pixels, about.
    """
    number = count_superpixels(*batch[IMAGE].shape[-2:], size=size)
    return Objects(superpixels(batch, size=size), number)


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
    """Vectors of two views that stand for the same place, object or pixel.

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

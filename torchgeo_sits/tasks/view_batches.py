"""Joining of the views of a batch, and their encoding."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..errors import SITSError
from ..keys import IMAGE, IMAGE_S1, MASK_CLEAR
from ..models import PlaneFeatures, SITSEncoder
from ..transforms import PATHS, PLANES, PLANES_S1

__all__ = ['as_planes', 'check_cells', 'encode_view', 'join_views', 'next_view', 'split_views']


def join_views(views: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join views of one shape along the batch, so that one forward serves them all.

    Args:
        views: V views of B samples each.

    Returns:
        One view of V * B samples, those of the first view first.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import join_views
        >>> views = [{'planes': torch.zeros(2, 3, 4, 5, 6), 'size': (8, 8)} for _ in range(3)]
        >>> join_views(views)['planes'].shape
        torch.Size([6, 3, 4, 5, 6])
    """
    return {
        key: torch.cat([view[key] for view in views]) if isinstance(value, Tensor) else value
        for key, value in views[0].items()
    }


def next_view[T: (dict[str, Any], PlaneFeatures)](joined: T, count: int) -> T:
    """Roll joined views by one: where view v stood is view v + 1, where the last, the first.

    Args:
        joined: *count* views joined by :func:`join_views`, or their features.
        count: Number of views.
    """

    def rolled(value: Any) -> Any:
        return value.roll(-(len(value) // count), 0) if isinstance(value, Tensor) else value

    if isinstance(joined, PlaneFeatures):
        return PlaneFeatures(*map(rolled, joined))
    return {key: rolled(value) for key, value in joined.items()}


def split_views(features: PlaneFeatures, count: int) -> list[PlaneFeatures]:
    """Features of *count* joined views, view by view."""
    parts = zip(*(part.chunk(count) for part in features), strict=True)
    return [PlaneFeatures(*part) for part in parts]


def as_planes(view: dict[str, Any]) -> dict[str, Any]:
    """A view whose images are given as planes, one for each row; one of planes as it is."""
    if PLANES in view:
        return view
    return {
        **view,
        PLANES: rearrange(view[IMAGE], 'b t c h w -> b h c t w'),
        MASK_CLEAR: rearrange(view[MASK_CLEAR], 'b t h w -> b h t w'),
    }


def encode_view(
    encoder: SITSEncoder, view: dict[str, Any], token_mask: Tensor | None = None
) -> PlaneFeatures:
    """Encode a view, be it of planes or of whole images, with its Sentinel-1 series if any.

    Args:
        encoder: The encoder; one without ``s1_channels`` is given the optical series alone.
        view: A view, see :mod:`torchgeo_sits.transforms`.
        token_mask: ``(B, N, S)``, tokens that the encoder must not see.

    Returns:
        Features; those of an image have a row of tokens for each row of its cells.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import build_encoder
        >>> from torchgeo_sits.tasks import encode_view
        >>> from torchgeo_sits.transforms import RandomPlanarView
        >>> batch = {
        ...     'image': torch.rand(2, 6, 3, 16, 16),
        ...     'acquisition_times': 86_400 * torch.arange(6).expand(2, 6),
        ... }
        >>> view = RandomPlanarView(num_paths=4, length=8)(batch)
        >>> features = encode_view(build_encoder('tempcnn', 3, embed_dim=16), view)
        >>> features.embed.shape, features.late.shape
        (torch.Size([2, 16]), torch.Size([2, 4, 8, 16]))
    """
    if PLANES not in view:
        return encoder.encode_image(encoder.series_of(view), token_mask=token_mask)
    planes = view | {IMAGE: view[PLANES]}
    if PLANES_S1 in view:
        planes[IMAGE_S1] = view[PLANES_S1]
    return encoder.encode_planes(encoder.series_of(planes), token_mask=token_mask)


def check_cells(encoder: SITSEncoder, view: dict[str, Any]) -> None:
    """Check that each token of a view stands for the same number of pixels.

    Args:
        encoder: The encoder.
        view: A view, of planes or images.

    Raises:
        SITSError: If the last token of a path, or the last path, is cut.
    """
    lines, length = view[PATHS].shape[1:]
    tall, wide = encoder.plane_cell if PLANES in view else (encoder.stride, encoder.stride)
    if lines % tall or length % wide:
        raise SITSError(
            f'expected views of a multiple of {tall} paths and of {wide} pixels each, which a '
            f'token of this encoder stands for, got {lines} paths of {length}: change '
            'views_kwargs (num_paths, length, crop) or patches.size'
        )

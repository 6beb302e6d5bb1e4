"""Pairs of tokens that see the same pixel in two views."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..models import PlaneFeatures
from ..transforms import PATHS, SIZE

__all__ = ['matched_tokens']


def matched_tokens(
    student: PlaneFeatures, teacher: PlaneFeatures, views: Sequence[dict[str, Any]], max_pairs: int
) -> tuple[Tensor, Tensor] | None:
    """Match the student's tokens in one view to the teacher's in the next, pixel by pixel.

    Paths are index maps, so the match is exact: the teacher's tokens are folded onto the
    map (the mean where its paths cross), and looked up along the student's paths. View v is
    matched to view v + 1, the last to the first. Tokens that saw nothing are left out.

    Args:
        student: Features of the V joined views of B samples each, late ``(V * B, N, S, D)``.
        teacher: The same of the teacher.
        views: The V views, each with its paths ``(B, N, L)``.
        max_pairs: Largest number of pairs; drawn at random beyond.

    Returns:
        Tokens of the student and of the teacher, ``(P, D)`` each, or None where the views
        share no pixel.

    Raises:
        ValueError: If the tokens are not segments of the paths.
    """
    paths = torch.cat([view[PATHS] for view in views])
    height, width = views[0][SIZE]
    batch, lines, length = paths.shape
    tokens, dim = student.late.shape[2:]
    if student.late.shape[:2] != (batch, lines):
        raise ValueError(
            f'expected one row of tokens for each of {lines} paths, got '
            f'{tuple(student.late.shape[:3])}: pixel_weight needs an encoder that keeps paths apart'
        )
    segment = -(-length // tokens)
    # The encoder fills the last segment up; what fills it lies on no pixel.
    pixels = torch.nn.functional.pad(paths, (0, tokens * segment - length), value=-1)
    pixels = pixels.reshape(batch, -1)
    index = pixels.clamp(min=0)
    real = (pixels >= 0).to(teacher.late.dtype)
    known = teacher.seen.repeat_interleave(segment, dim=2).reshape(batch, -1) * real

    values = teacher.late.repeat_interleave(segment, dim=2).reshape(batch, -1, dim)
    deep = index[..., None].expand_as(values)
    total = values.new_zeros(batch, height * width, dim)
    total.scatter_add_(1, deep, values * known[..., None])
    count = known.new_zeros(batch, height * width).scatter_add_(1, index, known)
    # Roll by one view: sample b of view v meets sample b of view v + 1.
    shift = -(batch // len(views))
    total, count = total.roll(shift, dims=0), count.roll(shift, dims=0)

    # A segment of several pixels is matched by those of them that the other view covers.
    covered = (count.gather(1, index) * real).reshape(batch, lines, tokens, segment).sum(-1)
    found = (total.gather(1, deep) * real[..., None]).reshape(batch, lines, tokens, segment, dim)
    where = ((covered > 0) & student.seen).nonzero(as_tuple=True)
    if not len(where[0]):
        return None
    if len(where[0]) > max_pairs:
        keep = torch.randperm(len(where[0]), device=paths.device)[:max_pairs]
        where = tuple(axis[keep] for axis in where)
    return student.late[where], found.sum(-2)[where] / covered[where][:, None]

"""Pairs of tokens that see the same pixel in two views."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..transforms import PATHS, SIZE

__all__ = ['matched_tokens']


def matched_tokens(
    student: Tensor, teacher: Tensor, views: Sequence[dict[str, Any]], max_pairs: int
) -> tuple[Tensor, Tensor] | None:
    """Match the student's tokens in one view to the teacher's in the next, pixel by pixel.

    Paths are index maps, so the match is exact: the teacher's tokens are folded onto the
    map (the mean where its paths cross), and looked up along the student's paths. View v is
    matched to view v + 1, the last to the first.

    Args:
        student: Tokens ``(V * B, N, S, D)`` of the joined views.
        teacher: The same of the teacher.
        views: The V views, each with its paths ``(B, N, L)``, L a multiple of S.
        max_pairs: Largest number of pairs; drawn at random beyond.

    Returns:
        Tokens of the student and of the teacher, ``(P, D)`` each, or None where the views
        share no pixel.
    """
    paths = torch.cat([view[PATHS] for view in views])
    height, width = views[0][SIZE]
    batch, lines, length = paths.shape
    segment = length // student.shape[2]
    dim = student.shape[-1]

    flat = paths.reshape(batch, -1)
    values = teacher.repeat_interleave(segment, dim=2).reshape(batch, -1, dim)
    index = flat[..., None].expand_as(values)
    total = values.new_zeros(batch, height * width, dim).scatter_add_(1, index, values)
    seen = values.new_zeros(batch, height * width)
    seen.scatter_add_(1, flat, torch.ones_like(flat, dtype=seen.dtype))
    # Roll by one view: sample b of view v meets sample b of view v + 1.
    shift = -(batch // len(views))
    total, seen = total.roll(shift, dims=0), seen.roll(shift, dims=0)

    # A segment of several pixels is matched by the pixels that the other view covers.
    covered = seen.gather(1, flat).reshape(batch, lines, -1, segment).sum(-1)
    found = total.gather(1, index).reshape(batch, lines, -1, segment, dim).sum(-2)
    where = (covered > 0).nonzero(as_tuple=True)
    if not len(where[0]):
        return None
    if len(where[0]) > max_pairs:
        keep = torch.randperm(len(where[0]), device=paths.device)[:max_pairs]
        where = tuple(axis[keep] for axis in where)
    return student[where], found[where] / covered[where][:, None]

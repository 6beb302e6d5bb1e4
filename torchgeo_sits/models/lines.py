"""Rows and columns of an image as paths: their tokens, hidden and folded back to its pixels."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from .cells import gap_to_cells

__all__ = ['fold_back', 'hide_pixels']


def fold_back(tokens: Iterable[Tensor], image: Tensor, segment: int) -> Tensor:
    """Give each pixel the mean of the tokens of its row and of its column.

    Args:
        tokens: Tokens of the rows ``(B, H, S, ...)`` and of the columns ``(B, W, S', ...)``.
        image: ``(..., H, W)``, of which the size is taken.
        segment: Pixels of a token; the last token of a line may have fewer.

    Returns:
        ``(B, H, W, ...)``.
    """
    h, w = image.shape[-2:]
    rows, columns = tokens
    if segment > 1:
        rows, columns = (x.repeat_interleave(segment, 2) for x in (rows, columns))
    return (rows[:, :, :w] + columns[:, :, :h].transpose(1, 2)) / 2


def hide_pixels(tokens: Tensor, hidden: Tensor, mask_token: Tensor, segment: int) -> Tensor:
    """Put the mask token in the place of tokens that see a hidden pixel.

    Args:
        tokens: ``(B, N, S, D)``, of lines of L pixels.
        hidden: ``(B, N, L)`` bool.
        mask_token: ``(D,)``.
        segment: Pixels of a token; the last token of a line may have fewer.

    Returns:
        ``(B, N, S, D)``.
    """
    hidden = F.pad(hidden, (0, gap_to_cells(hidden.shape[-1], segment)))
    hidden = hidden.unflatten(-1, (-1, segment)).any(-1)
    return torch.where(hidden[..., None], mask_token.to(tokens.dtype), tokens)

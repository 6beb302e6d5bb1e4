"""Reconstruction of hidden values of planes, a term of the loss."""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, MASK_CLEAR, VALID
from ..models import DateDecoder, SITSEncoder
from ..transforms import PLANES, SIZE, MaskKind, RandomPlaneMask
from .distributed import global_mean
from .view_batches import as_planes, check_cells, encode_view

__all__ = ['MaskedReconstruction']


class MaskedReconstruction(nn.Module):
    """Hide a part of a view, encode the rest, and decode what was hidden.

    Decoded is by how much a value differs from the mean of its band over the clear pixels of
    the view on that date. What a date does to all pixels alike (haze, sun, season) can hardly
    be told from other dates and says nothing about a pixel; on two real stacks it made half of
    the variance, and left as part of the target it drowned the rest. MAE normalises each patch
    of its targets for the same reason (section 4.1). A sample of a single pixel has no other to
    be told from: its values are decoded as they are.
    """

    def __init__(self, dim: int, in_channels: int, *, kind: MaskKind, ratio: float) -> None:
        """Initialize a new MaskedReconstruction instance.

        Args:
            dim: Number of late features of the encoder.
            in_channels: Number of bands C.
            kind: What is hidden.
            ratio: Share of the clear values that is hidden.

        Raises:
            SITSError: If an argument is out of its range.
        """
        super().__init__()
        self.mask = RandomPlaneMask(kind=kind, ratio=ratio)
        self.decoder = DateDecoder(dim, in_channels)

    def forward(self, encoder: SITSEncoder, view: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Compute the mean squared error over what was hidden, which is clear.

        Args:
            encoder: The encoder.
            view: A view of B samples, of planes or images.

        Returns:
            The loss, and the embeddings ``(B, D)`` of what was left.

        Raises:
            SITSError: If the encoder's tokens do not fit the view, or the only pixel is to be
                hidden.
        """
        check_cells(encoder, view)
        if self.mask.kind == 'pixel' and math.prod(view[SIZE]) == 1:
            raise SITSError(
                "mask_kind='pixel' hides a pixel at all dates, and a point is one pixel, of which "
                "nothing would be left: set mask_kind to 'date'"
            )
        planes = as_planes(view)
        with torch.no_grad():
            hidden = self.mask(planes)
        left = planes[MASK_CLEAR] & ~hidden
        if PLANES not in view:
            left = rearrange(left, 'b h t w -> b t h w')
        features = encode_view(encoder, {**view, MASK_CLEAR: left})
        # A cell of several pixels stands for each of them.
        _, lines, _, _, length = planes[PLANES].shape
        rows, tokens = features.late.shape[1:3]
        tall, wide = lines // rows, length // tokens

        b, n, t, at = hidden.nonzero(as_tuple=True)
        wanted = _without_dates(planes).permute(0, 1, 3, 4, 2)[b, n, t, at]
        inside = torch.stack([(n % tall + 0.5) / tall, (at % wide + 0.5) / wide], -1)
        guessed = self.decoder(
            features.late[b, n // tall, at // wide],
            self.decoder.encode_dates(view[ACQUISITION_TIMES], view[VALID])[b, t],
            inside.to(features.late.dtype),
        )
        with torch.autocast(wanted.device.type, enabled=False):
            error = (guessed.float() - wanted).square().sum()
            count = torch.tensor(wanted.numel(), device=wanted.device)
            return global_mean(error, count), features.embed


@torch.no_grad()
def _without_dates(view: dict[str, Any]) -> Tensor:
    """Planes ``(B, N, C, T, L)`` less the mean of the clear pixels of each date and band."""
    planes = view[PLANES].float()
    if math.prod(view[SIZE]) == 1:
        return planes
    clear = view[MASK_CLEAR][:, :, None]
    # where, not a product: NaN times zero is NaN.
    total = torch.where(clear, planes, 0).sum((1, 4), keepdim=True)
    return planes - total / clear.sum((1, 4), keepdim=True).clamp(min=1)

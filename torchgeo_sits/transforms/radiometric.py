"""Radiometric transforms of time series: normalisation, and gain and offset per date."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR, VALID
from .base import SeriesAugmentation
from .random import uniform

__all__ = ['Normalize', 'RandomGainOffset']


class Normalize(nn.Module):
    """Subtract the mean and divide by the standard deviation of each band.

    Pixels that were not observed (``mask_clear`` False, or a padding frame) become 0, the
    mean, whatever they held: nodata, NaN or the white of a cloud. Kornia's ``Normalize``
    takes no 5-D input and knows no masks.

    The statistics are buffers, which stay in a checkpoint; the device is that of the image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> None:
        """Initialise a new Normalize instance.

        Args:
            mean: Mean of each band, ``(C,)``, in the unit of the image.
            std: Standard deviation of each band, ``(C,)``, greater than 0.

        Raises:
            SITSError: If the two differ in length, or a value is not finite, or a standard
                deviation is not positive.
        """
        super().__init__()
        mean, std = (torch.as_tensor(v, dtype=torch.float32).flatten() for v in (mean, std))
        if mean.shape != std.shape:
            raise SITSError(f'expected as many means as deviations, got {len(mean)}, {len(std)}')
        if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise SITSError(
                f'expected finite means and positive deviations, got {mean.tolist()} and '
                f'{std.tolist()}; a constant band carries nothing, leave it out'
            )
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Normalise the image of a batch or of one sample.

        Args:
            batch: ``image`` ``(B, T, C, H, W)`` or ``(T, C, H, W)``, with ``mask_clear`` and
                ``valid`` of the contract where there are any.

        Returns:
            A new dictionary; only ``image`` differs.

        Raises:
            SITSError: If the image has another number of bands.
        """
        image = batch[IMAGE]
        if image.shape[-3] != len(self.mean):
            raise SITSError(
                f'statistics for {len(self.mean)} bands do not fit an image with '
                f'{image.shape[-3]}: {tuple(image.shape)}'
            )
        # A data module is not moved to a device with the model: its transforms follow the batch.
        mean, std = (v.to(image.device)[:, None, None] for v in (self.mean, self.std))
        image = (image - mean) / std
        if MASK_CLEAR in batch:
            image = image.masked_fill(~batch[MASK_CLEAR].unsqueeze(-3), 0.0)
        if VALID in batch:
            image = image.masked_fill(~batch[VALID][..., None, None, None], 0.0)
        return {**batch, IMAGE: image}


class RandomGainOffset(SeriesAugmentation):
    """Multiply and shift each band of each date at random: ``image * gain + offset``.

    This is what is left of atmosphere, sun and view angle after correction: different from
    date to date and from band to band, the same for all pixels of a frame. Values are never
    clipped (Kornia's brightness clips at 1, which reflectance exceeds over snow and cloud).
    Pixels that were not observed keep their value.
    """

    def __init__(self, gain: float = 0.1, offset: float = 0.1, *, p: float = 1.0) -> None:
        """Initialise a new RandomGainOffset instance.

        Args:
            gain: Gains are uniform in ``[1 - gain, 1 + gain]``.
            offset: Offsets are uniform in ``[-offset, offset]``, in the unit of the image:
                standard deviations after :class:`Normalize`, else reflectance.
            p: Probability that a sample is augmented.

        Raises:
            SITSError: If a number is negative, *gain* is 1 or more, or *p* is out of range.
        """
        super().__init__(p=p)
        if not 0 <= gain < 1 or offset < 0:
            raise SITSError(f'expected 0 <= gain < 1 and offset >= 0, got {gain} and {offset}')
        self.gain = gain
        self.offset = offset

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw ``gain`` and ``offset``, ``(B, T, C)`` each."""
        image = batch[IMAGE]
        u = uniform((2, *image.shape[:3]), generator=generator, device=image.device)
        gain, offset = 2 * u - 1
        return {'gain': 1 + self.gain * gain, 'offset': self.offset * offset}

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Multiply and shift what was observed."""
        image = batch[IMAGE]
        gain, offset = (params[key].to(image.dtype)[..., None, None] for key in ('gain', 'offset'))
        seen = (batch[MASK_CLEAR] & batch[VALID][..., None, None])[:, :, None]
        return {**batch, IMAGE: torch.where(seen, torch.addcmul(offset, image, gain), image)}

"""Radiometric transforms of time series: normalisation, and gain and offset per date."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..keys import IMAGE, MASK_CLEAR, VALID

__all__ = ['Normalize']


class Normalize(nn.Module):
    """Subtract the mean and divide by the standard deviation of each band.

    Pixels that were not observed (``mask_clear`` False, or a padding frame) become 0, the
    mean, whatever they held: nodata, NaN or the white of a cloud. Kornia's ``Normalize``
    takes no 5-D input and knows no masks.

    The statistics are buffers: they move with the module and stay in its checkpoint.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> None:
        """Initialise a new Normalize instance.

        Args:
            mean: Mean of each band, ``(C,)``, in the unit of the image.
            std: Standard deviation of each band, ``(C,)``, greater than 0.

        Raises:
            ValueError: If the two differ in length, or a value is not finite, or a standard
                deviation is not positive.
        """
        super().__init__()
        mean, std = (torch.as_tensor(v, dtype=torch.float32).flatten() for v in (mean, std))
        if mean.shape != std.shape:
            raise ValueError(f'expected as many means as deviations, got {len(mean)}, {len(std)}')
        if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise ValueError(
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
            ValueError: If the image has another number of bands.
        """
        image = batch[IMAGE]
        if image.shape[-3] != len(self.mean):
            raise ValueError(
                f'statistics for {len(self.mean)} bands do not fit an image with '
                f'{image.shape[-3]}: {tuple(image.shape)}'
            )
        image = (image - self.mean[:, None, None]) / self.std[:, None, None]
        if MASK_CLEAR in batch:
            image = image.masked_fill(~batch[MASK_CLEAR].unsqueeze(-3), 0.0)
        if VALID in batch:
            image = image.masked_fill(~batch[VALID][..., None, None, None], 0.0)
        return {**batch, IMAGE: image}

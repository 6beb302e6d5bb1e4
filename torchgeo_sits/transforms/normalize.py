"""Normalisation by the statistics of each band."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR, VALID
from .batches import s1_of, with_s1

__all__ = ['Normalize', 'NormalizeS1']


class Normalize(nn.Module):
    """Subtract the mean and divide by the standard deviation of each band.

    Pixels that were not observed (``mask_clear`` False, or a padding frame) become 0, the
    mean, whatever they held: nodata, NaN or the white of a cloud. Kornia's ``Normalize``
    takes no 5-D input and knows no masks.

    The statistics are buffers, which stay in a checkpoint; the device is that of the image.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import Normalize
        >>> image = torch.tensor([3.0, 5.0]).view(1, 1, 2, 1, 1)  # one pixel of two bands
        >>> normalize = Normalize(mean=[1.0, 1.0], std=[2.0, 4.0])
        >>> normalize({'image': image})['image'].flatten()
        tensor([1., 1.])
        >>> clear = torch.zeros(1, 1, 1, 1, dtype=torch.bool)
        >>> normalize({'image': image, 'mask_clear': clear})['image'].flatten()
        tensor([0., 0.])
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


class NormalizeS1(nn.Module):
    """Normalise the Sentinel-1 series of a batch as :class:`Normalize` does the optical one.

    Batches without one are left as they are.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import NormalizeS1
        >>> batch = {'image': torch.rand(1, 5, 10, 8, 8), 'image_s1': torch.ones(1, 3, 2, 8, 8)}
        >>> batch['acquisition_times_s1'] = torch.arange(3)[None]
        >>> normalised = NormalizeS1(mean=[-10.0, -18.0], std=[4.0, 5.0])(batch)
        >>> normalised['image_s1'].mean((0, 1, 3, 4))
        tensor([2.7500, 3.8000])
    """

    def __init__(self, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> None:
        """Initialise a new NormalizeS1 instance.

        Args:
            mean: Mean of each band, ``(C1,)``, in the unit of the image.
            std: Standard deviation of each band, ``(C1,)``, greater than 0.

        Raises:
            SITSError: If the two do not fit each other or a value is out of range.
        """
        super().__init__()
        self.normalize = Normalize(mean, std)

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Normalise ``image_s1`` ``(B, T1, C1, H, W)``, to 0 where it was not observed."""
        series = s1_of(batch)
        return batch if series is None else with_s1(batch, self.normalize(series))

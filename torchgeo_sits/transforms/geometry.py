"""Kornia's geometric augmentations for time series with masks."""

from typing import Any

import torch
from kornia.augmentation import AugmentationSequential
from kornia.augmentation._2d.geometric.base import GeometricAugmentationBase2D
from torch import Tensor

from ..errors import SITSError
from ..keys import IMAGE, IMAGE_S1, MASK, MASK_CLEAR, MASK_CLEAR_S1
from .base import SeriesAugmentation
from .planar import masks_to_planes, to_planes

__all__ = ['SeriesGeometry']


class SeriesGeometry(SeriesAugmentation):
    """Flip, turn, crop or warp all frames and masks of a sample in the same way.

    Kornia's :class:`~kornia.augmentation.AugmentationSequential` takes no 5-D images, fails on
    a static mask beside a video, and interpolates clear pixels with clouds. Here it is given
    one image per sample that holds the number of each pixel; what comes out is an index map,
    through which image, ``mask_clear`` and ``mask`` are then read alike, and those of a Sentinel-1
    series on the same grid with them. Pixels are copied,
    never mixed: alignment is exact, and any warp is to the nearest neighbour.

    Pixels from outside the image (the corners of a turned one) become 0, not clear, and 0 in
    ``mask``. ``bounds`` and ``transform`` stay those of the sample before.
    """

    def __init__(self, *augmentations: GeometricAugmentationBase2D) -> None:
        """Initialise a new SeriesGeometry instance.

        Args:
            augmentations: Geometric augmentations of Kornia, such as
                ``RandomHorizontalFlip()`` or ``RandomRotation90((0, 3))``, each with its own
                probability per sample.

        Raises:
            SITSError: If there is none, or one is not geometric.
        """
        super().__init__()
        odd = [
            type(a).__name__
            for a in augmentations
            if not isinstance(a, GeometricAugmentationBase2D)
        ]
        if odd or not augmentations:
            raise SITSError(
                f'expected geometric augmentations of Kornia, got {odd or "none"}; for '
                'reflectance use RandomGainOffset'
            )
        self.augmentations = AugmentationSequential(*augmentations, data_keys=['input', 'mask'])

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw ``index`` ``(B, h, w)`` int64: the pixel to read, or -1 for none."""
        image = batch[IMAGE]
        height, width = image.shape[-2:]
        number = torch.arange(1, height * width + 1, device=image.device, dtype=torch.float32)
        number = number.view(1, 1, height, width).expand(len(image), -1, -1, -1).contiguous()
        # Kornia draws from torch's own generators only.
        with torch.random.fork_rng(devices=[], enabled=generator is not None):
            if generator is not None:
                seed = torch.randint(2**31, (), generator=generator, device=generator.device)
                torch.manual_seed(int(seed))
            _, warped = self.augmentations(number, number)  # masks go to the nearest neighbour
        return {'index': warped[:, 0].round().long() - 1}

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Read images and masks through the index map."""
        outside = params['index'] < 0
        index = params['index'].clamp(min=0)
        out = {**batch}
        for key in (IMAGE, IMAGE_S1):
            if key in batch:
                image = to_planes(batch[key], index).permute(0, 3, 2, 1, 4)
                out[key] = image.masked_fill(outside[:, None, None], 0.0)
        for key in (MASK_CLEAR, MASK_CLEAR_S1, MASK):
            if key in batch:
                mask = masks_to_planes(batch[key], index)
                if mask.ndim == 4:
                    mask = mask.transpose(1, 2)
                    out[key] = mask.masked_fill(outside[:, None], 0)
                else:
                    out[key] = mask.masked_fill(outside, 0)
        return out

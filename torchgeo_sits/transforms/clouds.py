"""Simulated cloud gaps."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR, VALID
from .base import SeriesAugmentation
from .random import uniform

__all__ = ['RandomCloudGaps']


class RandomCloudGaps(SeriesAugmentation):
    """Hide cloud-shaped parts of random dates.

    A cloud is where smooth noise (two octaves) exceeds a threshold. There ``mask_clear``
    becomes False and the pixels get one value. For images only: neighbours along a plane are
    not neighbours on the ground.
    """

    def __init__(
        self,
        rate: float = 0.3,
        *,
        cover: tuple[float, float] = (0.1, 0.6),
        size: float = 16.0,
        fill: float = 0.0,
        p: float = 1.0,
    ) -> None:
        """Initialise a new RandomCloudGaps instance.

        Args:
            rate: Probability that a date is clouded.
            cover: Least and largest share of a clouded date that is hidden, in (0, 1). It
                holds on average: single small images may deviate.
            size: Size of the clouds in pixels.
            fill: Value of the hidden pixels, in the unit of the image. 0 suits images after
                :class:`~torchgeo_sits.transforms.Normalize`; a bright value is closer to a
                cloud where a model also looks at pixels that are not clear.
            p: Probability that a sample is augmented.

        Raises:
            SITSError: If a number is out of range.
        """
        super().__init__(p=p)
        if not 0 <= rate <= 1 or not 0 < cover[0] <= cover[1] < 1 or size <= 0:
            raise SITSError(
                'expected rate in [0, 1], 0 < low <= high < 1 for cover, and size > 0, got '
                f'rate={rate}, cover={cover}, size={size}'
            )
        self.rate = rate
        self.cover = cover
        self.size = size
        self.fill = fill

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw the noise of both octaves, ``cover`` and ``clouded``, ``(B, T)`` each."""
        image = batch[IMAGE]
        device = image.device
        frames, (height, width) = image.shape[:2], image.shape[-2:]

        def grid(size: float) -> Tensor:
            """Noise with one node every *size* pixels."""
            nodes = (math.ceil(height / size) + 1, math.ceil(width / size) + 1)
            return uniform((*frames, *nodes), generator=generator, device=device) - 0.5

        low, high = self.cover
        u = uniform(frames, generator=generator, device=device)
        return {
            'coarse': grid(self.size),
            'fine': grid(self.size / 3),
            'cover': low + u * (high - low),
            'clouded': uniform(frames, generator=generator, device=device) < self.rate,
        }

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Hide what lies under the clouds."""
        image = batch[IMAGE]
        size = image.shape[-2:]
        noise = sum(
            weight * F.interpolate(params[octave], size, mode='bicubic', align_corners=True)
            for octave, weight in (('coarse', 1.0), ('fine', 0.4))
        )
        assert isinstance(noise, Tensor)
        spread = noise.std((2, 3), correction=0, keepdim=True).clamp(min=1e-6)
        noise = (noise - noise.mean((2, 3), keepdim=True)) / spread
        # The quantile of a normal distribution: near enough, and no sort of all pixels.
        threshold = math.sqrt(2) * torch.erfinv(1 - 2 * params['cover'])
        cloud = (noise > threshold[..., None, None]) & params['clouded'][..., None, None]
        cloud = cloud & batch[VALID][..., None, None]
        return {
            **batch,
            IMAGE: image.masked_fill(cloud[:, :, None], self.fill),
            MASK_CLEAR: batch[MASK_CLEAR] & ~cloud,
        }

"""Encoders for segmentation_models_pytorch: TorchGeo's own segmentation can train them."""

from collections.abc import Sequence
from typing import Any

from segmentation_models_pytorch.encoders import encoders
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import Tensor, nn
from torch.nn import functional as F

from .timm_backbone import StackedFrames, stack_frames

__all__ = ['StackedFramesEncoder', 'register_smp_encoder']


class StackedFramesEncoder(nn.Module, EncoderMixin):
    """An encoder of time series as a pyramid of feature maps.

    Frames are stacked as channels, with the limits of :class:`~.timm_backbone.StackedFrames`.
    The encoder gives one map at the resolution of the image; the levels of the pyramid are
    means of it over 2, 4, 8, ... pixels, each with a 1 x 1 convolution. smp's decoders start
    from the level of stride 2, so the finest detail is lost: the package's own segmentation
    task keeps it.

    Args:
        encoder: Name of the encoder.
        num_bands: Number of bands C.
        acquisition_times: T dates, seconds since 1970-01-01 UTC; evenly over a year if None.
        depth: Number of levels below the image.
        output_stride: Accepted for smp, which passes it; only 32 (no dilation) is possible.
    """

    frames: StackedFrames

    def __init__(
        self,
        *,
        encoder: str,
        num_bands: int = 10,
        acquisition_times: Sequence[int] | None = None,
        depth: int = 5,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        if output_stride != 32:
            raise ValueError(
                f'expected output_stride=32, got {output_stride}: the encoder has no strided '
                'convolutions to dilate; choose a decoder such as unet or fpn'
            )
        self.encoder_name = encoder
        self.num_bands = num_bands
        self.times = acquisition_times
        self._depth = depth
        self.set_in_channels(num_bands * (12 if self.times is None else len(self.times)))

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:
        """Build the encoder for T = *in_channels* / C dates; smp calls this once.

        Args:
            in_channels: Number of stacked channels, T times C.
            pretrained: Ignored: there are no published weights yet.
        """
        self.frames = stack_frames(self.encoder_name, in_channels, self.num_bands, self.times)
        width = self.frames.num_features
        self._in_channels = in_channels
        self._out_channels = [in_channels] + [width] * self._depth
        self.levels = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(self._depth))

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(B, T * C, H, W)`` to the image and maps ``(B, D, H / 2^i, W / 2^i)``."""
        features = self.frames.forward_features(x)
        h, w = x.shape[-2:]
        maps = [x]
        for i, level in enumerate(self.levels, start=1):
            size = (-(-h // 2**i), -(-w // 2**i))
            maps.append(level(F.adaptive_avg_pool2d(features, size)))
        return maps


def register_smp_encoder(name: str, **params: Any) -> None:
    """Register an encoder with smp; a name that is taken is left as it is.

    Args:
        name: Name for ``smp.Unet(encoder_name=...)``.
        **params: Arguments of :class:`StackedFramesEncoder`: *encoder*, *num_bands*,
            *acquisition_times*.
    """
    entry = {'encoder': StackedFramesEncoder, 'pretrained_settings': {}, 'params': params}
    encoders.setdefault(name, entry)

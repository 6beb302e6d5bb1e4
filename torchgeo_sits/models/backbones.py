"""Encoders as timm backbones: TorchGeo's own self-supervised tasks can train them."""

from collections.abc import Sequence
from typing import Any

import timm
import torch
from segmentation_models_pytorch.encoders import encoders
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import Series
from ..stacking import evenly_spaced, unstack
from .builders import build_encoder
from .encoder import SITSEncoder

__all__ = [
    'StackedFrames',
    'StackedFramesEncoder',
    'register_smp_encoder',
    'register_timm_backbone',
]


class StackedFrames(nn.Module):
    """An encoder behind the interface of an image backbone: frames stacked as channels.

    For models that only know ``(B, T * C, H, W)``. This has limits that the package's own
    tasks do not have: every series has the same T and the same dates, all frames count as
    valid and all pixels as clear, and what changes pixels along the channels (a grayscale
    over all of them) mixes dates.

    Args:
        encoder: Encoder of C bands.
        acquisition_times: T dates, seconds since 1970-01-01 UTC.
        num_classes: Outputs of a linear head, 0 for none.

    Attributes:
        num_features: Number of features before the head.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import planar_vit_tiny
        >>> backbone = StackedFrames(planar_vit_tiny(4), [0, 10**7, 2 * 10**7])
        >>> backbone(torch.rand(2, 3 * 4, 8, 8)).shape
        torch.Size([2, 128])
    """

    acquisition_times: Tensor

    def __init__(
        self, encoder: SITSEncoder, acquisition_times: Sequence[int], *, num_classes: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_features = encoder.embed_dim
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        times = torch.tensor(list(acquisition_times), dtype=torch.int64)
        self.register_buffer('acquisition_times', times)

    def series(self, x: Tensor) -> Series:
        """Unstack ``(B, T * C, H, W)``, all bands of the first date first.

        Returns:
            B series ``(B, T, C, H, W)``.

        Raises:
            SITSError: If the channels are not T times C.
        """
        return Series(*unstack(x, self.acquisition_times, self.encoder.in_channels))

    def forward_features(self, x: Tensor) -> Tensor:
        """Late features: ``(B, T * C, H, W)`` to ``(B, D, H / stride, W / stride)``."""
        return self.encoder.features(self.series(x))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T * C, H, W)`` to ``(B, D)``, or ``(B, num_classes)`` with a head."""
        return self.head(self.encoder(self.series(x)))


def stack_frames(
    encoder: str,
    in_chans: int,
    num_bands: int,
    acquisition_times: Sequence[int] | None,
    **kwargs: Any,
) -> StackedFrames:
    """Build an encoder for frames stacked as channels.

    Args:
        encoder: Name of the encoder.
        in_chans: Number of stacked channels, T times *num_bands*.
        num_bands: Number of bands C.
        acquisition_times: T dates, seconds since 1970-01-01 UTC; evenly over a year if None.
        **kwargs: Further arguments of the encoder's builder; ``num_classes`` sets a head.

    Returns:
        The backbone.

    Raises:
        SITSError: If *in_chans* is no multiple of *num_bands*, or T dates are not given.
    """
    if in_chans < 1 or in_chans % num_bands:
        raise SITSError(
            f'expected in_chans to be a multiple of num_bands={num_bands} (frames stacked as '
            f'channels), got {in_chans}: pass num_bands, or register a backbone with it'
        )
    frames = in_chans // num_bands
    times = evenly_spaced(frames) if acquisition_times is None else acquisition_times
    if len(times) != frames:
        raise SITSError(
            f'expected {frames} acquisition_times for in_chans={in_chans} and '
            f'num_bands={num_bands}, got {len(times)}'
        )
    num_classes = kwargs.pop('num_classes', 0)
    model = build_encoder(encoder, num_bands, **kwargs)
    return StackedFrames(model, times, num_classes=num_classes)


def register_timm_backbone(
    name: str,
    *,
    encoder: str,
    num_bands: int = 10,
    acquisition_times: Sequence[int] | None = None,
) -> None:
    """Register an encoder with timm, for frames stacked as channels.

    TorchGeo's tasks pass timm nothing but the name and ``in_chans``, from which T follows by
    *num_bands*. For other bands or real dates, register a further name:
    ``register_timm_backbone('my_series', encoder='planar_vit_tiny', num_bands=4)``.
    A name that timm knows already is left as it is.

    Args:
        name: Name for :func:`timm.create_model`.
        encoder: Name of the encoder.
        num_bands: Number of bands C; 10 are those of Sentinel-2 at 10 and 20 m.
        acquisition_times: T dates, seconds since 1970-01-01 UTC; evenly over a year if None.

    Examples:
        >>> import timm
        >>> register_timm_backbone('sits_four_bands', encoder='planar_vit_tiny', num_bands=4)
        >>> timm.create_model('sits_four_bands', in_chans=12 * 4).num_features
        128
    """
    if timm.is_model(name):
        return
    bands = num_bands

    def build(
        pretrained: bool = False,
        *,
        in_chans: int = 12 * bands,
        num_bands: int = bands,
        acquisition_times: Sequence[int] | None = acquisition_times,
        **kwargs: Any,
    ) -> StackedFrames:
        if pretrained:
            raise SITSError(f'there are no published weights of {name} yet: pass pretrained=False')
        # What timm adds for models that it downloads.
        for key in ('pretrained_cfg', 'pretrained_cfg_overlay', 'cache_dir'):
            kwargs.pop(key, None)
        return stack_frames(encoder, in_chans, num_bands, acquisition_times, **kwargs)

    build.__name__ = name
    # timm adds the name to the __all__ of this module, so it has to exist here.
    globals()[name] = build
    timm.models.register_model(build)


class StackedFramesEncoder(nn.Module, EncoderMixin):
    """An encoder of time series as a pyramid of feature maps.

    Frames are stacked as channels, with the limits of :class:`~.backbones.StackedFrames`.
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
            raise SITSError(
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

    Examples:
        >>> import segmentation_models_pytorch as smp
        >>> register_smp_encoder('sits_four_bands', encoder='planar_vit_tiny', num_bands=4)
        >>> smp.encoders.get_encoder('sits_four_bands', in_channels=12 * 4).out_channels[:3]
        [48, 128, 128]
    """
    entry = {'encoder': StackedFramesEncoder, 'pretrained_settings': {}, 'params': params}
    encoders.setdefault(name, entry)

"""CNNs of timm, cut at a stride."""

from difflib import get_close_matches
from typing import Any

import timm
import torch
from torch import nn

__all__ = ['build_cnn']


def build_cnn(backbone: str, in_channels: int, max_stride: int) -> tuple[nn.Module, int, int]:
    """Build a CNN of timm up to its last feature map of at most a stride.

    Args:
        backbone: Name of the CNN in timm. Its weights are random.
        in_channels: Number of channels of its images.
        max_stride: Largest stride of the feature map.

    Returns:
        The network, which maps ``(B, C, H, W)``, H and W multiples of the stride, H at least
        twice that, to a list of this one map ``(B, D, ...)``; D; and the stride.

    Raises:
        ValueError: If timm has no such model, it has no map of so small a stride, or it does
            not take images of these sizes.
    """
    if not timm.is_model(backbone):
        near = get_close_matches(backbone, timm.list_models(), n=3)
        hint = f'did you mean one of {near}?' if near else 'timm.list_models() lists them'
        raise ValueError(f'expected backbone to be a model of timm, got {backbone!r}: {hint}')
    options: dict[str, Any] = {'pretrained': False, 'in_chans': in_channels, 'features_only': True}
    advice = 'choose a CNN for images of any size, such as resnet18'
    try:
        whole: Any = timm.create_model(backbone, **options)
        strides = whole.feature_info.reduction()
    except (RuntimeError, AttributeError, TypeError, AssertionError, ValueError) as error:
        raise ValueError(f'timm gives no feature maps of {backbone} ({error}): {advice}') from error
    levels = [level for level, stride in enumerate(strides) if stride <= max_stride]
    if not levels:
        raise ValueError(
            f'expected max_stride of at least {min(strides)}, got {max_stride}: {backbone} has '
            f'feature maps of the strides {strides}'
        )
    network: Any = timm.create_model(backbone, out_indices=(levels[-1],), **options)
    dim, stride = network.feature_info.channels()[-1], network.feature_info.reduction()[-1]
    try:
        with torch.no_grad():
            found = network.eval()(torch.zeros(1, in_channels, 2 * stride, stride))[0]
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(
            f'{backbone} takes no images of {2 * stride} x {stride} ({error}): {advice}'
        ) from error
    if found.ndim != 4 or found.shape[1] != dim or 0 in found.shape:
        raise ValueError(
            f'expected feature maps (B, {dim}, H, W) of {backbone}, got {tuple(found.shape)}: '
            f'{advice}'
        )
    return network.train(), dim, stride

"""The convolutional blocks of U-TAE, and the padding of images to a size they can halve."""

import torch
from torch import Tensor, nn

__all__ = ['ConvLayer', 'DownBlock', 'UpBlock', 'reflect_to']


class ConvLayer(nn.Sequential):
    """Convolution with reflected borders, a norm and ReLU.

    Args:
        channels: Number of input channels.
        out: Number of output channels.
        groups: Groups of a group norm; 0 for batch norm.
        halve: Whether to halve the size, with a window of 4 x 4 instead of 3 x 3.
    """

    def __init__(self, channels: int, out: int, *, groups: int, halve: bool = False) -> None:
        kernel, stride = (4, 2) if halve else (3, 1)
        norm = nn.GroupNorm(groups, out) if groups else nn.BatchNorm2d(out)
        super().__init__(
            nn.Conv2d(channels, out, kernel, stride, padding=1, padding_mode='reflect'),
            norm,
            nn.ReLU(),
        )


class DownBlock(nn.Module):
    """Halve the size of each frame, then two layers, the second with a residual connection.

    Args:
        channels: Number of input channels.
        out: Number of output channels.
        groups: Groups of the group norms.
    """

    def __init__(self, channels: int, out: int, *, groups: int) -> None:
        super().__init__()
        self.down = ConvLayer(channels, channels, groups=groups, halve=True)
        self.conv1 = ConvLayer(channels, out, groups=groups)
        self.conv2 = ConvLayer(out, out, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to ``(N, out, H / 2, W / 2)``."""
        x = self.conv1(self.down(x))
        return x + self.conv2(x)


class UpBlock(nn.Module):
    """Double the size, join the skip connection, then two layers as in :class:`DownBlock`.

    Args:
        channels: Number of input channels.
        out: Number of output channels.
        skip: Number of channels of the skip connection.
    """

    def __init__(self, channels: int, out: int, *, skip: int) -> None:
        super().__init__()
        self.skip_conv = nn.Sequential(nn.Conv2d(skip, skip, 1), nn.BatchNorm2d(skip), nn.ReLU())
        self.up = nn.Sequential(
            nn.ConvTranspose2d(channels, out, 4, stride=2, padding=1),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        )
        self.conv1 = ConvLayer(out + skip, out, groups=0)
        self.conv2 = ConvLayer(out, out, groups=0)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map ``(N, channels, H / 2, W / 2)`` and ``(N, skip, H, W)`` to ``(N, out, H, W)``."""
        x = self.conv1(torch.cat([self.up(x), self.skip_conv(skip)], 1))
        return x + self.conv2(x)


def reflect_to(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Pad an image below and to the right with its own reflection, however small it is.

    PyTorch's reflection cannot be wider than the image; this one goes back and forth.

    Args:
        x: ``(..., h, w)``.
        size: H and W, at least h and w.

    Returns:
        ``(..., H, W)``.
    """
    for axis, length in zip((-2, -1), size, strict=True):
        # The sizes of an exported graph are left open.
        if torch.compiler.is_exporting() or length > x.shape[axis]:
            last = torch.arange(x.shape[axis], device=x.device)[-1]
            steps = torch.arange(length, device=x.device) % (2 * last).clamp(min=1)
            x = x.index_select(axis, torch.minimum(steps, 2 * last - steps))
    return x

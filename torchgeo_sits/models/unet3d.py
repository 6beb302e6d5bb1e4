"""3D U-Net: time as a third axis of convolutions."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..keys import Series
from .encoder import Depth, SITSEncoder, gap_to_cells
from .frame_order import chronological, mark_unclear, take_frames
from .masked import PixelBatchNorm, map_where

__all__ = ['UNet3D']


class UNet3D(SITSEncoder):
    r"""U-Net with convolutions over time and space.

    The network of Rustowicz et al. 2019 (Semantic segmentation of crop type in Africa, CVPR
    workshops), as it was held against U-TAE on PASTIS (Garnot & Landrieu 2021,
    https://arxiv.org/abs/2107.07933, table 2): two levels of pooling, each convolution 3 x 3 x 3
    with batch norm and a leaky ReLU, and a mean over time. Its last layer, a 3 x 3 x 3
    convolution to the scores of the classes, is left to the task's linear head.

    Frames are put in the order of their dates, whose distances the network does not see. A
    series shorter than its batch must not notice: frames and pixels beyond its edge are zeros
    after every layer, as convolutions pad them; pooling, means and batch norm leave them out.
    Pixels that are not clear enter as zeros, and a channel more says which they are. Any T, H
    and W can be pooled: an odd last frame, row or column is pooled alone, where the published
    network drops it.

    Every layer mixes neighbouring pixels, so there is no depth before spatial context: *early*
    features are the late ones.

    Args:
        in_channels: Number of bands C.
        width: Channels of the published network over 4, 8 and 16: it has 4, 8 and 16 *width*
            at its three levels, and gives D = 2 *width* features.

    Raises:
        SITSError: If a size is below 1.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import UNet3D, Series
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 10**6 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> UNet3D(4, width=2).eval().features(series).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(self, in_channels: int = 10, *, width: int = 8) -> None:
        super().__init__(in_channels=in_channels, embed_dim=2 * width)
        self.config = {'in_channels': in_channels, 'width': width}
        fine, middle, coarse = 4 * width, 8 * width, 16 * width
        self.down1 = nn.ModuleList([_conv(in_channels + 1, fine), _conv(fine, fine)])
        self.down2 = nn.ModuleList([_conv(fine, middle), _conv(middle, middle)])
        self.center = nn.ModuleList([_conv(middle, coarse), _conv(coarse, coarse)])
        # The published network has no norm after this one, but after the next.
        self.up2 = _transposed(coarse, middle)
        self.join2 = nn.ModuleList([_conv(coarse, middle), _conv(middle, middle)])
        self.up1 = _MaskedLayer(_transposed(middle, fine), fine)
        self.join1 = nn.ModuleList([_conv(middle, fine), _conv(fine, 2 * width)])

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Mean features of the valid frames.

        All depths give late features, *joined* twice.

        Returns:
            ``(B, D, H, W)``, or ``(B, 2 D, H, W)`` for *joined*; zeros where no frame is valid.
        """
        copies = self.feature_dim(depth) // self.embed_dim
        frames, _ = self._frames(series)
        number = series.valid.sum(-1).clamp(min=1)[:, None, None, None]
        # Frames beyond the last valid one are zeros.
        return torch.cat([frames.sum(1) / number] * copies, 1)

    def forward_frames(self, series: Series) -> Tensor:
        """Features of each frame, with its neighbours in time in sight.

        Returns:
            ``(B, T, D, H, W)``.
        """
        frames, order = self._frames(series)
        return take_frames(frames, order.argsort(-1))

    def _frames(self, series: Series) -> tuple[Tensor, Tensor]:
        """Features of the frames in the order of their dates, and that order.

        Returns:
            ``(B, T, D, H, W)``, zeros beyond the last valid frame, and ``(B, T)`` int64.
        """
        order = chronological(series.acquisition_times, series.valid)
        frames = mark_unclear(take_frames(series.image, order), take_frames(series.clear, order))
        t, h, w = series.image.shape[1], *series.image.shape[-2:]
        # Two levels of pooling; last axis first.
        gaps = (0, gap_to_cells(w, 4), 0, gap_to_cells(h, 4), 0, gap_to_cells(t, 4))
        x = F.pad(rearrange(frames, 'b t c h w -> b c t h w'), gaps)
        inside = take_frames(series.valid, order)[:, None, :, None, None].expand(-1, 1, t, h, w)
        x = self._network(x, F.pad(inside, gaps))
        return rearrange(x, 'b c t h w -> b t c h w')[:, :t, :, :h, :w], order

    def _network(self, x: Tensor, inside: Tensor) -> Tensor:
        """Run the network.

        Args:
            x: ``(B, C + 1, T, H, W)``, all of T, H and W multiples of 4, zeros outside.
            inside: ``(B, 1, T, H, W)`` bool, False in padding.

        Returns:
            ``(B, D, T, H, W)``, zeros outside.
        """
        inside2 = _pool(inside, inside) > 0
        inside4 = _pool(inside2, inside2) > 0
        fine = _run(self.down1, x, inside)
        middle = _run(self.down2, _pool(fine, inside), inside2)
        coarse = _run(self.center, _pool(middle, inside2), inside4)
        raised = self.up2(coarse) * inside2
        middle = _run(self.join2, torch.cat([raised, middle], 1), inside2)
        raised = self.up1(middle, inside)
        return _run(self.join1, torch.cat([raised, fine], 1), inside)


class _MaskedLayer(nn.Module):
    """A convolution, batch norm and a leaky ReLU that do not see what lies outside.

    Args:
        conv: Convolution, maybe transposed.
        channels: Number of its output channels.
    """

    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__()
        self.conv = conv
        # Over a list of cells: those outside are left out of the list.
        self.norm = PixelBatchNorm(channels)

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            x: ``(B, C, T, H, W)``, zeros outside.
            inside: ``(B, 1, T', H', W')`` bool, of the size of the output.

        Returns:
            ``(B, C', T', H', W')``, zeros outside.
        """
        return map_where(self._normalise, self.conv(x).movedim(1, -1), inside[:, 0]).movedim(-1, 1)

    def _normalise(self, cells: Tensor) -> Tensor:
        """Batch norm and a leaky ReLU of cells ``(N, C)``."""
        return F.leaky_relu(self.norm(cells))


def _conv(channels: int, out: int) -> _MaskedLayer:
    """A layer with a convolution of 3 x 3 x 3."""
    return _MaskedLayer(nn.Conv3d(channels, out, 3, padding=1), out)


def _transposed(channels: int, out: int) -> nn.ConvTranspose3d:
    """A transposed convolution that doubles T, H and W."""
    return nn.ConvTranspose3d(channels, out, 3, stride=2, padding=1, output_padding=1)


def _run(layers: nn.ModuleList, x: Tensor, inside: Tensor) -> Tensor:
    """Apply layers of one size one after the other."""
    for layer in layers:
        x = layer(x, inside)
    return x


def _pool(x: Tensor, inside: Tensor) -> Tensor:
    """Largest value of each 2 x 2 x 2 cells, of those inside; zeros where there is none."""
    x = x.float() if x.dtype == torch.bool else x
    lowest = torch.finfo(x.dtype).min
    pooled = F.max_pool3d(x.masked_fill(~inside, lowest), 2)
    return pooled.masked_fill(pooled == lowest, 0)

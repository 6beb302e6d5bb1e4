"""U-TAE: a U-Net over the frames, with attention over their dates."""

from itertools import pairwise
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import Series
from .dates import days_since_september
from .encoder import Depth, SITSEncoder, count_cells
from .ltae import TemporalAttention
from .masked import list_where, map_chunks, unlist_where

__all__ = ['UTAE']


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


def _reflect_to(x: Tensor, size: tuple[int, int]) -> Tensor:
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


class UTAE(SITSEncoder):
    r"""U-Net with temporal attention encoder.

    U-TAE (Garnot & Landrieu 2021, https://arxiv.org/abs/2107.07933, section 3.1) with its
    published sizes. Each frame goes through the contracting half of a U-Net on its own. At the
    coarsest level :class:`~.ltae.TemporalAttention` pools the dates of each cell;
    its weights ``a_t^h``, interpolated to the other levels, pool their maps,
    ``sum_t a_t^h e_t^h`` for the h-th group of channels (equation 3), and the expanding half
    makes of them one map. Of the two convolutions before the scores the first belongs to the
    encoder; a linear head stands for the second, 1 x 1 instead of 3 x 3.

    What is not the paper's, for the promises of :class:`SITSEncoder`:

    - Unclear pixels are zeros, the mean of normalised bands, on their way into the
      convolutions. A cell has seen a date if any of its pixels has; it attends to those dates
      only. At the finer levels the interpolated weights of unclear cells are zeros, and the
      others are scaled to sum to 1.
    - Padding frames run through no layer, so that no norm takes them in.
    - Images are padded by reflection below and to the right, to a multiple of the coarsest
      cell, and the map is cropped.

    All layers mix pixels. *Early* features are those of the first level, pooled: each has seen
    the 5 x 5 pixels around it, and the attention of its coarse cell.

    Args:
        in_channels: Number of bands C.
        encoder_widths: Channels of the levels of the contracting half, from fine to coarse.
        decoder_widths: The same for the expanding half; the last are equal in both. The first
            is the number of late features.
        num_heads: Heads of the attention; divides *encoder_widths* and *dim*.
        dim: Channels of all heads' values together.
        key_dim: Channels of a key.
        groups: Groups of the group norms in the contracting half; divides *encoder_widths*.
        dropout: Rate of dropout after the attention.

    Raises:
        SITSError: If the widths do not fit each other, the heads or the groups.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import UTAE, Series
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 10**6 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> UTAE(4).eval().features(series).shape
        torch.Size([2, 32, 8, 8])
    """

    #: Pixels of frames that run through a level at a time without gradients.
    _CHUNK = 2**17

    def __init__(
        self,
        in_channels: int = 10,
        *,
        encoder_widths: tuple[int, ...] = (64, 64, 64, 128),
        decoder_widths: tuple[int, ...] = (32, 32, 64, 128),
        num_heads: int = 16,
        dim: int = 256,
        key_dim: int = 4,
        groups: int = 4,
        dropout: float = 0.2,
    ) -> None:
        wide, deep = list(encoder_widths), list(decoder_widths)
        if not wide or len(wide) != len(deep) or wide[-1] != deep[-1] or min(wide + deep) < 1:
            raise SITSError(
                'expected as many encoder_widths as decoder_widths, of at least 1 and the same at '
                f'the end, got {wide} and {deep}'
            )
        if any(width % num_heads or width % groups for width in wide):
            raise SITSError(
                f'expected num_heads={num_heads} and groups={groups} to divide encoder_widths, '
                f'got {wide}'
            )
        super().__init__(in_channels=in_channels, embed_dim=deep[0], early_dim=wide[0])
        self.config = {
            'in_channels': in_channels,
            'encoder_widths': wide,
            'decoder_widths': deep,
            'num_heads': num_heads,
            'dim': dim,
            'key_dim': key_dim,
            'groups': groups,
            'dropout': dropout,
        }
        self.stem = nn.Sequential(
            ConvLayer(in_channels, wide[0], groups=groups),
            ConvLayer(wide[0], wide[0], groups=groups),
        )
        self.down = nn.ModuleList(DownBlock(i, o, groups=groups) for i, o in pairwise(wide))
        self.temporal = TemporalAttention(
            in_dim=wide[-1],
            out_dim=wide[-1],
            dim=dim,
            num_heads=num_heads,
            key_dim=key_dim,
            dropout=dropout,
        )
        self.up = nn.ModuleList(
            UpBlock(deep[i], deep[i - 1], skip=wide[i - 1]) for i in range(len(deep) - 1, 0, -1)
        )
        self.last = ConvLayer(deep[0], deep[0], groups=0)

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Dense features, pooled over time.

        Returns:
            ``(B, D', H, W)``.
        """
        maps, seen = self._levels(series)
        values, weights = self._attend(maps[-1], seen[-1], series)
        pooled = []
        if depth != 'late':
            pooled.append(_pool(maps[0], _to_level(weights, seen[0])))
        if depth != 'early':
            pooled.append(self._decode(*self._pooled(maps, seen, values, weights)))
        h, w = series.image.shape[-2:]
        return torch.cat(pooled, 1)[..., :h, :w]

    def forward_frames(self, series: Series) -> Tensor:
        """Late features as if each frame alone had all the attention.

        Where a cell of a level was not clear in a frame, the map of the series stands.

        Returns:
            ``(B, T, D, H, W)``.
        """
        maps, seen = self._levels(series)
        values, weights = self._attend(maps[-1], seen[-1], series)
        pooled = self._pooled(maps, seen, values, weights)
        alone = self.temporal.alone(values, rearrange(seen[-1], 'b t h w -> b (h w) t'))
        size = maps[-1].shape[-2:]
        alone = rearrange(alone, 'b (h w) t d -> b t d h w', h=size[0], w=size[1])
        run = _frames_to_run(series.valid)
        levels = [
            list_where(torch.where(known[:, :, None], frame, whole[:, None]), run)
            for frame, known, whole in zip([alone, *maps[-2::-1]], seen[::-1], pooled, strict=True)
        ]
        # While training, batch norm must see all frames at once.
        late = map_chunks(self._decode, *levels, dim=0, chunk=self._chunk(maps[0], self.training))
        h, w = series.image.shape[-2:]
        return _unlist(late[..., :h, :w], run)

    def time_attention(self, series: Series) -> Tensor:
        """Weight of each date in the first level's features, the mean over the heads.

        Args:
            series: B series.

        Returns:
            ``(B, T, H, W)`` float32, sums to 1 over T; zeros where a pixel was never seen.
        """
        series = self.check_series(series)
        maps, seen = self._levels(series)
        _, weights = self._attend(maps[-1], seen[-1], series)
        h, w = series.image.shape[-2:]
        return _to_level(weights, seen[0]).mean(1)[..., :h, :w]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers: the stem, each level down, the attention, each level up, the last one."""
        return {
            'stem': r'^stem\.',
            'down': r'^down\.(\d+)\.',
            'temporal': r'^temporal\.',
            'up': r'^up\.(\d+)\.',
            'last': r'^last\.',
        }

    def _levels(self, series: Series) -> tuple[list[Tensor], list[Tensor]]:
        """Maps of each frame at each level, from fine to coarse, and which cells were clear.

        Returns:
            ``(B, T, D_l, H_l, W_l)``, zeros in padding frames, and ``(B, T, H_l, W_l)`` bool.
        """
        cell = 2 ** len(self.down)
        # The coarsest map is reflected by one cell, so it needs two.
        size = [max(count_cells(n, cell), 2) * cell for n in series.image.shape[-2:]]
        known = _reflect_to(series.clear, (size[0], size[1]))
        # where, not a product: NaN times zero is NaN.
        shown = torch.where(series.clear[:, :, None], series.image, 0)
        run = _frames_to_run(series.valid)
        x = _reflect_to(list_where(shown, run), (size[0], size[1]))
        maps: list[Tensor] = []
        seen: list[Tensor] = []
        for layer in (self.stem, *self.down):
            x = map_chunks(layer, x, dim=0, chunk=self._chunk(x, torch.is_grad_enabled()))
            if maps:
                known = F.max_pool2d(known.float(), 2) > 0
            maps.append(_unlist(x, run))
            seen.append(known)
        return maps, seen

    def _attend(self, coarse: Tensor, seen: Tensor, series: Series) -> tuple[Tensor, Tensor]:
        """Attention at the coarsest level: values ``(B, P, T, dim)``, weights ``(B, G, T, h, w)``.

        Weights are as :meth:`TemporalAttention.weights` gives them.
        """
        days = days_since_september(series.acquisition_times, series.valid)
        cells = rearrange(coarse, 'b t d h w -> b (h w) t d')
        known = rearrange(seen, 'b t h w -> b (h w) t')
        values = self.temporal.values(cells, days, known)
        weights = self.temporal.weights(values, known)
        return values, rearrange(weights, 'b (h w) t g -> b g t h w', h=seen.shape[-2])

    def _pooled(
        self, maps: list[Tensor], seen: list[Tensor], values: Tensor, weights: Tensor
    ) -> list[Tensor]:
        """Maps of the series at each level, from coarse to fine: ``(B, D_l, H_l, W_l)``."""
        means = self.temporal.pool(values, rearrange(weights, 'b g t h w -> b (h w) t g'))
        coarse = rearrange(
            self.temporal.project(means), 'b (h w) d -> b d h w', h=weights.shape[-2]
        )
        skips = zip(maps[-2::-1], seen[-2::-1], strict=True)
        return [coarse, *(_pool(x, _to_level(weights, known)) for x, known in skips)]

    def _decode(self, x: Tensor, *skips: Tensor) -> Tensor:
        """Expanding half: maps from coarse to fine to ``(N, D, H, W)``."""
        for up, skip in zip(self.up, skips, strict=True):
            x = up(x, skip)
        return self.last(x)

    def _chunk(self, frames: Tensor, whole: bool) -> int:
        """Frames to run at a time."""
        pixels = frames.shape[-2] * frames.shape[-1]
        return frames.shape[:-3].numel() if whole else max(1, self._CHUNK // pixels)


def _frames_to_run(valid: Tensor) -> Tensor:
    """Valid frames ``(B, T)``; the first of all where there is none, for layers need one."""
    first = torch.zeros_like(valid)
    first[0, 0] = True
    return valid | (first & ~valid.any())


def _unlist(x: Tensor, run: Tensor) -> Tensor:
    """Put frames ``(N, ...)`` in their places ``(B, T, ...)``, zeros elsewhere."""
    if not torch.compiler.is_exporting() and len(x) == run.numel():
        return x.unflatten(0, run.shape)
    return unlist_where(x, run)


def _to_level(weights: Tensor, seen: Tensor) -> Tensor:
    """Interpolate weights ``(B, G, T, h, w)`` to a level whose cells *seen* ``(B, T, H, W)``.

    Returns:
        ``(B, G, T, H, W)``, sums to 1 over the clear dates, zeros where there is none.
    """
    b, _, _, h, w = weights.shape
    if seen.shape[-2:] != (h, w):
        flat = weights.flatten(0, 1)
        flat = F.interpolate(flat, size=seen.shape[-2:], mode='bilinear', align_corners=False)
        weights = flat.unflatten(0, (b, -1))
    weights = weights * seen[:, None]
    # Clear dates may have all but no weight, and a quotient of such numbers no gradient.
    return weights / weights.sum(2, keepdim=True).clamp(min=1e-6)


def _pool(maps: Tensor, weights: Tensor) -> Tensor:
    """Pool each group of channels under its head's weights.

    Args:
        maps: ``(B, T, D, H, W)``.
        weights: ``(B, G, T, H, W)``.

    Returns:
        ``(B, D, H, W)``.
    """
    groups = maps.unflatten(2, (weights.shape[1], -1))
    if torch.compiler.is_exporting():  # the number of frames is left open
        return (groups * weights.movedim(2, 1)[:, :, :, None].to(maps.dtype)).sum(1).flatten(1, 2)
    total = maps.new_zeros(())
    # Frame by frame: all of them at once would be the size of the maps once more.
    for t in range(maps.shape[1]):
        total = total + groups[:, t] * weights[:, :, t, None].to(maps.dtype)
    return total.flatten(1, 2)

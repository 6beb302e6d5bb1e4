"""Deep-STaR: a 2D CNN over planes of satellite image time series."""

from difflib import get_close_matches
from typing import Any

import timm
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import Series
from .encoder import (
    Depth,
    PlaneFeatures,
    SITSEncoder,
    gap_to_cells,
    image_as_planes,
    mean_seen,
    transpose_image,
)
from .frame_order import fill_gaps, regular_dates
from .masked import map_chunks

__all__ = ['DeepSTaR']


def _build_cnn(backbone: str, in_channels: int, max_stride: int) -> tuple[nn.Module, int, int]:
    """Build a CNN of timm up to its last feature map of at most a stride.

    Args:
        backbone: Name of the CNN in timm. Its weights are random.
        in_channels: Number of channels of its images.
        max_stride: Largest stride of the feature map.

    Returns:
        The network, which maps ``(B, C, H, W)``, H and W multiples of the stride, H at least
        twice that, to a list of this one map ``(B, D, ...)``; D; and the stride.

    Raises:
        SITSError: If timm has no such model, it has no map of so small a stride, or it does
            not take images of these sizes.
    """
    if not timm.is_model(backbone):
        near = get_close_matches(backbone, timm.list_models(), n=3)
        hint = f'did you mean one of {near}?' if near else 'timm.list_models() lists them'
        raise SITSError(f'expected backbone to be a model of timm, got {backbone!r}: {hint}')
    options: dict[str, Any] = {'pretrained': False, 'in_chans': in_channels, 'features_only': True}
    advice = 'choose a CNN for images of any size, such as resnet18'
    try:
        whole: Any = timm.create_model(backbone, **options)
        strides = whole.feature_info.reduction()
    except (RuntimeError, AttributeError, TypeError, AssertionError, ValueError) as error:
        raise SITSError(f'timm gives no feature maps of {backbone} ({error}): {advice}') from error
    levels = [level for level, stride in enumerate(strides) if stride <= max_stride]
    if not levels:
        raise SITSError(
            f'expected max_stride of at least {min(strides)}, got {max_stride}: {backbone} has '
            f'feature maps of the strides {strides}'
        )
    network: Any = timm.create_model(backbone, out_indices=(levels[-1],), **options)
    dim, stride = network.feature_info.channels()[-1], network.feature_info.reduction()[-1]
    try:
        with torch.no_grad():
            found = network.eval()(torch.zeros(1, in_channels, 2 * stride, stride))[0]
    except (RuntimeError, AssertionError, ValueError) as error:
        raise SITSError(
            f'{backbone} takes no images of {2 * stride} x {stride} ({error}): {advice}'
        ) from error
    if found.ndim != 4 or found.shape[1] != dim or 0 in found.shape:
        raise SITSError(
            f'expected feature maps (B, {dim}, H, W) of {backbone}, got {tuple(found.shape)}: '
            f'{advice}'
        )
    return network.train(), dim, stride


class DeepSTaR(SITSEncoder):
    """Two-dimensional CNN on planes: images with time on one axis, a path of pixels on the other.

    After Deep-STaR (Chelali et al. 2021, https://doi.org/10.1016/j.cviu.2021.103221), which
    feeds such planes to a CNN. Its full text was not at hand: which curve, window, network and
    aggregation it settles on is unknown, and the choices here are this project's. A map is
    made of all rows and all columns, any other path goes through :meth:`encode_planes`, and the
    network is a CNN of timm, by name. The few that take no short planes, such as HRNet and
    Inception, are refused.

    A CNN needs a regular time axis. Gaps of each pixel are filled by linear interpolation
    (:func:`~.frame_order.fill_gaps`) at *num_steps* dates, at equal distances from the first
    to the last valid frame of the series, which is what makes any T fit; the network does not
    see how far apart they are, nor which season they fall in. A pixel that was never clear
    enters as zeros, and so does what pads a path to a multiple of the network's stride.

    The network ends at its last feature map of at most *max_stride*. Its cells are averaged
    over time and interpolated back to the pixels of the path, so that tokens are pixels; for a
    map, rows and columns are folded back, the mean of the two. Any H and W fit, 1 x 1 too.

    All convolutions mix neighbouring pixels, so there is no depth before spatial context:
    *early* features are the late ones.

    Args:
        in_channels: Number of bands C.
        backbone: Name of a CNN in timm. Its weights are random.
        num_steps: Regular dates S, a multiple of the network's stride and at least twice that.
        max_stride: Largest stride of the feature map that is taken. The channels of this map
            are D. The default keeps resnet18 up to its second stage, of 128 channels: planes of
            fields are short, and few of their cells would be left at stride 32.
        chunk_size: Pixel dates of planes held in memory at a time, while the network is not
            trained.

    Raises:
        SITSError: If a size is out of its range, timm has no such CNN, or it takes no planes.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import DeepSTaR, Series
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 10**6 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> DeepSTaR(4).eval().features(series).shape
        torch.Size([2, 128, 8, 8])
    """

    def __init__(
        self,
        in_channels: int = 10,
        *,
        backbone: str = 'resnet18',
        num_steps: int = 48,
        max_stride: int = 8,
        chunk_size: int = 2**18,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        for name in ('in_channels', 'num_steps', 'max_stride', 'chunk_size'):
            if arguments[name] < 1:
                raise SITSError(f'expected {name} of at least 1, got {arguments[name]}')
        network, dim, stride = _build_cnn(backbone, in_channels, max_stride)
        # Twice: with one cell for a lone pixel, batch norm would have nothing to train with.
        if num_steps % stride or num_steps < 2 * stride:
            raise SITSError(
                f'expected num_steps to be a multiple of {stride}, the stride of {backbone} at '
                f'max_stride={max_stride}, and at least {2 * stride}, got {num_steps}'
            )
        super().__init__(in_channels=in_channels, embed_dim=dim)
        self.config = arguments
        self.num_steps = num_steps
        self.chunk_size = chunk_size
        self.cell = stride
        self.network = network

    def pool_cells(self, late: Tensor, seen: Tensor) -> Tensor:
        """Mean of ``(B, N, S, D)`` over the pixels seen at any date, over all if none was."""
        return mean_seen(late, seen)

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Dense features, the mean over time: rows and columns encoded and folded back.

        All depths give late features, *joined* twice.

        Returns:
            ``(B, D, H, W)``, or ``(B, 2 D, H, W)`` for *joined*.
        """
        copies = self.feature_dim(depth) // self.embed_dim
        late = self._fold(series, pool=True)[:, :, 0]
        return torch.cat([late] * copies, 1)

    def forward_frames(self, series: Series) -> Tensor:
        """Features at the date of each frame, interpolated between the network's cells in time.

        A cell stands at the mean date of the regular dates that it covers; its mean over the
        cells is what :meth:`features` gives.

        Returns:
            ``(B, T, D, H, W)``.
        """
        maps = self._fold(series, pool=False)
        dates = regular_dates(series.acquisition_times, series.valid, self.num_steps)
        centres = rearrange(dates, 'b (g s) -> b g s', s=self.cell).sum(-1) // self.cell
        # Padding frames have no date to be interpolated at.
        times = torch.where(series.valid, series.acquisition_times, dates[:, :1])
        # The weights of the cells at each frame: what interpolating unit vectors gives.
        b, g = centres.shape
        units = torch.eye(g, device=maps.device).expand(b, 1, g, g)
        known = torch.ones(b, 1, g, dtype=torch.bool, device=maps.device)
        weights = fill_gaps(units, centres, known, times)[:, 0]
        # Where all frames are of one date, so are all cells.
        apart = (dates[:, -1:] > dates[:, :1])[..., None]
        weights = weights.where(apart, 1 / g) * series.valid[..., None]
        return torch.einsum('btg,bdghw->btdhw', weights.to(maps.dtype), maps)

    def forward_planes(self, planes: Series, token_mask: Tensor | None) -> PlaneFeatures:
        """Features of the planes of a view, each plane on its own.

        There is one token per pixel of a path. ``embed`` is the mean of the tokens seen at any
        date, and that of a single plane is the embedding of the plane.
        """
        if token_mask is not None:
            planes = planes._replace(mask_clear=planes.clear & ~token_mask[:, :, None])
        seen = planes.clear.any(2)
        late = rearrange(self._encode(planes, pool=True), 'b n d 1 l -> b n l d')
        return PlaneFeatures(self.pool_cells(late, seen), late, late, seen)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers as those of the network: each of its parts is one, from input to output."""
        return {
            name: rf'^network\.{name}\.'
            for name, part in self.network.named_children()
            if any(True for _ in part.parameters())
        }

    def _fold(self, series: Series, *, pool: bool) -> Tensor:
        """Encode rows and columns and fold them back: ``(B, D, G, H, W)``, G as in _encode."""
        rows = self._encode(image_as_planes(series), pool=pool)
        columns = self._encode(image_as_planes(transpose_image(series)), pool=pool)
        rows = rearrange(rows, 'b h d g w -> b d g h w')
        return (rows + rearrange(columns, 'b w d g h -> b d g h w')) / 2

    def _encode(self, planes: Series, *, pool: bool) -> Tensor:
        """Run the network on planes.

        Args:
            planes: Checked planes ``(B, N, C, T, L)``.
            pool: Whether to average over time.

        Returns:
            ``(B, N, D, G, L)`` with ``G = num_steps / stride`` cells in time, or 1 if pooled.
        """
        times = planes.acquisition_times
        dates = regular_dates(times, planes.valid, self.num_steps)

        def run(values: Tensor, clear: Tensor) -> Tensor:
            _, n, _, _, length = values.shape
            pixels = rearrange(values, 'b n c t l -> b (n l) t c')
            known = rearrange(clear, 'b n t l -> b (n l) t')
            filled = fill_gaps(pixels, times, known, dates)
            images = rearrange(filled, 'b (n l) s c -> (b n) c s l', n=n)
            images = F.pad(images, (0, gap_to_cells(length, self.cell)))
            cells = self.network(images)[0]
            steps = self.num_steps // self.cell
            if pool:
                cells, steps = cells.mean(2, keepdim=True), 1
            # Also brings maps to their place that a network without padding makes smaller.
            size = (steps, images.shape[-1])
            tokens = F.interpolate(cells, size, mode='bilinear', align_corners=False)
            return rearrange(tokens[..., :length], '(b n) d g l -> b n d g l', n=n)

        b, n, _, _, length = planes.image.shape
        width = length + gap_to_cells(length, self.cell)
        chunk = max(1, self.chunk_size // (b * self.num_steps * width))
        # While training, batch norm must see all planes at once.
        chunk = n if self.training else chunk
        return map_chunks(run, planes.image, planes.clear, dim=1, chunk=chunk)

"""TempCNN: convolutions over the dates of single pixels."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import Series
from .encoder import Depth, SITSEncoder
from .frame_order import fill_gaps, regular_dates
from .masked import PixelBatchNorm, map_chunks, map_where

__all__ = ['TempCNN']


class TempCNN(SITSEncoder):
    """Temporal convolutional network of single pixels.

    Pelletier et al. 2019, https://doi.org/10.3390/rs11050523, with the architecture that the
    paper settles on: three convolutions over time of 64 units and 5 dates, one dense layer of
    256 units, each with batch norm, ReLU and dropout, and no pooling. As in the paper, gaps are
    filled by linear interpolation first (:func:`~.frame_order.fill_gaps`).

    The dense layer needs one number of dates. They lie at equal distances from the first to the
    last valid frame of a series, which is what makes any T fit; the network does not see how
    far apart they are, nor which season they fall in. Pixels that were never clear take no
    part and get zeros.

    There is no spatial context, and the dense layer alone gives one vector per pixel: *early*
    features are the late ones.

    Args:
        in_channels: Number of bands C.
        num_dates: Regular dates S; 46 are as many as the images of the paper.
        hidden_dim: Channels of the convolutions.
        kernel_size: Dates in a convolution's window, odd.
        depth: Number of convolutions.
        embed_dim: Units of the dense layer, D.
        dropout: Rate of dropout after each layer.
        chunk_size: Pixel dates held in memory at a time, while the batch norm is not trained.

    Raises:
        SITSError: If a size is below 1 or *kernel_size* is even.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import TempCNN, Series
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 10**6 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> TempCNN(4, num_dates=9).eval().features(series).shape
        torch.Size([2, 256, 8, 8])
    """

    def __init__(
        self,
        in_channels: int = 10,
        *,
        num_dates: int = 46,
        hidden_dim: int = 64,
        kernel_size: int = 5,
        depth: int = 3,
        embed_dim: int = 256,
        dropout: float = 0.5,
        chunk_size: int = 2**17,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        super().__init__(in_channels=in_channels, embed_dim=embed_dim)
        self.config = arguments
        for name in ('num_dates', 'hidden_dim', 'depth', 'chunk_size'):
            if arguments[name] < 1:
                raise SITSError(f'expected {name} of at least 1, got {arguments[name]}')
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise SITSError(f'expected an odd kernel_size, got {kernel_size}: series would shrink')
        self.num_dates = num_dates
        self.chunk_size = chunk_size
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [
                nn.Conv1d(
                    hidden_dim if i else in_channels, hidden_dim, kernel_size, padding='same'
                ),
                PixelBatchNorm(hidden_dim),
                nn.ReLU(),
                nn.Dropout(dropout),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Linear(hidden_dim * num_dates, embed_dim)
        self.last = nn.Sequential(PixelBatchNorm(embed_dim), nn.ReLU(), nn.Dropout(dropout))

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Features of each pixel's filled series.

        All depths give late features, *joined* twice.

        Returns:
            ``(B, D, H, W)``, or ``(B, 2 D, H, W)`` for *joined*; zeros where a pixel was never
            clear.
        """
        copies = self.feature_dim(depth) // self.embed_dim
        dates = regular_dates(series.acquisition_times, series.valid, self.num_dates)

        def run(pixels: Tensor, known: Tensor) -> Tensor:
            filled = fill_gaps(pixels, series.acquisition_times, known, dates)
            return map_where(vectors, filled, known.any(-1))

        def vectors(filled: Tensor) -> Tensor:
            x = self.convolutions(rearrange(filled, 'n s c -> n c s'))
            return self.last(self.dense(x.flatten(1)))

        late = self._map(run, series, self.num_dates)
        late = rearrange(late.unflatten(1, series.image.shape[-2:]), 'b h w d -> b d h w')
        return torch.cat([late] * copies, 1)

    def forward_frames(self, series: Series) -> Tensor:
        """Shares of the regular dates around each frame in the features of the series.

        The dense layer is a sum over the regular dates. S times the part of one date, put in
        place of the sum, is the vector of that date; those of a frame's neighbours in time are
        interpolated at its date. Before the last norm, their mean over the regular dates is the
        vector of the series. All regular dates of a series of one date are one: its frame
        has the last of their vectors.

        Returns:
            ``(B, T, D, H, W)``, zeros in padding frames and where a pixel was never clear.
        """
        dates = regular_dates(series.acquisition_times, series.valid, self.num_dates)
        weight = self.dense.weight.unflatten(1, (-1, self.num_dates)) * self.num_dates
        # Padding frames have no date to be interpolated at.
        times = torch.where(series.valid, series.acquisition_times, dates[:, :1])

        def run(pixels: Tensor, known: Tensor) -> Tensor:
            seen = known.any(-1)
            shares = map_where(
                shares_of, fill_gaps(pixels, series.acquisition_times, known, dates), seen
            )
            everywhere = torch.ones_like(shares[..., 0], dtype=torch.bool)
            frames = fill_gaps(shares, dates, everywhere, times)
            real = seen[:, :, None] & series.valid[:, None]
            return map_where(self.last, frames, real)

        def shares_of(filled: Tensor) -> Tensor:
            x = self.convolutions(rearrange(filled, 'n s c -> n c s'))
            return torch.einsum('ncs,dcs->nsd', x, weight.to(x.dtype)) + self.dense.bias

        frames = self._map(run, series, self.num_dates + series.image.shape[1])
        return rearrange(frames.unflatten(1, series.image.shape[-2:]), 'b h w t d -> b t d h w')

    def _map(
        self,
        function: Callable[[Tensor, Tensor], Tensor],
        series: Series,
        num_dates: int,
    ) -> Tensor:
        """Run a function of pixels ``(B, P, T, C)`` and clear ``(B, P, T)`` on slices of them.

        Returns:
            ``(B, H W, ...)``.
        """
        pixels = rearrange(series.image, 'b t c h w -> b (h w) t c')
        known = rearrange(series.clear, 'b t h w -> b (h w) t')
        chunk = max(1, self.chunk_size // (pixels.shape[0] * num_dates))
        # While training, batch norm must see all pixels at once.
        return map_chunks(
            function, pixels, known, dim=1, chunk=pixels.shape[1] if self.training else chunk
        )

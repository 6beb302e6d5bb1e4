"""L-TAE: lightweight temporal attention, pixel by pixel."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import Series
from .dates import days_since_september
from .encoder import Depth, SITSEncoder
from .masked import map_chunks
from .temporal_attention import TemporalAttention

__all__ = ['LTAE']


class LTAE(SITSEncoder):
    """Lightweight temporal attention encoder of single pixels.

    Garnot & Landrieu 2020, https://arxiv.org/abs/2007.00586. Where the published network
    encodes the set of pixels of a parcel at each date, a linear layer with layer norm and ReLU
    maps the bands of one pixel. :class:`~.temporal_attention.TemporalAttention` then pools the
    pixel's clear dates.

    There is no spatial context. *Early* features are the joined means of the heads, zeros where
    a pixel was never clear; *late* features are those after the last layer of the attention.

    Args:
        in_channels: Number of bands C.
        embed_dim: Channels D of the late features.
        pixel_dim: Channels of a pixel at one date.
        dim: Channels of all heads' values together; those of early features.
        num_heads: Number of heads; divides *pixel_dim* and *dim*.
        key_dim: Channels of a key and of a query.
        dropout: Rate of dropout of late features.
        chunk_size: Pixel dates held in memory at a time; more are checkpointed in slices while
            gradients are recorded.

    Raises:
        SITSError: If a size is below 1 or *num_heads* does not divide *pixel_dim* and *dim*.
    """

    def __init__(
        self,
        in_channels: int = 10,
        *,
        embed_dim: int = 128,
        pixel_dim: int = 128,
        dim: int = 256,
        num_heads: int = 16,
        key_dim: int = 8,
        dropout: float = 0.2,
        chunk_size: int = 2**16,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        super().__init__(in_channels=in_channels, embed_dim=embed_dim, early_dim=dim)
        self.config = arguments
        if min(pixel_dim, chunk_size) < 1:
            raise SITSError(
                f'expected pixel_dim and chunk_size of at least 1, got {pixel_dim} and {chunk_size}'
            )
        self.chunk_size = chunk_size
        self.pixel = nn.Sequential(
            nn.Linear(in_channels, pixel_dim), nn.LayerNorm(pixel_dim), nn.ReLU()
        )
        self.temporal = TemporalAttention(
            in_dim=pixel_dim,
            out_dim=embed_dim,
            dim=dim,
            num_heads=num_heads,
            key_dim=key_dim,
            dropout=dropout,
        )

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Features of each pixel's clear dates.

        Arguments are those of :meth:`SITSEncoder.features`.

        Returns:
            ``(B, D', H, W)``, finite where a pixel was never clear.
        """
        pixels, clear, days = self._pixels(series)
        pooled = self._map(self._pool, pixels, clear, days)
        maps = []
        if depth != 'late':
            maps.append(pooled)
        if depth != 'early':
            maps.append(self.temporal.project(pooled))
        return rearrange(
            torch.cat(maps, -1).unflatten(1, series.image.shape[-2:]), 'b h w d -> b d h w'
        )

    def forward_frames(self, series: Series) -> Tensor:
        """Features of each date as a series of its own, which one weight of 1 gives.

        Where a pixel was not clear, the features of the series stand. Arguments are those of
        :meth:`SITSEncoder.frame_features`.

        Returns:
            ``(B, T, D, H, W)``, zeros in padding frames.
        """
        pixels, clear, days = self._pixels(series)
        late = self.temporal.project(self._map(self._pool, pixels, clear, days))
        # In training, statistics of the batch norm are those of all pixels.
        chunk = pixels.shape[1] if self.training else None
        alone = self._map(self.temporal.alone, pixels, clear, days, chunk=chunk)
        frames = torch.where(clear[..., None], alone, late[:, :, None])
        frames = rearrange(frames.unflatten(1, series.image.shape[-2:]), 'b h w t d -> b t d h w')
        return frames

    def time_attention(self, series: Series) -> Tensor:
        """Weight of each date in each pixel's features, the mean over the heads.

        Args:
            series: B series.

        Returns:
            ``(B, T, H, W)`` float32, sums to 1 over T; zeros where a pixel was never seen.
        """
        pixels, clear, days = self._pixels(self.check_series(series))
        weights = self._map(lambda v, m: self.temporal.weights(v, m).mean(-1), pixels, clear, days)
        return rearrange(weights.unflatten(1, series.image.shape[-2:]), 'b h w t -> b t h w')

    def _pixels(self, series: Series) -> tuple[Tensor, Tensor, Tensor]:
        """Bands ``(B, P, T, C)``, clear ``(B, P, T)`` and days ``(B, T)`` of all pixels."""
        return (
            rearrange(series.image, 'b t c h w -> b (h w) t c'),
            rearrange(series.clear, 'b t h w -> b (h w) t'),
            days_since_september(series.acquisition_times, series.valid),
        )

    def _pool(self, values: Tensor, clear: Tensor) -> Tensor:
        """Values of all dates to the joined means of the heads."""
        return self.temporal.pool(values, self.temporal.weights(values, clear))

    def _map(
        self,
        function: Callable[[Tensor, Tensor], Tensor],
        pixels: Tensor,
        clear: Tensor,
        days: Tensor,
        *,
        chunk: int | None = None,
    ) -> Tensor:
        """Run a function of the values of all dates on slices of the pixels.

        Args:
            function: Maps values ``(B, P, T, E)`` and clear ``(B, P, T)`` to ``(B, P, ...)``.
            pixels: ``(B, P, T, C)``, anything where not clear.
            clear: ``(B, P, T)`` bool.
            days: ``(B, T)``.
            chunk: Pixels of a slice; as many as *chunk_size* allows by default.

        Returns:
            ``(B, P, ...)``.
        """

        def run(bands: Tensor, known: Tensor) -> Tensor:
            # where, not a product: NaN times zero is NaN.
            seen = torch.where(known[..., None], bands, 0)
            return function(self.temporal.values(self.pixel(seen), days, known), known)

        chunk = chunk or max(1, self.chunk_size // (pixels.shape[0] * pixels.shape[2]))
        return map_chunks(run, pixels, clear, dim=1, chunk=chunk)

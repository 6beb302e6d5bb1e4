"""L-TAE: lightweight temporal attention, pixel by pixel."""

import torch
from einops import rearrange
from torch import Tensor, nn

from .chunks import map_chunks
from .encoder import Depth, SITSEncoder
from .master_query import MasterQueryAttention, day_positions

__all__ = ['LTAE']


class LTAE(SITSEncoder):
    """Lightweight temporal attention encoder of single pixels.

    Garnot & Landrieu 2020, https://arxiv.org/abs/2007.00586. The set of pixels of a parcel,
    which the published network encodes first, is one pixel here: an MLP of the published
    widths maps its bands at each date, with layer norm in place of batch norm, whose
    statistics would tell one frame of the others.
    :class:`~.master_query.MasterQueryAttention` then pools its clear dates.

    There is no spatial context. *Early* features are the joined means of the heads, before
    the MLP that gives *late* ones; both are zeros where a pixel was never clear.

    Args:
        in_channels: Number of bands C.
        embed_dim: Channels D of the features.
        dim: Channels that the heads share; those of early features.
        num_heads: Number of heads; divides *embed_dim*, *dim* and the 128 channels of a date.
        key_dim: Width of keys and queries.
        dropout: Rate of dropout of late features.
        chunk_size: Pixel dates held in memory at a time.

    Raises:
        ValueError: If a size is below 1 or *num_heads* does not divide the widths.
    """

    #: Widths of the MLP of a date's bands: those of the published pixel-set encoder.
    _WIDTHS = (32, 64, 128)

    def __init__(
        self,
        in_channels: int = 10,
        *,
        embed_dim: int = 128,
        dim: int = 256,
        num_heads: int = 16,
        key_dim: int = 8,
        dropout: float = 0.2,
        chunk_size: int = 2**16,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        super().__init__(in_channels=in_channels, embed_dim=embed_dim, early_dim=dim)
        self.config = arguments
        if chunk_size < 1:
            raise ValueError(f'expected chunk_size of at least 1, got {chunk_size}')
        self.chunk_size = chunk_size
        layers: list[nn.Module] = []
        for inputs, outputs in zip((in_channels, *self._WIDTHS), self._WIDTHS, strict=False):
            layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU()]
        self.bands = nn.Sequential(*layers)
        self.attention = MasterQueryAttention(
            self._WIDTHS[-1],
            dim=dim,
            num_heads=num_heads,
            key_dim=key_dim,
            out_dim=embed_dim,
            dropout=dropout,
        )

    def features(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        depth: Depth = 'late',
    ) -> Tensor:
        """Features of each pixel's clear dates.

        Arguments are those of :meth:`SITSEncoder.features`.

        Returns:
            ``(B, D', H, W)``, zeros where a pixel was never clear.
        """
        self.feature_dim(depth)  # names a depth that there is not
        pixels, clear, days = self._pixels(image, acquisition_times, valid, mask_clear)
        pooled = self._map(lambda v, m: self._pool(v, m), pixels, clear, days)
        maps = []
        if depth != 'late':
            maps.append(pooled)
        if depth != 'early':
            maps.append(self.attention.project(pooled, clear.any(-1)))
        joined = torch.cat([x.float() for x in maps], -1) if len(maps) > 1 else maps[0]
        return rearrange(joined.unflatten(1, image.shape[-2:]), 'b h w d -> b d h w')

    def frame_features(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
    ) -> Tensor:
        """Features of each date as a series of its own, which one weight of 1 gives.

        Where a pixel was not clear, the features of the series stand. Arguments are those of
        :meth:`SITSEncoder.frame_features`.

        Returns:
            ``(B, T, D, H, W)``, zeros in padding frames.
        """
        pixels, clear, days = self._pixels(image, acquisition_times, valid, mask_clear)
        series = self._map(lambda v, m: self._pool(v, m), pixels, clear, days)
        late = self.attention.project(series, clear.any(-1))
        # In training, statistics of the batch norm are those of all pixels.
        chunk = pixels.shape[1] if self.training else self._chunk(pixels)
        alone = self._map(self.attention.project, pixels, clear, days, chunk=chunk)
        frames = torch.where(clear[..., None], alone, late[:, :, None])
        frames = rearrange(frames.unflatten(1, image.shape[-2:]), 'b h w t d -> b t d h w')
        return frames * valid[:, :, None, None, None]

    def time_attention(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
    ) -> Tensor:
        """Weight of each date in each pixel's features, the mean over the heads.

        Args:
            image: ``(B, T, C, H, W)`` float.
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.
            mask_clear: ``(B, T, H, W)`` bool, True where a pixel was seen; all by default.

        Returns:
            ``(B, T, H, W)`` float32, sums to 1 over T; zeros where a pixel was never seen.
        """
        pixels, clear, days = self._pixels(image, acquisition_times, valid, mask_clear)
        weights = self._map(
            lambda v, m: self.attention.weights(v, m).mean(-1), pixels, clear, days
        )
        return rearrange(weights.unflatten(1, image.shape[-2:]), 'b h w t -> b t h w')

    def _pixels(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bands ``(B, P, T, C)``, clear ``(B, P, T)`` and days ``(B, T)`` of all pixels."""
        clear = self.check_series(image, acquisition_times, valid, mask_clear)
        return (
            rearrange(image, 'b t c h w -> b (h w) t c'),
            rearrange(clear, 'b t h w -> b (h w) t'),
            day_positions(acquisition_times, valid),
        )

    def _pool(self, values: Tensor, clear: Tensor) -> Tensor:
        """Values of all dates to the joined means of the heads."""
        return self.attention.pool(values, self.attention.weights(values, clear))

    def _chunk(self, pixels: Tensor) -> int:
        """Pixels to hold at a time."""
        return max(1, self.chunk_size // (pixels.shape[0] * pixels.shape[2]))

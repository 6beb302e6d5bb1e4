"""L-TAE: lightweight temporal attention, pixel by pixel."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import Series
from .dates import days_since_september
from .encoder import Depth, SITSEncoder
from .masked import PixelBatchNorm, map_chunks, map_where

__all__ = ['LTAE', 'TemporalAttention']


class TemporalAttention(nn.Module):
    r"""Lightweight temporal attention: one learned query per head, and channels of its own.

    L-TAE (Garnot & Landrieu 2020, https://arxiv.org/abs/2007.00586, section 3). A date's vector
    is projected to *dim* channels and the sines and cosines of its day are added,
    ``p_i = sin(day / 1000^(2 floor(i / 2) / d) + pi / 2 (i mod 2))`` for the d channels of each
    head. Head h takes its d channels ``e_t^h`` as values and weighs the dates by
    ``softmax_t(q_h . k_h(e_t) / sqrt(key_dim))``; the heads' means are joined and go through a
    linear layer with batch norm and ReLU, and a layer norm. Before all of it, groups of
    channels are normalised over a place's dates, as in U-TAE (Garnot & Landrieu 2021,
    https://arxiv.org/abs/2107.07933).

    Here a place attends to the dates that were clear there, and only they enter the statistics
    of the first norm; in U-TAE's public code padding frames do. U-TAE normalises groups of
    channels at the end as well. Where ReLU leaves a group all but zero, that magnifies rounding
    errors some hundred times, and the order of frames would show: the last norm is L-TAE's.
    Dropout changes the means and not the weights that are handed out.

    Args:
        in_dim: Channels of a date's vector.
        out_dim: Channels of the pooled vector.
        dim: Channels of all heads' values together.
        num_heads: Number of heads; divides *in_dim* and *dim*.
        key_dim: Channels of a key and of a query.
        dropout: Rate of dropout after the last layer.
        attention_dropout: Rate of dropout of the weights.

    Raises:
        SITSError: If a size is below 1 or *num_heads* does not divide *in_dim* and *dim*.
    """

    #: Base of the periods, in days.
    _PERIOD = 1000

    frequencies: Tensor

    def __init__(
        self,
        *,
        in_dim: int,
        out_dim: int,
        dim: int = 256,
        num_heads: int = 16,
        key_dim: int = 4,
        dropout: float = 0.2,
        attention_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if min(in_dim, out_dim, dim, num_heads, key_dim) < 1:
            raise SITSError(
                'expected in_dim, out_dim, dim, num_heads and key_dim of at least 1, got '
                f'{in_dim}, {out_dim}, {dim}, {num_heads} and {key_dim}'
            )
        if in_dim % num_heads or dim % num_heads:
            raise SITSError(
                f'expected num_heads={num_heads} to divide in_dim and dim, got {in_dim} and {dim}'
            )
        self.num_heads = num_heads
        self.in_norm = nn.GroupNorm(num_heads, in_dim)
        self.values_proj = nn.Linear(in_dim, dim)
        self.keys = nn.Linear(dim, num_heads * key_dim)
        self.queries = nn.Parameter(torch.empty(num_heads, key_dim))
        # As published: attention starts sharp.
        nn.init.normal_(self.queries, std=(2 / key_dim) ** 0.5)
        nn.init.normal_(self.keys.weight, std=(2 / key_dim) ** 0.5)
        self.attention_dropout = nn.Dropout(attention_dropout)
        self.mlp = nn.Sequential(
            nn.Linear(dim, out_dim), PixelBatchNorm(out_dim), nn.ReLU(), nn.Dropout(dropout)
        )
        self.out_norm = nn.LayerNorm(out_dim)
        channel = torch.arange(dim // num_heads)
        frequencies = self._PERIOD ** (-2 * (channel // 2) / (dim // num_heads))
        self.register_buffer('frequencies', frequencies.float(), persistent=False)

    def values(self, x: Tensor, days: Tensor, clear: Tensor) -> Tensor:
        """Values of each date.

        Args:
            x: ``(B, P, T, in_dim)``, finite everywhere.
            days: ``(B, T)`` float, in days.
            clear: ``(B, P, T)`` bool.

        Returns:
            ``(B, P, T, dim)``, finite everywhere.
        """
        return self.values_proj(self._normalise(x, clear)) + self._positions(days)[:, None]

    def weights(self, values: Tensor, clear: Tensor) -> Tensor:
        """Weight of each date under each head.

        Args:
            values: ``(B, P, T, dim)`` from :meth:`values`.
            clear: ``(B, P, T)`` bool.

        Returns:
            ``(B, P, T, num_heads)`` float32, sums to 1 over the clear dates; all zeros where
            there is none.
        """
        keys = self.keys(values).unflatten(-1, self.queries.shape).float()
        scores = (keys * self.queries.float()).sum(-1) / self.queries.shape[1] ** 0.5
        known = clear[..., None]
        # A finite floor: a row of minus infinity would make softmax NaN.
        scores = scores.masked_fill(~known, torch.finfo(scores.dtype).min)
        return scores.softmax(-2) * known

    def pool(self, values: Tensor, weights: Tensor) -> Tensor:
        """Means of each head's channels under its weights, joined: ``(B, P, dim)``."""
        weights = self.attention_dropout(weights).to(values.dtype)
        heads = rearrange(values, 'b p t (g d) -> b p g t d', g=self.num_heads)
        return (rearrange(weights, 'b p t g -> b p g 1 t') @ heads).flatten(-3)

    def project(self, means: Tensor) -> Tensor:
        """Last layer: ``(..., dim)`` to ``(..., out_dim)``."""
        out = self.out_norm(self.mlp(means.flatten(0, -2)))
        return out.view(*means.shape[:-1], out.shape[-1])

    def alone(self, values: Tensor, clear: Tensor) -> Tensor:
        """Pooled vectors of series of one date each, which has all the weight.

        Args:
            values: ``(B, P, T, dim)`` from :meth:`values`.
            clear: ``(B, P, T)`` bool.

        Returns:
            ``(B, P, T, out_dim)``, zeros where not clear.
        """
        # Only dates that were clear: while training, batch norm would take in padding.
        return map_where(self.project, values, clear)

    def forward(self, x: Tensor, days: Tensor, clear: Tensor) -> tuple[Tensor, Tensor]:
        """Pool the dates of each place.

        Args:
            x: ``(B, P, T, in_dim)``, finite everywhere.
            days: ``(B, T)`` float, in days.
            clear: ``(B, P, T)`` bool.

        Returns:
            ``(B, P, out_dim)``, and the weights ``(B, P, T, num_heads)``.
        """
        values = self.values(x, days, clear)
        weights = self.weights(values, clear)
        return self.project(self.pool(values, weights)), weights

    def _normalise(self, x: Tensor, clear: Tensor) -> Tensor:
        """Group norm over the clear dates and the channels of a group, in float32."""
        groups = x.float().unflatten(-1, (self.num_heads, -1))
        known = clear[..., None, None].to(groups.dtype)
        number = (known.sum(-3, keepdim=True) * groups.shape[-1]).clamp(min=1)
        mean = (groups * known).sum((-3, -1), keepdim=True) / number
        centred = groups - mean
        variance = (centred.square() * known).sum((-3, -1), keepdim=True) / number
        normal = (centred * (variance + self.in_norm.eps).rsqrt()).flatten(-2)
        normal = normal * self.in_norm.weight.float() + self.in_norm.bias.float()
        return normal.to(x.dtype)

    def _positions(self, days: Tensor) -> Tensor:
        """Sines and cosines of days ``(B, T)``, the same for each head: ``(B, T, dim)``."""
        angles = days.float()[..., None] * self.frequencies.float()
        even = torch.arange(len(self.frequencies), device=days.device) % 2 == 0
        waves = torch.where(even, angles.sin(), angles.cos())
        return waves.repeat(1, 1, self.num_heads).to(self.values_proj.weight.dtype)


class LTAE(SITSEncoder):
    """Lightweight temporal attention encoder of single pixels.

    Garnot & Landrieu 2020, https://arxiv.org/abs/2007.00586. Where the published network
    encodes the set of pixels of a parcel at each date, a linear layer with layer norm and ReLU
    maps the bands of one pixel. :class:`~.ltae.TemporalAttention` then pools the
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

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import LTAE, Series
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 10**6 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> LTAE(4, embed_dim=32).eval().features(series).shape
        torch.Size([2, 32, 8, 8])
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

        Where a pixel was not clear, the features of the series stand.

        Returns:
            ``(B, T, D, H, W)``.
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

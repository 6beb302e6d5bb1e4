"""The attention over dates of L-TAE, for any number of dates seen at each place."""

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import SITSError
from .masked import PixelBatchNorm, map_where

__all__ = ['TemporalAttention']


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

"""The time stage of PlanarViT: the dates of one token, pooled by learned queries."""

from typing import NamedTuple

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .dates import season_phase

__all__ = ['EncodedDates', 'SeasonalPrior', 'TimeStage']


class EncodedDates(NamedTuple):
    """What the time stage knows of the dates of a series.

    Attributes:
        code: ``(B, T, dim)``, added to the hidden vector of each date.
        prior: ``(B, T, K)``, added to the scores of the K queries.
    """

    code: Tensor
    prior: Tensor


class SeasonalPrior(nn.Module):
    r"""Scores of dates for queries that are spread over the year, and for free ones.

    Seasonal query k begins as a window about its time of year :math:`\phi_k = 2\pi k / S`,
    with the score :math:`\kappa \cos(2 \pi t - \phi_k)` of a von Mises kernel; free queries
    begin without preference. Pooling by softmax over clear dates then resamples an irregular
    series to the same S times of the year, whatever its dates: two views on other dates start
    comparable, and an untrained encoder already keeps the order of the seasons. Attention
    from reference times to observed ones is that of mTAN (Shukla & Marlin, ICLR 2021,
    https://arxiv.org/abs/2101.10318); places and widths are learned from there.

    Args:
        seasonal: Number S of seasonal queries.
        free: Number of free queries.
        kappa: Concentration of the windows at the start; 4 is a standard deviation of a
            month, about.
    """

    def __init__(self, seasonal: int, free: int, *, kappa: float = 4.0) -> None:
        super().__init__()
        anchors = 2 * torch.pi * torch.arange(seasonal) / max(1, seasonal)
        weight = kappa * torch.stack([anchors.cos(), anchors.sin()], dim=1)
        self.weight = nn.Parameter(torch.cat([weight, torch.zeros(free, 2)]))

    def forward(self, acquisition_times: Tensor) -> Tensor:
        """Score dates.

        Args:
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.

        Returns:
            ``(B, T, S + free)``.
        """
        angle = 2 * torch.pi * season_phase(acquisition_times)
        return torch.stack([angle.cos(), angle.sin()], dim=-1) @ self.weight.T


class TimeStage(nn.Module):
    """Embed what a token saw at each date, and pool the dates that were clear.

    A token is the segment of p pixels of a path. Its values and its date become a hidden
    vector ``h_t = GELU(LayerNorm(W x_t + date_t))``; K learned queries weigh the dates,
    ``a_kt = softmax_t(q_k . h_t + prior_kt)`` over clear dates, and their K means
    ``sum_t a_kt h_t`` are joined and projected; the prior is that of
    :class:`~.time_stage.SeasonalPrior`. Keys and values are linear in ``h_t``, so the key
    projection is folded into the query and the value projection is applied after pooling: a
    date costs one embedding and K dot products, and the whole is linear in T. Learned queries
    instead of one per date follow L-TAE (Garnot & Landrieu 2020, https://arxiv.org/abs/2007.00586).

    Args:
        in_features: Values of a token at one date: p pixels of C bands.
        segment: Pixels p of a token.
        dim: Width of the hidden vectors.
        out_dim: Width of the pooled token.
        num_queries: Number of learned queries K.
        depth: Self-attention blocks over the dates before pooling (cost quadratic in T).
        num_heads: Heads of these blocks.
        mlp_ratio: Hidden width of the output MLP over *out_dim*.
    """

    def __init__(
        self,
        *,
        in_features: int,
        segment: int,
        dim: int,
        out_dim: int,
        num_queries: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
    ) -> None:
        super().__init__()
        # With one pixel a date is clear as a whole or left out: the mask would say nothing.
        self.takes_mask = segment > 1
        self.embed = nn.Linear(in_features + segment * self.takes_mask, dim)
        self.norm = nn.LayerNorm(dim)
        self.act = nn.GELU()
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio, qkv_bias=True) for _ in range(depth)
        )
        self.queries = nn.Linear(dim, num_queries, bias=False)
        self.proj = nn.Linear(num_queries * dim, out_dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(out_dim),
            nn.Linear(out_dim, int(out_dim * mlp_ratio)),
            nn.GELU(),
            nn.Linear(int(out_dim * mlp_ratio), out_dim),
        )
        self.nothing_seen = nn.Parameter(torch.zeros(out_dim))
        nn.init.trunc_normal_(self.nothing_seen, std=0.02)

    def hidden(self, values: Tensor, clear: Tensor, dates: EncodedDates) -> Tensor:
        """Hidden vectors of each token at each date.

        Args:
            values: ``(B, P, T, p, C)``, anything where not clear.
            clear: ``(B, P, T, p)`` bool.
            dates: The dates of the series, encoded.

        Returns:
            ``(B, P, T, dim)``, finite everywhere.
        """
        # where, not a product: NaN times zero is NaN.
        seen = torch.where(clear[..., None], values, 0).flatten(-2)
        if self.takes_mask:
            seen = torch.cat([seen, clear.to(seen.dtype)], -1)
        x = self.act(self.norm(self.embed(seen) + dates.code[:, None]))
        if len(self.blocks):
            known = clear.any(-1).flatten(0, 1)
            # A finite floor: a row of minus infinity would make softmax NaN.
            bias = torch.zeros_like(known, dtype=x.dtype)
            bias = bias.masked_fill(~known, torch.finfo(x.dtype).min)[:, None, None]
            rows = x.flatten(0, 1)
            for block in self.blocks:
                rows = block(rows, attn_mask=bias)
            x = rows.view_as(x)
        return x

    def attention(self, hidden: Tensor, clear: Tensor, dates: EncodedDates) -> Tensor:
        """Weight of each date for each query.

        Args:
            hidden: ``(B, P, T, dim)`` from :meth:`hidden`.
            clear: ``(B, P, T, p)`` bool.
            dates: The dates of the series, encoded.

        Returns:
            ``(B, P, T, K)`` float32, sums to 1 over the dates with a clear pixel; all zeros
            where there is none.
        """
        known = clear.any(-1, keepdim=True)
        scores = self.queries(hidden).float() + dates.prior[:, None].float()
        scores = scores.masked_fill(~known, torch.finfo(scores.dtype).min)
        return scores.softmax(-2) * known

    def means(self, hidden: Tensor, clear: Tensor, dates: EncodedDates) -> Tensor:
        """Means of the hidden vectors under each query, joined: ``(B, P, K * dim)``."""
        weights = self.attention(hidden, clear, dates).to(hidden.dtype)
        return (weights.transpose(-2, -1) @ hidden).flatten(-2)

    def forward(self, values: Tensor, clear: Tensor, dates: EncodedDates) -> Tensor:
        """Pool the dates of each token.

        Args:
            values: ``(B, P, T, p, C)``, anything where not clear.
            clear: ``(B, P, T, p)`` bool.
            dates: The dates of the series, encoded.

        Returns:
            ``(B, P, out_dim)``; one learned token stands where no date was clear.
        """
        return self._project(self.means(self.hidden(values, clear, dates), clear, dates), clear)

    def with_means(self, values: Tensor, clear: Tensor, dates: EncodedDates) -> Tensor:
        """Pool the dates of each token, and keep what the projection narrows.

        Arguments are those of :meth:`forward`.

        Returns:
            ``(B, P, out_dim + K * dim)``: the token, then the means under the queries.
        """
        means = self.means(self.hidden(values, clear, dates), clear, dates)
        return torch.cat([self._project(means, clear), means], -1)

    def _project(self, means: Tensor, clear: Tensor) -> Tensor:
        """Tokens ``(B, P, out_dim)`` of means ``(B, P, K * dim)``."""
        x = self.proj(means)
        x = x + self.mlp(x)
        return torch.where(clear.any((-2, -1))[..., None], x, self.nothing_seen.to(x.dtype))

    def deviations(self, values: Tensor, clear: Tensor, dates: EncodedDates) -> Tensor:
        """How each date alone would move the pooled token, before the output MLP.

        A series of one date pools to that date's hidden vector under every query, so the
        sum of the K value projections applies to it. No weights of its own are needed.

        Args:
            values: ``(B, P, T, p, C)``, anything where not clear.
            clear: ``(B, P, T, p)`` bool.
            dates: The dates of the series, encoded.

        Returns:
            ``(B, P, T, out_dim)``, zeros where a date was not clear.
        """
        hidden = self.hidden(values, clear, dates)
        weight = self.proj.weight.unflatten(1, (-1, hidden.shape[-1])).sum(1)
        alone = nn.functional.linear(hidden, weight, self.proj.bias)
        moved = alone - self.proj(self.means(hidden, clear, dates))[:, :, None]
        return moved * clear.any(-1, keepdim=True)

    def weights(self, values: Tensor, clear: Tensor, dates: EncodedDates) -> Tensor:
        """Weight of each date, the mean over the queries: ``(B, P, T)`` float32."""
        return self.attention(self.hidden(values, clear, dates), clear, dates).mean(-1)

"""PlanarViT: a transformer over planes of satellite image time series."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, get_args

import torch
from einops import rearrange
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import Series
from .dates import TemporalEncoding, season_phase, years_elapsed
from .encoder import (
    Depth,
    PlaneFeatures,
    SITSEncoder,
    TimeSpan,
    gap_to_cells,
    image_as_planes,
    mean_seen,
    series_within,
    transpose_image,
)
from .masked import chunk_length, map_chunks

__all__ = ['PathExchange', 'PlanarViT']

#: Tokens of a path whose attention is computed at a time; shorter paths are computed whole.
_QUERIES: Final = 256
#: With a horizon fewer at a time see fewer tokens in vain.
_FEWEST_QUERIES: Final = 64


class _EncodedDates(NamedTuple):
    """Dates of a series as the time stage takes them.

    Attributes:
        code: ``(B, T, dim)``, added to the hidden vector of each date.
        prior: ``(B, T, K)``, added to the scores of the K queries.
    """

    code: Tensor
    prior: Tensor


#: Years of a series that a seasonal query prefers: none, the first or the last.
type Years = Literal['all', 'first', 'last']


class SeasonalPrior(nn.Module):
    r"""Scores of dates for queries that are spread over the year, and for free ones.

    Seasonal query k begins as a window about its time of year :math:`\phi_k = 2\pi k / S`,
    with the score :math:`\kappa \cos(2 \pi t - \phi_k)` of a von Mises kernel; free queries
    begin without preference. Pooling by softmax over clear dates then resamples an irregular
    series to the same S times of the year, whatever its dates: two views on other dates start
    comparable, and an untrained encoder already keeps the order of the seasons. Attention
    from reference times to observed ones is that of mTAN (Shukla & Marlin, ICLR 2021,
    https://arxiv.org/abs/2101.10318); places and widths are learned from there.

    A window about a time of year sees that season of every year, and a series of sixteen months
    has some seasons twice, with other crops. So there may be one set of seasonal queries for the
    first year of a series and one for the last: to the score of t, in years, comes
    :math:`-\lambda t` or :math:`+\lambda t`. It is linear, so that softmax needs no year to count
    from, and where the year it prefers has no clear date the nearest other one is taken.

    Args:
        seasonal: Number S of seasonal queries of each set.
        free: Number of free queries.
        kappa: Concentration of the windows at the start; 4 is a standard deviation of a
            month, about, and 16 of half a month.
        years: One set of seasonal queries for each entry.
        rate: Preference :math:`\lambda` for the first or the last year at the start, per year.

    Examples:
        >>> import torch
        >>> prior = SeasonalPrior(4, 0, kappa=16.0, years=('first', 'last'))
        >>> year = 31_556_952
        >>> times = year * torch.arange(3)[None] + year // 4  # the end of March, three times
        >>> weights = prior(times, torch.ones(1, 3, dtype=torch.bool)).softmax(1)
        >>> weights[0, :, 1].mul(100).round().tolist(), weights[0, :, 5].mul(100).round().tolist()
        ([98.0, 2.0, 0.0], [0.0, 2.0, 98.0])
    """

    def __init__(
        self,
        seasonal: int,
        free: int,
        *,
        kappa: float = 4.0,
        years: Sequence[Years] = ('all',),
        rate: float = 4.0,
    ) -> None:
        super().__init__()
        anchors = 2 * torch.pi * torch.arange(seasonal) / max(1, seasonal)
        weight = kappa * torch.stack([anchors.cos(), anchors.sin()], dim=1)
        weight = weight.repeat(len(years), 1)
        self.weight = nn.Parameter(torch.cat([weight, torch.zeros(free, 2)]))
        # Checkpoints of the first version know no years.
        self.drift: nn.Parameter | None = None
        if set(years) != {'all'}:
            signs = torch.tensor([{'all': 0.0, 'first': -rate, 'last': rate}[y] for y in years])
            self.drift = nn.Parameter(
                torch.cat([signs.repeat_interleave(seasonal), torch.zeros(free)])
            )

    def forward(self, acquisition_times: Tensor, valid: Tensor) -> Tensor:
        """Score dates.

        Args:
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames, whose scores mean nothing.

        Returns:
            ``(B, T, S * len(years) + free)``.
        """
        angle = 2 * torch.pi * season_phase(acquisition_times)[..., None]
        # Products of elements, which autocast leaves in float32: a matrix product in bfloat16
        # would be wrong by a sixteenth.
        scores = angle.cos() * self.weight[:, 0] + angle.sin() * self.weight[:, 1]
        if self.drift is not None:
            scores = scores + years_elapsed(acquisition_times, valid)[..., None] * self.drift
        return scores


class PathExchange(Protocol):
    """What stands in for the path stage where an image is a part of a larger one.

    The rows and columns of a window go on beyond it. A map is exact where tokens of all windows
    are collected first, their paths are run whole, and windows then get what came of it
    (:attr:`PlanarViT.exchange`).

    Attributes:
        has_late: Whether late features are there, so that tokens are not asked for.
        wants_early: Whether joined features hold the early ones; else they are the late ones.
    """

    has_late: bool
    wants_early: bool

    def __call__(self, tokens: Callable[[], tuple[Tensor, Tensor]], image: Tensor) -> Tensor:
        """Late features of a window, at each call of the path stage.

        Args:
            tokens: Gives the tokens of rows ``(B, H, S, D)`` and of columns ``(B, W, S', D)``.
            image: ``(..., H, W)``, of which the size is taken.

        Returns:
            ``(B, H, W, D)``.
        """
        ...


class TimeStage(nn.Module):
    """Embed what a token saw at each date, and pool the dates that were clear.

    A token is the segment of p pixels of a path. Its values and its date become a hidden
    vector ``h_t = GELU(LayerNorm(W x_t + date_t))``; K learned queries weigh the dates,
    ``a_kt = softmax_t(q_k . h_t + prior_kt)`` over clear dates, and their K means
    ``sum_t a_kt h_t`` are joined and projected; the prior is that of
    :class:`~.planar_vit.SeasonalPrior`. Keys and values are linear in ``h_t``, so the key
    projection is folded into the query and the value projection is applied after pooling: a
    date costs one embedding and K dot products, and the whole is linear in T. Learned queries
    instead of one per date follow L-TAE (Garnot & Landrieu 2020, https://arxiv.org/abs/2007.00586).

    Args:
        in_channels: Bands C.
        segment: Pixels p of a token.
        reach: Pixels on either side of its own along the path that a token of one pixel sees, too.
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
        in_channels: int,
        segment: int,
        reach: int,
        dim: int,
        out_dim: int,
        num_queries: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
    ) -> None:
        super().__init__()
        self.reach = reach
        places = segment + reach
        # With one pixel a date is clear as a whole or left out: the mask would say nothing.
        self.takes_mask = places > 1
        self.embed = nn.Linear(places * (in_channels + self.takes_mask), dim)
        if reach:
            # Begin with a pixel by itself; what lies beside it is learned to be of use or not.
            with torch.no_grad():
                self.embed.weight[:, in_channels : places * in_channels] = 0.0
                self.embed.weight[:, places * in_channels :] = 0.0
        self.norm = nn.LayerNorm(dim)
        self.act = nn.GELU()
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio, qkv_bias=True) for _ in range(depth)
        )
        self.queries = nn.Linear(dim, num_queries, bias=False)
        # Without weights: no loss on late features would train them.
        self.early_norm = nn.LayerNorm(num_queries * dim, elementwise_affine=False)
        self.proj = nn.Linear(num_queries * dim, out_dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(out_dim),
            nn.Linear(out_dim, int(out_dim * mlp_ratio)),
            nn.GELU(),
            nn.Linear(int(out_dim * mlp_ratio), out_dim),
        )
        self.nothing_seen = nn.Parameter(torch.zeros(out_dim))
        nn.init.trunc_normal_(self.nothing_seen, std=0.02)

    def known(self, clear: Tensor) -> Tensor:
        """Dates ``(..., T)`` that a token saw, of its clear mask ``(..., T, p)``."""
        # What lies beside a pixel fills no gap of its own.
        return clear[..., 0] if self.reach else clear.any(-1)

    def hidden(self, values: Tensor, clear: Tensor, dates: _EncodedDates) -> Tensor:
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
            known = self.known(clear).flatten(0, 1)
            # A finite floor: a row of minus infinity would make softmax NaN.
            bias = torch.zeros_like(known, dtype=x.dtype)
            bias = bias.masked_fill(~known, torch.finfo(x.dtype).min)[:, None, None]
            rows = x.flatten(0, 1)
            for block in self.blocks:
                rows = block(rows, attn_mask=bias)
            x = rows.view_as(x)
        return x

    def attention(self, hidden: Tensor, clear: Tensor, dates: _EncodedDates) -> Tensor:
        """Weight of each date for each query.

        Args:
            hidden: ``(B, P, T, dim)`` from :meth:`hidden`.
            clear: ``(B, P, T, p)`` bool.
            dates: The dates of the series, encoded.

        Returns:
            ``(B, P, T, K)`` float32, sums to 1 over the dates with a clear pixel; all zeros
            where there is none.
        """
        known = self.known(clear)[..., None]
        scores = self.queries(hidden).float() + dates.prior[:, None].float()
        scores = scores.masked_fill(~known, torch.finfo(scores.dtype).min)
        return scores.softmax(-2) * known

    def means(self, hidden: Tensor, clear: Tensor, dates: _EncodedDates) -> Tensor:
        """Means of the hidden vectors under each query, joined: ``(B, P, K * dim)``."""
        weights = self.attention(hidden, clear, dates).to(hidden.dtype)
        return (weights.transpose(-2, -1) @ hidden).flatten(-2)

    def forward(self, values: Tensor, clear: Tensor, dates: _EncodedDates) -> Tensor:
        """Pool the dates of each token.

        Args:
            values: ``(B, P, T, p, C)``, anything where not clear.
            clear: ``(B, P, T, p)`` bool.
            dates: The dates of the series, encoded.

        Returns:
            ``(B, P, out_dim)``; one learned token stands where no date was clear.
        """
        means = self.means(self.hidden(values, clear, dates), clear, dates)
        return self.project(means, self.known(clear).any(-1))

    def early(self, values: Tensor, clear: Tensor, dates: _EncodedDates) -> Tensor:
        """Pool the dates of each token, and stop before the projection narrows them.

        Arguments are those of :meth:`forward`.

        Returns:
            ``(B, P, K * dim)``: the means under the queries, normed.
        """
        means: Tensor = self.early_norm(self.means(self.hidden(values, clear, dates), clear, dates))
        return means

    def with_early(self, values: Tensor, clear: Tensor, dates: _EncodedDates) -> Tensor:
        """Pool the dates of each token, and keep what the projection narrows.

        Arguments are those of :meth:`forward`.

        Returns:
            ``(B, P, out_dim + K * dim)``: the token, then what :meth:`early` gives.
        """
        means = self.means(self.hidden(values, clear, dates), clear, dates)
        token = self.project(means, self.known(clear).any(-1))
        return torch.cat([token, self.early_norm(means)], -1)

    def sums(self, values: Tensor, clear: Tensor, dates: _EncodedDates) -> Tensor:
        r"""Sums over the dates under each query, of which :meth:`means_of` makes their means.

        With :math:`s_{kt}` the score of a date and :math:`m_k` the largest one over the dates
        that are clear, they are :math:`m_k`, :math:`\sum_t e^{s_{kt} - m_k}` and
        :math:`\sum_t e^{s_{kt} - m_k} h_t`: no exponent overflows, and those of other dates
        can be added (:meth:`add_sums`). That holds as long as a hidden vector is one of its own
        date, thus without self-attention over the dates (``depth=0``).

        Args:
            values: ``(B, P, T, p, C)``, anything where not clear.
            clear: ``(B, P, T, p)`` bool.
            dates: The dates of the series, encoded.

        Returns:
            ``(B, P, K, 2 + dim)`` float32; where no date was clear the sums are 0, and the score
            is the lowest number there is.
        """
        hidden = self.hidden(values, clear, dates)
        known = self.known(clear)[..., None]
        scores = self.queries(hidden).float() + dates.prior[:, None].float()
        scores = scores.masked_fill(~known, torch.finfo(scores.dtype).min)
        largest = scores.amax(-2, keepdim=True)
        weights = ((scores - largest).exp() * known).transpose(-2, -1)
        parts = largest.transpose(-2, -1), weights.sum(-1, keepdim=True), weights @ hidden.float()
        return torch.cat(parts, -1)

    def add_sums(self, some: Tensor, others: Tensor) -> Tensor:
        """Sums ``(B, P, K, 2 + dim)`` over the dates of both, of which none is one of both."""
        largest = torch.maximum(some[..., :1], others[..., :1])
        scaled = [(each[..., :1] - largest).exp() * each[..., 1:] for each in (some, others)]
        return torch.cat([largest, scaled[0] + scaled[1]], -1)

    def means_of(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Means ``(B, P, K * dim)`` of sums, and where any date was clear, ``(B, P)`` bool."""
        weight, hidden = sums[..., 1:2], sums[..., 2:]
        seen = weight[..., 0, 0] > 0
        # The largest score counts 1, so that a sum is at least that where there is one.
        means = (hidden / weight.clamp(min=1)).flatten(-2).to(self.proj.weight.dtype)
        return means, seen

    def project(self, means: Tensor, seen: Tensor) -> Tensor:
        """Tokens of the means under the queries.

        Args:
            means: ``(B, P, K * dim)``.
            seen: ``(B, P)`` bool, False where no date was clear.

        Returns:
            ``(B, P, out_dim)``; one learned token stands where no date was clear.
        """
        x = self.proj(means)
        x = x + self.mlp(x)
        return torch.where(seen[..., None], x, self.nothing_seen.to(x.dtype))

    def deviations(self, values: Tensor, clear: Tensor, dates: _EncodedDates) -> Tensor:
        """Change of the pooled token by each date alone, before the output MLP.

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
        return moved * self.known(clear)[..., None]

    def weights(self, values: Tensor, clear: Tensor, dates: _EncodedDates) -> Tensor:
        """Weight of each date, the mean over the queries: ``(B, P, T)`` float32."""
        return self.attention(self.hidden(values, clear, dates), clear, dates).mean(-1)


class PathStage(nn.Module):
    r"""Transformer blocks along paths of any length.

    Position enters as a fixed distance penalty :math:`-m_h |i - j|` on the attention scores
    of head h with :math:`m_h = 2^{-8 h / H}` (ALiBi, Press et al. 2022, section 3,
    https://arxiv.org/abs/2108.12409), symmetric instead of causal: it has no weights, holds
    for any length, and a path read backwards gives the same features.

    Of long paths the scores of some tokens are held at a time. Their number is the square of the
    length, or with a *horizon* the product of both.

    Args:
        dim: Width of the tokens.
        depth: Number of blocks.
        num_heads: Heads H of each block; divides *dim*.
        mlp_ratio: Hidden width of the blocks' MLP over *dim*.
        drop_path: Rate of stochastic depth at the last block, growing linearly from 0.
        horizon: Largest distance :math:`|i - j|` of tokens that attend to each other; None has
            no limit.
    """

    slopes: Tensor

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        drop_path: float,
        horizon: int | None,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio, qkv_bias=True, drop_path=rate) for rate in rates
        )
        self.norm = nn.LayerNorm(dim)
        slopes = 2.0 ** (-8 * torch.arange(1, num_heads + 1) / num_heads)
        self.register_buffer('slopes', slopes, persistent=False)

    def forward(self, paths: Tensor) -> Tensor:
        """Tokens in the context of their path: ``(R, S, dim)`` to ``(R, S, dim)``."""
        length = paths.shape[1]
        # Branches on the length would fix it in an exported graph.
        if torch.compiler.is_exporting() or length <= _QUERIES:
            steps = torch.arange(length, device=paths.device)
            bias = self._bias(steps, steps).to(paths.dtype)
            for block in self.blocks:
                paths = block(paths, attn_mask=bias)
            return self.norm(paths)
        blocks: Any = self.blocks
        for block in blocks:
            paths = paths + block.drop_path1(block.ls1(self._attend(block, paths)))
            paths = paths + block.drop_path2(block.ls2(block.mlp(block.norm2(paths))))
        return self.norm(paths)

    def _attend(self, block: Any, paths: Tensor) -> Tensor:
        """Attention of a block, as :class:`timm.layers.Attention` has it, by some tokens at a time.

        Args:
            block: A block of timm, whose attention norms and drops nothing.
            paths: ``(R, S, dim)``.
        """
        attention, length = block.attn, paths.shape[1]
        shape = 'r s (part head dim) -> part r head s dim'
        parts = rearrange(
            attention.qkv(block.norm1(paths)), shape, part=3, head=attention.num_heads
        )
        query, key, value = parts.unbind(0)
        steps = torch.arange(length, device=paths.device)
        around = length if self.horizon is None else self.horizon
        at_a_time = max(_FEWEST_QUERIES, min(_QUERIES, around))
        found = []
        for start in range(0, length, at_a_time):
            stop = min(start + at_a_time, length)
            seen = slice(max(0, start - around), min(length, stop + around))
            bias = self._bias(steps[start:stop], steps[seen]).to(query.dtype)
            some = query[..., start:stop, :], key[..., seen, :], value[..., seen, :]
            found.append(F.scaled_dot_product_attention(*some, attn_mask=bias))
        joined = rearrange(torch.cat(found, -2), 'r head s dim -> r s (head dim)')
        mixed: Tensor = attention.proj(joined)
        return mixed

    def _bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        """What is added to the scores of tokens at some places: ``(1, H, Q, K)``."""
        distance = (queries[:, None] - keys).abs()
        # Four axes: the fused attention kernels take no mask of three.
        bias = -self.slopes[None, :, None, None] * distance
        return (
            bias if self.horizon is None else bias.masked_fill(distance > self.horizon, -torch.inf)
        )


class PlanarViT(SITSEncoder):
    """Vision transformer on planes: time first, then along the path.

    A plane keeps time on one axis and an ordered path of pixels on the other (Deep-STaR,
    Chelali et al. 2021). A token is a segment of *segment* consecutive pixels of a path. The
    time stage (:class:`~.planar_vit.TimeStage`) pools its clear dates, in linear time; a
    transformer then runs along each path. For a map, the rows and the columns of the image
    are encoded as planes and folded back, the mean of the two. *Early* features are the means
    of the dates under all queries, before the projection narrows them.

    No weight depends on T, H, W, or the length or number of paths, so one weight file fits any
    plane and any image. Position along a path is relative and symmetric
    (:class:`~.planar_vit.PathStage`): a path read backwards gives the same features, and with
    segments of one pixel, so does a flipped or transposed map.

    Args:
        in_channels: Number of bands C.
        embed_dim: Width D of the path transformer and of the features.
        depth: Blocks along the path.
        num_heads: Heads of these blocks; divides *embed_dim*.
        mlp_ratio: Hidden width of the path blocks' MLP over *embed_dim*.
        segment: Pixels p of a token. Above 1 the cost falls by p, and paths are padded to a
            multiple of p with unseen pixels.
        reach: Pixels on either side of its own along the path that a token sees at each date, so
            that time and path mix before time is pooled. A map then pools time for rows and for
            columns, at twice the cost. Needs a *segment* of 1.
        time_dim: Width of the hidden vectors of the time stage.
        seasonal_queries: Queries that pool time in windows spread over the year at first; 0 to
            have none. Without *harmonics* there are none.
        concentration: Concentration of these windows at first; 4 is a standard deviation of a
            month, about, and 16 of half a month.
        years: A set of seasonal queries for each entry, which see that season of all years alike,
            or prefer that of the first or of the last year of a series.
        num_queries: Queries that pool time without preference at first.
        time_depth: Self-attention blocks over the dates before pooling; their cost is
            quadratic in T.
        time_heads: Heads of these blocks; divides *time_dim*.
        time_mlp_ratio: Hidden width of the time stage's MLPs.
        harmonics: Harmonics of the year in the date encoding, 0 for none.
        octaves: Periods of the elapsed years in the date encoding, 0 for none.
        drop_path: Rate of stochastic depth at the last path block, growing linearly.
        horizon: Largest distance along a path, in tokens, at which tokens attend to each other in
            a path block; None has no limit, and costs the square of the length of a path.
        chunk_size: Token dates (time stage), or tokens (path stage), held in memory at a
            time while gradients are recorded; larger inputs are checkpointed in slices.
            Without gradients slices fit the processor's cache.

    Raises:
        SITSError: If a size is below 1, heads do not divide a width, or *years* are others than
            all, first and last.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import PlanarViT, Series
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 10**6 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> PlanarViT(4, embed_dim=32).eval().features(series).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(
        self,
        in_channels: int = 10,
        *,
        embed_dim: int = 128,
        depth: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        segment: int = 1,
        reach: int = 0,
        time_dim: int = 64,
        seasonal_queries: int = 12,
        concentration: float = 4.0,
        years: Sequence[Years] = ('all',),
        num_queries: int = 4,
        time_depth: int = 0,
        time_heads: int = 4,
        time_mlp_ratio: float = 2.0,
        harmonics: int = 4,
        octaves: int = 5,
        drop_path: float = 0.0,
        horizon: int | None = None,
        chunk_size: int = 2**18,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        above = 'segment', 'time_dim', 'num_queries', 'num_heads', 'time_heads', 'chunk_size'
        for name, least in {**dict.fromkeys(above, 1), 'seasonal_queries': 0, 'reach': 0}.items():
            if arguments[name] < least:
                raise SITSError(f'expected {name} of at least {least}, got {arguments[name]}')
        if horizon is not None and horizon < 1:
            raise SITSError(f'expected a horizon of at least 1, or None, got {horizon}')
        if reach and segment > 1:
            raise SITSError(f'expected a segment of 1 with reach={reach}, got {segment}')
        known = get_args(Years.__value__)
        if not years or set(years) - set(known):
            raise SITSError(f'expected years among {known}, got {years!r}')
        seasonal = seasonal_queries if harmonics else 0  # where seasons are off, so are these
        queries = seasonal * len(years) + num_queries
        super().__init__(in_channels=in_channels, embed_dim=embed_dim, early_dim=queries * time_dim)
        self.config = arguments | {'years': list(years)}
        if embed_dim % num_heads or time_dim % time_heads:
            raise SITSError(
                'expected num_heads to divide embed_dim and time_heads to divide time_dim, got '
                f'{num_heads} and {embed_dim}, {time_heads} and {time_dim}'
            )
        self.segment = segment
        # A token that does not see its path is the same in the row and in the column of a pixel.
        self.sees_path = segment > 1 or reach > 0
        self.chunk_size = chunk_size
        self.dates = TemporalEncoding(time_dim, harmonics=harmonics, octaves=octaves)
        self.prior = SeasonalPrior(seasonal, num_queries, kappa=concentration, years=years)
        self.time_stage = TimeStage(
            in_channels=in_channels,
            segment=segment,
            reach=reach,
            dim=time_dim,
            out_dim=embed_dim,
            num_queries=queries,
            depth=time_depth,
            num_heads=time_heads,
            mlp_ratio=time_mlp_ratio,
        )
        self.mask_token = nn.Parameter(torch.zeros(embed_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.path_stage = PathStage(
            dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            drop_path=drop_path,
            horizon=horizon,
        )
        #: Stands in for the path stage in maps of which an image is a window.
        self.exchange: PathExchange | None = None

    def pool_cells(self, late: Tensor, seen: Tensor) -> Tensor:
        """Mean of ``(B, N, S, D)`` over the tokens seen at any date, over all if none was."""
        return mean_seen(late, seen)

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Dense features ``(B, D', H, W)``: rows and columns encoded and folded back.

        *Early* stops after the time stage.
        """
        stage = self.time_stage
        functions = {'early': stage.early, 'late': stage, 'joined': stage.with_early}
        return self._draw_maps(
            lambda wanted: self._both_ways(functions[wanted], series), series.image, depth
        )

    def forward_rolling(
        self, series: Series, spans: Sequence[TimeSpan], depth: Depth
    ) -> Iterator[Tensor]:
        """Features of each span of time, of which a growing one costs its new dates only.

        The time stage weighs dates by a softmax, a ratio of sums over them. Where a span begins
        with the same frame as the one before it and holds all of its frames, the sums of its new
        frames are added to those; the path stage runs for each span. Nothing else is exact:
        elapsed time counts from the first frame of a span, so that the hidden vectors of one that
        begins later are others, and with *time_depth* dates attend to each other.
        """
        if self.exchange is not None and (self.exchange.has_late or len(self.time_stage.blocks)):
            # A window must not do without a path that another one, with other gaps, needs.
            for span in spans:
                yield self.forward_features(series_within(series, span), depth)
            return
        if len(self.time_stage.blocks):
            yield from super().forward_rolling(series, spans, depth)
            return
        times, sums = series.acquisition_times, [torch.empty(0)]
        frames = torch.zeros_like(series.valid)
        found: Tensor | None = None
        for start, stop in spans:
            before, frames = frames, series.valid & (times >= start) & (times < stop)
            grows = (
                found is not None
                and not (before & ~frames).any()
                and _same_first(times, before, frames)
            )
            new = frames & ~before if grows else frames
            # Of a window all spans have paths: the next one may see in them what this one does not.
            alone = self.exchange is None
            if alone and found is not None and grows and not series.clear[new].any():
                yield found
                continue
            kept = new.any(0).nonzero()[:, 0]
            kept = kept if len(kept) else kept.new_zeros(1)
            part = series._replace(
                image=series.image[:, kept],
                acquisition_times=times[:, kept],
                valid=new[:, kept],
                mask_clear=series.clear[:, kept] & new[:, kept, None, None],
            )
            # Elapsed time counts from the first frame of the span, new or not.
            dates = self.dates(times, frames)[:, kept], self.prior(times, frames)[:, kept]
            added = self._sum_dates(part, _EncodedDates(*dates))
            if grows:
                added = [
                    self._map_tokens(self.time_stage.add_sums, *both)
                    for both in zip(sums, added, strict=True)
                ]
            sums = added
            found = self._draw_maps(
                lambda wanted, sums=sums: self._pool_sums(sums, wanted),  # type: ignore[misc]
                series.image,
                depth,
            )
            yield found

    def forward_frames(self, series: Series) -> Tensor:
        """Late features ``(B, T, D, H, W)``, moved by what each frame alone would change.

        Where a pixel was not clear in a frame, the features of the series stand.
        """
        late = self.forward_features(series, 'late')
        both = self._both_ways(self.time_stage.deviations, series)
        moved = _fold_back(both, series.image, self.segment)
        return late[:, None] + rearrange(moved, 'b h w t d -> b t d h w')

    def time_attention(self, series: Series) -> Tensor:
        """Weight of each date in each pixel's features, the mean over the queries.

        Args:
            series: B series.

        Returns:
            ``(B, T, H, W)`` float32, sums to 1 over T; zeros where a pixel was never seen.
        """
        series = self.check_series(series)
        weights = self._both_ways(self.time_stage.weights, series)
        return rearrange(_fold_back(weights, series.image, self.segment), 'b h w t -> b t h w')

    def forward_planes(self, planes: Series, token_mask: Tensor | None) -> PlaneFeatures:
        """Features of the planes of a view, each path on its own.

        A learned mask token replaces what is hidden by *token_mask* ``(B, N, S)`` on its way
        into the path blocks; early features are as they were, unless tokens see beyond their
        own pixel (*reach*), so that hidden ones count as unclear. There are
        ``S = ceil(L / segment)`` tokens per path; ``embed`` is the mean late feature of the
        tokens seen at any date.
        """
        shown = planes
        if token_mask is not None and self.time_stage.reach:
            # Or its neighbours would tell of what is hidden.
            shown = planes._replace(mask_clear=planes.clear & ~token_mask[:, :, None])
        pooled, seen = self._time(self.time_stage.with_early, shown, self._encode_dates(planes))
        if shown is not planes:
            seen = planes.clear.any(2)
        tokens, early = self._split(pooled)
        if token_mask is not None:
            tokens = torch.where(token_mask[..., None], self.mask_token.to(tokens.dtype), tokens)
        late = self._along_paths(tokens)
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    def forward_image(self, series: Series, token_mask: Tensor | None) -> PlaneFeatures:
        """Features of the pixels of an image, its rows and its columns folded back.

        As in :meth:`forward_planes`, the mask token replaces what is hidden on its way into the
        path blocks, here each segment of a row or column that holds a hidden pixel; early
        features are as they were, but with *reach*. There is one token per pixel.
        """
        seen = series.clear.any(1)
        if token_mask is not None and self.time_stage.reach:
            series = series._replace(mask_clear=series.clear & ~token_mask[:, None])
        pooled = self._both_ways(self.time_stage.with_early, series)
        tokens, early = self._split_both(pooled, series.image)
        if token_mask is not None:
            rows, columns = tokens
            tokens = (
                _hide_pixels(rows, token_mask, self.mask_token, self.segment),
                _hide_pixels(columns, token_mask.mT, self.mask_token, self.segment),
            )
        late = self._fold_paths(tokens, series.image)
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    def keep_blocks(self, number: int) -> None:
        """Leave out the path blocks after the first *number*, for late features that cost less.

        Without any, the late features of a pixel are its token, normed: what its own dates say,
        narrowed to ``embed_dim``. Nothing brings the blocks back.

        Args:
            number: Path blocks to keep.

        Raises:
            SITSError: If there are not as many.

        Examples:
            >>> encoder = PlanarViT(4, depth=2)
            >>> encoder.keep_blocks(1)
            >>> encoder.config['depth']
            1
        """
        depth = len(self.path_stage.blocks)
        if not 0 <= number <= depth:
            raise SITSError(f'expected path blocks from 0 to {depth}, got {number}')
        self.path_stage.blocks = self.path_stage.blocks[:number]
        self.config['depth'] = number

    @property
    def independent_pixels(self) -> bool:  # type: ignore[override]
        """Whether the features of a pixel follow from its own values alone."""
        return not (self.sees_path or len(self.path_stage.blocks))

    @property
    def plane_cell(self) -> tuple[int, int]:
        """Size of a token: one path, and *segment* pixels of it."""
        return 1, self.segment

    @property
    def path_margin(self) -> int:
        """Pixels beside its own that a token hangs on, along its path."""
        return max(self.time_stage.reach, self.segment - 1)

    def unseen_token(self) -> Tensor:
        """Token ``(D,)`` of what was never observed."""
        return self.time_stage.nothing_seen

    def run_paths(self, tokens: Tensor) -> Tensor:
        """Run the path stage on tokens of paths.

        Args:
            tokens: ``(N, S, D)``, of N paths of S tokens.

        Returns:
            ``(N, S, D)``.
        """
        return self._along_paths(tokens[None])[0]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers as those of a ViT: all before the path, each of its blocks, the norm."""
        return {
            'stem': r'^(?:dates|prior|time_stage|mask_token)',
            'blocks': r'^path_stage\.blocks\.(\d+)\.',
            'norm': r'^path_stage\.norm\.',
        }

    def _draw_maps(
        self, pool: Callable[[Depth], tuple[Tensor, Tensor]], image: Tensor, depth: Depth
    ) -> Tensor:
        """Features ``(B, D', H, W)`` of the pooled tokens of rows and columns.

        Args:
            pool: Gives of both what the time stage gives for early features, for late ones (the
                tokens), or for joined ones.
            image: ``(..., H, W)``, of which the size is taken.
            depth: One of early, late, joined.
        """
        if depth == 'joined' and self.exchange is not None and not self.exchange.wants_early:
            depth = 'late'
        if depth == 'early':
            maps = [self._fold_early(pool('early'), image)]
        elif depth == 'late':
            maps = [self._late(lambda: pool('late'), image)]
        else:
            tokens, early = self._split_both(pool('joined'), image)
            maps = [early, self._late(lambda: tokens, image)]
        return rearrange(torch.cat(maps, -1), 'b h w d -> b d h w')

    def _late(self, tokens: Callable[[], tuple[Tensor, Tensor]], image: Tensor) -> Tensor:
        """Late features ``(B, H, W, D)`` of the tokens of rows and columns."""
        if self.exchange is not None:
            return self.exchange(tokens, image)
        return self._fold_paths(tokens(), image)

    def _fold_early(self, early: tuple[Tensor, Tensor], image: Tensor) -> Tensor:
        """Early features ``(B, H, W, D)`` of those of rows and columns."""
        # Without a path the columns hold the same.
        return _fold_back(early, image, self.segment) if self.sees_path else early[0]

    def _sum_dates(self, series: Series, dates: _EncodedDates) -> list[Tensor]:
        """Sums of the time stage ``(B, N, S, K, 2 + dim)``, of columns too where they differ."""
        ways = [series] if not self.sees_path else [series, transpose_image(series)]
        return [self._time(self.time_stage.sums, image_as_planes(way), dates)[0] for way in ways]

    def _pool_sums(self, sums: list[Tensor], depth: Depth) -> tuple[Tensor, Tensor]:
        """Sums of rows and columns, pooled as :meth:`_draw_maps` asks for."""
        stage = self.time_stage

        def pool(x: Tensor) -> Tensor:
            means, seen = stage.means_of(x)
            parts = [] if depth == 'early' else [stage.project(means, seen)]
            parts += [] if depth == 'late' else [stage.early_norm(means)]
            return torch.cat(parts, -1)

        pooled = [self._map_tokens(pool, x) for x in sums]
        return pooled[0], pooled[-1] if self.sees_path else pooled[0].transpose(1, 2)

    def _map_tokens(self, function: Any, *sums: Tensor) -> Tensor:
        """Apply *function* to slices of tokens of sums ``(B, N, S, K, 2 + dim)``."""
        chunk = max(1, chunk_length(sums[0], self.chunk_size) // sums[0].shape[-2])
        flat = [each.flatten(0, 2)[None] for each in sums]
        return map_chunks(function, *flat, dim=1, chunk=chunk)[0].unflatten(0, sums[0].shape[:3])

    def _split(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and early features of what :meth:`TimeStage.with_early` gives."""
        tokens, early = pooled.split([self.embed_dim, self.early_dim], -1)
        return tokens, early

    def _split_both(
        self, pooled: tuple[Tensor, Tensor], image: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Tokens of rows and columns, and early features ``(B, H, W, D)``."""
        (rows, early), (columns, others) = map(self._split, pooled)
        return (rows, columns), self._fold_early((early, others), image)

    def _encode_dates(self, series: Series) -> _EncodedDates:
        """Dates as the time stage takes them."""
        times = series.acquisition_times
        return _EncodedDates(self.dates(times, series.valid), self.prior(times, series.valid))

    def _time(self, function: Any, planes: Series, dates: _EncodedDates) -> Any:
        """Run *function* of the time stage on tokens cut from planes.

        Args:
            function: Maps values ``(B, P, T, p, C)``, clear ``(B, P, T, p)`` and dates to
                ``(B, P, ...)``.
            planes: Checked planes ``(B, N, C, T, L)``.
            dates: Their dates, encoded.

        Returns:
            ``(B, N, S, ...)``, and ``(B, N, S)`` bool: tokens seen at any date.
        """
        values, known = planes.image, planes.clear
        b, n, _, t, length = values.shape
        if self.segment > 1:
            gap = 0, gap_to_cells(length, self.segment)
            values, known = F.pad(values, gap), F.pad(known, gap)
        chunk = max(1, chunk_length(values, self.chunk_size) // (b * t))
        if self.time_stage.reach:
            values, known = _both_sides(values, known, self.time_stage.reach)
            values = rearrange(values, 'p b n c t s -> b (n s) t p c')
            known = rearrange(known, 'p b n t s -> b (n s) t p')
        else:
            values = rearrange(values, 'b n c t (s p) -> b (n s) t p c', p=self.segment)
            known = rearrange(known, 'b n t (s p) -> b (n s) t p', p=self.segment)
        out = map_chunks(lambda x, m: function(x, m, dates), values, known, dim=1, chunk=chunk)
        seen = self.time_stage.known(known).any(-1)
        return out.unflatten(1, (n, -1)), seen.unflatten(1, (n, -1))

    def _both_ways(self, function: Any, series: Series) -> tuple[Tensor, Tensor]:
        """Run *function* of the time stage on the rows and on the columns of an image.

        Returns:
            ``(B, H, S, ...)`` for the rows and ``(B, W, S, ...)`` for the columns.
        """
        dates = self._encode_dates(series)
        rows, _ = self._time(function, image_as_planes(series), dates)
        if not self.sees_path:
            # Time is pooled once for both.
            return rows, rows.transpose(1, 2)
        columns, _ = self._time(function, image_as_planes(transpose_image(series)), dates)
        return rows, columns

    def _fold_paths(self, tokens: Iterable[Tensor], image: Tensor) -> Tensor:
        """Run the path stage on rows and columns and fold them back: ``(B, H, W, D)``."""
        return _fold_back([self._along_paths(x) for x in tokens], image, self.segment)

    def _along_paths(self, tokens: Tensor) -> Tensor:
        """Transformer along each path: ``(B, N, S, D)`` to ``(B, N, S, D)``."""
        chunk = max(1, chunk_length(tokens, self.chunk_size) // tokens.shape[2])
        rows = map_chunks(self.path_stage, tokens.flatten(0, 1), dim=0, chunk=chunk)
        return rows.view_as(tokens)


def _both_sides(values: Tensor, clear: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Pixels of paths, and the means of what is clear at each distance on either side of them.

    A mean of both sides, so that a path read backwards gives the same features.

    Args:
        values: ``(B, N, C, T, L)``, anything where not clear.
        clear: ``(B, N, T, L)`` bool.
        reach: Largest distance along the path.

    Returns:
        Values ``(1 + reach, B, N, C, T, L)``, and which of them are clear
        ``(1 + reach, B, N, T, L)``.
    """
    means, known = [values], [clear]
    inside = torch.where(clear[:, :, None], values, 0)
    length = values.shape[-1]
    for distance in range(1, reach + 1):
        gap = min(distance, length)
        shifts = (gap, 0), (0, gap)
        sides = [F.pad(inside, shift) for shift in shifts]
        seen = [F.pad(clear, shift) for shift in shifts]
        total = sides[0][..., :length] + sides[1][..., gap:]
        number = seen[0][..., :length].to(values.dtype) + seen[1][..., gap:]
        means.append(total / number.clamp(min=1)[:, :, None])
        known.append(number > 0)
    return torch.stack(means), torch.stack(known)


def _same_first(times: Tensor, some: Tensor, others: Tensor) -> bool:
    """Whether two choices ``(B, T)`` of frames begin with the same one in each series."""
    latest = torch.iinfo(times.dtype).max
    first = [times.masked_fill(~frames, latest).amin(1) for frames in (some, others)]
    return torch.equal(*first)


def _fold_back(tokens: Iterable[Tensor], image: Tensor, segment: int) -> Tensor:
    """Give each pixel the mean of the tokens of its row and of its column.

    Args:
        tokens: Tokens of the rows ``(B, H, S, ...)`` and of the columns ``(B, W, S', ...)``.
        image: ``(..., H, W)``, of which the size is taken.
        segment: Pixels of a token; the last token of a line may have fewer.

    Returns:
        ``(B, H, W, ...)``.
    """
    h, w = image.shape[-2:]
    rows, columns = tokens
    if segment > 1:
        rows, columns = (x.repeat_interleave(segment, 2) for x in (rows, columns))
    return (rows[:, :, :w] + columns[:, :, :h].transpose(1, 2)) / 2


def _hide_pixels(tokens: Tensor, hidden: Tensor, mask_token: Tensor, segment: int) -> Tensor:
    """Put the mask token in the place of tokens that see a hidden pixel.

    Args:
        tokens: ``(B, N, S, D)``, of lines of L pixels.
        hidden: ``(B, N, L)`` bool.
        mask_token: ``(D,)``.
        segment: Pixels of a token; the last token of a line may have fewer.

    Returns:
        ``(B, N, S, D)``.
    """
    hidden = F.pad(hidden, (0, gap_to_cells(hidden.shape[-1], segment)))
    hidden = hidden.unflatten(-1, (-1, segment)).any(-1)
    return torch.where(hidden[..., None], mask_token.to(tokens.dtype), tokens)

"""PlanarViT: a transformer over planes of satellite image time series."""

from collections.abc import Iterable
from typing import Any

import torch
from einops import rearrange
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SITSError
from .dates import TemporalEncoding
from .encoder import Depth, PlaneFeatures, SITSEncoder, gap_to_cells, mean_seen
from .masked import chunk_length, map_chunks
from .time_stage import EncodedDates, SeasonalPrior, TimeStage

__all__ = ['PathStage', 'PlanarViT', 'fold_back', 'hide_pixels']


def fold_back(tokens: Iterable[Tensor], image: Tensor, segment: int) -> Tensor:
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


def hide_pixels(tokens: Tensor, hidden: Tensor, mask_token: Tensor, segment: int) -> Tensor:
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


class PathStage(nn.Module):
    r"""Transformer blocks along paths of any length.

    Position enters as a fixed distance penalty :math:`-m_h |i - j|` on the attention scores
    of head h with :math:`m_h = 2^{-8 h / H}` (ALiBi, Press et al. 2022, section 3,
    https://arxiv.org/abs/2108.12409), symmetric instead of causal: it has no weights, holds
    for any length, and a path read backwards gives the same features.

    Args:
        dim: Width of the tokens.
        depth: Number of blocks.
        num_heads: Heads H of each block; divides *dim*.
        mlp_ratio: Hidden width of the blocks' MLP over *dim*.
        drop_path: Rate of stochastic depth at the last block, growing linearly from 0.
    """

    slopes: Tensor

    def __init__(
        self, *, dim: int, depth: int, num_heads: int, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio, qkv_bias=True, drop_path=rate) for rate in rates
        )
        self.norm = nn.LayerNorm(dim)
        slopes = 2.0 ** (-8 * torch.arange(1, num_heads + 1) / num_heads)
        self.register_buffer('slopes', slopes, persistent=False)

    def forward(self, paths: Tensor) -> Tensor:
        """Tokens in the context of their path: ``(R, S, dim)`` to ``(R, S, dim)``."""
        steps = torch.arange(paths.shape[1], device=paths.device)
        # Four axes: the fused attention kernels take no mask of three.
        bias = -self.slopes[None, :, None, None] * (steps[:, None] - steps).abs()
        bias = bias.to(paths.dtype)
        for block in self.blocks:
            paths = block(paths, attn_mask=bias)
        return self.norm(paths)


class PlanarViT(SITSEncoder):
    """Vision transformer on planes: time first, then along the path.

    A plane keeps time on one axis and an ordered path of pixels on the other (Deep-STaR,
    Chelali et al. 2021). A token is a segment of *segment* consecutive pixels of a path. The
    time stage (:class:`~.time_stage.TimeStage`) pools its clear dates, in linear time; a
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
        time_dim: Width of the hidden vectors of the time stage.
        seasonal_queries: Queries that pool time in windows spread over the year at first; 0 to
            have none. Without *harmonics* there are none.
        num_queries: Queries that pool time without preference at first.
        time_depth: Self-attention blocks over the dates before pooling; their cost is
            quadratic in T.
        time_heads: Heads of these blocks; divides *time_dim*.
        time_mlp_ratio: Hidden width of the time stage's MLPs.
        harmonics: Harmonics of the year in the date encoding, 0 for none.
        octaves: Periods of the elapsed years in the date encoding, 0 for none.
        drop_path: Rate of stochastic depth at the last path block, growing linearly.
        chunk_size: Token dates (time stage), or tokens (path stage), held in memory at a
            time while gradients are recorded; larger inputs are checkpointed in slices.
            Without gradients slices fit the processor's cache.

    Raises:
        SITSError: If a size is below 1 or heads do not divide a width.
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
        time_dim: int = 64,
        seasonal_queries: int = 12,
        num_queries: int = 4,
        time_depth: int = 0,
        time_heads: int = 4,
        time_mlp_ratio: float = 2.0,
        harmonics: int = 4,
        octaves: int = 5,
        drop_path: float = 0.0,
        chunk_size: int = 2**18,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        above = 'segment', 'time_dim', 'num_queries', 'num_heads', 'time_heads', 'chunk_size'
        for name, least in {**dict.fromkeys(above, 1), 'seasonal_queries': 0}.items():
            if arguments[name] < least:
                raise SITSError(f'expected {name} of at least {least}, got {arguments[name]}')
        seasonal = seasonal_queries if harmonics else 0  # where seasons are off, so are these
        queries = seasonal + num_queries
        super().__init__(in_channels=in_channels, embed_dim=embed_dim, early_dim=queries * time_dim)
        self.config = arguments
        if embed_dim % num_heads or time_dim % time_heads:
            raise SITSError(
                'expected num_heads to divide embed_dim and time_heads to divide time_dim, got '
                f'{num_heads} and {embed_dim}, {time_heads} and {time_dim}'
            )
        self.segment = segment
        self.chunk_size = chunk_size
        self.dates = TemporalEncoding(time_dim, harmonics=harmonics, octaves=octaves)
        self.prior = SeasonalPrior(seasonal, num_queries)
        self.time_stage = TimeStage(
            in_features=segment * in_channels,
            segment=segment,
            dim=time_dim,
            out_dim=embed_dim,
            num_queries=queries,
            depth=time_depth,
            num_heads=time_heads,
            mlp_ratio=time_mlp_ratio,
        )
        # Without weights: no loss on late features would train them.
        self.early_norm = nn.LayerNorm(self.early_dim, elementwise_affine=False)
        self.mask_token = nn.Parameter(torch.zeros(embed_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.path_stage = PathStage(
            dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            drop_path=drop_path,
        )

    def pool_cells(self, late: Tensor, seen: Tensor) -> Tensor:
        """Mean of ``(B, N, S, D)`` over the tokens seen at any date, over all if none was."""
        return mean_seen(late, seen)

    def features(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        depth: Depth = 'late',
    ) -> Tensor:
        """Dense features, pooled over time: rows and columns encoded and folded back.

        Arguments are those of :meth:`SITSEncoder.features`; *early* stops after the time stage.

        Returns:
            ``(B, D', H, W)``, D' as :meth:`feature_dim` gives it.
        """
        self.feature_dim(depth)
        clear = self.check_series(image, acquisition_times, valid, mask_clear)
        dates = self._encode_dates(acquisition_times, valid)
        pool = self.time_stage if depth == 'late' else self.time_stage.with_means
        tokens = self._both_ways(pool, image, clear, dates)
        maps = []
        if depth != 'late':
            tokens, early = self._split_both(tokens, image)
            maps.append(early)
        if depth != 'early':
            maps.append(fold_back([self._along_paths(x) for x in tokens], image, self.segment))
        return rearrange(torch.cat(maps, -1), 'b h w d -> b d h w')

    def frame_features(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
    ) -> Tensor:
        """Late features of the series, moved by what each frame alone would change.

        Where a pixel was not clear in a frame, the features of the series stand. Arguments are
        those of :meth:`SITSEncoder.frame_features`.

        Returns:
            ``(B, T, D, H, W)``, zeros in padding frames.
        """
        late = self.features(image, acquisition_times, valid, mask_clear)
        clear = self.check_series(image, acquisition_times, valid, mask_clear)
        dates = self._encode_dates(acquisition_times, valid)
        moved = self._both_ways(self.time_stage.deviations, image, clear, dates)
        frames = late[:, None] + rearrange(
            fold_back(moved, image, self.segment), 'b h w t d -> b t d h w'
        )
        return frames * valid[:, :, None, None, None]

    def time_attention(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
    ) -> Tensor:
        """Weight of each date in each pixel's features, the mean over the queries.

        Arguments are those of :meth:`SITSEncoder.features`.

        Returns:
            ``(B, T, H, W)`` float32, sums to 1 over T; zeros where a pixel was never seen.
        """
        clear = self.check_series(image, acquisition_times, valid, mask_clear)
        dates = self._encode_dates(acquisition_times, valid)
        weights = self._both_ways(self.time_stage.weights, image, clear, dates)
        return rearrange(fold_back(weights, image, self.segment), 'b h w t -> b t h w')

    def encode_planes(
        self,
        planes: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        token_mask: Tensor | None = None,
    ) -> PlaneFeatures:
        """Features of the planes of a view, each path on its own.

        Arguments are those of :meth:`SITSEncoder.encode_planes`. A learned mask token
        replaces what is hidden by *token_mask* ``(B, N, S)`` on its way into the path blocks;
        early features are as they were.

        Returns:
            Features with ``S = ceil(L / segment)`` tokens per path; ``embed`` is the mean
            late feature of the tokens seen at any date.

        Raises:
            SITSError: If a tensor has another shape than expected.
        """
        image = rearrange(planes, 'b n c t l -> b t c n l')
        clear = None if mask_clear is None else rearrange(mask_clear, 'b n t l -> b t n l')
        known = self.check_series(image, acquisition_times, valid, clear)
        known = rearrange(known, 'b t n l -> b n t l')
        dates = self._encode_dates(acquisition_times, valid)
        pooled, seen = self._time(self.time_stage.with_means, planes, known, dates)
        tokens, early = self._split(pooled)
        if token_mask is not None:
            if token_mask.shape != tokens.shape[:-1]:
                raise SITSError(
                    f'expected token_mask {tuple(tokens.shape[:-1])}, got {tuple(token_mask.shape)}'
                )
            tokens = torch.where(token_mask[..., None], self.mask_token.to(tokens.dtype), tokens)
        late = self._along_paths(tokens)
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    def encode_image(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        token_mask: Tensor | None = None,
    ) -> PlaneFeatures:
        """Features of the pixels of an image, its rows and its columns folded back.

        As in :meth:`encode_planes`, the mask token replaces what is hidden on its way into the
        path blocks, here each segment of a row or column that holds a hidden pixel; early
        features are as they were. Arguments and errors are those of
        :meth:`SITSEncoder.encode_image`; there is one token per pixel.
        """
        clear = self.check_series(image, acquisition_times, valid, mask_clear)
        dates = self._encode_dates(acquisition_times, valid)
        pooled = self._both_ways(self.time_stage.with_means, image, clear, dates)
        tokens, early = self._split_both(pooled, image)
        if token_mask is not None:
            self._check_token_mask(token_mask, image)
            options = self.mask_token, self.segment
            rows = hide_pixels(tokens[0], token_mask, *options)
            tokens = rows, hide_pixels(tokens[1], token_mask.mT, *options)
        late = fold_back([self._along_paths(x) for x in tokens], image, self.segment)
        seen = clear.any(1)
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    @property
    def plane_cell(self) -> tuple[int, int]:
        """One path, and *segment* pixels of it."""
        return 1, self.segment

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers as those of a ViT: all before the path, each of its blocks, the norm."""
        return {
            'stem': r'^(?:dates|prior|time_stage|mask_token)',
            'blocks': r'^path_stage\.blocks\.(\d+)\.',
            'norm': r'^path_stage\.norm\.',
        }

    def _split(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and early features of what :meth:`TimeStage.with_means` gives."""
        tokens, means = pooled.split([self.embed_dim, self.early_dim], -1)
        return tokens, self.early_norm(means)

    def _split_both(self, pooled: Any, image: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Tokens of rows and columns, and early features ``(B, H, W, D)``."""
        rows, means = self._split(pooled[0])
        if self.segment == 1:  # The columns hold the same tokens.
            return (rows, rows.transpose(1, 2)), means
        columns, others = self._split(pooled[1])
        return (rows, columns), fold_back((means, others), image, self.segment)

    def _encode_dates(self, acquisition_times: Tensor, valid: Tensor) -> EncodedDates:
        """Dates ``(B, T)`` as the time stage takes them."""
        return EncodedDates(self.dates(acquisition_times, valid), self.prior(acquisition_times))

    def _time(self, function: Any, planes: Tensor, clear: Tensor, dates: EncodedDates) -> Any:
        """Run *function* of the time stage on tokens cut from planes.

        Args:
            function: Maps values ``(B, P, T, p, C)``, clear ``(B, P, T, p)`` and dates to
                ``(B, P, ...)``.
            planes: ``(B, N, C, T, L)``.
            clear: ``(B, N, T, L)`` bool.
            dates: The dates of the series, encoded.

        Returns:
            ``(B, N, S, ...)``, and ``(B, N, S)`` bool: tokens seen at any date.
        """
        b, n, _, t, length = planes.shape
        if self.segment > 1:
            gap = 0, gap_to_cells(length, self.segment)
            planes, clear = (nn.functional.pad(x, gap) for x in (planes, clear))
        values = rearrange(planes, 'b n c t (s p) -> b (n s) t p c', p=self.segment)
        known = rearrange(clear, 'b n t (s p) -> b (n s) t p', p=self.segment)
        chunk = max(1, chunk_length(planes, self.chunk_size) // (b * t))
        out = map_chunks(lambda x, m: function(x, m, dates), values, known, dim=1, chunk=chunk)
        seen = known.any((-2, -1))
        return out.unflatten(1, (n, -1)), seen.unflatten(1, (n, -1))

    def _both_ways(
        self, function: Any, image: Tensor, clear: Tensor, dates: EncodedDates
    ) -> tuple[Tensor, Tensor]:
        """Run *function* of the time stage on the rows and on the columns of an image.

        Returns:
            ``(B, H, S, ...)`` for the rows and ``(B, W, S, ...)`` for the columns.
        """
        rows, _ = self._time(
            function,
            rearrange(image, 'b t c h w -> b h c t w'),
            rearrange(clear, 'b t h w -> b h t w'),
            dates,
        )
        if self.segment == 1:
            # A token of one pixel does not know its path: time is pooled once for both.
            return rows, rows.transpose(1, 2)
        columns, _ = self._time(
            function,
            rearrange(image, 'b t c h w -> b w c t h'),
            rearrange(clear, 'b t h w -> b w t h'),
            dates,
        )
        return rows, columns

    def _along_paths(self, tokens: Tensor) -> Tensor:
        """Transformer along each path: ``(B, N, S, D)`` to ``(B, N, S, D)``."""
        chunk = max(1, chunk_length(tokens, self.chunk_size) // tokens.shape[2])
        rows = map_chunks(self.path_stage, tokens.flatten(0, 1), dim=0, chunk=chunk)
        return rows.view_as(tokens)

"""Space and time factorised: frames one by one, then dates place by place."""

from typing import Any

import torch
from einops import rearrange, repeat
from timm.layers import RotaryEmbeddingCat
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import Series
from .dates import TemporalEncoding
from .encoder import Depth, PlaneFeatures, SITSEncoder, count_cells, gap_to_cells, mean_seen
from .masked import map_chunks

__all__ = ['FactorisedEncoder']


class DateFusion(nn.Module):
    r"""Transformer over the dates of a place, whatever sensor they are of, and a pooling.

    The multi-modal temporal fusion of SkySense (Guo et al., CVPR 2024,
    https://arxiv.org/abs/2312.10115, section 3.1): the tokens of all sensors and dates at one
    place, to which their dates are added, attend to each other. Where SkySense reads the
    result off an extra token, K learned queries pool the dates here, as in L-TAE (Garnot &
    Landrieu 2020, https://arxiv.org/abs/2007.00586): with :math:`x_t` the tokens after the
    blocks and their norm, :math:`a_{tk} = \mathrm{softmax}_t(q_k \cdot x_t)`, and query k gives
    the mean :math:`\sum_t a_{tk} x_t^k` of the k-th group of channels. The weights can then be
    read, and pool other values of the same dates too.

    Args:
        dim: Width of the tokens.
        depth: Number of blocks, whose cost is quadratic in the number of dates.
        num_heads: Heads of a block and number K of queries; divides *dim*.
        mlp_ratio: Hidden width of the blocks' MLP over *dim*.
        chunk_size: Tokens held in memory at a time; more are checkpointed in slices.
    """

    def __init__(
        self, *, dim: int, depth: int, num_heads: int, mlp_ratio: float, chunk_size: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.chunk_size = chunk_size
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio, qkv_bias=True) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.queries = nn.Linear(dim, num_heads, bias=False)
        self.proj = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))
        self.nothing_seen = nn.Parameter(torch.zeros(dim))
        nn.init.trunc_normal_(self.nothing_seen, std=0.02)

    def forward(self, tokens: Tensor, known: Tensor) -> Tensor:
        """Tokens of dates in the context of the other dates of their place.

        Args:
            tokens: ``(N, T, dim)`` of N places, dates and sensors added, finite everywhere.
            known: ``(N, T)`` bool, False for dates to leave out.

        Returns:
            ``(N, T, dim)``.
        """

        def run(x: Tensor, seen: Tensor) -> Tensor:
            # Where there is no date all take part: a softmax over nothing would be NaN.
            seen = seen | ~seen.any(-1, keepdim=True)
            for block in self.blocks:
                x = block(x, attn_mask=seen[:, None, None])
            return self.norm(x)

        return map_chunks(
            run, tokens, known, dim=0, chunk=max(1, self.chunk_size // tokens.shape[1])
        )

    def weights(self, x: Tensor, known: Tensor) -> Tensor:
        """Weight of each date under each query.

        Args:
            x: ``(N, T, dim)``, what :meth:`forward` gave.
            known: ``(N, T)`` bool.

        Returns:
            ``(N, T, K)`` float32, sums to 1 over the known dates; all zeros where there is none.
        """
        scores = self.queries(x).float()
        # A finite floor: a row of minus infinity would make softmax NaN.
        scores = scores.masked_fill(~known[..., None], torch.finfo(scores.dtype).min)
        return scores.softmax(1) * known[..., None]

    def pool(self, values: Tensor, weights: Tensor) -> Tensor:
        """Means of each query's channels under its weights, joined: ``(N, dim)``."""
        groups = values.unflatten(-1, (self.num_heads, -1))
        return (groups * weights[..., None].to(values.dtype)).sum(1).flatten(1)

    def late(self, x: Tensor, weights: Tensor, known: Tensor) -> Tensor:
        """Features of places: ``(N, dim)``; one learned token where there is no date."""
        pooled = self.proj(self.pool(x, weights))
        return torch.where(known.any(1, keepdim=True), pooled, self.nothing_seen.to(pooled.dtype))


class FrameStage(nn.Module):
    """Transformer over the patches of a frame, for frames that clouds cover in part.

    A patch of ``p x p`` pixels with its clear mask becomes a token by a small MLP. Blocks of
    timm then run over the clear patches of each frame, which no patch without a clear pixel
    takes part in. Position is relative: it turns queries and keys (RoPE on both axes, Heo et
    al., ECCV 2024, https://arxiv.org/abs/2403.13298, with their base of 100), so any size of
    image will do, and moving what is seen by a patch moves its tokens.

    Args:
        in_channels: Number of bands C.
        patch_size: Side p of a patch in pixels.
        dim: Width of the tokens.
        depth: Number of blocks.
        num_heads: Heads of a block; ``dim / num_heads`` is a multiple of 4.
        mlp_ratio: Hidden width of the blocks' MLP over *dim*.
        chunk_size: Tokens held in memory at a time; more are checkpointed in slices.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        patch_size: int,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        chunk_size: int,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.chunk_size = chunk_size
        self.patches = nn.Sequential(
            nn.Linear(patch_size**2 * (in_channels + 1), dim), nn.GELU(), nn.Linear(dim, dim)
        )
        self.positions = RotaryEmbeddingCat(dim // num_heads, temperature=100.0, in_pixels=False)
        self.blocks = nn.ModuleList(
            EvaBlock(dim, num_heads, mlp_ratio=mlp_ratio, num_prefix_tokens=0) for _ in range(depth)
        )

    def forward(
        self, image: Tensor, clear: Tensor, mask_token: Tensor, hidden: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode frames.

        Args:
            image: ``(B, T, C, H, W)``, anything where not clear.
            clear: ``(B, T, H, W)`` bool.
            mask_token: ``(dim,)``, what stands for hidden tokens.
            hidden: ``(B, h, w)`` bool, True for cells whose tokens are hidden, in each frame of
                which anything else was seen; none by default.

        Returns:
            Tokens before the blocks and after them, ``(B, T, P, dim)`` each for the
            ``P = ceil(H / p) * ceil(W / p)`` cells, and ``(B, T, P)`` bool, False where there
            is nothing to see.
        """
        p = self.patch_size
        height, width = image.shape[-2:]
        gaps = (0, gap_to_cells(width, p), 0, gap_to_cells(height, p))
        # where, not a product: NaN times zero is NaN.
        image = F.pad(torch.where(clear[:, :, None], image, 0), gaps)
        clear = F.pad(clear, gaps)
        values = torch.cat([image, clear[:, :, None].to(image.dtype)], 2)
        values = rearrange(values, 'b t c (h p) (w q) -> b t (h w) (p q c)', p=p, q=p)
        known = rearrange(clear, 'b t (h p) (w q) -> b t (h w) (p q)', p=p, q=p).any(-1)
        before = tokens = self.patches(values)
        if hidden is not None:
            cells = hidden.flatten(1)[:, None]
            known = torch.where(cells, (known & ~cells).any(-1, keepdim=True), known)
            tokens = torch.where(cells[..., None], mask_token.to(tokens.dtype), tokens)
        size = [side // p for side in clear.shape[-2:]]
        turns = self.positions.get_embed(size)

        def run(frames: Tensor, seen: Tensor) -> Tensor:
            # Where no patch is clear all take part: a softmax over nothing would be NaN.
            seen = seen | ~seen.any(-1, keepdim=True)
            for block in self.blocks:
                frames = block(frames, rope=turns, attn_mask=seen[:, None, None])
            return frames

        chunk = max(1, self.chunk_size // known.shape[-1])
        after = map_chunks(run, tokens.flatten(0, 1), known.flatten(0, 1), dim=0, chunk=chunk)
        return before, after.view_as(tokens), known


class FactorisedEncoder(SITSEncoder):
    """Factorised encoder of Sentinel-2 and, if wanted, Sentinel-1, fused by date.

    After SkySense (Guo et al., CVPR 2024, https://arxiv.org/abs/2312.10115, section 3.1): each
    frame goes through the spatial encoder of its sensor (:class:`~.factorised.FrameStage`),
    which knows no other frame; then, place by place, one transformer reads the tokens of all
    dates of both sensors with their dates (:class:`~.factorised.DateFusion`). Sentinel-1 needs
    neither the dates of Sentinel-2 nor as many, and a place that one sensor has not seen is
    known from the other. Not SkySense's: the sizes; dates as harmonics of the year and elapsed
    years instead of a table of days; a learned vector per sensor; the pooling of dates;
    and masks, without which clouds would be seen.

    The Sentinel-1 series is ``s1`` of a :class:`~torchgeo_sits.keys.Series`. Without it, or where
    its frames are all invalid, features are those of the optical series alone.

    Space comes before time here, so *early* features cannot be what time leaves before spatial
    context. They are the patches as they enter the spatial encoders, pooled over the dates
    under the weights of the late features: values without context, weights with it.

    Args:
        in_channels: Number of bands C of the optical series.
        s1_channels: Number of bands of the Sentinel-1 series, 0 to have none.
        dim: Width D of the tokens and of early and late features.
        patch_size: Side of a patch in pixels, the stride of the features.
        spatial_depth: Blocks over the patches of a frame, for each sensor.
        temporal_depth: Blocks over the dates.
        num_heads: Heads of the blocks and of the pooling; ``dim / num_heads`` is a multiple of 4.
        mlp_ratio: Hidden width of the blocks' MLP over *dim*.
        harmonics: Harmonics of the year in the date encoding, 0 for none.
        octaves: Periods of the elapsed years in the date encoding, 0 for none.
        chunk_size: Tokens held in memory at a time.

    Raises:
        SITSError: If a size is out of its range or *num_heads* does not fit *dim*.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import FactorisedEncoder, Series
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 10**6 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> FactorisedEncoder(4, dim=32).eval().features(series).shape
        torch.Size([2, 32, 2, 2])
    """

    def __init__(
        self,
        in_channels: int = 10,
        *,
        s1_channels: int = 0,
        dim: int = 128,
        patch_size: int = 4,
        spatial_depth: int = 2,
        temporal_depth: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        harmonics: int = 4,
        octaves: int = 5,
        chunk_size: int = 2**16,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        super().__init__(in_channels=in_channels, embed_dim=dim, stride=patch_size)
        self.config = arguments
        for name, least in (
            ('s1_channels', 0),
            ('spatial_depth', 0),
            ('temporal_depth', 0),
            ('num_heads', 1),
            ('chunk_size', 1),
        ):
            if arguments[name] < least:
                raise SITSError(f'expected {name} of at least {least}, got {arguments[name]}')
        if dim % (4 * num_heads):
            raise SITSError(
                f'expected dim to be a multiple of 4 * num_heads, got {dim} and {num_heads}'
            )
        self.s1_channels = s1_channels

        def frame_stage(bands: int) -> FrameStage:
            return FrameStage(
                bands,
                patch_size=patch_size,
                dim=dim,
                depth=spatial_depth,
                num_heads=num_heads,
                mlp_ratio=mlp_ratio,
                chunk_size=chunk_size,
            )

        self.frames = frame_stage(in_channels)
        if s1_channels:
            self.frames_s1 = frame_stage(s1_channels)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.dates = TemporalEncoding(dim, harmonics=harmonics, octaves=octaves)
        self.sensors = nn.Parameter(torch.zeros(2 if s1_channels else 1, dim))
        nn.init.trunc_normal_(self.sensors, std=0.02)
        self.fusion = DateFusion(
            dim=dim,
            depth=temporal_depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            chunk_size=chunk_size,
        )

    def pool_cells(self, late: Tensor, seen: Tensor) -> Tensor:
        """Mean of ``(B, N, S, D)`` over the cells seen at any date, over all if none was."""
        return mean_seen(late, seen)

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Dense features of both series, ``(B, D', ceil(H / p), ceil(W / p))``."""
        found = self.forward_image(series, None)
        maps = {'early': [found.early], 'late': [found.late], 'joined': [found.early, found.late]}
        return rearrange(torch.cat(maps[depth], -1), 'b h w d -> b d h w')

    def forward_frames(self, series: Series) -> Tensor:
        """Features of each optical frame, as if it alone had all the weight.

        Where a patch was not clear, the features of the series stand.
        """
        x, _, known = self._encode(series, None)
        late = self.fusion.late(x, self.fusion.weights(x, known), known)
        frames = slice(series.image.shape[1])
        alone = self.fusion.proj(x[:, frames])
        out = torch.where(known[:, frames, None], alone, late[:, None])
        h = count_cells(series.image.shape[-2], self.stride)
        return rearrange(out, '(b h w) t d -> b t d h w', b=series.image.shape[0], h=h)

    def forward_planes(self, planes: Series, token_mask: Tensor | None) -> PlaneFeatures:
        """Features of the planes of a view, each path on its own.

        A path is taken for an image whose rows are all alike, as high as a patch: what lies
        across a path is not known, and most likely like it.
        """
        n = planes.image.shape[1]
        hidden = None if token_mask is None else rearrange(token_mask, 'b n s -> (b n) 1 s')
        found = self.forward_image(self._paths(planes), hidden)
        early, late, seen = (rearrange(x, '(b n) 1 s ... -> b n s ...', n=n) for x in found[1:])
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    def forward_image(self, series: Series, token_mask: Tensor | None) -> PlaneFeatures:
        """Features of the cells of an image, and its embedding, in one pass.

        A hidden cell is hidden from both sensors. A mask token takes its place in each frame,
        on the way into the spatial blocks, so that its neighbours tell what it may hold. Early
        features are those of the patches that are hidden, and ``seen`` is as it was.
        """
        x, before, known = self._encode(series, token_mask)
        weights = self.fusion.weights(x, known)
        b, _, _, *sides = series.image.shape
        size = (b, *(count_cells(side, self.stride) for side in sides), -1)
        late = self.fusion.late(x, weights, known).view(size)
        early = self.fusion.pool(before, weights).view(size)
        seen = self.seen_cells(series)
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    @property
    def plane_cell(self) -> tuple[int, int]:
        """Size of a token: one path, and *patch_size* pixels of it."""
        return 1, self.stride

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers as those of a ViT, the spatial blocks before the temporal ones."""
        return {
            'stem': r'^(?:frames(?:_s1)?\.patches|mask_token|dates|sensors)',
            'spatial': r'^frames(?:_s1)?\.blocks\.(\d+)\.',
            'temporal': r'^fusion\.blocks\.(\d+)\.',
            'norm': r'^fusion\.(?:norm|queries|proj|nothing_seen)',
        }

    def _paths(self, planes: Series) -> Series:
        """Planes of B series as ``B * N`` series of images, *patch_size* pixels high."""
        n, p = planes.image.shape[1], self.stride
        return Series(
            repeat(planes.image, 'b n c t l -> (b n) t c p l', p=p),
            planes.acquisition_times.repeat_interleave(n, 0),
            planes.valid.repeat_interleave(n, 0),
            repeat(planes.clear, 'b n t l -> (b n) t p l', p=p),
            None if planes.s1 is None else self._paths(planes.s1),
        )

    def _encode(self, series: Series, hidden: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Run both stages.

        Returns:
            Tokens after the fusion and patches before all blocks, ``(B * P, T + T1, dim)``
            each, and ``(B * P, T + T1)`` bool, False for what was not seen; optical dates first.
        """
        both, stages = [series], [self.frames]
        if self.s1_channels:
            both.append(self._no_s1(series) if series.s1 is None else series.s1)
            stages.append(self.frames_s1)
        encoded = [
            stage(each.image, each.clear, self.mask_token, hidden)
            for stage, each in zip(stages, both, strict=True)
        ]
        # Of all dates at once: elapsed time counts from the first of either sensor.
        dates = self.dates(
            torch.cat([each.acquisition_times for each in both], 1),
            torch.cat([each.valid for each in both], 1),
        )
        lengths = [known.shape[1] for _, _, known in encoded]
        sensors = [x.expand(n, -1) for x, n in zip(self.sensors, lengths, strict=True)]
        dates = dates + torch.cat(sensors)
        before, tokens, known = (torch.cat(x, 1) for x in zip(*encoded, strict=True))
        x = rearrange(tokens + dates[:, :, None], 'b t p d -> (b p) t d')
        known = rearrange(known, 'b t p -> (b p) t')
        return self.fusion(x, known), rearrange(before, 'b t p d -> (b p) t d'), known

    def _no_s1(self, series: Series) -> Series:
        """Make a frame of padding, so that all weights get gradients, as DDP asks."""
        b, _, _, h, w = series.image.shape
        valid = series.valid.new_zeros(b, 1)
        return Series(
            series.image.new_zeros(b, 1, self.s1_channels, h, w),
            series.acquisition_times.new_zeros(b, 1),
            valid,
            valid[:, :, None, None].expand(b, 1, h, w),
        )

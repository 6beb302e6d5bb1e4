"""Space and time factorised: frames one by one, then dates place by place."""

from typing import Any, NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from .cells import count_cells
from .date_fusion import DateFusion
from .encoder import Depth, PlaneFeatures, SITSEncoder, mean_seen
from .frame_stage import FrameStage
from .temporal_encoding import TemporalEncoding

__all__ = ['FactorisedEncoder', 'SeriesInputs']


class SeriesInputs(NamedTuple):
    """A further series of the same places, with dates of its own.

    Attributes:
        image: ``(B, T1, C1, H, W)`` float on the grid of the first series, or planes
            ``(B, N, C1, T1, L)`` along the same paths.
        acquisition_times: ``(B, T1)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(B, T1)`` bool, False in padding; all False for a sample that has no such series.
        mask_clear: ``(B, T1, H, W)``, or ``(B, N, T1, L)`` of planes, bool; all True by default.
    """

    image: Tensor
    acquisition_times: Tensor
    valid: Tensor
    mask_clear: Tensor | None = None


class FactorisedEncoder(SITSEncoder):
    """Factorised encoder of Sentinel-2 and, if wanted, Sentinel-1, fused by date.

    After SkySense (Guo et al., CVPR 2024, https://arxiv.org/abs/2312.10115, section 3.1): each
    frame goes through the spatial encoder of its sensor (:class:`~.frame_stage.FrameStage`),
    which knows no other frame; then, place by place, one transformer reads the tokens of all
    dates of both sensors with their dates (:class:`~.date_fusion.DateFusion`). Sentinel-1 needs
    neither the dates of Sentinel-2 nor as many, and a place that one sensor has not seen is
    known from the other. Not SkySense's: the sizes; dates as harmonics of the year and elapsed
    years instead of a table of days; a learned vector per sensor; the pooling of dates;
    and masks, without which clouds would be seen.

    All methods take ``s1``, a :class:`SeriesInputs`, beside the optical series. Without it, or
    where its frames are all invalid, features are those of the optical series alone.

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
        ValueError: If a size is out of its range or *num_heads* does not fit *dim*.
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
                raise ValueError(f'expected {name} of at least {least}, got {arguments[name]}')
        if dim % (4 * num_heads):
            raise ValueError(
                f'expected dim to be a multiple of 4 * num_heads, got {dim} and {num_heads}'
            )
        self.s1_channels = s1_channels
        self.frames, *further = (
            FrameStage(
                bands,
                patch_size=patch_size,
                dim=dim,
                depth=spatial_depth,
                num_heads=num_heads,
                mlp_ratio=mlp_ratio,
                chunk_size=chunk_size,
            )
            for bands in (in_channels, s1_channels)
            if bands
        )
        if further:
            self.frames_s1 = further[0]
        self.mask_token = nn.Parameter(torch.zeros(dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.dates = TemporalEncoding(dim, harmonics=harmonics, octaves=octaves)
        self.sensors = nn.Parameter(torch.zeros(1 + len(further), dim))
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

    def features(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        depth: Depth = 'late',
        s1: SeriesInputs | None = None,
    ) -> Tensor:
        """Dense features of both series.

        Arguments are those of :meth:`SITSEncoder.features`, and s1.

        Returns:
            ``(B, D', ceil(H / p), ceil(W / p))``.
        """
        self.feature_dim(depth)
        said = self.encode_image(image, acquisition_times, valid, mask_clear, s1=s1)
        maps = {'early': [said.early], 'late': [said.late], 'joined': [said.early, said.late]}
        return rearrange(torch.cat(maps[depth], -1), 'b h w d -> b d h w')

    def frame_features(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        s1: SeriesInputs | None = None,
    ) -> Tensor:
        """Features of each optical frame, as if it alone had all the weight.

        Where a patch was not clear, the features of the series stand. Arguments are those of
        :meth:`SITSEncoder.frame_features`, and s1.

        Returns:
            ``(B, T, D, ceil(H / p), ceil(W / p))``, zeros in padding frames.
        """
        x, _, known = self._encode(image, acquisition_times, valid, mask_clear, s1, None)
        late = self.fusion.late(x, self.fusion.weights(x, known), known)
        frames = slice(image.shape[1])
        alone = self.fusion.proj(x[:, frames])
        out = torch.where(known[:, frames, None], alone, late[:, None])
        h = count_cells(image.shape[-2], self.stride)
        out = rearrange(out, '(b h w) t d -> b t d h w', b=image.shape[0], h=h)
        return out * valid[:, :, None, None, None]

    def embed(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        s1: SeriesInputs | None = None,
    ) -> Tensor:
        """One vector per sample ``(B, D)``: the mean late feature of what either sensor saw.

        Arguments are those of :meth:`SITSEncoder.embed`, and s1.
        """
        return self.encode_image(image, acquisition_times, valid, mask_clear, s1=s1).embed

    def forward(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        s1: SeriesInputs | None = None,
    ) -> Tensor:
        """The same as :meth:`embed`."""
        return self.embed(image, acquisition_times, valid, mask_clear, s1=s1)

    def encode_planes(
        self,
        planes: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        token_mask: Tensor | None = None,
        s1: SeriesInputs | None = None,
    ) -> PlaneFeatures:
        """Features of the planes of a view, each path on its own.

        A path is taken for an image whose rows are all alike, as high as a patch: what lies
        across a path is not known, and most likely like it. Arguments are those of
        :meth:`SITSEncoder.encode_planes`, and s1, of planes too.

        Returns:
            Features with ``S = ceil(L / patch_size)`` tokens per path.

        Raises:
            ValueError: If a tensor has another shape than expected.
        """
        n = planes.shape[1]
        series = self._paths(SeriesInputs(planes, acquisition_times, valid, mask_clear))
        said = self.encode_image(
            *series,
            token_mask=None if token_mask is None else rearrange(token_mask, 'b n s -> (b n) 1 s'),
            s1=None if s1 is None else self._paths(s1),
        )
        early, late, seen = (rearrange(x, '(b n) 1 s ... -> b n s ...', n=n) for x in said[1:])
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    def encode_image(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        token_mask: Tensor | None = None,
        s1: SeriesInputs | None = None,
    ) -> PlaneFeatures:
        """Features of the cells of an image, and its embedding, in one pass.

        A hidden cell is hidden from both sensors. A mask token takes its place in each frame,
        on the way into the spatial blocks, so that its neighbours tell what it may hold. Early
        features are those of the patches that are hidden, and ``seen`` is as it was. Arguments
        and errors are those of :meth:`SITSEncoder.encode_image`, and s1.
        """
        if token_mask is not None:
            self._check_token_mask(token_mask, image)
        x, before, known = self._encode(image, acquisition_times, valid, mask_clear, s1, token_mask)
        weights = self.fusion.weights(x, known)
        size = (image.shape[0], *(count_cells(x, self.stride) for x in image.shape[-2:]), -1)
        late = self.fusion.late(x, weights, known).view(size)
        early = self.fusion.pool(before, weights).view(size)
        seen = self._seen_cells(self.check_series(image, acquisition_times, valid, mask_clear))
        if s1 is not None:
            seen = seen | self._seen_cells(self._check_s1(s1, image))
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    @property
    def plane_cell(self) -> tuple[int, int]:
        """One path, and *patch_size* pixels of it."""
        return 1, self.stride

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers as those of a ViT, the spatial blocks before the temporal ones."""
        return {
            'stem': r'^(?:frames(?:_s1)?\.patches|mask_token|dates|sensors)',
            'spatial': r'^frames(?:_s1)?\.blocks\.(\d+)\.',
            'temporal': r'^fusion\.blocks\.(\d+)\.',
            'norm': r'^fusion\.(?:norm|queries|proj|nothing_seen)',
        }

    def _paths(self, planes: SeriesInputs) -> SeriesInputs:
        """Planes of B series as ``B * N`` series of images, *patch_size* pixels high."""
        n, p = planes.image.shape[1], self.stride
        clear = planes.mask_clear
        return SeriesInputs(
            repeat(planes.image, 'b n c t l -> (b n) t c p l', p=p),
            planes.acquisition_times.repeat_interleave(n, 0),
            planes.valid.repeat_interleave(n, 0),
            None if clear is None else repeat(clear, 'b n t l -> (b n) t p l', p=p),
        )

    def _check_s1(self, s1: SeriesInputs, image: Tensor) -> Tensor:
        """Check the Sentinel-1 series and give its pixels that count, ``(B, T1, H, W)`` bool."""
        if not self.s1_channels:
            raise ValueError('got s1, but the encoder was built without s1_channels')
        try:
            clear = self.check_series(*s1, channels='s1_channels')
        except ValueError as error:
            raise ValueError(f's1: {error}') from error
        if (clear.shape[0], clear.shape[-2:]) != (image.shape[0], image.shape[-2:]):
            raise ValueError(
                f'expected s1 of the samples and on the grid of the optical image, '
                f'{tuple(image.shape)}, got {tuple(s1.image.shape)}'
            )
        return clear

    def _encode(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None,
        s1: SeriesInputs | None,
        hidden: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run both stages.

        Returns:
            Tokens after the fusion and patches before all blocks, ``(B * P, T + T1, dim)``
            each, and ``(B * P, T + T1)`` bool, False for what was not seen; optical dates first.
        """
        clear = self.check_series(image, acquisition_times, valid, mask_clear)
        parts = [self.frames(image, clear, self.mask_token, hidden)]
        times, real = [acquisition_times], [valid]
        if s1 is None and self.s1_channels:
            # A frame of padding: all weights get gradients, as DDP asks.
            b, _, _, h, w = image.shape
            s1 = SeriesInputs(
                image.new_zeros(b, 1, self.s1_channels, h, w),
                acquisition_times.new_zeros(b, 1),
                valid.new_zeros(b, 1),
            )
        if s1 is not None:
            clear = self._check_s1(s1, image)
            parts.append(self.frames_s1(s1.image, clear, self.mask_token, hidden))
            times.append(s1.acquisition_times)
            real.append(s1.valid)
        # Of all dates at once: elapsed time counts from the first of either sensor.
        dates = self.dates(torch.cat(times, 1), torch.cat(real, 1))
        lengths = [known.shape[1] for _, _, known in parts]
        sensors = (x.expand(n, -1) for x, n in zip(self.sensors, lengths, strict=True))
        dates = dates + torch.cat(list(sensors))
        before, tokens, known = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        x = rearrange(tokens + dates[:, :, None], 'b t p d -> (b p) t d')
        known = rearrange(known, 'b t p -> (b p) t')
        return self.fusion(x, known), rearrange(before, 'b t p d -> (b p) t d'), known

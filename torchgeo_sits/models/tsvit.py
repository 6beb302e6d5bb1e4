"""TSViT: a transformer over time, then over space, with a token for each class."""

from typing import Any

import torch
from einops import rearrange, repeat
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import Series
from .dates import DAYS_OF_YEAR, day_of_year
from .encoder import Depth, SITSEncoder, count_cells, gap_to_cells
from .masked import map_chunks

__all__ = ['TSViT']


class TSViT(SITSEncoder):
    """Temporo-spatial vision transformer (Tarasiou et al., CVPR 2023).

    https://arxiv.org/abs/2301.04944, sections 3.2 to 3.4. A frame is cut into patches of
    *patch_size* pixels a side. The temporal encoder reads the dates of each patch, with an
    encoding that is looked up by the day of the year, behind K class tokens; the spatial
    encoder then reads, for each class token on its own, the patches of the image. A linear
    layer turns each class token of a patch into one value for each of its pixels: these
    ``K * patch_size ** 2`` values are the features, which the paper takes for the scores.

    Departures: a date at which nothing of a patch was clear is masked out of the attention, and
    pixels that were not clear enter as zeros; padding is masked likewise. The learned spatial
    positions, of a grid of *grid_size* patches a side, are interpolated to other sizes. The
    date is not a channel of the image as well.

    Args:
        in_channels: Number of bands C.
        num_tokens: Class tokens K.
        patch_size: Side of a patch in pixels, the stride of the features.
        dim: Width of the tokens.
        temporal_depth: Blocks over the dates.
        spatial_depth: Blocks over the patches.
        num_heads: Heads of the blocks; divides *dim*.
        mlp_ratio: Hidden width of the blocks' MLP over *dim*.
        grid_size: Patches along a side for which positions are learned; the paper's images
            of 24 pixels have 12.
        chunk_size: Tokens, dates included, held in memory at a time.

    Raises:
        SITSError: If a size is below 1 or *num_heads* does not divide *dim*.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import TSViT, Series
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 10**6 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> TSViT(4, dim=32, num_tokens=3).eval().features(series).shape
        torch.Size([2, 12, 4, 4])
    """

    def __init__(
        self,
        in_channels: int = 10,
        *,
        num_tokens: int = 20,
        patch_size: int = 2,
        dim: int = 128,
        temporal_depth: int = 4,
        spatial_depth: int = 4,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        grid_size: int = 12,
        chunk_size: int = 2**17,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        for name in ('num_tokens', 'patch_size', 'num_heads', 'grid_size', 'chunk_size'):
            if arguments[name] < 1:
                raise SITSError(f'expected {name} of at least 1, got {arguments[name]}')
        if dim % num_heads:
            raise SITSError(f'expected num_heads to divide dim, got {num_heads} and {dim}')
        super().__init__(
            in_channels=in_channels, embed_dim=num_tokens * patch_size**2, stride=patch_size
        )
        self.config = arguments
        self.chunk_size = chunk_size
        self.patches = nn.Linear(in_channels * patch_size**2, dim)
        # As a linear layer of a one-hot date: a bias beside the table.
        self.days = nn.Linear(DAYS_OF_YEAR, dim)
        self.class_tokens = nn.Parameter(torch.randn(num_tokens, dim))
        self.temporal = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio) for _ in range(temporal_depth)
        )
        self.temporal_norm = nn.LayerNorm(dim)
        self.positions = nn.Parameter(torch.randn(dim, grid_size, grid_size) * 0.02)
        self.spatial = nn.ModuleList(Block(dim, num_heads, mlp_ratio) for _ in range(spatial_depth))
        self.spatial_norm = nn.LayerNorm(dim)
        self.pixels = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, patch_size**2))

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Values of the pixels for each class token.

        *Early* features are those of the class tokens as the temporal encoder leaves them.

        Returns:
            ``(B, K * p * p, ceil(H / p), ceil(W / p))``, twice the channels for *joined*.
        """
        tokens, _ = self._temporal(series)
        maps = []
        if depth != 'late':
            maps.append(self._values(tokens))
        if depth != 'early':
            maps.append(self._values(self._spatial(tokens)))
        return torch.cat(maps, 1)

    def forward_frames(self, series: Series) -> Tensor:
        """Values of the pixels for each class token, moved by what each date's token holds.

        The paper has no maps of single dates. Here the token of a date is added to the class
        tokens of its patch; where a patch was not clear, the features of the series stand.

        Returns:
            ``(B, T, K * p * p, ceil(H / p), ceil(W / p))``.
        """
        tokens, dates = self._temporal(series)
        tokens = self._spatial(tokens)
        frames = [self._values(tokens + date[..., None, :]) for date in dates.unbind(3)]
        return torch.stack(frames, 1)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers as those of a ViT, the temporal blocks before the spatial ones."""
        return {
            'stem': r'^(?:patches|days|class_tokens|positions)',
            'temporal': r'^temporal\.(\d+)\.',
            'spatial': r'^spatial\.(\d+)\.',
            'norm': r'^(?:temporal_norm|spatial_norm|pixels)',
        }

    def _temporal(self, series: Series) -> tuple[Tensor, Tensor]:
        """The temporal encoder.

        Returns:
            Class tokens ``(B, h, w, K, dim)`` and tokens of the dates ``(B, h, w, T, dim)``,
            zeros where nothing of a patch was clear.
        """
        clear = series.clear
        b, _, _, height, width = series.image.shape
        p = self.stride
        gaps = (0, gap_to_cells(width, p), 0, gap_to_cells(height, p))
        image = F.pad(torch.where(clear[:, :, None], series.image, 0), gaps)
        patches = rearrange(image, 'b t c (h p) (w q) -> (b h w) t (p q c)', p=p, q=p)
        seen = rearrange(F.pad(clear, gaps), 'b t (h p) (w q) -> (b h w) t (p q)', p=p, q=p).any(-1)
        h, w = count_cells(height, p), count_cells(width, p)
        days = F.one_hot(day_of_year(series.acquisition_times), DAYS_OF_YEAR)
        days = self.days(days.to(image.dtype))
        days = repeat(days, 'b t d -> (b h w) t d', h=h, w=w)
        chunk = max(1, self.chunk_size // (seen.shape[1] + len(self.class_tokens)))
        out = map_chunks(self._read_dates, patches, days, seen, dim=0, chunk=chunk)
        out = rearrange(out, '(b h w) n d -> b h w n d', b=b, h=h)
        classes = len(self.class_tokens)
        return out[..., :classes, :], out[..., classes:, :]

    def _read_dates(self, patches: Tensor, days: Tensor, seen: Tensor) -> Tensor:
        """Class tokens and dates of N patches: ``(N, K + T, dim)``."""
        dates = self.patches(patches) + days
        classes = self.class_tokens.to(dates.dtype).expand(dates.shape[0], -1, -1)
        x = torch.cat([classes, dates], 1)
        kept = F.pad(seen, (len(self.class_tokens), 0), value=True)
        for block in self.temporal:
            x = block(x, attn_mask=kept[:, None, None])
        return self.temporal_norm(x) * kept[..., None]

    def _spatial(self, tokens: Tensor) -> Tensor:
        """The spatial encoder: ``(B, h, w, K, dim)`` to the same."""
        b, h, w = tokens.shape[:3]
        positions: Tensor = self.positions
        if positions.shape[1:] != (h, w):
            positions = F.interpolate(positions[None], (h, w), mode='bicubic')[0]
        x = rearrange(tokens, 'b h w k d -> (b k) (h w) d')
        x = x + rearrange(positions, 'd h w -> (h w) d').to(x.dtype)
        chunk = max(1, self.chunk_size // (h * w))
        x = map_chunks(self._read_patches, x, dim=0, chunk=chunk)
        return rearrange(x, '(b k) (h w) d -> b h w k d', b=b, h=h)

    def _read_patches(self, x: Tensor) -> Tensor:
        """Patches in the context of their image: ``(N, h * w, dim)``."""
        for block in self.spatial:
            x = block(x)
        return self.spatial_norm(x)

    def _values(self, tokens: Tensor) -> Tensor:
        """Values of the pixels ``(B, K * p * p, h, w)`` of class tokens ``(B, h, w, K, dim)``."""
        return rearrange(self.pixels(tokens), 'b h w k p -> b (k p) h w')

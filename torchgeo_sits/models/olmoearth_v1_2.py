"""OlmoEarth v1.2: positions in time and space as rotations, one group of bands per sensor."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from einops import rearrange, repeat
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ..errors import SITSError
from .monthly import plain_values
from .olmoearth import BASE, RADAR, OlmoEarthEncoder, encoder_state

__all__ = ['OlmoEarthV12', 'olmoearth_v1_2_state']

#: Days of a common year before each of its months.
_DAYS_BEFORE: Final = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


class OlmoEarthV12(OlmoEarthEncoder):
    """OlmoEarth v1.2's encoder on Sentinel-2 and Sentinel-1.

    See :class:`OlmoEarthEncoder`, whose arguments it takes; defaults are those of the nano model.
    Unlike v1 it has one token for all bands of Sentinel-2, sees months by their dates and not by
    their numbers (rotary positions of learned frequencies, https://arxiv.org/abs/2403.13298, in
    time, rows and columns), and was trained with bands left out: those that are missing are 0
    after normalisation, as its authors do. On months without gaps the tokens are those of the
    package olmoearth-pretrain-minimal. The date of a month is taken to be its first day; which day
    the authors give to composites could not be verified.

    Args:
        in_channels: See :class:`OlmoEarthEncoder`, as the next ones.
        bands: See there.
        s1_channels: See there.
        bands_s1: See there.
        patch_size: See there.
        tile_size: See there.
        dim: See there.
        depth: See there.
        num_heads: See there.
        mlp_ratio: See there.
        max_months: See there.
        chunk_size: See there.
        hidden_dim: Width of the layer that pixels go through before their patch is projected: 12
            of the nano model, 64 of the others.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import OlmoEarthV12, Series
        >>> encoder = OlmoEarthV12(4, bands=['B02', 'B03', 'B04', 'B08']).eval()
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 2_600_000 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> encoder.features(series).shape
        torch.Size([2, 128, 2, 2])
    """

    groups = {
        'S2': (
            *('blue', 'green', 'red', 'nir', 'rededge1', 'rededge2', 'rededge3', 'nir08'),
            *('swir16', 'swir22', 'coastal', 'nir09'),
        ),
        'S1': RADAR,
    }

    def __init__(
        self,
        in_channels: int = 10,
        *,
        bands: Sequence[str] | None = None,
        s1_channels: int = 0,
        bands_s1: Sequence[str] | None = None,
        patch_size: int = 4,
        tile_size: int = 8,
        dim: int = 128,
        depth: int = 4,
        num_heads: int = 8,
        mlp_ratio: float = 4,
        max_months: int = 24,
        chunk_size: int = 2**16,
        hidden_dim: int = 12,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        if hidden_dim < 1:
            raise SITSError(f'expected hidden_dim of at least 1, got {hidden_dim}')
        if dim // max(1, num_heads) % 4:
            raise SITSError(f'expected dim / num_heads divisible by 4, got {dim} / {num_heads}')
        super().__init__(**arguments)
        self.config = plain_values(arguments)

    def build_projection(self, bands: int, dim: int, hidden_dim: int) -> nn.Module:
        """A layer for pixels, and one for their patch."""
        return _PixelsThenPatch(bands, dim, hidden_dim)

    def build_block(self, dim: int, num_heads: int, mlp_ratio: float) -> nn.Module:
        """A block whose queries and keys are turned."""
        return _Block(dim, num_heads, mlp_ratio)

    def project(self, group: str, values: Tensor) -> Tensor:
        """Both layers."""
        projected: Tensor = self.projections[group](values)
        return projected

    @staticmethod
    def fill_band(wanted: str, own: Sequence[str]) -> str | None:
        """None: missing bands are 0."""
        return None

    def describe(self, group: str, slots: Tensor, months: Tensor, place: Tensor) -> Tensor:
        """Group and month of the year, each in its quarter of the channels."""
        b, m, p = *months.shape, len(place)
        of_group = repeat(self.group_embedding[group], 'd -> b m d', b=b, m=m)
        of_month = self.month_embedding[months]
        nothing = torch.zeros_like(of_month)
        return repeat(
            torch.cat([of_group, nothing, of_month, nothing], -1), 'b m d -> b m p d', p=p
        )

    def attend(self, x: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Turn queries and keys by months since 2000, rows and columns."""
        month, place = positions[..., 0], positions[..., 1:]
        # The authors' calendar: years of 365.25 days, months of a common year, 30 days to one.
        year = month.div(12, rounding_mode='floor') - 30
        before = torch.tensor(_DAYS_BEFORE, device=x.device)[month.remainder(12)]
        days = year * 365.25 + before
        points = torch.cat([(days / 30)[..., None], place], -1)
        for block in self.blocks:
            x = block(x, points, mask[:, None, None])
        return x


class _PixelsThenPatch(nn.Module):
    """A layer that every pixel goes through, and one for the pixels of a patch."""

    def __init__(self, bands: int, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.pixels = nn.Linear(bands, hidden_dim)
        self.patch = nn.Linear(BASE**2 * hidden_dim, dim)

    def forward(self, values: Tensor) -> Tensor:
        """Project ``(N, C, 8 h, 8 w)`` to ``(N, h, w, D)``."""
        hidden = self.pixels(rearrange(values, 'n c h w -> n h w c')).relu()
        patches = rearrange(hidden, 'n (h p) (w q) c -> n h w (p q c)', p=BASE, q=BASE)
        projected: Tensor = self.patch(patches)
        return projected


class _Attention(nn.Module):
    """Attention by rotary positions; the names of its layers are those of timm."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        pairs = dim // num_heads // 2
        # Two random directions of each head, at right angles, and wavelengths up to 10,000.
        directions = torch.linalg.qr(torch.randn(num_heads, 3, 2)).Q
        size = 10_000 ** -(torch.arange(pairs // 2) / (pairs // 2))
        frequencies = rearrange(directions[..., None] * size, 'h a k d -> a h (k d)')
        self.frequencies = nn.Parameter(frequencies.contiguous())

    def forward(self, x: Tensor, points: Tensor, mask: Tensor) -> Tensor:
        """Attend among tokens ``(B, N, D)`` at points ``(B, N, 3)``."""
        q, k, v = rearrange(self.qkv(x), 'b n (k h d) -> k b h n d', k=3, h=self.num_heads)
        with torch.autocast(x.device.type, enabled=False):  # three digits are too few for a date
            # (3, B, heads, N, pairs), and the sum in the order of the authors.
            parts = torch.einsum('bna,ahp->abhnp', points.float(), self.frequencies.float())
            angle = parts[0] + parts[1] + parts[2]
            sine, cosine = angle.sin(), angle.cos()
        q, k = (_turn(each, sine.to(each.dtype), cosine.to(each.dtype)) for each in (q, k))
        found = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        mixed: Tensor = self.proj(rearrange(found, 'b h n d -> b n (h d)'))
        return mixed


def _turn(x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """Turn each pair of channels ``(..., 2 P)`` by an angle ``(..., P)``."""
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], -1).flatten(-2)


class _Block(nn.Module):
    """Attention and MLP, each after a norm and added."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = _Attention(dim, num_heads)
        self.mlp = Mlp(dim, int(mlp_ratio * dim))

    def forward(self, x: Tensor, points: Tensor, mask: Tensor) -> Tensor:
        """Run tokens ``(B, N, D)`` through the block."""
        x = x + self.attn(self.norm1(x), points, mask)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def olmoearth_v1_2_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the weights of OlmoEarth v1.2's encoder as :class:`OlmoEarthV12` does.

    Args:
        published: Weights of the whole model, as their authors name them.

    Returns:
        The state dict.

    Raises:
        KeyError: If one is missing.
    """
    places = {'S2': ('sentinel2_l2a', 0), 'S1': ('sentinel1', 0)}
    state, projections = encoder_state(published, places)
    state = {n.replace('.rope_mixed_freqs', '.frequencies'): v for n, v in state.items()}
    for group, found in projections.items():
        for own, theirs in (('pixels', 'pixel_proj.0'), ('patch', 'proj')):
            for kind in ('weight', 'bias'):
                state[f'projections.{group}.{own}.{kind}'] = found[f'{theirs}.{kind}']
    return state

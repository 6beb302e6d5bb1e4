"""Galileo: a transformer of many sensors, at patches of one pixel."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import torch
from timm.layers import resample_patch_embed
from torch import Tensor, nn

from ..errors import SITSError
from .monthly import STATISTICS, MonthlyTransformer, mean_where, plain_values

__all__ = ['Galileo', 'galileo_state']


class Galileo(MonthlyTransformer):
    """Galileo's encoder on single pixels.

    Tseng et al. 2025, https://arxiv.org/abs/2502.09356: as :class:`~.presto.Presto` a token per
    month and group of bands, deeper, with the mean of the normed tokens at the end. The model takes
    patches of 1 to 8 pixels by a flexible projection (FlexiViT, https://arxiv.org/abs/2212.08013);
    here it is that of one pixel, so that maps have the resolution of the images and borders are as
    good as centres. Of its inputs there are Sentinel-1 and 2, NDVI, ERA5, SRTM and the place.

    The authors map two standard deviations around the mean of the pretraining to 0 and 1.

    Defaults are those of the nano model. Arguments are those of
    :class:`~.monthly.MonthlyTransformer`.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import Galileo, Series
        >>> encoder = Galileo(4, bands=['B02', 'B03', 'B04', 'B08']).eval()
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 2_600_000 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> encoder.features(series).shape
        torch.Size([2, 128, 8, 8])
    """

    scales = {name: (mean - 2 * std, 4 * std) for name, (mean, std) in STATISTICS.items()}

    def __init__(
        self,
        in_channels: int = 10,
        *,
        bands: Sequence[str] | None = None,
        s1_channels: int = 0,
        bands_s1: Sequence[str] | None = None,
        pool: Literal['mean', 'months'] = 'mean',
        dim: int = 128,
        depth: int = 4,
        num_heads: int = 8,
        mlp_ratio: float = 4,
        max_months: int = 24,
        chunk_size: int = 2**16,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        if dim % 16:
            raise SITSError(f'expected dim to be divisible by 16, got {dim}')
        super().__init__(**arguments, widths=(dim // 4, dim // 4, dim // 4))
        self.place_embedding = nn.Parameter(torch.zeros(dim // 4))
        self.config = plain_values(arguments)

    @staticmethod
    def slot_table(length: int, width: int) -> Tensor:
        """Sines, then cosines, with frequencies from 1 to 1 / 10 (the authors divide twice)."""
        frequency = 10_000 ** -(torch.arange(width // 2, dtype=torch.float64) / width / 2)
        angle = torch.arange(length)[:, None] * frequency
        return torch.cat([angle.sin(), angle.cos()], 1).float()

    def describe(self, group: str, slot: Tensor, month: Tensor) -> Tensor:
        """Group, number of the month, month of the year and place in the patch, side by side."""
        of_group = self.group_embedding[group].expand(*slot.shape[:2], -1)
        # The only pixel of a patch lies at row and column 0: sines of 0, cosines of 1, twice.
        quarter = month.shape[-1] // 4
        corner = torch.tensor([0.0, 1.0, 0.0, 1.0], device=month.device).repeat_interleave(quarter)
        corner = corner.to(month.dtype).expand_as(month)
        if group in self.static_groups:
            zeros = torch.zeros_like(slot[:, :1]), torch.zeros_like(month[:, :1])
            return torch.cat([of_group[:, :1], *zeros, corner[:, :1]], -1)
        if group == 'ERA5':  # of a region, not of a pixel
            corner = torch.zeros_like(month)
        return torch.cat([of_group, slot, month, corner], -1)

    def describe_place(self, tokens: Tensor) -> Tensor:
        """The projection and the embedding of its kind."""
        of_kind = self.place_embedding
        return tokens + torch.cat([of_kind, of_kind.new_zeros(tokens.shape[-1] - len(of_kind))])

    def pool_tokens(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """The mean of the norms."""
        return mean_where(self.norm(tokens), seen)


#: Where Galileo keeps the embeddings of the groups: tensor and row.
_ROWS: Final = {
    **{
        group: ('s_t_channel_embed', row)
        for row, group in enumerate(
            ('S1', 'S2_RGB', 'S2_Red_Edge', 'S2_NIR_10m', 'S2_NIR_20m', 'S2_SWIR', 'NDVI')
        )
    },
    'ERA5': ('t_channel_embed', 0),
    'SRTM': ('sp_channel_embed', 0),
}


def galileo_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the weights of Galileo's encoder into those of :class:`Galileo`.

    Projections of patches of 8 x 8 pixels become those of one pixel by the pseudo-inverse of the
    resizing (FlexiViT, https://arxiv.org/abs/2212.08013, section 3.4).

    Args:
        published: Weights as their authors name them.

    Returns:
        The state dict.

    Raises:
        KeyError: If one is missing.
    """
    own = {name.replace('.backbone', ''): value for name, value in published.items()}
    state = {'norm.weight': own['norm.weight'], 'norm.bias': own['norm.bias']}
    blocks = {name: value for name, value in own.items() if name.startswith('blocks.')}
    for name, value in blocks.items():
        if '.attn.q.' in name:
            three = [blocks[name.replace('.attn.q.', f'.attn.{part}.')] for part in 'qkv']
            state[name.replace('.attn.q.', '.attn.qkv.')] = torch.cat(three)
        elif '.attn.k.' not in name and '.attn.v.' not in name:
            state[name] = value
    for group, (tensor, row) in _ROWS.items():
        state[f'group_embedding.{group}'] = own[tensor][row]
        if group == 'ERA5':
            weight, bias = (own[f'time_embed.ERA5.{kind}'] for kind in ('weight', 'bias'))
        else:
            room = 'space_embed' if group == 'SRTM' else 'space_time_embed'
            weight, bias = (own[f'{room}.{group}.proj.{kind}'] for kind in ('weight', 'bias'))
            weight = resample_patch_embed(weight, [1, 1])[..., 0, 0]
        state[f'projections.{group}.weight'], state[f'projections.{group}.bias'] = weight, bias
    for kind in ('weight', 'bias'):
        state[f'place_projection.{kind}'] = own[f'static_embed.location.{kind}']
    state['place_embedding'] = own['st_channel_embed'][1]
    return state

"""Presto: a transformer of the months of single pixels, pretrained by its authors."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from .monthly import MonthlyTransformer, mean_where, plain_values

__all__ = ['Presto', 'presto_state']

_REFLECTANCE = (0.0, 10_000.0)


class Presto(MonthlyTransformer):
    """Pretrained remote sensing transformer of single pixels.

    Tseng et al. 2023, https://arxiv.org/abs/2304.14065: a token per month and group of bands
    (section 3.1), 2 blocks, and the norm of the mean of all tokens that were seen. On months
    without gaps the tokens are those of TorchGeo's :class:`torchgeo.models.Presto`. Its classes
    of Dynamic World are not among the inputs. Arguments are those of
    :class:`~.monthly.MonthlyTransformer`, their defaults those of the published weights.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import Presto, Series
        >>> encoder = Presto(4, bands=['B02', 'B03', 'B04', 'B08']).eval()
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 2_600_000 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> encoder.features(series).shape
        torch.Size([2, 128, 8, 8])
    """

    scales = {
        'VV': (-25.0, 25.0),
        'VH': (-25.0, 25.0),
        'blue': _REFLECTANCE,
        'green': _REFLECTANCE,
        'red': _REFLECTANCE,
        'rededge1': _REFLECTANCE,
        'rededge2': _REFLECTANCE,
        'rededge3': _REFLECTANCE,
        'nir': _REFLECTANCE,
        'nir08': _REFLECTANCE,
        'swir16': _REFLECTANCE,
        'swir22': _REFLECTANCE,
        'temperature_2m': (272.15, 35.0),
        'total_precipitation': (0.0, 0.03),
        'elevation': (0.0, 2000.0),
        'slope': (0.0, 50.0),
    }

    def __init__(
        self,
        in_channels: int = 10,
        *,
        bands: Sequence[str] | None = None,
        s1_channels: int = 0,
        bands_s1: Sequence[str] | None = None,
        pool: Literal['mean', 'months'] = 'mean',
        dim: int = 128,
        depth: int = 2,
        num_heads: int = 8,
        mlp_ratio: float = 4,
        max_months: int = 24,
        chunk_size: int = 2**16,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        widths = dim // 4, dim - 2 * (dim // 4), dim // 4
        super().__init__(**arguments, widths=widths)
        self.config = plain_values(arguments)

    @staticmethod
    def slot_table(length: int, width: int) -> Tensor:
        """Sines and cosines by turns, with frequencies from 1 to 1 / 1000."""
        exponent = torch.arange(width).div(2, rounding_mode='floor') * 2 / width
        angle = torch.arange(length, dtype=torch.float64)[:, None] / 1000**exponent
        even = torch.arange(width) % 2 == 0
        return torch.where(even, angle.sin(), angle.cos()).float()

    def describe(self, group: str, slot: Tensor, month: Tensor) -> Tensor:
        """Month of the year, group and number of the month, side by side."""
        of_group = self.group_embedding[group].expand(*slot.shape[:2], -1)
        if group in self.static_groups:
            zeros = torch.zeros_like(month[:, :1]), torch.zeros_like(slot[:, :1])
            return torch.cat([zeros[0], of_group[:, :1], zeros[1]], -1)
        return torch.cat([month, of_group, slot], -1)

    def describe_place(self, tokens: Tensor) -> Tensor:
        """The projection alone."""
        return tokens

    def pool_tokens(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """The norm of the mean."""
        return torch.where(seen.any(1)[:, None], self.norm(mean_where(tokens, seen)), 0)


def presto_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the weights of Presto's encoder as :class:`Presto` does.

    Args:
        published: Weights as their authors or :class:`torchgeo.models.Presto` name them, those of
            the decoder among them or not.

    Returns:
        The state dict.

    Raises:
        KeyError: If one is missing.

    Examples:
        >>> from torchgeo.models import presto
        >>> encoder = Presto(10)
        >>> _ = encoder.load_state_dict(presto_state(presto().state_dict()))
    """
    own = {name.removeprefix('encoder.'): value for name, value in published.items()}
    state = {name: value for name, value in own.items() if name.startswith(('blocks.', 'norm.'))}
    for kind in ('weight', 'bias'):
        state[f'place_projection.{kind}'] = own[f'latlon_embed.{kind}']
    for i, group in enumerate(Presto.groups):
        state[f'group_embedding.{group}'] = own['channel_embed.weight'][i]
        for kind in ('weight', 'bias'):
            state[f'projections.{group}.{kind}'] = own[f'eo_patch_embed.{group}.{kind}']
    return state

"""The encoder that this package ships with weights: pixels of Sentinel-2, any of ten bands."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from safetensors import safe_open
from torch import Tensor, nn
from torchvision.models._api import Weights, WeightsEnum

from ..errors import SITSError
from .planar_vit import PlanarViT
from .quantities import OPTICAL, find_quantities
from .tensor_files import read_tensors

__all__ = [
    'BANDS',
    'WEIGHTS',
    'SITSS2Tiny',
    'SITSS2Tiny_Weights',
    'sits_s2_state',
    'sits_s2_statistics',
]

#: The weights, with the names, means and deviations of the ten bands in the header of the file.
WEIGHTS: Final = Path(__file__).parents[1] / 'weights' / 'sits_s2_tiny.safetensors'
#: The ten bands, by the names of Sentinel-2, in the order of the file.
BANDS: Final = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')


@cache
def _header() -> dict[str, list[Any]]:
    """What the header of the weights says of the ten bands."""
    with safe_open(WEIGHTS, 'pt') as file:
        return {name: json.loads(value) for name, value in file.metadata().items()}


class SITSS2Tiny(PlanarViT):
    """PlanarViT of the second version without path blocks, for any bands of Sentinel-2.

    Features of a pixel follow from its own dates alone. The weights
    ``sits_s2_tiny`` were pretrained by ``python -m study.checkpoint``, on pixels that Sentinel-2
    and Sentinel-1 saw; what they are worth stands in ``study/FINDINGS.md``.

    Args:
        in_channels: Number of bands.
        bands: Names of the bands, among the ten of 10 and 20 m: of Sentinel-2 (``B04``) or of
            their light (``red``). None are all ten, where weights ask for them.
        weights: Weights to load, as TorchGeo gives them to its models.
        **kwargs: Arguments of :class:`PlanarViT` that replace those of this size.

    Raises:
        SITSError: If a band is none of the ten, or there twice, or there are not *in_channels*.

    Examples:
        >>> SITSS2Tiny(2, bands=['B04', 'B08']).independent_pixels
        True
    """

    def __init__(
        self,
        in_channels: int = 10,
        *,
        bands: Sequence[str] | None = None,
        weights: 'SITSS2Tiny_Weights | None' = None,
        **kwargs: Any,
    ) -> None:
        names = BANDS if bands is None and weights is not None else bands
        if names is not None:
            find_quantities('sits_s2_tiny', OPTICAL, names)
            if len(names) != in_channels:
                raise SITSError(
                    f'expected in_channels={len(names)}, as many as bands, {list(names)}, got '
                    f'{in_channels}'
                )
        size: dict[str, Any] = {
            'embed_dim': 64,
            'depth': 0,
            'time_dim': 48,
            'seasonal_queries': 16,
            'concentration': 16.0,
            'years': ('first', 'last'),
        }
        super().__init__(in_channels, **(size | kwargs))
        # As of other published models, whose bands are known by their names.
        self.config['bands'] = None if names is None else list(names)
        if weights is not None:
            assert names is not None
            self.load_state_dict(sits_s2_state(weights.get_state_dict(), names))


def sits_s2_state(tensors: Mapping[str, Tensor], bands: Sequence[str]) -> dict[str, Tensor]:
    """Keep what the weights know of the bands of the data.

    A band that is left out is as one that has its mean on all dates, as in pretraining.

    Args:
        tensors: Tensors of the file, of all ten bands.
        bands: Names of the C bands.

    Returns:
        The state dict of an encoder of these bands.

    Raises:
        KeyError: If a tensor is missing.

    Examples:
        >>> state = sits_s2_state(SITSS2Tiny().state_dict(), ['B08', 'B04'])
        >>> _ = SITSS2Tiny(2).load_state_dict(state)
    """
    name = 'time_stage.embed.weight'
    at = [OPTICAL.index(light) for light in find_quantities('sits_s2_tiny', OPTICAL, bands)]
    return {**tensors, name: tensors[name][:, at].clone()}


def sits_s2_statistics(bands: Sequence[str]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation that the weights expect, reflectance times 10,000.

    Args:
        bands: Names of the C bands.

    Returns:
        C means and C standard deviations.

    Raises:
        SITSError: If a band is none of the ten, or there twice.

    Examples:
        >>> mean, std = sits_s2_statistics(['B04', 'B08'])
        >>> mean[0] < mean[1]
        True
    """
    lights = find_quantities('sits_s2_tiny', OPTICAL, bands)
    told = _header()
    at = [told['bands'].index(light) for light in lights]
    return [told['mean'][i] for i in at], [told['std'][i] for i in at]


class SITSS2Tiny_Weights(WeightsEnum):
    """Weights of :class:`SITSS2Tiny`, as TorchGeo lists them.

    Examples:
        >>> state = SITSS2Tiny_Weights.SENTINEL2.get_state_dict()
        >>> _ = SITSS2Tiny().load_state_dict(state)
    """

    SENTINEL2 = Weights(
        url=WEIGHTS.as_uri(),
        transforms=nn.Identity(),
        meta={
            'dataset': 'points of Canada and two stacks of Flanders, Sentinel-2 and Sentinel-1',
            'model': 'sits_s2_tiny',
            'bands': OPTICAL,
        },
    )

    def get_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Read the tensors, of all ten bands; nothing is fetched."""
        return read_tensors(WEIGHTS)

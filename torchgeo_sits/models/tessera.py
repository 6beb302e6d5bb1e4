"""TESSERA: a transformer of the clear dates of single pixels, pretrained by its authors."""

from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from torch import Tensor

from ..errors import SITSError
from ..keys import Series
from .dates import day_of_year
from .encoder import Depth, SITSEncoder
from .frame_order import chronological, take_frames
from .masked import chunk_length, list_where, map_chunks, unlist_where
from .quantities import OPTICAL, find_quantities

__all__ = ['Tessera', 'tessera_state']


class Tessera(SITSEncoder):
    """Sentinel-2 branch of TESSERA v1, on the clear dates of each pixel.

    Feng et al. 2025, https://arxiv.org/abs/2506.20380, with the layers of TorchGeo's
    :class:`torchgeo.models.Tessera`: 10 bands and the day of the year of each clear date, in the
    order of time, a transformer over them, and a pooling by weights of a recurrent layer. On series
    without gaps features are those of TorchGeo's ``s2_backbone``. The branch of Sentinel-1 is not
    here: in which scale it was trained could not be verified.

    There is no spatial context: *early* features are the late ones. At its published size the
    branch has 44 M parameters.

    Args:
        in_channels: Number of bands, 10.
        bands: Their names; by default the ten of Sentinel-2 from B02 to B12, in the order of the
            sensor.
        latent_dim: A quarter of the width D.
        depth: Number of blocks.
        num_heads: Heads of the attention.
        hidden_dim: Width of the hidden layer of a block.
        chunk_size: Tokens held in memory at a time.

    Raises:
        SITSError: If bands are unknown, missing or there twice, or a size is out of its range.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import Series, Tessera
        >>> encoder = Tessera(latent_dim=8, depth=1, num_heads=2, hidden_dim=16).eval()
        >>> image, times = torch.rand(2, 5, 10, 4, 4), 864_000 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> encoder.features(series).shape
        torch.Size([2, 32, 4, 4])
    """

    #: Mean and standard deviation of each band, of reflectance times 10,000, in the order of the
    #: weights (https://github.com/ucam-eo/tessera, ``tessera_infer/src/datasets/ssl_dataset.py``).
    scales: Mapping[str, tuple[float, float]] = {
        'red': (1711.0938, 1926.1026),
        'blue': (1308.8511, 1862.9751),
        'green': (1546.4543, 1803.1792),
        'nir': (3010.1293, 1741.7837),
        'nir08': (3106.5083, 1677.4543),
        'rededge1': (2068.3044, 1888.7862),
        'rededge2': (2685.0845, 1736.3090),
        'rededge3': (2931.5889, 1715.8104),
        'swir16': (2514.6928, 1514.5199),
        'swir22': (1899.4922, 1398.4779),
    }
    independent_pixels = True

    def __init__(
        self,
        in_channels: int = 10,
        *,
        bands: Sequence[str] | None = None,
        latent_dim: int = 128,
        depth: int = 8,
        num_heads: int = 8,
        hidden_dim: int = 4096,
        chunk_size: int = 2**16,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        for name in ('latent_dim', 'depth', 'num_heads', 'hidden_dim', 'chunk_size'):
            if arguments[name] < 1:
                raise SITSError(f'expected {name} of at least 1, got {arguments[name]}')
        if 4 * latent_dim % num_heads:
            raise SITSError(f'expected num_heads that divide {4 * latent_dim}, got {num_heads}')
        super().__init__(in_channels=in_channels, embed_dim=4 * latent_dim)
        self.config = arguments | {'bands': None if bands is None else list(bands)}
        # Slow to import (seconds), so only here.
        from torchgeo.models.tessera import TransformerEncoder

        names = list(OPTICAL if bands is None else bands)
        own = find_quantities(type(self).__name__, self.scales, names)
        if missing := [name for name in self.scales if name not in own]:
            raise SITSError(
                f'Tessera needs all ten of its bands, {list(self.scales)}: {missing} are not among '
                f'{names}'
            )
        if len(names) != in_channels:
            raise SITSError(f'expected a name for each of {in_channels} channels, got {names}')
        self._channels = [own.index(name) for name in self.scales]
        self.chunk_size = chunk_size
        self.s2_backbone = TransformerEncoder(
            len(self.scales), latent_dim, num_heads, depth, hidden_dim
        )
        # Padding is hidden by a mask; nested tensors would drop it from the output.
        self.s2_backbone.transformer_encoder.use_nested_tensor = False

    @classmethod
    def statistics(cls, bands: Sequence[str]) -> tuple[list[float], list[float]]:
        """Mean and standard deviation that the values of bands are to be normalised by.

        Args:
            bands: Names of the bands.

        Returns:
            One value per band each, of reflectance times 10,000.

        Raises:
            SITSError: If the model does not know a band.
        """
        pairs = [cls.scales[name] for name in find_quantities(cls.__name__, cls.scales, bands)]
        return [mean for mean, _ in pairs], [std for _, std in pairs]

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Features of each pixel's clear dates.

        All depths give late features, *joined* twice.

        Returns:
            ``(B, D, H, W)``, or ``(B, 2 D, H, W)`` for *joined*; zeros where a pixel was never
            clear.
        """
        copies = self.feature_dim(depth) // self.embed_dim
        late = rearrange(self._run(series, pooled=True), 'b h w d -> b d h w')
        return torch.cat([late] * copies, 1)

    def forward_frames(self, series: Series) -> Tensor:
        """Tokens of each frame after the transformer.

        Returns:
            ``(B, T, D, H, W)``, zeros where a pixel was not clear.
        """
        return rearrange(self._run(series, pooled=False), 'b h w t d -> b t d h w')

    def _run(self, series: Series, *, pooled: bool) -> Tensor:
        """Run the branch on all pixels: ``(B, H, W, D)``, or ``(B, H, W, T, D)``, T as given."""
        b, _, _, h, w = series.image.shape
        order = chronological(series.acquisition_times, series.valid)
        image = take_frames(series.image, order)[:, :, self._channels]
        clear = take_frames(series.clear, order)
        day = day_of_year(series.acquisition_times.gather(1, order)) + 1
        pixels = rearrange(image, 'b t c h w -> (b h w) t c')
        known = rearrange(clear, 'b t h w -> (b h w) t')
        days = day.repeat_interleave(h * w, 0)
        where = known.any(1)
        entries = [list_where(each, where) for each in (pixels, known, days)]
        chunk = max(1, chunk_length(pixels, self.chunk_size) // pixels.shape[1])

        def run(pixels: Tensor, known: Tensor, days: Tensor) -> Tensor:
            # Clear dates first, in their order; what comes behind is hidden and pulls nothing.
            index = (~known).long().argsort(dim=1, stable=True)
            known = known.gather(1, index)
            values = pixels.gather(1, index[..., None].expand_as(pixels))
            values = torch.where(known[..., None], values, 0)
            tokens = self._tokens(values, days.gather(1, index), known)
            if pooled:
                return self._pool(tokens, known)
            back = index.argsort(dim=1)[..., None].expand_as(tokens)
            return torch.where(known[..., None], tokens, 0).gather(1, back)

        found = unlist_where(map_chunks(run, *entries, dim=0, chunk=chunk), where)
        found = found.unflatten(0, (b, h, w))
        if pooled:
            return found
        frames = rearrange(found, 'b h w t d -> b t h w d')
        return rearrange(take_frames(frames, order.argsort(dim=1)), 'b t h w d -> b h w t d')

    def _tokens(self, values: Tensor, days: Tensor, known: Tensor) -> Tensor:
        """Tokens ``(P, T, D)`` of normalised values ``(P, T, 10)`` and days of the year."""
        branch = self.s2_backbone
        x = branch.embedding(values) + branch.temporal_encoder(days)
        tokens: Tensor = branch.transformer_encoder(x, src_key_padding_mask=~known)
        return tokens

    def _pool(self, tokens: Tensor, known: Tensor) -> Tensor:
        """Pool tokens ``(P, T, D)`` where *known* ``(P, T)``."""
        pool = self.s2_backbone.attn_pool
        context, _ = pool.temporal_context(torch.where(known[..., None], tokens, 0))
        scores = pool.query(context).masked_fill(~known[..., None], -torch.inf)
        return (scores.softmax(1) * torch.where(known[..., None], tokens, 0)).sum(1)


def tessera_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the weights of TESSERA's Sentinel-2 branch as :class:`Tessera` does.

    Args:
        published: Weights as :class:`torchgeo.models.Tessera` names them: of the branch alone, or
            of the whole model.

    Returns:
        The state dict.
    """
    own = {n: v for n, v in published.items() if n.startswith('s2_backbone.')}
    return own or {f's2_backbone.{name}': value for name, value in published.items()}

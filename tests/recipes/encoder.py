"""An encoder of one's own: deep sets of the dates of a pixel, then its neighbours."""

import torch
from einops import rearrange
from torch import Tensor, nn

from torchgeo_sits.models import Depth, Series, SITSEncoder, TemporalEncoding


class DeepSets(SITSEncoder):
    """The mean of a perceptron over the clear dates of each pixel, then a 3 x 3 convolution.

    Deep sets (Zaheer et al. 2017, https://arxiv.org/abs/1703.06114, theorem 2).
    """

    def __init__(self, in_channels: int = 10, *, dim: int = 64) -> None:
        super().__init__(in_channels=in_channels, embed_dim=dim)
        self.config = {'in_channels': in_channels, 'dim': dim}
        self.values = nn.Linear(in_channels, dim)
        self.dates = TemporalEncoding(dim)
        self.mlp = nn.Sequential(nn.GELU(), nn.Linear(dim, dim), nn.GELU())
        self.neighbours = nn.Conv2d(dim, dim, 3, padding=1)

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Features ``(B, D, H, W)`` of the series, *early* before the convolution."""
        clear = series.clear[:, :, None]
        early = self._of_dates(series).sum(1) / clear.sum(1).clamp(min=1)
        if depth == 'early':
            return early
        late = self.neighbours(early)
        return late if depth == 'late' else torch.cat([early, late], 1)

    def forward_frames(self, series: Series) -> Tensor:
        """Features ``(B, T, D, H, W)`` of each date alone."""
        dates = self._of_dates(series)
        return self.neighbours(dates.flatten(0, 1)).unflatten(0, dates.shape[:2])

    def _of_dates(self, series: Series) -> Tensor:
        """The perceptron of each date ``(B, T, D, H, W)``, zeros where it was not clear."""
        clear = series.clear[..., None]
        # where, not a product: what is not clear may be NaN.
        values = torch.where(clear, rearrange(series.image, 'b t c h w -> b t h w c'), 0)
        dates = self.dates(series.acquisition_times, series.valid)[:, :, None, None]
        return rearrange(self.mlp(self.values(values) + dates) * clear, 'b t h w c -> b t c h w')

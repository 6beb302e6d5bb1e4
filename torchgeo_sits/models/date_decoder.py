"""Decode what a pixel looked like at a date from its feature."""

from torch import Tensor, nn

from .temporal_encoding import TemporalEncoding

__all__ = ['DateDecoder']


class DateDecoder(nn.Module):
    """A multilayer perceptron from a pixel's feature and a date to the values of the bands.

    The feature sums up a series, so one vector must answer for every date that is asked for,
    as in a conditional implicit function.

    Args:
        dim: Number of features D of a pixel.
        out_channels: Number of bands C.
        hidden_dim: Width of the hidden layers.
    """

    def __init__(self, dim: int, out_channels: int, *, hidden_dim: int = 128) -> None:
        super().__init__()
        self.dates = TemporalEncoding(hidden_dim)
        self.feature = nn.Linear(dim, hidden_dim)
        # Where in a cell of several pixels the pixel lies.
        self.inside = nn.Linear(2, hidden_dim, bias=False)
        self.layers = nn.Sequential(
            nn.LayerNorm(hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, out_channels),
        )

    def encode_dates(self, acquisition_times: Tensor, valid: Tensor) -> Tensor:
        """Encode the dates of series.

        Args:
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.

        Returns:
            ``(B, T, hidden_dim)``.
        """
        codes: Tensor = self.dates(acquisition_times, valid)
        return codes

    def forward(self, features: Tensor, dates: Tensor, inside: Tensor) -> Tensor:
        """Decode the values of pixels at dates.

        Args:
            features: ``(P, D)``, of the pixels or the cells they lie in.
            dates: ``(P, hidden_dim)``, from :meth:`encode_dates`.
            inside: ``(P, 2)``, where in its cell each pixel lies, in [0, 1].

        Returns:
            ``(P, C)``.
        """
        values: Tensor = self.layers(self.feature(features) + dates + self.inside(inside - 0.5))
        return values

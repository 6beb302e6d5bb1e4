"""Heads that turn features of an encoder into a map of scores."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from ..errors import SITSError
from .dates import TemporalEncoding

__all__ = ['DateDecoder', 'DenseHead', 'PairHead']


class DenseHead(nn.Module):
    """A linear map of each cell's features to the scores of its pixels.

    A cell of a feature map of stride s stands for s x s pixels, and each of them gets scores
    of its own from the features of the cell, as in TSViT's segmentation head (Tarasiou et al.
    2023, section 3.4). With a stride of 1 this is a linear layer per pixel.

    Args:
        in_dim: Number of feature channels D.
        num_outputs: Number of scores K of a pixel.
        stride: Pixels per cell, along either axis.
        hidden_dim: Width of a hidden layer before, 0 for none.

    Raises:
        SITSError: If a size is below 1.

    Examples:
        >>> import torch
        >>> head = DenseHead(16, num_outputs=3, stride=4)
        >>> head(torch.rand(2, 16, 2, 3), size=(8, 10)).shape
        torch.Size([2, 3, 8, 10])
    """

    def __init__(
        self, in_dim: int, num_outputs: int, *, stride: int = 1, hidden_dim: int = 0
    ) -> None:
        super().__init__()
        if min(in_dim, num_outputs, stride) < 1 or hidden_dim < 0:
            raise SITSError(
                'expected in_dim, num_outputs and stride of at least 1 and hidden_dim of at least '
                f'0, got {in_dim}, {num_outputs}, {stride} and {hidden_dim}'
            )
        self.stride = stride
        self.hidden: nn.Module = nn.Identity()
        if hidden_dim:
            self.hidden = nn.Sequential(nn.Conv2d(in_dim, hidden_dim, 1), nn.GELU())
        self.scores = nn.Conv2d(hidden_dim or in_dim, num_outputs * stride**2, 1)

    @property
    def first(self) -> nn.Module:
        """First layer, which is linear."""
        return self.hidden[0] if isinstance(self.hidden, nn.Sequential) else self.scores

    def forward(self, features: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
        """Scores of the pixels.

        Args:
            features: ``(B, D, ceil(H / stride), ceil(W / stride))``.
            size: H and W.

        Returns:
            ``(B, K, H, W)``.
        """
        scores = pixel_shuffle(self.scores(self.hidden(features)), self.stride)
        return scores[..., : size[0], : size[1]]


class PairHead(nn.Module):
    r"""Scores of change from the features of a place at two times.

    A hidden layer sees :math:`[f_1, f_2 - f_1, |f_2 - f_1|]`: what was there, how it moved,
    and how far. The absolute difference is that of FC-Siam-diff (Daudt et al. 2018,
    https://arxiv.org/abs/1810.08462, section 3.2).

    Args:
        in_dim: Number of feature channels D of one time.
        num_outputs: Number of scores K of a pixel.
        stride: Pixels per cell of the feature maps, along either axis.
        hidden_dim: Width of the hidden layer; 0 for none.

    Examples:
        >>> import torch
        >>> head = PairHead(16, num_outputs=2, stride=1, hidden_dim=8)
        >>> head(torch.rand(1, 16, 8, 8), torch.rand(1, 16, 8, 8), size=(8, 8)).shape
        torch.Size([1, 2, 8, 8])
    """

    def __init__(self, in_dim: int, num_outputs: int, *, stride: int, hidden_dim: int) -> None:
        super().__init__()
        self.head = DenseHead(3 * in_dim, num_outputs, stride=stride, hidden_dim=hidden_dim)

    def forward(self, before: Tensor, after: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
        """Scores of the pixels.

        Args:
            before: ``(B, D, ceil(H / stride), ceil(W / stride))``.
            after: The same of the later time.
            size: H and W.

        Returns:
            ``(B, K, H, W)``.
        """
        moved = after - before
        return self.head(torch.cat([before, moved, moved.abs()], 1), size)


class DateDecoder(nn.Module):
    """A multilayer perceptron from a pixel's feature and a date to the values of the bands.

    The feature sums up a series, so one vector must answer for every date that is asked for,
    as in a conditional implicit function.

    Args:
        dim: Number of features D of a pixel.
        out_channels: Number of bands C.
        hidden_dim: Width of the hidden layers.

    Examples:
        >>> import torch
        >>> decoder = DateDecoder(16, out_channels=4)
        >>> times, valid = torch.tensor([[0, 10**7]]), torch.ones(1, 2, dtype=torch.bool)
        >>> dates = decoder.encode_dates(times, valid)
        >>> decoder(torch.rand(2, 16), dates[0], inside=torch.full((2, 2), 0.5)).shape
        torch.Size([2, 4])
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

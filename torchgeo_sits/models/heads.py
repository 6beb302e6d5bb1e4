"""Heads that turn features of an encoder into a map of scores."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

__all__ = ['DenseHead']


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
        ValueError: If a size is below 1.
    """

    def __init__(
        self, in_dim: int, num_outputs: int, *, stride: int = 1, hidden_dim: int = 0
    ) -> None:
        super().__init__()
        if min(in_dim, num_outputs, stride) < 1 or hidden_dim < 0:
            raise ValueError(
                'expected in_dim, num_outputs and stride of at least 1 and hidden_dim of at least '
                f'0, got {in_dim}, {num_outputs}, {stride} and {hidden_dim}'
            )
        self.stride = stride
        self.hidden: nn.Module = nn.Identity()
        if hidden_dim:
            self.hidden = nn.Sequential(nn.Conv2d(in_dim, hidden_dim, 1), nn.GELU())
        self.scores = nn.Conv2d(hidden_dim or in_dim, num_outputs * stride**2, 1)

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

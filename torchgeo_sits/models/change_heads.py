"""Heads that compare features of two times."""

import torch
from torch import Tensor, nn

from .heads import DenseHead

__all__ = ['PairHead']


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

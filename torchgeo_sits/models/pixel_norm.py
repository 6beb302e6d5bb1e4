"""Batch norm of vectors that may be alone in their batch."""

from torch import Tensor, nn
from torch.nn.functional import batch_norm

__all__ = ['PixelBatchNorm']


class PixelBatchNorm(nn.BatchNorm1d):
    """Batch norm that takes its running statistics where a batch has fewer than two values.

    One value has no variance, and PyTorch's layer stops training there: for a model of single
    pixels that is the last batch of an epoch, with one pixel left.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(N, D)`` or ``(N, D, L)``, N may be 0."""
        if self.training and input.numel() < 2 * self.num_features:
            return batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)

"""Batches and means over all processes, each of which holds a part of the batch."""

import torch
from lightly.utils.dist import gather, world_size
from torch import Tensor
from torch import distributed as dist

__all__ = ['gather_batch', 'global_mean']


def gather_batch(tensor: Tensor) -> Tensor:
    """Join what each process holds, along the first axis, with gradients.

    Losses that compare samples with each other, and heads with batch normalisation, are
    computed in each process on the whole batch, so that two processes learn what one with
    twice the batch would: the backward pass sums the processes' gradients, which
    DistributedDataParallel then averages.

    Args:
        tensor: ``(B, ...)``, of one shape in all processes.

    Returns:
        ``(W * B, ...)`` for W processes, the first process's first.
    """
    if world_size() == 1:
        return tensor
    if tensor.dtype == torch.bool:
        return gather_batch(tensor.to(torch.uint8)).bool()
    return torch.cat(gather(tensor))


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """Mean of a sum that is spread over processes with unequal numbers of terms.

    Args:
        total: This process's sum, with gradients; a scalar, or of any shape.
        count: Scalar, the number of its terms.

    Returns:
        What has the mean of all terms as its mean over the processes; 0 where there are none.
    """
    count = count.detach().clone().float()
    processes = world_size()
    if processes > 1:
        dist.all_reduce(count)
    return total * processes / count.clamp(min=1)

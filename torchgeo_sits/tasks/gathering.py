"""Statistics of the whole batch where several processes hold a part of it each."""

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
        total: Scalar, this process's sum, with gradients.
        count: Scalar, the number of its terms.

    Returns:
        Scalar whose mean over the processes is the mean of all terms; 0 where there are none.
    """
    count = count.detach().clone().float()
    processes = world_size()
    if processes > 1:
        dist.all_reduce(count)
    return total * processes / count.clamp(min=1)

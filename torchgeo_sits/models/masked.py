"""Apply a function to the entries of a tensor that count, and to no others."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.utils.checkpoint import checkpoint

__all__ = [
    'PixelBatchNorm',
    'chunk_length',
    'list_where',
    'map_chunks',
    'map_where',
    'unlist_where',
]

#: Tokens, or their dates, of a slice that fits the cache: about 2 MB at a width of 128.
_CACHED = 2**12
#: The same under autocast, where values are half as wide and what a call costs by itself counts
#: for more; measured on a processor with AVX-512 BF16.
_CACHED_HALF = 2**14


def chunk_length(tensor: Tensor, most: int) -> int:
    """Tokens to hold at a time: *most*, or as many as the processor caches without gradients."""
    if tensor.device.type != 'cpu' or torch.is_grad_enabled():
        return most
    return min(_CACHED_HALF if torch.is_autocast_enabled('cpu') else _CACHED, most)


def map_chunks(function: Callable[..., Tensor], *tensors: Tensor, dim: int, chunk: int) -> Tensor:
    """Apply *function* to slices of the tensors and join what comes out.

    Where gradients are recorded, slices are checkpointed: each is computed again in the
    backward pass, so that the intermediate values of one slice only are held at a time.

    Args:
        function: Maps slices of *tensors* to one tensor with the same length along *dim*.
        *tensors: Inputs with one length along *dim*.
        dim: Axis to slice, of the inputs and of the output.
        chunk: Length of a slice, at least 1. Inputs no longer than that are passed whole.

    Returns:
        The same as ``function(*tensors)``, for functions that treat entries of *dim* alike.
    """
    # The number of slices depends on the size of the input, which an exported graph leaves open.
    if torch.compiler.is_exporting() or tensors[0].shape[dim] <= chunk:
        return function(*tensors)
    slices = zip(*(tensor.split(chunk, dim) for tensor in tensors), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(function, *each, use_reentrant=False) for each in slices], dim)
    # Into place one by one: all slices and what joins them would be held at a time.
    found: Tensor | None = None
    start = 0
    for each in slices:
        part = function(*each)
        if found is None:
            shape = list(part.shape)
            shape[dim] = tensors[0].shape[dim]
            found = part.new_empty(shape)
        found.narrow(dim, start, part.shape[dim]).copy_(part)
        start += part.shape[dim]
    assert found is not None  # no length is 0 and above the chunk
    return found


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


def list_where(x: Tensor, where: Tensor) -> Tensor:
    """Entries of ``(*S, ...)`` where *where* ``(*S,)`` is True: ``(N, ...)``.

    An exported graph lists all of them, for its shapes must not depend on the data: what
    follows must treat entries alike, and be undone by :func:`unlist_where`.
    """
    if torch.compiler.is_exporting():
        return x.flatten(0, where.ndim - 1)
    return x[where]


def unlist_where(x: Tensor, where: Tensor) -> Tensor:
    """Put entries ``(N, ...)`` of :func:`list_where` back: ``(*S, ...)``, zeros elsewhere."""
    if torch.compiler.is_exporting():
        x = x.unflatten(0, where.shape)
        # where, not a product: what does not count may be NaN.
        return torch.where(where[(..., *[None] * (x.ndim - where.ndim))], x, 0)
    out = x.new_zeros(*where.shape, *x.shape[1:])
    out[where] = x
    return out


def map_where(function: Callable[[Tensor], Tensor], x: Tensor, where: Tensor) -> Tensor:
    """Apply *function* to the entries that count.

    Norms that are trained must not take in what does not count, and it need not be computed.

    Args:
        function: Maps ``(N, ...)`` to ``(N, ...)``, entries alike but for statistics.
        x: ``(*S, ...)``.
        where: ``(*S,)`` bool.

    Returns:
        ``(*S, ...)``, zeros where *where* is False.
    """
    return unlist_where(function(list_where(x, where)), where)

"""Bounded memory: apply a function to slices of its inputs."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ['chunk_length', 'map_chunks']

#: Tokens, or their dates, of a slice that fits the cache: about 2 MB at a width of 128.
_CACHED = 2**12


def chunk_length(tensor: Tensor, most: int) -> int:
    """Tokens to hold at a time: *most*, or as many as the processor caches without gradients."""
    on_cpu = tensor.device.type == 'cpu' and not torch.is_grad_enabled()
    return min(_CACHED, most) if on_cpu else most


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
    parts = zip(*(tensor.split(chunk, dim) for tensor in tensors), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts], dim)
    return torch.cat([function(*part) for part in parts], dim)

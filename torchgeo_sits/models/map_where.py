"""Apply a function to the entries of a tensor that count, and to no others."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ['list_where', 'map_where', 'unlist_where']


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

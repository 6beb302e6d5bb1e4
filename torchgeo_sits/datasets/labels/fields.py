"""Fields of labels, numbered pixel by pixel."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...grid import Grid

__all__ = ['NumberedFields', 'connected_fields']


class NumberedFields(NamedTuple):
    """The fields of an area."""

    #: Pixels of the area that hold all of its fields.
    grid: Grid
    #: Number of the field of each pixel ``(H, W)`` int32, from 1 on, 0 where there is none.
    numbers: NDArray[np.int32]
    #: Label of each of the F numbers ``(F,)``: a class, int64, or a value, float64.
    labels: NDArray[Any]


def connected_fields(mask: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the connected components of pixels of one value, by the edges they share.

    Runs of pixels in a row are joined across rows by union-find, all at a time.

    Args:
        mask: Values ``(H, W)``.
        known: Pixels ``(H, W)`` that belong to a component.

    Returns:
        ``(H, W)``, from 1 on in the order of their first pixels, 0 elsewhere.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.labels import connected_fields
        >>> mask = np.array([[5, 5, 7], [7, 5, 7]])
        >>> connected_fields(mask, mask > 0)
        array([[1, 1, 2],
               [3, 1, 2]], dtype=int32)
    """
    begins = np.ones(mask.shape, bool)
    begins[:, 1:] = (mask[:, 1:] != mask[:, :-1]) | (known[:, 1:] != known[:, :-1])
    run = np.cumsum(begins.ravel(), dtype=np.int32).reshape(mask.shape) - 1
    # Each pair of runs once: where either of them begins.
    joined = known[1:] & known[:-1] & (mask[1:] == mask[:-1]) & (begins[1:] | begins[:-1])
    pairs = np.stack([run[:-1][joined], run[1:][joined]])
    parent = np.arange(run[-1, -1] + 1)
    while True:
        low, high = np.sort(parent[pairs], axis=0)
        if (low == high).all():
            break
        # The lowest of all that a root is to be joined to, then the root of that.
        np.minimum.at(parent, high, low)
        while (parent[parent] != parent).any():
            parent = parent[parent]
    inside = known[begins]  # of each run
    number = np.cumsum((parent == np.arange(len(parent))) & inside, dtype=np.int32)
    found: NDArray[np.int32] = np.where(inside, number[parent], 0).astype(np.int32)[run]
    return found

"""The parcels of PASTIS: which there are, and which of them are labelled."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..datasets import PASTIS
from .field_choice import choose_fields

__all__ = ['Parcels', 'choose_parcels', 'find_parcels', 'parcel_map']

#: Room for the published ids within a patch.
_ID_BITS = 40


class Parcels(NamedTuple):
    """Parcels of some patches: a parcel that is cut by an edge is one in each patch."""

    #: Position of the patch ``(N,)``.
    patch: NDArray[np.int64]
    #: Id of the parcel ``(N,)``, see :func:`parcel_map`.
    parcel: NDArray[np.int64]
    #: Class of most of its pixels there ``(N,)``.
    label: NDArray[np.int64]

    def only(self, rows: NDArray[np.bool_]) -> 'Parcels':
        """Some of the rows.

        Args:
            rows: Which, ``(N,)``.

        Returns:
            The parcels.
        """
        return Parcels(*(values[rows] for values in self))


def parcel_map(data: PASTIS, index: int) -> NDArray[np.int64]:
    """Ids of the parcels of a patch.

    Args:
        data: The data set.
        index: Position of the patch.

    Returns:
        ``(H, W)``, different in all patches: nothing says that published ids are. What lies in
        no parcel is one of its own in each patch, with a negative id: background is a class,
        of which a share is labelled as of the others.
    """
    parcels = data.parcels(index).astype(np.int64)
    return np.where(parcels == 0, -1 - index, parcels + (index << _ID_BITS))


def find_parcels(data: PASTIS) -> Parcels:
    """Read all parcels, but for those that are void in a patch.

    Args:
        data: The data set; its annotations are read once.

    Returns:
        The parcels.
    """
    found = [np.zeros((3, 0), np.int64)]
    for index in range(len(data)):
        # One number for id and class, of which 20 fit between two ids.
        pairs = parcel_map(data, index) * len(data.classes) + data.labels(index)
        keys, sizes = np.unique(pairs, return_counts=True)
        parcel, label = np.divmod(keys, len(data.classes))
        order = np.lexsort((-sizes, parcel))
        first = order[np.unique(parcel[order], return_index=True)[1]]
        first = first[label[first] != data.void]
        where = np.full(len(first), index)
        found.append(np.stack([where, parcel[first], label[first]]))
    return Parcels(*np.concatenate(found, axis=1))


def choose_parcels(
    parcels: Parcels, *, per_class: int | None, fraction: float | None, seed: int
) -> NDArray[np.int64]:
    """Choose parcels class by class; of a larger number, a smaller one is a part.

    Args:
        parcels: The parcels.
        per_class: Number of parcels of each class.
        fraction: Share of the parcels of each class, and at least one.
        seed: Seed of the choice.

    Returns:
        Ids of the chosen ones, sorted.
    """
    everyone = np.ones(len(parcels.parcel), bool)
    chosen = choose_fields(
        parcels.label, everyone, per_class=per_class, fraction=fraction, seed=seed
    )
    return np.sort(parcels.parcel[chosen])

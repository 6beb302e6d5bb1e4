"""Numbers that maps of labels hold, and the classes that they mean.

A number that is published without a class is no label. One that is not published at all is
refused where the list of the numbers is whole (:func:`classes_of`), and told by a warning where
the list has gaps of which nothing is known (:class:`GappedClasses`).
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError

__all__ = ['GappedClasses', 'classes_of']


def classes_of(numbers: NDArray[Any], classes: Mapping[int, int], path: Path) -> NDArray[np.int64]:
    """Classes of the numbers of a map, of which all are published.

    Args:
        numbers: Stored numbers, of any type and shape.
        classes: Class of each number, -1 for those without one.
        path: File that they are of, for the message.

    Returns:
        Classes, of the same shape.

    Raises:
        SITSError: If a number is none of those: it would be taken for no label, and nobody knew.

    Examples:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.codes import classes_of
        >>> classes_of(np.array([0, 22, 22]), {0: -1, 22: 0}, Path('y.tif')).tolist()
        [-1, 0, 0]
    """
    if odd := _unknown(numbers, classes):
        raise SITSError(
            f"'{path}' holds the labels {odd}, which are not published: expected "
            f'{sorted(classes)}. Fetch it again'
        )
    return _lookup(numbers, classes)


class GappedClasses:
    """Classes of numbers whose published list has gaps: the first file with such is told.

    Args:
        classes: Class of each number, -1 for those without one.

    Examples:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.codes import GappedClasses
        >>> GappedClasses({0: -1, 22: 0}).classes_of(np.array([0, 22]), Path('y.tif')).tolist()
        [-1, 0]
    """

    def __init__(self, classes: Mapping[int, int]) -> None:
        self._classes = dict(classes)
        self._told = False

    def classes_of(self, numbers: NDArray[Any], path: Path) -> NDArray[np.int64]:
        """Classes of the numbers of a map, -1 for those that are not published, with a warning.

        Args:
            numbers: Stored numbers, of any type and shape.
            path: File that they are of, for the warning.

        Raises:
            SITSError: If they are no whole numbers from 0.
        """
        if numbers.dtype.kind not in 'biuf' or not ((numbers >= 0) & (numbers % 1 == 0)).all():
            raise SITSError(
                f"'{path}' holds labels that are no whole numbers from 0 ({numbers.dtype}): fetch "
                'it again'
            )
        if not self._told and (odd := _unknown(numbers, self._classes)):
            self._told = True
            warnings.warn(
                f"'{path}' holds the labels {odd}, which are not published: they are taken for "
                'none, here and in what is read after it',
                UserWarning,
                stacklevel=2,
            )
        return _lookup(numbers, self._classes)


def _lookup(numbers: NDArray[Any], classes: Mapping[int, int]) -> NDArray[np.int64]:
    """Class of each number, -1 for those that have none."""
    found = np.full(numbers.shape, -1, np.int64)
    for number, value in classes.items():
        found[numbers == number] = value
    return found


def _unknown(numbers: NDArray[Any], known: Mapping[int, int]) -> str:
    """The first numbers that are none of those that are known, and how often they occur."""
    there, counts = np.unique(numbers, return_counts=True)
    pairs = zip(there.tolist(), counts.tolist(), strict=True)
    odd = [f'{number} ({count} times)' for number, count in pairs if number not in known]
    return ', '.join(odd[:5]) + (f' and {len(odd) - 5} more' if len(odd) > 5 else '')

"""Family of the arrays: one file of NumPy for each sample and sensor, dates in a central table."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import PublishedTimeSeries, StoredSeries, Window
from .side_files import read_npy

__all__ = ['ArraySeries', 'read_array_series']


class ArraySeries(PublishedTimeSeries):
    """Base class of data sets with an array ``(T, C, H, W)`` for each sample.

    A subclass says where the array of a sample is, and its dates; only the pages of a window are
    read.
    """

    @abstractmethod
    def array_file(self, key: Any) -> Path:
        """The file of a sample.

        Args:
            key: One of :attr:`samples`.
        """

    @abstractmethod
    def times(self, key: Any) -> NDArray[np.int64]:
        """Times of the frames of a sample ``(T,)``, seconds since 1970-01-01 UTC, in their order.

        Args:
            key: One of :attr:`samples`.
        """

    def size(self, key: Any) -> tuple[int, int]:
        """Height and width of the array."""
        height, width = read_npy(self.array_file(key)).shape[-2:]
        return int(height), int(width)

    def read_series(self, key: Any, window: Window) -> StoredSeries:
        """Read a window of the array."""
        return read_array_series(self.array_file(key), self.times(key), self.band_names, window)


def read_array_series(
    path: Path, times: NDArray[np.int64], bands: Sequence[str], window: Window
) -> StoredSeries:
    """Read a window of an array ``(T, C, H, W)``.

    Args:
        path: The file.
        times: Times of its frames, ``(T,)``.
        bands: Names of its bands.
        window: Rows and columns.

    Raises:
        SITSError: If the array has other dates or bands.
    """
    array = read_npy(path)
    if array.ndim != 4 or array.shape[:2] != (len(times), len(bands)):
        raise SITSError(
            f"'{path}' has the shape {array.shape}, expected ({len(times)}, {len(bands)}, H, W): "
            f'{len(times)} dates, and the bands {list(bands)}. Fetch it again'
        )
    return StoredSeries(array[:, :, window[0], window[1]], times)

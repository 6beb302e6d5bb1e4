"""Family of the fields over dated rasters: a square around each field, which has one class."""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import LabelKind, StoredSeries, Window
from .dated_files import DatedFiles, raster_size

__all__ = ['FieldSquares']


class FieldSquares(DatedFiles):
    """Base class of data sets whose samples are fields in rasters of many fields.

    A sample is a square around a field, in which the pixels of that field alone are clear; larger
    fields are cut. A square that would reach over the edge of the rasters is moved inside. A
    subclass says where fields are in :meth:`centre` and :meth:`inside`.
    """

    label_kind: LabelKind = 'series'

    def __init__(self, *args: Any, side: int = 32, **kwargs: Any) -> None:
        """Initialize a new instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            side: Height and width of the squares in pixels.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if side < 1:
            raise SITSError(f'side={side}: expected 1 at least')
        self.side = side
        super().__init__(*args, **kwargs)

    @abstractmethod
    def centre(self, key: Any) -> tuple[int, int]:
        """Row and column of the middle of a field.

        Args:
            key: One of :attr:`samples`.
        """

    @abstractmethod
    def inside(self, key: Any, window: Window) -> NDArray[np.bool_]:
        """Which pixels belong to a field.

        Args:
            key: One of :attr:`samples`.
            window: Rows and columns of the rasters.
        """

    def size(self, key: Any) -> tuple[int, int]:
        """The side, or that of the rasters where they are smaller."""
        height, width = super().size(key)
        return min(self.side, height), min(self.side, width)

    def read_series(self, key: Any, window: Window) -> StoredSeries:
        """Read a window of the square of each raster."""
        placed = self._placed(key, window)
        stored = super().read_series(key, placed)
        inside = self.inside(key, placed)
        return stored._replace(clear=inside if stored.clear is None else inside & stored.clear)

    def _placed(self, key: Any, window: Window) -> Window:
        """Rows and columns of the rasters, of a window of the square."""
        sides = self.size(key)
        whole = raster_size(self.list_frames(key)[0].paths[0])
        found = []
        for middle, side, end, part in zip(self.centre(key), sides, whole, window, strict=True):
            start = min(max(middle - side // 2, 0), end - side)
            chosen = range(start, start + side)[part]
            found.append(slice(chosen.start, chosen.stop))
        return found[0], found[1]

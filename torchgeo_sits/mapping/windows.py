"""Overlapping windows that cover a raster, and how much each counts where they overlap."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ['Windows']

#: Encoders that pool would have to pad other sides.
_STEP = 8


@dataclass(frozen=True)
class Windows:
    """Windows of one size over a raster, row by row.

    Neighbours share *overlap* pixels at least, and none reaches beyond the raster. All have one
    shape, of *size* pixels at most: along either axis there are as few as that size allows, and
    they are no larger than so many must be, in steps of 8 pixels, since what two windows share
    is computed twice. A raster that is smaller than a window has one, of its own shape.

    The weight of a window is 0 over the outer quarter of the overlap, where a network has seen
    the least around a pixel, and rises from there as the square of a sine, so that those of two
    neighbours add up to one and no seam shows. There is no such border at the edge of the
    raster.

    Attributes:
        height: Rows of the raster.
        width: Columns of the raster.
        size: Largest side of a window in pixels.
        overlap: Pixels that two neighbours share, at least.
    """

    height: int
    width: int
    size: int
    overlap: int

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: If a side is not positive, or windows overlap by more than half.
        """
        if min(self.height, self.width, self.size) < 1:
            raise ValueError(
                f'expected a raster and windows of at least 1 pixel, got {self.height} x '
                f'{self.width} and windows of {self.size}'
            )
        if not 0 <= self.overlap <= self.size // 2:
            raise ValueError(
                f'expected an overlap from 0 to half of the window, {self.size // 2}, got '
                f'{self.overlap}'
            )

    @cached_property
    def rows(self) -> list[int]:
        """First rows of the windows."""
        return self._starts(self.height, self.shape[0])

    @cached_property
    def columns(self) -> list[int]:
        """First columns of the windows."""
        return self._starts(self.width, self.shape[1])

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Height and width of every window, in pixels."""
        return self._side(self.height), self._side(self.width)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.rows) * len(self.columns)

    def corner(self, number: int) -> tuple[int, int]:
        """First row and first column of a window."""
        row, column = divmod(number, len(self.columns))
        return self.rows[row], self.columns[column]

    def over(self, rows: slice, columns: slice) -> list[int]:
        """Numbers of the windows that share pixels with a block, ascending."""
        height, width = self.shape
        own_rows = _touching(self.rows, height, rows)
        own_columns = _touching(self.columns, width, columns)
        return [row * len(self.columns) + column for row in own_rows for column in own_columns]

    def weights(self, number: int) -> NDArray[np.float32]:
        """Weight ``(h, w)`` of each pixel of a window, from 0 to 1."""
        row, column = self.corner(number)
        height, width = self.shape
        return np.outer(self._ramp(row, height, self.height), self._ramp(column, width, self.width))

    def _side(self, length: int) -> int:
        """Side of windows along an axis of so many pixels."""
        if length <= self.size:
            return length
        number = math.ceil((length - self.overlap) / (self.size - self.overlap))
        least = math.ceil((length + (number - 1) * self.overlap) / number)
        return min(self.size, math.ceil(least / _STEP) * _STEP)

    def _starts(self, length: int, side: int) -> list[int]:
        """First pixels of the windows along an axis; the last is moved back into the raster."""
        last = length - side
        return [*range(0, last, side - self.overlap), last] if last else [0]

    def _ramp(self, start: int, size: int, length: int) -> NDArray[np.float32]:
        """Weights along an axis of *length*, for the window of *size* that begins at *start*."""
        margin = self.overlap // 4
        rise = self.overlap - 2 * margin
        place = np.arange(size)
        weight = np.ones(size)
        for is_border, distance in (
            (start == 0, place),
            (start + size == length, size - 1 - place),
        ):
            if not is_border and rise:
                share = np.clip((distance - margin + 0.5) / rise, 0, 1)
                weight = weight * np.sin(math.pi / 2 * share) ** 2
        return weight.astype(np.float32)


def _touching(starts: list[int], size: int, part: slice) -> list[int]:
    """Numbers of the intervals that share a pixel with *part*."""
    return [i for i, start in enumerate(starts) if start < part.stop and start + size > part.start]

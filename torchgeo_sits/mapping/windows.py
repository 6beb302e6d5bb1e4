"""Overlapping windows that cover a raster, and joining their values without a seam."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import SITSError

__all__ = ['ChannelLayout', 'OverlappingWindows', 'WindowBlender', 'raster_blocks']

#: Encoders that pool would have to pad other sides.
_STEP = 8


@dataclass(frozen=True)
class OverlappingWindows:
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
        align: Number of which all first rows and columns are multiples.

    Examples:
        >>> from torchgeo_sits.mapping import OverlappingWindows
        >>> windows = OverlappingWindows(height=40, width=100, size=48, overlap=8)
        >>> len(windows), windows.shape
        (3, (40, 40))
        >>> [windows.corner(number) for number in range(3)]
        [(0, 0), (0, 32), (0, 60)]
        >>> [round(float(windows.weights(n)[0, 34 - windows.corner(n)[1]]), 3) for n in (0, 1)]
        [0.962, 0.038]
    """

    height: int
    width: int
    size: int
    overlap: int
    align: int = 1

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            SITSError: If a side is not positive, or windows overlap by more than half.
        """
        if min(self.height, self.width, self.size) < 1:
            raise SITSError(
                f'expected a raster and windows of at least 1 pixel, got {self.height} x '
                f'{self.width} and windows of {self.size}'
            )
        if not 0 <= self.overlap <= self.size // 2:
            raise SITSError(
                f'expected an overlap from 0 to half of the window, {self.size // 2}, got '
                f'{self.overlap}: give a smaller --map.overlap, or a larger --map.window'
            )
        if self.align > 1 and self.size < self.overlap + 2 * self.align:
            least = self.overlap + 2 * self.align
            raise SITSError(f'expected windows of at least {least} pixels, got {self.size}')

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
        side = min(self.size, math.ceil(least / _STEP) * _STEP)
        return side - (side - length) % self.align  # so that the last one ends with the raster

    def _starts(self, length: int, side: int) -> list[int]:
        """First pixels of the windows along an axis; the last is moved back into the raster."""
        last = length - side
        step = (side - self.overlap) // self.align * self.align
        return [*range(0, last, step), last] if last else [0]

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


@dataclass(frozen=True)
class ChannelLayout:
    """Places of the values of a task among the channels of a window.

    Attributes:
        channels: Number of channels of each of the values, in their order.
        picked: Names of values that cannot be averaged, such as dates: the window with the
            largest weight gives them.
    """

    channels: dict[str, int]
    picked: tuple[str, ...] = ()

    def slices(self) -> dict[str, slice]:
        """Channels of each of the values."""
        found, start = {}, 0
        for key, number in self.channels.items():
            found[key] = slice(start, start + number)
            start += number
        return found


@dataclass(frozen=True)
class WindowBlender:
    """Weighted mean of the windows of a map.

    Attributes:
        windows: The windows.
        layout: Meaning of their channels.
        read: Function that gives the values ``(C, h, w)`` float32 of a window, NaN where nothing
            was observed; None for a window that has none.
    """

    windows: OverlappingWindows
    layout: ChannelLayout
    read: Callable[[int], NDArray[np.float32] | None]

    def block(self, key: str, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Join the values of a block.

        Args:
            key: Name of the values.
            rows: Rows of the raster.
            columns: Columns of the raster.

        Returns:
            ``(C, h, w)`` float32, NaN where nothing was observed.
        """
        channels = self.layout.slices()[key]
        is_picked = key in self.layout.picked
        shape = rows.stop - rows.start, columns.stop - columns.start
        total = np.zeros((self.layout.channels[key], *shape), np.float32)
        weight, most = np.zeros((2, *shape), np.float32)
        height, width = self.windows.shape
        for number in self.windows.over(rows, columns):
            values = self.read(number)
            if values is None:
                continue
            row, column = self.windows.corner(number)
            top, bottom = max(row, rows.start), min(row + height, rows.stop)
            left, right = max(column, columns.start), min(column + width, columns.stop)
            there = np.s_[
                ...,
                top - rows.start : bottom - rows.start,
                left - columns.start : right - columns.start,
            ]
            here = np.s_[..., top - row : bottom - row, left - column : right - column]
            part = values[channels][here]
            counts = self.windows.weights(number)[here] * np.isfinite(part[0])
            part = np.nan_to_num(part)
            if is_picked:
                total[there] = np.where(counts > most[there], part, total[there])
                most[there] = np.maximum(counts, most[there])
            else:
                total[there] += counts * part
            weight[there] += counts
        if is_picked:
            return np.where(weight > 0, total, np.nan)
        return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def raster_blocks(height: int, width: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Cut a raster into blocks: their rows and columns, row by row."""
    for row in range(0, height, size):
        for column in range(0, width, size):
            yield slice(row, min(row + size, height)), slice(column, min(column + size, width))

"""The values of a block of the map, from the windows that share pixels with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .windows import Windows

__all__ = ['Blender', 'Layout', 'blocks']


@dataclass(frozen=True)
class Layout:
    """Where the values of a task lie among the channels of a window.

    Attributes:
        channels: Number of channels of each of the values, in their order.
        picked: Values that cannot be averaged, such as dates: the window that counts most gives
            them.
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
class Blender:
    """Joins the windows of a map.

    Attributes:
        windows: The windows.
        layout: What their channels mean.
        read: Gives the values ``(C, h, w)`` float32 of a window, NaN where nothing was observed;
            None for a window that has none.
    """

    windows: Windows
    layout: Layout
    read: Callable[[int], NDArray[np.float32] | None]

    def block(self, rows: slice, columns: slice) -> dict[str, NDArray[np.float32]]:
        """Values of a block.

        Args:
            rows: Rows of the raster.
            columns: Columns of the raster.

        Returns:
            For each of the values ``(C, h, w)`` float32, NaN where nothing was observed.
        """
        slices = self.layout.slices()
        picked = [
            i for key in self.layout.picked for i in range(slices[key].start, slices[key].stop)
        ]
        shape = rows.stop - rows.start, columns.stop - columns.start
        total = np.zeros((sum(self.layout.channels.values()), *shape), np.float32)
        weight, most = np.zeros((2, *shape), np.float32)
        best = np.zeros((len(picked), *shape), np.float32)
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
            part = values[here]
            counts = self.windows.weights(number)[here] * np.isfinite(part[0])
            part = np.nan_to_num(part)
            total[there] += counts * part
            weight[there] += counts
            best[there] = np.where(counts > most[there], part[picked], best[there])
            most[there] = np.maximum(counts, most[there])
        joined = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)
        joined[picked] = np.where(weight > 0, best, np.nan)
        return {key: joined[part] for key, part in slices.items()}


def blocks(height: int, width: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of blocks that cover a raster, row by row."""
    for row in range(0, height, size):
        for column in range(0, width, size):
            yield slice(row, min(row + size, height)), slice(column, min(column + size, width))

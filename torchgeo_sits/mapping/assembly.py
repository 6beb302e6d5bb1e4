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
        depth = sum(self.layout.channels.values())
        shape = rows.stop - rows.start, columns.stop - columns.start
        total = np.zeros((depth, *shape), np.float32)
        weight = np.zeros(shape, np.float32)
        most = np.zeros(shape, np.float32)
        slices = self.layout.slices()
        picked = [slices[key] for key in self.layout.picked]
        height, width = self.windows.shape
        for number in self.windows.over(rows, columns):
            values = self.read(number)
            if values is None:
                continue
            row, column = self.windows.corner(number)
            top, bottom = max(row, rows.start), min(row + height, rows.stop)
            left, right = max(column, columns.start), min(column + width, columns.stop)
            there = np.s_[top - rows.start : bottom - rows.start]
            along = np.s_[left - columns.start : right - columns.start]
            here = np.s_[top - row : bottom - row, left - column : right - column]
            part = values[:, *here]
            counts = self.windows.weights(number)[here] * np.isfinite(part[0])
            part = np.nan_to_num(part)
            closest = counts > most[there, along]
            before = [total[s, there, along].copy() for s in picked]
            total[:, there, along] += counts * part
            for old, s in zip(before, picked, strict=True):
                total[s, there, along] = np.where(closest, part[s], old)
            weight[there, along] += counts
            most[there, along] = np.where(closest, counts, most[there, along])
        seen = weight > 0
        joined = np.divide(total, weight, out=np.full_like(total, np.nan), where=seen)
        for s in picked:
            joined[s] = np.where(seen, total[s], np.nan)
        return {key: joined[s] for key, s in slices.items()}


def blocks(height: int, width: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of blocks that cover a raster, row by row."""
    for row in range(0, height, size):
        for column in range(0, width, size):
            yield slice(row, min(row + size, height)), slice(column, min(column + size, width))

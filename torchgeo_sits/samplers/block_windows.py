"""Windows that know the block of the files in which they lie."""

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ['BlockWindow', 'keep_block']


class BlockWindow(tuple[slice, slice]):
    """A window, ``(x, y)`` or ``(x, y, t)``, that is to be cut from a larger one.

    To any data set it is the plain tuple. Series of this package read the larger window once
    and keep it, as it is stored, until the last of its patches was cut.

    Attributes:
        block: The larger window, ``(x, y)``.
        last: Whether no further patch of this block will be asked for.
        kept: How many such blocks are to be kept at a time.
    """

    block: tuple[slice, slice]
    last: bool
    kept: int

    @classmethod
    def cut(
        cls, window: Iterable[slice], block: tuple[slice, slice], *, last: bool, kept: int
    ) -> 'BlockWindow':
        """Make a window.

        Args:
            window: ``(x, y)`` or ``(x, y, t)``.
            block: The larger window that holds it.
            last: Whether it is the last one of *block*.
            kept: How many blocks are to be kept at a time.

        Returns:
            The window.
        """
        made = cls(window)
        made.block, made.last, made.kept = block, last, kept
        return made


def keep_block(place: tuple[slice, slice], windows: Iterable[Any]) -> Iterator[Any]:
    """Windows in time at a place that may be one of a block's.

    Args:
        place: The place, of which *windows* were made.
        windows: ``(x, y, t)``.

    Yields:
        The windows; those at a :class:`BlockWindow` know the block, too.
    """
    if not isinstance(place, BlockWindow):
        yield from windows
        return
    for window in windows:
        yield BlockWindow.cut(window, place.block, last=place.last, kept=place.kept)

"""Frames of blocks that further patches will be cut from."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .frames import Frames

__all__ = ['BlockCache']


class BlockCache:
    """Keeps the frames of a few blocks until their last patch was cut.

    A fork keeps them, a pickle starts without any.
    """

    def __init__(self) -> None:
        self._blocks: OrderedDict[Any, Frames | None] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy nothing: another process cuts from blocks of its own."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._blocks = OrderedDict()

    def get(
        self, key: Any, read: Callable[[], Frames | None], *, last: bool, kept: int
    ) -> Frames | None:
        """Frames of a block.

        Args:
            key: Tells the block from others.
            read: Reads it.
            last: Whether nobody will ask for it again.
            kept: How many blocks to keep, this one among them.

        Returns:
            The frames, which all callers share; None where *read* found none.
        """
        if key in self._blocks:
            frames = self._blocks.pop(key)
        else:
            # Room first: the memory of all that is kept and of one that is read is the peak.
            while len(self._blocks) >= kept:
                self._blocks.popitem(last=False)
            frames = read()
        if not last:
            self._blocks[key] = frames
        return frames

    def clear(self) -> None:
        """Forget all blocks."""
        self._blocks.clear()

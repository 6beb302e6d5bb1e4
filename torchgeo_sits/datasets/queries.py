"""Windows that data sets are asked for, checked before anything is read."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from torchgeo.datasets import GeoDataset
from torchgeo.datasets.utils import GeoSlice

from ..errors import SITSError, SITSIndexError
from .frames import utc

__all__ = ['CheckedQueries', 'require_memory']


class CheckedQueries(GeoDataset):
    """Base of data sets that refuse windows without a place, a size or a time, in one line."""

    def _disambiguate_slice(self, index: GeoSlice) -> tuple[slice, slice, slice]:
        """Complete a window with the bounds of the data set.

        Args:
            index: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:step]``; parts may be left out.

        Returns:
            All three slices, times in UTC without a zone.

        Raises:
            SITSIndexError: If it is no window: a part is no slice, an edge is no finite number, a
                step is not above 0, or the time ends before it begins.
        """
        parts: Sequence[Any] = index if isinstance(index, tuple | list) else [index]
        if len(parts) > 3 or not all(isinstance(part, slice) for part in parts):
            raise SITSIndexError(
                f'{index!r} is no window: give slices, as [xmin:xmax, ymin:ymax, tmin:tmax]'
            )
        x, y, t = super()._disambiguate_slice(tuple(parts))
        for name, edges in (('x', x), ('y', y)):
            for value in (edges.start, edges.stop, edges.step):
                if not isinstance(value, int | float | np.number) or not math.isfinite(value):
                    raise SITSIndexError(
                        f'the window {name}={edges} has the edge or step {value!r}: give finite '
                        'numbers, in units of the CRS'
                    )
            if edges.step <= 0:
                raise SITSIndexError(
                    f'the window {name}={edges} has pixels of {edges.step}: a size is above 0'
                )
        step = 1 if t.step is None else t.step
        if not isinstance(step, int | np.integer) or step < 1:
            raise SITSIndexError(f'the window t={t} takes every {step}th date: give 1, 2, ...')
        try:
            start, stop = utc(t.start), utc(t.stop)
            backwards = not start <= stop  # also where one is no time (NaT)
        except (ValueError, TypeError, OverflowError) as error:
            raise SITSIndexError(
                f'the window t={t} has an edge that is no time ({error}): give timestamps, such '
                "as '2021-06-30'"
            ) from error
        if backwards:
            raise SITSIndexError(
                f'the window t={t} does not end after it begins: it holds no acquisition'
            )
        return x, y, slice(start, stop, step)


def require_memory(shape: Sequence[int], dtype: np.dtype[Any], what: str) -> None:
    """Refuse to make an array that this machine cannot hold.

    Args:
        shape: Shape of the array.
        dtype: Its type.
        what: What it is, for the message.

    Raises:
        SITSError: If it is larger than the memory.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.queries import require_memory
        >>> require_memory((4, 10, 64, 64), np.dtype('float32'), 'the window')
    """
    wanted = math.prod(map(int, shape)) * dtype.itemsize
    try:
        held = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):  # Windows does not say so
        held = 1 << 40
    if wanted > held:
        raise SITSError(
            f'{what} of {" x ".join(map(str, shape))} values asks for {wanted / 2**30:,.0f} GiB, '
            f'and this machine has {held / 2**30:,.0f}: choose a smaller one, or fewer dates or '
            'bands'
        )

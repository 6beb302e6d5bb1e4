"""Dates of data sets that are published without any: those of the user, or a count of frames."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import seconds_of

__all__ = ['frame_times']


def frame_times(title: str, count: int, dates: Sequence[str | int] | None) -> NDArray[np.int64]:
    """Times of frames of which only the order is published.

    Args:
        title: Name of the data set.
        count: Number of frames.
        dates: The date of each, ``YYYYMMDD`` or ``YYYY-MM-DD``. None places the frames one day
            apart from 1970-01-01, with a warning.

    Returns:
        ``(count,)``, seconds since 1970-01-01 UTC.

    Raises:
        SITSError: If there are more or fewer dates, or one is none.

    Examples:
        >>> from torchgeo_sits.datasets.published.undated import frame_times
        >>> frame_times('a data set', 2, ['19700103', '1970-01-11']).tolist()
        [172800, 864000]
    """
    if dates is None:
        warnings.warn(
            f'{title} is published without dates: its frames are placed one day apart from '
            '1970-01-01, which only counts them. Give dates, if you know them',
            UserWarning,
            stacklevel=4,
        )
        return np.arange(count, dtype=np.int64) * 86_400
    if len(dates) != count:
        raise SITSError(f'{title} has {count} frames, got {len(dates)} dates: give one for each')
    try:
        return np.array([seconds_of(str(date).replace('-', '')) for date in dates], np.int64)
    except ValueError as error:
        raise SITSError(
            f'dates={list(dates)}: expected YYYYMMDD or YYYY-MM-DD ({error})'
        ) from error

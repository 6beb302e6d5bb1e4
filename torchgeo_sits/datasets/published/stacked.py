"""Family of the stacked rasters: all dates of a sample in the bands of one file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import StoredSeries, Window
from .dated_files import read_raster

__all__ = ['read_stack']


def read_stack(
    path: Path,
    times: NDArray[np.int64],
    channels: int,
    window: Window,
    whole: tuple[int, int] | None = None,
) -> StoredSeries:
    """Read a window of a raster whose bands are those of the first date, then of the next.

    Args:
        path: The file, of T times C bands.
        times: Times of the dates, ``(T,)``, which the file does not say.
        channels: Number C of bands of a date.
        window: Rows and columns, of a raster of the size *whole*.
        whole: Size of the raster that *window* is of, whose ground this one covers. None is the
            size of this one.

    Returns:
        The frames ``(T, C, H, W)``.

    Raises:
        SITSError: If the file has another number of bands, or covers other ground.
    """
    pixels, _ = read_raster(path, window, whole=whole)
    if len(pixels) != len(times) * channels:
        raise SITSError(
            f"'{path}' has {len(pixels)} bands, expected {channels} for each of {len(times)} "
            'dates: fetch it and the table of the dates again'
        )
    return StoredSeries(pixels.reshape(len(times), channels, *pixels.shape[1:]), times)

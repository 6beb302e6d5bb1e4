"""Frames of a window as they are stored, and the times by which they are told apart."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..errors import SITSError
from ..grid import Grid
from ..keys import ACQUISITION_TIMES, BOUNDS, IMAGE, LENGTH, LOCATION, MASK_CLEAR, TRANSFORM, VALID

__all__ = ['LARGEST', 'Frames', 'acquisition_keys', 'utc', 'within_range']

#: Values beyond this, of either sign, are no measurements but fills, such as -3.4e38, or faults:
#: no quantity that a sensor measures comes near it, and squares of float32 are infinite there.
LARGEST = 1e20

_DAY = 24 * 60 * 60  # seconds


def utc(time: object) -> pd.Timestamp:
    """Express a time in UTC without a zone, as the index of a dataset holds it.

    Args:
        time: Anything :class:`pandas.Timestamp` accepts. Without a zone it is UTC already,
            whatever the zone of this computer.

    Returns:
        The instant, in UTC, without a zone.
    """
    stamp = pd.Timestamp(time)
    return stamp if stamp.tz is None else stamp.tz_convert('UTC').tz_localize(None)


def within_range(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Find values that can be measurements: finite, and none beyond :data:`LARGEST`.

    Args:
        values: Floating point numbers, of any shape.

    Returns:
        Bool, of the same shape.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.frames import within_range
        >>> within_range(np.array([0.5, -3.4e38, np.nan, np.inf]))
        array([ True, False, False, False])
    """
    if values.dtype.itemsize < 4:  # float16 ends far below
        found: NDArray[np.bool_] = np.isfinite(values)
        return found
    found = np.abs(values) <= LARGEST
    return found


def acquisition_keys(
    times: NDArray[np.int64], group_by: Literal['day', 'time'], *, per_second: int = 1
) -> NDArray[np.int64]:
    """Number acquisitions, equal for all frames of one.

    Args:
        times: When frames were taken, since 1970 UTC, ``(N,)``.
        group_by: What makes them one acquisition: the UTC day, or the time.
        per_second: Units of *times* in a second.

    Returns:
        ``(N,)``, equal for those of one acquisition and ascending with time.
    """
    return times // (_DAY * per_second) if group_by == 'day' else times


@dataclass(frozen=True)
class Frames:
    """The T frames of a window, in the type in which they are stored.

    Pixels are ``(stored + offset) x scale``. Most sensors store 16 bits: as long as frames
    stay in them they take half the memory of a sample, and cutting is cheap.

    Attributes:
        values: ``(T, C, H, W)``, 0 where nothing was observed.
        clear: ``(T, H, W)`` bool, True where the ground was seen.
        times: ``(T,)`` int64, seconds since 1970 UTC.
        grid: The pixels.
        bounds: West, east, south and north edge as they were asked for, in units of the CRS;
            None for those of *grid*.
        span: First and last second of the window, and its step, as they were asked for.
        observed: ``(T, H, W)`` bool, True where there is data, clear or not; None where
            that was not read, which takes *offset* to be None: 0 stays 0 then.
        offset: ``(T,)`` float32, added to what is stored; None for no offset.
        scale: Factor on what is stored.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import Sentinel2TimeSeries, write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> series = Sentinel2TimeSeries(files.images, cloud_paths=files.clouds)
        >>> frames = series.frames(series.bounds)
        >>> frames.values.dtype, frames.grid.width, len(frames.clearest(0.4).times)
        (dtype('uint16'), 32, 2)
        >>> frames.crop(8, 8, 16, 16).to_sample()['image'].shape
        torch.Size([4, 10, 16, 16])
    """

    values: NDArray[Any]
    clear: NDArray[np.bool_]
    times: NDArray[np.int64]
    grid: Grid
    bounds: tuple[float, float, float, float] | None = None
    span: tuple[float, float, float] = (0.0, 0.0, 1.0)
    observed: NDArray[np.bool_] | None = None
    offset: NDArray[np.float32] | None = None
    scale: float = 1.0

    def select(self, kept: NDArray[np.intp]) -> 'Frames':
        """Some of the frames.

        Args:
            kept: Their numbers.

        Returns:
            The frames, in memory of their own.
        """
        return replace(
            self,
            values=self.values[kept],
            clear=self.clear[kept],
            times=self.times[kept],
            observed=None if self.observed is None else self.observed[kept],
            offset=None if self.offset is None else self.offset[kept],
        )

    def clearest(self, min_clear: float) -> 'Frames':
        """The frames with at least a share of clear pixels; if there are none, the clearest.

        Args:
            min_clear: Share of the pixels, 0 to 1.

        Returns:
            The frames.
        """
        shares = self.clear.mean(axis=(1, 2))
        kept = np.flatnonzero(shares >= min_clear)
        return self.select(kept if len(kept) else shares.argmax(keepdims=True))

    def crop(self, row: int, column: int, height: int, width: int) -> 'Frames':
        """The frames of a smaller window, in the same memory.

        Args:
            row: First row.
            column: First column.
            height: Number of rows.
            width: Number of columns.

        Returns:
            The frames.

        Raises:
            SITSError: If the window leaves this one.
        """
        rows, columns = slice(row, row + height), slice(column, column + width)
        if row < 0 or column < 0 or rows.stop > self.grid.height or columns.stop > self.grid.width:
            raise SITSError(
                f'a window of {height} x {width} pixels at row {row}, column {column} leaves the '
                f'{self.grid.height} x {self.grid.width} pixels that were read'
            )
        return replace(
            self,
            values=self.values[..., rows, columns],
            clear=self.clear[:, rows, columns],
            grid=self.grid.crop(row, column, height, width),
            observed=None if self.observed is None else self.observed[:, rows, columns],
        )

    def to_sample(self) -> Sample:
        """The sample, as :mod:`torchgeo_sits.keys` describes it.

        Returns:
            ``image`` in float32 and what belongs to it. Memory is shared with these frames
            where no number had to be changed.
        """
        west, south, east, north = self.grid.bounds
        left, right, bottom, top = self.bounds or (west, east, south, north)
        place = [left, right, self.grid.xres, bottom, top, self.grid.yres]
        return {
            IMAGE: self._image(),
            ACQUISITION_TIMES: torch.from_numpy(self.times),
            VALID: torch.ones(len(self.times), dtype=torch.bool),
            LENGTH: torch.tensor(len(self.times)),
            MASK_CLEAR: torch.from_numpy(np.ascontiguousarray(self.clear)),
            BOUNDS: torch.tensor([*place, *self.span], dtype=torch.float64),
            TRANSFORM: torch.tensor(tuple(self.grid.transform), dtype=torch.float64),
            LOCATION: torch.tensor(self.grid.location, dtype=torch.float32),
        }

    def _image(self) -> Tensor:
        """The pixels ``(T, C, H, W)`` float32."""
        # NumPy's cast: three times as fast as torch's, from 16 bits on one thread.
        image = np.ascontiguousarray(self.values, np.float32)
        changed = self.offset is not None or self.scale != 1
        if changed and np.shares_memory(image, self.values):
            image = image.copy()
        if self.offset is not None:
            assert self.observed is not None  # kept wherever there is an offset
            image += self.offset[:, None, None, None]
            image *= self.observed[:, None]
        if self.scale != 1:
            image *= np.float32(self.scale)
        return torch.from_numpy(image)

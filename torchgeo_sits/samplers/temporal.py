"""Windows in time by number of acquisitions and by season, in UTC only."""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from torchgeo.datasets import GeoDataset

from ..errors import SITSError
from .acquisitions import ANYWHERE, AcquisitionSampler, Location, Window, Windows
from .epochs import draw_seed, epoch_generator

__all__ = ['RandomDateCountSampler', 'SeasonSampler']


class RandomDateCountSampler(AcquisitionSampler):
    """Random windows of a fixed number of acquisitions.

    The windows hold *count* consecutive acquisitions of the location, or every *stride*-th,
    as ``t.step``. Where there are fewer, the stride shrinks, and then all there are is taken.
    Where there are none, our spatial samplers skip the location; TorchGeo's stop with a
    SITSError that says so.

    Args:
        dataset: Data set to sample from.
        count: Number of acquisitions in a window.
        stride: Every which acquisition is taken, or ``'max'`` for the largest stride that
            fits, so that a window covers all the time there is.
        length: Number of windows per location of a sequential spatial sampler, and per
            epoch of this sampler alone. A random spatial sampler takes one per location.
        toi: Time of interest, half-open (default: all times).
        group_by: What makes one acquisition, see :class:`AcquisitionSampler`.
        generator: A seed, a generator to draw a seed from, or None for a new seed.

    Raises:
        SITSError: If an argument is out of its range, or nothing was acquired in *toi*.
    """

    strategy = 'random'

    def __init__(
        self,
        dataset: GeoDataset,
        *,
        count: int,
        stride: int | Literal['max'] = 1,
        length: int = 1,
        toi: pd.Interval | None = None,
        group_by: Literal['day', 'time'] = 'day',
        generator: int | Generator | None = None,
    ) -> None:
        if count < 1:
            raise SITSError(f'count must be at least 1 acquisition, got {count}')
        if stride != 'max' and (not isinstance(stride, int) or stride < 1):
            raise SITSError(f"stride must be at least 1 or 'max', got {stride!r}")
        if length < 1:
            raise SITSError(f'length must be at least 1 window, got {length}')
        super().__init__(dataset, toi=toi, group_by=group_by)
        self.count = count
        self.stride = stride
        self._length = length
        self._seeds = [draw_seed(generator)]
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw what belongs to an epoch from now on.

        Args:
            epoch: Number of the epoch, from 0.
        """
        super().set_epoch(epoch)
        #: For products that TorchGeo made, in which it moves on from place to place.
        self.generator = epoch_generator(self._seeds[0], epoch, stream=1)

    def count_windows(self, acquisitions: NDArray[np.int64]) -> int:
        """Number of windows at a location.

        Args:
            acquisitions: Those of the location, ``(N, 2)``.

        Returns:
            The number.
        """
        return self._length if len(acquisitions) else 0

    def windows(self, number: int) -> Windows:
        """Draw windows of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            What draws the windows at a location.
        """
        generator = epoch_generator(self._seeds[0], number, stream=1)
        return lambda location, acquisitions: self._draw(location, acquisitions, generator)

    def _iter_subset(self, location: Location = ANYWHERE) -> Iterator[Window]:
        """Draw windows at a location, for a product that TorchGeo made.

        Args:
            location: ``x`` and ``y`` slices.

        Yields:
            ``[x, y, start:stop:stride]``.

        Raises:
            SITSError: If nothing was acquired at *location*.
        """
        acquisitions = self.acquisitions(location)
        if len(acquisitions) == 0:
            # A bare return would surface as "generator raised StopIteration" in TorchGeo's @.
            raise SITSError(
                f'no acquisition at x={location[0]}, y={location[1]}: put a spatial sampler of '
                'torchgeo_sits before the @, which skips such places, or widen toi'
            )
        yield from self._draw(location, acquisitions, self.generator)

    def _draw(
        self, location: Location, acquisitions: NDArray[np.int64], generator: Generator
    ) -> Iterator[Window]:
        """Windows at a location; none where nothing was acquired."""
        available = len(acquisitions)
        if not available:
            return
        count = min(self.count, available)
        widest = (available - 1) // (count - 1) if count > 1 else 1
        stride = widest if self.stride == 'max' else min(self.stride, widest)
        span = (count - 1) * stride + 1
        for _ in range(self._length):
            first = int(generator.integers(available - span + 1))
            yield self._window(location, acquisitions[first : first + span], stride)


class SeasonSampler(AcquisitionSampler):
    """The same season of every year, one window per year that holds an acquisition.

    Args:
        dataset: Data set to sample from.
        start: First day of the season, ``MM-DD``.
        stop: First day after the season, ``MM-DD``; when it does not come after *start*, the
            season runs over the new year and belongs to the year in which it starts.
        years: Years in which seasons start (default: all).
        min_count: Windows with fewer acquisitions are left out.
        toi: Time of interest, half-open (default: all times).
        group_by: What makes one acquisition, see :class:`AcquisitionSampler`.

    Raises:
        SITSError: If a day is not one of every year, *min_count* is less than 1, or nothing
            was acquired in *toi*.
    """

    strategy = 'sequential'

    def __init__(
        self,
        dataset: GeoDataset,
        *,
        start: str = '03-01',
        stop: str = '11-01',
        years: Sequence[int] | None = None,
        min_count: int = 1,
        toi: pd.Interval | None = None,
        group_by: Literal['day', 'time'] = 'day',
    ) -> None:
        for name, day in (('start', start), ('stop', stop)):
            try:
                if re.fullmatch(r'\d\d-\d\d', day) is None:
                    raise ValueError
                # 2001 was no leap year: 02-29 does not exist in every year.
                pd.Timestamp(f'2001-{day}')
            except ValueError:
                raise SITSError(
                    f"{name} must be a day of every year as 'MM-DD', got {day!r}"
                ) from None
        if min_count < 1:
            raise SITSError(f'min_count must be at least 1 acquisition, got {min_count}')
        super().__init__(dataset, toi=toi, group_by=group_by)
        self.start = start
        self.stop = stop
        self.years = years
        self.min_count = min_count

    def count_windows(self, acquisitions: NDArray[np.int64]) -> int:
        """Number of seasons at a location.

        Args:
            acquisitions: Those of the location, ``(N, 2)``.

        Returns:
            The number.
        """
        return len(self._seasons(acquisitions))

    def windows(self, number: int) -> Windows:
        """Go through the seasons, the same in each epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            What gives the windows at a location, from the first acquisition of each season to
            the end of its last, in order of years.
        """
        return lambda location, acquisitions: (
            self._window(location, acquisitions[low:high])
            for low, high in self._seasons(acquisitions)
        )

    def _iter_subset(self, location: Location = ANYWHERE) -> Iterator[Window]:
        """Go through the seasons at a location, for a product that TorchGeo made.

        Args:
            location: ``x`` and ``y`` slices.

        Yields:
            ``[x, y, start:stop]``; nothing where nothing was acquired.
        """
        return self.windows(0)(location, self.acquisitions(location))

    def _seasons(self, acquisitions: NDArray[np.int64]) -> list[tuple[int, int]]:
        """First and one past the last acquisition of each season that is wanted."""
        if len(acquisitions) == 0:
            return []
        # Days of one acquisition never straddle a season: both start at midnight UTC.
        times = acquisitions[:, 0]
        first, last = pd.to_datetime(times[[0, -1]]).year
        wraps = int(self.stop <= self.start)
        years = [
            year
            for year in range(first - wraps, last + 1)
            if self.years is None or year in self.years
        ]
        edges = [(f'{year}-{self.start}', f'{year + wraps}-{self.stop}') for year in years]
        when = np.array(edges, 'datetime64[ns]').astype(np.int64).reshape(-1, 2)
        return [
            (low, high)
            for low, high in np.searchsorted(times, when).tolist()
            if high - low >= self.min_count
        ]

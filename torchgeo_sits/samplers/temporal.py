"""Windows in time by number of acquisitions and by season, in UTC only.

TorchGeo's temporal samplers cut time by duration and mix UTC with local time; these go by the
acquisitions of the place.
"""

import abc
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import batched
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import TemporalSampler

from ..errors import SITSError
from .epochs import EpochSampler, SpaceTimeWindow, SpaceWindow, draw_seed, epoch_generator
from .footprints import Footprints

__all__ = ['AcquisitionSampler', 'RandomDateCountSampler', 'SeasonSampler']

#: Makes the windows at a place from its acquisitions, ``(N, 2)``.
WindowMaker = Callable[[SpaceWindow, NDArray[np.int64]], Iterator[SpaceTimeWindow]]
_ANYWHERE: Final[SpaceWindow] = (slice(None), slice(None))
_DAY: Final = 86_400 * 10**9
_MICROSECOND: Final = 1000
#: Acquisitions to be remembered, of all places together: 32 MiB.
_MEMORY: Final = 2**21
#: Places that are looked up together.
_TOGETHER: Final = 256


class AcquisitionSampler(EpochSampler, TemporalSampler):
    """Base of samplers whose windows start and stop at acquisitions.

    An acquisition is a distinct UTC day (or time) of the rows of ``dataset.index`` whose
    footprints overlap the place by more than a border. The left edge of a row's interval is
    its time; times without a zone are UTC. Windows are half-open, ``[start, stop)``, and hold
    the whole interval of their last acquisition: under ``'day'`` the interval is the day, and
    the files were taken at some time of it. They end before the next acquisition begins, so
    that TorchGeo's own data sets, whose windows include their end, read the same frames.

    A subclass makes windows in :meth:`windows` and counts them in :meth:`count_windows`.

    Args:
        dataset: Data set to sample from.
        toi: Time of interest, read as half-open ``[left, right)`` whatever it says to be
            closed on; with or without a time zone (default: all times).
        group_by: Whether rows of one UTC ``'day'`` or only of one ``'time'`` are one
            acquisition; as given to :class:`~torchgeo_sits.datasets.RasterTimeSeries`.

    Raises:
        SITSError: If *group_by* is unknown or nothing was acquired in *toi*.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import AcquisitionSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> class FirstDate(AcquisitionSampler):
        ...     strategy = 'sequential'
        ...     def count_windows(self, acquisitions):
        ...         return min(1, len(acquisitions))
        ...     def windows(self, number):
        ...         return lambda place, times: (self._window(place, times[:1]) for _ in times[:1])
        >>> len(FirstDate(series).acquisitions()), len(FirstDate(series))
        (6, 1)
    """

    def __init__(
        self,
        dataset: GeoDataset,
        *,
        toi: pd.Interval | None = None,
        group_by: Literal['day', 'time'] = 'day',
    ) -> None:
        if group_by not in ('day', 'time'):
            raise SITSError(f"group_by must be 'day' or 'time', got {group_by!r}")
        super().__init__(dataset)
        self.group_by = group_by
        times, ends = _utc(self.index.index.left), _utc(self.index.index.right)
        if toi is not None:
            # Not TorchGeo's way, which moves the time of a row to the start of the period.
            left, right = _utc(pd.DatetimeIndex([toi.left, toi.right]))
            inside = (times >= left) & (times < right)
            if not inside.any():
                first, last = pd.to_datetime([times.min(), times.max()])
                raise SITSError(
                    f'no acquisition in toi={toi}: those of the data set lie between '
                    f'{first} and {last} UTC'
                )
            self.index, times, ends = self.index[inside], times[inside], ends[inside]
        # Rows in the order of time, so that those of a place are sorted as numbers.
        order = np.argsort(times, kind='stable')
        self._times, self._ends = times[order], ends[order]
        self._group = self._times // _DAY if group_by == 'day' else self._times
        self._footprints = Footprints(np.asarray(self.index.geometry)[order])
        self._known: dict[bytes, NDArray[np.int64]] = {}
        self._held = 0

    def acquisitions(self, place: SpaceWindow = _ANYWHERE) -> NDArray[np.int64]:
        """Start and stop of each acquisition at a place.

        Args:
            place: ``x`` and ``y`` slices in the units of the CRS; open ends reach to the
                end of the data.

        Returns:
            Nanoseconds since 1970-01-01 UTC, ``(N, 2)``, ascending: its first instant, and one
            after all of its files and before the next acquisition.
        """
        if place[0].start is None:
            return self._join(np.arange(len(self._times)))
        [(_, found)] = self.acquisitions_at([place])
        return found

    def acquisitions_at(
        self, places: Iterable[SpaceWindow]
    ) -> Iterator[tuple[SpaceWindow, NDArray[np.int64]]]:
        """Find the acquisitions of many places, looked up together.

        Args:
            places: ``x`` and ``y`` slices with both ends.

        Yields:
            Each place and its acquisitions.
        """
        for place, near in self._near(places):
            key = near.tobytes()
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = self._join(self._footprints.rows(near))
                self._held += len(found)
                while self._held > _MEMORY and len(self._known) > 1:
                    self._held -= len(self._known.pop(next(iter(self._known))))
            yield place, found

    def count_at(self, places: Iterable[SpaceWindow]) -> int:
        """Number of windows at some places together, without making them.

        Args:
            places: ``x`` and ``y`` slices with both ends.

        Returns:
            The number.
        """
        sets = Counter(near.tobytes() for _, near in self._near(places))
        return sum(
            number * self.count_windows(self._join(self._footprints.rows(np.frombuffer(key, int))))
            for key, number in sets.items()
        )

    @abc.abstractmethod
    def count_windows(self, acquisitions: NDArray[np.int64]) -> int:
        """Number of windows at a place.

        Args:
            acquisitions: Those of the place, ``(N, 2)``.

        Returns:
            The number.
        """

    @abc.abstractmethod
    def windows(self, number: int) -> WindowMaker:
        """Make the function that gives the windows of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            A function of a place and its acquisitions that gives the windows there, none where
            nothing was acquired. Random windows depend on those that were drawn before.
        """

    def iter_epoch(self, number: int) -> Iterator[SpaceTimeWindow]:
        """Windows of an epoch, of all places together.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[:, :, t]``.
        """
        return self.windows(number)(_ANYWHERE, self.acquisitions())

    def epoch_length(self, number: int) -> int:
        """Number of windows of all places together.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number.
        """
        return self.count_windows(self.acquisitions())

    def _iter_subset(self, place: SpaceWindow = _ANYWHERE) -> Iterator[SpaceTimeWindow]:
        """Go through the windows at a place, for a product that TorchGeo made.

        Args:
            place: ``x`` and ``y`` slices.

        Yields:
            ``[x, y, t]``; nothing where nothing was acquired.
        """
        return self.windows(0)(place, self.acquisitions(place))

    def _near(
        self, places: Iterable[SpaceWindow]
    ) -> Iterator[tuple[SpaceWindow, NDArray[np.intp]]]:
        """Look up the footprints at each place."""
        for some in batched(places, _TOGETHER):
            bounds = np.array([(x.start, y.start, x.stop, y.stop) for x, y in some], float)
            yield from zip(some, self._footprints.overlapping(bounds), strict=True)

    def _join(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Join rows into acquisitions: start and stop of each, ``(N, 2)``."""
        if not len(rows):
            return np.empty((0, 2), np.int64)
        times, group = self._times[rows], self._group[rows]
        first = np.append(0, np.flatnonzero(group[1:] != group[:-1]) + 1)
        starts, latest = times[first], times[np.append(first[1:], len(times)) - 1]
        stops = np.maximum.reduceat(self._ends[rows], first)
        # Composites' intervals may overlap: a month every ten days, say.
        stops[:-1] = np.minimum(stops[:-1], starts[1:] - _MICROSECOND)
        # An index may hold instants, which a half-open window must end after.
        return np.stack([starts, np.maximum(stops, latest + _MICROSECOND)], axis=1)

    def _window(
        self, place: SpaceWindow, acquisitions: NDArray[np.int64], stride: int = 1
    ) -> SpaceTimeWindow:
        """Make the slices that hold exactly *acquisitions* ``(N, 2)``, or every *stride*-th."""
        start = pd.Timestamp(int(acquisitions[0, 0]))
        stop = pd.Timestamp(int(acquisitions[-1, 1]))
        t = slice(start, stop, stride) if stride > 1 else slice(start, stop)
        return *place, t


class RandomDateCountSampler(AcquisitionSampler):
    """Random windows of a fixed number of acquisitions.

    The windows hold *count* consecutive acquisitions of the place, or every *stride*-th,
    as ``t.step``. Where there are fewer, the stride shrinks, and then all there are is taken.
    Where there are none, our spatial samplers skip the place; TorchGeo's stop with a
    SITSError that says so.

    Args:
        dataset: Data set to sample from.
        count: Number of acquisitions in a window.
        stride: Every which acquisition is taken, or ``'max'`` for the largest stride that
            fits, so that a window covers all the time there is.
        length: Number of windows per place of a sequential spatial sampler, and per
            epoch of this sampler alone. A random spatial sampler takes one per place.
        toi: Time of interest, half-open (default: all times).
        group_by: What makes one acquisition, see :class:`AcquisitionSampler`.
        generator: A seed, a generator to draw a seed from, or None for a new seed.

    Raises:
        SITSError: If an argument is out of its range, or nothing was acquired in *toi*.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import RandomDateCountSampler, RandomSeriesPatchSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> places = RandomSeriesPatchSampler(series, size=8, length=5, generator=0)
        >>> dates = RandomDateCountSampler(series, count=3, stride='max', generator=0)
        >>> [series[window]['image'].shape[0] for window in places @ dates]
        [3, 3, 3, 3, 3]
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
        """Number of windows at a place.

        Args:
            acquisitions: Those of the place, ``(N, 2)``.

        Returns:
            The number.
        """
        return self._length if len(acquisitions) else 0

    def windows(self, number: int) -> WindowMaker:
        """Draw windows of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            A function of a place and its acquisitions that draws the windows there.
        """
        generator = epoch_generator(self._seeds[0], number, stream=1)
        return lambda place, acquisitions: self._draw(place, acquisitions, generator)

    def _iter_subset(self, place: SpaceWindow = _ANYWHERE) -> Iterator[SpaceTimeWindow]:
        """Draw windows at a place, for a product that TorchGeo made.

        Args:
            place: ``x`` and ``y`` slices.

        Yields:
            ``[x, y, start:stop:stride]``.

        Raises:
            SITSError: If nothing was acquired at *place*.
        """
        acquisitions = self.acquisitions(place)
        if len(acquisitions) == 0:
            # A bare return would surface as "generator raised StopIteration" in TorchGeo's @.
            raise SITSError(
                f'no acquisition at x={place[0]}, y={place[1]}: put a spatial sampler of '
                'torchgeo_sits before the @, which skips such places, or widen toi'
            )
        yield from self._draw(place, acquisitions, self.generator)

    def _draw(
        self, place: SpaceWindow, acquisitions: NDArray[np.int64], generator: Generator
    ) -> Iterator[SpaceTimeWindow]:
        """Draw windows at a place; none where nothing was acquired."""
        available = len(acquisitions)
        if not available:
            return
        count = min(self.count, available)
        widest = (available - 1) // (count - 1) if count > 1 else 1
        stride = widest if self.stride == 'max' else min(self.stride, widest)
        span = (count - 1) * stride + 1
        for _ in range(self._length):
            first = int(generator.integers(available - span + 1))
            yield self._window(place, acquisitions[first : first + span], stride)


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

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import SeasonSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> summers = SeasonSampler(series, start='05-01', stop='09-01')
        >>> [(t.start.year, t.start.month >= 5, t.stop.month < 9) for x, y, t in summers]
        [(2021, True, True)]
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
        """Number of seasons at a place.

        Args:
            acquisitions: Those of the place, ``(N, 2)``.

        Returns:
            The number.
        """
        return len(self._seasons(acquisitions))

    def windows(self, number: int) -> WindowMaker:
        """Go through the seasons, the same in each epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            A function of a place and its acquisitions that gives the windows there in order of
            years, from the first acquisition of each season to the end of its last.
        """
        return lambda place, acquisitions: (
            self._window(place, acquisitions[low:high]) for low, high in self._seasons(acquisitions)
        )

    def _seasons(self, acquisitions: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Find the seasons that are wanted: first and one past the last acquisition of each."""
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


def _utc(times: Any) -> NDArray[np.int64]:
    """Convert times to nanoseconds since 1970-01-01 UTC; those without a zone are UTC already."""
    index = pd.DatetimeIndex(times)
    if index.tz is not None:
        index = index.tz_convert('UTC').tz_localize(None)
    # pandas 3 keeps files' dates in other units than nanoseconds.
    return index.as_unit('ns').asi8

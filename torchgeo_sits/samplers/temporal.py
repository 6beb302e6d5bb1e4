"""Windows in time by number of acquisitions and by season, in UTC only."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import TemporalSampler

from .draws import EpochDraws

__all__ = ['AcquisitionSampler', 'RandomDateCountSampler', 'SeasonSampler']

Location = tuple[slice, slice]
_ANYWHERE: Final[Location] = (slice(None), slice(None))
_DAY: Final = 86_400 * 10**9
_MICROSECOND: Final = 1000


class AcquisitionSampler(TemporalSampler):
    """Base of samplers whose windows start and stop at acquisitions.

    An acquisition is a distinct UTC day (or time) of the rows of ``dataset.index`` whose
    footprints overlap the location by more than a border. The left edge of a row's interval is
    its time; times without a zone are UTC. Windows are half-open, ``[start, stop)``, and hold
    the whole interval of their last acquisition: under ``'day'`` the interval is the day, and
    the files were taken at some time of it. They end before the next acquisition begins, so
    that TorchGeo's own data sets, whose windows include their end, read the same frames.

    Args:
        dataset: Data set to sample from.
        toi: Time of interest, read as half-open ``[left, right)`` whatever it says to be
            closed on; with or without a time zone (default: all times).
        group_by: Whether rows of one UTC ``'day'`` or only of one ``'time'`` are one
            acquisition; as given to :class:`~torchgeo_sits.datasets.RasterTimeSeries`.

    Raises:
        ValueError: If *group_by* is unknown or nothing was acquired in *toi*.
    """

    def __init__(
        self,
        dataset: GeoDataset,
        *,
        toi: pd.Interval | None = None,
        group_by: Literal['day', 'time'] = 'day',
    ) -> None:
        if group_by not in ('day', 'time'):
            raise ValueError(f"group_by must be 'day' or 'time', got {group_by!r}")
        super().__init__(dataset)
        self.group_by = group_by
        times, ends = _utc(self.index.index.left), _utc(self.index.index.right)
        if toi is not None:
            # Not TorchGeo's way, which moves the time of a row to the start of the period.
            left, right = _utc(pd.DatetimeIndex([toi.left, toi.right]))
            inside = (times >= left) & (times < right)
            if not inside.any():
                first, last = pd.to_datetime([times.min(), times.max()])
                raise ValueError(
                    f'no acquisition in toi={toi}: those of the data set lie between '
                    f'{first} and {last} UTC'
                )
            self.index, times, ends = self.index[inside], times[inside], ends[inside]

        # One entry per distinct footprint: a stack of hundreds of dates has one or a few.
        shapes = np.asarray(self.index.geometry)
        _, first_row, place = np.unique(
            shapely.to_wkb(shapes), return_index=True, return_inverse=True
        )
        self._footprints = shapes[first_row]
        self._tree = shapely.STRtree(self._footprints)
        spans = np.stack([times, ends], axis=1)
        self._spans = [np.unique(spans[place == i], axis=0) for i in range(len(first_row))]
        # Places see few different sets of footprints, and each is asked for thousands of times.
        self._known: dict[tuple[int, ...], NDArray[np.int64]] = {}

    def acquisitions(self, location: Location = _ANYWHERE) -> NDArray[np.int64]:
        """Start and stop of each acquisition at a location.

        Args:
            location: ``x`` and ``y`` slices in the units of the CRS; open ends reach to the
                end of the data.

        Returns:
            Nanoseconds since 1970-01-01 UTC, ``(N, 2)``, ascending: its first instant, and one
            after all of its files and before the next acquisition.
        """
        x, y = location
        if x.start is None:
            near = np.arange(len(self._footprints))
        else:
            window = shapely.box(x.start, y.start, x.stop, y.stop)
            near = self._tree.query(window, predicate='intersects')
            shared = shapely.area(shapely.intersection(self._footprints[near], window))
            near = near[shared > 1e-6 * window.area]
        key = tuple(np.sort(near).tolist())
        if key not in self._known:
            self._known[key] = self._join(key)
        return self._known[key]

    def _join(self, near: tuple[int, ...]) -> NDArray[np.int64]:
        """Start and stop ``(N, 2)`` of the acquisitions of some footprints together."""
        if not near:
            return np.empty((0, 2), np.int64)
        times, ends = np.unique(np.concatenate([self._spans[i] for i in near]), axis=0).T
        group = times // _DAY if self.group_by == 'day' else times
        first = np.flatnonzero(np.append(True, np.diff(group) != 0))
        starts, latest = times[first], times[np.append(first[1:], len(times)) - 1]
        stops = np.maximum.reduceat(ends, first)
        # Composites' intervals may overlap: a month every ten days, say.
        stops[:-1] = np.minimum(stops[:-1], starts[1:] - _MICROSECOND)
        # An index may hold instants, which a half-open window must end after.
        return np.stack([starts, np.maximum(stops, latest + _MICROSECOND)], axis=1)

    def _window(
        self, location: Location, acquisitions: NDArray[np.int64], stride: int = 1
    ) -> tuple[slice, slice, slice]:
        """Slices that hold exactly *acquisitions* ``(N, 2)``, every *stride*-th to be read."""
        start = pd.Timestamp(int(acquisitions[0, 0]))
        stop = pd.Timestamp(int(acquisitions[-1, 1]))
        t = slice(start, stop, stride) if stride > 1 else slice(start, stop)
        return *location, t


class RandomDateCountSampler(EpochDraws, AcquisitionSampler):
    """Random windows of a fixed number of acquisitions.

    The windows hold *count* consecutive acquisitions of the location, or every *stride*-th,
    as ``t.step``. Where there are fewer, the stride shrinks, and then all there are is taken.
    Where there are none, our spatial samplers skip the location; TorchGeo's stop with a
    LookupError that says so.

    Args:
        dataset: Data set to sample from.
        count: Number of acquisitions in a window.
        stride: Every which acquisition is taken, or ``'max'`` for the largest stride that
            fits, so that a window covers all the time there is.
        length: Number of windows per location of a sequential spatial sampler, and per
            epoch of this sampler alone. A random spatial sampler takes one per location.
        toi: Time of interest, half-open (default: all times).
        group_by: What makes one acquisition, see :class:`AcquisitionSampler`.
        generator: Seed or generator, see :class:`~torchgeo_sits.samplers.draws.EpochDraws`.

    Raises:
        ValueError: If an argument is out of its range, or nothing was acquired in *toi*.
    """

    strategy = 'random'
    stream = 1

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
            raise ValueError(f'count must be at least 1 acquisition, got {count}')
        if stride != 'max' and (not isinstance(stride, int) or stride < 1):
            raise ValueError(f"stride must be at least 1 or 'max', got {stride!r}")
        if length < 1:
            raise ValueError(f'length must be at least 1 window, got {length}')
        super().__init__(dataset, toi=toi, group_by=group_by)
        self.count = count
        self.stride = stride
        self._length = length
        self.seed(generator)

    def _iter_subset(self, location: Location = _ANYWHERE) -> Iterator[tuple[slice, slice, slice]]:
        """Draw windows at a location.

        Args:
            location: ``x`` and ``y`` slices.

        Yields:
            ``[x, y, start:stop:stride]``.

        Raises:
            LookupError: If nothing was acquired at *location*.
        """
        acquisitions = self.acquisitions(location)
        available = len(acquisitions)
        if available == 0:
            # A bare return would surface as "generator raised StopIteration" in TorchGeo's @.
            raise LookupError(
                f'no acquisition at x={location[0]}, y={location[1]}: put a spatial sampler of '
                'torchgeo_sits before the @, which skips such places, or widen toi'
            )
        count = min(self.count, available)
        widest = (available - 1) // (count - 1) if count > 1 else 1
        stride = widest if self.stride == 'max' else min(self.stride, widest)
        span = (count - 1) * stride + 1
        for _ in range(self._length):
            first = int(self.generator.integers(available - span + 1))
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
        ValueError: If a day is not one of every year, *min_count* is less than 1, or nothing
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
                raise ValueError(
                    f"{name} must be a day of every year as 'MM-DD', got {day!r}"
                ) from None
        if min_count < 1:
            raise ValueError(f'min_count must be at least 1 acquisition, got {min_count}')
        super().__init__(dataset, toi=toi, group_by=group_by)
        self.start = start
        self.stop = stop
        self.years = years
        self.min_count = min_count

    def _iter_subset(self, location: Location = _ANYWHERE) -> Iterator[tuple[slice, slice, slice]]:
        """Go through the seasons at a location.

        Args:
            location: ``x`` and ``y`` slices.

        Yields:
            ``[x, y, start:stop]``, from the first acquisition of the season to the end of its
            last, in order of years; nothing where nothing was acquired.
        """
        acquisitions = self.acquisitions(location)
        if len(acquisitions) == 0:
            return
        # Days of one acquisition never straddle a season: both start at midnight UTC.
        times = acquisitions[:, 0]
        first, last = pd.to_datetime(times[[0, -1]]).year
        wraps = int(self.stop <= self.start)
        for year in range(first - wraps, last + 1):
            if self.years is not None and year not in self.years:
                continue
            edges = [f'{year}-{self.start}', f'{year + wraps}-{self.stop}']
            low, high = np.searchsorted(times, np.array(edges, 'datetime64[ns]').astype(np.int64))
            if high - low >= self.min_count:
                yield self._window(location, acquisitions[low:high])


def _utc(times: Any) -> NDArray[np.int64]:
    """Nanoseconds since 1970-01-01 UTC; times without a zone are UTC already."""
    index = pd.DatetimeIndex(times)
    if index.tz is not None:
        index = index.tz_convert('UTC').tz_localize(None)
    # pandas 3 keeps files' dates in other units than nanoseconds.
    return index.as_unit('ns').asi8

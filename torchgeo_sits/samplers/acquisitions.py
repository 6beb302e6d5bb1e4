"""The acquisitions of a place, for samplers of windows in time."""

import abc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import batched
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import TemporalSampler

from ..errors import SITSError
from .epochs import EpochSampler
from .footprints import Footprints

__all__ = ['ANYWHERE', 'AcquisitionSampler', 'Location', 'Window', 'Windows']

Location = tuple[slice, slice]
Window = tuple[slice, slice, slice]
#: Makes the windows at a location from its acquisitions, ``(N, 2)``.
Windows = Callable[[Location, NDArray[np.int64]], Iterator[Window]]
ANYWHERE: Final[Location] = (slice(None), slice(None))
_DAY: Final = 86_400 * 10**9
_MICROSECOND: Final = 1000
#: Acquisitions to be remembered, of all places together: 32 MiB.
_MEMORY: Final = 2**21
#: Places that are looked up together.
_TOGETHER: Final = 256


class AcquisitionSampler(EpochSampler, TemporalSampler):
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
        SITSError: If *group_by* is unknown or nothing was acquired in *toi*.
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

    def acquisitions(self, location: Location = ANYWHERE) -> NDArray[np.int64]:
        """Start and stop of each acquisition at a location.

        Args:
            location: ``x`` and ``y`` slices in the units of the CRS; open ends reach to the
                end of the data.

        Returns:
            Nanoseconds since 1970-01-01 UTC, ``(N, 2)``, ascending: its first instant, and one
            after all of its files and before the next acquisition.
        """
        if location[0].start is None:
            return self._join(np.arange(len(self._times)))
        [(_, found)] = self.acquisitions_at([location])
        return found

    def acquisitions_at(
        self, locations: Iterable[Location]
    ) -> Iterator[tuple[Location, NDArray[np.int64]]]:
        """The same for many locations, looked up together.

        Args:
            locations: ``x`` and ``y`` slices with both ends.

        Yields:
            Each location and its acquisitions.
        """
        for location, near in self._near(locations):
            key = near.tobytes()
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = self._join(self._footprints.rows(near))
                self._held += len(found)
                while self._held > _MEMORY and len(self._known) > 1:
                    self._held -= len(self._known.pop(next(iter(self._known))))
            yield location, found

    def count_at(self, locations: Iterable[Location]) -> int:
        """Number of windows at some locations together, without making them.

        Args:
            locations: ``x`` and ``y`` slices with both ends.

        Returns:
            The number.
        """
        sets = Counter(near.tobytes() for _, near in self._near(locations))
        return sum(
            places * self.count_windows(self._join(self._footprints.rows(np.frombuffer(key, int))))
            for key, places in sets.items()
        )

    @abc.abstractmethod
    def count_windows(self, acquisitions: NDArray[np.int64]) -> int:
        """Number of windows at a location.

        Args:
            acquisitions: Those of the location, ``(N, 2)``.

        Returns:
            The number.
        """

    @abc.abstractmethod
    def windows(self, number: int) -> Windows:
        """How the windows of an epoch are made.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            What gives the windows at a location and its acquisitions, none where there are
            none. Random windows depend on those that were drawn before.
        """

    def iter_epoch(self, number: int) -> Iterator[Window]:
        """Windows of an epoch, of all places together.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[:, :, t]``.
        """
        return self.windows(number)(ANYWHERE, self.acquisitions())

    def epoch_length(self, number: int) -> int:
        """Number of windows of all places together.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number.
        """
        return self.count_windows(self.acquisitions())

    def _near(self, locations: Iterable[Location]) -> Iterator[tuple[Location, NDArray[np.intp]]]:
        """Locations and the footprints at each."""
        for some in batched(locations, _TOGETHER):
            bounds = np.array([(x.start, y.start, x.stop, y.stop) for x, y in some], float)
            yield from zip(some, self._footprints.overlapping(bounds), strict=True)

    def _join(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Start and stop ``(N, 2)`` of the acquisitions of some rows together."""
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
        self, location: Location, acquisitions: NDArray[np.int64], stride: int = 1
    ) -> Window:
        """Slices that hold exactly *acquisitions* ``(N, 2)``, every *stride*-th to be read."""
        start = pd.Timestamp(int(acquisitions[0, 0]))
        stop = pd.Timestamp(int(acquisitions[-1, 1]))
        t = slice(start, stop, stride) if stride > 1 else slice(start, stop)
        return *location, t


def _utc(times: Any) -> NDArray[np.int64]:
    """Nanoseconds since 1970-01-01 UTC; times without a zone are UTC already."""
    index = pd.DatetimeIndex(times)
    if index.tz is not None:
        index = index.tz_convert('UTC').tz_localize(None)
    # pandas 3 keeps files' dates in other units than nanoseconds.
    return index.as_unit('ns').asi8

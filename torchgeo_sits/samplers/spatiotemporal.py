"""Product of a spatial and a temporal sampler that skips places without acquisitions."""

import warnings
from collections.abc import Iterable, Iterator
from itertools import batched
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from torchgeo.samplers import SpatioTemporalSampler, TemporalSampler

from ..errors import SITSError
from .epochs import EpochSampler, SeededSampler, SpaceTimeWindow, SpaceWindow
from .footprints import Footprints
from .temporal import AcquisitionSampler

__all__ = ['BlockWindow', 'SkippingSampler']


class BlockWindow(tuple[slice, slice]):
    """A window, ``(x, y)`` or ``(x, y, t)``, that is to be cut from a larger one.

    To any data set it is the plain tuple. Series of this package read the larger window once
    and keep it, as it is stored, until the last of its patches was cut.

    Attributes:
        block: The larger window, ``(x, y)``.
        last: Whether no further patch of this block will be asked for.
        kept: How many such blocks are to be kept at a time.

    Examples:
        >>> from torchgeo_sits.samplers import BlockWindow
        >>> block = slice(0, 640), slice(0, 640)
        >>> window = (slice(80, 160), slice(0, 80))
        >>> marked = BlockWindow.cut(window, block, last=False, kept=4)
        >>> marked == window, marked.block == block
        (True, True)
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


def _keep_block(place: tuple[slice, slice], windows: Iterable[Any]) -> Iterator[Any]:
    """Mark the windows at a place with the block of the place, if it has one.

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


if TYPE_CHECKING:
    from .spatial import RandomSeriesPatchSampler, SeriesPatchSampler


class SkippingSampler(EpochSampler, SpatioTemporalSampler):
    """Product of a spatial sampler of ours and any temporal one, made by ``spatial @ temporal``.

    TorchGeo's own product asks the temporal sampler for a window at every place and fails
    where there is none. This one leaves such places out and counts them; after a random
    spatial sampler it draws others in their place, so that an epoch keeps its length.

    Args:
        spatial_sampler: A spatial sampling strategy.
        temporal_sampler: A temporal sampling strategy, ours or TorchGeo's.

    Attributes:
        skipped: Places left out in the latest epoch.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import GriddedSeriesPatchSampler, SeasonSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> seasons = SeasonSampler(series, start='03-01', stop='11-01')  # of two years
        >>> product = GriddedSeriesPatchSampler(series, size=16) @ seasons
        >>> type(product).__name__, len(product), product.skipped
        ('SkippingSampler', 8, 0)
    """

    spatial_sampler: 'SeriesPatchSampler'

    def __init__(
        self, spatial_sampler: 'SeriesPatchSampler', temporal_sampler: TemporalSampler
    ) -> None:
        super().__init__(spatial_sampler, temporal_sampler)
        self.skipped = 0
        self._counted: tuple[int, int] | None = None
        self._torchgeo_times: SeededSampler | None = None
        if not isinstance(temporal_sampler, AcquisitionSampler):
            self._torchgeo_times = SeededSampler(temporal_sampler)
            shapes = np.asarray(temporal_sampler.index.geometry)
            self._footprints = Footprints(shapes)

    @property
    def seeds(self) -> list[int]:
        """Seeds of places and times."""
        return self.spatial_sampler.seeds + self._times.seeds

    @seeds.setter
    def seeds(self, seeds: list[int]) -> None:
        count = len(self.spatial_sampler.seeds)
        self.spatial_sampler.seeds = seeds[:count]
        self._times.seeds = seeds[count:]
        self._counted = None

    def epoch_length(self, number: int) -> int:
        """Number of windows in an epoch, counted by place through the spatial tree.

        Args:
            number: Number of the epoch, from 0. It matters where windows in sequence follow
                upon random places.

        Returns:
            The number of windows.
        """
        places, times = self.spatial_sampler, self.temporal_sampler
        if places.strategy == 'random' and times.strategy == 'random':
            return len(places)
        if places.strategy == 'sequential':
            number = 0
        if self._counted is None or self._counted[0] != number:
            self._counted = number, self._count(places.iter_epoch(number))
        return self._counted[1]

    def iter_epoch(self, number: int) -> Iterator[SpaceTimeWindow]:
        """Go through an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[x, y, t]`` slices, each with at least one acquisition.

        Raises:
            SITSError: If random places were drawn for a whole epoch and nothing was
                acquired at any of them.
        """
        self.skipped = 0
        places, times = self.spatial_sampler, self.temporal_sampler
        if places.strategy == 'random' and times.strategy == 'random':
            yield from self._random_epoch(number)
        else:
            for windows in self._visit(number, places.iter_epoch(number)):
                before = None
                for before in windows:
                    yield before
                self.skipped += before is None
        if self.skipped:
            warnings.warn(
                f'{self.skipped} places of this epoch were skipped: no acquisition there in the '
                'time of interest',
                UserWarning,
                stacklevel=2,
            )

    @property
    def _times(self) -> EpochSampler:
        """The temporal sampler, with epochs."""
        if self._torchgeo_times is not None:
            return self._torchgeo_times
        assert isinstance(self.temporal_sampler, AcquisitionSampler)
        return self.temporal_sampler

    def _random_epoch(self, number: int) -> Iterator[SpaceTimeWindow]:
        """Draw one window at each of as many places as there are, places without any replaced."""
        wanted = len(self.spatial_sampler)
        found = barren = 0
        places = cast('RandomSeriesPatchSampler', self.spatial_sampler)
        for windows in self._visit(number, places.iter_endless(number)):
            window = next(windows, None)
            if window is None:
                self.skipped += 1
                barren += 1
            else:
                yield window
                found += 1
                barren = 0
            if found == wanted:
                return
            if barren == wanted:
                raise SITSError(
                    f'no acquisition at any of {wanted} random places: the times of '
                    f'{type(self.temporal_sampler).__name__} and the places of '
                    f'{type(self.spatial_sampler).__name__} do not meet; widen toi or roi'
                )

    def _visit(
        self, number: int, places: Iterator[SpaceWindow]
    ) -> Iterator[Iterator[SpaceTimeWindow]]:
        """Go from place to place: the windows at each, none where nothing was acquired."""
        times = self.temporal_sampler
        if isinstance(times, AcquisitionSampler):
            windows = times.windows(number)
            for place, acquisitions in times.acquisitions_at(places):
                yield _keep_block(place, windows(place, acquisitions))
        else:
            assert self._torchgeo_times is not None
            self._torchgeo_times.begin(number)
            for place, near in self._look_up(places):
                yield _keep_block(place, self._torchgeo_windows(place) if len(near) else ())

    def _count(self, places: Iterator[SpaceWindow]) -> int:
        """Count the windows at some places together."""
        times = self.temporal_sampler
        if isinstance(times, AcquisitionSampler):
            return times.count_at(places)
        if times.strategy == 'random':
            return len(times) * sum(len(near) > 0 for _, near in self._look_up(places))
        # TorchGeo's windows depend on which footprints are at a place and on nothing else.
        known: dict[bytes, int] = {b'': 0}
        total = 0
        for place, near in self._look_up(places):
            key = near.tobytes()
            if key not in known:
                known[key] = sum(1 for _ in times._iter_subset(place))
            total += known[key]
        return total

    def _look_up(
        self, places: Iterator[SpaceWindow]
    ) -> Iterator[tuple[SpaceWindow, NDArray[np.intp]]]:
        """Look up the footprints that TorchGeo finds at each place."""
        for some in batched(places, 256):
            bounds = np.array([(x.start, y.start, x.stop, y.stop) for x, y in some], float)
            yield from zip(some, self._footprints.touching(bounds), strict=True)

    def _torchgeo_windows(self, place: SpaceWindow) -> Iterator[SpaceTimeWindow]:
        """Draw the windows of TorchGeo's samplers at a place where something was acquired."""
        times = self.temporal_sampler
        if times.strategy == 'sequential':
            yield from times._iter_subset(place)
        else:
            # One call each, as TorchGeo does: some yield more than their length.
            for _ in range(len(times)):
                yield next(times._iter_subset(place))

"""Product of a spatial and a temporal sampler that skips places without acquisitions."""

import warnings
from collections.abc import Iterator

from torchgeo.samplers import SpatialSampler, SpatioTemporalSampler, TemporalSampler

from .draws import EpochDraws
from .temporal import AcquisitionSampler

__all__ = ['SkippingSampler']

GeoWindow = tuple[slice, slice, slice]


class SkippingSampler(SpatioTemporalSampler):
    """What ``spatial @ temporal`` makes of our spatial samplers and any temporal one.

    TorchGeo's own product asks the temporal sampler for a window at every location and fails
    where there is none. This one leaves such locations out and counts them; after a random
    spatial sampler it draws others in their place, so that an epoch keeps its length.

    Args:
        spatial_sampler: A spatial sampling strategy.
        temporal_sampler: A temporal sampling strategy, ours or TorchGeo's.

    Attributes:
        skipped: Locations left out in the latest epoch.
    """

    def __init__(self, spatial_sampler: SpatialSampler, temporal_sampler: TemporalSampler) -> None:
        super().__init__(spatial_sampler, temporal_sampler)
        self.skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw what belongs to an epoch from now on, places and times alike.

        Args:
            epoch: Number of the epoch, from 0.
        """
        for sampler in (self.spatial_sampler, self.temporal_sampler):
            if isinstance(sampler, EpochDraws):
                sampler.set_epoch(epoch)

    def __len__(self) -> int:
        """Number of windows in an epoch.

        Known beforehand when both samplers are random, else counted once.

        Returns:
            The number of windows.
        """
        if not hasattr(self, '_length'):
            places, times = self.spatial_sampler, self.temporal_sampler
            if places.strategy == 'random' and times.strategy == 'random':
                self._length = len(places)
            elif times.strategy == 'random':
                # By place, not by a trial epoch: that would move the generator on.
                self._length = len(times) * sum(self._is_covered(place) for place in places)
            else:
                self._length = sum(1 for _ in self)
        return self._length

    def __iter__(self) -> Iterator[GeoWindow]:
        """Go through an epoch.

        Yields:
            ``[x, y, t]`` slices, each with at least one acquisition.

        Raises:
            LookupError: If random places were drawn for a whole epoch and nothing was
                acquired at any of them.
        """
        self.skipped = 0
        places, times = self.spatial_sampler, self.temporal_sampler
        if places.strategy == 'random' and times.strategy == 'random':
            yield from self._random_epoch()
        else:
            for place in places:
                windows = self._windows(place)
                self.skipped += not windows
                yield from windows
        if self.skipped:
            warnings.warn(
                f'{self.skipped} places of this epoch were skipped: no acquisition there in the '
                'time of interest',
                UserWarning,
                stacklevel=2,
            )

    def _random_epoch(self) -> Iterator[GeoWindow]:
        """One window at each of ``len(self)`` places, places without any replaced."""
        wanted = len(self.spatial_sampler)
        found = 0
        while found < wanted:
            before = found
            for place in self.spatial_sampler:
                if not self._is_covered(place):
                    self.skipped += 1
                    continue
                yield next(self.temporal_sampler._iter_subset(place))
                found += 1
                if found == wanted:
                    return
            if found == before:
                raise LookupError(
                    f'no acquisition at any of {wanted} random places: the times of '
                    f'{type(self.temporal_sampler).__name__} and the places of '
                    f'{type(self.spatial_sampler).__name__} do not meet; widen toi or roi'
                )

    def _windows(self, place: tuple[slice, slice]) -> list[GeoWindow]:
        """All windows at one place; none where nothing was acquired."""
        if not self._is_covered(place):
            return []
        if self.temporal_sampler.strategy == 'sequential':
            return list(self.temporal_sampler._iter_subset(place))
        # One call each, as TorchGeo does: some of its samplers yield more than their length.
        number = len(self.temporal_sampler)
        return [next(self.temporal_sampler._iter_subset(place)) for _ in range(number)]

    def _is_covered(self, place: tuple[slice, slice]) -> bool:
        """Whether anything was acquired at a place, by our rule or else by TorchGeo's."""
        if isinstance(self.temporal_sampler, AcquisitionSampler):
            return len(self.temporal_sampler.acquisitions(place)) > 0
        return len(self.temporal_sampler._init_subset(place)) > 0

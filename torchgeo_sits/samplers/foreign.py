"""TorchGeo's samplers, with epochs that can be named and resumed."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from numpy.random import Generator
from torchgeo.datasets.utils import GeoSlice
from torchgeo.samplers import GeoSampler, SpatioTemporalSampler, TemporalSampler

from .epochs import EpochSampler, draw_seed, epoch_generator

__all__ = ['SeededSampler']


class SeededSampler(EpochSampler):
    """Any sampler of TorchGeo's, with its generators begun anew for each epoch.

    TorchGeo's generators move on from one iteration to the next, so that an epoch cannot be
    repeated. Its samplers keep them as ``generator``; those of products have one each.

    Args:
        sampler: A sampler of TorchGeo's, or a product that it made. Its seeds are drawn from
            copies of its generators, which are left as they are until it is iterated.
    """

    def __init__(self, sampler: GeoSampler) -> None:
        self.sampler = sampler
        parts = [sampler]
        if isinstance(sampler, SpatioTemporalSampler):
            parts = [sampler.spatial_sampler, sampler.temporal_sampler]
        self._parts: list[tuple[Any, int]] = []
        self._seeds = []
        for part in parts:
            generator = getattr(part, 'generator', None)
            seeds = []
            if isinstance(part, EpochSampler):
                seeds = part.seeds
            elif isinstance(generator, Generator):
                seeds = [draw_seed(deepcopy(generator))]
            self._seeds += seeds
            self._parts.append((part, len(seeds)))

    def begin(self, number: int) -> GeoSampler:
        """Set the generators for an epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The sampler itself, about to draw the epoch.
        """
        left = self.seeds
        for part, count in self._parts:
            seeds, left = left[:count], left[count:]
            if isinstance(part, EpochSampler):
                part.seeds = seeds
                part.set_epoch(number)
            elif seeds:
                # TorchGeo counts some windows by drawing them, once, in the middle of an epoch.
                len(part)
                stream = int(isinstance(part, TemporalSampler))
                part.generator = epoch_generator(seeds[0], number, stream=stream)
        return self.sampler

    def iter_epoch(self, number: int) -> Iterator[GeoSlice]:
        """Draw the windows of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            The windows.
        """
        yield from self.begin(number)

    def epoch_length(self, number: int) -> int:
        """Length of the sampler.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number of windows.
        """
        return len(self.sampler)

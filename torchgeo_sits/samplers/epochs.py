"""Epochs that a seed and a number determine, and that resume where they were left."""

import abc
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.random import Generator, SeedSequence
from torchgeo.datasets.utils import GeoSlice
from torchgeo.samplers import GeoSampler, SpatioTemporalSampler, TemporalSampler

from ..errors import SITSError

__all__ = [
    'EpochSampler',
    'SeededSampler',
    'SpaceTimeWindow',
    'SpaceWindow',
    'draw_seed',
    'epoch_generator',
]

#: Slices of x and y in the units of the CRS.
SpaceWindow = tuple[slice, slice]
#: Slices of x, y and time.
SpaceTimeWindow = tuple[slice, slice, slice]


@dataclass
class _Run:
    """Progress of an iteration: its epoch, the position it began at, and windows given."""

    epoch: int
    start: int
    yielded: int = 0
    finished: bool = False


class EpochSampler(GeoSampler):
    """Base of samplers whose windows follow from their seeds and the number of the epoch.

    Each iteration is an epoch, the next one unless :meth:`set_epoch` names it. An iteration
    keeps to its epoch whatever is set or begun meanwhile: Lightning names the first epoch after
    workers have begun to fetch it. Because nothing but seeds, epoch and position matters, these
    three are the whole state of a sampler, and an interrupted epoch goes on by leaving out the
    windows that were used.

    A subclass gives the windows of an epoch in :meth:`iter_epoch`, drawn from
    :func:`epoch_generator`, and their number in :meth:`epoch_length`.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import RandomSeriesPatchSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> sampler = RandomSeriesPatchSampler(series, size=8, length=4, generator=0)
        >>> windows = iter(sampler)
        >>> used = next(windows), next(windows)
        >>> state = sampler.state_dict()
        >>> other = RandomSeriesPatchSampler(series, size=8, length=4, generator=0)
        >>> other.load_state_dict(state)
        >>> list(other) == list(windows)  # the two that are left
        True
    """

    _seeds: list[int] = []
    _next: tuple[int, int] = (0, 0)
    _run: _Run | None = None
    #: By how much a window that is yielded moves the position on.
    _stride: int = 1

    @property
    def seeds(self) -> list[int]:
        """Seeds of all that is drawn; none where the windows are always the same."""
        return list(self._seeds)

    @seeds.setter
    def seeds(self, seeds: list[int]) -> None:
        if len(seeds) != len(self._seeds):
            raise SITSError(
                f'{type(self).__name__} takes {len(self._seeds)} seeds, got {len(seeds)}: load the '
                'state of a sampler that was made alike'
            )
        self._seeds = list(seeds)

    @abc.abstractmethod
    def iter_epoch(self, number: int) -> Iterator[GeoSlice]:
        """Go through the windows of an epoch, from the first, whatever was iterated before.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            The windows.
        """

    @abc.abstractmethod
    def epoch_length(self, number: int) -> int:
        """Number of windows of an epoch, without drawing them.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number.
        """

    def __len__(self) -> int:
        """Number of windows of the epoch in progress, or else of the next one, as a whole.

        Returns:
            The number.
        """
        run = self._run
        return self.epoch_length(self._next[0] if run is None or run.finished else run.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw what belongs to an epoch in the next iteration.

        Of an epoch that :meth:`load_state_dict` has placed the sampler in, the rest.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self._next = epoch, self._next[1] if epoch == self._next[0] else 0
        self._run = None

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Record the position of the latest iteration, or of the next where none was begun.

        Args:
            consumed: Windows of the latest iteration that were used, where that is fewer than
                were handed out because workers fetch ahead (default: all handed out).

        Returns:
            ``seeds``, ``epoch`` and ``position``, the number of windows of the epoch not to
            come again; plain numbers.
        """
        run = self._run
        if run is None or (run.finished and consumed is None):
            epoch, position = self._next
        else:
            own = run.yielded if consumed is None else consumed
            epoch, position = run.epoch, run.start + own * self._stride
        return {'seeds': self.seeds, 'epoch': epoch, 'position': position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in the next iteration with the windows that a state has not seen.

        The iteration after that is the next epoch, as if there had been no interruption.

        Args:
            state_dict: What :meth:`state_dict` gave.

        Raises:
            SITSError: If the state is that of another kind of sampler.
        """
        self.seeds = state_dict['seeds']
        self._next = state_dict['epoch'], state_dict['position']
        self._run = None

    def __iter__(self) -> Iterator[Any]:
        """Go through the next epoch, or through the rest of an interrupted one.

        Yields:
            The windows.
        """
        epoch, start = self._next
        self._next = epoch + 1, 0
        self._run = run = _Run(epoch, start)
        for window in self._rest(epoch, start):
            # Whoever is interrupted while using a window has been given it.
            run.yielded += 1
            # A set_epoch since the last window was meant for the next iteration; this one is
            # on its way all the same.
            self._run = run
            yield window
        run.finished = True

    def _rest(self, epoch: int, start: int) -> Iterator[GeoSlice]:
        """Windows of an epoch from a position on."""
        return islice(self.iter_epoch(epoch), start, None)


def draw_seed(generator: int | Generator | None) -> int:
    """Read or draw a seed as a plain number, for :func:`epoch_generator`.

    Args:
        generator: A seed, a generator to draw a seed from, or None for a new one.

    Returns:
        The seed.

    Raises:
        SITSError: If the seed is negative.

    Examples:
        >>> from torchgeo_sits.samplers.epochs import draw_seed
        >>> draw_seed(7)
        7
    """
    if isinstance(generator, Generator):
        return int(generator.integers(2**63))
    if generator is not None and generator < 0:
        raise SITSError(f'generator must be a seed of at least 0, got {generator}')
    entropy = SeedSequence(generator).entropy
    assert isinstance(entropy, int)
    return entropy


def epoch_generator(seed: int, epoch: int, *, stream: int) -> Generator:
    """Make the random generator of an epoch.

    Args:
        seed: Seed of the sampler.
        epoch: Number of the epoch.
        stream: Keeps samplers with one seed apart: from the same stream of numbers a place and
            a date that are drawn side by side would go together.

    Returns:
        A new generator.

    Examples:
        >>> from torchgeo_sits.samplers.epochs import epoch_generator
        >>> one, again, other = (epoch_generator(7, epoch, stream=0) for epoch in (3, 3, 4))
        >>> number = one.random()
        >>> number == again.random(), number == other.random()
        (True, False)
    """
    return np.random.default_rng(SeedSequence(seed, spawn_key=(stream, epoch)))


class SeededSampler(EpochSampler):
    """Any sampler of TorchGeo's, with its generators begun anew for each epoch.

    TorchGeo's generators move on from one iteration to the next, so that an epoch cannot be
    repeated. Its samplers keep them as ``generator``; those of products have one each.

    Args:
        sampler: A sampler of TorchGeo's, or a product that it made. Its seeds are drawn from
            copies of its generators, which are left as they are until it is iterated.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import SeededSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> from torchgeo.samplers import RandomPatchSampler
        >>> sampler = SeededSampler(RandomPatchSampler(series, size=8, length=4, generator=0))
        >>> first = list(sampler.iter_epoch(0))
        >>> first == list(sampler.iter_epoch(0)), first == list(sampler.iter_epoch(1))
        (True, False)
    """

    def __init__(self, sampler: GeoSampler) -> None:
        self.sampler = sampler
        samplers = [sampler]
        if isinstance(sampler, SpatioTemporalSampler):
            samplers = [sampler.spatial_sampler, sampler.temporal_sampler]
        self._seeded: list[tuple[Any, int]] = []
        self._seeds = []
        for one in samplers:
            generator = getattr(one, 'generator', None)
            seeds = []
            if isinstance(one, EpochSampler):
                seeds = one.seeds
            elif isinstance(generator, Generator):
                seeds = [draw_seed(deepcopy(generator))]
            self._seeds += seeds
            self._seeded.append((one, len(seeds)))

    def begin(self, number: int) -> GeoSampler:
        """Set the generators for an epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The sampler itself, about to draw the epoch.
        """
        left = self.seeds
        for one, count in self._seeded:
            seeds, left = left[:count], left[count:]
            if isinstance(one, EpochSampler):
                one.seeds = seeds
                one.set_epoch(number)
            elif seeds:
                # TorchGeo counts some windows by drawing them, once, in the middle of an epoch.
                len(one)
                stream = int(isinstance(one, TemporalSampler))
                one.generator = epoch_generator(seeds[0], number, stream=stream)
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

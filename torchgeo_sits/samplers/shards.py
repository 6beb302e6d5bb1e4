"""Shares of one epoch for the processes of a distributed run, and lists that each keeps whole."""

from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from itertools import cycle, islice
from typing import Any

from torch import distributed
from torch.utils.data import DistributedSampler
from torchgeo.datasets.utils import GeoSlice
from torchgeo.samplers import GeoSampler

from ..errors import SITSError
from .epochs import EpochSampler, SeededSampler

__all__ = ['ListedSampler', 'ShardedSampler']


class ShardedSampler(EpochSampler, DistributedSampler[GeoSlice]):
    """The windows of a sampler, shared out among the processes of a distributed run.

    All processes go through the same epoch, of which each takes every n-th window. They take
    equally many, so that none waits for the others: the few windows that remain when the
    number of processes does not divide the epoch are left out with *drop_last*, and else made
    up to one each by the first windows of the epoch. Without these the shares are disjoint;
    without *drop_last* they cover the epoch.

    The seeds are those of the first process, which tells them the others when they begin to
    iterate, so that samplers without a seed share an epoch, too. Lightning takes this class
    for its own kind and leaves it as it is. Without a distributed run it passes everything on.

    Args:
        sampler: Any sampler of windows, ours or TorchGeo's.
        drop_last: Leave out what does not suffice for one window each, instead of repeating.
        num_replicas: Number of processes (default: those of ``torch.distributed``).
        rank: Number of this process (default: that of ``torch.distributed``).

    Raises:
        SITSError: If only one of *num_replicas* and *rank* is given, or *rank* is not below
            *num_replicas*.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.samplers import GriddedSeriesPatchSampler, ShardedSampler
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(folder.name, size=(32, 32), num_dates=6)
        >>> series = RasterTimeSeries(files.images)
        >>> sampler = GriddedSeriesPatchSampler(series, size=8)
        >>> shares = [ShardedSampler(sampler, num_replicas=2, rank=rank) for rank in (0, 1)]
        >>> [len(share) for share in shares], set(shares[0]) & set(shares[1])
        ([8, 8], set())
    """

    def __init__(
        self,
        sampler: GeoSampler,
        *,
        drop_last: bool = False,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        # Not DistributedSampler's own, which shares out the numbers of a data set with a length.
        if (num_replicas is None) != (rank is None):
            raise SITSError(
                f'give both num_replicas and rank, or neither, got {num_replicas} and {rank}'
            )
        if num_replicas is not None and rank is not None and not 0 <= rank < num_replicas:
            raise SITSError(
                f'rank must be at least 0 and below num_replicas={num_replicas}, got {rank}'
            )
        self.sampler = sampler if isinstance(sampler, EpochSampler) else SeededSampler(sampler)
        self.drop_last = drop_last
        self._share = None if num_replicas is None or rank is None else (num_replicas, rank)
        self._agreed = False

    # Asked for at each use: a sampler may be made before the processes know each other.
    @property
    def num_replicas(self) -> int:  # type: ignore[override]
        """Number of processes."""
        if self._share is not None:
            return self._share[0]
        return distributed.get_world_size() if _is_distributed() else 1

    @property
    def rank(self) -> int:  # type: ignore[override]
        """Number of this process."""
        if self._share is not None:
            return self._share[1]
        return distributed.get_rank() if _is_distributed() else 0

    @property
    def seeds(self) -> list[int]:
        """Seeds of the sampler that is shared out."""
        return self.sampler.seeds

    @seeds.setter
    def seeds(self, seeds: list[int]) -> None:
        self.sampler.seeds = seeds

    def epoch_length(self, number: int) -> int:
        """Number of windows of this process in an epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number, the same for all processes.
        """
        total = self.sampler.epoch_length(number)
        return total // self.num_replicas if self.drop_last else -(-total // self.num_replicas)

    def iter_epoch(self, number: int) -> Iterator[GeoSlice]:
        """Go through the windows of this process in an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            The windows.
        """
        return self._rest(number, 0)

    @property
    def _stride(self) -> int:  # type: ignore[override]
        # Positions count the windows of all processes: the state of one goes for the others,
        # and for another number of them.
        return self.num_replicas

    def _rest(self, epoch: int, start: int) -> Iterator[GeoSlice]:
        """Go through the windows of this process from a position of the common epoch on."""
        number, rank = self.num_replicas, self.rank
        self._agree()
        first: list[GeoSlice] = []
        group: list[GeoSlice] = []
        for position, window in enumerate(self.sampler.iter_epoch(epoch)):
            if len(first) < number:
                first.append(window)
            if position < start:
                continue
            group.append(window)
            if len(group) == number:
                yield group[rank]
                group = []
        if group and not self.drop_last:
            yield [*group, *islice(cycle(first), number - len(group))][rank]

    def _agree(self) -> None:
        """Take the seeds of the first process."""
        if self._agreed or self._share is not None or not _is_distributed():
            return
        told: list[Any] = [self.seeds]
        distributed.broadcast_object_list(told, src=0)
        (self.seeds,) = told
        self._agreed = True


class ListedSampler(GeoSampler, DistributedSampler[GeoSlice]):
    """The windows of a list, one after the other.

    A :class:`torch.utils.data.DistributedSampler` by name only: Lightning leaves it as it is, so
    that each process of a distributed run gets the list that it was given.

    Args:
        make: Gives the windows; called once, when the sampler is first asked for any.

    Examples:
        >>> from torchgeo_sits.samplers import ListedSampler
        >>> sampler = ListedSampler(lambda: [(slice(0, 80), slice(0, 80))])
        >>> len(sampler), list(sampler)
        (1, [(slice(0, 80, None), slice(0, 80, None))])
    """

    def __init__(self, make: Callable[[], Collection[GeoSlice]]) -> None:
        # Not that of DistributedSampler, which shares out the numbers of a data set.
        self._make = make

    @cached_property
    def windows(self) -> Collection[GeoSlice]:
        """Windows of the list."""
        return self._make()

    def __iter__(self) -> Iterator[GeoSlice]:
        """Go through the list.

        Yields:
            The windows.
        """
        yield from self.windows

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.windows)

    def __bool__(self) -> bool:
        """True: data modules refuse a sampler that is none, and an empty list is one."""
        return True


def _is_distributed() -> bool:
    """Tell whether this process is one of several that know each other."""
    return distributed.is_available() and distributed.is_initialized()

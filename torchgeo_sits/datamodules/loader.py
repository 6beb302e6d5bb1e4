"""Loaders of training that go on in the middle of an epoch, and orders of samples."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, Dataset

from ..samplers import EpochSampler
from ..samplers.epochs import epoch_generator

__all__ = ['DrawnSample', 'ListedSamples', 'ResumableLoader', 'ShuffledSamples']


class DrawnSample(NamedTuple):
    """A sample of training.

    Attributes:
        number: Its position.
        seed: Seed of what is drawn of it when it is read.
    """

    number: int
    seed: int


class ShuffledSamples(EpochSampler):
    """Random order of samples, from the first again where an epoch has more, each with a seed.

    Both follow from one seed and the number of the epoch, however many workers read.

    Args:
        count: Number of samples.
        length: Number of samples of an epoch.
        seed: Seed of the order and of the seeds.

    Examples:
        >>> from torchgeo_sits.datamodules.loader import ShuffledSamples
        >>> sampler = ShuffledSamples(3, 6, seed=0)
        >>> sorted(sample.number for sample in sampler)
        [0, 0, 1, 1, 2, 2]
    """

    def __init__(self, count: int, length: int, *, seed: int) -> None:
        self.count = count
        self.length = length
        self._seeds = [seed]

    def epoch_length(self, number: int) -> int:
        """Number of samples of an epoch, the same for all."""
        return self.length

    def iter_epoch(self, number: int) -> Iterator[Any]:
        """Samples of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            Positions and seeds.
        """
        generator = epoch_generator(self._seeds[0], number, stream=0)
        for _ in range(-(-self.length // self.count)):
            order = generator.permutation(self.count)
            seeds = generator.integers(2**31, size=self.count)
            yield from map(DrawnSample, order.tolist(), seeds.tolist())


class ListedSamples(Dataset[Any]):
    """Samples in the order in which a sampler gives them, numbered from 0.

    Lightning replaces samplers where it overfits batches, by one that counts.

    Args:
        dataset: The data set.
        sampler: Gives what it is indexed by.

    Examples:
        >>> from torchgeo_sits.datamodules.loader import ListedSamples
        >>> listed = ListedSamples('series', [2, 0])
        >>> len(listed), listed[0]
        (2, 'r')
    """

    def __init__(self, dataset: Any, sampler: Iterable[Any]) -> None:
        self.dataset = dataset
        self.places = list(sampler)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Any:
        """Read a sample by its number."""
        return self.dataset[self.places[number]]


class ResumableLoader(DataLoader[Any]):
    """A loader whose state is how many batches of an epoch were taken from it.

    Workers fetch ahead, so that the sampler has handed out more than was trained on; what
    counts here is what the loop received. Lightning saves and restores the state with its
    checkpoints, so that a run that stopped in the middle of an epoch gets the batches that it
    has not seen; other loops call the methods themselves, right after a batch or between
    epochs. :meth:`len` is that of a whole epoch in any case.

    Args:
        *args: As for :class:`torch.utils.data.DataLoader`.
        **kwargs: As for :class:`torch.utils.data.DataLoader`, with a ``sampler`` that is an
            :class:`~torchgeo_sits.samplers.EpochSampler`.

    Raises:
        TypeError: If the sampler is of another kind.

    Examples:
        >>> from torchgeo_sits.datamodules import ResumableLoader
        >>> from torchgeo_sits.samplers import EpochSampler
        >>> class InOrder(EpochSampler):
        ...     _seeds = []
        ...     def epoch_length(self, number):
        ...         return 6
        ...     def iter_epoch(self, number):
        ...         yield from range(6)
        >>> first, second = (
        ...     ResumableLoader(range(6), sampler=InOrder(), batch_size=2) for _ in range(2)
        ... )
        >>> _ = next(iter(first))
        >>> second.load_state_dict(first.state_dict())
        >>> [batch.tolist() for batch in second]
        [[2, 3], [4, 5]]
    """

    sampler: EpochSampler

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.sampler, EpochSampler):
            raise TypeError(
                f'sampler must be an EpochSampler, got {type(self.sampler).__name__}: wrap it as '
                'ShardedSampler(sampler), which Lightning does not replace either'
            )
        self._taken: int | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Go through the epoch of the sampler, or through the rest of it.

        Nothing is fetched before the first batch is asked for: Lightning begins to iterate
        before it names the epoch.

        Yields:
            The batches.
        """
        self._taken = None
        taken = 0
        for batch in super().__iter__():
            self._taken = taken = taken + 1
            yield batch
        self._taken = None

    def state_dict(self) -> dict[str, Any]:
        """Seeds, epoch and position, see :meth:`EpochSampler.state_dict`.

        Returns:
            Plain numbers.
        """
        if self._taken is None:
            return self.sampler.state_dict()
        assert self.batch_size is not None
        return self.sampler.state_dict(consumed=self._taken * self.batch_size)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in the next iteration where a state was saved.

        Args:
            state_dict: What :meth:`state_dict` gave.
        """
        self.sampler.load_state_dict(state_dict)
        self._taken = None

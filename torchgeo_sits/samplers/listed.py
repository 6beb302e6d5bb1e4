"""Windows of a list that is made when it is needed."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from torch.utils.data import DistributedSampler
from torchgeo.datasets.utils import GeoSlice
from torchgeo.samplers import GeoSampler

__all__ = ['ListedSampler']


class ListedSampler(GeoSampler, DistributedSampler[GeoSlice]):
    """The windows of a list, one after the other.

    A :class:`torch.utils.data.DistributedSampler` by name only: Lightning leaves it as it is, so
    that each process of a distributed run gets the list that it was given.

    Args:
        make: Gives the windows; called once, when the sampler is first asked for any.
    """

    def __init__(self, make: Callable[[], Sequence[GeoSlice]]) -> None:
        # Not that of DistributedSampler, which shares out the numbers of a data set.
        self._make = make

    @cached_property
    def windows(self) -> Sequence[GeoSlice]:
        """The windows."""
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

"""Windows in a given order."""

from collections.abc import Iterator, Sequence

from torch.utils.data import DistributedSampler
from torchgeo.datasets.utils import GeoSlice
from torchgeo.samplers import GeoSampler

__all__ = ['ListedSampler']


class ListedSampler(GeoSampler, DistributedSampler[GeoSlice]):
    """The windows of a list, one after the other.

    A :class:`torch.utils.data.DistributedSampler` by name only: Lightning leaves it as it is, so
    that each process of a distributed run gets the list that it was given.

    Args:
        windows: The windows.
    """

    def __init__(self, windows: Sequence[GeoSlice]) -> None:
        # Not that of DistributedSampler, which shares out the numbers of a data set.
        self.windows = windows

    def __iter__(self) -> Iterator[GeoSlice]:
        """Go through the list.

        Yields:
            The windows.
        """
        yield from self.windows

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.windows)

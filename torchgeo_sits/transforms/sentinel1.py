"""A Sentinel-1 series beside the optical one, taken out of a batch and put into a view."""

from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor, nn

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, IMAGE_S1, S1_KEYS
from .planar import PLANES
from .radiometric import Normalize

__all__ = ['PLANES_S1', 'NormalizeS1', 's1_of', 'with_s1']

#: Key of the Sentinel-1 planes of a view, ``(B, N, C1, T1', L)``.
PLANES_S1: Final = 'planes_s1'


def s1_of(batch: dict[str, Any]) -> dict[str, Any] | None:
    """The Sentinel-1 series of a batch, under the keys of an optical one, or None without.

    Raises:
        SITSError: If the batch lacks its dates, or it lies on another grid.
    """
    if IMAGE_S1 not in batch:
        return None
    series = {key: batch[name] for key, name in S1_KEYS.items() if name in batch}
    if ACQUISITION_TIMES not in series:
        raise SITSError(
            f'a batch with {IMAGE_S1!r} needs {S1_KEYS[ACQUISITION_TIMES]!r}, got the keys '
            f'{sorted(batch)}'
        )
    grids = [tuple(values[IMAGE].shape[-2:]) for values in (batch, series)]
    if grids[0] != grids[1]:
        raise SITSError(
            f'{IMAGE_S1!r} must lie on the grid of {IMAGE!r}, {grids[0]} pixels, got {grids[1]}'
        )
    return series


def with_s1(view: dict[str, Any], series: dict[str, Any]) -> dict[str, Any]:
    """A view, and beside it a Sentinel-1 series under keys of its own."""
    names = {**S1_KEYS, PLANES: PLANES_S1}
    return {**view, **{names[key]: value for key, value in series.items()}}


class NormalizeS1(nn.Module):
    """:class:`~torchgeo_sits.transforms.Normalize` of the Sentinel-1 series of a batch.

    Batches without one are left as they are.
    """

    def __init__(self, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> None:
        """Initialise a new NormalizeS1 instance.

        Args:
            mean: Mean of each band, ``(C1,)``, in the unit of the image.
            std: Standard deviation of each band, ``(C1,)``, greater than 0.

        Raises:
            SITSError: If the two do not fit each other or a value is out of range.
        """
        super().__init__()
        self.normalize = Normalize(mean, std)

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Normalise ``image_s1`` ``(B, T1, C1, H, W)``, to 0 where it was not observed."""
        series = s1_of(batch)
        return batch if series is None else with_s1(batch, self.normalize(series))

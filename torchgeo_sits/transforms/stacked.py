"""Views and augmentations for frames stacked as channels, as TorchGeo's own tasks train on."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, VALID
from ..stacking import evenly_spaced, unstack
from .planar import PLANES

__all__ = ['StackedSeries']


class StackedSeries(nn.Module):
    """A view or an augmentation of series behind the interface of one of single images.

    For what calls ``augmentations(x)`` with ``(B, T * C, H, W)``, such as
    :class:`torchgeo.tasks.SimCLR` (argument *augmentations*) and
    :class:`torchgeo.tasks.MoCo` (*augmentation1* and *augmentation2*).
    :class:`torchgeo.tasks.BYOL` has no such argument: set ``task.model.augment``, which its
    training step calls, on the task once built.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import PlanarMultiView, StackedSeries
        >>> view = PlanarMultiView(local_views=0, num_paths=8, length=16, dates=(0.5, 0.5))
        >>> augmentations = StackedSeries(view, num_bands=3)
        >>> augmentations(torch.rand(2, 12 * 3, 32, 32)).shape  # 12 dates of 3 bands
        torch.Size([2, 36, 8, 16])

    **Shape.** What comes back is ``(B, T * C, H', W')``: ``H'`` and ``W'`` are those that the
    transform gives, and of planes N and L. A planar view is an image whose rows are its
    paths, each pixel with all its dates.

    **Dates.** T stays, and a channel is the same band of the same date before and after: a
    frame that a transform moved up, because it dropped others, goes back to its place. Places
    are found by acquisition times. Where a transform changed those, too
    (:class:`~torchgeo_sits.transforms.RandomDateJitter`), a frame goes to the nearest date
    that keeps the frames apart and in their order; if none was dropped, each stays.

    **Dropped dates** are 0 in all bands. Image models know no masks, and 0 is what
    :class:`~torchgeo_sits.transforms.Normalize` gives to all that was not observed: the mean.
    The nearest date that was kept would do away with the gap, but show pixels of one date as
    those of another. Normalise before, then.

    **Hidden pixels** hold what the transform left in them: clouds their ``fill``, pixels from
    outside the image 0. A stacked series comes without masks of its own, so that all its
    frames count as valid and all its pixels as clear; clouds in it may lie in any view.

    **Pairs.** The tasks call their augmentations twice on one tensor. Of a transform that
    draws several views at once, such as :class:`~torchgeo_sits.transforms.PlanarMultiView`,
    the second call gives the second view of the same draw, so that the two share a region
    and, as far as possible, no date. Any other tensor gets a new draw, also one of equal
    values. For MoCo this needs one and the same module as both augmentations.
    """

    def __init__(
        self,
        transform: nn.Module,
        *,
        num_bands: int,
        acquisition_times: Sequence[int] | None = None,
    ) -> None:
        """Initialise a new StackedSeries instance.

        Args:
            transform: A view, a module that draws a list of views of one size, or an
                augmentation of whole batches, all called with a batch of the contract.
            num_bands: Number of bands C.
            acquisition_times: T dates, ascending, seconds since 1970-01-01 UTC; evenly over
                a year if None.

        Raises:
            SITSError: If *num_bands* is below 1, the dates are not ascending, or *transform*
                draws local views.
        """
        super().__init__()
        if num_bands < 1:
            raise SITSError(f'expected num_bands of at least 1, got {num_bands}')
        times = None if acquisition_times is None else list(acquisition_times)
        if times is not None and (not times or sorted(set(times)) != times):
            raise SITSError(
                f'expected acquisition_times in ascending order, none of them twice, got {times}'
            )
        if local := getattr(transform, 'local_views', 0):
            raise SITSError(
                f'expected a transform without local views, got local_views={local}: the tasks '
                'compare two views, and local ones have another size; set local_views=0'
            )
        self.transform = transform
        self.num_bands = num_bands
        self.acquisition_times = times
        self._drawn_from: Tensor | None = None
        self._waiting: list[dict[str, Any]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Transform stacked series.

        Args:
            x: ``(B, T * C, H, W)``, all bands of the first date first, on any device.

        Returns:
            ``(B, T * C, H', W')``.

        Raises:
            SITSError: If the shape does not fit the bands and dates.
        """
        dates = torch.tensor(self._dates(x), device=x.device)
        view = self._view(x, dates)
        image = view[PLANES].permute(0, 3, 2, 1, 4) if PLANES in view else view[IMAGE]
        valid = view[VALID]
        places = _places(view[ACQUISITION_TIMES], valid, dates)

        # The other way round: which frame each date shows, or none.
        none = valid.shape[1]
        frame = valid.new_full((len(x), len(dates) + 1), none, dtype=torch.int64)
        number = torch.arange(none, device=x.device).expand_as(valid)
        frame.scatter_(1, places.where(valid, len(dates)), number.where(valid, none))
        frame = frame[:, :-1]
        sample = torch.arange(len(x), device=x.device)[:, None]
        shown = image[sample, frame.clamp(max=none - 1)]
        return shown.masked_fill_((frame == none)[..., None, None, None], 0).flatten(1, 2)

    def _dates(self, x: Tensor) -> list[int]:
        """Dates of the frames of *x*, in seconds since 1970-01-01 UTC."""
        if self.acquisition_times is not None:
            return self.acquisition_times
        if x.ndim != 4 or not x.shape[1] or x.shape[1] % self.num_bands:
            raise SITSError(
                'expected frames stacked as channels, (B, T * C, H, W), with C = '
                f'num_bands={self.num_bands}, got {tuple(x.shape)}'
                + (': stack the frames by x.flatten(1, 2)' if x.ndim == 5 else '')
            )
        return evenly_spaced(x.shape[1] // self.num_bands)

    def _view(self, x: Tensor, dates: Tensor) -> dict[str, Any]:
        """The next view of those drawn from *x*, or the first of a new draw."""
        if x is not self._drawn_from:
            image, times, valid = unstack(x, dates, self.num_bands)
            drawn = self.transform({IMAGE: image, ACQUISITION_TIMES: times, VALID: valid})
            self._waiting = list(drawn) if isinstance(drawn, list | tuple) else [drawn]
        view = self._waiting.pop(0)
        # Holding on to the tensor keeps its identity from going to another one.
        self._drawn_from = x if self._waiting else None
        return view


def _places(times: Tensor, valid: Tensor, dates: Tensor) -> Tensor:
    """Places of frames among the dates, each frame its own and all in their order.

    Args:
        times: ``(B, T')`` int64, ascending where valid.
        valid: ``(B, T')`` bool, at most T of them in a sample.
        dates: ``(T,)`` int64, ascending.

    Returns:
        ``(B, T')`` int64, anything where not valid.
    """
    nearest = (times[..., None] - dates).abs().argmin(-1)
    rank = valid.cumsum(1) - 1
    # How many places a frame skips can but grow along a series, up to the number left free.
    skipped = (nearest - rank).masked_fill(~valid, 0).clamp(min=0).cummax(1).values
    return rank + skipped.minimum(len(dates) - valid.sum(1, keepdim=True))

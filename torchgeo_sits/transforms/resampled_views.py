"""Views without planes: other dates of the same images, the baseline of planar views."""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import IMAGE
from .dates import Dates
from .path_drawing import Region
from .views import MultiView, View

__all__ = ['ResamplingMultiView']


class _ResampledView(View):
    """A square of pixels on some of the dates.

    Args:
        crop: Side of the square in pixels; the whole image by default.
        dates: Least and most dates of a view.
        augment: Augmentation of the view.

    Raises:
        SITSError: If a number is out of range.
    """

    def __init__(self, *, crop: int | None, dates: Dates, augment: nn.Module | None) -> None:
        super().__init__(dates=dates, augment=augment)
        if crop is not None and crop < 1:
            raise SITSError(f'expected a crop of at least 1 pixel, got {crop}')
        self.crop = crop

    def generate_parameters(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        dates: dict[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Draw a square, and dates where they are not given."""
        if dates is None:
            (dates,) = self.draw_dates(batch, generator=generator)
        side = self.crop or max(batch[IMAGE].shape[-2:])
        return {'paths': Region(batch, side, generator=generator).block, **dates}

    def cut(self, series: dict[str, Any], paths: Tensor) -> dict[str, Any]:
        """As :meth:`View.cut`; an image that is shown whole is not copied."""
        return (
            series if paths.shape[-2:] == series[IMAGE].shape[-2:] else super().cut(series, paths)
        )


class ResamplingMultiView(MultiView[_ResampledView]):
    """Draw several subsets of the dates of each sample, all pixels in their places.

    Called as :class:`~torchgeo_sits.transforms.PlanarMultiView` is, and draws its dates in
    the same way, so that the two differ in the planes alone. A view is a dictionary:

    =====================  ====================  =========================================
    key                    shape                 meaning
    =====================  ====================  =========================================
    ``image``              ``(B, T', C, h, w)``  dtype of the image, 0 in padding
    ``acquisition_times``  ``(B, T')``           int64 seconds, 0 in padding
    ``valid``              ``(B, T')``           bool, False in padding
    ``mask_clear``         ``(B, T', h, w)``     bool, False in padding
    ``paths``              ``(B, h, w)``         int64, index map: each row shown is a path
    ``size``               ``(H, W)``            two integers, grid of the paths
    =====================  ====================  =========================================

    ``T'`` depends on *dates* and T only, never on the draw. Where the batch has a Sentinel-1
    series, ``image_s1`` ``(B, T1', C1, h, w)`` shows the same pixels on dates of its own, with
    ``acquisition_times_s1``, ``valid_s1`` and ``mask_clear_s1``.
    """

    def __init__(
        self,
        *,
        global_views: int = 2,
        local_views: int = 4,
        dates: Dates = (0.4, 0.5),
        local_dates: Dates = (0.2, 0.3),
        crop: int | None = None,
        local_crop: int | None = None,
        augment: nn.Module | None = None,
    ) -> None:
        """Initialise a new ResamplingMultiView instance.

        Args:
            global_views: Number of global views, first in the list.
            local_views: Number of local views, 0 for none.
            dates: Least and most dates of a global view, as two counts (int) or two fractions
                (float) of the dates on which a sample has a clear pixel.
            local_dates: Least and most dates of a local view.
            crop: Side in pixels of the random square a global view shows; all by default.
            local_crop: The same for a local view.
            augment: Augmentation of each view, drawn anew for each.

        Raises:
            SITSError: If a number is out of range.
        """
        views = [
            _ResampledView(crop=side, dates=taken, augment=augment)
            for side, taken in ((crop, dates), (local_crop, local_dates))
        ]
        super().__init__(*views, global_views=global_views, local_views=local_views)

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> list[dict[str, Any]]:
        """Draw dates and crops.

        Args:
            batch: A batch of the contract.
            generator: Source of randomness; torch's default without one.

        Returns:
            For each view ``paths`` ``(B, h, w)`` int64, ``frames`` ``(B, T')`` int64 and
            ``keep`` ``(B, T')`` bool, and ``frames_s1`` and ``keep_s1`` where there is a
            Sentinel-1 series.
        """
        return [
            view.generate_parameters(batch, generator=generator, dates=dates)
            for view, number in self.groups
            for dates in view.draw_dates(batch, views=number, generator=generator)
        ]

"""Views without planes: other dates of the same images, the baseline of planar views."""

from typing import Any

import torch
from torch import nn

from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR
from .dates import Dates, check_dates, draw_dates, observed, take_dates
from .pieces import Region
from .planar import PATHS, SIZE, masks_to_planes, to_planes

__all__ = ['ResamplingMultiView']


class ResamplingMultiView(nn.Module):
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

    ``T'`` depends on *dates* and T only, never on the draw.
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
            ValueError: If a number is out of range.
        """
        super().__init__()
        check_dates(dates)
        check_dates(local_dates)
        if global_views < 1 or local_views < 0:
            raise ValueError(
                'expected global_views >= 1 and local_views >= 0, got '
                f'{global_views} and {local_views}'
            )
        for side in (crop, local_crop):
            if side is not None and side < 1:
                raise ValueError(f'expected a crop of at least 1 pixel, got {side}')
        self.global_views = global_views
        self.local_views = local_views
        self.dates = dates
        self.local_dates = local_dates
        self.crop = crop
        self.local_crop = local_crop
        self.augment = augment
        self._params: list[dict[str, Any]] = []

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> list[dict[str, Any]]:
        """Draw dates and crops.

        Args:
            batch: A batch of the contract.
            generator: Source of randomness; torch's default without one.

        Returns:
            For each view ``paths`` ``(B, h, w)`` int64, ``frames`` ``(B, T')`` int64 and
            ``keep`` ``(B, T')`` bool.
        """
        params, size = [], batch[IMAGE].shape[-2:]
        for number, dates, side in (
            (self.global_views, self.dates, self.crop),
            (self.local_views, self.local_dates, self.local_crop),
        ):
            if not number:
                continue
            for frames, keep in zip(
                *draw_dates(batch, dates, views=number, generator=generator), strict=True
            ):
                region = Region(batch, side or max(size), generator=generator)
                params.append({'paths': region.block, 'frames': frames, 'keep': keep})
        return params

    def forward(
        self,
        batch: dict[str, Any],
        params: list[dict[str, Any]] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> list[dict[str, Any]]:
        """Draw the views of a batch, or take again those that *params* describe.

        Args:
            batch: A batch of the contract, on any device.
            params: Parameters to replay; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            The views, the global ones first.
        """
        if params is None:
            params = self.generate_parameters(batch, generator=generator)
        views, used, size = [], [], batch[IMAGE].shape[-2:]
        for drawn in params:
            source, paths = batch, drawn['paths']
            if paths.shape[-2:] != size:
                source = {
                    IMAGE: to_planes(batch[IMAGE], paths).permute(0, 3, 2, 1, 4),
                    ACQUISITION_TIMES: batch[ACQUISITION_TIMES],
                    MASK_CLEAR: masks_to_planes(observed(batch)[1], paths).transpose(1, 2),
                }
            view = take_dates(source, drawn['frames'], drawn['keep'])
            drawn = dict(drawn)
            if self.augment is not None:
                view = self.augment(view, drawn.get('augment'), generator=generator)
                drawn['augment'] = self.augment._params
            views.append({**view, PATHS: paths, SIZE: tuple(size)})
            used.append(drawn)
        self._params = used
        return views

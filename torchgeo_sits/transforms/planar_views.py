"""Planar views: random planes of random dates, the input of self-supervised methods."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR, S1_KEYS
from .dates import Dates
from .path_drawing import Kind, Region, check_kind, draw_paths
from .planar import PLANES
from .sentinel1 import PLANES_S1
from .views import MultiView, View

__all__ = ['PlanarMultiView', 'RandomPlanarView']


class RandomPlanarView(View):
    """Draw planes along random paths, with a random subset of the dates.

    A view is a dictionary:

    =====================  ====================  =========================================
    key                    shape                 meaning
    =====================  ====================  =========================================
    ``planes``             ``(B, N, C, T', L)``  dtype of the image, 0 in padding
    ``acquisition_times``  ``(B, T')``           int64 seconds, 0 in padding
    ``valid``              ``(B, T')``           bool, False in padding
    ``mask_clear``         ``(B, N, T', L)``     bool, False in padding
    ``paths``              ``(B, N, L)``         int64, index map of the planes
    ``size``               ``(H, W)``            two integers, grid of the paths
    =====================  ====================  =========================================

    ``T'`` depends on *dates* and T only, never on the draw. Where the batch has a Sentinel-1
    series, ``planes_s1`` ``(B, N, C1, T1', L)`` lie along the same paths, on dates of their own
    drawn in the same way, with ``acquisition_times_s1``, ``valid_s1`` and ``mask_clear_s1``.

    Drawing lies in :meth:`generate_parameters`, and the last parameters stay in ``_params``:
    ``view(batch, view._params)`` gives the same view again, bit for bit.
    """

    def __init__(
        self,
        *,
        kind: Kind = 'mixed',
        num_paths: int = 8,
        length: int = 32,
        dates: Dates = (0.4, 0.6),
        region: int | None = None,
        augment: nn.Module | None = None,
    ) -> None:
        """Initialise a new RandomPlanarView instance.

        Args:
            kind: Kind of path; 'mixed' draws one per sample.
            num_paths: Paths per view, N.
            length: Pixels per path, L.
            dates: Least and most dates per view, as two counts (int) or two fractions (float)
                of the dates on which a sample has a clear pixel in its region.
            region: Side of the random square that the paths of a sample run in, in pixels.
                By default it has at least *length* and about twice as many pixels as the
                paths together.
            augment: Augmentation of a batch, such as
                :class:`~torchgeo_sits.transforms.RandomGainOffset`. It is given the optical
                planes as an image ``(B, T', C, N, L)``, the other keys alike, and must keep
                shapes.

        Raises:
            SITSError: If a number is out of range.
        """
        super().__init__(dates=dates, augment=augment)
        check_kind(kind)
        for name, value in (('num_paths', num_paths), ('length', length), ('region', region)):
            if value is None and name == 'region':
                continue
            if not isinstance(value, int) or value < 1:
                raise SITSError(f'expected {name} of at least 1, a whole number, got {value!r}')
        self.kind = kind
        self.num_paths = num_paths
        self.length = length
        self.region = region or max(length, math.ceil(math.sqrt(2 * num_paths * length)))

    def generate_parameters(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        region: Region | None = None,
        dates: dict[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Draw paths and dates.

        Args:
            batch: ``image`` ``(B, T, C, H, W)``, and ``valid`` and ``mask_clear`` if any.
            generator: Source of randomness; torch's default without one.
            region: Where the paths run; drawn by default.
            dates: From :meth:`draw_dates`; drawn by default.

        Returns:
            ``paths`` ``(B, N, L)`` int64, ``frames`` ``(B, T')`` int64, ``keep`` ``(B, T')``
            bool, and ``frames_s1`` and ``keep_s1`` where there is a Sentinel-1 series.
        """
        if region is None:
            region = Region(batch, self.region, generator=generator)
        paths = draw_paths(
            self.kind, self.num_paths, self.length, region=region, generator=generator
        )
        if dates is None:
            (dates,) = self.draw_dates(batch, region=region, generator=generator)
        return {'paths': paths, **dates}

    def apply_transform(
        self,
        batch: dict[str, Any],
        params: Mapping[str, Any],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Cut the planes that *params* describe, and augment them.

        Arguments are those of :meth:`View.apply_transform`.

        Returns:
            The view.
        """
        view = super().apply_transform(batch, params, generator=generator)
        for image, planes in ((IMAGE, PLANES), (S1_KEYS[IMAGE], PLANES_S1)):
            if image in view:
                view[planes] = view.pop(image).permute(0, 3, 2, 1, 4)
        for mask in (MASK_CLEAR, S1_KEYS[MASK_CLEAR]):
            if mask in view:
                view[mask] = view[mask].transpose(1, 2)
        return view


class PlanarMultiView(MultiView[RandomPlanarView]):
    """Draw several planar views of each sample: few large ones, then several small ones.

    This is multi-crop [1]_ with planes instead of crops. All views of a sample run in one
    random region, so that they share pixels; the global views take turns at the dates of a
    sample, so that they share as few dates as possible (and none up to fractions of
    ``1 / global_views``), and so do the local views among themselves.

    The global views come first in the list, in the order in which
    :class:`lightly.loss.DINOLoss` wants those of teacher and student.

    References:
        .. [1] M. Caron et al., "Unsupervised learning of visual features by contrasting
           cluster assignments", NeurIPS 2020, section 3.2 (multi-crop); used by DINO, ICCV
           2021, section 3.1.
    """

    def __init__(
        self,
        *,
        global_views: int = 2,
        local_views: int = 4,
        kind: Kind = 'mixed',
        num_paths: int = 8,
        length: int = 32,
        dates: Dates = (0.4, 0.5),
        local_num_paths: int = 4,
        local_length: int = 16,
        local_dates: Dates = (0.2, 0.3),
        region: int | None = None,
        augment: nn.Module | None = None,
    ) -> None:
        """Initialise a new PlanarMultiView instance.

        Args:
            global_views: Number of global views; two for SimCLR and BYOL, too.
            local_views: Number of local views, 0 for none.
            kind: Kind of path; 'mixed' draws one per view and sample.
            num_paths: Paths per global view.
            length: Pixels per path of a global view.
            dates: Least and most dates of a global view, as for :class:`RandomPlanarView`.
            local_num_paths: Paths per local view.
            local_length: Pixels per path of a local view.
            local_dates: Least and most dates of a local view.
            region: Side of the square that all views of a sample run in, in pixels; by
                default as for a global view.
            augment: Augmentation of each view, drawn anew for each.

        Raises:
            SITSError: If a number is out of range.
        """
        planar = RandomPlanarView(
            kind=kind,
            num_paths=num_paths,
            length=length,
            dates=dates,
            region=region,
            augment=augment,
        )
        local = RandomPlanarView(
            kind=kind,
            num_paths=local_num_paths,
            length=local_length,
            dates=local_dates,
            region=planar.region,
            augment=augment,
        )
        super().__init__(planar, local, global_views=global_views, local_views=local_views)

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> list[dict[str, Any]]:
        """Draw the paths and dates of all views, in their order.

        Args:
            batch: A batch of the contract.
            generator: Source of randomness; torch's default without one.

        Returns:
            Parameters of :class:`RandomPlanarView`, one dictionary per view.
        """
        region = Region(batch, self.global_view.region, generator=generator)
        return [
            view.generate_parameters(batch, generator=generator, region=region, dates=dates)
            for view, number in self.groups
            for dates in view.draw_dates(batch, views=number, region=region, generator=generator)
        ]

"""Planar views: random planes of random dates, the input of self-supervised methods."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, VALID
from .dates import Dates, check_dates, draw_dates, observed, take_dates
from .pieces import Kind, Region, check_kind, draw_paths
from .planar import PATHS, PLANES, SIZE, masks_to_planes, to_planes

__all__ = ['PlanarMultiView', 'RandomPlanarView']


class RandomPlanarView(nn.Module):
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

    ``T'`` depends on *dates* and T only, never on the draw.

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
                :class:`~torchgeo_sits.transforms.RandomGainOffset`. It is given the planes as
                an image ``(B, T', C, N, L)``, the other keys alike, and must keep shapes.

        Raises:
            ValueError: If a number is out of range.
        """
        super().__init__()
        check_kind(kind)
        check_dates(dates)
        for name, value in (('num_paths', num_paths), ('length', length), ('region', region)):
            if value is None and name == 'region':
                continue
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'expected {name} of at least 1, a whole number, got {value!r}')
        self.kind = kind
        self.num_paths = num_paths
        self.length = length
        self.dates = dates
        self.region = region or max(length, math.ceil(math.sqrt(2 * num_paths * length)))
        self.augment = augment
        self._params: dict[str, Any] = {}

    def generate_parameters(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        region: Region | None = None,
        dates: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Draw paths and dates.

        Args:
            batch: ``image`` ``(B, T, C, H, W)``, and ``valid`` and ``mask_clear`` if any.
            generator: Source of randomness; torch's default without one.
            region: Where the paths run; drawn by default.
            dates: Frames and what of them to keep, ``(B, T')`` each; drawn by default.

        Returns:
            ``paths`` ``(B, N, L)`` int64, ``frames`` ``(B, T')`` int64, ``keep`` ``(B, T')``
            bool.
        """
        if region is None:
            region = Region(batch, self.region, generator=generator)
        paths = draw_paths(
            self.kind, self.num_paths, self.length, region=region, generator=generator
        )
        if dates is None:
            frames, keep = draw_dates(batch, self.dates, clear=region.clear, generator=generator)
            dates = frames[0], keep[0]
        return {'paths': paths, 'frames': dates[0], 'keep': dates[1]}

    def apply_transform(
        self,
        batch: dict[str, Any],
        params: Mapping[str, Any],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Cut the planes that *params* describe, and augment them.

        Args:
            batch: ``image`` ``(B, T, C, H, W)``, ``acquisition_times`` ``(B, T)``, and
                ``valid`` and ``mask_clear`` if any.
            params: From :meth:`generate_parameters`; 'augment' holds those of the
                augmentation, where they are given.
            generator: Source of randomness for an augmentation without parameters.

        Returns:
            The view.
        """
        paths = params['paths']
        # Pixels first, then dates: of both gathers this one leaves less to the other.
        cut = {
            IMAGE: to_planes(batch[IMAGE], paths).permute(0, 3, 2, 1, 4),
            ACQUISITION_TIMES: batch[ACQUISITION_TIMES],
            MASK_CLEAR: masks_to_planes(observed(batch)[1], paths).transpose(1, 2),
        }
        view = take_dates(cut, params['frames'], params['keep'])
        if self.augment is not None:
            view = self.augment(view, params.get('augment'), generator=generator)
        return {
            PLANES: view[IMAGE].permute(0, 3, 2, 1, 4),
            ACQUISITION_TIMES: view[ACQUISITION_TIMES],
            VALID: view[VALID],
            MASK_CLEAR: view[MASK_CLEAR].transpose(1, 2),
            PATHS: paths,
            SIZE: tuple(batch[IMAGE].shape[-2:]),
        }

    def forward(
        self,
        batch: dict[str, Any],
        params: Mapping[str, Any] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Draw a view of a batch, or cut again the one that *params* describe.

        Args:
            batch: A batch of the contract, on any device.
            params: Parameters to replay; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            The view.
        """
        if params is None:
            params = self.generate_parameters(batch, generator=generator)
        view = self.apply_transform(batch, params, generator=generator)
        self._params = dict(params)
        if self.augment is not None:
            self._params['augment'] = self.augment._params
        return view


class PlanarMultiView(nn.Module):
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
            ValueError: If a number is out of range.
        """
        super().__init__()
        if global_views < 1 or local_views < 0:
            raise ValueError(
                'expected global_views >= 1 and local_views >= 0, got '
                f'{global_views} and {local_views}'
            )
        self.global_views = global_views
        self.local_views = local_views
        self.global_view = RandomPlanarView(
            kind=kind,
            num_paths=num_paths,
            length=length,
            dates=dates,
            region=region,
            augment=augment,
        )
        self.local_view = RandomPlanarView(
            kind=kind,
            num_paths=local_num_paths,
            length=local_length,
            dates=local_dates,
            region=self.global_view.region,
            augment=augment,
        )
        self._params: list[dict[str, Any]] = []

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
        params = []
        for view, number in self._groups():
            frames, keep = draw_dates(
                batch, view.dates, views=number, clear=region.clear, generator=generator
            )
            for dates in zip(frames, keep, strict=True):
                params.append(
                    view.generate_parameters(batch, generator=generator, region=region, dates=dates)
                )
        return params

    def forward(
        self,
        batch: dict[str, Any],
        params: list[dict[str, Any]] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> list[dict[str, Any]]:
        """Draw the views of a batch, or cut again those that *params* describe.

        Args:
            batch: A batch of the contract, on any device.
            params: Parameters to replay; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            Views as :class:`RandomPlanarView` describes them, the global ones first.
        """
        if params is None:
            params = self.generate_parameters(batch, generator=generator)
        views, used = [], []
        modules = [view for view, number in self._groups() for _ in range(number)]
        for view, values in zip(modules, params, strict=True):
            views.append(view(batch, values, generator=generator))
            used.append(view._params)
        self._params = used
        return views

    def _groups(self) -> list[tuple[RandomPlanarView, int]]:
        """Each kind of view with the number of them; kinds without any are left out."""
        groups = [(self.global_view, self.global_views), (self.local_view, self.local_views)]
        return [(view, number) for view, number in groups if number]

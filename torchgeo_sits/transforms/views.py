"""What views share, be they of planes or of images: pixels on some dates, drawn and replayed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR
from .dates import Dates, check_dates, draw_dates, observed, take_dates
from .path_drawing import Region
from .planar import PATHS, SIZE, masks_to_planes, to_planes
from .sentinel1 import s1_of, with_s1

__all__ = ['MultiView', 'View']


class View(nn.Module, ABC):
    """Some pixels of a batch on some of its dates, augmented.

    A Sentinel-1 series of the batch is cut along the same paths, on dates of its own, drawn in
    the same way. Augmentations are made for the optical series and leave it as it is.

    Drawing lies in :meth:`generate_parameters`, and the last parameters stay in ``_params``:
    ``view(batch, view._params)`` gives the same view again, bit for bit.

    Args:
        dates: Least and most dates per view, as two counts (int) or two fractions (float).
        augment: Augmentation of a batch. It is given the pixels as an image
            ``(B, T', C, N, L)``, the other keys alike, and must keep shapes.

    Raises:
        SITSError: If *dates* are out of range.
    """

    def __init__(self, *, dates: Dates, augment: nn.Module | None) -> None:
        super().__init__()
        check_dates(dates)
        self.dates = dates
        self.augment = augment
        self._params: dict[str, Any] = {}

    @abstractmethod
    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Any]:
        """Draw ``paths`` ``(B, N, L)`` int64, and dates as :meth:`draw_dates` does."""

    def draw_dates(
        self,
        batch: dict[str, Any],
        *,
        views: int = 1,
        region: Region | None = None,
        generator: torch.Generator | None = None,
    ) -> list[dict[str, Tensor]]:
        """Draw the dates of several views, which share as few as possible.

        Args:
            batch: A batch of the contract.
            views: Number of views.
            region: Where dates must have a clear pixel; anywhere by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            For each view ``frames`` ``(B, T')`` int64 and ``keep`` ``(B, T')`` bool, and
            ``frames_s1`` and ``keep_s1`` where the batch has a Sentinel-1 series.
        """
        drawn: list[dict[str, Tensor]] = [{} for _ in range(views)]
        for end, series in (('', batch), ('_s1', s1_of(batch))):
            if series is None:
                continue
            clear = None
            if region is not None:
                clear = masks_to_planes(observed(series)[1], region.block).transpose(1, 2)
            frames, keep = draw_dates(
                series, self.dates, views=views, clear=clear, generator=generator
            )
            for v, params in enumerate(drawn):
                params |= {f'frames{end}': frames[v], f'keep{end}': keep[v]}
        return drawn

    def apply_transform(
        self,
        batch: dict[str, Any],
        params: Mapping[str, Any],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Cut the pixels and dates that *params* describe, and augment them.

        Args:
            batch: ``image`` ``(B, T, C, H, W)``, ``acquisition_times`` ``(B, T)``, and
                ``valid`` and ``mask_clear`` if any; the same of Sentinel-1 if any.
            params: From :meth:`generate_parameters`; 'augment' holds those of the
                augmentation, where they are given.
            generator: Source of randomness for an augmentation without parameters.

        Returns:
            The view, its pixels as an image ``(B, T', C, N, L)``.
        """
        paths = params['paths']
        view = take_dates(self.cut(batch, paths), params['frames'], params['keep'])
        if self.augment is not None:
            view = self.augment(view, params.get('augment'), generator=generator)
        view |= {PATHS: paths, SIZE: tuple(batch[IMAGE].shape[-2:])}
        if (series := s1_of(batch)) is None:
            return view
        cut = self.cut(series, paths)
        return with_s1(view, take_dates(cut, params['frames_s1'], params['keep_s1']))

    def cut(self, series: dict[str, Any], paths: Tensor) -> dict[str, Any]:
        """The pixels of a series along *paths*, as an image ``(B, T, C, N, L)``."""
        return {
            IMAGE: to_planes(series[IMAGE], paths).permute(0, 3, 2, 1, 4),
            ACQUISITION_TIMES: series[ACQUISITION_TIMES],
            MASK_CLEAR: masks_to_planes(observed(series)[1], paths).transpose(1, 2),
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


class MultiView[V: View](nn.Module, ABC):
    """Several views of each sample: few global ones, then several local ones.

    Args:
        global_view: What draws a global view.
        local_view: What draws a local view.
        global_views: Number of global views, first in the list.
        local_views: Number of local views, 0 for none.

    Raises:
        SITSError: If there is no global view, or a number is below 0.
    """

    global_view: V
    local_view: V

    def __init__(
        self, global_view: V, local_view: V, *, global_views: int, local_views: int
    ) -> None:
        super().__init__()
        if global_views < 1 or local_views < 0:
            raise SITSError(
                'expected global_views >= 1 and local_views >= 0, got '
                f'{global_views} and {local_views}'
            )
        self.global_views = global_views
        self.local_views = local_views
        self.global_view = global_view
        self.local_view = local_view
        self._params: list[dict[str, Any]] = []

    @abstractmethod
    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> list[dict[str, Any]]:
        """Draw the parameters of all views, in their order.

        Args:
            batch: A batch of the contract.
            generator: Source of randomness; torch's default without one.

        Returns:
            One dictionary per view.
        """

    @property
    def groups(self) -> list[tuple[V, int]]:
        """Each kind of view with the number of them; kinds without any are left out."""
        groups = [(self.global_view, self.global_views), (self.local_view, self.local_views)]
        return [(view, number) for view, number in groups if number]

    def forward(
        self,
        batch: dict[str, Any],
        params: Sequence[dict[str, Any]] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> list[dict[str, Any]]:
        """Draw the views of a batch, or cut again those that *params* describe.

        Args:
            batch: A batch of the contract, on any device.
            params: Parameters to replay; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            The views, the global ones first.
        """
        if params is None:
            params = self.generate_parameters(batch, generator=generator)
        views, used = [], []
        modules = [view for view, number in self.groups for _ in range(number)]
        for view, values in zip(modules, params, strict=True):
            views.append(view(batch, values, generator=generator))
            used.append(view._params)
        self._params = used
        return views

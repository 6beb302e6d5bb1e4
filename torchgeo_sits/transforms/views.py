"""Views of series, the input of self-supervised methods: of planes, and of dates alone.

A view shows some pixels of a sample on some of its dates. Write a view of your own as a subclass
of :class:`View`, and a set of views as one of :class:`MultiView`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, S1_KEYS, VALID
from .batches import observed, s1_of, seen_pixels, take_dates, with_s1
from .drawing import (
    NumDates,
    PathKind,
    ViewRegion,
    check_dates,
    check_kind,
    draw_dates,
    draw_paths,
)
from .planar import PATHS, PLANES, PLANES_S1, SIZE, masks_to_planes, to_planes
from .random import uniform

__all__ = [
    'MultiView',
    'PixelMultiView',
    'PlanarMultiView',
    'RandomPlanarView',
    'ResamplingMultiView',
    'SensorMultiView',
    'SensorPixelMultiView',
    'View',
]


class View(nn.Module, ABC):
    """Base of views: some pixels of each sample of a batch on some of its dates, augmented.

    A subclass writes one method, :meth:`draw_paths`, which says what pixels a view shows. Dates,
    masks, padding, augmentation, replay and a Sentinel-1 series are taken care of here. A view
    is a dictionary:

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
    Augmentations are made for the optical series and leave it as it is.

    Where :attr:`layout` is ``'image'`` paths are the rows of a rectangle of neighbours. The view
    then has ``image`` ``(B, T', C, N, L)`` in place of ``planes``, and ``mask_clear``
    ``(B, T', N, L)``; encoders see it as a small image.

    Drawing lies in :meth:`generate_parameters`, and the last parameters stay in ``_params``:
    ``view(batch, view._params)`` gives the same view again, bit for bit.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import View
        >>> class TopRow(View):
        ...     def draw_paths(self, batch, *, region=None, generator=None):
        ...         batch_size, width = len(batch['image']), batch['image'].shape[-1]
        ...         return torch.arange(width).expand(batch_size, 1, width)
        >>> batch = {'image': torch.rand(2, 6, 3, 8, 8), 'acquisition_times': torch.arange(12)}
        >>> batch['acquisition_times'] = batch['acquisition_times'].view(2, 6)
        >>> TopRow(dates=(3, 3))(batch)['planes'].shape
        torch.Size([2, 1, 3, 3, 8])
    """

    #: Side in pixels of the random square in which the paths of a sample run; None for the
    #: whole image. All views of a :class:`MultiView` share the square.
    region: int | None = None
    #: ``'planes'``, or ``'image'`` for paths that are the rows of a rectangle of neighbours.
    layout: ClassVar[Literal['planes', 'image']] = 'planes'

    def __init__(self, *, dates: NumDates = (0.4, 0.6), augment: nn.Module | None = None) -> None:
        """Initialise a new View instance.

        Args:
            dates: Least and most dates per view, as two counts (int) or two fractions (float)
                of the dates on which a sample has a clear pixel (in the region, if any).
            augment: Augmentation of a batch, such as
                :class:`~torchgeo_sits.transforms.RandomGainOffset`. It is given the pixels as
                an image ``(B, T', C, N, L)``, the other keys alike, and must keep shapes.

        Raises:
            SITSError: If *dates* are out of range.
        """
        super().__init__()
        check_dates(dates)
        self.dates = dates
        self.augment = augment
        self._params: dict[str, Any] = {}

    @abstractmethod
    def draw_paths(
        self,
        batch: dict[str, Any],
        *,
        region: ViewRegion | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw the pixels that a view shows.

        Draw through :func:`~torchgeo_sits.transforms.uniform` and
        :func:`~torchgeo_sits.transforms.integers`, which give the same numbers on all devices.

        Args:
            batch: ``image`` ``(B, T, C, H, W)``, and ``valid`` and ``mask_clear`` if any.
            region: Square of each sample in which the paths run, where :attr:`region` gives
                its side.
            generator: Source of randomness; torch's default without one.

        Returns:
            Flat indices ``row * W + column``, ``(B, N, L)`` int64, on the device of the image.
        """

    def draw_dates(
        self,
        batch: dict[str, Any],
        *,
        views: int = 1,
        region: ViewRegion | None = None,
        generator: torch.Generator | None = None,
    ) -> list[dict[str, Tensor]]:
        """Draw the dates of several views, which share as few as possible.

        Args:
            batch: A batch of the contract.
            views: Number of views.
            region: Square in which dates must have a clear pixel; the whole image by default.
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
                clear = masks_to_planes(observed(series)[1], region.pixels).transpose(1, 2)
            frames, keep = draw_dates(
                series, self.dates, views=views, clear=clear, generator=generator
            )
            for v, params in enumerate(drawn):
                params |= {f'frames{end}': frames[v], f'keep{end}': keep[v]}
        return drawn

    def generate_parameters(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        region: ViewRegion | None = None,
        dates: dict[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Draw paths and dates.

        Args:
            batch: ``image`` ``(B, T, C, H, W)``, and ``valid`` and ``mask_clear`` if any.
            generator: Source of randomness; torch's default without one.
            region: Square in which the paths run; drawn by default where :attr:`region` is
                set.
            dates: From :meth:`draw_dates`; drawn by default.

        Returns:
            ``paths`` ``(B, N, L)`` int64, ``frames`` ``(B, T')`` int64, ``keep`` ``(B, T')``
            bool, and ``frames_s1`` and ``keep_s1`` where there is a Sentinel-1 series.
        """
        if region is None and self.region is not None:
            region = ViewRegion(batch, self.region, generator=generator)
        paths = self.draw_paths(batch, region=region, generator=generator)
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
        """Cut the pixels and dates that *params* describe, and augment them.

        Args:
            batch: ``image`` ``(B, T, C, H, W)``, ``acquisition_times`` ``(B, T)``, and
                ``valid`` and ``mask_clear`` if any; the same of Sentinel-1 if any.
            params: From :meth:`generate_parameters`; 'augment' holds those of the
                augmentation, where they are given.
            generator: Source of randomness for an augmentation without parameters.

        Returns:
            The view.
        """
        paths = params['paths']
        view = take_dates(self._cut(batch, paths), params['frames'], params['keep'])
        if self.augment is not None:
            view = self.augment(view, params.get('augment'), generator=generator)
        view |= {PATHS: paths, SIZE: tuple(batch[IMAGE].shape[-2:])}
        if (series := s1_of(batch)) is not None:
            cut = self._cut(series, paths)
            view = with_s1(view, take_dates(cut, params['frames_s1'], params['keep_s1']))
        if self.layout == 'planes':
            for image, planes in ((IMAGE, PLANES), (S1_KEYS[IMAGE], PLANES_S1)):
                if image in view:
                    view[planes] = view.pop(image).permute(0, 3, 2, 1, 4)
            for mask in (MASK_CLEAR, S1_KEYS[MASK_CLEAR]):
                if mask in view:
                    view[mask] = view[mask].transpose(1, 2)
        return view

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

    def _cut(self, series: dict[str, Any], paths: Tensor) -> dict[str, Any]:
        """Cut the pixels of a series along *paths*, as an image ``(B, T, C, N, L)``."""
        return {
            IMAGE: to_planes(series[IMAGE], paths).permute(0, 3, 2, 1, 4),
            ACQUISITION_TIMES: series[ACQUISITION_TIMES],
            MASK_CLEAR: masks_to_planes(observed(series)[1], paths).transpose(1, 2),
        }


class MultiView(nn.Module):
    """Several views of each sample: few global ones, then several local ones.

    The global views take turns at the dates of a sample, so that they share as few dates as
    possible, and so do the local views among themselves.

    **Views of one's own** are a class that takes ``global_views``, ``local_views`` and
    ``augment`` by keyword, beside options of its own, and whose instances have what the tasks
    use:

    - the attributes ``global_views`` and ``local_views``, their numbers;
    - called with a batch of the contract they return the list of views, the global ones first,
      each a dictionary as :class:`View` describes it, those of a kind of one shape.

    A subclass whose ``__init__`` builds a :class:`View` or two and hands them to this class has
    all of that. Give its dotted path as ``views`` of a task, and its options as
    ``views_kwargs``.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import MultiView, RandomPlanarView
        >>> whole = RandomPlanarView(num_paths=8, length=16, dates=(4, 4))
        >>> local = RandomPlanarView(num_paths=2, length=8, dates=(2, 2))
        >>> views = MultiView(whole, local, global_views=2, local_views=3)
        >>> times = torch.arange(24).view(2, 12)
        >>> batch = {'image': torch.rand(2, 12, 3, 32, 32), 'acquisition_times': times}
        >>> [tuple(view['planes'].shape) for view in views(batch)][1:3]
        [(2, 8, 3, 4, 16), (2, 2, 3, 2, 8)]
    """

    def __init__(
        self,
        global_view: View,
        local_view: View | None = None,
        *,
        global_views: int = 2,
        local_views: int = 0,
    ) -> None:
        """Initialise a new MultiView instance.

        Args:
            global_view: Draws a global view. Where it has a region, one is drawn for each
                sample, and all its views run in it.
            local_view: Draws a local view; as a global one by default.
            global_views: Number of global views, first in the list.
            local_views: Number of local views, 0 for none.

        Raises:
            SITSError: If there is no global view, or a number is below 0.
        """
        super().__init__()
        if global_views < 1 or local_views < 0:
            raise SITSError(
                'expected global_views >= 1 and local_views >= 0, got '
                f'{global_views} and {local_views}'
            )
        self.global_views = global_views
        self.local_views = local_views
        self.global_view = global_view
        self.local_view = global_view if local_view is None else local_view
        self._params: list[dict[str, Any]] = []

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> list[dict[str, Any]]:
        """Draw the paths and dates of all views, in their order.

        Args:
            batch: A batch of the contract.
            generator: Source of randomness; torch's default without one.

        Returns:
            Parameters of :class:`View`, one dictionary per view.
        """
        side = self.global_view.region
        region = None if side is None else ViewRegion(batch, side, generator=generator)
        return [
            view.generate_parameters(batch, generator=generator, region=region, dates=dates)
            for view, number in self._groups
            for dates in view.draw_dates(batch, views=number, region=region, generator=generator)
        ]

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
        modules = [view for view, number in self._groups for _ in range(number)]
        for view, values in zip(modules, params, strict=True):
            views.append(view(batch, values, generator=generator))
            used.append(view._params)
        self._params = used
        return views

    @property
    def _groups(self) -> list[tuple[View, int]]:
        """Each kind of view with the number of them; kinds without any are left out."""
        groups = [(self.global_view, self.global_views), (self.local_view, self.local_views)]
        return [(view, number) for view, number in groups if number]


class RandomPlanarView(View):
    """Draw planes along random paths, with a random subset of the dates.

    A plane is an image of one path: time runs down, the pixels of the path run to the right.
    :class:`View` lists what a view holds.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import RandomPlanarView
        >>> times = torch.arange(24).view(2, 12)
        >>> batch = {'image': torch.rand(2, 12, 3, 32, 32), 'acquisition_times': times}
        >>> view = RandomPlanarView(kind='hilbert', num_paths=4, length=16, dates=(0.5, 0.5))
        >>> sorted(drawn := view(batch))
        ['acquisition_times', 'mask_clear', 'paths', 'planes', 'size', 'valid']
        >>> drawn['planes'].shape
        torch.Size([2, 4, 3, 6, 16])
    """

    def __init__(
        self,
        *,
        kind: PathKind = 'mixed',
        num_paths: int = 8,
        length: int = 32,
        dates: NumDates = (0.4, 0.6),
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
            augment: Augmentation of the planes, as for :class:`View`.

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

    def draw_paths(
        self,
        batch: dict[str, Any],
        *,
        region: ViewRegion | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw paths of the kind.

        Args:
            batch: A batch of the contract.
            region: Square of each sample in which the paths run.
            generator: Source of randomness; torch's default without one.

        Returns:
            ``(B, N, L)`` int64.
        """
        assert region is not None
        return draw_paths(
            self.kind, self.num_paths, self.length, region=region, generator=generator
        )


class PlanarMultiView(MultiView):
    """Draw several planar views of each sample: few large ones, then several small ones.

    This is multi-crop [1]_ with planes instead of crops. All views of a sample run in one
    random region, so that they share pixels; the global views share no date up to fractions of
    ``1 / global_views``.

    The global views come first in the list, in the order in which
    :class:`lightly.loss.DINOLoss` wants those of teacher and student.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import PlanarMultiView
        >>> times = torch.arange(24).view(2, 12)
        >>> batch = {'image': torch.rand(2, 12, 3, 32, 32), 'acquisition_times': times}
        >>> views = PlanarMultiView(global_views=2, local_views=4)(batch)
        >>> [tuple(view['planes'].shape) for view in views[1:3]]
        [(2, 8, 3, 6, 32), (2, 4, 3, 4, 16)]

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
        kind: PathKind = 'mixed',
        num_paths: int = 8,
        length: int = 32,
        dates: NumDates = (0.4, 0.5),
        local_num_paths: int = 4,
        local_length: int = 16,
        local_dates: NumDates = (0.2, 0.3),
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


class _ResampledView(View):
    """A square of pixels on some of the dates."""

    layout = 'image'

    def __init__(self, *, crop: int | None, dates: NumDates, augment: nn.Module | None) -> None:
        super().__init__(dates=dates, augment=augment)
        if crop is not None and crop < 1:
            raise SITSError(f'expected a crop of at least 1 pixel, got {crop}')
        self.crop = crop

    def draw_paths(
        self,
        batch: dict[str, Any],
        *,
        region: ViewRegion | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw a square, or take the whole image: each row is a path."""
        side = self.crop or max(batch[IMAGE].shape[-2:])
        return ViewRegion(batch, side, generator=generator).pixels

    def _cut(self, series: dict[str, Any], paths: Tensor) -> dict[str, Any]:
        # An image that is shown whole is not copied.
        if paths.shape[-2:] == series[IMAGE].shape[-2:]:
            return series
        return super()._cut(series, paths)


class ResamplingMultiView(MultiView):
    """Draw several subsets of the dates of each sample, all pixels in their places.

    The baseline of planar views: called as :class:`PlanarMultiView` is, and draws its dates in
    the same way, so that the two differ in the planes alone. A view has the keys of
    :class:`View` in its layout ``'image'``: ``image`` ``(B, T', C, h, w)`` in place of planes,
    and ``paths`` ``(B, h, w)``, where each row shown is a path.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import ResamplingMultiView
        >>> times = torch.arange(24).view(2, 12)
        >>> batch = {'image': torch.rand(2, 12, 3, 32, 32), 'acquisition_times': times}
        >>> views = ResamplingMultiView(local_crop=16)(batch)
        >>> [tuple(view['image'].shape) for view in views[1:3]]
        [(2, 6, 3, 32, 32), (2, 4, 3, 16, 16)]
    """

    def __init__(
        self,
        *,
        global_views: int = 2,
        local_views: int = 4,
        dates: NumDates = (0.4, 0.5),
        local_dates: NumDates = (0.2, 0.3),
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
        super().__init__(
            _ResampledView(crop=crop, dates=dates, augment=augment),
            _ResampledView(crop=local_crop, dates=local_dates, augment=augment),
            global_views=global_views,
            local_views=local_views,
        )


class PixelMultiView(ResamplingMultiView):
    """Draw single pixels of each sample, and several views of each on dates of their own.

    Each pixel is a sample by itself: it has its own dates and augmentations, and is told from all
    other pixels of the batch. At equal cost a step compares many more series than with planes,
    whose neighbours resemble each other; what neighbours could tell is not seen. Views are those of
    :class:`ResamplingMultiView`, of B * *pixels* images of one pixel.

    Only whole views can be compared: a pixel has no objects, and no other pixels.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import PixelMultiView
        >>> times = torch.arange(24).view(2, 12)
        >>> batch = {'image': torch.rand(2, 12, 3, 32, 32), 'acquisition_times': times}
        >>> views = PixelMultiView(pixels=50)(batch)
        >>> [tuple(view['image'].shape) for view in views]
        [(100, 6, 3, 1, 1), (100, 6, 3, 1, 1)]
    """

    #: Read by tasks, which refuse to compare objects or pixels within such views.
    single_pixels: ClassVar[bool] = True

    def __init__(
        self,
        *,
        pixels: int = 64,
        global_views: int = 2,
        local_views: int = 0,
        dates: NumDates = (0.4, 0.5),
        local_dates: NumDates = (0.2, 0.3),
        augment: nn.Module | None = None,
    ) -> None:
        """Initialise a new PixelMultiView instance.

        Args:
            pixels: Pixels of each sample, drawn among those that are clear on any date. Where
                there are fewer some come more than once.
            global_views: Number of global views, first in the list.
            local_views: Number of local views, 0 for none.
            dates: Least and most dates of a global view, as two counts (int) or two fractions
                (float) of the dates on which a pixel is clear.
            local_dates: Least and most dates of a local view.
            augment: Augmentation of each view, drawn anew for each pixel.

        Raises:
            SITSError: If a number is out of range.
        """
        super().__init__(
            global_views=global_views,
            local_views=local_views,
            dates=dates,
            local_dates=local_dates,
            augment=augment,
        )
        if pixels < 1:
            raise SITSError(f'expected pixels of at least 1, got {pixels}')
        self.pixels = pixels

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> list[dict[str, Any]]:
        """Draw the pixels of all views, and the dates of each view.

        Args:
            batch: A batch of the contract.
            generator: Source of randomness; torch's default without one.

        Returns:
            Parameters of :class:`View`, one dictionary per view, each with the flat indices
            ``pixels`` ``(B, N)`` int64.
        """
        pixels = self._draw_pixels(batch, generator)
        return self._draw_dates(_single_pixels(batch, pixels), pixels, generator)

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
            The views of B * N samples of one pixel, the global ones first.
        """
        pixels = self._draw_pixels(batch, generator) if params is None else params[0]['pixels']
        # Once for the dates and the views: it copies all dates of the pixels.
        singles = _single_pixels(batch, pixels)
        if params is None:
            params = self._draw_dates(singles, pixels, generator)
        return super().forward(singles, params, generator=generator)

    def _draw_dates(
        self, singles: dict[str, Any], pixels: Tensor, generator: torch.Generator | None
    ) -> list[dict[str, Any]]:
        """Draw the parameters of all views of samples that were made of *pixels* ``(B, N)``."""
        drawn = super().generate_parameters(singles, generator=generator)
        return [{**params, 'pixels': pixels} for params in drawn]

    def _draw_pixels(self, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        """Draw flat indices ``(B, N)`` int64 of pixels that were seen, of all where none was."""
        seen = seen_pixels(batch, s1=True).flatten(1)
        order = uniform(tuple(seen.shape), generator=generator, device=seen.device)
        order = order.masked_fill(~seen, 2.0).argsort(1)
        number = seen.sum(1, keepdim=True)
        number = torch.where(number > 0, number, seen.shape[1])
        return order.gather(1, torch.arange(self.pixels, device=seen.device) % number)


def _single_pixels(batch: dict[str, Any], pixels: Tensor) -> dict[str, Any]:
    """Make samples of pixels.

    Args:
        batch: A batch of B samples.
        pixels: ``(B, N)`` int64, flat indices.

    Returns:
        A batch of B * N samples of one pixel, those of the first sample first.
    """
    number, paths = pixels.shape[1], pixels[..., None]
    valid, clear = observed(batch)
    singles = {
        IMAGE: to_planes(batch[IMAGE], paths).permute(0, 1, 3, 2, 4).flatten(0, 1)[..., None],
        ACQUISITION_TIMES: batch[ACQUISITION_TIMES].repeat_interleave(number, 0),
        VALID: valid.repeat_interleave(number, 0),
        MASK_CLEAR: masks_to_planes(clear, paths).flatten(0, 1)[..., None],
    }
    series = s1_of(batch)
    return singles if series is None else with_s1(singles, _single_pixels(series, pixels))


class SensorMultiView(ResamplingMultiView):
    """Show a place to the optical sensor in one view, and to Sentinel-1 in the next.

    Two views of one place are what the two sensors saw of it, as where OmniSat [1]_ contrasts
    modalities and MALICE [2]_ the series of the two: an encoder keeps what both know. The views
    are those of :class:`ResamplingMultiView`, with dates of their own; in turns, beginning with
    Sentinel-1 hidden, no frame of the other sensor is valid. A sample that a view's sensor has
    not seen is shown as the other did, so that no view is empty.

    Encoders take Sentinel-1 (``s1_channels``), or the method trains one for each sensor
    (:class:`~torchgeo_sits.tasks.SITSSiamese`).

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import SensorMultiView
        >>> batch = {'image': torch.rand(2, 6, 3, 8, 8), 'image_s1': torch.rand(2, 4, 2, 8, 8)}
        >>> batch['acquisition_times'] = torch.arange(12).view(2, 6)
        >>> batch['acquisition_times_s1'] = torch.arange(8).view(2, 4)
        >>> optical, radar = SensorMultiView(local_views=0)(batch)
        >>> optical['valid'].any().item(), optical['valid_s1'].any().item()
        (True, False)
        >>> radar['valid'].any().item(), radar['valid_s1'].any().item()
        (False, True)

    References:
        .. [1] G. Astruc et al., "OmniSat: Self-Supervised Modality Fusion for Earth
           Observation", ECCV 2024, https://arxiv.org/abs/2404.08351.
        .. [2] "Multi-Modal Self-Supervised Learning for Aligned Satellite Image Time Series
           Encoder", code: https://github.com/ekalinicheva/malice. Both have losses of their own,
           beside which they reconstruct; here any method compares the views.
    """

    #: Read by tasks, which refuse encoders that do not take it, or train a second one.
    needs_s1: ClassVar[bool] = True

    def forward(
        self,
        batch: dict[str, Any],
        params: Sequence[dict[str, Any]] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> list[dict[str, Any]]:
        """Draw the views of a batch, or cut again those that *params* describe.

        Args:
            batch: A batch of the contract, with Sentinel-1.
            params: Parameters to replay; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            The views, the global ones first.

        Raises:
            SITSError: If the batch has no Sentinel-1 series.
        """
        if s1_of(batch) is None:
            raise SITSError(
                f'views of sensors need a Sentinel-1 series, got the keys {sorted(batch)}: give '
                'data with one (SITSFusionDataModule), or choose other views'
            )
        views = super().forward(batch, params, generator=generator)
        # Each kind begins with the optical sensor.
        turns = [*range(self.global_views), *range(self.local_views)]
        return [_one_sensor(view, bool(turn % 2)) for turn, view in zip(turns, views, strict=True)]


class SensorPixelMultiView(PixelMultiView, SensorMultiView):
    """Draw single pixels of each sample, and show each to one sensor in each view.

    Samples are those of :class:`PixelMultiView`, views of them those of :class:`SensorMultiView`:
    the one shows what Sentinel-2 saw of a pixel, the other what Sentinel-1 saw of it.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import SensorPixelMultiView
        >>> batch = {'image': torch.rand(2, 6, 3, 8, 8), 'image_s1': torch.rand(2, 4, 2, 8, 8)}
        >>> batch['acquisition_times'] = torch.arange(12).view(2, 6)
        >>> batch['acquisition_times_s1'] = torch.arange(8).view(2, 4)
        >>> optical, radar = SensorPixelMultiView(pixels=5)(batch)
        >>> optical['image'].shape, radar['image_s1'].shape
        (torch.Size([10, 3, 3, 1, 1]), torch.Size([10, 2, 2, 1, 1]))
        >>> optical['valid'].any().item(), radar['valid'].any().item()
        (True, False)
    """


def _one_sensor(view: dict[str, Any], s1: bool) -> dict[str, Any]:
    """Hide the other sensor of a view, but for samples of which it alone saw anything."""
    series: Any = s1_of(view)
    shown, hidden = (series, view) if s1 else (view, series)
    keep = ~seen_pixels(shown).flatten(1).any(1)
    left = {
        IMAGE: hidden[IMAGE] * keep.view(-1, 1, 1, 1, 1),
        ACQUISITION_TIMES: hidden[ACQUISITION_TIMES] * keep[:, None],
        VALID: hidden[VALID] & keep[:, None],
        MASK_CLEAR: hidden[MASK_CLEAR] & keep[:, None, None, None],
    }
    return {**view, **left} if s1 else with_s1(view, left)

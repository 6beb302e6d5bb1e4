"""Occlusion: what the prediction for a place loses without a date or a pixel."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, S1_KEYS, VALID, Series

__all__ = [
    'Occluder',
    'PlacePrediction',
    'ValueFunction',
    'date_occluder',
    'occlusion',
    'pixel_occluder',
]

#: Pixel dates that a model is given at a time.
_CHUNK = 2**20


@dataclass(frozen=True)
class PlacePrediction:
    """Prediction of a model for one place, and the series that it is made from.

    The answer is the logarithm of the odds of one class. Its logistic function is the class's
    probability, and unlike this it does not level off where a model is sure.

    Attributes:
        model: Maps a batch to scores ``(B, K, H, W)`` of pixels or ``(B, K)`` of series; a lone
            score is that of class 1 against 0.
        image: ``(T, C, H, W)`` float, normalised.
        times: ``(T,)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(T,)`` bool, False in padding frames.
        clear: ``(T, H, W)`` bool, clear pixels of valid frames.
        pixel: Row and column of the place, of models that answer for pixels.
        explained: The class to explain; the predicted one by default.
        s1: Sentinel-1 series of the place without an axis of samples, its ``mask_clear`` that of
            valid frames; None where the model takes none.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import PlacePrediction
        >>> def model(batch):  # the class is certain in as far as the pixel is bright
        ...     return (batch['image'] * batch['mask_clear'][:, :, None]).sum((1, 2))[:, None]
        >>> image, clear = torch.ones(3, 1, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool)
        >>> place = PlacePrediction(
        ...     model, image, torch.arange(3), torch.ones(3, dtype=torch.bool), clear, (1, 2)
        ... )
        >>> place.explained, place.log_odds(clear[None]).tolist()
        (1, [3.0])
    """

    model: Callable[[dict[str, Any]], Tensor]
    image: Tensor
    times: Tensor
    valid: Tensor
    clear: Tensor
    pixel: tuple[int, int]
    explained: int = -1
    s1: Series | None = None
    #: Whether the answer is for the pixel, and not for the series as a whole.
    dense: bool = field(init=False)

    def __post_init__(self) -> None:
        """Ask the model once: what it answers for, and which class it predicts.

        Raises:
            SITSError: If the place was never clear: nothing is predicted from it.
        """
        with torch.no_grad():
            scores = self._scores(self.image[None], self.clear[None], *self._shown_s1(1))
        object.__setattr__(self, 'dense', scores.ndim == 4)
        row, column = self.pixel
        if not (self.seen[row, column] if self.dense else self.seen.any()):
            number = len(self.times) + (0 if self.s1 is None else len(self.s1.acquisition_times))
            raise SITSError(
                f'expected a place that is clear at one date at least, got none of {number} at '
                f'row {row} and column {column} of the patch: choose another'
            )
        if self.explained < 0:
            there = self._at_place(scores)[0]
            best = int(there[0] > 0) if len(there) == 1 else int(there.argmax())
            object.__setattr__(self, 'explained', best)

    @classmethod
    def of(
        cls,
        model: Callable[[dict[str, Any]], Tensor],
        batch: dict[str, Any],
        pixel: tuple[int, int],
        *,
        s1: bool = False,
    ) -> 'PlacePrediction':
        """Predict for a pixel of the only series of a batch.

        Args:
            model: Function that maps a batch to scores, see above.
            batch: A normalised batch of one series, see :mod:`torchgeo_sits.keys`.
            pixel: Row and column.
            s1: Whether the model takes the Sentinel-1 series of the batch, where there is one.
        """
        series = Series.from_batch(batch, s1=s1)
        beside = None if series.s1 is None else _of_sample(series.s1)
        image, times, valid, *_ = own = _of_sample(series)
        return cls(model, image, times, valid, own.clear, pixel, s1=beside)

    @property
    def seen(self) -> Tensor:
        """Pixels ``(H, W)`` that were clear at any date, to either sensor."""
        seen = self.clear.any(0)
        return seen if self.s1 is None else seen | self.s1.clear.any(0)

    def log_odds(
        self,
        clear: Tensor,
        image: Tensor | None = None,
        *,
        clear_s1: Tensor | None = None,
        image_s1: Tensor | None = None,
    ) -> Tensor:
        """Compute the logarithm of the odds of the class where other pixels are shown.

        Args:
            clear: ``(N, T, H, W)`` bool.
            image: ``(N, T, C, H, W)``; the same for all by default.
            clear_s1: ``(N, T1, H, W)`` bool; all of Sentinel-1 by default.
            image_s1: ``(N, T1, C1, H, W)``; the same for all by default.

        Returns:
            ``(N,)`` float32.
        """
        n = len(clear)
        if image is None:
            image = self.image.expand(n, *self.image.shape)
        parts = [image, clear, *self._shown_s1(n, clear_s1, image_s1)]
        chunk = max(1, _CHUNK // sum(part[0].numel() for part in parts[1::2]))
        shown = zip(*(part.split(chunk) for part in parts), strict=True)
        scores = torch.cat([self._at_place(self._scores(*some)).float() for some in shown])
        if scores.shape[1] == 1:
            return scores[:, 0] if self.explained else -scores[:, 0]
        others = scores.clone()
        others[:, self.explained] = -torch.inf
        return scores[:, self.explained] - others.logsumexp(1)

    def gradient(self, image: Tensor | None = None) -> Tensor:
        """Compute the gradient of the logarithm of the odds with respect to the image.

        Args:
            image: ``(T, C, H, W)``; that of the place by default.

        Returns:
            ``(T, C, H, W)``.
        """
        shown = (self.image if image is None else image).detach().clone().requires_grad_()
        with torch.enable_grad():
            [gradient] = torch.autograd.grad(self.log_odds(self.clear[None], shown[None]), shown)
        return gradient

    def gradient_s1(self) -> Tensor:
        """Compute the same gradient ``(T1, C1, H, W)`` with respect to Sentinel-1.

        Raises:
            SITSError: If the place has no such series.
        """
        if self.s1 is None:
            raise SITSError('the place has no Sentinel-1 series')
        shown = self.s1.image.detach().clone().requires_grad_()
        with torch.enable_grad():
            value = self.log_odds(self.clear[None], image_s1=shown[None])
            [gradient] = torch.autograd.grad(value, shown)
        return gradient

    def _shown_s1(
        self, n: int, clear: Tensor | None = None, image: Tensor | None = None
    ) -> list[Tensor]:
        """Image and clear mask of Sentinel-1, N times where not given; none without it."""
        if self.s1 is None:
            return []
        own, seen = self.s1.image, self.s1.clear
        return [
            own.expand(n, *own.shape) if image is None else image,
            seen.expand(n, *seen.shape) if clear is None else clear,
        ]

    def _scores(self, image: Tensor, clear: Tensor, *shown_s1: Tensor) -> Tensor:
        """Scores of N series, of which *clear* ``(N, T, H, W)`` is shown, and of Sentinel-1."""
        n = len(clear)
        batch = {
            IMAGE: image,
            ACQUISITION_TIMES: self.times.expand(n, -1),
            VALID: self.valid.expand(n, -1),
            MASK_CLEAR: clear,
        }
        if self.s1 is not None:
            times, valid = self.s1.acquisition_times, self.s1.valid
            beside = dict(zip((IMAGE, MASK_CLEAR), shown_s1, strict=True))
            beside |= {ACQUISITION_TIMES: times.expand(n, -1), VALID: valid.expand(n, -1)}
            batch |= {S1_KEYS[key]: value for key, value in beside.items()}
        return self.model(batch)

    def _at_place(self, scores: Tensor) -> Tensor:
        """Scores ``(N, K)`` at the place."""
        return scores[..., self.pixel[0], self.pixel[1]] if scores.ndim == 4 else scores


def _of_sample(series: Series) -> Series:
    """The only series of a batch without its axis, its mask that of clear pixels of valid frames.

    A Sentinel-1 series beside it is left out.
    """
    image, valid = series.image[0], series.valid[0]
    clear = valid[:, None, None].expand(len(valid), *image.shape[-2:])
    if series.mask_clear is not None:
        clear = clear & series.mask_clear[0]
    return Series(image, series.acquisition_times[0], valid, clear)


class ValueFunction(Protocol):
    """Function with a value for each subset of U units, such as dates or pixels.

    Examples:
        >>> import torch
        >>> class Sum:
        ...     def __len__(self):
        ...         return 2
        ...
        ...     def __call__(self, kept):
        ...         return kept @ torch.tensor([1.0, 2.0])
        >>> Sum()(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).tolist()
        [3.0, 2.0]
    """

    def __len__(self) -> int:
        """Count the units U."""

    def __call__(self, kept: Tensor) -> Tensor:
        """Compute the values ``(N,)`` of N subsets, ``(N, U)`` bool, True for kept units."""


@dataclass(frozen=True)
class Occluder:
    """Prediction as a function of the dates or pixels that are left out.

    Units that are left out count as not clear: a date in all of the patch, a pixel at all dates
    of both sensors. Encoders promise that nothing else changes
    (:class:`~torchgeo_sits.models.SITSEncoder`).

    Attributes:
        place: Prediction for a place.
        kind: Kind of the units.
        units: ``(U,)`` int64, numbers of the dates, those of Sentinel-1 behind the T optical
            ones, or of the pixels counted row by row.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import Occluder, PlacePrediction
        >>> def model(batch):  # the sum of all clear values
        ...     return (batch['image'] * batch['mask_clear'][:, :, None]).sum((1, 2, 3, 4))[:, None]
        >>> image, seen = torch.ones(3, 1, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool)
        >>> place = PlacePrediction(
        ...     model, image, torch.arange(3), torch.ones(3, dtype=torch.bool), seen, (1, 2)
        ... )
        >>> dates = Occluder(place, 'dates', torch.arange(3))
        >>> dates(torch.tensor([[True, True, True], [True, False, True]])).tolist()
        [48.0, 32.0]
    """

    place: PlacePrediction
    kind: Literal['dates', 'pixels']
    units: Tensor

    def __len__(self) -> int:
        """Count the units U."""
        return len(self.units)

    @torch.no_grad()
    def __call__(self, kept: Tensor) -> Tensor:
        """Compute the logarithm of the odds of the class where only some units are shown.

        Args:
            kept: ``(N, U)`` bool, True for units that are shown; all other data always is.

        Returns:
            ``(N,)`` float32.
        """
        values = []
        for some in kept.split(64):
            clear, *clear_s1 = self._shown(some)
            values.append(self.place.log_odds(clear, clear_s1=clear_s1[0] if clear_s1 else None))
        return torch.cat(values)

    def _shown(self, kept: Tensor) -> list[Tensor]:
        """Clear masks ``(N, T, H, W)`` of choices ``(N, U)``, and those of Sentinel-1 if any."""
        series = [self.place.clear]
        if self.place.s1 is not None:
            series.append(self.place.s1.clear)
        lengths, (h, w) = [len(clear) for clear in series], series[0].shape[1:]
        left = kept.new_ones(len(kept), sum(lengths) if self.kind == 'dates' else h * w)
        left[:, self.units] = kept
        if self.kind == 'dates':
            parts = [part[:, :, None, None] for part in left.split(lengths, 1)]
        else:
            parts = [left.view(-1, 1, h, w)] * len(series)
        return [clear & part for clear, part in zip(series, parts, strict=True)]


def date_occluder(place: PlacePrediction) -> Occluder:
    """Occlude the dates on which the place was clear, those of Sentinel-1 too.

    Models that answer for the series as a whole see a date if any pixel of it is clear.

    Args:
        place: Prediction for a place.

    Returns:
        The occluder of these dates.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import PlacePrediction, date_occluder
        >>> seen = torch.ones(3, 4, 4, dtype=torch.bool)
        >>> seen[1] = False
        >>> place = PlacePrediction(
        ...     lambda batch: batch['image'].sum((1, 2)).unsqueeze(1), torch.ones(3, 1, 4, 4),
        ...     torch.arange(3), torch.ones(3, dtype=torch.bool), seen, (1, 2),
        ... )
        >>> date_occluder(place).units.tolist()
        [0, 2]
    """
    clear = place.clear if place.s1 is None else torch.cat([place.clear, place.s1.clear])
    seen = clear.flatten(1).any(1)
    if place.dense:
        seen = clear[:, place.pixel[0], place.pixel[1]]
    return Occluder(place, 'dates', seen.nonzero()[:, 0])


def pixel_occluder(place: PlacePrediction) -> Occluder:
    """Occlude the pixels that the answer depends on: those where its gradient is not zero.

    Of :class:`~torchgeo_sits.models.PlanarViT` and
    :class:`~torchgeo_sits.models.DeepSTaR`, whose maps are made of rows and columns, these are
    the pixels in the row and in the column of the place.

    Args:
        place: Prediction for a place.

    Returns:
        The occluder of these pixels.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import PlacePrediction, pixel_occluder
        >>> place = PlacePrediction(
        ...     lambda batch: batch['image'].sum((1, 2)).unsqueeze(1), torch.ones(3, 1, 4, 4),
        ...     torch.arange(3), torch.ones(3, dtype=torch.bool),
        ...     torch.ones(3, 4, 4, dtype=torch.bool), (1, 2),
        ... )
        >>> pixel_occluder(place).units.tolist()  # row 1, column 2 of 4 x 4
        [6]
    """
    reached = (place.gradient() != 0).any(0).any(0) & place.clear.any(0)
    if place.s1 is not None:
        reached |= (place.gradient_s1() != 0).any(0).any(0) & place.s1.clear.any(0)
    return Occluder(place, 'pixels', reached.flatten().nonzero()[:, 0])


def occlusion(occluder: Occluder) -> Tensor:
    r"""Measure how far the answer falls when each unit alone is not observed.

    .. math:: I_u = f(U) - f(U \setminus \{u\}),

    with the logarithm of the odds f where a set of units is shown (Zeiler & Fergus 2014, section
    4.2, https://arxiv.org/abs/1311.2901). There the unit is painted grey; here it counts as not
    clear, which encoders of time series know how to do without.

    Args:
        occluder: The U dates or pixels.

    Returns:
        ``(U,)``, above 0 for units that speak for the class, below 0 for those against it.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import PlacePrediction, date_occluder, occlusion
        >>> def model(batch):  # the sum of all clear values
        ...     return (batch['image'] * batch['mask_clear'][:, :, None]).sum((1, 2, 3, 4))[:, None]
        >>> image = torch.tensor([1.0, 0.0, 2.0]).view(3, 1, 1, 1)
        >>> place = PlacePrediction(
        ...     model, image, torch.arange(3), torch.ones(3, dtype=torch.bool),
        ...     torch.ones(3, 1, 1, dtype=torch.bool), (0, 0),
        ... )
        >>> occlusion(date_occluder(place)).tolist()
        [1.0, 0.0, 2.0]
    """
    alone = torch.eye(len(occluder), dtype=torch.bool, device=occluder.units.device)
    whole = torch.ones_like(alone[:1])
    values = occluder(torch.cat([whole, ~alone]))
    return values[0] - values[1:]

"""What a model says of one place, as a function of what it is shown."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, VALID

__all__ = ['Game', 'Parts', 'Place', 'dates_of', 'occlusion', 'pixels_of']

#: Pixel dates that a model is given at a time.
_CHUNK = 2**20


@dataclass(frozen=True)
class Place:
    """A model's answer for one place, and the series that it comes from.

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
        explained: The class in question; the one that is predicted by default.
    """

    model: Callable[[dict[str, Any]], Tensor]
    image: Tensor
    times: Tensor
    valid: Tensor
    clear: Tensor
    pixel: tuple[int, int]
    explained: int = -1
    #: Whether the answer is for the pixel, and not for the series as a whole.
    dense: bool = field(init=False)

    def __post_init__(self) -> None:
        """Ask the model once: what it answers for, and which class it predicts.

        Raises:
            SITSError: If the place was never clear: nothing is predicted from it.
        """
        with torch.no_grad():
            scores = self._scores(self.image[None], self.clear[None])
        object.__setattr__(self, 'dense', scores.ndim == 4)
        row, column = self.pixel
        if not (self.clear[:, row, column] if self.dense else self.clear).any():
            raise SITSError(
                f'expected a place that is clear at one date at least, got none of '
                f'{len(self.times)} at row {row} and column {column} of the patch: choose another'
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
    ) -> 'Place':
        """The place of a pixel of the only series of a batch.

        Args:
            model: See above.
            batch: A normalised batch of one series, see :mod:`torchgeo_sits.keys`.
            pixel: Row and column.
        """
        image, valid = batch[IMAGE][0], batch[VALID][0]
        clear = valid[:, None, None].expand(len(valid), *image.shape[-2:])
        if MASK_CLEAR in batch:
            clear = clear & batch[MASK_CLEAR][0]
        return cls(model, image, batch[ACQUISITION_TIMES][0], valid, clear, pixel)

    def log_odds(self, clear: Tensor, image: Tensor | None = None) -> Tensor:
        """Logarithm of the odds of the class where other pixels are shown.

        Args:
            clear: ``(N, T, H, W)`` bool.
            image: ``(N, T, C, H, W)``; the same for all by default.

        Returns:
            ``(N,)`` float32.
        """
        if image is None:
            image = self.image.expand(len(clear), *self.image.shape)
        chunk = max(1, _CHUNK // clear[0].numel())
        parts = zip(image.split(chunk), clear.split(chunk), strict=True)
        scores = torch.cat([self._at_place(self._scores(*part)).float() for part in parts])
        if scores.shape[1] == 1:
            return scores[:, 0] if self.explained else -scores[:, 0]
        others = scores.clone()
        others[:, self.explained] = -torch.inf
        return scores[:, self.explained] - others.logsumexp(1)

    def gradient(self, image: Tensor | None = None) -> Tensor:
        """Gradient of the logarithm of the odds with respect to the image.

        Args:
            image: ``(T, C, H, W)``; that of the place by default.

        Returns:
            ``(T, C, H, W)``.
        """
        shown = (self.image if image is None else image).detach().clone().requires_grad_()
        with torch.enable_grad():
            [gradient] = torch.autograd.grad(self.log_odds(self.clear[None], shown[None]), shown)
        return gradient

    def _scores(self, image: Tensor, clear: Tensor) -> Tensor:
        """Scores of N series, of which *clear* ``(N, T, H, W)`` is shown."""
        n = len(clear)
        batch = {
            IMAGE: image,
            ACQUISITION_TIMES: self.times.expand(n, -1),
            VALID: self.valid.expand(n, -1),
            MASK_CLEAR: clear,
        }
        return self.model(batch)

    def _at_place(self, scores: Tensor) -> Tensor:
        """Scores ``(N, K)`` at the place."""
        return scores[..., self.pixel[0], self.pixel[1]] if scores.ndim == 4 else scores


class Game(Protocol):
    """Anything that has a value for each choice of its parts."""

    def __len__(self) -> int:
        """Number of parts U."""

    def __call__(self, kept: Tensor) -> Tensor:
        """Values ``(N,)`` of N choices ``(N, U)`` bool of parts that are kept."""


@dataclass(frozen=True)
class Parts:
    """Dates or pixels of a place, any of which can be left out.

    What is left out counts as not clear: a date in all of the patch, a pixel at all dates.
    Encoders promise that nothing else changes (:class:`~torchgeo_sits.models.SITSEncoder`).

    Attributes:
        place: The place.
        kind: What the parts are.
        chosen: ``(U,)`` int64: numbers of the dates, or of the pixels counted row by row.
    """

    place: Place
    kind: Literal['dates', 'pixels']
    chosen: Tensor

    def __len__(self) -> int:
        """Number of parts U."""
        return len(self.chosen)

    @torch.no_grad()
    def __call__(self, kept: Tensor) -> Tensor:
        """Logarithm of the odds of the class where only some parts are shown.

        Args:
            kept: ``(N, U)`` bool. What is no part is always shown.

        Returns:
            ``(N,)`` float32.
        """
        return torch.cat([self.place.log_odds(self._shown(part)) for part in kept.split(64)])

    def _shown(self, kept: Tensor) -> Tensor:
        """Clear masks ``(N, T, H, W)`` of choices ``(N, U)``."""
        clear = self.place.clear
        t, h, w = clear.shape
        shape = (t, 1, 1) if self.kind == 'dates' else (1, h, w)
        left = kept.new_ones(len(kept), t if self.kind == 'dates' else h * w)
        left[:, self.chosen] = kept
        return clear & left.unflatten(1, shape)


def dates_of(place: Place) -> Parts:
    """The dates on which the place was clear; anything of the patch, if it stands for all."""
    seen = place.clear.flatten(1).any(1)
    if place.dense:
        seen = place.clear[:, place.pixel[0], place.pixel[1]]
    return Parts(place, 'dates', seen.nonzero()[:, 0])


def pixels_of(place: Place) -> Parts:
    """The pixels that the answer depends on: those where its gradient is not zero.

    Of :class:`~torchgeo_sits.models.PlanarViT` and
    :class:`~torchgeo_sits.models.DeepSTaR`, whose maps are made of rows and columns, these are
    the pixels in the row and in the column of the place.
    """
    reached = (place.gradient() != 0).any(0).any(0) & place.clear.any(0)
    return Parts(place, 'pixels', reached.flatten().nonzero()[:, 0])


def occlusion(game: Parts) -> Tensor:
    r"""How much the answer falls when each part alone is not observed.

    .. math:: I_u = f(U) - f(U \setminus \{u\}),

    with the logarithm of the odds f where a set of parts is shown (Zeiler & Fergus 2014, section
    4.2, https://arxiv.org/abs/1311.2901). There the part is painted grey; here it counts as not
    clear, which is what an encoder of time series knows how to do without.

    Args:
        game: The U parts.

    Returns:
        ``(U,)``. Above 0 for what speaks for the class, below 0 for what speaks against it.
    """
    alone = torch.eye(len(game), dtype=torch.bool, device=game.chosen.device)
    whole = torch.ones_like(alone[:1])
    values = game(torch.cat([whole, ~alone]))
    return values[0] - values[1:]

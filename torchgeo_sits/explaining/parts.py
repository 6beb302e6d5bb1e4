"""Dates or pixels of a series that are taken away, and what the model then says."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from .place import Place

__all__ = ['Game', 'Parts', 'dates_of', 'pixels_of']


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

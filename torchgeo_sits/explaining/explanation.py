"""All that is said of a prediction at a place, and how well it holds."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import Series
from .place import Game, Parts, Place, dates_of, occlusion, pixels_of

__all__ = [
    'Areas',
    'Curves',
    'DateWeights',
    'Explanation',
    'area',
    'date_weights',
    'explain_place',
    'ranking_curves',
]


class DateWeights(NamedTuple):
    """Weights of the dates, which sum to 1.

    Attributes:
        place: ``(T,)``, at the pixel of the place.
        patch: ``(T,)``, the mean over the pixels of the patch that were seen.
    """

    place: Tensor
    patch: Tensor


@torch.no_grad()
def date_weights(encoder: nn.Module, place: Place) -> DateWeights | None:
    """Attention of an encoder over the dates, the mean over its queries or heads.

    These weights say what is averaged, not what decides: ``benchmarks/explanation.py`` finds
    that dates with large weights are often not those that a prediction rests on. Use
    :func:`~.place.occlusion` to rank dates.

    Args:
        encoder: The encoder, in evaluation mode.
        place: The place.

    Returns:
        The weights; None for encoders that have none, such as
        :class:`~torchgeo_sits.models.DeepSTaR`.
    """
    attend: Any = getattr(encoder, 'time_attention', None)
    if attend is None:
        return None
    clear = place.clear
    series = Series(place.image[None], place.times[None], place.valid[None], clear[None])
    weights = attend(series)[0]
    row, column = place.pixel
    seen = clear.any(0)
    return DateWeights(weights[:, row, column].float(), weights[:, seen].float().mean(1))


class Curves(NamedTuple):
    """Probability of the class while parts go, and while they come.

    Attributes:
        shares: ``(S,)``, share of the parts that are gone, or there, from 0 to 1.
        deletion: ``(S,)``, while the most important parts are taken away first.
        insertion: ``(S,)``, while the most important parts are put back first.
    """

    shares: Tensor
    deletion: Tensor
    insertion: Tensor


def ranking_curves(game: Game, importance: Tensor, *, most: int = 16) -> Curves:
    """Curves of a ranking of parts (RISE, Petsiuk et al. 2018, section 4.1).

    See https://arxiv.org/abs/1806.07421. A ranking is good where the first curve falls soon and
    the second rises soon: a small :func:`area` under the one, a large one under the other.

    Args:
        game: Gives the logarithm of the odds for choices of its U parts.
        importance: ``(U,)``, larger for parts to be taken first.
        most: Points of a curve at most, beside its start.

    Returns:
        The curves.

    Raises:
        SITSError: If there is not one importance per part.
    """
    if importance.shape != (len(game),):
        raise SITSError(
            f'expected one importance for each of {len(game)} parts, got {tuple(importance.shape)}'
        )
    u = len(game)
    counts = torch.linspace(0, u, min(u, most) + 1).round().long().to(importance.device)
    rank = importance.argsort(descending=True, stable=True).argsort()
    first = rank < counts[:, None]
    values = game(torch.cat([~first, first])).sigmoid()
    deletion, insertion = values.chunk(2)
    return Curves(counts / u, deletion, insertion)


def area(shares: Tensor, values: Tensor) -> float:
    """Area under a curve by the trapezoidal rule.

    Args:
        shares: ``(S,)``, ascending.
        values: ``(S,)``.
    """
    return float(torch.trapezoid(values.double(), shares.double()))


#: Random orders that a ranking is held against.
_ORDERS = 3
#: Points of a curve.
_POINTS = 16


@dataclass(frozen=True)
class Areas:
    """Areas under the curves of a ranking, and the means of those of random orders.

    Attributes:
        deletion: Of the ranking; smaller is better.
        insertion: Of the ranking; larger is better.
        random_deletion: Of random orders.
        random_insertion: Of random orders.
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float

    @classmethod
    def of(cls, parts: Parts, importance: Tensor, *, seed: int = 0) -> 'Areas':
        """Measure a ranking ``(U,)`` of parts, and random orders drawn from a seed."""
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.rand(len(parts), generator=generator) for _ in range(_ORDERS)]
        drawn = []
        for order in (importance.cpu(), *orders):
            curves = ranking_curves(parts, order.to(parts.chosen.device), most=_POINTS)
            drawn.append([area(curves.shares, curve) for curve in curves[1:]])
        own, rest = drawn[0], torch.tensor(drawn[1:]).mean(0).tolist()
        return cls(*own, *rest)


@dataclass(frozen=True)
class Explanation:
    """Which dates and pixels a prediction rests on.

    Attributes:
        dates: ``(T,)``, what the answer loses without each date; NaN for dates on which the
            place was not clear.
        weights: Attention over the dates, where the encoder has it.
        pixels: ``(H, W)``, what the answer loses without each pixel; 0 where it does not depend
            on it, NaN where never clear.
        date_areas: How well the ranking of the dates holds.
        pixel_areas: How well the ranking of the pixels holds.
    """

    dates: Tensor
    weights: DateWeights | None
    pixels: Tensor
    date_areas: Areas
    pixel_areas: Areas


def explain_place(place: Place, encoder: nn.Module) -> Explanation:
    """Explain what a model says of a place.

    Both are ranked by :func:`~.place.occlusion`, at a pass of the model for each date and each
    pixel. It fits all encoders, and in ``benchmarks/explanation.py`` it is far from random orders
    in every model, though not the best in each: gradients are better for the dates of
    :class:`~torchgeo_sits.models.DeepSTaR` on wc_be_b, where mere nearness to the place is better
    for pixels in the maps of :class:`~torchgeo_sits.models.PlanarViT`. Attention over dates is no
    better than random orders.

    Args:
        place: The place.
        encoder: The encoder of its model, in evaluation mode.

    Returns:
        The explanation.
    """
    dates, pixels = dates_of(place), pixels_of(place)
    lost = occlusion(dates)
    by_date = torch.full_like(place.times, torch.nan, dtype=lost.dtype)
    by_date[dates.chosen] = lost
    by_pixel = torch.zeros(place.clear[0].numel(), dtype=lost.dtype, device=lost.device)
    by_pixel[pixels.chosen] = own = occlusion(pixels)
    return Explanation(
        dates=by_date,
        weights=date_weights(encoder, place),
        pixels=by_pixel.view_as(place.clear[0]).masked_fill(~place.clear.any(0), torch.nan),
        date_areas=Areas.of(dates, lost),
        pixel_areas=Areas.of(pixels, own),
    )

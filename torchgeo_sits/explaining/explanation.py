"""All that is said of a prediction at a place, and how well it holds."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attention import DateWeights, date_weights
from .curves import area, ranking_curves
from .occlusion import occlusion
from .parts import Parts, dates_of, pixels_of
from .place import Place

__all__ = ['Areas', 'Explanation', 'explain_place']

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

    Both are ranked by :func:`~.occlusion.occlusion`, at a pass of the model for each date and each
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

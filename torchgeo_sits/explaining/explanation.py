"""Explanation of a prediction: dates, pixels and attention, and how well the ranking holds."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import Series
from .occlusion import (
    Occluder,
    PlacePrediction,
    ValueFunction,
    date_occluder,
    occlusion,
    pixel_occluder,
)

__all__ = [
    'DateAttention',
    'Explanation',
    'RankingAreas',
    'RankingCurves',
    'curve_area',
    'date_attention',
    'explain_prediction',
    'ranking_curves',
]


class DateAttention(NamedTuple):
    """Attention over the dates, which sums to 1.

    Attributes:
        place: ``(T,)``, at the pixel of the place.
        patch: ``(T,)``, the mean over the pixels of the patch that were seen.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import DateAttention
        >>> DateAttention(torch.tensor([0.75, 0.25]), torch.tensor([0.5, 0.5])).place.argmax()
        tensor(0)
    """

    place: Tensor
    patch: Tensor


@torch.no_grad()
def date_attention(encoder: nn.Module, place: PlacePrediction) -> DateAttention | None:
    """Read the attention of an encoder over the dates, the mean over its queries or heads.

    These weights say which dates are averaged, not which decide: ``benchmarks/explanation.py``
    finds that dates with large weights are often not those that a prediction rests on. Use
    :func:`~.occlusion.occlusion` to rank dates.

    Args:
        encoder: The encoder, in evaluation mode.
        place: Prediction for a place.

    Returns:
        The attention; None for encoders that have none, such as
        :class:`~torchgeo_sits.models.DeepSTaR`.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import PlacePrediction, date_attention
        >>> from torchgeo_sits.models import PlanarViT
        >>> place = PlacePrediction(
        ...     lambda batch: batch['image'].sum((1, 2)).unsqueeze(1), torch.ones(3, 1, 4, 4),
        ...     torch.arange(3) * 864_000, torch.ones(3, dtype=torch.bool),
        ...     torch.ones(3, 4, 4, dtype=torch.bool), (1, 2),
        ... )
        >>> encoder = PlanarViT(1, embed_dim=16, time_dim=8, num_heads=2, depth=1).eval()
        >>> round(float(date_attention(encoder, place).place.sum()), 4)
        1.0
    """
    attend: Any = getattr(encoder, 'time_attention', None)
    if attend is None:
        return None
    clear = place.clear
    series = Series(place.image[None], place.times[None], place.valid[None], clear[None])
    weights = attend(series)[0]
    row, column = place.pixel
    seen = clear.any(0)
    return DateAttention(weights[:, row, column].float(), weights[:, seen].float().mean(1))


class RankingCurves(NamedTuple):
    """Probability of the class while units are taken away, and while they are put back.

    Attributes:
        shares: ``(S,)``, share of the units that are taken away, or put back, from 0 to 1.
        deletion: ``(S,)``, probability while the most important units are taken away first.
        insertion: ``(S,)``, probability while the most important units are put back first.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import RankingCurves, curve_area
        >>> shares, falling = torch.tensor([0.0, 1.0]), torch.tensor([0.9, 0.5])
        >>> curves = RankingCurves(shares, falling, falling.flip(0))
        >>> round(curve_area(curves.shares, curves.deletion), 3)
        0.7
    """

    shares: Tensor
    deletion: Tensor
    insertion: Tensor


def ranking_curves(
    values_of: ValueFunction, importance: Tensor, *, most: int = 16
) -> RankingCurves:
    """Compute the curves of a ranking of units (RISE, Petsiuk et al. 2018, section 4.1).

    See https://arxiv.org/abs/1806.07421. A ranking is good where the first curve falls soon and
    the second rises soon: a small :func:`curve_area` under the one, a large one under the other.

    Args:
        values_of: Logarithm of the odds for subsets of U units.
        importance: ``(U,)``, larger for units that come first.
        most: Largest number of points of a curve, beside its start.

    Returns:
        The curves.

    Raises:
        SITSError: If there is not one importance per unit.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import ranking_curves
        >>> class Sum:
        ...     def __len__(self):
        ...         return 2
        ...
        ...     def __call__(self, kept):
        ...         return kept.float() @ torch.tensor([2.0, -2.0])
        >>> ranking_curves(Sum(), torch.tensor([2.0, -2.0])).insertion.tolist()
        [0.5, 0.8807970285415649, 0.5]
    """
    u = len(values_of)
    if importance.shape != (u,):
        raise SITSError(
            f'expected one importance for each of {u} units, got {tuple(importance.shape)}'
        )
    counts = torch.linspace(0, u, min(u, most) + 1).round().long().to(importance.device)
    rank = importance.argsort(descending=True, stable=True).argsort()
    first = rank < counts[:, None]
    values = values_of(torch.cat([~first, first])).sigmoid()
    deletion, insertion = values.chunk(2)
    return RankingCurves(counts / u, deletion, insertion)


def curve_area(shares: Tensor, values: Tensor) -> float:
    """Measure the area under a curve by the trapezoidal rule.

    Args:
        shares: ``(S,)``, ascending.
        values: ``(S,)``.

    Returns:
        The area.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import curve_area
        >>> curve_area(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 1.0, 1.0]))
        0.75
    """
    return float(torch.trapezoid(values.cpu().double(), shares.cpu().double()))


#: Random orders that a ranking is held against.
_ORDERS = 3
#: Points of a curve.
_POINTS = 16


@dataclass(frozen=True)
class RankingAreas:
    """Areas under the curves of a ranking, and the means of those of random orders.

    Attributes:
        deletion: Of the ranking; smaller is better.
        insertion: Of the ranking; larger is better.
        random_deletion: Of random orders.
        random_insertion: Of random orders.

    Examples:
        >>> from torchgeo_sits.explaining import RankingAreas
        >>> areas = RankingAreas(0.2, 0.8, random_deletion=0.5, random_insertion=0.5)
        >>> areas.deletion < areas.random_deletion
        True
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float

    @classmethod
    def of(cls, occluder: Occluder, importance: Tensor, *, seed: int = 0) -> 'RankingAreas':
        """Measure a ranking ``(U,)`` of units, and random orders drawn from a seed."""
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.rand(len(occluder), generator=generator) for _ in range(_ORDERS)]
        areas = []
        for order in (importance.cpu(), *orders):
            curves = ranking_curves(occluder, order.to(occluder.units.device), most=_POINTS)
            areas.append([curve_area(curves.shares, curve) for curve in curves[1:]])
        own, rest = areas[0], torch.tensor(areas[1:]).mean(0).tolist()
        return cls(*own, *rest)


@dataclass(frozen=True)
class Explanation:
    """Dates and pixels that a prediction rests on.

    Attributes:
        dates: ``(T,)``, loss of log-odds without each date; NaN for dates on which the place was
            not clear.
        attention: Attention over the dates, where the encoder has it.
        pixels: ``(H, W)``, loss of log-odds without each pixel; 0 where it does not depend on
            it, NaN where never clear.
        date_areas: Measure of the ranking of the dates.
        pixel_areas: Measure of the ranking of the pixels.
        dates_s1: ``(T1,)``, of the dates of Sentinel-1, which *date_areas* ranks among the others;
            None where the model takes none.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import Explanation, RankingAreas
        >>> areas = RankingAreas(0.2, 0.8, 0.5, 0.5)
        >>> found = Explanation(torch.tensor([0.1, 2.0]), None, torch.zeros(2, 2), areas, areas)
        >>> int(found.dates.argmax())
        1
    """

    dates: Tensor
    attention: DateAttention | None
    pixels: Tensor
    date_areas: RankingAreas
    pixel_areas: RankingAreas
    dates_s1: Tensor | None = None

    def share_of(self, pixel: tuple[int, int]) -> float:
        """Share of one pixel in the sum of what all change, each left out alone.

        Args:
            pixel: Row and column.

        Returns:
            From 0 to 1; NaN where no pixel changes anything.

        Examples:
            >>> import torch
            >>> from torchgeo_sits.explaining import Explanation, RankingAreas
            >>> areas = RankingAreas(0.2, 0.8, 0.5, 0.5)
            >>> pixels = torch.tensor([[3.0, -1.0], [torch.nan, 0.0]])
            >>> Explanation(torch.zeros(1), None, pixels, areas, areas).share_of((0, 0))
            0.75
        """
        size = self.pixels.double().abs()
        return float(size[pixel] / size.nansum())


def explain_prediction(place: PlacePrediction, encoder: nn.Module) -> Explanation:
    """Explain a prediction by the dates and pixels that it rests on.

    Both are ranked by :func:`~.occlusion.occlusion`, at a pass of the model for each date and each
    pixel. It fits all encoders, and in ``benchmarks/explanation.py`` it is far from random orders
    in every model, though not the best in each: gradients are better for the dates of
    :class:`~torchgeo_sits.models.DeepSTaR` on wc_be_b, where mere nearness to the place is better
    for pixels in the maps of :class:`~torchgeo_sits.models.PlanarViT`. Attention over dates is no
    better than random orders.

    Args:
        place: Prediction for a place.
        encoder: The encoder of its model, in evaluation mode.

    Returns:
        The explanation.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import PlacePrediction, explain_prediction
        >>> def model(batch):  # the sum of all clear values
        ...     return (batch['image'] * batch['mask_clear'][:, :, None]).sum((1, 2, 3, 4))[:, None]
        >>> image = torch.tensor([1.0, 0.0, 2.0]).view(3, 1, 1, 1)
        >>> place = PlacePrediction(
        ...     model, image, torch.arange(3), torch.ones(3, dtype=torch.bool),
        ...     torch.ones(3, 1, 1, dtype=torch.bool), (0, 0),
        ... )
        >>> explain_prediction(place, torch.nn.Identity()).dates.tolist()
        [1.0, 0.0, 2.0]
    """
    dates, pixels = date_occluder(place), pixel_occluder(place)
    lost = occlusion(dates)
    t = len(place.times)
    t_s1 = 0 if place.s1 is None else len(place.s1.acquisition_times)
    by_date = torch.full((t + t_s1,), torch.nan, dtype=lost.dtype, device=lost.device)
    by_date[dates.units] = lost
    by_pixel = torch.zeros(place.clear[0].numel(), dtype=lost.dtype, device=lost.device)
    by_pixel[pixels.units] = own = occlusion(pixels)
    return Explanation(
        dates=by_date[:t],
        dates_s1=by_date[t:] if t_s1 else None,
        attention=date_attention(encoder, place),
        pixels=by_pixel.view_as(place.clear[0]).masked_fill(~place.seen, torch.nan),
        date_areas=RankingAreas.of(dates, lost),
        pixel_areas=RankingAreas.of(pixels, own),
    )

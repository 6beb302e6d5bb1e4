"""Models whose attributions are known."""

from typing import Any

import torch
from torch import Tensor

from torchgeo_sits.explaining import PlacePrediction

DAY = 86_400


class Additive:
    """The score of class 1 is the sum of all clear values, each times its weight."""

    def __init__(self, weights: Tensor, *, dense: bool = True) -> None:
        """Take weights ``(T, C, H, W)``."""
        self.weights = weights
        self.dense = dense
        self.seen: list[Tensor] = []

    def __call__(self, batch: dict[str, Any]) -> Tensor:
        clear = batch['mask_clear'] & batch['valid'][..., None, None]
        self.seen.append(clear)
        values = torch.where(clear[:, :, None], batch['image'], 0) * self.weights
        score = values.sum((1, 2, 3, 4))[:, None]
        return score[..., None, None].expand(-1, 1, *clear.shape[2:]) if self.dense else score


def additive_place(*, seed: int = 0, dense: bool = True) -> tuple[PlacePrediction, Additive]:
    """A place of 5 dates, 2 bands and 4 x 3 pixels, partly clouded, NaN under the clouds."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(5, 2, 4, 3, generator=generator)
    clear = torch.rand(5, 4, 3, generator=generator) > 0.3
    clear[0], clear[1, 2, 1] = True, False
    model = Additive(torch.randn(image.shape, generator=generator), dense=dense)
    image = torch.where(clear[:, None], image, torch.nan)
    valid = torch.ones(5, dtype=torch.bool)
    return PlacePrediction(model, image, torch.arange(5) * DAY, valid, clear, (2, 1)), model


def contributions(place: PlacePrediction, model: Additive) -> Tensor:
    """What each value adds to the logarithm of the odds of the class: ``(T, C, H, W)``."""
    values = torch.where(place.clear[:, None], place.image, 0) * model.weights
    return values if place.explained else -values

"""Deletion and insertion, against curves by hand and the order that is known to be best."""

from itertools import permutations
from math import log

import pytest
import torch
from torch import Tensor

from torchgeo_sits.explaining import (
    RankingAreas,
    curve_area,
    date_occluder,
    occlusion,
    ranking_curves,
)

from .toys import additive_place


class Sum:
    """Occluder whose logarithms of odds add up."""

    def __init__(self, *weights: float) -> None:
        self.weights = torch.tensor(weights)

    def __len__(self) -> int:
        return len(self.weights)

    def __call__(self, kept: Tensor) -> Tensor:
        return kept.float() @ self.weights


def test_curves_and_areas_by_hand():
    # Odds of 3 to 1 with the first part, 1 to 1 without; the second changes nothing.
    curves = ranking_curves(Sum(log(3), 0), torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(curves.shares, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(curves.deletion, torch.tensor([0.75, 0.5, 0.5]))
    torch.testing.assert_close(curves.insertion, torch.tensor([0.5, 0.75, 0.75]))
    # Two trapezia each: (0.75 + 0.5) / 4 + 0.5 / 2, and (0.5 + 0.75) / 4 + 0.75 / 2.
    assert curve_area(curves.shares, curves.deletion) == pytest.approx(0.5625)
    assert curve_area(curves.shares, curves.insertion) == pytest.approx(0.6875)
    backwards = ranking_curves(Sum(log(3), 0), torch.tensor([0.0, 1.0]))
    assert curve_area(backwards.shares, backwards.deletion) == pytest.approx(0.6875)


def test_no_order_is_better_than_the_true_one():
    game = Sum(0.3, -1.2, 2.0, 0.9, -0.1)
    best = ranking_curves(game, game.weights)
    areas = []
    for order in permutations(range(5)):
        curves = ranking_curves(game, torch.tensor(order))
        areas.append(
            (
                curve_area(curves.shares, curves.deletion),
                curve_area(curves.shares, curves.insertion),
            )
        )
    deletions, insertions = zip(*areas, strict=True)
    assert curve_area(best.shares, best.deletion) == pytest.approx(min(deletions))
    assert curve_area(best.shares, best.insertion) == pytest.approx(max(insertions))


def test_steps_of_a_long_curve_take_all_parts():
    game = Sum(*[0.1] * 50)
    curves = ranking_curves(game, torch.arange(50), most=7)
    assert len(curves.shares) == 8
    assert curves.shares[0] == 0
    assert curves.shares[-1] == 1
    torch.testing.assert_close(
        curves.deletion, game(torch.ones(1, 50) * (1 - curves.shares[:, None])).sigmoid()
    )
    torch.testing.assert_close(curves.insertion, curves.deletion.flip(0), rtol=0, atol=0.03)


def test_areas_are_the_same_for_a_seed_and_better_than_random():
    place, _ = additive_place()
    dates = date_occluder(place)
    found = [RankingAreas.of(dates, occlusion(dates), seed=3) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].deletion < found[0].random_deletion
    assert found[0].insertion > found[0].random_insertion


def test_importance_of_other_parts_is_refused():
    with pytest.raises(ValueError, match='one importance for each of 2 units'):
        ranking_curves(Sum(1, 2), torch.zeros(3))

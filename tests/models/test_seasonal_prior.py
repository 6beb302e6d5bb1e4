"""Queries spread over the year, against the von Mises kernel written out."""

import math

import torch

from torchgeo_sits.keys import Series
from torchgeo_sits.models import build_encoder
from torchgeo_sits.models.dates import SECONDS_PER_YEAR
from torchgeo_sits.models.planar_vit import SeasonalPrior


@torch.no_grad()
def test_scores_are_those_of_windows_about_each_twelfth_of_the_year():
    prior = SeasonalPrior(12, 2, kappa=4.0)
    days = torch.arange(0, 365, 17)
    scores = prior((days * 86400)[None])[0]
    for k in range(12):
        for day, score in zip(days.tolist(), scores[:, k].tolist(), strict=True):
            year = day * 86400 / SECONDS_PER_YEAR
            assert math.isclose(score, 4 * math.cos(2 * math.pi * (year - k / 12)), abs_tol=1e-4)
    assert not scores[:, 12:].any()


@torch.no_grad()
def test_untrained_encoder_tells_the_order_of_the_seasons():
    # The same values in another order: a plain mean over time could not tell.
    encoder = build_encoder('planar_vit_tiny', 1).eval()
    times = torch.arange(12)[None] * SECONDS_PER_YEAR // 12
    valid = torch.ones(1, 12, dtype=torch.bool)
    rising = torch.linspace(-1, 1, 12).reshape(1, 12, 1, 1, 1)
    cosine = torch.nn.functional.cosine_similarity(
        *(
            encoder.features(Series(image, times, valid), depth='early').flatten(1)
            for image in (rising, rising.flip(1))
        )
    )
    plain = build_encoder('planar_vit_tiny', 1, seasonal_queries=0).eval()
    unordered = torch.nn.functional.cosine_similarity(
        *(
            plain.features(Series(image, times, valid), depth='early').flatten(1)
            for image in (rising, rising.flip(1))
        )
    )
    assert cosine < unordered - 0.1


@torch.no_grad()
def test_without_seasons_there_are_no_seasonal_queries():
    encoder = build_encoder('planar_vit_tiny', 1, harmonics=0)
    assert encoder.time_stage.queries.weight.shape[0] == 4

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
    times = (days * 86400)[None]
    scores = prior(times, torch.ones_like(times, dtype=torch.bool))[0]
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


def _series(seconds, values):
    times = torch.tensor(seconds)[None]
    image = torch.tensor(values).reshape(1, -1, 1, 1, 1)
    return Series(image, times, torch.ones_like(times, dtype=torch.bool))


@torch.no_grad()
def test_queries_of_the_last_year_do_not_mix_in_the_season_of_the_year_before():
    # Two autumns, as series that follow a crop from sowing to harvest have.
    month, first = SECONDS_PER_YEAR // 12, 18 * SECONDS_PER_YEAR
    seconds = [first + month * i for i in range(16)]
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(16, generator=rng)
    other = values.clone()
    other[:3] = -other[:3]  # another crop in the first autumn

    def moved(**kwargs):
        torch.manual_seed(0)
        encoder = build_encoder('planar_vit_v2_tiny', 1, num_queries=1, **kwargs).eval()
        encoder.time_stage.queries.weight.zero_()
        found = [
            encoder.features(_series(seconds, v.tolist()), depth='early') for v in (values, other)
        ]
        parts = [f.flatten().unflatten(0, (-1, 48)) for f in found]
        return (parts[0] - parts[1]).norm(dim=1)

    last = moved(years=('last',))[:16]
    mixed = moved(years=('all',))[:16]
    assert last.max() < 0.2 * mixed.max()


@torch.no_grad()
def test_years_do_not_count_from_anywhere():
    # The same series a whole number of years later, and with an unclear frame before it.
    prior = SeasonalPrior(4, 1, kappa=16.0, years=('first', 'last'))
    times = SECONDS_PER_YEAR // 6 * torch.arange(12)[None]
    known = torch.ones(1, 12, dtype=torch.bool)
    weights = prior(times, known).softmax(1)
    later = prior(times + 30 * SECONDS_PER_YEAR, known).softmax(1)
    torch.testing.assert_close(later, weights, atol=1e-6, rtol=0)
    early = torch.cat([times[:, :1] - 5 * SECONDS_PER_YEAR, times], 1)
    scores = prior(early, torch.ones(1, 13, dtype=torch.bool))[:, 1:]
    torch.testing.assert_close(scores.softmax(1), weights, atol=1e-5, rtol=0)

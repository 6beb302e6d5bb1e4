"""Features of spans of time: those of the series cut to each, whatever is shared between them."""

import pytest
import torch

from torchgeo_sits.errors import SITSError
from torchgeo_sits.keys import Series
from torchgeo_sits.models import build_encoder

DAY = 86_400
START = 1_500_000_000


def random_series(c, b=2, t=9, h=6, w=5):
    g = torch.Generator().manual_seed(3)
    times = START + DAY * torch.randint(0, 400, (b, t), generator=g).sort(-1).values
    valid = torch.ones(b, t, dtype=torch.bool)
    valid[0, 6:] = False
    clear = torch.rand(b, t, h, w, generator=g) > 0.4
    clear[:, :, 2, 3] = False
    clear[:, 3] = False
    image = torch.randn(b, t, c, h, w, generator=g).masked_fill(~clear[:, :, None], torch.nan)
    return Series(image, times, valid, clear)


def cut(series, start, stop):
    """The frames of each series between two instants, packed and padded anew, one by one."""
    kept = []
    for i in range(len(series.image)):
        inside = series.valid[i] & (series.acquisition_times[i] >= start)
        kept.append((inside & (series.acquisition_times[i] < stop)).nonzero()[:, 0])
    t = max(1, *map(len, kept))
    image = torch.full((len(kept), t, *series.image.shape[2:]), 7.0)
    times = torch.zeros(len(kept), t, dtype=torch.int64)
    valid = torch.zeros(len(kept), t, dtype=torch.bool)
    clear = torch.ones(len(kept), t, *series.image.shape[3:], dtype=torch.bool)
    for i, rows in enumerate(kept):
        n = len(rows)
        image[i, :n], times[i, :n] = series.image[i, rows], series.acquisition_times[i, rows]
        valid[i, :n], clear[i, :n] = True, series.mask_clear[i, rows]
    return Series(image, times, valid, clear)


def spans():
    """Growing, sliding, empty, the same twice, and one that begins before the others."""
    days = [(0, 60), (0, 61), (0, 200), (0, 400), (90, 180), (120, 210), (120, 300), (120, 300)]
    days += [(500, 600), (500, 700), (0, 300), (-100, 400)]
    # All dates of one span and earlier ones, too: time counts from another first date.
    days += [(200, 300), (0, 400)]
    return [(START + DAY * a, START + DAY * b) for a, b in days]


ENCODERS = {
    'planar_vit_tiny': {'embed_dim': 16, 'time_dim': 8, 'num_queries': 2, 'seasonal_queries': 3},
    'ltae': {'embed_dim': 8, 'pixel_dim': 8, 'dim': 8, 'num_heads': 2},
}
VARIANTS = [
    ('planar_vit_tiny', {}),
    ('planar_vit_tiny', {'segment': 2}),
    ('planar_vit_tiny', {'time_depth': 1}),
    ('planar_vit_tiny', {'octaves': 0}),
    ('ltae', {}),
]


@torch.no_grad()
@pytest.mark.parametrize('depth', ['early', 'late', 'joined'])
@pytest.mark.parametrize(('name', 'options'), VARIANTS)
def test_each_span_is_as_its_dates_alone(name, options, depth):
    torch.manual_seed(0)
    encoder = build_encoder(name, 3, **(ENCODERS[name] | options)).eval()
    series = random_series(3)
    found = list(encoder.rolling_features(series, spans(), depth=depth))
    assert len(found) == len(spans())
    for features, span in zip(found, spans(), strict=True):
        alone = encoder.features(cut(series, *span), depth=depth)
        torch.testing.assert_close(features, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_sums_neither_overflow_nor_vanish():
    """Scores of 200 and -200 beside each other: exp of either is no number of float32."""
    torch.manual_seed(0)
    encoder = build_encoder('planar_vit_tiny', 3, **ENCODERS['planar_vit_tiny']).eval()
    encoder.time_stage.queries.weight *= 3000
    series = random_series(3)
    growing = spans()[:4]
    for features, span in zip(encoder.rolling_features(series, growing), growing, strict=True):
        assert features.isfinite().all()
        alone = encoder.features(cut(series, *span))
        torch.testing.assert_close(features, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_growing_spans_embed_each_date_once():
    """What the reuse is for: T dates in all, not the sum of those of the spans."""
    encoder = build_encoder('planar_vit_tiny', 3, **ENCODERS['planar_vit_tiny']).eval()
    dates = []
    embed = encoder.time_stage.embed
    embed.register_forward_hook(lambda _, given, __: dates.append(given[0].shape[2]))
    series = random_series(3, b=1)
    growing = [(START, START + DAY * stop) for stop in range(25, 426, 25)]
    list(encoder.rolling_features(series, growing))
    clear_frames = (series.valid[0] & series.mask_clear[0].any((1, 2))).sum()
    assert clear_frames <= sum(dates) <= series.valid.sum() + 1


@torch.no_grad()
def test_sentinel1_is_cut_too():
    torch.manual_seed(0)
    encoder = build_encoder('factorised_tiny', 3, s1_channels=2, dim=16, num_heads=2).eval()
    series = random_series(3)._replace(s1=random_series(2, t=7))
    span = (START + 90 * DAY, START + 250 * DAY)
    [found] = encoder.rolling_features(series, [span])
    alone = cut(series, *span)._replace(s1=cut(series.s1, *span))
    torch.testing.assert_close(found, encoder.features(alone), atol=1e-5, rtol=0)


def test_a_span_that_ends_before_it_begins_is_refused():
    encoder = build_encoder('ltae', 3, **ENCODERS['ltae'])
    with pytest.raises(SITSError, match=r'end after they begin.*\(5, 5\)'):
        encoder.rolling_features(random_series(3), [(0, 5), (5, 5)])

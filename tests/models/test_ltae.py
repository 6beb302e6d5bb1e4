"""The attention of L-TAE against its formula in plain loops, and the days it counts."""

from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from torch import nn

from torchgeo_sits.keys import Series
from torchgeo_sits.models import LTAE
from torchgeo_sits.models.dates import days_since_september
from torchgeo_sits.models.ltae import TemporalAttention
from torchgeo_sits.models.masked import PixelBatchNorm


def seconds(*dates: str) -> list[int]:
    return [int(datetime.fromisoformat(d).replace(tzinfo=UTC).timestamp()) for d in dates]


def small(**kwargs) -> LTAE:
    return LTAE(3, embed_dim=16, pixel_dim=8, dim=8, num_heads=4, key_dim=2, **kwargs)


def by_loops(attention: TemporalAttention, x, days, clear):
    """Means and weights of one place ``(T, in_dim)`` as the papers write them, in numpy."""
    p = {k: v.detach().double().numpy() for k, v in attention.named_parameters()}
    heads, per_group = attention.num_heads, x.shape[1] // attention.num_heads
    seen = [t for t in range(len(x)) if clear[t]]
    normal = np.zeros_like(x)
    for g in range(heads):
        channels = slice(g * per_group, (g + 1) * per_group)
        group = x[seen, channels]
        normal[:, channels] = (x[:, channels] - group.mean()) / np.sqrt(group.var() + 1e-5)
    normal = normal * p['in_norm.weight'] + p['in_norm.bias']
    values = normal @ p['values_proj.weight'].T + p['values_proj.bias']
    d = values.shape[1] // heads
    for t, day in enumerate(days):
        for i in range(values.shape[1]):
            angle = day / 1000 ** (2 * (i % d // 2) / d)
            values[t, i] += np.sin(angle) if i % d % 2 == 0 else np.cos(angle)
    keys = values @ p['keys.weight'].T + p['keys.bias']
    key_dim = p['queries'].shape[1]
    means, weights = np.zeros(values.shape[1]), np.zeros((len(x), heads))
    for h in range(heads):
        score = {
            t: np.exp(keys[t, h * key_dim : (h + 1) * key_dim] @ p['queries'][h] / key_dim**0.5)
            for t in seen
        }
        for t in seen:
            weights[t, h] = score[t] / sum(score.values())
            means[h * d : (h + 1) * d] += weights[t, h] * values[t, h * d : (h + 1) * d]
    return means, weights


def test_attention_is_that_of_the_papers():
    torch.manual_seed(0)
    attention = TemporalAttention(in_dim=8, out_dim=8, dim=16, num_heads=4, key_dim=3).eval()
    for parameter in attention.in_norm.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 3, 6, 8)
    days = torch.tensor([[0.0, 3, 40, 41, 200, 412], [7, 1, 90, 2, 35, 6]])
    clear = torch.rand(2, 3, 6) > 0.4
    clear[0, 0], clear[0, 1], clear[1, 2] = True, False, torch.arange(6) == 3
    with torch.no_grad():
        values = attention.values(x, days, clear)
        weights = attention.weights(values, clear)
        means = attention.pool(values, weights)
    assert not weights[0, 1].any()
    assert not means[0, 1].any()
    for b in range(2):
        for p in range(3):
            if clear[b, p].any():
                expected = by_loops(
                    attention, *(v.double().numpy() for v in (x[b, p], days[b])), clear[b, p]
                )
                np.testing.assert_allclose(means[b, p], expected[0], atol=1e-5)
                np.testing.assert_allclose(weights[b, p], expected[1], atol=1e-5)


def test_parameters_are_the_published_ones():
    def layer(i, o):
        return i * o + o

    # Defaults of the authors' code: heads 16, keys of 8, MLP3 256-128, norms before and after.
    temporal = 2 * 128 + layer(128, 256) + 16 * 8 + layer(256, 128) + layer(256, 128) + 2 * 128
    temporal += 2 * 128
    ours = LTAE(10)
    assert sum(p.numel() for p in ours.temporal.parameters()) == temporal
    assert sum(p.numel() for p in ours.pixel.parameters()) == layer(10, 128) + 2 * 128
    # With their encoder of parcels, the norm of 24 dates x 256 channels that a fixed length
    # allowed, and their classifier of 20 classes: "150k-parameter" (their README).
    parcels = [(10, 32), (32, 64), (132, 128), (128, 64), (64, 32)]
    rest = sum(layer(i, o) + 2 * o for i, o in parcels) + layer(32, 20) + 2 * 24 * 256
    assert temporal + rest == pytest.approx(150_000, rel=0.05)


def test_days_are_those_of_pastis_and_the_same_in_any_year():
    times = torch.tensor(
        [
            seconds('2018-09-17', '2018-10-01T12:00', '2019-10-27', '1970-01-01'),
            seconds('2022-09-17', '2022-10-01T12:00', '2023-10-27', '2100-01-01'),
            seconds('2019-08-30', '2019-09-02', '2019-10-27', '1970-01-01'),
        ]
    )
    valid = torch.tensor([True, True, True, False]).expand(3, -1)
    days = days_since_september(times, valid)
    assert days[0].tolist() == [16, 30.5, 421, 0]
    torch.testing.assert_close(days[1], days[0], atol=1.0, rtol=0)
    assert days[2].tolist() == [363, 366, 421, 0]
    assert not days_since_september(times, torch.zeros_like(valid)).any()


def test_time_attention_sums_to_one_over_clear_dates():
    torch.manual_seed(0)
    image, times = torch.randn(1, 5, 3, 2, 2), torch.arange(5)[None] * 10**6
    valid, clear = torch.tensor([[True, True, False, True, True]]), torch.rand(1, 5, 2, 2) > 0.3
    clear[:, :, 0, 1] = False
    weights = small().eval().time_attention(Series(image, times, valid, clear))
    assert weights.shape == (1, 5, 2, 2)
    seen = clear & valid[:, :, None, None]
    assert not weights[~seen].any()
    torch.testing.assert_close(weights.sum(1), seen.any(1).float())


def test_a_frame_alone_is_the_series_of_that_frame_where_it_is_the_only_one():
    torch.manual_seed(0)
    encoder = small().eval()
    image, times = torch.randn(2, 1, 3, 2, 2), torch.full((2, 1), 10**9)
    valid = torch.ones(2, 1, dtype=torch.bool)
    frames = encoder.frame_features(Series(image, times, valid))
    torch.testing.assert_close(frames[:, 0], encoder.features(Series(image, times, valid)))


def test_it_learns_the_date_of_a_peak_which_no_mean_over_time_tells():
    torch.manual_seed(0)
    encoder, head = small(dropout=0.0), nn.Conv2d(16, 2, 1)
    image, label = torch.zeros(8, 6, 3, 2, 2), torch.arange(8) % 2
    image[torch.arange(8), 1 + 3 * label] = 1 + torch.rand(8, 1, 1, 1)
    times = torch.arange(6).expand(8, -1) * 30 * 86_400
    valid = torch.ones(8, 6, dtype=torch.bool)
    mask = label[:, None, None].expand(-1, 2, 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 0.01)
    for _ in range(60):
        loss = nn.functional.cross_entropy(
            head(encoder.features(Series(image, times, valid))), mask
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_a_batch_of_one_pixel_trains():
    norm = PixelBatchNorm(3).train()
    assert norm(torch.ones(1, 3)).isfinite().all()
    assert norm(torch.ones(0, 3)).shape == (0, 3)
    assert not norm.running_mean.any()
    pixel = (
        small()
        .train()
        .features(
            Series(
                torch.randn(1, 2, 3, 1, 1),
                torch.tensor([[0, 10**6]]),
                torch.ones(1, 2, dtype=torch.bool),
            ),
        )
    )
    assert pixel.isfinite().all()


def test_padding_changes_nothing_while_training_either():
    torch.manual_seed(0)
    encoder = small().train()
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    image, times = torch.randn(2, 4, 3, 2, 2), torch.arange(4).expand(2, -1) * 10**6
    valid = torch.tensor([True, True, True, False]).expand(2, -1)
    padded = encoder.frame_features(Series(image, times, valid))[:, :3]
    real = encoder.frame_features(Series(image[:, :3], times[:, :3], valid[:, :3]))
    torch.testing.assert_close(padded, real, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [({'num_heads': 3}, 'num_heads=3 to divide'), ({'key_dim': 0}, 'at least 1')],
)
def test_sizes_that_do_not_fit_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LTAE(3, **kwargs)

"""TempCNN against its layers in plain numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from torchgeo_sits.keys import Series
from torchgeo_sits.models import TempCNN

DAY = 86_400


def batch_norm(x, norm):
    """Normalise ``(D, ...)`` by running statistics."""
    shape = (-1,) + (1,) * (x.ndim - 1)
    mean, variance, weight, bias = (
        v.detach().numpy().reshape(shape)
        for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def test_layers_are_those_of_the_paper():
    torch.manual_seed(0)
    encoder = TempCNN(2, num_dates=5, hidden_dim=3, kernel_size=3, depth=2, embed_dim=4).eval()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    # Dates 0, 10, 50 and 40 with a gap, onto 0, 10, ... 40 and with an unclear last frame.
    image = torch.randn(1, 4, 2, 1, 1)
    times = torch.tensor([[0, 10, 30, 40]]) * DAY
    clear = torch.tensor([True, True, False, True]).view(1, 4, 1, 1)
    valid = torch.ones(1, 4, dtype=torch.bool)
    with torch.no_grad():
        got = encoder.features(Series(image, times, valid, clear)).flatten()

    series = image[0, [0, 1, 3], :, 0, 0].numpy()
    x = np.stack([np.interp(range(0, 50, 10), [0, 10, 40], series[:, c]) for c in range(2)])
    convolutions = [m for m in encoder.convolutions if isinstance(m, nn.Conv1d)]
    norms = [m for m in encoder.convolutions if isinstance(m, nn.BatchNorm1d)]
    for conv, norm in zip(convolutions, norms, strict=True):
        padded = np.pad(x, ((0, 0), (1, 1)))
        windows = np.stack([padded[:, s : s + 3] for s in range(5)])
        x = np.einsum('sck,ock->os', windows, conv.weight.detach().numpy())
        x = np.maximum(batch_norm(x + conv.bias.detach().numpy()[:, None], norm), 0)
    y = encoder.dense.weight.detach().numpy() @ x.reshape(-1) + encoder.dense.bias.detach().numpy()
    np.testing.assert_allclose(got, np.maximum(batch_norm(y, encoder.last[0]), 0), atol=1e-5)


def test_parameters_are_those_of_the_published_architecture():
    # 3 x 64 units in windows of 5 dates and 256 dense units, each with batch norm, of
    # https://doi.org/10.3390/rs11050523, here with 10 bands and 46 dates.
    convolutions = (10 * 5 * 64 + 64) + 2 * (64 * 5 * 64 + 64) + 3 * 2 * 64
    dense = 46 * 64 * 256 + 256 + 2 * 256
    assert sum(p.numel() for p in TempCNN(10).parameters()) == convolutions + dense


def test_frames_on_the_regular_dates_average_to_the_series():
    torch.manual_seed(0)
    encoder = TempCNN(2, num_dates=6, embed_dim=5, hidden_dim=4).eval()
    encoder.last = nn.Identity()
    image, times = torch.randn(2, 6, 2, 3, 2), torch.arange(6).expand(2, -1) * 20 * DAY
    series = image, times, torch.ones(2, 6, dtype=torch.bool)
    clear = torch.rand(2, 6, 3, 2) > 0.4
    with torch.no_grad():
        frames = encoder.frame_features(Series(*series, clear))
        torch.testing.assert_close(frames.mean(1), encoder.features(Series(*series, clear)))
    assert frames.std(1).mean() > 0.01


def test_pixels_that_were_never_clear_train_nothing():
    torch.manual_seed(0)
    encoder = TempCNN(2, num_dates=4, embed_dim=5, hidden_dim=4).train()
    image, times = torch.randn(1, 4, 2, 2, 2), torch.arange(4)[None] * 20 * DAY
    valid, clear = torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, 2, 2, dtype=torch.bool)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    assert not encoder.features(Series(image, times, valid, clear)).any()
    after = encoder.state_dict()
    assert all(v.equal(before[k]) for k, v in after.items() if 'running' in k)


def test_it_learns_the_date_of_a_peak_from_irregular_dates():
    torch.manual_seed(0)
    encoder = TempCNN(2, num_dates=12, embed_dim=16, hidden_dim=8, dropout=0.0)
    head = nn.Conv2d(16, 2, 1)
    label = torch.arange(16) % 2
    times = torch.cat([torch.zeros(16, 1), torch.rand(16, 8).sort(-1).values, torch.ones(16, 1)], 1)
    peak = 0.3 + 0.4 * label[:, None]
    image = (-((times - peak) ** 2) / 0.02).exp()[:, :, None, None, None].expand(-1, -1, 2, 2, 2)
    days = (times * 365 * DAY).long()
    valid = torch.ones(16, 10, dtype=torch.bool)
    mask = label[:, None, None].expand(-1, 2, 2)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 0.01)
    for _ in range(40):
        loss = nn.functional.cross_entropy(head(encoder.features(Series(image, days, valid))), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [({'kernel_size': 4}, 'odd kernel_size, got 4'), ({'num_dates': 0}, 'num_dates of at least 1')],
)
def test_sizes_that_do_not_fit_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TempCNN(3, **kwargs)

"""U-TAE against its published size and its equations in plain numpy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torchgeo_sits.keys import Series
from torchgeo_sits.models import UTAE, DenseHead
from torchgeo_sits.models.utae import _pool, _reflect_to, _to_level


def small(**kwargs) -> UTAE:
    sizes = {'encoder_widths': (8, 8, 16), 'decoder_widths': (8, 8, 16), 'num_heads': 4}
    return UTAE(3, **(sizes | {'dim': 16, 'groups': 2} | kwargs))


def test_parameters_are_the_published_ones():
    # Table 2 of https://arxiv.org/abs/2107.07933: 1 087 thousand, for 10 bands and 20 classes;
    # below, layer by layer.
    def conv(i, o, side):
        return i * o * side**2 + o + 2 * o  # with its norm

    wide, deep = [64, 64, 64, 128], [32, 32, 64, 128]
    total = conv(10, 64, 3) + conv(64, 64, 3)
    for i, o in pairwise(wide):
        total += conv(i, i, 4) + conv(i, o, 3) + conv(o, o, 3)
    for k in (3, 2, 1):
        skip, i, o = wide[k - 1], deep[k], deep[k - 1]
        total += conv(skip, skip, 1) + conv(i, o, 4) + conv(o + skip, o, 3) + conv(o, o, 3)
    total += 2 * 128 + 128 * 256 + 256 + 16 * 4 + 256 * 64 + 64 + conv(256, 128, 1) + 2 * 128
    out_conv = conv(32, 32, 3) + conv(32, 20, 3)
    assert round((total + out_conv) / 1000) == 1087

    encoder = UTAE(10)
    ours = sum(p.numel() for p in encoder.parameters())
    assert ours == total + conv(32, 32, 3)
    head = sum(p.numel() for p in DenseHead(encoder.embed_dim, 20).parameters())
    assert abs(ours + head - 1_087_000) <= 0.02 * 1_087_000


def test_weights_of_the_coarsest_level_pool_the_finer_ones_by_groups_of_channels():
    torch.manual_seed(0)
    b, heads, t, h, w, d = 2, 3, 4, 2, 3, 6
    clear = torch.rand(b, t, 4 * h, 4 * w) > 0.4
    clear[0, :, 2, 5] = False
    weights = torch.rand(b, heads, t, h, w).softmax(2)
    maps = torch.randn(b, t, d, 4 * h, 4 * w)
    got = _pool(maps, _to_level(weights, clear)).numpy()
    for i, y, x in np.ndindex(b, 4 * h, 4 * w):
        # Bilinear interpolation between the centres of the four nearest cells.
        v, u = (y + 0.5) / 4 - 0.5, (x + 0.5) / 4 - 0.5
        v, u = min(max(v, 0), h - 1), min(max(u, 0), w - 1)
        rows, columns = (int(v), min(int(v) + 1, h - 1)), (int(u), min(int(u) + 1, w - 1))
        cell = weights[i].numpy()
        top, bottom = (
            cell[:, :, r, columns[0]] * (1 - u % 1) + cell[:, :, r, columns[1]] * (u % 1)
            for r in rows
        )
        a = (top * (1 - v % 1) + bottom * (v % 1)) * clear[i, :, y, x].numpy()
        if a.any():
            a = a / a.sum(1, keepdims=True)
        groups = maps[i, :, :, y, x].numpy().reshape(t, heads, d // heads)
        expected = np.einsum('gt,tgc->gc', a, groups).reshape(-1)
        np.testing.assert_allclose(got[i, :, y, x], expected, atol=1e-5)


def test_frames_are_normed_one_by_one():
    # The public U-TAE norms padding along; there, a series changes with its batch mates' lengths.
    torch.manual_seed(0)
    encoder = small().eval()
    image = torch.randn(1, 3, 3, 8, 8)
    image[:, 2] *= 100
    clear, valid = torch.ones(1, 3, 8, 8, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)
    dates = torch.zeros(1, 3, dtype=torch.int64)
    with torch.no_grad():
        maps, _ = encoder._levels(Series(image, dates, valid, clear))
        alone, _ = encoder._levels(Series(*(x[:, :1] for x in (image, dates, valid, clear))))
    for together, single in zip(maps, alone, strict=True):
        torch.testing.assert_close(together[:, :1], single)


@pytest.mark.parametrize('n', [1, 2, 3, 5, 8])
def test_reflection_goes_back_and_forth(n):
    image = torch.arange(3.0 * n).view(3, n)
    expected = np.pad(image.numpy(), ((0, 13), (0, 16 - n)), mode='reflect')
    np.testing.assert_array_equal(_reflect_to(image, (16, 16)), expected)
    # Where PyTorch can reflect at all, it does the same.
    if n == 8:
        padded = F.pad(image[None], (0, 7), mode='reflect')[0]
        torch.testing.assert_close(_reflect_to(image, (3, 15)), padded)


def test_time_attention_sums_to_one_over_clear_dates():
    torch.manual_seed(0)
    image, times = torch.randn(1, 5, 3, 9, 7), torch.arange(5)[None] * 10**6
    valid, clear = torch.tensor([[True, True, False, True, True]]), torch.rand(1, 5, 9, 7) > 0.6
    clear[:, :, 4, 1] = False
    with torch.no_grad():
        weights = small().eval().time_attention(Series(image, times, valid, clear))
    assert weights.shape == (1, 5, 9, 7)
    seen = clear & valid[:, :, None, None]
    assert not weights[~seen].any()
    torch.testing.assert_close(weights.sum(1), seen.any(1).float())


def test_a_series_of_one_frame_is_that_frame():
    torch.manual_seed(0)
    encoder = small().eval()
    series = torch.randn(2, 1, 3, 5, 6), torch.tensor([[5], [9]]), torch.ones(2, 1).bool()
    clear = torch.rand(2, 1, 5, 6) > 0.4
    with torch.no_grad():
        frames = encoder.frame_features(Series(*series, clear))[:, 0]
        torch.testing.assert_close(frames, encoder.features(Series(*series, clear)))


def test_it_learns_where_and_when_a_field_peaks():
    torch.manual_seed(0)
    encoder = small(dropout=0.0)
    head = nn.Conv2d(encoder.embed_dim, 2, 1)
    label = torch.zeros(4, 8, 8, dtype=torch.long)
    label[:2, :, 4:] = 1
    label[2:, 4:] = 1
    image = torch.zeros(4, 4, 3, 8, 8)
    image[:, 1] = (label == 0).float()[:, None]
    image[:, 3] = (label == 1).float()[:, None]
    times = torch.arange(4).expand(4, -1) * 30 * 86_400
    valid = torch.ones(4, 4, dtype=torch.bool)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 0.01)
    for _ in range(40):
        loss = F.cross_entropy(head(encoder.features(Series(image, times, valid))), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_padding_changes_nothing_while_training_either():
    torch.manual_seed(0)
    encoder = small().train()
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    image, times = torch.randn(2, 4, 3, 5, 6), torch.arange(4).expand(2, -1) * 10**6
    valid = torch.tensor([True, True, True, False]).expand(2, -1)
    padded = encoder.frame_features(Series(image, times, valid))[:, :3]
    real = encoder.frame_features(Series(image[:, :3], times[:, :3], valid[:, :3]))
    torch.testing.assert_close(padded, real, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'decoder_widths': (8, 16)}, 'as many encoder_widths as decoder_widths'),
        ({'decoder_widths': (8, 8, 8)}, 'the same at the end'),
        ({'num_heads': 3}, 'num_heads=3 and groups=2 to divide'),
    ],
)
def test_sizes_that_do_not_fit_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        small(**kwargs)

"""Deep-STaR against its steps done one by one in NumPy, and its training on planes."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from einops import rearrange

from torchgeo_sits.keys import Series
from torchgeo_sits.models import DeepSTaR, build_encoder
from torchgeo_sits.tasks import SITSClassification

C = 3
DAY = 86_400
SMALL = {'backbone': 'test_resnet', 'num_steps': 16, 'max_stride': 4}


def series(b=2, t=7, h=5, w=11, *, seed=0):
    """Series on irregular dates, a frame of padding in the first, one pixel never seen."""
    g = torch.Generator().manual_seed(seed)
    clear = torch.rand(b, t, h, w, generator=g) > 0.4
    clear[0, :, h // 2, w // 4] = False
    image = torch.randn(b, t, C, h, w, generator=g)
    image = image.masked_fill(~clear[:, :, None], float('nan'))
    times = (18_000 + torch.randint(0, 400, (b, t), generator=g).sort(-1).values) * DAY
    valid = torch.ones(b, t, dtype=torch.bool)
    valid[0, t // 2] = t == 1
    return image, times, valid, clear


def plane_by_hand(encoder, plane, clear, times, grid):
    """Cells of one plane ``(C, T, L)`` as ``(D, G, L)``: fill, convolve, interpolate along L."""
    steps, stride = len(grid), encoder.cell
    length = plane.shape[-1]
    image = np.zeros((C, steps, -(-length // stride) * stride), dtype=np.float32)
    for x in range(length):
        known = clear[:, x]
        for band in range(C):
            if known.any():
                image[band, :, x] = np.interp(grid, times[known], plane[band, known, x])
    cells = encoder.network(torch.from_numpy(image)[None])[0][0].numpy()
    centres = (np.arange(cells.shape[-1]) + 0.5) * stride - 0.5
    return np.apply_along_axis(lambda v: np.interp(np.arange(length), centres, v), -1, cells)


def maps_by_hand(encoder, image, times, valid, clear):
    """Rows and columns of one series folded back, ``(D, G, H, W)``, and the dates of G."""
    image, times, clear = image.numpy(), times.numpy(), (clear & valid[:, None, None]).numpy()
    real = times[valid.numpy()]
    grid = np.linspace(real.min(), real.max(), encoder.num_steps)
    rows = [
        plane_by_hand(encoder, image[:, :, y].swapaxes(0, 1), clear[:, y], times, grid)
        for y in range(image.shape[2])
    ]
    columns = [
        plane_by_hand(encoder, image[:, :, :, x].swapaxes(0, 1), clear[:, :, x], times, grid)
        for x in range(image.shape[3])
    ]
    maps = (np.stack(rows, 2) + np.stack(columns, 3)) / 2
    return maps, grid.reshape(-1, encoder.cell).mean(-1)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return DeepSTaR(C, **SMALL).eval()


@torch.no_grad()
def test_maps_are_those_of_rows_and_columns_folded_back(encoder):
    batch = series()
    found, frames = encoder.features(Series(*batch)), encoder.frame_features(Series(*batch))
    for i, (image, times, valid, clear) in enumerate(zip(*batch, strict=True)):
        maps, dates = maps_by_hand(encoder, image, times, valid, clear)
        np.testing.assert_allclose(found[i], maps.mean(1), atol=1e-4)
        expected = np.apply_along_axis(partial(np.interp, times.numpy(), dates), 1, maps)
        expected = expected.swapaxes(0, 1) * valid.numpy()[:, None, None, None]
        np.testing.assert_allclose(frames[i], expected, atol=1e-4)


@torch.no_grad()
def test_series_of_one_date_has_one_map(encoder):
    image, times, valid, clear = series(t=3)
    valid[:] = torch.tensor([False, True, False])
    frames = encoder.frame_features(Series(image, times, valid, clear))
    torch.testing.assert_close(frames[:, 1], encoder.features(Series(image, times, valid, clear)))


@torch.no_grad()
def test_each_plane_is_encoded_on_its_own(encoder):
    image, times, valid, clear = series()
    planes = rearrange(image, 'b t c h w -> b h c t w')
    known = rearrange(clear, 'b t h w -> b h t w')
    together = encoder.encode_planes(Series(planes, times, valid, known))
    for n in range(planes.shape[1]):
        here = slice(n, n + 1)
        alone = encoder.encode_planes(Series(planes[:, here], times, valid, known[:, here]))
        torch.testing.assert_close(together.late[:, here], alone.late, atol=1e-5, rtol=0)
        # What SITSClassification takes for the embedding of the plane.
        seen = (known[:, n] & valid[..., None]).any(1)
        for i in range(len(image)):
            mean = together.late[i, n, seen[i]].mean(0)
            torch.testing.assert_close(alone.embed[i], mean, atol=1e-5, rtol=0)


@torch.no_grad()
def test_embedding_is_the_mean_over_planes_of_what_was_seen(encoder):
    image, times, valid, _ = series(h=6, w=6)
    image = image.nan_to_num()
    embeds = [
        encoder.encode_planes(Series(rearrange(image, axes), times, valid)).late.mean(2)
        for axes in ('b t c h w -> b h c t w', 'b t c h w -> b w c t h')
    ]
    expected = torch.cat(embeds, 1).mean(1)
    torch.testing.assert_close(encoder(Series(image, times, valid)), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_hidden_pixels_are_not_seen(encoder):
    image, times, valid, clear = series()
    planes = rearrange(image, 'b t c h w -> b h c t w').nan_to_num()
    known = rearrange(clear, 'b t h w -> b h t w')
    hidden = torch.rand(2, 5, 11, generator=torch.Generator().manual_seed(1)) > 0.5
    one = encoder.encode_planes(Series(planes, times, valid, known), token_mask=hidden)
    other = planes + hidden[:, :, None, None] * 9
    two = encoder.encode_planes(Series(other, times, valid, known), token_mask=hidden)
    assert torch.equal(one.late, two.late)
    assert not (one.seen & hidden).any()
    with pytest.raises(ValueError, match=r'token_mask \(2, 5, 11\) .*got \(2, 5, 3\)'):
        encoder.encode_planes(Series(planes, times, valid), token_mask=hidden[..., :3])


@pytest.mark.parametrize('backbone', ['test_resnet', 'test_convnext', 'test_efficientnet'])
def test_votes_of_planes_learn_what_the_series_shows(backbone):
    torch.manual_seed(0)
    task = SITSClassification(
        model='deep_star',
        model_kwargs={'backbone': backbone, 'num_steps': 16},
        in_channels=C,
        num_classes=2,
        depth='late',
        aggregate='vote',
    )
    image, times, valid, clear = series(b=12, h=4, w=6)
    label = torch.arange(12) % 2
    # The season rises or falls, everywhere alike.
    trend = (
        torch.linspace(-1, 1, 7)[:, None, None, None] * (2 * label - 1)[:, None, None, None, None]
    )
    batch = {
        'image': (0.3 * image + trend),
        'acquisition_times': times,
        'valid': valid,
        'mask_clear': clear,
        'label': label,
    }
    optimizer = torch.optim.AdamW(task.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        _, scores, labels = task.compare(batch)
        assert len(scores) == 12 * (4 + 6)
        losses.append(task.loss_of(scores, labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 4
    with torch.no_grad():
        assert torch.equal(task.eval()(batch).argmax(1), label)


def test_a_lone_pixel_of_one_date_can_be_trained_on():
    encoder = build_encoder('deep_star', C, **SMALL, chunk_size=1)
    image, times, valid, _ = series(b=1, t=1, h=1, w=1)
    encoder(Series(image.nan_to_num(), times, valid)).sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_chunks_do_not_split_what_batch_norm_trains_on():
    image, times, valid, clear = series()
    found = []
    for chunk_size in (1, 10**6):
        torch.manual_seed(0)
        encoder = DeepSTaR(C, **SMALL, chunk_size=chunk_size)
        found.append(encoder.features(Series(image, times, valid, clear)))
    torch.testing.assert_close(*found)


def test_layers_follow_the_network_and_leave_out_no_weight():
    encoder = DeepSTaR(C)
    layers = list(encoder.group_matcher())
    assert layers.index('conv1') < layers.index('layer1') < layers.index('layer2')
    patterns = encoder.group_matcher().values()
    for name, _ in encoder.named_parameters():
        assert sum(bool(re.match(p, name)) for p in patterns) == 1, name


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'backbone': 'resnet19'}, r"'resnet19': did you mean one of .*resnet18"),
        ({'num_steps': 20}, 'num_steps to be a multiple of 8.*at least 16, got 20'),
        ({'num_steps': 8}, 'at least 16, got 8'),
        ({'max_stride': 0}, 'max_stride of at least 1, got 0'),
        ({'in_channels': 0}, 'in_channels of at least 1, got 0'),
    ],
)
def test_arguments_out_of_range_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DeepSTaR(**kwargs)

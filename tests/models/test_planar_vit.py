"""PlanarViT: what it promises beyond the protocol."""

import pytest
import torch
from einops import rearrange

from torchgeo_sits.keys import Series
from torchgeo_sits.models import PlanarViT, planar_vit_base, planar_vit_small, planar_vit_tiny
from torchgeo_sits.models.planar_vit import _both_sides


def series(b=2, t=6, c=3, h=7, w=5):
    g = torch.Generator().manual_seed(1)
    image = torch.randn(b, t, c, h, w, generator=g)
    times = 1_500_000_000 + torch.randint(0, 60_000_000, (b, t), generator=g).sort(-1).values
    valid = torch.ones(b, t, dtype=torch.bool)
    valid[0, 4:] = False
    clear = torch.rand(b, t, h, w, generator=g) > 0.4
    clear[0, :, 2, 3] = False
    return image, times, valid, clear


def model(**kwargs) -> PlanarViT:
    torch.manual_seed(0)
    return planar_vit_tiny(3, **kwargs).eval()


@torch.no_grad()
def test_the_map_is_the_mean_of_its_rows_and_columns_as_planes():
    # Without this, what pretraining on planes taught would not be what a map uses.
    image, times, valid, clear = series()
    for segment in (1, 2):
        encoder = model(segment=segment)
        rows = encoder.encode_planes(
            Series(
                rearrange(image, 'b t c h w -> b h c t w'),
                times,
                valid,
                rearrange(clear, 'b t h w -> b h t w'),
            ),
        )
        columns = encoder.encode_planes(
            Series(
                rearrange(image, 'b t c h w -> b w c t h'),
                times,
                valid,
                rearrange(clear, 'b t h w -> b w t h'),
            ),
        )
        for depth in ('early', 'late'):
            across = getattr(rows, depth).repeat_interleave(segment, 2)[:, :, :5]
            down = getattr(columns, depth).repeat_interleave(segment, 2)[:, :, :7]
            expected = rearrange((across + down.transpose(1, 2)) / 2, 'b h w d -> b d h w')
            given = encoder.features(Series(image, times, valid, clear), depth=depth)
            torch.testing.assert_close(given, expected, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize('axes', [(-1,), (-2,), 'transpose'])
def test_flipping_or_transposing_the_image_does_so_to_the_map(axes):
    def turn(x):
        return x.transpose(-1, -2) if axes == 'transpose' else x.flip(axes)

    image, times, valid, clear = series()
    encoder = model()
    turned = encoder.features(Series(turn(image), times, valid, turn(clear)))
    expected = turn(encoder.features(Series(image, times, valid, clear)))
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize('segment', [1, 3])
def test_time_attention_conserves_its_mass(segment):
    image, times, valid, clear = series()
    weights = model(segment=segment).time_attention(Series(image, times, valid, clear))
    seen = (clear & valid[:, :, None, None]).any(1)
    if segment == 1:
        assert not weights[~(clear & valid[:, :, None, None])].any()
        torch.testing.assert_close(weights.sum(1), seen.float(), atol=1e-6, rtol=0)
    else:
        assert ((weights.sum(1) - 1).abs() < 1e-6)[seen].all()


@torch.no_grad()
def test_attention_over_time_equals_ordinary_attention():
    # The folded key and value projections against softmax(Q K^T) V written out.
    encoder = model(num_queries=2, seasonal_queries=3)
    stage, queries = encoder.time_stage, encoder.time_stage.queries.weight[:, None]
    g = torch.Generator().manual_seed(3)
    times = torch.randint(0, 10**9, (2, 6), generator=g)
    dates = encoder._encode_dates(
        Series(torch.empty(0), times, torch.ones_like(times, dtype=torch.bool))
    )
    hidden = torch.randn(2, 4, 6, 64, generator=g)
    clear = torch.rand(2, 4, 6, 1, generator=g) > 0.3
    clear[:, :, 0] = True
    bias = dates.prior.transpose(1, 2)[:, None, :, None].expand(2, 4, 5, 1, 6)
    bias = bias.masked_fill(~clear[..., 0][:, :, None, None], float('-inf'))
    keys = hidden[:, :, None].expand(-1, -1, 5, -1, -1)
    means = torch.nn.functional.scaled_dot_product_attention(
        queries.expand(2, 4, 5, 1, 64), keys, keys, attn_mask=bias, scale=1.0
    )
    expected = means.squeeze(-2).flatten(-2)
    torch.testing.assert_close(stage.means(hidden, clear, dates), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_early_features_are_the_means_before_they_are_narrowed():
    image, times, valid, clear = series()
    encoder = model(num_queries=2, seasonal_queries=3)
    stage, dates = encoder.time_stage, encoder._encode_dates(Series(image, times, valid))
    early = encoder.features(Series(image, times, valid, clear), depth='early')
    assert early.shape[1] == encoder.feature_dim('early') == 5 * 64
    # One pixel on its own: to the early features its neighbours mean nothing.
    values, seen = image[:, None, :, None, :, 2, 3], (clear & valid[..., None, None])[..., 2, 3]
    hidden = stage.hidden(values, seen[:, None, :, None], dates)
    weights = stage.attention(hidden, seen[:, None, :, None], dates)
    means = torch.einsum('bptk,bptd->bpkd', weights, hidden)[:, 0].flatten(1)
    expected = (means - means.mean(1, keepdim=True)) / (
        means.var(1, False, keepdim=True) + 1e-5
    ) ** 0.5
    torch.testing.assert_close(early[:, :, 2, 3], expected, atol=1e-4, rtol=0)
    joined = encoder.features(Series(image, times, valid, clear), depth='joined')
    assert torch.equal(joined[:, : 5 * 64], early)
    late = encoder.features(Series(image, times, valid, clear), depth='late')
    torch.testing.assert_close(joined[:, 5 * 64 :], late)


@torch.no_grad()
def test_a_frame_that_was_clouded_takes_the_features_of_the_series():
    image, times, valid, clear = series()
    encoder = model()
    frames = encoder.frame_features(Series(image, times, valid, clear))
    late = encoder.features(Series(image, times, valid, clear))
    hidden = ~clear & valid[:, :, None, None]
    expected = late[:, None].expand_as(frames).movedim(2, -1)[hidden]
    torch.testing.assert_close(frames.movedim(2, -1)[hidden], expected)
    assert (frames - late[:, None]).movedim(2, -1)[
        clear & valid[:, :, None, None]
    ].abs().max() > 1e-3


@torch.no_grad()
def test_a_series_of_one_frame_deviates_by_nothing():
    image, times, _, _ = series(t=1)
    valid = torch.ones_like(times, dtype=torch.bool)
    encoder = model()
    frames = encoder.frame_features(Series(image, times, valid))
    torch.testing.assert_close(frames[:, 0], encoder.features(Series(image, times, valid)))


@torch.no_grad()
def test_masked_tokens_say_nothing_of_their_pixels():
    image, times, valid, clear = series()
    planes = rearrange(image, 'b t c h w -> b h c t w')
    known = rearrange(clear, 'b t h w -> b h t w')
    hide = torch.zeros(2, 7, 5, dtype=torch.bool)
    hide[:, :, 1:3] = True
    encoder = model()
    one = encoder.encode_planes(Series(planes, times, valid, known), token_mask=hide)
    planes[..., 1:3] += 5
    other = encoder.encode_planes(Series(planes, times, valid, known), token_mask=hide)
    torch.testing.assert_close(one.late, other.late)
    open_ = encoder.encode_planes(Series(planes, times, valid, known))
    assert (open_.late - other.late).abs().max() > 1e-3
    with pytest.raises(ValueError, match='token_mask'):
        encoder.encode_planes(Series(planes, times, valid, known), token_mask=hide[..., :4])


def test_slices_give_the_values_and_gradients_of_the_whole():
    image, times, valid, clear = series()
    grads = []
    for chunk in (2**18, 16):
        encoder = model(chunk_size=chunk)
        encoder.features(
            Series(image, times, valid, clear), depth='joined'
        ).square().mean().backward()
        grads.append({k: p.grad for k, p in encoder.named_parameters()})
    for key, grad in grads[0].items():
        if grad is not None:
            torch.testing.assert_close(grads[1][key], grad, atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_dates_matter_and_can_be_switched_off():
    image, times, valid, clear = series()
    later = times + 90 * 86400
    for kwargs, moved in (
        ({}, True),
        ({'harmonics': 0}, False),  # elapsed years only: a shift of all dates is none
        ({'octaves': 0}, True),
        ({'harmonics': 0, 'octaves': 0}, False),
    ):
        encoder = model(**kwargs)
        change = encoder(Series(image, times, valid, clear)) - encoder(
            Series(image, later, valid, clear)
        )
        assert (change.abs().max() > 1e-4) == moved, kwargs


def test_sizes():
    count = [
        sum(p.numel() for p in build().parameters()) / 1e6
        for build in (planar_vit_tiny, planar_vit_small, planar_vit_base)
    ]
    assert count[0] < 1
    assert count[1] <= 5
    assert count[2] > 20


def test_config_rebuilds_the_encoder():
    encoder = planar_vit_small(4, segment=2, octaves=0)
    again = PlanarViT(**encoder.config)
    assert again.config == encoder.config
    again.load_state_dict(encoder.state_dict())


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'in_channels': 0}, 'in_channels of at least 1, got 0'),
        ({'segment': 0}, 'segment of at least 1, got 0'),
        ({'num_heads': 5}, 'num_heads to divide embed_dim'),
        ({'harmonics': -1}, 'harmonics >= 0'),
    ],
)
def test_bad_sizes_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PlanarViT(**kwargs)


def test_bad_batches_are_named():
    image, times, valid, clear = series()
    encoder = model()
    for batch, message in (
        ((image[:, :, :2], times, valid, clear), 'C=3'),
        ((image[:, :0], times[:, :0], valid[:, :0], None), 'no empty axis'),
        ((image[0], times, valid, clear), 'expected image'),
        ((image, times.float(), valid, clear), 'acquisition_times'),
        ((image, times[:, :3], valid, clear), 'acquisition_times'),
        ((image, times, valid.float(), clear), 'valid'),
        ((image, times, valid, clear[..., :3]), 'mask_clear'),
    ):
        with pytest.raises(ValueError, match=message):
            encoder(Series(*batch))
    with pytest.raises(ValueError, match='depth'):
        encoder.features(Series(image, times, valid, clear), depth='deep')


@torch.no_grad()
def test_what_lies_beside_a_pixel_is_the_mean_of_both_sides_where_clear():
    values = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 1, 4)
    clear = torch.tensor([True, False, True, True]).view(1, 1, 1, 4)
    found, known = _both_sides(values, clear, 2)
    assert found[1:].flatten(1).tolist() == [[0, 2, 4, 3], [3, 4, 1, 0]]
    assert known[1:].flatten(1).tolist() == [[False, True, True, True], [True, True, True, False]]


@torch.no_grad()
def test_neighbours_count_only_once_they_are_learned_and_fill_no_gap():
    image, times, valid, clear = series()
    given = Series(image, times, valid, clear)
    alone, encoder = model(), model(reach=1)
    encoder.load_state_dict(
        encoder.state_dict()
        | {k: v for k, v in alone.state_dict().items() if not k.startswith('time_stage.embed')}
    )
    weight = encoder.time_stage.embed.weight
    weight[:, :3] = alone.time_stage.embed.weight
    encoder.time_stage.embed.bias.copy_(alone.time_stage.embed.bias)
    weight[:, 6] = 0.0  # whether the pixel itself is clear, as it always is
    for depth in ('early', 'late'):
        torch.testing.assert_close(
            encoder.features(given, depth=depth),
            alone.features(given, depth=depth),
            atol=1e-5,
            rtol=0,
        )
    weight[:, 3:6] = torch.linspace(-1, 1, len(weight))[:, None]
    moved = encoder.features(given, depth='early') - alone.features(given, depth='early')
    assert (moved.abs().amax(1) > 1e-3)[clear.any(1)].float().mean() > 0.9
    assert not moved[0, :, 2, 3].any()  # never clear: nothing is told of it by others


def test_neighbours_need_tokens_of_one_pixel():
    with pytest.raises(ValueError, match='segment of 1'):
        model(reach=1, segment=2)


def test_years_are_checked():
    with pytest.raises(ValueError, match='expected years among'):
        model(years=('middle',))

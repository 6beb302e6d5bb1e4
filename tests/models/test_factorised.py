import numpy as np
import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import Tensor

from torchgeo_sits.models import FactorisedEncoder, Series, factorised_small, factorised_tiny

C, C1 = 4, 2


def series(channels=C, t=5, *, b=2, h=6, w=8, seed=0) -> Series:
    """Random series; what is not clear is NaN."""
    g = torch.Generator().manual_seed(seed)
    clear = torch.rand(b, t, h, w, generator=g) > 0.3
    image = torch.randn(b, t, channels, h, w, generator=g)
    image = image.masked_fill(~clear[:, :, None], float('nan'))
    times = 1_500_000_000 + torch.randint(0, 60_000_000, (b, t), generator=g).sort(-1).values
    return Series(image, times, torch.ones(b, t, dtype=torch.bool), clear)


def model(**kwargs) -> FactorisedEncoder:
    torch.manual_seed(0)
    kwargs = {'s1_channels': C1, 'dim': 16, 'patch_size': 2, 'num_heads': 2} | kwargs
    return FactorisedEncoder(C, **kwargs).eval()


def as_planes(x: Series) -> Series:
    """The rows of an image as planes."""
    image, clear = x.image.permute(0, 3, 2, 1, 4), x.mask_clear.transpose(1, 2)
    return x._replace(image=image, mask_clear=clear)


@torch.no_grad()
def outputs(encoder: FactorisedEncoder, optical: Series, s1=None) -> dict[str, Tensor]:
    """Everything that the encoder says, of the image and of its rows as planes."""
    said = encoder.encode_image(optical._replace(s1=s1))._asdict()
    said['map'] = encoder.features(optical._replace(s1=s1), depth='joined')
    said['vector'] = encoder(optical._replace(s1=s1))
    said['frames'] = encoder.frame_features(optical._replace(s1=s1))
    rows = encoder.encode_planes(
        as_planes(optical)._replace(s1=None if s1 is None else as_planes(s1))
    )
    said |= {f'rows {name}': value for name, value in rows._asdict().items()}
    for name, value in said.items():
        assert value.isfinite().all(), name
    return said


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, value in one.items():
        assert (other[name].float() - value.float()).abs().max() <= 1e-5, name


def test_pooling_without_blocks_is_the_formula():
    encoder = model(spatial_depth=0, temporal_depth=0).double()
    optical, s1 = series(h=2, w=2), series(C1, 3, h=2, w=2, seed=1)
    optical.image.nan_to_num_(9.0)
    s1.image.nan_to_num_(9.0)
    said = encoder.encode_image(
        optical._replace(image=optical.image.double(), s1=s1._replace(image=s1.image.double()))
    )
    p = {name: value.detach().numpy() for name, value in encoder.named_parameters()}
    times = torch.cat([optical.acquisition_times, s1.acquisition_times], 1)
    dates = encoder.dates(times, torch.ones_like(times).bool()).detach().numpy()

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * p[f'{name}.weight'] + p[f'{name}.bias']

    def gelu(x):
        return 0.5 * x * (1 + torch.erf(torch.tensor(x / np.sqrt(2))).numpy())

    for b in range(2):
        patches, tokens, known = [], [], []
        for sensor, (name, inputs) in enumerate((('frames', optical), ('frames_s1', s1))):
            for t in range(inputs.image.shape[1]):
                clear = inputs.mask_clear[b, t].numpy()
                image = inputs.image[b, t].numpy() * clear
                values = np.concatenate([image, clear[None]]).transpose(1, 2, 0).reshape(-1)
                x = gelu(p[f'{name}.patches.0.weight'] @ values + p[f'{name}.patches.0.bias'])
                x = p[f'{name}.patches.2.weight'] @ x + p[f'{name}.patches.2.bias']
                patches.append(x)
                tokens.append(x + dates[b, len(tokens)] + p['sensors'][sensor])
                known.append(clear.any())
        x = norm(np.stack(tokens), 'fusion.norm')[known]
        scores = np.exp(x @ p['fusion.queries.weight'].T)
        weights = scores / scores.sum(0)
        patches = np.stack(patches)[known]
        groups = slice(0, 8), slice(8, 16)
        pooled = np.concatenate([weights[:, k] @ x[:, g] for k, g in enumerate(groups)])
        late = p['fusion.proj.0.weight'] @ pooled + p['fusion.proj.0.bias']
        late = norm(late, 'fusion.proj.1')
        early = np.concatenate([weights[:, k] @ patches[:, g] for k, g in enumerate(groups)])
        # Dates are encoded in float32.
        np.testing.assert_allclose(said.late[b, 0, 0].detach().numpy(), late, atol=1e-6)
        np.testing.assert_allclose(said.early[b, 0, 0].detach().numpy(), early, atol=1e-6)


@pytest.mark.parametrize('garbage', [0.0, float('nan'), 1e30])
def test_s1_padding_and_its_content_change_nothing(garbage):
    encoder, optical, s1 = model(), series(), series(C1, 3, seed=1)
    where = torch.tensor([1, 2, 5])
    b, _, _, h, w = s1.image.shape
    far = torch.tensor([-(10**10), 10**10] * 3).expand(b, -1)
    padded = Series(
        torch.full((b, 6, C1, h, w), garbage).index_copy(1, where, s1.image),
        far.index_copy(1, where, s1.acquisition_times),
        torch.zeros(b, 6, dtype=torch.bool).index_fill(1, where, True),
        torch.ones(b, 6, h, w, dtype=torch.bool).index_copy(1, where, s1.mask_clear),
    )
    same(outputs(encoder, optical, s1), outputs(encoder, optical, padded))


def test_s1_content_where_unclear_and_order_and_batch_mates_change_nothing():
    encoder, optical, s1 = model(), series(b=3), series(C1, 3, b=3, seed=1)
    before = outputs(encoder, optical, s1)
    same(before, outputs(encoder, optical, s1._replace(image=s1.image.nan_to_num(1e30))))
    order = torch.tensor([2, 0, 1])
    same(before, outputs(encoder, optical, Series(*(x[:, order] for x in s1[:4]))))
    for i in range(3):
        one = [Series(*(x[i : i + 1] for x in inputs[:4])) for inputs in (optical, s1)]
        same({k: v[i : i + 1] for k, v in before.items()}, outputs(encoder, *one))


def test_samples_without_s1_are_as_if_there_were_none():
    encoder, optical, s1 = model(), series(), series(C1, 3, seed=1)
    without = outputs(encoder, optical)
    s1.valid[1] = False
    some = outputs(encoder, optical, s1)
    same({k: v[1:] for k, v in without.items()}, {k: v[1:] for k, v in some.items()})
    for name in ('embed', 'early', 'late', 'frames'):
        assert (without[name][0] - some[name][0]).abs().max() > 1e-3, name


def test_s1_is_fused_by_date_and_place():
    encoder, optical, s1 = model(), series(), series(C1, 3, seed=1)
    before = outputs(encoder, optical, s1)
    later = s1._replace(acquisition_times=s1.acquisition_times + 10_000_000)
    assert (outputs(encoder, optical, later)['late'] - before['late']).abs().max() > 1e-3
    # What clouds hide from the optical series is known from the other.
    optical.mask_clear[:, :, :2, :2] = False
    clouded = outputs(encoder, optical, s1)
    assert clouded['seen'].all()
    assert not outputs(encoder, optical)['seen'][:, 0, 0].any()
    s1.mask_clear[:, :, :2, :2] = False
    blind = outputs(encoder, optical, s1)
    nothing = encoder.fusion.nothing_seen.expand(2, -1)
    torch.testing.assert_close(blind['late'][:, 0, 0], nothing)
    assert (clouded['late'][:, 0, 0] - nothing).abs().max() > 0.1


def test_elapsed_time_counts_from_the_first_date_of_either_sensor():
    encoder = model(harmonics=0)
    optical, s1 = series(), series(C1, 3, seed=1)
    moved = [x._replace(acquisition_times=x.acquisition_times + 10**8) for x in (optical, s1)]
    same(outputs(encoder, optical, s1), outputs(encoder, *moved))
    apart = outputs(encoder, optical, moved[1])
    assert (apart['late'] - outputs(encoder, optical, s1)['late']).abs().max() > 1e-3


@torch.no_grad()
def test_moving_all_that_is_seen_by_a_patch_moves_its_features():
    encoder = model(s1_channels=0)
    image, times, valid, *_ = series(h=16, w=20)
    image.nan_to_num_()
    clear = torch.zeros(2, 5, 16, 20, dtype=torch.bool)
    clear[:, :, 2:8, 4:10] = True
    late = encoder.encode_image(Series(image, times, valid, clear)).late
    moved = encoder.encode_image(
        Series(
            *(x.roll((6, 8), (-2, -1)) if x.ndim > 2 else x for x in (image, times, valid, clear))
        )
    ).late
    torch.testing.assert_close(moved[:, 4:7, 6:9], late[:, 1:4, 2:5], atol=1e-5, rtol=0)
    turned = encoder.encode_image(Series(image.flip(-1), times, valid, clear.flip(-1))).late.flip(2)
    assert (turned[:, 1:4, 2:5] - late[:, 1:4, 2:5]).abs().max() > 1e-3, 'place says nothing'


@torch.no_grad()
def test_a_path_is_an_image_of_equal_rows():
    encoder, optical, s1 = model(), series(w=7), series(C1, 3, w=7, seed=1)
    hidden = torch.rand(2, 6, 4, generator=torch.Generator().manual_seed(0)) > 0.7
    said = encoder.encode_planes(as_planes(optical)._replace(s1=as_planes(s1)), token_mask=hidden)
    for n in range(6):
        rows = [
            x._replace(image=x.image[..., [n, n], :], mask_clear=x.mask_clear[..., [n, n], :])
            for x in (optical, s1)
        ]
        alone = encoder.encode_image(rows[0]._replace(s1=rows[1]), token_mask=hidden[:, [n]])
        for name in ('early', 'late', 'seen'):
            torch.testing.assert_close(getattr(said, name)[:, [n]], getattr(alone, name))
    for b in range(2):
        torch.testing.assert_close(said.embed[b], said.late[b, said.seen[b]].mean(0))


@torch.no_grad()
def test_a_frame_is_encoded_without_the_others():
    encoder, optical = model(s1_channels=0), series()
    clear = optical.mask_clear
    _, together, _ = encoder.frames(optical.image, clear, encoder.mask_token)
    for t in range(5):
        _, alone, _ = encoder.frames(optical.image[:, [t]], clear[:, [t]], encoder.mask_token)
        torch.testing.assert_close(together[:, [t]], alone)


@torch.no_grad()
def test_hidden_cells_are_told_by_their_neighbours_only():
    encoder, optical, s1 = model(), series(), series(C1, 3, seed=1)
    hidden = torch.zeros(2, 3, 4, dtype=torch.bool)
    hidden[:, 1, 1:3] = True
    before = encoder.encode_image(optical._replace(s1=s1), token_mask=hidden).late
    inside, beside = torch.zeros(6, 8), torch.zeros(6, 8)
    inside[2:4, 2:6] = beside[0:2, 2:6] = 3
    for what in (optical, s1):
        add = what._replace(image=what.image + inside)
        inputs = (add, s1) if what is optical else (optical, add)
        after = encoder.encode_image(inputs[0]._replace(s1=inputs[1]), token_mask=hidden).late
        torch.testing.assert_close(after, before)
        add = what._replace(image=what.image + beside)
        inputs = (add, s1) if what is optical else (optical, add)
        after = encoder.encode_image(inputs[0]._replace(s1=inputs[1]), token_mask=hidden).late
        assert (after - before)[:, 1, 1:3].abs().max() > 1e-4


@pytest.mark.parametrize('given', [False, True])
def test_every_weight_gets_a_gradient(given):
    encoder = model().train()
    hidden = torch.zeros(2, 3, 4, dtype=torch.bool)
    hidden[:, 1] = True
    s1 = series(C1, 3, seed=1) if given else None
    said = encoder.encode_image(series()._replace(s1=s1), token_mask=hidden)
    said.late.square().sum().backward()
    assert [k for k, p in encoder.named_parameters() if p.grad is None] == []
    assert given == bool(encoder.frames_s1.patches[0].weight.grad.any())


def test_sizes_and_layers():
    tiny, small = factorised_tiny(10), factorised_small(10, s1_channels=2)
    count = [sum(p.numel() for p in m.parameters()) for m in (tiny, small)]
    assert 0.5e6 < count[0] < 1e6 < count[1] < 3.5e6
    groups = param_groups_layer_decay(small, layer_decay=0.5)
    scale = {id(p): group['lr_scale'] for group in groups for p in group['params']}
    places = (
        small.frames_s1.patches[0].weight,
        small.frames.blocks[0].mlp.fc1.weight,
        small.frames_s1.blocks[1].mlp.fc1.weight,
        small.fusion.blocks[0].mlp.fc1.weight,
        small.fusion.proj[0].weight,
    )
    scales = [scale[id(p)] for p in places]
    assert scales == sorted(set(scales))


@pytest.mark.parametrize(
    ('kwargs', 's1', 'message'),
    [
        ({'s1_channels': 0}, series(C1), 'built without s1_channels'),
        ({}, series(C), r's1: expected image .* with C=2.*s1_channels'),
        ({}, series(C1, h=3, w=4), r'on the grid .*\(2, 5, 4, 6, 8\).*\(2, 5, 2, 3, 4\)'),
        ({}, series(C1, b=1), 'of the samples'),
        ({}, series(C1)._replace(valid=torch.ones(2, 3).bool()), r's1: expected valid \(2, 5\)'),
    ],
)
def test_s1_that_does_not_fit_is_refused(kwargs, s1, message):
    with pytest.raises(ValueError, match=message):
        model(**kwargs)(series()._replace(s1=s1))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [({'dim': 12}, '4 . num_heads, got 12 and 2'), ({'s1_channels': -1}, 's1_channels')],
)
def test_sizes_that_do_not_fit_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        model(**kwargs)

"""SITSMAE: its loss by loops over what was hidden, and what its encoder cannot know."""

import pytest
import torch

from torchgeo_sits.keys import Series
from torchgeo_sits.tasks import SITSMAE

BANDS, DATES, SIDE = 3, 6, 8
VIT = {'embed_dim': 8, 'depth': 1, 'num_heads': 2, 'time_dim': 8, 'time_heads': 2}
TSVIT = {'num_tokens': 2, 'dim': 8, 'num_heads': 2, 'temporal_depth': 1, 'spatial_depth': 1}
PLANES = {'num_paths': 4, 'length': 6}
CASES = {
    'planes': {'model_kwargs': VIT, 'views_kwargs': PLANES},
    'segments of two pixels': {'model_kwargs': {**VIT, 'segment': 2}, 'views_kwargs': PLANES},
    'images': {'model_kwargs': VIT, 'views': 'resampling'},
    'images by cells': {
        'model': 'tsvit',
        'model_kwargs': {**TSVIT, 'patch_size': 2},
        'views': 'resampling',
    },
    'planes by cells': {
        'model': 'tsvit',
        'model_kwargs': {**TSVIT, 'patch_size': 2},
        'views_kwargs': PLANES,
    },
}


def build(**options):
    torch.manual_seed(0)
    return SITSMAE(in_channels=BANDS, **({'model_kwargs': VIT} | options))


def series(batch=2):
    generator = torch.Generator().manual_seed(1)
    return {
        'image': torch.randn(batch, DATES, BANDS, SIDE, SIDE, generator=generator),
        'acquisition_times': (1_600_000_000 + 86_400 * 20 * torch.arange(DATES)).repeat(batch, 1),
        'valid': torch.ones(batch, DATES, dtype=torch.bool),
        'mask_clear': torch.rand(batch, DATES, SIDE, SIDE, generator=generator) > 0.3,
    }


def quiet(task, monkeypatch, view):
    """Let the task see one view, and log nothing."""
    monkeypatch.setattr(task, 'make_views', lambda batch: [view])
    for name in ('log', 'log_dict'):
        monkeypatch.setattr(task, name, lambda *args, **kwargs: None)


def hidden_of(task, view):
    """What the last step hid, ``(B, N, T, L)``; of images by row."""
    clear = view['mask_clear']
    clear = clear if 'planes' in view else clear.transpose(1, 2)
    return task.reconstruction.mask.apply_transform(
        {'mask_clear': clear}, task.reconstruction.mask._params
    )


@pytest.mark.parametrize('case', CASES)
def test_loss_is_the_mean_squared_error_of_what_was_hidden(monkeypatch, case):
    task = build(**CASES[case])
    [view] = task.make_views(series())
    quiet(task, monkeypatch, view)
    loss = task.training_step(series(), 0)['loss']

    hidden = hidden_of(task, view)
    inputs = view['acquisition_times'], view['valid']
    if 'planes' in view:
        values, clear = view['planes'], view['mask_clear']
        features = task.backbone.encode_planes(Series(values, *inputs, clear & ~hidden))
    else:
        values, clear = view['image'].permute(0, 3, 2, 1, 4), view['mask_clear'].transpose(1, 2)
        features = task.backbone.encode_image(
            Series(view['image'], *inputs, (clear & ~hidden).transpose(1, 2))
        )
    decoder = task.reconstruction.decoder
    dates = decoder.encode_dates(*inputs)
    tall, wide = (2, 2) if 'cells' in case else (1, 2 if 'segments' in case else 1)
    errors = []
    for b, n, t, at in torch.cartesian_prod(*map(torch.arange, hidden.shape)).tolist():
        if not hidden[b, n, t, at]:
            continue
        assert clear[b, n, t, at]
        row, column = n // tall, at // wide
        # The middle of a pixel, in a cell from 0 to 1.
        place = [(n - row * tall + 0.5) / tall, (at - column * wide + 0.5) / wide]
        guess = decoder(
            features.late[b, row, column][None],
            dates[b, t][None],
            torch.tensor([place]),
        )[0]
        for c in range(BANDS):
            # What sets the pixel apart from the clear ones of its band and date.
            mean = values[b, :, c, t][clear[b, :, t]].mean()
            errors.append((guess[c] - (values[b, n, c, t, at] - mean)).double() ** 2)
    # The encoder and the decoder are those of the task, in float32 both.
    torch.testing.assert_close(loss.double(), torch.stack(errors).mean(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize('fill', [float('nan'), 1e6])
@pytest.mark.parametrize('case', CASES)
def test_values_under_clouds_change_no_loss(monkeypatch, case, fill):
    task = build(**CASES[case])
    batch = series()
    losses = []
    for image in (
        batch['image'],
        torch.where(batch['mask_clear'][:, :, None], batch['image'], fill),
    ):
        torch.manual_seed(0)
        quiet(task, monkeypatch, SITSMAE.make_views(task, {**batch, 'image': image})[0])
        losses.append(task.training_step(batch, 0)['loss'])
    assert losses[0].isfinite()
    assert torch.equal(*losses)


@pytest.mark.parametrize('case', CASES)
def test_what_is_hidden_does_not_reach_the_prediction(monkeypatch, case):
    task = build(**CASES[case])
    [view] = task.make_views(series())
    quiet(task, monkeypatch, view)
    guesses = []
    decoder = task.reconstruction.decoder
    decoder.register_forward_hook(lambda module, inputs, output: guesses.append(output))
    torch.manual_seed(0)
    before = task.training_step(series(), 0)['loss']
    hidden = hidden_of(task, view)
    other = 5.0 * torch.randn(hidden.shape) * hidden
    if 'planes' in view:
        view['planes'] = view['planes'] + other[:, :, None]
    else:
        view['image'] = view['image'] + other.transpose(1, 2)[:, :, None]
    torch.manual_seed(0)
    after = task.training_step(series(), 0)['loss']
    torch.testing.assert_close(guesses[1], guesses[0], atol=1e-6, rtol=0)
    assert after - before > 1.0


def test_single_pixel_is_reconstructed_as_it_is():
    """Less the mean of a date over its pixels, nothing would be left of it."""
    task = build(
        views='resampling', mask_kind='date', jitter_days=0, gain=0, offset=0, cloud_rate=0
    )
    points = {k: v[..., :1, :1] if v.ndim > 3 else v for k, v in series(8).items()}
    points['image'] += 3
    with torch.no_grad():
        (view,) = task.make_views(points)
        assert view['size'] == (1, 1)
        loss, _ = task.reconstruction(task.backbone, view)
        hidden = hidden_of(task, view)[:, 0, :, 0]
        assert hidden.any(1).all()
        found = task.reconstruction.decoder.layers[-1]
        found.weight.zero_()
        found.bias.zero_()
        loss, _ = task.reconstruction(task.backbone, view)
    hidden = hidden_of(task, view)[:, 0, :, 0]
    # A decoder that says 0 is off by the values themselves.
    expected = view['image'][..., 0, 0][hidden].square().mean()
    torch.testing.assert_close(loss, expected)
    task = build(views='resampling', mask_kind='pixel')
    with pytest.raises(ValueError, match="set mask_kind to 'date'"):
        task.reconstruction(task.backbone, view)


def test_views_show_all_dates():
    task = build()
    [view] = task.make_views(series())
    assert view['valid'].sum(1).tolist() == [DATES] * 2


def test_nothing_hidden_is_no_loss(monkeypatch):
    task = build()
    batch = series()
    batch['mask_clear'][:] = False
    quiet(task, monkeypatch, task.make_views(batch)[0])
    loss = task.training_step(batch, 0)['loss']
    assert loss == 0.0
    loss.backward()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'mask_kind': 'frame'}, "kind.*'frame'"),
        ({'mask_ratio': 1.0}, r'\(0, 1\), got 1.0'),
        ({'views_kwargs': {'global_views': 0}}, 'global_views >= 1.* got 0'),
    ],
)
def test_refusals_name_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize('name', ['image', 'object', 'pixel', 'reconstruction'])
def test_weights_of_what_it_does_not_do_are_refused(name):
    with pytest.raises(TypeError, match=f'{name}_weight'):
        build(**{f'{name}_weight': 1.0})

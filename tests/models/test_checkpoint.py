"""Checkpoints: what was saved comes back, and what does not fit is named."""

import argparse
import pickle
from pathlib import Path

import pytest
import torch

from torchgeo_sits.errors import SITSError
from torchgeo_sits.models import (
    CARD_KEY,
    Series,
    encoder_card,
    factorised_tiny,
    load_bare_encoder,
    load_encoder,
    load_weights,
    planar_vit_small,
    planar_vit_tiny,
)


@pytest.fixture
def saved(tmp_path):
    """A checkpoint as a task writes it, its encoder and its path."""
    torch.manual_seed(0)
    encoder = planar_vit_tiny(3, octaves=0)
    card = encoder_card(
        'planar_vit_tiny', encoder, bands=['B02', 'B03', 'B08'], mean=[1, 2, 3], std=[4, 5, 6]
    )
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    state |= {'backbone_head.weight': torch.zeros(2), 'teacher.x': torch.zeros(2)}
    content = {'state_dict': state, 'epoch': 3, CARD_KEY: card}
    path = tmp_path / 'last.ckpt'
    torch.save(content, path)
    return path, content, encoder


def test_round_trip(saved):
    path, _, encoder = saved
    again, card = load_encoder(path)
    bare, _ = load_bare_encoder(path)
    assert (again.training, bare.training) == (False, False)
    assert again.config == encoder.config
    assert (card['bands'], card['mean'], card['std']) == (
        ['B02', 'B03', 'B08'],
        [1, 2, 3],
        [4, 5, 6],
    )
    image = torch.randn(1, 4, 3, 5, 5)
    times = torch.arange(4)[None] * 10**7
    valid = torch.ones_like(times, dtype=torch.bool)
    series = Series(image, times, valid)
    mean, std = torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6])
    raw = series._replace(image=image * std[:, None, None] + mean[:, None, None])
    planes = Series(torch.randn(1, 2, 3, 4, 5), times, valid)
    raw_planes = planes._replace(image=planes.image * std[:, None, None] + mean[:, None, None])
    with torch.no_grad():
        assert torch.equal(bare(series), encoder.eval()(series))
        torch.testing.assert_close(again(raw), bare(series))
        torch.testing.assert_close(again.frame_features(raw), bare.frame_features(series))
        for mine, reference in (
            (again.encode_image(raw), bare.encode_image(series)),
            (again.encode_planes(raw_planes), bare.encode_planes(planes)),
        ):
            torch.testing.assert_close(tuple(mine), tuple(reference))

    fresh = planar_vit_tiny(3, octaves=0)
    load_weights(fresh, path)
    for key, value in encoder.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value), key


def test_another_model_is_named_with_its_keys_and_nothing_is_loaded(saved):
    path, _, _ = saved
    other = planar_vit_small(3)
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(ValueError, match=r'missing: path_stage.*\(24 in all\).*another shape') as e:
        load_weights(other, path)
    assert str(path) in str(e.value)
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


def test_other_bands_are_named(saved):
    with pytest.raises(ValueError, match=r'3 bands \(B02, B03, B08\), the encoder takes 10'):
        load_weights(planar_vit_tiny(10), saved[0])


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint at .*nothing\.ckpt'):
        load_encoder(tmp_path / 'nothing.ckpt')


@pytest.mark.parametrize('keep', [0.5, 0.99])
def test_truncated_file(saved, keep):
    path = saved[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(ValueError, match=r'last\.ckpt: (damaged|not readable)'):
        load_encoder(path)


@pytest.mark.parametrize('content', [b'', b'not a checkpoint at all', b'\x00' * 64])
def test_file_that_is_no_checkpoint(tmp_path, content):
    path = tmp_path / 'notes.ckpt'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'notes\.ckpt'):
        load_encoder(path)


def test_checkpoint_of_another_project(saved):
    path, content, _ = saved
    del content[CARD_KEY]
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"expected the keys 'sits'.*found epoch, state_dict"):
        load_encoder(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match='found list'):
        load_encoder(path)


def test_card_or_weights_that_lack_something(saved):
    path, content, _ = saved
    content[CARD_KEY]['encoder'] = 'student'
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"no weights under 'student\.'.*backbone\."):
        load_encoder(path)
    del content[CARD_KEY]['model']
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"lacks \['model'\]"):
        load_encoder(path)
    content[CARD_KEY] |= {'model': 'planar_vit_giant', 'encoder': 'backbone'}
    torch.save(content, path)
    with pytest.raises(ValueError, match='planar_vit_giant'):
        load_encoder(path)


def test_pickled_objects_are_refused(saved):
    path, content, _ = saved
    content['hyper_parameters'] = argparse.Namespace(lr=1)
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'Python objects.*plain hyperparameters'):
        load_encoder(path)


@pytest.mark.parametrize('load', [load_encoder, load_bare_encoder, load_weights])
@pytest.mark.parametrize('place', ['all', 'state_dict', 'hyper_parameters', CARD_KEY, 'model'])
def test_what_pickles_do_is_not_done(saved, tmp_path, load, place):
    class Touch:
        def __reduce__(self):
            return (Path.touch, (tmp_path / 'ran',))

    path, content, encoder = saved
    if place == 'all':
        path.write_bytes(pickle.dumps(Touch()))
    else:
        (content[CARD_KEY] if place == 'model' else content)[place] = Touch()
        torch.save(content, path)
    with pytest.raises(SITSError, match=r'last\.ckpt'):
        load(encoder, path) if load is load_weights else load(path)
    assert not (tmp_path / 'ran').exists()


def test_card_needs_a_value_per_band():
    with pytest.raises(ValueError, match='mean of 3 values'):
        encoder_card('planar_vit_tiny', planar_vit_tiny(3), mean=[1, 2])


@pytest.mark.parametrize(
    'change',
    [
        {'in_channels': 10**9},
        {'in_channels': 0},
        {'in_channels': -3},
        {'in_channels': '3'},
        {'in_channels': 3.0},
        {'in_channels': None},
        {'bands': 7},
        {'bands': ['B1']},
        {'mean': [float('nan')] * 3},
        {'std': ['a', 'b', 'c']},
        {'mean': 10**9},
        {'model': 3},
        {'encoder': None},
        {'encoder': ['backbone']},
        {'model_kwargs': []},
        {'model_kwargs': {3: 4}},
        {'model_kwargs': {'embed_dim': 10**9}},
        {'model_kwargs': {'depth': 10**9}},
        {'model_kwargs': {'embed_dim': -5}},
        {'model_kwargs': {'embed_dim': 'large'}},
        {'model_kwargs': {'num_heads': 0}},
        {'model_kwargs': {'no_such': 1}},
        {'model': 'os.system'},
        {'model': '../../x'},
        {'model': ''},
    ],
    ids=str,
)
def test_cards_that_lie_are_refused_in_one_line(saved, change):
    path, content, _ = saved
    content[CARD_KEY] |= change
    torch.save(content, path)
    with pytest.raises(SITSError) as error:
        load_encoder(path)
    assert '\n' not in str(error.value)
    content[CARD_KEY] = [1, 2]
    torch.save(content, path)
    with pytest.raises(SITSError, match=r'card .* is list'):
        load_encoder(path)


@pytest.mark.parametrize('state', [3, [], {'backbone.x': 5}, {3: torch.zeros(2)}], ids=str)
def test_weights_that_are_none_are_refused(saved, state):
    path, content, _ = saved
    content['state_dict'] = state
    torch.save(content, path)
    with pytest.raises(SITSError, match=r'no tensors by name|no weights under'):
        load_encoder(path)


@pytest.mark.parametrize(
    'change',
    [
        {'bands_s1': 7},
        {'bands_s1': ['VV']},
        {'mean_s1': [1.0, float('nan')]},
        {'std_s1': ['a', 'b']},
        {'mean_s1': [1.0, 2.0, 3.0]},
        {'mean_s1': [1.0, 2.0], 'std_s1': []},
        {'model_kwargs': {}},
    ],
    ids=str,
)
def test_cards_that_lie_of_s1_are_refused_in_one_line(change, tmp_path):
    kwargs = {'s1_channels': 2, 'dim': 16, 'spatial_depth': 0, 'temporal_depth': 0}
    encoder = factorised_tiny(3, **kwargs)
    s1 = {'bands_s1': ['VV', 'VH'], 'mean_s1': [-11.0, -18.0], 'std_s1': [4.0, 4.0]}
    card = encoder_card('factorised_tiny', encoder, mean=[1, 2, 3], std=[4, 5, 6], **s1)
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    torch.save({'state_dict': state, CARD_KEY: card}, tmp_path / 'x.ckpt')
    assert load_encoder(tmp_path / 'x.ckpt')[1]['mean_s1'] == [-11.0, -18.0]
    torch.save({'state_dict': state, CARD_KEY: card | change}, tmp_path / 'x.ckpt')
    with pytest.raises(SITSError) as error:
        load_encoder(tmp_path / 'x.ckpt')
    assert '\n' not in str(error.value)
    with pytest.raises(SITSError, match='mean_s1 of 2 values'):
        encoder_card('factorised_tiny', encoder, mean_s1=[1.0])

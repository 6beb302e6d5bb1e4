"""Encoders on the Hub and in folders: what is pushed is what is loaded again."""

import json

import pytest
import torch
import yaml

from torchgeo_sits.errors import SITSError
from torchgeo_sits.exporting import load_model, push_encoder
from torchgeo_sits.main import main
from torchgeo_sits.models import (
    CARD_KEY,
    ENCODERS,
    Series,
    build_encoder,
    encoder_card,
    load_bare_encoder,
    load_encoder,
)
from torchgeo_sits.tasks import SITSSegmentation, load_task

from .hub_server import Hub, served_hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr('time.sleep', lambda seconds: None)  # between tries
    with served_hub(tmp_path / 'cache') as hub:
        yield hub


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint with all that a card may say."""
    torch.manual_seed(0)
    encoder = build_encoder('tempcnn', 2, num_dates=4, hidden_dim=4, embed_dim=8)
    card = encoder_card(
        'tempcnn', encoder, bands=['B04', 'B08'], mean=[1000, 2000], std=[300, 400],
        task='SITSSegmentation', dataset='SITSDataModule', paths=['images'],
        dates={'first': '2021-01-05', 'last': '2021-12-30', 'number': 24},
        source='https://example.org/paper', prefix='encoder',
    )  # fmt: skip
    state = {f'encoder.{name}': value for name, value in encoder.state_dict().items()}
    path = tmp_path / 'X.ckpt'
    torch.save({'state_dict': state | {'head.weight': torch.zeros(3)}, CARD_KEY: card}, path)
    return path


def series(channels: int = 2) -> Series:
    times = torch.arange(5)[None] * 10**7
    return Series(1000 * torch.rand(1, 5, channels, 4, 4), times, torch.ones(1, 5).bool())


@pytest.mark.parametrize('target', ['hf://me/sits', 'folder'])
def test_what_is_pushed_is_loaded_again(hub: Hub, checkpoint, tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    options = ['--private'] if target.startswith('hf') else []
    main(['push', str(checkpoint), target, '--licence', 'CC-BY-4.0', *options])
    (encoder, card), (again, card_again) = load_encoder(checkpoint), load_encoder(target)
    assert card_again == card | {'licence': 'CC-BY-4.0', 'encoder': ''}
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    with torch.no_grad():
        given = series()
        assert torch.equal(encoder.features(given), again.features(given))
    assert load_model(target)[1]['encoder'] == ''  # exported as an encoder, without its head
    assert SITSSegmentation(weights=target, num_classes=3).hparams['model'] == 'tempcnn'
    with pytest.raises(SITSError, match='holds an encoder alone'):
        load_task(target)
    if options:
        assert [made['visibility'] for made in hub.created] == ['private']


def test_page_says_what_the_card_does(checkpoint, tmp_path):
    push_encoder(checkpoint, tmp_path / 'with', licence='Own Licence (2)')
    push_encoder(checkpoint, tmp_path / 'without')
    _, front, text = (tmp_path / 'with/README.md').read_text().split('---\n', 2)
    assert yaml.safe_load(front)['license'] == 'other'
    assert yaml.safe_load(front)['license_name'] == 'own-licence-2'
    for said in (
        '- Licence: Own Licence (2)', '- Source: https://example.org/paper', '| B08 | 2000 | 400 |',
        '- Dates: 24 days from 2021-01-05 to 2021-12-30', 'SITSDataModule of `images`',
        f'--model.weights {tmp_path / "with"}', f"load_encoder('{tmp_path / 'with'}')",
    ):  # fmt: skip
        assert said in text
    _, front, text = (tmp_path / 'without/README.md').read_text().split('---\n', 2)
    assert not any('license' in name for name in yaml.safe_load(front))
    assert 'Licence: none was stated' in text
    # The licence of the card stays, unless another is given.
    push_encoder(tmp_path / 'with', tmp_path / 'again')
    assert json.loads((tmp_path / 'again/card.json').read_text())['licence'] == 'Own Licence (2)'


def test_targets_that_cannot_be_written_are_refused_in_a_line(hub: Hub, checkpoint, tmp_path):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/x').touch()
    for target, said in (
        (tmp_path / 'full', 'is there already'),
        (checkpoint, 'is there already'),
        (tmp_path / 'none/x', 'no folder'),
        ('hf://me', 'expected hf://ORG/REPO'),
        ('hf://me/sits/x.safetensors', 'without a file'),
        ('hf://me/sits@v9', "no branch 'v9'"),
    ):
        with pytest.raises((SITSError, OSError), match=said):
            push_encoder(checkpoint, target)
    with pytest.raises(SITSError, match='--private is for repositories'):
        push_encoder(checkpoint, tmp_path / 'new', private=True)
    assert not (tmp_path / 'new').exists()
    for hub.status, said in ((403, 'hf auth login'), (400, 'same command again')):
        with pytest.raises(OSError, match=rf'repository me/sits.*{said}.*X.ckpt FOLDER') as error:
            push_encoder(checkpoint, 'hf://me/sits')
        assert '\n' not in str(error.value)


SIZES = {
    'tempcnn': {'num_dates': 4, 'hidden_dim': 4, 'embed_dim': 8},
    'presto': {'bands': ['B04', 'B08'], 'dim': 16, 'depth': 1, 'num_heads': 2},
    'galileo_nano': {'bands': ['B04', 'B08']},
    **{
        name: {'bands': ['B04', 'B08'], 'depth': 1}
        for name in ENCODERS
        if name.startswith('olmoearth')
    },
    'tessera': {'latent_dim': 4, 'depth': 1, 'num_heads': 2, 'hidden_dim': 8},
}


@pytest.mark.parametrize('name', sorted(set(ENCODERS) - {'planar_vit_base', 'planar_vit_small'}))
def test_cards_as_json_build_the_same_encoder(tmp_path, name):
    channels = 10 if name == 'tessera' else 2  # it takes its ten bands alone
    encoder = build_encoder(name, channels, **SIZES.get(name, {}))
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    torch.save({'state_dict': state, CARD_KEY: encoder_card(name, encoder)}, tmp_path / 'X.ckpt')
    push_encoder(tmp_path / 'X.ckpt', tmp_path / 'folder')
    again, _ = load_bare_encoder(tmp_path / 'folder')
    assert type(again) is type(encoder)
    assert json.dumps(again.config) == json.dumps(encoder.config)

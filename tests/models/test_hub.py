"""Encoders of the Hub and of folders, and what is wrong with them said in a line."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from torchgeo_sits.commands.checks import check_files
from torchgeo_sits.errors import SITSError
from torchgeo_sits.models import CARD_FILE, WEIGHTS_FILE, build_encoder, encoder_card, load_encoder
from torchgeo_sits.models.hub import fetch_file
from torchgeo_sits.weight_names import HubAddress, find_on_hub

from ..hub_server import Hub, served_hub

SMALL = {'num_dates': 4, 'hidden_dim': 4, 'embed_dim': 8}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr('time.sleep', lambda seconds: None)  # between tries
    with served_hub(tmp_path / 'cache') as hub:
        yield hub


def files(seed: int = 0, **changes: object) -> dict[str, bytes]:
    """The two files of an encoder."""
    torch.manual_seed(seed)
    encoder = build_encoder('tempcnn', 2, **SMALL)
    card = encoder_card('tempcnn', encoder, mean=[1, 2], std=[3, 4], prefix='')
    weights = save({k: v.clone() for k, v in encoder.state_dict().items()})
    return {WEIGHTS_FILE: weights, CARD_FILE: json.dumps(card | changes).encode()}


def bias(address: str) -> torch.Tensor:
    encoder, _ = load_encoder(address)
    return torch.cat([value.flatten() for value in encoder.encoder.parameters()])


def test_revisions_are_branches_tags_and_commits_and_are_read_again_without_a_network(hub: Hub):
    first = hub.commit('me/sits', files(0))
    hub.commit('me/sits', files(1), 'v1')
    found = {name: bias(f'hf://me/sits{name}') for name in ('', f'@{first}', '@v1')}
    assert torch.equal(found[''], found[f'@{first}'])
    assert not torch.equal(found[''], found['@v1'])
    hub.status = 503
    assert torch.equal(bias('hf://me/sits@v1'), found['@v1'])


def test_both_files_are_of_one_commit(hub: Hub, monkeypatch):
    hub.commit('me/sits', files(0))
    expected = bias('hf://me/sits')

    def push_between(address, *, local):
        path = fetch_file(address, local=local)
        hub.commit('me/sits', files(1))
        return path

    monkeypatch.setattr('torchgeo_sits.models.hub.fetch_file', push_between)
    assert torch.equal(bias('hf://me/sits'), expected)


@pytest.mark.parametrize(
    ('address', 'said'),
    [
        ('hf://me/none', 'there is no such repository, or it is private'),
        ('hf://me/sits@v9', "has no branch, tag or commit 'v9'"),
        ('hf://me/empty', 'the repository has no such file'),
        ('hf://me/sits/x.safetensors', 'say of which published model it is: NAME:hf://me/sits/x'),
        ('hf://sits', 'expected hf://ORG/REPO'),
        ('hf://me/sits/../x', 'expected hf://ORG/REPO'),
        ('https://huggingface.co/me/sits', 'or hf://ORG/REPO of the Hub'),
    ],
)
def test_what_is_not_there_is_said_in_a_line(hub: Hub, address: str, said: str):
    hub.commit('me/sits', files())
    hub.commit('me/empty', {'README.md': b'x'})
    with pytest.raises((SITSError, OSError)) as error:
        load_encoder(address)
    text = str(error.value)
    assert said in text
    assert '\n' not in text
    if 'me/' in address and 'hf://me/sits/' not in address and 'https' not in address:
        assert f'{hub.address.removeprefix("http://")}, repository me/' in text
        assert f'file {CARD_FILE}' in text


def test_without_a_network_host_repository_file_and_folder_are_named(hub: Hub, monkeypatch):
    hub.status = 503
    with pytest.raises(OSError, match='cannot be fetched') as error:
        load_encoder('hf://me/sits')
    text = str(error.value)
    host = hub.address.removeprefix('http://')
    assert f'({host}, repository me/sits, file card.json)' in text
    assert text.endswith('give the folder of card.json and model.safetensors')
    assert '\n' not in text
    with pytest.raises(OSError, match=r'file a\.safetensors.*give presto:FILE'):
        load_encoder('presto:hf://me/sits/a.safetensors', bands=['B04', 'B08'])


def test_interrupted_download_leaves_nothing_and_can_be_given_again(hub: Hub, tmp_path: Path):
    hub.commit('me/sits', files())
    hub.cut = True
    with pytest.raises(
        OSError, match=r'was interrupted.*model\.safetensors.*same command again'
    ) as e:
        load_encoder('hf://me/sits')
    assert '\n' not in str(e.value)
    blobs = [path for path in (tmp_path / 'cache').rglob('*') if path.is_file()]
    size = len(hub.files['me/sits', hub.branches['me/sits', 'main']][CARD_FILE])
    assert sum('incomplete' in path.name for path in blobs) == 0
    assert not any('model' in path.name for path in blobs)
    assert {path.stat().st_size for path in blobs if path.parent.name == 'blobs'} == {size}
    hub.cut = False
    load_encoder('hf://me/sits')


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({CARD_FILE: b'{"model": '}, 'no JSON'),
        ({CARD_FILE: b'[]'}, 'the card'),
        ({CARD_FILE: b'{"model": "tempcnn"}'}, 'lacks'),
        ({WEIGHTS_FILE: b'\x80\x04.'}, 'no safetensors at all'),
        ({WEIGHTS_FILE: save({'x': torch.zeros(2)})}, 'those of another model'),
        (files(encoder='backbone'), "expected ''"),
        (files(in_channels=3), 'holds mean'),
    ],
)
def test_files_that_are_no_encoder_are_refused_from_hub_and_folder(
    hub: Hub, tmp_path: Path, changes: dict[str, bytes], said: str
):
    folder = tmp_path / 'local'
    folder.mkdir()
    for name, content in (files() | changes).items():
        (folder / name).write_bytes(content)
    hub.commit('me/odd', files() | changes)
    for place in ('hf://me/odd', folder):
        with pytest.raises(SITSError, match=said) as error:
            load_encoder(place)
        assert '\n' not in str(error.value)


def test_folder_without_the_files_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r'no card.json and no model.safetensors'):
        load_encoder(tmp_path)


@pytest.mark.parametrize('name', ['x.pt', 'x.pth', 'x.bin', 'pytorch_model'])
def test_files_that_may_run_code_are_not_even_fetched(hub: Hub, tmp_path: Path, name: str):
    hub.commit('me/odd', {name: b'x'})
    with pytest.raises(SITSError, match='safetensors'):
        load_encoder(f'presto:hf://me/odd/{name}', bands=['B04', 'B08'])
    with pytest.raises(SITSError, match='may run code'):
        fetch_file(HubAddress('me/odd', file=name), local='x')
    assert not (tmp_path / 'cache').exists()


def test_addresses_are_told_from_paths_before_anything_is_imported():
    assert find_on_hub('hf://a/b@refs') == HubAddress('a/b', 'refs')
    assert find_on_hub('/data/hf/x.ckpt') is None
    check_files('embed', ['hf://a/b', 'DIR'], [])
    check_files('embed', ['presto:hf://a/b/c.safetensors', 'DIR'], [])
    for odd in ('hf://a', 'hf:a/b', 'presto:hf://a'):
        with pytest.raises(SITSError, match='hf://ORG/REPO'):
            check_files('embed', [odd, 'DIR'], [])

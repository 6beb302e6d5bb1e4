"""Weights that others have published: fetched whole or not at all, read without running code."""

import dataclasses
import hashlib
import pickle
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import save_file
from torchgeo.models import OlmoEarthV1_Weights, Presto_Weights, Tessera_Weights, presto

from torchgeo_sits.errors import SITSError
from torchgeo_sits.models import PUBLISHED, load_bare_encoder
from torchgeo_sits.models import published as module
from torchgeo_sits.weight_names import PUBLISHED_NAMES

from ..hub_server import served_hub

BANDS = ['B02', 'B04', 'B08']


class Served:
    """A file that a server gives, and how much of it."""

    content = b''
    share = 1.0
    requests = 0


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The published Presto, with random weights and at an address of this machine."""
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            served.requests += 1
            self.send_response(200)
            self.send_header('Content-Length', str(len(served.content)))
            self.end_headers()
            self.wfile.write(served.content[: int(served.share * len(served.content))])

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    for name in ('no_proxy', 'NO_PROXY'):
        monkeypatch.setenv(name, '127.0.0.1')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'cache'))
    torch.manual_seed(0)
    torch.save(presto().state_dict(), tmp_path / 'presto.pth')
    served.content = (tmp_path / 'presto.pth').read_bytes()
    model = dataclasses.replace(
        PUBLISHED['presto'],
        address=f'http://127.0.0.1:{server.server_port}/x.pth',
        sha256=hashlib.sha256(served.content).hexdigest(),
    )
    monkeypatch.setitem(module.PUBLISHED, 'presto', model)
    yield served
    server.shutdown()
    server.server_close()


def cached(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / 'cache').rglob('*') if path.is_file()]


def test_names_are_those_of_the_table_and_files_are_torchgeos():
    assert set(PUBLISHED) == set(PUBLISHED_NAMES)
    assert PUBLISHED['presto'].address == Presto_Weights.PRESTO.url
    tessera = Tessera_Weights.TESSERA_SENTINEL2_ENCODER
    assert PUBLISHED['tessera'].address == tessera.url
    for size in ('nano', 'tiny', 'base'):
        found = PUBLISHED[f'olmoearth_v1_{size}']
        assert found.address == OlmoEarthV1_Weights[size.upper()].url


def test_weights_without_a_known_address_are_to_be_given():
    said = 'fetch that of .*OlmoEarth-v1_2-Nano.*and give it as olmoearth_v1_2_nano:FILE'
    with pytest.raises(SITSError, match=said) as error:
        load_bare_encoder('olmoearth_v1_2_nano', bands=BANDS)
    assert '\n' not in str(error.value)


def test_file_is_fetched_once_and_again_when_it_was_cut(served, tmp_path):
    first, card = load_bare_encoder('presto', bands=BANDS)
    assert card['licence'] == 'MIT'
    load_bare_encoder('presto', bands=BANDS)
    assert served.requests == 1
    [path] = cached(tmp_path)
    path.write_bytes(served.content[:1000])
    again, _ = load_bare_encoder('presto', bands=BANDS)
    assert served.requests == 2
    assert path.read_bytes() == served.content
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


@pytest.mark.parametrize('kind', ['interrupted', 'changed', 'no server'])
def test_download_that_fails_is_said_in_a_line_and_leaves_nothing(
    served, tmp_path, monkeypatch, kind
):
    if kind == 'interrupted':
        served.share = 0.5
    elif kind == 'changed':
        served.content = served.content[:-1] + b'x'
    else:
        model = dataclasses.replace(PUBLISHED['presto'], address='http://127.0.0.1:9/x.pth')
        monkeypatch.setitem(module.PUBLISHED, 'presto', model)
    with pytest.raises(
        OSError, match=r'presto cannot be fetched from 127\.0\.0\.1.*presto:FILE'
    ) as e:
        load_bare_encoder('presto', bands=BANDS)
    assert '\n' not in str(e.value)
    assert cached(tmp_path) == []


class Canary:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize('way', ['file', 'address'])
def test_pickle_is_refused_and_runs_nothing(served, tmp_path, monkeypatch, way):
    canary, file = tmp_path / 'canary', tmp_path / 'odd.pth'
    torch.save({'x': Canary(canary)}, file)
    weights = f'presto:{file}'
    if way == 'address':  # even one that has the right hash
        weights, served.content = 'presto', file.read_bytes()
        sha256 = hashlib.sha256(served.content).hexdigest()
        model = dataclasses.replace(PUBLISHED['presto'], sha256=sha256)
        monkeypatch.setitem(module.PUBLISHED, 'presto', model)
    with pytest.raises(SITSError, match='may run code when loaded'):
        load_bare_encoder(weights, bands=BANDS)
    assert not canary.exists()
    file.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(SITSError):
        load_bare_encoder(f'presto:{file}', bands=BANDS)
    assert not canary.exists()


def test_weights_of_another_model_are_refused(tmp_path):
    save_file({'encoder.x': torch.zeros(2)}, tmp_path / 'x.safetensors')
    with pytest.raises(SITSError, match=r'not those of presto.*leave ":FILE" out') as error:
        load_bare_encoder(f'presto:{tmp_path / "x.safetensors"}', bands=BANDS)
    assert '\n' not in str(error.value)


def test_file_of_a_repository_of_others_is_read(served, tmp_path):
    expected, _ = load_bare_encoder('presto', bands=BANDS)
    state = torch.load(tmp_path / 'presto.pth', weights_only=True)
    save_file({k: v.clone().contiguous() for k, v in state.items()}, tmp_path / 'x.safetensors')
    with served_hub(tmp_path / 'hub') as hub:
        hub.commit('they/presto', {'w/x.safetensors': (tmp_path / 'x.safetensors').read_bytes()})
        found, _ = load_bare_encoder('presto:hf://they/presto@main/w/x.safetensors', bands=BANDS)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name])

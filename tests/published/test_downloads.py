"""Downloads of published data sets, from a server of this machine."""

import hashlib
import shutil
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from torchgeo_sits.datasets.published import Download, TimeSen2Crop
from torchgeo_sits.errors import SITSError

from .releases.timesen2crop import write_release


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Archive of a release, which the data set is told to fetch."""
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'cache'))
    served = tmp_path / 'served'
    (served / 'release').mkdir(parents=True)
    write_release(served / 'release')
    path = served / 'TimeSen2Crop.zip'
    shutil.make_archive(str(path.with_suffix('')), 'zip', served / 'release')
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(served)))
    Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}/{path.name}?download=1'
    file = Download(url, hashlib.md5(path.read_bytes()).hexdigest(), None)
    monkeypatch.setattr(TimeSen2Crop, 'about', replace(TimeSen2Crop.about, downloads=(file,)))
    yield path
    server.shutdown()
    server.server_close()


def test_an_archive_is_fetched_and_unpacked_once(archive, tmp_path, capsys):
    root = tmp_path / 'data'
    assert len(TimeSen2Crop(root, 'val', download=True)) == 5
    assert [path.name for path in root.glob('*.zip*')] == ['TimeSen2Crop.zip']
    assert 'TimeSen2Crop.zip' in capsys.readouterr().out
    archive.unlink()
    assert len(TimeSen2Crop(root, 'val', download=True)) == 5


def test_an_archive_of_another_content_is_refused(archive, tmp_path):
    archive.write_bytes(archive.read_bytes() + b'x')
    with pytest.raises(SITSError, match=r'TimeSen2Crop.zip.*checksum=False'):
        TimeSen2Crop(tmp_path / 'data', 'val', download=True)
    assert len(TimeSen2Crop(tmp_path / 'data', 'val', download=True, checksum=False)) == 5

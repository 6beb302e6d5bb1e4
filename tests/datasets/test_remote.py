"""Rasters on a server that knows ranges, against the same files on disk."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from torchgeo_sits.datasets import RasterTimeSeries, StacTimeSeries
from torchgeo_sits.datasets.formats import looking_beside

DAYS = ('2021-06-01', '2021-06-11')
BANDS = ('B02', 'B03', 'B04', 'B08')


class Server(ThreadingHTTPServer):
    """Files of a folder, what was asked for, and how many requests were answered at once."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(('127.0.0.1', 0), Handler)
        self.folder, self.asked, self.inside, self.most = folder, [], 0, 0
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def do_GET(self):
        server = self.server
        with server.lock:
            server.asked.append(self.path)
            server.inside += 1
            server.most = max(server.most, server.inside)
        time.sleep(0.05)  # so that requests meet
        file = server.folder / self.path.rpartition('/')[2]
        content = file.read_bytes() if file.is_file() else b''
        asked = self.headers.get('Range')
        with server.lock:
            server.inside -= 1
        self.send_response(404 if not content else 200 if asked is None else 206)
        if content and asked is not None:
            first, last = asked.removeprefix('bytes=').split('-')
            start, stop = int(first), min(int(last) + 1, len(content))
            self.send_header('Content-Range', f'bytes {start}-{stop - 1}/{len(content)}')
            content = content[start:stop]
        self.send_header('Content-Length', str(len(content)))
        self.send_header('Accept-Ranges', 'bytes')
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A file per date and band, served."""
    # What asks for files while it holds the interpreter would wait for this server for ever.
    monkeypatch.setenv('GDAL_HTTP_TIMEOUT', '5')
    folder = tmp_path / 'files'
    folder.mkdir()
    generator = np.random.default_rng(0)
    options = {
        'driver': 'GTiff', 'count': 1, 'height': 256, 'width': 256, 'dtype': 'uint16',
        'crs': 'EPSG:32631', 'transform': from_origin(600_000, 5_000_000, 10, 10), 'nodata': 0,
        'tiled': True, 'blockxsize': 64, 'blockysize': 64, 'compress': 'deflate',
    }  # fmt: skip
    for day in DAYS:
        for band in BANDS:
            name = folder / f'x_{day.replace("-", "")}_{band}.tif'
            with rasterio.open(name, 'w', **options) as file:
                file.write(generator.integers(0, 9, (1, 256, 256)).astype('uint16'))
    with Server(folder) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def remote(server, tmp_path, **options):
    """A series of items whose assets lie on the server."""
    items = [
        {
            'type': 'Feature', 'stac_version': '1.0.0', 'id': day, 'geometry': None, 'links': [],
            'assets': {
                band: {
                    'href': f'http://127.0.0.1:{server.server_port}/'
                    f'x_{day.replace("-", "")}_{band}.tif',
                    'roles': ['data'], 'raster:bands': [{'data_type': 'uint16', 'nodata': 0}],
                }
                for band in BANDS
            },
            'properties': {
                'datetime': f'{day}T10:30:00Z', 'proj:epsg': 32631, 'proj:shape': [256, 256],
                'proj:transform': [10, 0, 600_000, 0, -10, 5_000_000],
            },
        }
        for day in DAYS
    ]  # fmt: skip
    path = tmp_path / 'items.json'
    path.write_text(json.dumps({'type': 'FeatureCollection', 'features': items}))
    return StacTimeSeries(path, bands=BANDS, **options)


def test_files_of_a_window_are_asked_for_at_once(server, tmp_path):
    series = remote(server, tmp_path)
    truth = RasterTimeSeries(server.folder, bands=BANDS)
    for column, row in ((0, 0), (37, 90)):
        west, north = 600_000 + 10 * column, 5_000_000 - 10 * row
        window = slice(west, west + 1000), slice(north - 1000, north)
        ours, theirs = series[window], truth[window]
        assert torch.equal(ours['image'], theirs['image'])
        assert torch.equal(ours['mask_clear'], theirs['mask_clear'])
        assert not ours['mask_clear'].all()
    # Two dates of four files: more than the frames, and than the cores of this machine may be.
    assert server.most > 4
    assert {path.rpartition('.')[2] for path in server.asked} == {'tif'}  # and no files beside


@pytest.mark.parametrize(
    ('path', 'told', 'expected'),
    [
        ('/vsicurl/http://host/a.tif', None, 'EMPTY_DIR'),
        ('/vsizip//vsis3/bucket/a.zip/a.tif', 'TRUE', 'EMPTY_DIR'),
        ('https://host/a.tif', 'FALSE', None),
        ('folder/a.tif', None, 'TRUE'),
        ('/vsizip/folder/a.zip/a.tif', 'FALSE', 'TRUE'),
    ],
)
def test_files_beside_a_raster(path, told, expected, monkeypatch):
    option = 'GDAL_DISABLE_READDIR_ON_OPEN'
    monkeypatch.delenv(option, raising=False)
    if told is not None:
        monkeypatch.setenv(option, told)
    with looking_beside(path):
        assert rasterio.env.getenv().get(option) == expected


def test_files_that_a_server_lacks_are_named_or_left_out(server, tmp_path):
    (server.folder / 'x_20210611_B04.tif').unlink()
    series = remote(server, tmp_path)
    with pytest.raises(OSError, match='x_20210611_B04'):
        series[series.bounds]
    tolerant = remote(server, tmp_path, unreadable='skip')
    with pytest.warns(UserWarning, match='cannot be read and count as unobserved'):
        sample = tolerant[tolerant.bounds]
    assert sample['mask_clear'][0].any()
    assert not sample['mask_clear'][1].any()
    assert not sample['image'][1].any()

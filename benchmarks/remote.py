"""Time windows of rasters on a server against a loop of rasterio.

    python -m benchmarks.remote [--quick]

A server on this machine answers each request 20 ms late, as one of the same region may, keeps
connections and knows ranges. On it lie Cloud Optimized GeoTIFFs of a scene of ten bands, in a file
for each date or for each date and band. Each contender reads the same window of all files, first
of files that nobody has asked for, by a name of their own in each round, then another one of files
that are open. A loop reads file by file, as GDAL does by default or without looking for files
beside each. Output goes to results/remote.json.
"""

import json
import multiprocessing
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

from torchgeo_sits.datasets import StacTimeSeries

from . import harness

BANDS = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')
SIDE, WINDOW = 1024, 64
LEFT, TOP = 600_000, 5_000_000
LATENCY = 0.02  # seconds
ROUNDS = 3
#: Dates of each layout: a plain loop takes some seconds for these.
DATES = {'file per date': 16, 'file per date and band': 2}


class Server(ThreadingHTTPServer):
    """Files of a folder, each request answered late; ``/count`` tells how many were answered."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path) -> None:
        super().__init__(('127.0.0.1', 0), Handler)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.answered = 0


class Handler(BaseHTTPRequestHandler):
    """Answers of one connection."""

    protocol_version = 'HTTP/1.1'  # keeps the connection
    disable_nagle_algorithm = True
    wbufsize = 2**20
    server: Server

    def do_GET(self) -> None:
        """Answer with a file or a range of it."""
        if self.path == '/count':
            self._send(200, str(self.server.answered).encode())
            return
        self.server.answered += 1
        time.sleep(LATENCY)
        content = self.server.files.get(self.path.rpartition('/')[2])
        if content is None:
            self._send(404, b'')
            return
        asked = self.headers.get('Range')
        if asked is None:
            self._send(200, content)
            return
        first, last = asked.removeprefix('bytes=').split('-')
        part = slice(int(first), min(int(last or len(content)) + 1, len(content)))
        told = f'bytes {part.start}-{part.stop - 1}/{len(content)}'
        self._send(206, content[part], told)

    do_HEAD = do_GET

    def _send(self, status: int, content: bytes, content_range: str | None = None) -> None:
        """Send headers and, unless they alone were asked for, content."""
        self.send_response(status)
        self.send_header('Content-Length', str(len(content)))
        self.send_header('Accept-Ranges', 'bytes')
        if content_range is not None:
            self.send_header('Content-Range', content_range)
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def _serve(folder: Path, port: Any) -> None:
    """Serve a folder, in a process of its own."""
    with Server(folder) as server:
        port.send(server.server_port)
        server.serve_forever()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder in another process.

    Args:
        folder: The files.

    Yields:
        Address of the server.
    """
    context = multiprocessing.get_context('spawn')
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(folder, send), daemon=True)
    process.start()
    try:
        yield f'http://127.0.0.1:{receive.recv()}'
    finally:
        process.terminate()
        process.join()


def write(folder: Path, layout: str) -> list[tuple[date, str, tuple[str, ...]]]:
    """Write the scene; day, name and bands of each file."""
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((len(BANDS), SIDE, SIDE), np.float32)
    ground = np.stack([gaussian_filter(layer, 8) * 8000 + 2000 for layer in noise])
    profile = {
        'driver': 'COG',
        'height': SIDE,
        'width': SIDE,
        'dtype': 'uint16',
        'crs': 'EPSG:32631',
        'transform': from_origin(LEFT, TOP, 10, 10),
        'nodata': 0,
        'compress': 'deflate',
        'predictor': 2,
        'blocksize': 256,
    }
    found = []
    for t in range(DATES[layout]):
        day = date(2020, 1, 1) + timedelta(days=6 * t)
        image = ground * (1 + 0.3 * np.sin(t / 10))
        image += generator.standard_normal(image.shape, np.float32) * 30
        layers = np.clip(image, 1, 10_000).astype(np.uint16)
        groups = [BANDS] if layout == 'file per date' else [(band,) for band in BANDS]
        for bands in groups:
            name = f'S2_{day:%Y%m%d}{"_" + bands[0] if len(bands) == 1 else ""}.tif'
            with rasterio.open(folder / name, 'w', count=len(bands), **profile) as file:
                file.write(layers[[BANDS.index(band) for band in bands]])
            found.append((day, name, bands))
    return found


def items(files: list[tuple[date, str, tuple[str, ...]]], root: str) -> dict[str, Any]:
    """STAC items that say all of the files below an address."""
    by_day: dict[date, dict[str, Any]] = {}
    for day, name, bands in files:
        by_day.setdefault(day, {})[bands[0] if len(bands) == 1 else 'data'] = {
            'href': f'{root}/{name}',
            'type': 'image/tiff; application=geotiff; profile=cloud-optimized',
            'roles': ['data'],
            'raster:bands': [{'data_type': 'uint16', 'nodata': 0} for _ in bands],
            'eo:bands': [{'name': band} for band in bands],
        }
    features = [
        {
            'type': 'Feature',
            'stac_version': '1.0.0',
            'id': f'S2_{day}',
            'geometry': None,
            'links': [],
            'assets': assets,
            'properties': {
                'datetime': f'{day}T10:30:00Z',
                'proj:epsg': 32631,
                'proj:shape': [SIDE, SIDE],
                'proj:transform': [10, 0, LEFT, 0, -10, TOP],
            },
        }
        for day, assets in by_day.items()
    ]
    return {'type': 'FeatureCollection', 'features': features}


class Loop:
    """Files read one after another, as a user writes it.

    Args:
        urls: The files.
        **options: Options of GDAL.
    """

    def __init__(self, urls: list[str], **options: Any) -> None:
        self.urls, self.options = urls, options
        self.handles: list[Any] = []

    def __call__(self, row: int, column: int) -> np.ndarray:
        """Read a window of all files, which are opened at first."""
        part = Window(column, row, WINDOW, WINDOW)
        with rasterio.Env(**self.options):
            self.handles = self.handles or [rasterio.open(url) for url in self.urls]
            return np.concatenate([handle.read(window=part) for handle in self.handles])


class Series:
    """The same by a :class:`StacTimeSeries`."""

    def __init__(self, catalogue: Path) -> None:
        self.series = StacTimeSeries(catalogue, bands=BANDS)

    def __call__(self, row: int, column: int) -> np.ndarray:
        """Read a window of all files."""
        left, top = LEFT + 10 * column, TOP - 10 * row
        window = slice(left, left + 10 * WINDOW), slice(top - 10 * WINDOW, top)
        image: np.ndarray = self.series[window]['image'].numpy()
        return image.reshape(-1, WINDOW, WINDOW)


def measure(layout: str, rounds: int) -> dict[str, Any]:
    """Seconds, requests, and ratios to the loop in the same rounds."""
    generator = np.random.default_rng(1)
    taken: dict[str, list[float]] = {}
    requests: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, 'files')
        folder.mkdir()
        files = write(folder, layout)
        with serving(folder) as address:

            def timed(name: str, read: Callable[[int, int], np.ndarray], place: Any) -> np.ndarray:
                before = _count(address)
                start = time.perf_counter()
                found = read(*place)
                taken.setdefault(name, []).append(time.perf_counter() - start)
                requests[name] = _count(address) - before
                return found

            for number in range(rounds):
                first, second = generator.integers(0, SIDE - WINDOW, (2, 2)).tolist()
                readers = {
                    'rasterio in a loop': partial(_loop, files),
                    'rasterio in a loop, no files beside': partial(
                        _loop, files, GDAL_DISABLE_READDIR_ON_OPEN='EMPTY_DIR'
                    ),
                    'StacTimeSeries': partial(_series, files, Path(temporary, 'items.json')),
                }
                found: dict[tuple[int, ...], list[np.ndarray]] = {}
                for order, (name, start) in enumerate(readers.items()):
                    reader = start(f'{address}/{number}_{order}')
                    for when, place in (('first window', first), ('next window', second)):
                        image = timed(f'{name}, {when}', reader, place)
                        found.setdefault(tuple(place), []).append(image)
                for images in found.values():
                    assert all(np.array_equal(image, images[0]) for image in images)
    loop = {
        when: np.array(taken[f'rasterio in a loop, {when}'])
        for when in ('first window', 'next window')
    }
    return {
        name: harness.spread(seconds)
        | {'requests': requests[name]}
        | {'as_fast': float(np.median(loop[name.rpartition(', ')[2]] / np.array(seconds)))}
        for name, seconds in taken.items()
    }


def _count(address: str) -> int:
    """Ask how many requests were answered."""
    with urllib.request.urlopen(f'{address}/count') as answer:
        return int(answer.read())


def _loop(files: list[Any], root: str, **options: Any) -> Loop:
    """A loop over the files below an address."""
    return Loop([f'/vsicurl/{root}/{name}' for _, name, _ in files], **options)


def _series(files: list[Any], catalogue: Path, root: str) -> Series:
    """A series of the items of the files below an address."""
    catalogue.write_text(json.dumps(items(files, root)))
    return Series(catalogue)


def main() -> None:
    """Measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--quick', action='store_true', help='one round, and nothing is written')
    options = parser.parse_args()
    rounds = 1 if options.quick else ROUNDS
    results = harness.describe(
        'rasterio',
        gdal=rasterio.__gdal_version__,
        dates=DATES,
        bands=len(BANDS),
        window=WINDOW,
        latency_ms=1000 * LATENCY,
        rounds=rounds,
    )
    figures = {}
    for layout in DATES:
        figures[layout] = measure(layout, rounds)
        for name, found in figures[layout].items():
            print(
                f'{layout:24} {name:52} {found["median_s"]:7.2f} s {found["requests"]:5} requests '
                f'{found["as_fast"]:5.1f} x',
                flush=True,
            )
    if not options.quick:
        harness.save('remote', results | {'figures': figures})


if __name__ == '__main__':
    main()

"""A small series with clouds, and embeddings of its fields, that the tests of this folder share."""

import json
import re
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from torchgeo_sits.datasets import RasterTimeSeries, SyntheticSeries, write_synthetic_series
from torchgeo_sits.exploring import EmbeddedArea, Explorer, SeriesImages, Session
from torchgeo_sits.main import main

from ..processes import start

SIZE, DATES, FEATURES = (60, 70), 5, 8


@dataclass
class Made:
    """Files of a series, its embeddings, and what was written into them."""

    files: SyntheticSeries
    embeddings: Path
    values: np.ndarray
    truth: np.ndarray

    def open_bands(self, bands):
        return RasterTimeSeries(
            self.files.images, bands=bands, cloud_paths=self.files.clouds, clear_values=[4, 5, 6]
        )

    def explorer(self, folder, **options) -> Explorer:
        area = EmbeddedArea(self.embeddings)
        images = SeriesImages(self.open_bands, area.grid)
        return Explorer(images, Session(folder), area, **options)


@pytest.fixture(scope='session')
def made(tmp_path_factory) -> Made:
    """Three classes in stripes, told apart by their features but for noise."""
    root = tmp_path_factory.mktemp('explored')
    files = write_synthetic_series(root / 'series', size=SIZE, num_dates=DATES, days=90)
    truth = np.broadcast_to(np.arange(SIZE[1]) * 3 // SIZE[1], SIZE)
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 3, (3, FEATURES))
    values = np.moveaxis(centres[truth], -1, 0) + generator.normal(5, 0.5, (FEATURES, *SIZE))
    values = values.astype('float32')
    values[:, :4, :4] = np.nan
    with rasterio.open(next(files.images.iterdir())) as file:
        profile = {k: file.profile[k] for k in ('crs', 'transform', 'width', 'height')}
    path = root / 'embedding.tif'
    with rasterio.open(
        path, 'w', driver='GTiff', count=FEATURES, dtype='float32', nodata=np.nan, **profile
    ) as file:
        file.write(values)
    return Made(files, path, values, truth)


@pytest.fixture
def explorer(made, tmp_path):
    """An explorer of it, in a session of its own."""
    explorer = made.explorer(tmp_path / 'session')
    yield explorer
    explorer.close()


def label_stripes(explorer: Explorer, rows=(20, 40)) -> None:
    """Label each stripe by a pixel in some rows."""
    explorer.add_classes(['west', 'middle', 'east'])
    for row in rows:
        for name, column in (('west', 10), ('middle', 35), ('east', 60)):
            explorer.add_label(name, {'type': 'Point', 'coordinates': [column, row]})


@contextmanager
def served(made: Made, session: Path, *options: str):
    """Run the command in a process of its own, and give the address that it prints."""
    arguments = [
        'explore', str(made.files.images), '--cloud_paths', str(made.files.clouds),
        '--clear_values', '[4,5,6]', '--session', str(session), *options,
    ]  # fmt: skip
    log = session.with_suffix('.log')
    said = log.with_suffix('.out')
    said.unlink(missing_ok=True)  # of a server before
    process = start(main, arguments, log=log)
    try:
        while not (found := re.search(r'http://\S+(?=\n)', _text(said))):
            assert process.is_alive(), _text(log)
            time.sleep(0.05)
        yield process, found[0]
    finally:
        process.kill()
        process.join()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ''


def asked(url: str, path: str = '', body: Any = None, **headers: str) -> tuple[int, Any]:
    """Ask a server, with the token of its address unless the headers hold another."""
    root, _, token = url.partition('?token=')
    headers = {'X-Token': token, **{k.replace('_', '-'): v for k, v in headers.items()}}
    data = None
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers.setdefault('Content-Type', 'application/json')
    request = urllib.request.Request(root + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
            kind = answer.headers.get_content_type()
            return answer.status, json.loads(content) if kind == 'application/json' else content
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())

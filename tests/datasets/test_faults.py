"""Files that change, break off or answer with errors while a series is open."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from torch.utils.data import DataLoader

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.datasets.files import list_rasters
from torchgeo_sits.datasets.labels import RasterLabels
from torchgeo_sits.datasets.reading import _HandlePool, _Missing, _OpenRasters

from ..processes import start

SIDE = 96


def pixels(date: int, bands: int = 2, side: int = SIDE, seed: int = 0) -> np.ndarray:
    """Values without a zero, of a date."""
    generator = np.random.default_rng([seed, date])
    return generator.integers(1, 60_000, (bands, side, side)).astype('uint16')


def write(path: Path, data: np.ndarray, **options: object) -> None:
    """A tiled GeoTIFF of 10 m pixels without a nodata value."""
    profile = {
        'driver': 'GTiff',
        'count': data.shape[0],
        'height': data.shape[1],
        'width': data.shape[2],
        'dtype': data.dtype,
        'crs': 'EPSG:32631',
        'transform': from_origin(600_000, 5_000_000, 10, 10),
        'tiled': True,
        'blockxsize': 32,
        'blockysize': 32,
    }
    with rasterio.open(path, 'w', **(profile | options)) as file:
        file.write(data)


def window(row: int, column: int, side: int = 32) -> tuple[slice, slice]:
    """The window at a row and column."""
    left, top = 600_000 + 10 * column, 5_000_000 - 10 * row
    return slice(left, left + 10 * side), slice(top - 10 * side, top)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four dates."""
    for date in range(4):
        write(tmp_path / f's_2021{date + 1:02d}01.tif', pixels(date), compress='deflate')
    return tmp_path


@pytest.mark.parametrize('options', [{'compress': 'deflate'}, {}])
def test_file_truncated_in_the_middle_of_an_epoch(folder: Path, options: dict[str, str]) -> None:
    path = folder / 's_20210201.tif'
    write(path, pixels(1), **options)
    series = RasterTimeSeries(folder)
    series[window(0, 0)]
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(OSError, match=r"s_20210201\.tif' cannot be read"):
        series[window(64, 64)]
    skipping = RasterTimeSeries(folder, unreadable='skip')
    with pytest.warns(UserWarning, match=r'1 rasters cannot be read and count as unobserved'):
        sample = skipping[window(64, 64)]
    assert sample['mask_clear'].flatten(1).all(dim=1).tolist() == [True, False, True, True]
    assert not sample['mask_clear'][1].any()
    assert not sample['image'][1].any()


def test_deleted_file_is_read_while_open_and_named_when_not(folder: Path) -> None:
    series = RasterTimeSeries(folder)
    series[window(0, 0)]
    (folder / 's_20210301.tif').unlink()
    assert (series[window(64, 64)]['image'][2].numpy() == pixels(2)[:, 64:, 64:]).all()
    series.close()
    with pytest.raises(OSError, match=r"s_20210301\.tif' cannot be read"):
        series[window(64, 64)]


@pytest.mark.parametrize('in_place', [True, False])
def test_file_replaced_by_one_of_the_same_grid(folder: Path, in_place: bool) -> None:
    series = RasterTimeSeries(folder)
    series[window(0, 0)]
    path = folder / 's_20210101.tif'
    draft = path if in_place else folder / 'draft'
    write(draft, pixels(0, seed=7), compress='deflate')
    draft.rename(path)
    new = series[window(0, 0)]['image'][0].numpy()
    assert (new == pixels(0, seed=7)[:, :32, :32]).all()


def test_file_replaced_by_another_grid_is_refused(folder: Path) -> None:
    series = RasterTimeSeries(folder)
    series[window(0, 0)]
    path = folder / 's_20210101.tif'
    write(path, pixels(0), transform=from_origin(700_000, 5_000_000, 10, 10))
    with pytest.raises(OSError, match=r"s_20210101\.tif' is not the raster that it was"):
        series[window(0, 0)]
    write(path, pixels(0).astype('float32'))
    with pytest.raises(OSError, match=r'96 x 96 of .*float32'):
        series[window(0, 0)]


def test_rewritten_all_the_time_gives_pixels_of_one_state_or_an_error(folder: Path) -> None:
    series = RasterTimeSeries(folder)
    path = folder / 's_20210401.tif'
    states = [pixels(3, seed=seed)[:, :32, :32] for seed in range(2)]
    done = threading.Event()

    def rewrite() -> None:
        i = 0
        while not done.is_set():
            write(path, pixels(3, seed=i % 2), compress='deflate')
            i += 1
            time.sleep((0, 0.005, 0.2)[i % 3])

    write(path, pixels(3, seed=0), compress='deflate')
    writer = threading.Thread(target=rewrite)
    writer.start()
    read = 0
    try:
        stop = time.monotonic() + 2
        while time.monotonic() < stop:
            try:
                image = series[window(0, 0)]['image'][3].numpy()
            except OSError as error:
                assert 's_20210401.tif' in str(error)  # noqa: PT017
                continue
            assert any((image == state).all() for state in states)
            read += 1
    finally:
        done.set()
        writer.join()
    assert read


def test_blocks_that_were_never_written_are_unobserved(folder: Path) -> None:
    path = folder / 's_20210101.tif'
    data = pixels(0)
    data[:, 40, 40] = 0  # a zero that was written
    with rasterio.open(path) as file:
        profile = file.profile
    with rasterio.open(path, 'w', **profile, SPARSE_OK=True) as file:
        file.write(data[:, :64], window=rasterio.windows.Window(0, 0, SIDE, 64))
    sample = RasterTimeSeries(folder)[window(16, 16, 80)]
    assert sample['mask_clear'][0, :48].all()
    assert not sample['mask_clear'][0, 48:].any()
    assert (sample['image'][0, :, :48].numpy() == data[:, 16:64, 16:]).all()
    assert sample['mask_clear'][1:].all()


def test_coarser_pixels_come_from_overviews_and_classes_do_not(tmp_path: Path) -> None:
    row, column = np.mgrid[:256, :256]
    data = (1000 + 40 * row + 20 * column)[None].astype('uint16')
    path = tmp_path / 's_20210101.tif'
    write(path, data)
    with rasterio.open(path, 'r+') as file:
        file.build_overviews([2, 4], Resampling.average)
    left, top = 600_000 + 640, 5_000_000 - 320
    with rasterio.open(path, overview_level=1) as file:
        expected = file.read(window=rasterio.windows.Window(16, 8, 16, 16))
    sample = RasterTimeSeries(tmp_path, res=40)[left : left + 640, top - 640 : top]
    assert (sample['image'][0].numpy() == expected).all()
    for res, factor in (
        (25, 2),
        (30, 2),
        (35, 2),
        (50, 4),
        (80, 4),
    ):  # between overviews a ramp stays one, wherever it is read
        image = RasterTimeSeries(tmp_path, res=res)[left : left + 16 * res, top - 16 * res : top]
        y, x = (np.mgrid[:16, :16] + 0.5) * res / 10 - 0.5
        ramp = 1000 + 40 * (32 + y) + 20 * (64 + x)
        # GDAL's own tolerance, an eighth of a pixel; an overview misplaced is off by a half.
        assert np.abs(image['image'][0, 0].numpy() - ramp).max() <= 60 * factor / 8
    # Overviews with other content tell which was read: for images, and not for classes.
    masks = tmp_path / 'scl' / 'scl_20210101.tif'
    masks.parent.mkdir()
    write(masks, np.full((1, 256, 256), 4, 'uint8'))
    for other in (path, masks):
        with rasterio.open(other, 'r+') as file:
            file.build_overviews([2], Resampling.nearest)
        with rasterio.open(other, 'r+', overview_level=0) as file:
            file.write(np.full((1, 128, 128), 9, file.dtypes[0]))
    options = {'cloud_paths': masks.parent, 'clear_values': [4]}
    sample = RasterTimeSeries(path, res=20, **options)[left : left + 320, top - 320 : top]
    assert (sample['image'] == 9).all()
    assert sample['mask_clear'].all()


def test_zip_archives_open_like_folders(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / 'all.zip'
    with zipfile.ZipFile(archive, 'w') as file:
        for path in sorted(folder.glob('*.tif')):
            file.write(path, path.name)
    paths = [f'/vsizip/{archive}/s_2021{date + 1:02d}01.tif' for date in range(4)]
    plain, zipped = RasterTimeSeries(folder), RasterTimeSeries(paths)
    assert torch.equal(plain[window(5, 9)]['image'], zipped[window(5, 9)]['image'])
    whole = RasterTimeSeries(f'/vsizip/{archive}')
    assert torch.equal(plain[window(5, 9)]['image'], whole[window(5, 9)]['image'])


#: Serves the folder it runs in with ranges, as the file `mode` says: ok, 500 or half a body.
SERVER = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def answer(self, status, body=b'', headers=(), send=True, length=None):
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header('Content-Length', str(len(body) if length is None else length))
        self.end_headers()
        if send:
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET(send=False)

    def do_GET(self, send=True):
        mode = open('mode').read()
        path = '.' + self.path
        if mode == '500':
            return self.answer(500)
        if not os.path.isfile(path):
            return self.answer(404)
        data = open(path, 'rb').read()
        asked = self.headers.get('Range')
        if asked is None:
            return self.answer(200, data, [('Accept-Ranges', 'bytes')], send)
        first, last = asked.split('=')[1].split('-')
        first, last = int(first), min(int(last or len(data)), len(data) - 1)
        body = data[first : last + 1]
        headers = [('Content-Range', f'bytes {first}-{last}/{len(data)}')]
        length = len(body)
        if mode.startswith('half'):
            body = body[: length // 2]
            self.close_connection = True
        self.answer(206, body, headers, send, len(body) if mode == 'half, and says so' else length)

server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Address of a server of a folder with four dates of large blocks, and its mode."""
    folder = tmp_path / 'served'
    folder.mkdir()
    (folder / 'bucket').symlink_to(folder)
    for date in range(4):
        options = {'compress': 'deflate'} if date % 2 else {}
        write(folder / f's_2021{date + 1:02d}01.tif', pixels(date, side=512), **options)
    (folder / 'mode').write_text('ok')
    for name in ('no_proxy', 'NO_PROXY'):
        monkeypatch.setenv(name, '127.0.0.1')
    # A process of its own: opening holds the interpreter, which would have to answer.
    process = subprocess.Popen(
        [sys.executable, '-c', SERVER], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        place = f'127.0.0.1:{int(process.stdout.readline())}'
        for name, value in (
            ('AWS_S3_ENDPOINT', place),
            ('AWS_HTTPS', 'NO'),
            ('AWS_VIRTUAL_HOSTING', 'FALSE'),
            ('AWS_NO_SIGN_REQUEST', 'YES'),
        ):
            monkeypatch.setenv(name, value)
        yield f'http://{place}', folder / 'mode'
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize('mode', ['500', 'half', 'half, and says so'])
@pytest.mark.parametrize('prefix', ['', '/vsicurl/', '/vsis3/bucket'])
def test_server_that_fails_gives_right_pixels_or_an_error(
    server: tuple[str, Path], mode: str, prefix: str
) -> None:
    address, file = server
    root = prefix if 'bucket' in prefix else prefix + address
    series = RasterTimeSeries([f'{root}/s_2021{date + 1:02d}01.tif' for date in range(4)])

    def check(row: int, column: int) -> None:
        image = series[window(row, column, 64)]['image'].numpy()
        for date in range(4):
            expected = pixels(date, side=512)[:, row : row + 64, column : column + 64]
            assert (image[date] == expected).all()

    check(16, 16)
    file.write_text(mode)
    errors = 0
    for row, column in ((400, 10), (300, 300), (0, 440), (16, 16)):
        try:
            check(row, column)
        except OSError as error:
            assert 's_2021' in str(error)  # noqa: PT017
            errors += 1
    assert errors
    with pytest.raises(OSError, match=r'cannot be opened|no rasters'):
        RasterTimeSeries([f'{root}/s_20210501.tif'])


def position(bounds: torch.Tensor) -> tuple[int, int]:
    """Row and column of a sample."""
    return round((5_000_000 - bounds[4].item()) / 10), round((bounds[0].item() - 600_000) / 10)


@pytest.mark.parametrize('context', ['fork', 'spawn', 'forkserver'])
def test_workers_read_right_pixels_after_their_parent(folder: Path, context: str) -> None:
    if context not in multiprocessing.get_all_start_methods():
        pytest.skip(f'no {context} on this system')
    series = RasterTimeSeries(folder)
    series[window(0, 0)]
    generator = np.random.default_rng(0)
    number = 8_000 if context == 'fork' else 40
    places = generator.integers(0, SIDE - 8, (number, 2)).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of forking with threads, which is what is tested
        loader = DataLoader(
            series,
            batch_size=20,
            sampler=[window(row, column, 8) for row, column in places],
            num_workers=4 if context == 'fork' else 1,  # each imports for seconds
            collate_fn=pad_time,
            multiprocessing_context=context,
        )
        truth = np.stack([pixels(date) for date in range(4)])
        wrong = count = 0
        for batch in loader:
            series[window(40, 40)]  # the parent goes on reading
            for image, bounds in zip(batch['image'].numpy(), batch['bounds'], strict=True):
                row, column = position(bounds)
                wrong += not (image == truth[:, :, row : row + 8, column : column + 8]).all()
                count += 1
    assert (wrong, count) == (0, number)


def test_copies_of_a_series_start_without_handles(folder: Path, tmp_path: Path) -> None:
    import pickle

    series = RasterTimeSeries(folder)
    series[window(0, 0)]
    copied = pickle.loads(pickle.dumps(series))
    assert torch.equal(copied[window(3, 3)]['image'], series[window(3, 3)]['image'])
    shutil.rmtree(folder)
    with pytest.raises(OSError, match='cannot be read'):
        pickle.loads(pickle.dumps(series))[window(3, 3)]


def read_many(folder: Path, limit: int) -> None:
    """Read a series of many files, with masks, under a limit of open files: here and in workers."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    masks = {'cloud_paths': folder / 'masks', 'clear_values': [1]}
    series = RasterTimeSeries(folder / 'images', **masks)
    labels = RasterLabels(str(folder / 'labels'), crs='EPSG:32631', res=(10.0, 10.0))
    both = series & labels
    first = both[window(0, 0, 8)]
    assert first['image'].shape[0] == 70
    loader = DataLoader(
        both,
        batch_size=2,
        sampler=[window(row, row, 8) for row in range(4)],
        num_workers=2,
        collate_fn=pad_time,
        multiprocessing_context='fork',
    )
    batches = list(loader)
    assert len(batches) == 2
    assert torch.equal(batches[0]['image'][0], first['image'])
    assert torch.equal(both[window(0, 0, 8)]['image'], first['image'])


def read_with_nothing_left(folder: Path, limit: int) -> None:
    """Read where other files take all that may be open."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    series = RasterTimeSeries(folder / 'images')
    series[window(0, 0, 8)]
    taken = []
    with suppress(OSError):
        while True:
            taken.append(open(os.devnull))  # noqa: SIM115
    series[window(0, 0, 8)]  # idle handles are closed for it
    series.close()
    with suppress(OSError):
        while True:
            taken.append(open(os.devnull))  # noqa: SIM115
    with pytest.raises(OSError, match=rf'may open {limit} files, and all are in use.*ulimit -n'):
        series[window(0, 0, 8)]


@pytest.fixture(scope='module')
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy dates with masks, and labels."""
    folder = tmp_path_factory.mktemp('many')
    for name in ('images', 'masks', 'labels'):
        (folder / name).mkdir()
    for day in range(70):
        date = np.datetime64('2021-01-01') + day
        name = f's_{str(date).replace("-", "")}.tif'
        write(folder / 'images' / name, pixels(day, bands=1, side=32))
        write(folder / 'masks' / name, np.ones((1, 32, 32), 'uint8'))
    write(folder / 'labels' / 'l.tif', np.ones((1, 32, 32), 'uint8'))
    return folder


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows counts files otherwise')
@pytest.mark.parametrize('function', [read_many, read_with_nothing_left])
def test_long_series_within_the_limit_of_open_files(
    many: Path, tmp_path: Path, function: Callable[..., None]
) -> None:
    process = start(function, many, 100, log=tmp_path / 'log')
    process.join(120)
    assert process.exitcode == 0, (tmp_path / 'log').read_text()[-3000:]


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows counts files otherwise')
def test_the_soft_limit_is_raised_to_the_hard_one_where_that_is_needed(monkeypatch) -> None:
    import resource

    asked = []
    monkeypatch.setattr(resource, 'getrlimit', lambda kind: (256, 5000))
    monkeypatch.setattr(resource, 'setrlimit', lambda kind, limits: asked.append(limits))
    rasters = _OpenRasters()
    pools = [_HandlePool(_Missing(), cache=True) for _ in range(2)]
    rasters.reserve(pools[0], 60)
    assert not asked
    rasters.reserve(pools[1], 90)
    assert asked == [(5000, 5000)]


def test_members_that_leave_their_archive_are_left_out(folder: Path, tmp_path: Path) -> None:
    kept, elsewhere = sorted(folder.iterdir())[:2]
    archive = tmp_path / 'in' / 'all.zip'
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, 'w') as file:
        file.write(kept, kept.name)
        file.write(elsewhere, f'../{elsewhere.name}')
    assert list_rasters(archive) == [f'/vsizip/{archive}/{kept.name}']

"""The cache of headers: the same as reading, whatever happened to files or to the cache."""

import io
import multiprocessing
import os
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from pyarrow import parquet
from rasterio.transform import from_origin
from rasterio.warp import transform

from torchgeo_sits.datasets import headers as reading
from torchgeo_sits.datasets.file_stamps import Stamp, stamps
from torchgeo_sits.datasets.files import scan
from torchgeo_sits.datasets.headers import Header, HeaderCache, read_header, read_headers


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Paths that are opened; caching is on for few files, and for those just written."""
    opened: list[str] = []

    def read(path: str) -> Header:
        opened.append(path)
        return read_header(path)

    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(reading, '_WORTH_KEEPING', 1)
    monkeypatch.setattr(reading, 'read_header', read)
    monkeypatch.setattr(Stamp, 'settled', lambda self, now_ns: True)
    return opened


def write(path: Path, *, x: float = 500_000.0, size: int = 16, count: int = 2) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=count,
        height=size,
        width=size,
        dtype='uint16',
        crs='EPSG:32631',
        transform=from_origin(x, 5_600_000.1, 10, 10),
        nodata=0,
    ) as file:
        file.write(np.ones((count, size, size), 'uint16'))
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    names = [f'a_2020010{day}.tif' for day in range(1, 7)]
    return [write(tmp_path / 'images' / name, x=500_000 + i / 3) for i, name in enumerate(names)]


def test_kept_headers_of_real_stacks_are_those_read(shared_data: Path, reads: list[str]) -> None:
    paths = sorted(map(str, shared_data.rglob('*.tif')))
    fresh = [read_header(path) for path in paths]
    read_headers(paths)
    assert sorted(reads) == paths
    reads.clear()
    kept = read_headers(paths)
    assert reads == []
    for one, other in zip(fresh, kept, strict=True):
        # repr: it holds all digits, tells 1 from 1.0, and a nodata of NaN equals itself.
        assert repr(one) == repr(other)
        assert isinstance(other, Header)
        assert one.crs == other.crs
        assert one.crs.to_wkt() == other.crs.to_wkt()


def test_only_new_and_changed_files_are_read(files: list[str], reads: list[str]) -> None:
    read_headers(files)
    reads.clear()
    write(Path(files[2]), size=24)
    new = write(Path(files[0]).with_name('a_20200201.tif'))
    found = read_headers([*files, new])
    assert sorted(reads) == sorted([files[2], new])
    assert [header.width for header in found] == [16, 16, 24, 16, 16, 16, 16]
    reads.clear()
    read_headers([*files, new])
    assert reads == []


def test_that_a_raster_is_a_map_is_kept(files: list[str], reads: list[str]) -> None:
    with rasterio.open(files[3], 'r+') as file:
        file.update_tags(**{reading.MAP_TAG: 'abc'})
    for _ in range(2):
        with pytest.warns(UserWarning, match='1 rasters are maps of this package'):
            found = scan(files, unreadable='raise')
        assert [raster.path for raster in found] == [*files[:3], *files[4:]]
    assert len(reads) == len(files)


def test_a_file_put_in_place_with_the_size_and_time_of_another(
    files: list[str], reads: list[str]
) -> None:
    read_headers(files)
    before = os.stat(files[0])
    other = write(Path(files[0]).with_suffix('.new'), x=700_000)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, files[0])
    after = os.stat(files[0])
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert read_headers(files)[0].transform.c == 700_000


def test_a_companion_changes_the_header(files: list[str], reads: list[str]) -> None:
    read_headers(files)
    bands = ''.join(
        f'<PAMRasterBand band="{i}"><Description>{name}</Description></PAMRasterBand>'
        for i, name in enumerate(('red', 'nir'), 1)
    )
    Path(files[1] + '.aux.xml').write_text(f'<PAMDataset>{bands}</PAMDataset>')
    assert read_headers(files)[1].descriptions == ('red', 'nir')
    reads.clear()
    assert read_headers(files)[1].descriptions == ('red', 'nir')
    assert reads == []


def test_what_changes_while_it_is_read_is_not_kept(
    files: list[str], reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: str) -> Header:
        header = read_header(path)
        if path == files[3]:
            write(Path(path), size=32)  # after its header was read, before it is kept
        return header

    with monkeypatch.context() as patch:
        patch.setattr(reading, 'read_header', read)
        read_headers(files)
    assert [header.width for header in read_headers(files)] == [16, 16, 16, 32, 16, 16]
    assert reads == [files[3]]


def test_what_was_just_written_is_not_kept(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A change within the same tick of the file system's clock would not show.
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'cache'))
    headers = {path: read_header(path) for path in files}
    cache = HeaderCache(files)
    now = reading.time.time_ns()
    monkeypatch.setattr(reading.time, 'time_ns', lambda: now + 4_000_000_000)
    cache.keep(headers)  # however long reading took
    assert not cache.path.exists()
    cache = HeaderCache(files)
    cache.keep(headers)
    assert len(geopandas.read_parquet(cache.path)) == len(files)


@pytest.mark.parametrize('damage', ['cut', 'text', 'empty', 'foreign', 'columns', 'crs', 'folder'])
def test_a_damaged_cache_is_made_anew(files: list[str], reads: list[str], damage: str) -> None:
    expected = read_headers(files)
    place = HeaderCache(files).path
    frame = geopandas.read_parquet(place)
    if damage == 'cut':
        place.write_bytes(place.read_bytes()[:-100])
    elif damage == 'text':
        place.write_text('no parquet')
    elif damage == 'empty':
        place.write_bytes(b'')
    elif damage == 'foreign':
        frame[['geometry']].to_parquet(place)
    elif damage == 'columns':
        frame.assign(bands='[1, 2]').to_parquet(place)
    elif damage == 'crs':
        frame.assign(crs='nowhere').to_parquet(place)
    else:
        place.unlink()
        place.mkdir()
    reads.clear()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert read_headers(files) == expected
    assert sorted(reads) == files
    reads.clear()
    assert read_headers(files) == expected
    assert (reads == []) == (damage != 'folder')  # nothing can be written in its place


@pytest.mark.parametrize('place', ['file', 'schema', 'bands', 'yaml'])
def test_a_cache_of_a_stranger_runs_nothing(
    files: list[str], reads: list[str], tmp_path: Path, place: str
) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / 'ran',))

    expected = read_headers(files)
    kept = HeaderCache(files).path
    if place == 'file':
        kept.write_bytes(pickle.dumps(Touch()))
    elif place == 'schema':  # arrow once unpickled types of its files
        table = parquet.read_table(kept)
        extension = {
            b'ARROW:extension:name': b'arrow.py_extension_type',
            b'ARROW:extension:metadata': pickle.dumps(Touch()),
        }
        column = table.schema.get_field_index('bands')
        field = table.schema.field(column).with_metadata(extension)
        parquet.write_table(table.cast(table.schema.set(column, field)), kept)
    else:
        frame = geopandas.read_parquet(kept)
        apply = f'!!python/object/apply:pathlib.Path.touch [{tmp_path / "ran"}]'
        text = pickle.dumps(Touch(), protocol=0).decode() if place == 'bands' else apply
        frame.assign(bands=text).to_parquet(kept)
    assert read_headers(files) == expected
    assert not (tmp_path / 'ran').exists()


def test_a_folder_that_cannot_be_written(
    files: list[str], reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'file').write_text('no folder can be made below a file, not even by root')
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'file' / 'cache'))
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # nobody minds while reading is quick
        assert len(read_headers(files)) == len(files)
    monkeypatch.setattr(reading, '_PATIENCE', 0)
    with pytest.warns(UserWarning, match=r'cannot be kept in .*TORCHGEO_SITS_CACHE'):
        read_headers(files)


def test_few_files_leave_no_trace(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(Stamp, 'settled', lambda self, now_ns: True)
    read_headers(files)
    assert not (tmp_path / 'cache').exists()


def test_parts_of_a_folder_share_a_file(files: list[str], reads: list[str]) -> None:
    read_headers(files)
    read_headers(files[:3])  # another glob in the same folder
    write(Path(files[0]), size=24)
    os.unlink(files[5])
    read_headers(files[:3])
    reads.clear()
    read_headers(files[:5])
    assert reads == []
    kept = geopandas.read_parquet(HeaderCache(files).path)
    assert sorted(kept['path']) == files[:5]  # and what is gone is dropped


def test_relative_paths_are_the_same_files(
    files: list[str], reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_headers(files)
    reads.clear()
    monkeypatch.chdir(Path(files[0]).parent)
    assert len(read_headers([Path(path).name for path in files])) == len(files)
    assert reads == []


def test_unreadable_files_are_never_kept(
    tmp_path: Path, files: list[str], reads: list[str]
) -> None:
    broken = tmp_path / 'images' / 'a_20200108.tif'
    broken.write_text('this is no raster')
    paths = [*files, str(broken)]
    for _ in range(2):
        with pytest.raises(OSError, match=r'1 of 7 rasters cannot be opened: .*a_20200108\.tif'):
            scan(paths, unreadable='raise')
        with pytest.warns(UserWarning, match=r'1 of 7 rasters cannot be opened and are left out'):
            assert len(scan(paths, unreadable='skip')) == 6
    assert reads.count(str(broken)) == 4
    assert reads.count(files[0]) == 1
    write(broken)
    assert len(scan(paths, unreadable='raise')) == 7


def test_any_gis_reads_it(files: list[str], reads: list[str]) -> None:
    expected = read_headers(files)
    frame = geopandas.read_parquet(HeaderCache(files).path)
    assert frame.crs == 'EPSG:4326'
    for row, header in zip(frame.itertuples(), expected, strict=True):
        assert (row.west, row.south, row.east, row.north) == header.bounds
        left, bottom, right, top = header.bounds
        x, y = transform(
            header.crs,
            'EPSG:4326',
            [left, right, right, left],
            [bottom, bottom, top, top],
        )
        place = shapely.Polygon(np.transpose([x, y]))
        assert row.geometry.symmetric_difference(place).area < 1e-6 * place.area


def keep_and_load(files: list[str], barrier: object, results: object) -> None:
    headers = {path: read_header(path) for path in files}
    barrier.wait()
    HeaderCache(files).keep(headers)
    for _ in range(30):
        cache = HeaderCache(files)
        results.put(cache.load() == headers)  # whole at any time, whoever is writing
        cache.keep(headers)


def test_processes_that_write_at_once(files: list[str], reads: list[str]) -> None:
    context = multiprocessing.get_context('fork')
    barrier, results = context.Barrier(3), context.Queue()
    workers = [
        context.Process(target=keep_and_load, args=(files, barrier, results)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    outcomes = [results.get(timeout=60) for _ in range(90)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert all(outcomes)
    place = HeaderCache(files).path
    assert os.listdir(place.parent) == [place.name]  # no drafts are left
    assert len(HeaderCache(files).load()) == len(files)


def test_only_servers_are_trusted() -> None:
    trusted = ['https://host/a.tif', 's3://bucket/a.tif', '/vsicurl/https://host/a.tif']
    trusted += ['/vsis3/bucket/a.tif', '/vsizip//vsicurl/https://host/a.zip/a.tif']
    others = ['/vsimem/a.tif', '/vsizip//data/a.zip/a.tif', 'zip:///data/a.zip!a.tif']
    others += ['https://host/a.tif?token=1', 'https://me:secret@host/a.tif', '/nowhere/a.tif']
    assert list(stamps([*trusted, *others])) == trusted


@pytest.mark.parametrize('terminal', [True, False])
def test_a_bar_for_those_who_wait(
    files: list[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setattr(reading, '_PATIENCE', 0)
    monkeypatch.setattr('sys.stderr', screen := Screen())
    monkeypatch.setenv('TERM', 'xterm')
    read_headers(files)
    assert ('reading headers' in screen.getvalue()) == terminal
    assert (screen.getvalue() == '') != terminal

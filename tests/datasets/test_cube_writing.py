"""Conversions that are stopped, run out of space, or go on; and broken cubes."""

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import zarr
from rasterio.transform import from_origin

from torchgeo_sits.datasets import RasterTimeSeries, ZarrTimeSeries, verify_cube, write_cube
from torchgeo_sits.errors import SITSError

SIZE = 288


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RasterTimeSeries:
    """Noise of four dates with clouds; its cube has 81 shards in three arrays."""
    monkeypatch.setattr('torchgeo_sits.datasets.cubes.layout.SHARD_SIDE', 32)
    generator = np.random.default_rng(0)
    for day in range(1, 5):
        for folder, data in (
            ('in', generator.integers(0, 9000, (2, SIZE, SIZE)).astype('uint16')),
            ('scl', generator.integers(1, 3, (1, SIZE, SIZE)).astype('uint8')),
        ):
            path = tmp_path / folder / f'a_2020010{day}.tif'
            path.parent.mkdir(exist_ok=True)
            with rasterio.open(
                path,
                'w',
                driver='GTiff',
                count=len(data),
                height=SIZE,
                width=SIZE,
                dtype=data.dtype,
                crs='EPSG:32631',
                transform=from_origin(500_000, 5_600_000, 10, 10),
                nodata=0,
                tiled=True,
                blockxsize=32,
                blockysize=32,
            ) as file:
                file.write(data)
    return RasterTimeSeries(tmp_path / 'in', cloud_paths=tmp_path / 'scl', clear_values=(1,))


def assert_equal(path: Path, series: RasterTimeSeries) -> None:
    cube = ZarrTimeSeries(path)
    ours, wanted = cube[cube.bounds], series[series.bounds]
    for key in wanted:
        assert torch.equal(ours[key], wanted[key]), key


def pixel_shards(path: Path) -> list[Path]:
    """Whole shards; a write that was stopped leaves a file of another name."""
    files = (file for name in ('image', 'mask_clear') for file in path.glob(f'{name}/c/**/*'))
    return sorted(file for file in files if file.is_file() and file.suffix != '.partial')


def test_killed_twenty_times(series: RasterTimeSeries, tmp_path: Path) -> None:
    fork = multiprocessing.get_context('fork')
    choose = random.Random(0)
    path = tmp_path / 'c.zarr'
    before = killed = rounds = 0
    while killed < 20:
        rounds += 1
        done = fork.Value('i', 0)

        def convert(done: Synchronized = done, path: Path = path) -> None:
            def report(number: int, total: int) -> None:
                done.value = number

            write_cube(series, path, progress=report)

        process = fork.Process(target=convert)
        process.start()
        if rounds % 4:  # while it writes
            goal = before // 2 + choose.randint(1, 2)
            while done.value < goal and process.is_alive():
                time.sleep(0.0005)
            time.sleep(choose.uniform(0, 0.004))
        else:  # at any moment, the first ones too
            time.sleep(choose.uniform(0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode in (-signal.SIGKILL, 0)
        killed += process.exitcode == -signal.SIGKILL
        shards_now = len(pixel_shards(path)) if path.exists() else 0
        assert shards_now >= before  # no shard was lost
        before = shards_now
        try:
            ZarrTimeSeries(path)
        except OSError as error:
            assert str(path) in str(error)  # noqa: PT017
            continue
        # How far a round gets depends on the machine: complete, and on with another cube.
        assert_equal(path, series)
        path, before = tmp_path / f'c{rounds}.zarr', 0
    write_cube(series, path)
    assert_equal(path, series)
    assert verify_cube(series, path)
    assert not list(path.rglob('*.partial'))
    assert not (path / '.lock').exists()
    assert write_cube(series, path) == 0


def test_shard_that_never_reached_the_disk_is_written_again(
    series: RasterTimeSeries, tmp_path: Path
) -> None:
    path = tmp_path / 'c.zarr'

    def stop(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cube(series, path, progress=stop)
    with pytest.raises(OSError, match=r'c\.zarr.*not complete.*torchgeo_sits'):
        ZarrTimeSeries(path)
    files = pixel_shards(path)
    files[0].write_bytes(b'')  # as a power cut leaves them
    files[5].write_bytes(bytes(files[5].stat().st_size))
    files[-1].write_bytes(files[-1].read_bytes()[:-7])
    assert write_cube(series, path) == 81 - 20 + 3
    assert_equal(path, series)


def test_another_source_is_refused(series: RasterTimeSeries, tmp_path: Path) -> None:
    path = tmp_path / 'c.zarr'
    write_cube(series, path, command='make it')
    other = RasterTimeSeries(tmp_path / 'in', bands=['B2'])
    with pytest.raises(
        ValueError, match=r"c\.zarr.*bands was \['B1', 'B2'\] and is \['B2'\].*make it"
    ):
        write_cube(other, path)
    first = tmp_path / 'in' / 'a_20200101.tif'
    os.utime(first, (1, 1))
    with pytest.raises(ValueError, match='files have other names, sizes, times'):
        write_cube(series, path)
    assert verify_cube(series, path) == 81  # the pixels are what they were
    with rasterio.open(first, 'r+') as file:
        data = file.read()
        data[1, 100, 200] += 1
        file.write(data)
    series.close()
    with pytest.raises(
        ValueError, match=r'1 of 81 shards.*2020-01-01.*band B2, row 100, column 200'
    ):
        verify_cube(series, path)


def test_source_that_changes_meanwhile(series: RasterTimeSeries, tmp_path: Path) -> None:
    path = tmp_path / 'c.zarr'

    def touch(done: int, total: int) -> None:
        if done == 5:
            os.utime(tmp_path / 'in' / 'a_20200101.tif', (1, 1))

    with pytest.raises(OSError, match=r"changed while they were converted to '.*c\.zarr'"):
        write_cube(series, path, progress=touch)
    with pytest.raises(OSError, match='not complete'):
        ZarrTimeSeries(path)


def test_names_that_are_taken(series: RasterTimeSeries, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'in. is not empty and no cube'):
        write_cube(series, tmp_path / 'in')
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(ValueError, match='is a file'):
        write_cube(series, tmp_path / 'file')
    zarr.create_group(tmp_path / 'theirs.zarr', attributes={'a': 1})
    for call in (lambda p: write_cube(series, p), ZarrTimeSeries):
        with pytest.raises(ValueError, match=r'theirs\.zarr.*no cube of torchgeo-sits'):
            call(tmp_path / 'theirs.zarr')
    (tmp_path / 'empty').mkdir()
    assert write_cube(series, tmp_path / 'empty') == 81
    root = tmp_path / 'empty' / 'zarr.json'
    content = json.loads(root.read_text())
    content['attributes']['torchgeo_sits']['format'] = 99
    root.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='format 99'):
        ZarrTimeSeries(tmp_path / 'empty')
    root.write_text('{')
    with pytest.raises(OSError, match=r'empty/zarr\.json'):
        ZarrTimeSeries(tmp_path / 'empty')


def test_two_conversions_at_once(series: RasterTimeSeries, tmp_path: Path) -> None:
    path = tmp_path / 'c.zarr'

    def again(done: int, total: int) -> None:
        if done == 3:
            with pytest.raises(SITSError, match=r'another process is writing.*c\.zarr'):
                write_cube(series, path)

    write_cube(series, path, progress=again)
    assert_equal(path, series)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', str(folder)]
    if os.geteuid() or not shutil.which('mount') or subprocess.run(command).returncode:
        pytest.skip('no file systems may be mounted here')
    yield folder
    subprocess.run(['umount', str(folder)], check=True)


def test_full_disk(series: RasterTimeSeries, small_disk: Path) -> None:
    path = small_disk / 'c.zarr'
    for _ in range(2):
        with pytest.raises(OSError, match=r"no space is left for '.*c\.zarr'.*same command again"):
            write_cube(series, path)
        with pytest.raises(OSError, match='not complete'):
            ZarrTimeSeries(path)
    assert pixel_shards(path)
    subprocess.run(['mount', '-o', 'remount,size=32m', str(small_disk)], check=True)
    assert 0 < write_cube(series, path) < 81
    assert_equal(path, series)


def test_limit_on_the_size_of_files(series: RasterTimeSeries, tmp_path: Path) -> None:
    path = tmp_path / 'c.zarr'
    receive, send = multiprocessing.Pipe()

    def convert() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        try:
            write_cube(series, path)
        except OSError as error:
            send.send(str(error))

    process = multiprocessing.get_context('fork').Process(target=convert)
    process.start()
    process.join()
    assert 'no space is left' in receive.recv()
    write_cube(series, path)
    assert_equal(path, series)


def test_broken_shards_are_named_and_mended(series: RasterTimeSeries, tmp_path: Path) -> None:
    path = tmp_path / 'c.zarr'
    write_cube(series, path, command='make it')
    cube = ZarrTimeSeries(path)
    generator = np.random.default_rng(0)
    files = pixel_shards(path)
    for i, file in enumerate(generator.permutation(np.array(files, object))[:60]):
        content = file.read_bytes()
        place = int(generator.integers(len(content)))
        kind = ('byte', 'cut', 'empty', 'deleted', 'zeros')[i % 5]
        if kind == 'byte':
            changed = bytes([content[place] ^ int(generator.integers(1, 256))])
            file.write_bytes(content[:place] + changed + content[place + 1 :])
        elif kind == 'cut':
            file.write_bytes(content[:place])
        elif kind == 'deleted':
            file.unlink()
        else:
            file.write_bytes(b'' if kind == 'empty' else bytes(len(content)))
        with pytest.raises(OSError, match='make it') as refusal:
            cube[cube.bounds]
        assert str(file) in str(refusal.value), kind
        file.write_bytes(content)
    assert_equal(path, series)
    files[7].unlink()
    assert write_cube(series, path) == 1
    assert_equal(path, series)


def test_coordinates_that_are_missing_or_broken(series: RasterTimeSeries, tmp_path: Path) -> None:
    path = tmp_path / 'c.zarr'
    write_cube(series, path)
    for name in ('time/c/0', 'time_bounds/c/0/0', 'band/c/0', 'footprint/c/0', 'zarr.json'):
        file = path / name
        content = file.read_bytes()
        changed = bytes([content[20] ^ 1])
        for rest in (
            None,
            b'',
            content[: len(content) // 2],
            content[:20] + changed + content[21:],
        ):
            if name == 'zarr.json' and rest is not None and len(rest) == len(content):
                continue  # text without a checksum
            file.unlink() if rest is None else file.write_bytes(rest)
            with pytest.raises(OSError, match=r'c\.zarr'):
                ZarrTimeSeries(path)
        file.write_bytes(content)
    assert_equal(path, series)


def test_cube_that_was_replaced_while_it_was_open(series: RasterTimeSeries, tmp_path: Path) -> None:
    path = tmp_path / 'c.zarr'
    write_cube(series, path)
    cube = ZarrTimeSeries(path)
    cube[cube.bounds]
    for file in (tmp_path / 'in').glob('*.tif'):
        with rasterio.open(file, 'r+') as raster:
            raster.write(raster.read() + 1)
    series.close()
    write_cube(series, tmp_path / 'new.zarr')
    path.rename(tmp_path / 'old.zarr')
    with pytest.raises(OSError, match=r'c\.zarr'):
        cube[cube.bounds]
    (tmp_path / 'new.zarr').rename(path)
    with pytest.raises(OSError, match=r'c\.zarr.*Open the series again'):
        cube[cube.bounds]
    assert_equal(path, series)


def test_many_reads_leave_nothing_behind(series: RasterTimeSeries, tmp_path: Path) -> None:
    path = tmp_path / 'c.zarr'
    write_cube(series, path)
    cube = ZarrTimeSeries(path)
    x, y, _ = cube.bounds
    window = slice(x.start, x.start + 320), slice(y.start, y.start + 320)

    def state() -> tuple[int, int]:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        return len(os.listdir('/proc/self/fd')), pages * 4096

    for _ in range(100):
        cube[window]
    handles, memory = state()
    for _ in range(500):
        cube[window]
    assert state()[0] == handles
    assert state()[1] < memory + 2**24


def test_a_cube_that_no_disk_has_room_for_is_refused_before_it_is_begun(tmp_path, monkeypatch):
    """Files may declare any size: a sparse raster of 300,000 x 300,000 pixels has 40 MB."""
    profile = {
        'driver': 'GTiff',
        'height': 300_000,
        'width': 300_000,
        'count': 10,
        'dtype': 'uint16',
        'crs': 'EPSG:32631',
        'transform': from_origin(0, 6_000_000, 10, 10),
        'tiled': True,
        'blockxsize': 4096,
        'blockysize': 4096,
        'SPARSE_OK': True,
        'BIGTIFF': 'YES',
    }
    (tmp_path / 'images').mkdir()
    with rasterio.open(tmp_path / 'images/x_20200101.tif', 'w', **profile):
        pass
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=100 * 10**9))
    series = RasterTimeSeries(tmp_path / 'images')
    with pytest.raises(OSError, match=r'1,890 GB of pixels.*100 GB are free'):
        write_cube(series, tmp_path / 'cube.zarr')
    assert not (tmp_path / 'cube.zarr/zarr.json').exists()

"""The command ``torchgeo-sits cube``, as a newcomer meets it."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from torchgeo_sits import main
from torchgeo_sits.datasets import Sentinel2TimeSeries, ZarrTimeSeries
from torchgeo_sits.datasets.cubes import layout, writing

from .processes import start

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def keep_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('GDAL_CACHEMAX', '64')


def refused(capsys: Capture, *args: object) -> str:
    with pytest.raises(SystemExit) as end:
        main.main(['cube', *map(str, args)])
    assert end.value.code not in (0, None)
    error = capsys.readouterr().err
    assert 'Traceback' not in error
    return error


def test_folder_becomes_a_cube(series_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / 'c.zarr'
    main.main(['cube', str(series_folder), str(path), '--verify', '--bands', '[B3,B1]'])
    output = capsys.readouterr()
    assert '1 shards written' in output.out
    assert 'equal to the source, bit for bit' in output.out
    assert not output.err  # no bar where there is no terminal
    cube = ZarrTimeSeries(path)
    assert cube.bands == ('B3', 'B1')
    assert len(cube) == 8
    main.main(['cube', str(series_folder), str(path), '--bands', '[B3,B1]', '--verify'])
    assert 'nothing left to write' in capsys.readouterr().out
    assert 'bands was' in refused(capsys, series_folder, path)


def test_several_folders_and_options_of_a_sensor(
    shared_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    root = shared_data / 'gfmap_bap'
    folders = [tmp_path / 'a', tmp_path / 'b']
    for i, file in enumerate(sorted((root / 'images').glob('*.tif'))):
        folders[i % 2].mkdir(exist_ok=True)
        shutil.copy(file, folders[i % 2])
    path = tmp_path / 'c.zarr'
    args = [*map(str, folders), str(path), '--dataset_class', 'Sentinel2TimeSeries']
    args += ['--cloud_paths', str(root / 'scl'), '--offset', '-1000', '--snow_is_clear', 'true']
    main.main(['cube', *args, '--crs', 'EPSG:32631', '--res', '20'])
    cube = ZarrTimeSeries(path)
    series = Sentinel2TimeSeries(
        folders,
        'EPSG:32631',
        20,
        cloud_paths=root / 'scl',
        offset=-1000,
        snow_is_clear=True,
    )
    assert len(cube) == len(series) == 20
    assert cube.crs.to_epsg() == 32631
    assert cube.res == (20, 20)


def test_refusals_are_one_line(series_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "'nowhere' does not exist" in refused(capsys, 'nowhere', tmp_path / 'c.zarr')
    assert 'no cube' in refused(capsys, series_folder, series_folder)
    assert 'RasterTimeSeries' in refused(capsys, 'a', 'b', '--dataset_class', 'Foo')
    assert 'not a kind of' in refused(capsys, 'a', 'b', '--dataset_class', 'SyntheticSeries')
    assert 'cloud_paths holds all rasters' in refused(
        capsys, series_folder, tmp_path / 'c.zarr', '--cloud_paths', series_folder
    )
    assert 'DST' in refused(capsys, series_folder)
    broken = tmp_path / 'in'
    shutil.copytree(series_folder, broken)
    file = broken / 'own_20210315.tif'
    with open(file, 'r+b') as content:
        content.truncate(file.stat().st_size // 2)
    message = refused(capsys, broken, tmp_path / 'c.zarr')
    assert 'own_20210315.tif' in message
    shutil.copy(series_folder / file.name, file)
    assert len(message.splitlines()) == 1


def test_help_shows_the_options_of_the_sensor(capsys: Capture) -> None:
    for args, shown in (
        ([], '--cloud_paths'),
        (['--dataset_class', 'Sentinel2TimeSeries'], '--scale'),
    ):
        with pytest.raises(SystemExit) as end:
            main.main(['cube', '--help', 'all', *args])
        assert end.value.code == 0
        assert shown in capsys.readouterr().out
    main.main([])
    assert 'cube' in capsys.readouterr().out


def convert_slowly(folder: Path, path: Path) -> None:
    # What a shell starts in the background ignores interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    layout.SHARD_SIDE = 32
    read = writing.CubeSource.read

    def slow(source: writing.CubeSource, batch: Any) -> Iterator[Any]:
        for item in read(source, batch):
            print('read', flush=True)
            time.sleep(1)
            yield item

    writing.CubeSource.read = slow  # type: ignore[method-assign, assignment]
    main.main(['cube', str(folder), str(path)])


def test_interrupt_leaves_what_can_go_on(series_folder: Path, tmp_path: Path) -> None:
    path, log = tmp_path / 'c.zarr', tmp_path / 'log'
    process = start(convert_slowly, series_folder, path, log=log)
    while not (log.with_suffix('.out').exists() and log.with_suffix('.out').read_text()):
        assert process.is_alive()
        time.sleep(0.1)
    time.sleep(0.2)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    process.kill()
    error = log.read_text()
    assert process.exitcode == 130
    assert 'Traceback' not in error
    assert 'the same command goes on' in error
    assert os.path.exists(path / 'zarr.json')
    with pytest.raises(OSError, match=r'not complete.*torchgeo-sits cube'):
        ZarrTimeSeries(path)

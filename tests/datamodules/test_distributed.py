"""Two processes under Lightning's plain ddp share each epoch, also one that is resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from socket import socket

import numpy as np
import pytest
import rasterio

from torchgeo_sits.datamodules import ImageOptions, LabelOptions, PatchOptions, SITSDataModule

SCRIPT = Path(__file__).with_name('distributed_run.py')


@pytest.fixture(scope='module')
def seen(series_folder, tmp_path_factory):
    """Bounds that each run and process saw, as ``{(run, rank): {'train': ..., 'val': ...}}``."""
    folder = tmp_path_factory.mktemp('ddp')
    with rasterio.open(min(series_folder.iterdir())) as image:
        profile = {**image.profile, 'count': 1, 'dtype': 'uint8'}
    mask = np.tile(np.arange(40) % 3 + 1, (32, 1)).astype('uint8')
    with rasterio.open(folder / 'labels.tif', 'w', **profile) as file:
        file.write(mask[None])
    with socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    # Started here as a cluster would: Lightning's own start waits seconds between processes.
    running = [
        subprocess.Popen(
            [sys.executable, SCRIPT, series_folder, folder / 'labels.tif', folder],
            env=os.environ
            | {'LOCAL_RANK': str(rank), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
            | {'OMP_NUM_THREADS': '1'},
            stdout=subprocess.DEVNULL,
            stderr=(folder / f'{rank}.log').open('w'),
        )
        for rank in range(2)
    ]
    try:
        for rank, process in enumerate(running):
            assert process.wait(timeout=120) == 0, (folder / f'{rank}.log').read_text()[-3000:]
    finally:
        for process in running:
            process.kill()
    return {'labels': folder / 'labels.tif'} | {
        (run, rank): json.loads((folder / f'{run}_{rank}.json').read_text())
        for run in ('whole', 'cut', 'resumed')
        for rank in (0, 1)
    }


def windows(batches):
    return [tuple(bounds) for batch in batches for bounds in batch]


def test_processes_share_each_epoch(seen, series_folder):
    data = SITSDataModule(
        str(series_folder),
        images=ImageOptions(mean=[0.0] * 3, std=[1.0] * 3),
        labels=LabelOptions(str(seen['labels'])),
        patches=PatchOptions(8, length=17, num_dates=3),
        batch_size=2,
    )
    data.setup('fit')
    for epoch in range(3):
        # 17 windows: 8 for each process in 4 batches of 2, and one that is left out.
        together = [
            (x.start, y.start, t.start.timestamp())
            for x, y, t in data.train_sampler.iter_epoch(epoch)
        ]
        assert len(together) == 17
        for rank in (0, 1):
            batches = seen['whole', rank]['train']
            assert len(batches) == 3 * 4
            assert windows(batches[4 * epoch : 4 * epoch + 4]) == together[rank:16:2]


def test_validation_is_shared_and_covers_all(seen):
    first, second = (windows(seen['whole', rank]['val']) for rank in (0, 1))
    assert len(first) == len(second)
    places = {(x, y) for x, y, _ in first + second}
    # A quarter of 4 x 5 blocks, in each of three epochs.
    assert len(places) == 5
    assert len(first) == 3 * 3


@pytest.mark.parametrize('rank', [0, 1])
def test_resumed_in_the_middle_of_an_epoch(seen, rank):
    whole = seen['whole', rank]['train']
    assert seen['cut', rank]['train'] == whole[:6]
    assert seen['resumed', rank]['train'] == whole[6:]

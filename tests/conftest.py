"""Fixtures that all tests share."""

import os
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'  # of this process and all that it starts, before any import

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from . import processes  # what the server of forks imports is said before anyone starts it

assert processes.FORKSERVER

#: Real imagery beside the checkout, described by the README in it; tests skip without it.
SHARED_DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'

#: Files that take longest, to begin with: the last file of a run keeps one process alone.
LONGEST = (
    'test_every_dataset.py',
    'test_long_runs.py',
    'test_notebook.py',
    'test_main.py',
    'test_export.py',
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the order within a file stays."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True, scope='session')
def one_thread() -> None:
    """Keep torch to one thread: the models here are tiny and CI has two cores."""
    torch.set_num_threads(1)


@pytest.fixture
def shared_data() -> Path:
    """Folder of real image time series; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f'no real imagery at {SHARED_DATA}')
    return SHARED_DATA


@pytest.fixture(scope='session')
def series_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight dated GeoTIFFs of three bands and 32 x 40 pixels, with a gradient in time."""
    folder = tmp_path_factory.mktemp('series')
    generator = np.random.default_rng(0)
    ground = generator.integers(500, 3000, (3, 32, 40))
    profile = {
        'driver': 'GTiff',
        'height': 32,
        'width': 40,
        'count': 3,
        'dtype': 'uint16',
        'crs': 'EPSG:32631',
        'transform': from_origin(600000, 5000000, 10, 10),
        'nodata': 0,
    }
    for i in range(8):
        with rasterio.open(folder / f'own_2021{i + 1:02d}15.tif', 'w', **profile) as file:
            file.write((ground + 100 * i).astype('uint16'))
    return folder

"""Fixtures that all tests share."""

from pathlib import Path

import pytest
import torch

#: Real imagery beside the checkout, described by the README in it; tests skip without it.
SHARED_DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'


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

"""FLAIR-HUB, value by value."""

import numpy as np
import pytest

from torchgeo_sits.datasets.published import FLAIRHUB, seconds_of
from torchgeo_sits.errors import SITSError

from .releases.flairhub import (
    PATCHES,
    cover_of,
    dates_of,
    masks_of,
    stack_of,
    write_raster,
    write_release,
)


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('flairhub'))


@pytest.mark.parametrize(('part', 'own'), [('train', 'train'), ('val', 'valid'), ('test', 'test')])
def test_patches_hold_their_stacks_dates_and_cover(release, part, own):
    data = FLAIRHUB(release, part, max_cloud=30)
    assert data.samples == sorted(PATCHES[own])
    for index, name in enumerate(data.samples):
        sample = data[index]
        assert np.array_equal(sample['image'].numpy(), stack_of(name, 'SENTINEL2'))
        clear = (masks_of(name) <= 30).all(1)
        assert np.array_equal(sample['mask_clear'].numpy(), clear)
        times = [seconds_of(day) for day in dates_of(name, 'SENTINEL2')]
        assert sample['acquisition_times'].tolist() == times
        cover = cover_of(name).astype(int)
        assert np.array_equal(sample['mask'].numpy(), np.where(cover < 15, cover, -1))
        orbits = [f'SENTINEL1-{orbit}' for orbit in ('ASC', 'DESC')]
        radar = np.concatenate([stack_of(name, orbit) for orbit in orbits])
        times = np.array([seconds_of(day) for orbit in orbits for day in dates_of(name, orbit)])
        order = np.argsort(times, kind='stable')
        assert sample['acquisition_times_s1'].tolist() == times[order].tolist()
        assert np.array_equal(sample['image_s1'].numpy(), radar[order])


def test_a_window_has_the_cover_of_its_pixels(release):
    data = FLAIRHUB(release)
    window = data.read(0, (slice(2, 5), slice(6, 10)))
    cover = cover_of(data.samples[0])[2:5, 6:10].astype(int)
    assert np.array_equal(window['mask'].numpy(), np.where(cover < 15, cover, -1))


def test_what_does_not_fit_is_refused(tmp_path):
    write_release(tmp_path)
    with pytest.raises(SITSError, match=r'split_9.*split_1'):
        FLAIRHUB(tmp_path, split='split_9')
    name = PATCHES['train'][0]
    write_raster(tmp_path, name, 'SENTINEL2_TS', np.zeros((7, 10, 10), np.uint16), 10.24)
    with pytest.raises(SITSError, match='has 7 bands'):
        FLAIRHUB(tmp_path)[0]
    path = tmp_path / 'GLOBAL_ALL_MTD/GLOBAL_SENTINEL1-ASC_MTD_DATES.gpkg'
    path.write_bytes(b'no GeoPackage')
    with pytest.raises(SITSError, match='GLOBAL_SENTINEL1-ASC_MTD_DATES'):
        FLAIRHUB(tmp_path)[1]

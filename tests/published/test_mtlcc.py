"""MTLCC, value by value."""

from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import MTLCC
from torchgeo_sits.errors import SITSError

from .releases.mtlcc import TILES, dates_of, folder_of, image_of, numbers_of, write_release

CROPS = {1: 0, 3: 2, 5: 3, 22: 12, 26: 16}


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('mtlcc'))


@pytest.mark.parametrize(
    ('part', 'fold', 'name'),
    [
        ('train', 0, 'train_fold0'),
        ('val', 0, 'test_fold0'),
        ('test', 0, 'eval'),
        ('train', 1, 'train_fold1'),
        ('val', 1, 'test_fold1'),
        ('test', 1, 'eval'),
    ],
)
def test_tiles_are_those_of_the_lists_with_all_resolutions(release, part, fold, name):
    data = MTLCC(release, part, fold=fold)
    assert data.samples == sorted(TILES[name])
    for index, tile in enumerate(data.samples):
        sample, dates = data[index], dates_of(tile)
        found = [datetime.fromtimestamp(t, UTC) for t in sample['acquisition_times'].tolist()]
        assert [f'{date:%Y%m%d}' for date in found] == dates
        images = np.stack([image_of(tile, date) for date in dates])
        assert np.array_equal(sample['image'].numpy(), images.astype(np.float32))
        expected = np.vectorize(lambda number: CROPS.get(number, -1))(numbers_of(tile))
        assert np.array_equal(sample['mask'].numpy(), expected)


@pytest.mark.parametrize('corner', [(0, 0), (7, 5), (11, 13)])
def test_windows_between_coarse_pixels_hold_those_of_the_whole(release, corner):
    data = MTLCC(release, 'val')
    rows, columns = slice(corner[0], corner[0] + 5), slice(corner[1], corner[1] + 7)
    image = image_of(data.samples[0], dates_of(data.samples[0])[0])[:, rows, columns]
    assert np.array_equal(data.read(0, (rows, columns))['image'][0].numpy(), image)


def test_what_lacks_is_named(tmp_path):
    write_release(tmp_path)
    tile = tmp_path / 'data' / folder_of(TILES['test_fold0'][0])
    for path in tile.glob('*_60m.tif'):
        path.unlink()
    with pytest.raises(SITSError, match=r'_60m.tif.*is missing'):
        MTLCC(tmp_path, 'val')[0]
    for path in tile.glob('*_10m.tif'):
        path.unlink()
    with pytest.raises(SITSError, match='has no image of tile 201'):
        MTLCC(tmp_path, 'val')[0]
    with pytest.raises(SITSError, match=r'train_fold7.tileids.*does not exist'):
        MTLCC(tmp_path, fold=7)
    with pytest.raises(SITSError, match='fold=10'):
        MTLCC(tmp_path, fold=10)

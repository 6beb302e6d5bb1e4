"""DENETHOR, value by value."""

from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import Denethor
from torchgeo_sits.errors import SITSError

from .releases.denethor import BOXES, CROPS, TILES, image_of, pixels_of, write_release

#: Parcels of one of the nine crops, by number.
KNOWN = sorted(number for number, crop in CROPS.items() if crop <= 9)


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('denethor'))


def test_a_fifth_of_the_first_year_is_held_out(release):
    numbers = {
        part: [parcel.number for parcel in Denethor(release, part).samples]
        for part in ('train', 'val', 'test')
    }
    assert numbers == {'train': [*KNOWN[:4], KNOWN[5]], 'val': [KNOWN[4]], 'test': KNOWN}


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_a_square_shows_its_parcel_alone(release, part):
    data = Denethor(release, part, side=16)
    tile, days = TILES['test-2019' if part == 'test' else 'train-2018']
    for index, parcel in enumerate(data.samples):
        sample, pixels = data[index], pixels_of(parcel.number)
        dates = [datetime.fromtimestamp(t, UTC) for t in sample['acquisition_times'].tolist()]
        assert [f'{date:%Y-%m-%d}' for date in dates] == days
        top, left = _corner_of(sample['image'][0].numpy(), image_of(tile, days[0]))
        rows, columns = slice(top, top + 16), slice(left, left + 16)
        for frame, day in enumerate(days):
            image = image_of(tile, day)[:, rows, columns]
            assert np.array_equal(sample['image'][frame].numpy(), image)
            assert np.array_equal(sample['mask_clear'][frame].numpy(), pixels[rows, columns])
        top, bottom, left, right = BOXES[parcel.number]
        if max(bottom - top, right - left) <= 9:
            assert sample['mask_clear'][0].sum() == pixels.sum()
        assert sample['label'] == CROPS[parcel.number] - 1
    assert data.sample_classes().tolist() == [CROPS[p.number] - 1 for p in data.samples]


def _corner_of(square, image):
    """First row and column of a square in an image of random values."""
    size = square.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(image[0], (size, size))
    found = np.argwhere((windows == square[0]).all((-1, -2)))
    assert len(found) == 1
    return found[0]


def test_damage_is_named(tmp_path):
    write_release(tmp_path)
    labels = next(tmp_path.glob('*train-2018.geojson'))
    text = labels.read_text()
    labels.write_text(text.replace('crop_id', 'crop'))
    with pytest.raises(SITSError, match=rf'{labels.name}.*crop_id'):
        Denethor(tmp_path)
    labels.write_text(text)
    next(tmp_path.rglob('PF-SR/2018-03-02.tif')).unlink()
    with pytest.raises(SITSError, match=r'2018-03-02.tif.*is missing'):
        Denethor(tmp_path)[0]
    for path in tmp_path.rglob('2019-*.tif'):
        path.unlink()
    with pytest.raises(SITSError, match=r'no image of tile 17E-243N, 2019'):
        Denethor(tmp_path, 'test')[0]
    with pytest.raises(SITSError, match='side=0'):
        Denethor(tmp_path, side=0)

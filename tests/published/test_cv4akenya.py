"""CV4A Kenya, value by value."""

from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import CV4AKenya
from torchgeo_sits.errors import SITSError

from .releases.cv4akenya import DATES, FIELDS, bands_of, rasters_of, write_release

#: Fields of the parts: of eight with a label, in the order of their numbers.
PARTS = {
    'train': [4, 5, 6, 77, 79, 1004],
    'val': [12],
    'test': [31],
    'unlabelled': [78, 90],
}
CROPS = {number: crop for tile in FIELDS.values() for number, (_, crop) in tile.items()}


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('cv4akenya'))


@pytest.mark.parametrize('part', list(PARTS))
def test_a_square_shows_its_field_where_it_is_clear(release, part):
    data = CV4AKenya(release, part, side=14)
    assert sorted(field.number for field in data.samples) == PARTS[part]
    for index, field in enumerate(data.samples):
        sample = data[index]
        times = sample['acquisition_times'].tolist()
        dates = [f'{datetime.fromtimestamp(t, UTC):%Y%m%d}' for t in times]
        assert dates == sorted(DATES)
        top, bottom, left, right = FIELDS[field.tile][field.number][0]
        row = min(max((top + bottom - 1) // 2 - 7, 0), 40 - 14)
        column = min(max((left + right - 1) // 2 - 7, 0), 34 - 14)
        rows, columns = slice(row, row + 14), slice(column, column + 14)
        own = rasters_of(field.tile)[0][rows, columns] == field.number
        assert own.any()
        for frame, date in enumerate(dates):
            bands = bands_of(field.tile, date)[:, rows, columns]
            assert np.array_equal(sample['image'][frame].numpy(), bands[:12])
            assert np.array_equal(sample['mask_clear'][frame].numpy(), own & (bands[12] <= 50))
        if part != 'unlabelled':
            assert sample['label'] == CROPS[field.number] - 1


def test_files_that_lack_are_named(tmp_path):
    write_release(tmp_path)
    (tmp_path / 'data/0/20190606/0_CLD_20190606.tif').unlink()
    with pytest.raises(SITSError, match=r'0_CLD_20190606.tif.*is missing'):
        CV4AKenya(tmp_path)[0]
    (tmp_path / 'data/1/1_label.tif').unlink()
    with pytest.raises(SITSError, match=r'1_label.tif.*does not exist'):
        CV4AKenya(tmp_path)

"""DynamicEarthNet, value by value."""

from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import DynamicEarthNet
from torchgeo_sits.errors import SITSError

from .releases.dynamicearthnet import PLACES, image_of, map_of, write_release


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('dynamicearthnet'))


@pytest.mark.parametrize(
    ('frames', 'days'),
    [
        ('monthly', {1: [1], 2: [1]}),
        ('weekly', {1: [1, 5, 15], 2: [1, 10]}),
        ('daily', {1: [1, 2, 5, 15], 2: [1, 10, 28]}),
    ],
)
@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_a_month_holds_its_days_and_its_map(release, part, frames, days):
    data = DynamicEarthNet(release, part, frames=frames)
    expected = [(place, month) for place in sorted(PLACES[part]) for month in (1, 2)]
    assert len(data) == len(expected)
    for index, (place, month) in enumerate(expected):
        sample = data[index]
        dates = [datetime.fromtimestamp(t, UTC) for t in sample['acquisition_times'].tolist()]
        assert [(d.month, d.day) for d in dates] == [(month, day) for day in days[month]]
        for frame, date in zip(sample['image'].numpy(), dates, strict=True):
            assert np.array_equal(frame, image_of(place, (2018, date.month, date.day)))
        assert not sample['mask_clear'][:, 0, :3].any()
        classes = map_of(place, month)
        assert np.array_equal(sample['mask'].numpy(), np.where(classes < 6, classes, -1))


def test_a_series_has_the_map_of_its_month_for_each_frame(release):
    data = DynamicEarthNet(release, 'train', frames='weekly', per='series')
    assert [key[0] for key in data.samples] == sorted(PLACES['train'])
    sample = data[0]
    months = [datetime.fromtimestamp(t, UTC).month for t in sample['acquisition_times'].tolist()]
    assert months == [1, 1, 1, 2, 2]
    for mask, month in zip(sample['mask'].numpy(), months, strict=True):
        classes = map_of(data.samples[0][0], month)
        assert np.array_equal(mask, np.where(classes < 6, classes, -1))


def test_lists_and_labels_that_lack_are_named(tmp_path):
    write_release(tmp_path)
    (tmp_path / 'test.txt').write_text('one two\n')
    with pytest.raises(SITSError, match=r'test.txt.*one two'):
        DynamicEarthNet(tmp_path, 'test')
    (tmp_path / 'val.txt').unlink()
    with pytest.raises(SITSError, match=r'val.txt'):
        DynamicEarthNet(tmp_path, 'val')
    for path in (tmp_path / 'labels').rglob('*2018_02_01.tif'):
        path.unlink()
    with pytest.raises(SITSError, match=r'2018-02'):
        DynamicEarthNet(tmp_path, 'train')[1]
    with pytest.raises(SITSError, match='hourly'):
        DynamicEarthNet(tmp_path, frames='hourly')

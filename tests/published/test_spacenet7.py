"""SpaceNet 7, value by value."""

from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import SpaceNet7
from torchgeo_sits.errors import SITSError

from .releases.spacenet7 import (
    LABELLED,
    MONTHS,
    UNLABELLED,
    image_of,
    map_of,
    unusable_of,
    write_release,
)


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('spacenet7'))


def places_of(release, part, **options):
    return [place for place, _ in SpaceNet7(release, part, **options).samples]


@pytest.mark.parametrize('part', ['train', 'val', 'test', 'unlabelled'])
def test_months_have_their_images_and_buildings(release, part):
    data = SpaceNet7(release, part)
    for index, (place, _) in enumerate(data.samples):
        sample = data[index]
        dates = [datetime.fromtimestamp(t, UTC) for t in sample['acquisition_times'].tolist()]
        assert [(d.year, d.month, d.day) for d in dates] == [(*month, 1) for month in MONTHS]
        for frame, month in enumerate(MONTHS):
            assert np.array_equal(sample['image'][frame].numpy(), image_of(place, month)[:3])
            seen, unusable = image_of(place, month)[3] > 0, unusable_of(place, month)
            if unusable is not None:
                seen &= unusable == 0
            assert np.array_equal(sample['mask_clear'][frame].numpy(), seen)
            if part != 'unlabelled':
                assert np.array_equal(sample['mask'][frame].numpy(), map_of(place, month))


def test_a_fourth_each_is_held_out_unless_places_are_named(release):
    assert places_of(release, 'train') == [LABELLED[i] for i in (0, 1, 4, 5)]
    assert places_of(release, 'val') == [LABELLED[2]]
    assert places_of(release, 'test') == [LABELLED[3]]
    assert places_of(release, 'unlabelled') == UNLABELLED
    own = {'val_places': [LABELLED[5], LABELLED[0]]}
    assert places_of(release, 'val', **own) == [LABELLED[0], LABELLED[5]]
    assert places_of(release, 'train', **own) == LABELLED[1:5]
    assert places_of(release, 'test', **own) == []
    with pytest.raises(SITSError, match='elsewhere'):
        SpaceNet7(release, test_places=['elsewhere'])
    with pytest.raises(SITSError, match='take them out of one'):
        SpaceNet7(release, val_places=LABELLED[:1], test_places=LABELLED[:1])


def test_damaged_labels_are_named(tmp_path):
    write_release(tmp_path)
    paths = sorted((tmp_path / 'train' / LABELLED[0]).rglob('*.geojson'))
    for text in ('{', '[]', '{"features": [{"geometry": {"type": "Square"}}]}'):
        paths[0].write_text(text)
        with pytest.raises(SITSError, match=paths[0].name):
            SpaceNet7(tmp_path)[0]
    paths[0].unlink()
    with pytest.raises(SITSError, match=f'{paths[0].name}.*is missing'):
        SpaceNet7(tmp_path)[0]

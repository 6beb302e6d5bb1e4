"""MultiSenGE, value by value."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import MultiSenGE
from torchgeo_sits.errors import SITSError

from .releases.multisenge import PATCHES, dates_of, image_of, numbers_of, write_release

TILES = {'train': ['31TFN', '31UEP'], 'val': ['32ULU'], 'test': ['32ULV']}


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('multisenge'))


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_patches_have_the_images_of_both_sensors(release, part):
    data = MultiSenGE(release, part)
    assert data.samples == [patch for tile in TILES[part] for patch in PATCHES[tile]]
    for index, patch in enumerate(data.samples):
        sample = data[index]
        for sensor, end in (('s2', ''), ('s1', '_s1')):
            dates = dates_of(patch, sensor)
            if not dates:
                assert not sample[f'valid{end}'].any()
                continue
            times = sample[f'acquisition_times{end}'].tolist()
            assert [f'{datetime.fromtimestamp(t, UTC):%Y%m%d}' for t in times] == dates
            images = np.stack([image_of(patch, sensor, date) for date in dates])
            assert np.array_equal(sample[f'image{end}'].numpy(), images.astype(np.float32))
        assert np.array_equal(sample['mask'].numpy(), numbers_of(patch).astype(int) - 1)


def test_whole_tiles_are_held_out(release):
    own = {'val_tiles': ['31TFN'], 'test_tiles': ['31UEP']}
    assert MultiSenGE(release, 'val', **own).samples == PATCHES['31TFN']
    assert MultiSenGE(release, 'train', **own).samples == PATCHES['32ULU'] + PATCHES['32ULV']
    with pytest.raises(SITSError, match='33XXX'):
        MultiSenGE(release, val_tiles=['33XXX'])


def test_damaged_descriptions_are_named(tmp_path):
    write_release(tmp_path)
    patch = PATCHES['31TFN'][0]
    path = tmp_path / f'labels/{patch}.json'
    for text in ('[]', '{"corresponding_s2": 3}'):
        path.write_text(text)
        with pytest.raises(SITSError, match=rf'{patch}.json.*corresponding_s2'):
            MultiSenGE(tmp_path)[0]
    path.write_text(json.dumps({'corresponding_s2': 'none.tif', 'corresponding_s1': ''}))
    with pytest.raises(SITSError, match=rf'{patch}.json.*fetch them again'):
        MultiSenGE(tmp_path)[0]

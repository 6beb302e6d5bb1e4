"""BioMassters, value by value."""

from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import BioMassters
from torchgeo_sits.errors import SITSError

from .releases.biomassters import CHIPS, biomass_of, image_of, months_of, write_release


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('biomassters'))


def chips_of(folder, part):
    return [key.chip for key in BioMassters(folder, part).samples]


def test_a_fifth_of_training_is_held_out(release, tmp_path):
    train = sorted(CHIPS['train'])
    assert chips_of(release, 'train') == [*train[:4], train[5]]
    assert chips_of(release, 'val') == [train[4]]
    assert chips_of(release, 'test') == sorted(CHIPS['test'])
    write_release(tmp_path, labelled=False)
    assert chips_of(tmp_path, 'test') == []
    assert chips_of(tmp_path, 'unlabelled') == sorted(CHIPS['test'])
    assert 'mask' not in BioMassters(tmp_path, 'unlabelled')[0]


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_months_have_their_images_and_a_chip_its_biomass(release, part):
    data = BioMassters(release, part)
    for index, key in enumerate(data.samples):
        sample = data[index]
        for satellite, end in (('S2', ''), ('S1', '_s1')):
            months = months_of(key.chip, satellite)
            times = sample[f'acquisition_times{end}'].tolist()
            dates = [datetime.fromtimestamp(t, UTC) for t in times]
            assert [(d.year, d.month, d.day) for d in dates] == [
                (1970 + (m > 3), (m + 8) % 12 + 1, 1) for m in months
            ]
            images = np.stack([image_of(key.chip, satellite, m) for m in months])
            bands = images[:, :10].astype(np.float32)
            clear = images[:, 10] <= 50 if satellite == 'S2' else (bands != -9999).all(1)
            expected = np.where(bands == -9999, 0, bands)
            assert np.array_equal(sample[f'image{end}'].numpy(), expected)
            assert np.array_equal(sample[f'mask_clear{end}'].numpy(), clear)
        assert np.array_equal(sample['mask'].numpy(), biomass_of(key.chip))


def test_damaged_tables_are_named(tmp_path):
    write_release(tmp_path)
    path = tmp_path / 'biomassters_features_metadata.csv'
    text = path.read_text()
    path.write_text(text.replace('_S2_11.tif', '_S2_12.tif'))
    with pytest.raises(SITSError, match=r'_S2_12.tif.*months 00 to 11'):
        BioMassters(tmp_path)[0]
    path.write_text(text.replace('chip_id', 'chip'))
    with pytest.raises(SITSError, match=r'metadata.csv.*chip_id'):
        BioMassters(tmp_path)

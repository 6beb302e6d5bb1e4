"""ZueriCrop, value by value."""

import h5py
import numpy as np
import pytest

from torchgeo_sits.datasets.published import ZueriCrop
from torchgeo_sits.errors import SITSError

from .releases.zuericrop import CLASSES, COUNT, FRAMES, labels_of, values_of, write_release

pytestmark = pytest.mark.filterwarnings('ignore:ZueriCrop is published without dates')


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('zuericrop'))


@pytest.mark.parametrize(('fold', 'tested'), [(1, [0, 1]), (3, [4, 5, 6]), (5, [9, 10, 11])])
def test_one_block_of_patches_is_for_the_test(release, fold, tested):
    rest = [number for number in range(COUNT) if number not in tested]
    for part, numbers in (('train', rest), ('test', tested), ('val', []), ('unlabelled', [])):
        data = ZueriCrop(release, part, fold=fold)
        assert data.samples == numbers
        for index, number in enumerate(numbers):
            sample = data[index]
            expected = np.moveaxis(values_of(number), -1, 1)
            assert np.array_equal(sample['image'].numpy(), expected)
            assert np.array_equal(sample['mask'].numpy(), CLASSES[labels_of(number)])
            assert sample['mask_clear'].all()


def test_dates_are_those_of_the_user_or_count_the_frames(release):
    with pytest.warns(UserWarning, match='without dates'):
        sample = ZueriCrop(release, 'test')[0]
    assert sample['acquisition_times'].tolist() == [86_400 * i for i in range(FRAMES)]
    dates = ['19700107', '1970-01-06', 19700105, '19700104', '19700103', '19700102']
    sample = ZueriCrop(release, 'test', dates=dates)[0]
    assert sample['acquisition_times'].tolist() == [86_400 * i for i in range(1, 7)]
    expected = np.moveaxis(values_of(0), -1, 1)[::-1]
    assert np.array_equal(sample['image'].numpy(), expected)
    with pytest.raises(SITSError, match='6 frames, got 2 dates'):
        ZueriCrop(release, 'test', dates=dates[:2])[0]
    with pytest.raises(SITSError, match=r'2019/01/02.*expected YYYYMMDD'):
        ZueriCrop(release, 'test', dates=[*dates[:5], '2019/01/02'])[0]


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path)
    with pytest.raises(SITSError, match='fold=6'):
        ZueriCrop(tmp_path, fold=6)
    table = tmp_path / 'labels.csv'
    text = table.read_text()
    table.write_text(text.replace('Apples', 'Bananas'))
    with pytest.raises(SITSError, match=r'labels.csv.*Bananas'):
        ZueriCrop(tmp_path)[0]
    table.write_text(text.replace('1st_tier', 'tier'))
    with pytest.raises(SITSError, match=r'labels.csv.*1st_tier'):
        ZueriCrop(tmp_path)[0]
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken/ZueriCrop.hdf5').write_bytes(b'no HDF5')
    with pytest.raises(SITSError, match=r'broken/ZueriCrop.hdf5'):
        ZueriCrop(tmp_path / 'broken')
    (tmp_path / 'other').mkdir()
    with h5py.File(tmp_path / 'other/ZueriCrop.hdf5', 'w') as file:
        file['data'] = np.zeros((4, 3, 2, 2, 4))
    with pytest.raises(SITSError, match=r'\(4, 3, 2, 2, 4\)'):
        ZueriCrop(tmp_path / 'other')

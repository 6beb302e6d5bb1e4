"""BraDD-S1TS, value by value."""

import pickle

import numpy as np
import pytest
import torch

from torchgeo_sits.datasets.published import BraDDS1TS, seconds_of
from torchgeo_sits.errors import SITSError

from .releases.bradd import PARTS, sample_of, write_release


@pytest.mark.parametrize('label', ['change', 'after'])
def test_samples_are_those_of_the_files(tmp_path, label):
    write_release(tmp_path)
    number = 0
    for part, count in zip(('train', 'val', 'test'), PARTS.values(), strict=True):
        data = BraDDS1TS(tmp_path, part, label=label)
        assert len(data) == count
        for index in range(count):
            sample = data[index]
            days, image, (before, after) = sample_of(number)
            order = np.argsort(days)
            times = [seconds_of(days[i].strftime('%Y%m%d')) for i in order]
            assert sample['acquisition_times'].tolist() == times
            assert np.array_equal(sample['image'].numpy(), np.nan_to_num(image[order]))
            clear = np.isfinite(image[order]).all(1)
            assert np.array_equal(sample['mask_clear'].numpy(), clear)
            expected = np.where(before > 0, -1, after) if label == 'change' else after
            assert np.array_equal(sample['mask'].numpy(), expected)
            number += 1


class Hostile:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), 'w'))


def test_no_file_runs_code(tmp_path):
    write_release(tmp_path)
    data = BraDDS1TS(tmp_path, 'train')
    (path,) = data.files(data.samples[0])
    canary = tmp_path / 'ran'
    torch.save({'image': Hostile(canary), 'image_dates': [], 'label': 0}, path)
    with pytest.raises(SITSError, match=path.name):
        data[0]
    path.write_bytes(pickle.dumps(Hostile(canary)))
    with pytest.raises(SITSError, match=path.name):
        data[0]
    assert not canary.exists()


def test_what_does_not_fit_is_refused(tmp_path):
    write_release(tmp_path)
    with pytest.raises(SITSError, match='before'):
        BraDDS1TS(tmp_path, label='before')
    data = BraDDS1TS(tmp_path, 'val')
    (path,) = data.files(data.samples[0])
    torch.save({'image': torch.zeros(1)}, path)
    with pytest.raises(SITSError, match='image_dates'):
        data[0]
    meta = next(tmp_path.rglob('meta.csv'))
    meta.write_text('a,b\n1,2\n')
    with pytest.raises(SITSError, match='close_set'):
        BraDDS1TS(tmp_path)

"""TimeSen2Crop as MONSTER packages it, a table: `tests.recipes.monster.MonsterTimeSen2Crop`."""

import numpy as np

from torchgeo_sits.datasets import published as p
from torchgeo_sits.errors import SITSError


class MonsterTimeSen2Crop(p.TableSeries):
    """A million pixels of Austria, interpolated to the days of a year, in five folds by tile."""

    about = p.About(
        title='TimeSen2Crop of MONSTER',
        sensor='Sentinel-2 L2A, 9 bands, interpolated',
        labels='15 crops, by pixel without neighbours',
        size='1,135,511 pixels, 14.9 GB',
        licence='CC-BY-4.0',
        paper='https://arxiv.org/abs/2502.15122',
        hosts=('https://huggingface.co/datasets/monster-monash/TimeSen2Crop',),
        dates='order',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='classification',
    )
    band_names = p.TimeSen2Crop.band_names
    classes = p.TimeSen2Crop.classes[:-1]  # without "other"; their order was not verified
    label_kind = 'series'
    marker = 'TimeSen2Crop_X.npy'

    def __init__(self, *args, fold=0, **kwargs):
        if fold not in range(5):
            raise SITSError(f'fold={fold}: expected one of 0 to 4')
        self.fold = fold
        super().__init__(*args, **kwargs)

    def list_samples(self, part):
        """Numbers of the rows; MONSTER names those of the test, and none for validation."""
        path = self.folder / f'test_indices_fold_{self.fold}.txt'
        test = np.loadtxt(path, dtype=np.int64)
        train = np.setdiff1d(np.arange(len(self._labels)), test)
        return {'train': train, 'test': test}.get(part, test[:0]).tolist()

    @property
    def _labels(self):
        return p.read_npy(self.folder / 'TimeSen2Crop_y.npy')

    def files(self, key):
        return [self.folder / f'TimeSen2Crop_{letter}.npy' for letter in 'Xy']

    def read_rows(self, key):
        values = p.read_npy(self.files(key)[0])[key].T  # bands by days in the file
        # A year from September 2017: the first day is not stated.
        return p.Rows(values, p.seconds_of('20170901') + 86_400 * np.arange(len(values)))

    def read_label(self, key, window):
        return np.array(self._labels[key])

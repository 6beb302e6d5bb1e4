"""The Canadian Cropland Dataset, a file for each date: `tests.recipes.cropland.Cropland`."""

import re
from functools import cached_property

import numpy as np

from torchgeo_sits.datasets.published import About, DatedFiles, Frame, seconds_of

#: Number of the point, and the month, as in 2019/RGB/training/OAT/POINT_12_201907.png.
NAME = re.compile(r'POINT_(\d+)_(20\d{4})')
FOLDERS = {'train': 'training', 'val': 'validation', 'test': 'test'}


class Cropland(DatedFiles):
    """Squares of 640 m of Canadian fields in one year, June to October, with a crop each."""

    about = About(
        title='Canadian Cropland Dataset',
        sensor='Sentinel-2, RGB',
        labels='crops, by square',
        size='78,536 images of four years',
        licence='Montreal Data License',
        paper='https://arxiv.org/abs/2306.00114',
        hosts=('https://github.com/bioinfoUQAM/Canadian-cropland-dataset-github',),
        dates='month',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='classification',
    )
    band_names = ('R', 'G', 'B')
    label_kind = 'series'
    marker = 'RGB/training'  # in the folder of a year

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Classes are folders, of which all parts must have the same.
        training = self.folder / 'RGB' / 'training'
        self.classes = tuple(sorted(path.name for path in training.iterdir() if path.is_dir()))

    @cached_property
    def _frames(self):
        """Frames of each point of this part, by crop and point."""
        found = {}
        for path in sorted((self.folder / 'RGB' / FOLDERS[self.part]).glob('*/*.png')):
            if name := NAME.match(path.name):
                frame = Frame(seconds_of(name[2], '%Y%m'), (path,))
                found.setdefault((path.parent.name, name[1]), []).append(frame)
        return found

    def list_samples(self, part):
        return sorted(self._frames) if part in FOLDERS else []

    def list_frames(self, key):
        return self._frames[key]

    def read_label(self, key, window):
        return np.array(self.classes.index(key[0]))

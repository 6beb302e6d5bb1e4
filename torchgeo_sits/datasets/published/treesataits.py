"""TreeSatAI-Time-Series: forest plots of Lower Saxony, Sentinel-1 and 2 in a year, tree genera."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import (
    About,
    Part,
    PublishedTimeSeries,
    StoredSeries,
    Window,
    join_series,
    seconds_of,
)
from .hierarchical import open_hdf5
from .side_files import find_paths, read_json, read_lines

__all__ = ['TreeSatAITS']

#: Lowest share of the area of a genus that counts.
_LEAST = 0.07
#: Percentage of snow or cloud from which a pixel is not clear.
_MARKED = 50
_YEAR = re.compile(r'_\d{4}$')


class TreeSatAITS(PublishedTimeSeries):
    """TreeSatAI-Time-Series: 50,381 forest plots of 60 m, with the genera of their trees.

    Astruc, Gonthier, Mallet and Landrieu, OmniSat: self-supervised modality fusion for Earth
    observation, ECCV 2024, https://arxiv.org/abs/2404.08351, over the plots of Ahlswede et al.,
    TreeSatAI benchmark archive, ESSD 2023. A plot has the genera of 7 % of its area or more.

    Sentinel-1 of ascending and descending orbits is one series, in linear power. Pixels whose
    snow or cloud is 50 % or more are not clear; that threshold is none of the authors'. The
    aerial images are not read.

    Examples:
        >>> from torchgeo_sits.datasets.published import TreeSatAITS
        >>> len(TreeSatAITS.classes), TreeSatAITS.classes[4], TreeSatAITS.band_names_s1
        (15, 'Cleared', ('VV_linear', 'VH_linear'))
    """

    about = About(
        title='TreeSatAI-Time-Series',
        sensor='Sentinel-2, 10 bands; Sentinel-1, VV and VH',
        labels='15 genera of trees, several for a plot',
        size='50,381 plots of 6 x 6 pixels',
        licence='CC-BY-4.0',
        paper='https://arxiv.org/abs/2404.08351',
        hosts=('https://huggingface.co/datasets/IGNF/TreeSatAI-Time-Series',),
        dates='second',
        metric=('WeightedF1Score',),
        config='multilabel',
    )
    band_names = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')
    band_names_s1 = ('VV_linear', 'VH_linear')
    classes = (
        'Abies', 'Acer', 'Alnus', 'Betula', 'Cleared', 'Fagus', 'Fraxinus', 'Larix', 'Picea',
        'Pinus', 'Populus', 'Prunus', 'Pseudotsuga', 'Quercus', 'Tilia',
    )  # fmt: skip
    label_kind = 'multilabel'
    marker = 'train_filenames.lst'

    @cached_property
    def _files(self) -> dict[str, Path]:
        """Files of the series by the plots' names; some copies put the year behind these."""
        found = {}
        for name in ('sentinel', 'sentinel-ts'):
            for path in find_paths(self.folder / name, '*.h5'):
                found[_YEAR.sub('', path.stem)] = path
        return found

    @cached_property
    def _genera(self) -> dict[str, list[tuple[str, float]]]:
        """Genera and their shares by the plots' names."""
        table = read_json(self._table)
        try:
            return {
                _YEAR.sub('', Path(name).stem): [(str(genus), float(area)) for genus, area in rows]
                for name, rows in table.items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise SITSError(
                f"'{self._table}' is no table of genera by file ({error}): fetch it again"
            ) from error

    @property
    def _table(self) -> Path:
        """The labels of all plots."""
        return self.folder / 'labels' / 'TreeSatBA_v9_60m_multi_labels.json'

    def list_samples(self, part: Part) -> Sequence[str]:
        """Name of each plot."""
        if part == 'unlabelled':
            return []
        path = self.folder / f'{part}_filenames.lst'
        if not path.exists():
            raise SITSError(
                f"'{path}' does not exist, the list of the part {part!r}: unpack split.zip into "
                f"'{self.folder}'"
            )
        return [_YEAR.sub('', Path(line).stem) for line in read_lines(path)]

    def files(self, key: str) -> Sequence[Path]:
        """The labels, and the file of the series."""
        return [self._table, self._files.get(key, self.folder / 'sentinel-ts' / f'{key}.h5')]

    def read_series(self, key: str, window: Window) -> StoredSeries:
        """Read Sentinel-2, with what is marked as snow or cloud."""
        with open_hdf5(self.files(key)[1]) as file:
            values = file['sen-2-data'][(..., *window)]
            # Some files hold ten layers, of which the first two are meant.
            marks = file['sen-2-masks'][(slice(None), slice(2), *window)]
            times = _times(file, 'sen-2-products', 2)
        if len(marks) != len(times):
            raise SITSError(
                f"'{self.files(key)[1]}' has {len(marks)} masks for {len(times)} dates: fetch it "
                'again'
            )
        return StoredSeries(values, times, (marks < _MARKED).all(axis=1))

    def read_series_s1(self, key: str, window: Window) -> StoredSeries | None:
        """Read Sentinel-1, both orbits."""
        parts = []
        with open_hdf5(self.files(key)[1]) as file:
            for orbit in ('asc', 'des'):
                values = file[f'sen-1-{orbit}-data'][(..., *window)]
                times = _times(file, f'sen-1-{orbit}-products', 4)
                if len(values) != len(times):
                    raise SITSError(
                        f"'{file.filename}' has {len(values)} images of Sentinel-1 ({orbit}) for "
                        f'{len(times)} products: fetch it again'
                    )
                parts.append(StoredSeries(values, times))
        return join_series(parts)

    def read_label(self, key: str, window: Window) -> NDArray[np.int64]:
        """1 for each genus that the plot has."""
        if key not in self._genera:
            raise SITSError(f"'{self._table}' does not have the plot {key!r}: fetch it again")
        shares = self._genera[key]
        if odd := [area for _, area in shares if not 0 <= area <= 1]:
            raise SITSError(
                f"'{self._table}', plot {key!r}: {odd} is no share of an area, from 0 to 1: fetch "
                'it again'
            )
        found = {genus for genus, area in shares if area >= _LEAST}
        if unknown := found - set(self.classes):
            raise SITSError(
                f"'{self._table}', plot {key!r}: {sorted(unknown)} is none of {self.classes}"
            )
        return np.array([genus in found for genus in self.classes], np.int64)

    def size(self, key: str) -> tuple[int, int]:
        """Height and width of the images."""
        with open_hdf5(self.files(key)[1]) as file:
            height, width = file['sen-2-data'].shape[-2:]
        return height, width


def _times(file: h5py.File, key: str, field: int) -> NDArray[np.int64]:
    """Times of products, which stand in a field of their names."""
    names: list[Any] = np.ravel(file[key][()]).tolist()
    texts = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
    try:
        return np.array([seconds_of(t.split('_')[field], '%Y%m%dT%H%M%S') for t in texts], np.int64)
    except (IndexError, ValueError) as error:
        raise SITSError(
            f"'{file.filename}', {key}: a name holds no date in field {field} ({error}): fetch it "
            'again'
        ) from error

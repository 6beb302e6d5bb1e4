"""SSL4EO-S12 v1.1: places all over the world, four seasons of Sentinel-1 and 2, no labels."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError
from .base import About, LabelKind, Part, PublishedTimeSeries, StoredSeries, Window
from .hierarchical import cf_times, open_zipped_zarr
from .side_files import find_paths

__all__ = ['SSL4EOS12']

#: Places of a file.
_PLACES = 64
_L1C = (
    'B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B10', 'B11', 'B12',
)  # fmt: skip
_L2A = tuple(name for name in _L1C if name != 'B10')
_MEAN_L1C = (
    2607.345, 2393.068, 2320.225, 2373.963, 2562.536, 3110.071, 3392.832, 3321.154, 3583.77,
    1838.712, 1021.753, 3205.112, 2545.798,
)  # fmt: skip
_STD_L1C = (
    786.523, 849.702, 875.318, 1143.578, 1126.248, 1161.98, 1273.505, 1246.79, 1342.755, 576.795,
    45.626, 1340.347, 1145.036,
)  # fmt: skip


class SSL4EOS12(PublishedTimeSeries):
    """SSL4EO-S12 v1.1: 246,144 places of 264 x 264 pixels of 10 m, a frame for each season.

    Blumenstiel, Braham, Albrecht, Maurogiovanni and Fraccaro, SSL4EO-S12 v1.1: a multimodal,
    multiseasonal dataset for pretraining, updated, 2025, https://arxiv.org/abs/2503.00168. The
    folder holds ``train/`` and ``val/``, each with ``S2L2A`` or ``S2L1C`` and, if Sentinel-1 is to
    lie beside, ``S1GRD``; part of the files will do. The red, green and blue copies are not read.

    Examples:
        >>> from torchgeo_sits.datasets.published import SSL4EOS12
        >>> len(SSL4EOS12.band_names), SSL4EOS12.band_names_s1
        (12, ('VV', 'VH'))
    """

    about = About(
        title='SSL4EO-S12 v1.1',
        sensor='Sentinel-2, 12 bands (L2A) or 13 (L1C); Sentinel-1, VV and VH',
        labels='none',
        size='246,144 places, 4 dates each',
        licence='CC-BY-4.0',
        paper='https://arxiv.org/abs/2503.00168',
        hosts=(
            'https://huggingface.co/datasets/embed2scale/SSL4EO-S12-v1.1',
            'https://datapub.fz-juelich.de/ssl4eo-s12',
        ),
        dates='second',
        metric=(),
        config='vicreg',
    )
    band_names: tuple[str, ...] = _L2A
    band_names_s1 = ('VV', 'VH')
    label_kind: LabelKind = 'none'
    marker = '*/S2L*/ssl4eos12_*.zarr.zip'
    mean: tuple[float, ...] = (
        1793.243, 1924.863, 2184.553, 2340.936, 2671.402, 3240.082, 3468.412, 3563.244, 3627.704,
        3711.071, 3416.714, 2849.625,
    )  # fmt: skip
    std: tuple[float, ...] = (
        1160.144, 1201.092, 1219.943, 1397.225, 1400.035, 1373.136, 1429.17, 1485.025, 1447.836,
        1652.703, 1471.002, 1365.307,
    )  # fmt: skip
    mean_s1 = (-12.577, -20.265)
    std_s1 = (5.179, 5.872)
    official: ClassVar[dict[Part, int]] = {'train': 3812 * _PLACES, 'val': 34 * _PLACES}

    def __init__(
        self,
        *args: Any,
        level: Literal['L2A', 'L1C'] = 'L2A',
        clear_values: Sequence[int] = (0,),
        **kwargs: Any,
    ) -> None:
        """Initialize a new SSL4EOS12 instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            level: Level of processing of Sentinel-2.
            clear_values: Values of the mask of clouds of which pixels are clear. What the other
                values mean was not verified.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if level not in ('L2A', 'L1C'):
            raise SITSError(f"unknown level {level!r}: expected 'L2A' or 'L1C'")
        self.level = level
        self.clear_values = tuple(clear_values)
        if level == 'L1C':
            self.band_names, self.mean, self.std = _L1C, _MEAN_L1C, _STD_L1C
        super().__init__(*args, **kwargs)

    @cached_property
    def _with_s1(self) -> bool:
        """Whether Sentinel-1 lies beside."""
        return (self.folder / self.part / 'S1GRD').is_dir()

    def list_samples(self, part: Part) -> Sequence[tuple[str, int]]:
        """File and place in it."""
        if part not in ('train', 'val'):
            return []
        found = find_paths(self.folder / part / f'S2{self.level}', '*.zarr.zip')
        names = [path.name for path in found]
        return [(name, place) for name in names for place in range(_PLACES)]

    def files(self, key: tuple[str, int]) -> Sequence[Path]:
        """The files of both sensors."""
        sensors = [f'S2{self.level}', *(['S1GRD'] if self._with_s1 else [])]
        return [self.folder / self.part / sensor / key[0] for sensor in sensors]

    def read_series(self, key: tuple[str, int], window: Window) -> StoredSeries:
        """Read the seasons of a place."""
        path = self.files(key)[0]
        values, times = self._read(path, key[1], window, len(self.band_names))
        with open_zipped_zarr(path) as store:
            clear = None
            if 'cloud_mask' in store:
                mask = store['cloud_mask'][(key[1], slice(None), *window)]
                clear = np.isin(mask, self.clear_values)
        return StoredSeries(values, times, clear)

    def read_series_s1(self, key: tuple[str, int], window: Window) -> StoredSeries | None:
        """Read the seasons of Sentinel-1."""
        if not self._with_s1:
            return None
        return StoredSeries(*self._read(self.files(key)[1], key[1], window, 2))

    def _read(
        self, path: Path, place: int, window: Window, bands: int
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Read values and times of a place."""
        with open_zipped_zarr(path) as store:
            stored = store['bands']
            if len(stored.shape) != 5 or (stored.shape[0], stored.shape[2]) != (_PLACES, bands):
                raise SITSError(
                    f"'{path}': bands has the shape {stored.shape}, expected ({_PLACES}, 4, "
                    f'{bands}, rows, columns): fetch it again'
                )
            values = stored[(place, slice(None), slice(None), *window)]
            times = cf_times(store['time_'])[place]
        return values, times

    def read_label(self, key: tuple[str, int], window: Window) -> NDArray[np.int64]:
        """There are none."""
        return np.array(-1)

    def size(self, key: tuple[str, int]) -> tuple[int, int]:
        """Height and width of the images."""
        with open_zipped_zarr(self.files(key)[0]) as store:
            height, width = store['bands'].shape[-2:]
        return height, width

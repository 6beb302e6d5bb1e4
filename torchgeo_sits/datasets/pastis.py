"""PASTIS and PASTIS-R: crops of 2,433 patches of France, with dates and official folds."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import geopandas as gpd
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from shapely.errors import ShapelyError
from torch import Tensor
from torchgeo.datasets import PASTIS as TorchGeoPASTIS
from torchgeo.datasets import DatasetNotFoundError
from torchgeo.datasets.utils import Path as PathLike
from torchgeo.datasets.utils import Sample

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, LENGTH, MASK, MASK_CLEAR, VALID
from .plotting import plot_series

__all__ = ['PASTIS', 'published_dates', 'published_statistics', 'read_patches']

#: Columns that each release has.
_COLUMNS = ('ID_PATCH', 'Fold')


def read_patches(path: Path) -> gpd.GeoDataFrame:
    """Read ``metadata.geojson``.

    Args:
        path: The file.

    Returns:
        One row per patch, ordered by its number, with the columns of the file; ``ID_PATCH``
        and ``Fold`` are whole numbers.

    Raises:
        SITSError: If the file is no GeoJSON of patches.
    """
    try:
        patches = gpd.read_file(path)
    except (DataSourceError, ShapelyError, ValueError) as error:
        raise SITSError(
            f"'{path}' cannot be read as GeoJSON ({error}): download it again"
        ) from error
    if missing := [name for name in _COLUMNS if name not in patches]:
        raise SITSError(
            f"'{path}' lacks the columns {missing}, it has {list(patches.columns)}: expected the "
            'metadata.geojson of PASTIS or PASTIS-R'
        )
    for name in _COLUMNS:
        try:
            patches[name] = patches[name].astype(np.int64)
        except (TypeError, ValueError) as error:
            raise SITSError(
                f"'{path}': the column {name!r} holds what is no whole number ({error}): download "
                'it again'
            ) from error
    return patches.sort_values('ID_PATCH').reset_index(drop=True)


def published_dates(value: Any, *, column: str, patch: int, path: Path) -> NDArray[np.int64]:
    """Read the dates of the frames of a patch.

    Args:
        value: Index of the frame to YYYYMMDD: a dictionary, or one as JSON, which is what
            GDAL makes of it and GeoPandas, by its version, hands on.
        column: Where it is from, such as 'dates-S2', for messages.
        patch: Number of the patch, for messages.
        path: The file, for messages.

    Returns:
        Seconds since 1970-01-01 UTC ``(T,)``, at midnight, in the order of the frames.

    Raises:
        SITSError: If it is neither, or a date is none.
    """
    try:
        table = json.loads(value) if isinstance(value, str) else value
        # Keys of JSON are strings, which need not come in the order of numbers.
        numbered = sorted((int(key), int(date)) for key, date in table.items())
        times = [
            datetime.strptime(f'{date:08d}', '%Y%m%d').replace(tzinfo=UTC).timestamp()
            for _, date in numbered
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise SITSError(
            f"'{path}': {column!r} of patch {patch} does not name a date (YYYYMMDD) for each "
            f'frame, it is {str(value)[:80]!r} ({error}): download it again'
        ) from error
    return np.array(times, np.int64)


def published_statistics(
    path: Path, folds: Sequence[int], channels: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of some folds, as the authors average them.

    Args:
        path: A file such as ``NORM_S2_patch.json``.
        folds: The folds, from 1 to 5.
        channels: Positions of the bands.

    Returns:
        Means over the folds of the published mean and of the published standard deviation of
        each band.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If it does not hold statistics of each fold.
    """
    try:
        table = json.loads(path.read_text())
        values = np.array(
            [[table[f'Fold_{fold}'][name] for fold in folds] for name in ('mean', 'std')], float
        )
        mean, std = values.mean(axis=1)[:, list(channels)]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"'{path}' does not exist, which holds the mean and standard deviation of each fold: "
            'download it again, or give mean and std'
        ) from error
    except (KeyError, IndexError, OSError, TypeError, ValueError) as error:
        raise SITSError(
            f"'{path}' does not hold mean and std of {max(channels) + 1} bands for each of the "
            f'folds {list(folds)} ({type(error).__name__}: {error}): download it again, or give '
            'mean and std'
        ) from error
    return mean.tolist(), std.tolist()


Modality = Literal['s2', 's1a', 's1d']

#: Value of pixels without data in all bands.
_NO_DATA = -10000


class PASTIS(TorchGeoPASTIS):
    """PASTIS (Sentinel-2) and PASTIS-R (with both orbits of Sentinel-1), in the batch contract.

    Garnot and Landrieu, Panoptic segmentation of satellite image time series with
    convolutional temporal attention networks, ICCV 2021, https://arxiv.org/abs/2107.07933;
    Garnot, Landrieu and Chehata, Multi-modal temporal attention models for crop mapping,
    ISPRS Journal 2022, https://arxiv.org/abs/2112.07558.

    It is TorchGeo's data set (its classes, colours, names of bands and download) with what
    that leaves out: the dates of ``metadata.geojson``, frames of all lengths with explicit
    validity, patches ordered as the authors order them, and ids of parcels. Each modality has
    dates of its own, so that each one beside the first comes under keys of its own.

    Examples:
        >>> from torchgeo_sits.datasets import PASTIS
        >>> PASTIS.bands_of('s1a')
        ('S1A_VV', 'S1A_VH', 'S1A_VV_VH')
        >>> PASTIS.classes[3]
        'corn'
    """

    #: Number in ``mask`` of parcels that are mostly outside their patch: no label.
    void: ClassVar[int] = 19
    #: The authors' code counts days from here; samples hold absolute times.
    reference_date: ClassVar[datetime] = datetime(2018, 9, 1, tzinfo=UTC)
    modalities: ClassVar[tuple[str, ...]] = ('s2', 's1a', 's1d')

    def __init__(
        self,
        root: PathLike = 'data',
        folds: Sequence[int] = (1, 2, 3, 4, 5),
        *,
        modality: Modality = 's2',
        further: Sequence[Modality] = (),
        bands: Sequence[str] | None = None,
        annotations: Sequence[Literal['parcel', 'instance']] = (),
        transforms: Callable[[Sample], Sample] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new PASTIS instance.

        Args:
            root: The folder of the release, which holds ``metadata.geojson``, or the folder
                that holds it under its published name, PASTIS-R or PASTIS.
            folds: Official folds to read, from 1 to 5.
            modality: What ``image`` holds: Sentinel-2, or Sentinel-1 from its ascending or
                descending orbits.
            further: Modalities to read beside it, all bands of each: 's1a' comes as
                ``image_s1a`` with ``acquisition_times_s1a``, ``valid_s1a``,
                ``mask_clear_s1a`` and ``length_s1a``.
            bands: Bands of *modality*. Defaults to all, see ``s2_bands``, ``s1a_bands`` and
                ``s1d_bands``.
            annotations: 'parcel' adds ``mask_parcel``, the published ids of parcels;
                'instance' adds ``mask_instance``, numbers within a patch without void parcels.
                0 is none in both.
            transforms: Applied to each sample.
            download: Download PASTIS-R (54 GB) where nothing is found.
            checksum: Check the MD5 of what is downloaded.

        Raises:
            DatasetNotFoundError: If nothing is found, and *download* is False.
            FileNotFoundError: If files of the patches are missing.
            SITSError: If an argument is out of its range, or the metadata is not as published.
        """
        folds = tuple(folds)
        if not folds or set(folds) - set(range(1, 6)):
            raise SITSError(f'folds={folds}: expected official folds, numbers from 1 to 5')
        for name in (modality, *further):
            if name not in self.modalities:
                raise SITSError(f'unknown modality {name!r}: expected one of {self.modalities}')
        if len({modality, *further}) <= len(further):
            raise SITSError(
                f'further={tuple(further)} names a modality twice, or that of modality={modality!r}'
            )
        every = self.bands_of(modality)
        if bands is not None and (odd := [band for band in bands if band not in every]):
            raise SITSError(f'{modality!r} has no bands {odd}: expected some of {every}')
        self.modality: Modality = modality
        self.further = tuple(further)
        self.annotations = tuple(annotations)
        super().__init__(
            root,
            folds=folds,
            bands=every if bands is None else bands,
            transforms=transforms,
            download=download,
            checksum=checksum,
        )

    @classmethod
    def bands_of(cls, modality: Modality) -> tuple[str, ...]:
        """Names of all bands of a modality."""
        bands: tuple[str, ...] = getattr(cls, f'{modality}_bands')
        return bands

    def __getitem__(self, index: int) -> Sample:
        """Read a patch.

        Args:
            index: Its position.

        Returns:
            ``image`` ``(T, C, H, W)`` float32 in published units, frames in chronological
            order, ``acquisition_times`` and ``valid`` ``(T,)``, ``mask_clear`` ``(T, H, W)``,
            ``length``, ``mask`` ``(H, W)``, the number ``patch``, and what ``further`` and
            ``annotations`` add. Clear are pixels with data in all bands: the release has no
            clouds marked.

        Raises:
            SITSError: If arrays do not fit each other or the metadata.
        """
        return self.read(index)

    def read(self, index: int, window: tuple[slice, slice] | None = None) -> Sample:
        """Read a window of a patch; only its pixels are copied from the files.

        Args:
            index: Position of the patch.
            window: Rows and columns; None is the whole patch.

        Returns:
            The sample, see :meth:`__getitem__`.

        Raises:
            SITSError: If arrays do not fit each other or the metadata.
        """
        window = window or (slice(None), slice(None))
        labels = self.labels(index)
        sample: Sample = self._series(index, self.modality, self.bands, labels.shape, window)
        for modality in self.further:
            bands = self.bands_of(modality)
            added = self._series(index, modality, bands, labels.shape, window)
            sample |= {f'{key}_{modality}': value for key, value in added.items()}
        sample[MASK] = _integers(labels[window])
        if 'parcel' in self.annotations:
            sample['mask_parcel'] = _integers(self.parcels(index)[window])
        if 'instance' in self.annotations:
            instances = self._map(index, 'instance', labels.shape)
            sample['mask_instance'] = _integers(instances[window])
        sample['patch'] = torch.tensor(self.idxs[index])
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def labels(self, index: int) -> NDArray[np.integer]:
        """Classes ``(H, W)`` of a patch: the first of the three layers of its target."""
        return self._map(index, 'semantic')

    def parcels(self, index: int) -> NDArray[np.integer]:
        """Ids of parcels ``(H, W)`` of a patch, 0 where there is none."""
        return self._map(index, 'parcel', self.labels(index).shape)

    def statistics(self) -> tuple[list[float], list[float]]:
        """Published mean and standard deviation of each band, averaged over the folds.

        Raises:
            FileNotFoundError: If the file is missing.
            SITSError: If it is not as published.
        """
        path = self.folder / f'NORM_{self.modality.upper()}_patch.json'
        return published_statistics(path, self.folds, self.band_indices)

    def plot(self, sample: Sample, show_titles: bool = True, suptitle: str | None = None) -> Figure:
        """Draw the frames of a sample with their dates.

        Args:
            sample: A sample.
            show_titles: Not used: dates are always shown.
            suptitle: Title of the figure.

        Returns:
            The figure.
        """
        figure = plot_series(sample, self.bands)
        if suptitle is not None:
            figure.suptitle(suptitle)
        return figure

    def _series(
        self,
        index: int,
        modality: Modality,
        bands: Sequence[str],
        shape: tuple[int, ...],
        window: tuple[slice, slice],
    ) -> dict[str, Tensor]:
        """Read the frames of a modality, under the plain keys."""
        path, times = self.files[index][modality], self._times[modality][index]
        every = self.bands_of(modality)
        # Mapped, so that a window reads its own pages only.
        array = _load(path, mmap_mode='r')
        if array.shape != (expected := (len(times), len(every), *shape)):
            raise SITSError(
                f"'{path}' has the shape {array.shape}, expected {expected}: {len(times)} dates "
                f"in '{self.folder / 'metadata.geojson'}', {len(every)} bands, and the size of "
                'its target. Download both again'
            )
        channels = [every.index(band) for band in bands]
        pixels = np.array(array[:, :, window[0], window[1]], np.float32)[:, channels]
        order = np.argsort(times, kind='stable')
        image = torch.from_numpy(pixels[order])
        missing = (image == _NO_DATA) | ~image.isfinite()
        frames = len(times)
        return {
            # NaN would outlive any product with a mask.
            IMAGE: image.nan_to_num(_NO_DATA, _NO_DATA, _NO_DATA),
            ACQUISITION_TIMES: torch.from_numpy(times[order]),
            VALID: torch.ones(frames, dtype=torch.bool),
            MASK_CLEAR: ~missing.any(dim=1),
            LENGTH: torch.tensor(frames),
        }

    def _map(
        self, index: int, kind: str, shape: tuple[int, ...] | None = None
    ) -> NDArray[np.integer]:
        """Read a map ``(H, W)`` of a patch, and hold it against a shape."""
        path = self.files[index][kind]
        array = _load(path)
        if kind == 'semantic':
            # Garnot's loader takes the first layer of three.
            array = array[0] if array.ndim == 3 else array
        if array.ndim != 2 or (shape is not None and array.shape != shape):
            raise SITSError(
                f"'{path}' holds a map of the shape {array.shape}, expected {shape or '(H, W)'}, "
                'the size of its target: download it again'
            )
        if kind == 'semantic' and (array.min() < 0 or array.max() > self.void):
            raise SITSError(
                f"'{path}' holds classes from {array.min()} to {array.max()}, expected 0 to "
                f'{self.void}: download it again'
            )
        return array

    def _load_files(self) -> list[dict[str, str]]:
        """Read the metadata, and list the files of the patches of the folds."""
        path = self.folder / 'metadata.geojson'
        patches = read_patches(path)
        patches = patches[patches['Fold'].isin(self.folds)].reset_index(drop=True)
        if missing := sorted(set(self.folds) - set(patches['Fold'])):
            raise SITSError(f"'{path}' has no patch in the folds {missing}: download it again")
        #: Number, fold and outline (EPSG:2154) of each patch, and what else the file holds.
        self.patches = patches
        self.idxs: list[int] = patches['ID_PATCH'].tolist()
        kinds: dict[str, str] = {
            'semantic': self.prefix['semantic'],
            'parcel': 'ANNOTATIONS/ParcelIDs_',
        }
        self._times: dict[str, list[NDArray[np.int64]]] = {}
        for modality in (self.modality, *self.further):
            column = f'dates-{modality.upper()}'
            if column not in patches:
                raise SITSError(
                    f"'{path}' has no {column!r}: PASTIS has Sentinel-2 only, {modality!r} needs "
                    'PASTIS-R'
                )
            self._times[modality] = [
                published_dates(value, column=column, patch=patch, path=path)
                for value, patch in zip(patches[column], self.idxs, strict=True)
            ]
            kinds[modality] = self.prefix[modality]
        if 'instance' in self.annotations:
            kinds['instance'] = self.prefix['instance']
        needed = [kind for kind in kinds if kind != 'parcel' or kind in self.annotations]
        files: list[dict[str, str]] = [
            {kind: f'{self.folder / prefix}{patch}.npy' for kind, prefix in kinds.items()}
            for patch in self.idxs
        ]
        absent = [file[k] for k in needed for file in files if not Path(file[k]).is_file()]
        if absent:
            raise FileNotFoundError(
                f"'{absent[0]}' does not exist, nor do {len(absent) - 1} more files that "
                f"'{path}' tells of: unpack the release again"
            )
        return files

    def _verify(self) -> None:
        """Find the folder of the release, or have TorchGeo unpack or download it."""
        if not self._found():
            super()._verify()
            if not self._found():
                raise DatasetNotFoundError(self)

    def _found(self) -> bool:
        """Look for the folder of the release."""
        root = Path(self.root)
        for folder in (root, root / 'PASTIS-R', root / 'PASTIS'):
            if (folder / 'metadata.geojson').is_file():
                self.folder = folder
                return True
            if (folder / 'ANNOTATIONS').is_dir():
                raise FileNotFoundError(
                    f"'{folder / 'metadata.geojson'}' does not exist: unpack the release again"
                )
        return False


def _load(path: str, **options: Any) -> NDArray[Any]:
    """Read an array, and name the file where that fails."""
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False, **options)
    except (OSError, ValueError, EOFError) as error:
        raise OSError(
            f"'{path}' cannot be read ({error}): unpack the release again, or download it"
        ) from error
    return array


def _integers(values: NDArray[np.integer]) -> Tensor:
    """Turn a map ``(H, W)`` into int64."""
    return torch.from_numpy(values.astype(np.int64))

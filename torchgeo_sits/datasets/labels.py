"""Rasters of labels, as a data set to join with a series."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import shapely
import torch
from numpy.typing import NDArray
from pyproj import CRS
from rasterio import open as open_raster
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import geometry_mask
from rasterio.transform import from_bounds
from rasterio.warp import transform_geom
from rasterio.windows import Window
from shapely.geometry import shape
from torch import Tensor
from torchgeo.datasets import RasterDataset
from torchgeo.datasets.utils import GeoSlice, Sample

from ..collate import pad_time
from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, BOUNDS, IMAGE, MASK, VALID
from .filenames import parse_name
from .files import list_rasters
from .series import TimeSeries

__all__ = [
    'DatedLabels',
    'LabelValues',
    'Labels',
    'MapsToFrames',
    'open_labels',
    'pad_labels',
    'values_in',
]

#: Pixels of a raster that are read at a time.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class LabelValues:
    """Values of label rasters, and those of a mask that they become.

    Args:
        unlabelled: Value in the mask of what is not labelled.
        classes: Values in the rasters and the names of their classes; None takes values as
            they are.

    Raises:
        SITSError: If *classes* is empty.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.datasets.labels import LabelValues
        >>> values = LabelValues(classes={1110: 'winter wheat', 1200: 'maize'})
        >>> values.names
        ['unlabelled', 'winter wheat', 'maize']
        >>> found = torch.tensor([[1200.0, 7.0, 1110.0]])
        >>> values.encode(found, missing=torch.zeros(1, 3, dtype=torch.bool))
        tensor([[2, 0, 1]])
    """

    unlabelled: int = 0
    classes: Mapping[int, str] | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and not self.classes:
            raise SITSError(
                'classes={} names no class: give values of the label rasters and their names, '
                "such as {1110: 'winter wheat', 1200: 'maize'}, or leave classes out"
            )

    @property
    def positions(self) -> dict[int, int] | None:
        """Values in the mask by values in the rasters; None where they are the same."""
        if self.classes is None:
            return None
        free = (i for i in range(len(self.classes) + 1) if i != self.unlabelled)
        return dict(zip(self.classes, free, strict=False))

    @property
    def names(self) -> list[str] | None:
        """Names by value of the mask, from 0; None where they are not known."""
        if self.classes is None:
            return None
        names = list(self.classes.values())
        if 0 <= self.unlabelled < len(names):
            names.insert(self.unlabelled, 'unlabelled')
        return names

    def encode(self, values: Tensor, missing: Tensor) -> Tensor:
        """Turn values of the rasters into those of the mask.

        Args:
            values: ``(..., H, W)`` float64, whole numbers where not missing.
            missing: ``(..., H, W)`` bool, what the rasters call no data.

        Returns:
            ``(..., H, W)`` int64.
        """
        whole = values.masked_fill(missing, self.unlabelled).long()
        if self.positions is None:
            return whole
        mask = torch.full_like(whole, self.unlabelled)
        for value, position in self.positions.items():
            mask[(whole == value) & ~missing] = position
        return mask

    def warn_of_others(self, found: Iterable[int]) -> None:
        """Name the values that are no class, once for all rasters.

        Args:
            found: All values in the rasters.
        """
        if self.classes is None:
            return
        others = sorted(set(found) - set(self.classes) - {self.unlabelled})
        if others:
            warnings.warn(
                f'the label rasters hold the values {others}, which classes does not list: they '
                'count as not labelled',
                UserWarning,
                stacklevel=4,
            )


def values_in(files: Iterable[str]) -> NDArray[np.float64]:
    """Find all values in the first band of rasters but no data, a strip at a time.

    Args:
        files: Paths of rasters.

    Returns:
        ``(V,)``, ascending.
    """
    found = np.zeros(0)
    for path in files:
        with rasterio.open(path) as file:
            rows = max(1, _CHUNK // file.width)
            for top in range(0, file.height, rows):
                strip = Window(0, top, file.width, min(rows, file.height - top))
                values = file.read(1, window=strip, masked=True).compressed()
                found = np.union1d(found, values[np.isfinite(values)])
    return found


class Labels(RasterDataset):
    """Rasters of one band of labels; what they call no data reads as not labelled.

    Rasters on another grid or in another CRS are warped to the nearest pixel. What lies
    outside all of them is not labelled either.

    Args:
        paths: Files, or folders of them.
        crs: Coordinate reference system to warp to.
        res: Width and height of a pixel, in units of *crs*.
        values: What the values mean.
        num_classes: Number of classes, counting 0; None does not check.
        option: Name of the argument that gave *paths*, for messages.

    Raises:
        DatasetNotFoundError: If a path does not exist or holds no rasters.
        OSError: If a file cannot be opened.
        SITSError: If a file has several bands.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> from torchgeo_sits.datasets.labels import Labels
        >>> labels = Labels(str(files.classes), crs='EPSG:32631', res=(10.0, 10.0))
        >>> labels[labels.bounds]['mask'].shape
        torch.Size([32, 32])
        >>> labels.found()[:3]
        [1, 2, 3]
    """

    is_image = False
    #: Not int64 yet: whoever casts a nodata of NaN or a class of 1.5 hides it.
    dtype = torch.float64
    #: TorchGeo would blend classes, because of the type above.
    resampling = Resampling.nearest

    def __init__(
        self,
        paths: str | list[str],
        *,
        crs: CRS,
        res: tuple[float, float],
        values: LabelValues | None = None,
        num_classes: int | None = None,
        option: str = 'labels.paths',
    ) -> None:
        self.num_classes = num_classes
        self.values = values or LabelValues()
        self.option = option
        self.source_files = files = list_rasters(paths, option=option)
        self._no_data = set()
        #: Footprints of files whose every pixel is a label.
        self._full: list[shapely.Geometry] = []
        for path in files:
            try:
                with open_raster(path) as file:
                    count, no_data = file.count, file.nodata
                    if no_data is None and file.crs is not None:
                        outline = shapely.segmentize(shapely.box(*file.bounds), 32 * max(file.res))
                        outline = shape(transform_geom(file.crs, crs.to_wkt(), outline))
                        self._full.append(outline)
            except RasterioError as error:
                raise OSError(
                    f"the labels '{path}' cannot be opened ({error}): write them again, or leave "
                    f'them out of {option}'
                ) from error
            if count != 1:
                raise SITSError(
                    f"the labels '{path}' have {count} bands, expected 1: give rasters of "
                    f'labels, one number per pixel, as {option}'
                )
            self._no_data.add(no_data)
        # Handles of TorchGeo's that were opened before a fork read wrong pixels in the workers.
        super().__init__(files, crs=crs, res=res, cache=False)

    def found(self) -> list[int]:
        """Find all values in the rasters but no data, in one pass over them.

        Raises:
            SITSError: If a label is no whole number.
        """
        found = values_in(self.source_files)
        self._check_whole(torch.from_numpy(found))
        return found.astype(np.int64).tolist()

    def __getitem__(self, index: GeoSlice) -> Sample:
        """Read the labels of a window.

        Args:
            index: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:step]``.

        Returns:
            The sample, with ``mask`` ``(H, W)`` int64.

        Raises:
            SITSError: If a label is no whole number, negative, or not below ``num_classes``.
        """
        sample = super().__getitem__(index)
        values = sample[MASK]
        missing = ~values.isfinite()
        for no_data in self._no_data - {None}:
            missing |= values == no_data
        missing |= self._outside(sample)
        self._check_whole(values[~missing])
        sample[MASK] = self.values.encode(values, missing)
        self._check_range(sample)
        return sample

    def _outside(self, sample: Sample) -> Tensor:
        """Find pixels ``(H, W)`` that are 0 because no file reaches there, and only for that."""
        height, width = sample[MASK].shape[-2:]
        outside = torch.zeros(height, width, dtype=torch.bool)
        xmin, xmax, _, ymin, ymax, _ = sample[BOUNDS][:6].tolist()
        window = shapely.box(xmin, ymin, xmax, ymax)
        if not self._full or any(outline.contains(window) for outline in self._full):
            return outside
        here = [outline for outline in self._full if outline.intersects(window)]
        if not here:
            return sample[MASK] == 0 if self._no_data == {None} else outside
        transform = from_bounds(xmin, ymin, xmax, ymax, width, height)
        beyond = torch.from_numpy(geometry_mask(here, (height, width), transform))
        return beyond & (sample[MASK] == 0)

    def _check_whole(self, values: Tensor) -> None:
        """Refuse labels that are no whole numbers."""
        odd = values[values != values.round()]
        if len(odd):
            raise SITSError(
                f'{self.option}={self.paths!r} holds the label {odd[0].item()}: labels are whole '
                'numbers, so give classes, not measurements'
            )

    def _check_range(self, sample: Sample) -> None:
        """Refuse labels that are no class."""
        labels = sample[MASK][sample[MASK] != self.values.unlabelled]
        if not len(labels):
            return
        low, high = labels.aminmax()
        if low < 0 or (self.num_classes is not None and high >= self.num_classes):
            odd = low if low < 0 else high
            classes = '' if self.num_classes is None else f' below num_classes={self.num_classes}'
            unlabelled = self.values.unlabelled
            zero = ' (not labelled)' if unlabelled == 0 else f', or {unlabelled} (not labelled)'
            raise SITSError(
                f'{self.option}={self.paths!r} holds the label {odd.item():.0f} near '
                f'{[round(v, 1) for v in sample[BOUNDS][:6].tolist()]}, but labels are '
                f'numbers from 0{zero}{classes}: '
                + ('raise num_classes, ' if classes and low >= 0 else '')
                + 'name the values that are labels in `classes`, or write this value into the '
                'file as its nodata'
            )


class DatedLabels(Labels):
    """Label rasters with dates in their names; a sample holds all maps, in their order.

    Args:
        *args: As for :class:`~torchgeo_sits.datasets.labels.Labels`.
        **kwargs: As for :class:`~torchgeo_sits.datasets.labels.Labels`.

    Attributes:
        starts: Seconds since 1970-01-01 UTC from which each of the D maps holds, ``(D,)``.

    Raises:
        SITSError: If the name of a file holds no date.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        dates = {}
        for path in self.source_files:
            name = parse_name(path)
            if name is None:
                raise SITSError(
                    f"labels.per_frame=True needs a date in each name, '{path}' has none: name the "
                    'labels like labels_20200901.tif, by the day from which they hold'
                )
            dates[path] = int(name.time.timestamp())
        self.starts = np.unique(list(dates.values()))
        self._dates = dates

    def _merge_or_stack(self, filepaths: Sequence[str], *args: Any, **kwargs: Any) -> Tensor:
        """Read the maps ``(D, 1, H, W)`` of a window, NaN where there is no file for a date."""
        maps: list[Tensor | None] = []
        for start in self.starts:
            files = [path for path in filepaths if self._dates[path] == start]
            maps.append(super()._merge_or_stack(files, *args, **kwargs).double() if files else None)
        known = next(m for m in maps if m is not None)
        return torch.stack([known * torch.nan if m is None else m for m in maps])


class MapsToFrames:
    """Give each frame the map that holds at its time: a transform of samples.

    A map holds from its date until that of the next one.

    Args:
        starts: Seconds since 1970-01-01 UTC from which each map holds, ``(D,)``, ascending.
        unlabelled: Value in the mask of frames before the first map.

    Examples:
        >>> import numpy as np
        >>> import torch
        >>> from torchgeo_sits.datasets.labels import MapsToFrames
        >>> sample = {
        ...     'mask': torch.tensor([[[1]], [[2]]]),
        ...     'acquisition_times': torch.tensor([5, 15, 25, 35]),
        ... }
        >>> MapsToFrames(np.array([10, 30]), unlabelled=0)(sample)['mask'].flatten()
        tensor([0, 1, 1, 2])
    """

    def __init__(self, starts: np.ndarray[Any, Any], unlabelled: int) -> None:
        self.starts = torch.as_tensor(starts)
        self.unlabelled = unlabelled

    def __call__(self, sample: Sample) -> Sample:
        """Choose the maps.

        Args:
            sample: A sample with ``mask`` ``(D, H, W)`` and ``acquisition_times`` ``(T,)``.

        Returns:
            The sample with ``mask`` ``(T, H, W)``.
        """
        holds = torch.searchsorted(self.starts, sample[ACQUISITION_TIMES], right=True) - 1
        mask = sample[MASK][holds.clamp(min=0)]
        mask[holds < 0] = self.unlabelled
        sample[MASK] = mask
        return sample


def pad_labels(samples: Iterable[dict[str, Any]], unlabelled: int) -> dict[str, Any]:
    """Stack samples by :func:`~torchgeo_sits.collate.pad_time`, with no label in padding.

    Args:
        samples: One dictionary per sample.
        unlabelled: Value in masks of what is not labelled.

    Returns:
        The batch.
    """
    batch = pad_time(samples)
    if MASK in batch and batch[MASK].ndim == batch[IMAGE].ndim - 1:
        batch[MASK][~batch[VALID]] = unlabelled
    return batch


def open_labels(
    paths: str | list[str],
    series: TimeSeries,
    *,
    values: LabelValues,
    num_classes: int | None,
    per_frame: bool,
) -> Labels:
    """Open the labels of a series, in its CRS and resolution.

    Args:
        paths: Files, or folders of them.
        series: The images.
        values: What the values of the rasters mean.
        num_classes: Number of classes, counting 0; None does not check.
        per_frame: Whether the rasters are dated, see :class:`DatedLabels`.

    Returns:
        The labels.
    """
    kind = DatedLabels if per_frame else Labels
    labels = kind(paths, crs=series.crs, res=series.res, values=values, num_classes=num_classes)
    if values.classes is not None:
        values.warn_of_others(labels.found())
    return labels

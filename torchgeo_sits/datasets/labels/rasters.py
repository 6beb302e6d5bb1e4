"""Rasters of labels, as a data set to join with a series."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from pyproj import CRS
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

from ...errors import SITSError, SITSIndexError
from ...grid import Grid
from ...keys import ACQUISITION_TIMES, BOUNDS, MASK
from ..filenames import parse_name
from ..files import list_rasters
from ..formats import open_raster, require_own_pixels
from ..headers import require_real
from ..queries import CheckedQueries, require_memory
from .fields import NumberedFields, connected_fields
from .values import LabelValues, require_in_range

__all__ = ['DatedLabels', 'MapsToFrames', 'RasterLabels', 'values_in']

#: Whole numbers up to this one are themselves as 64-bit floating point, in which labels are read.
_LARGEST_WHOLE = 2**53
#: Pixels of a raster that are read at a time.
_CHUNK = 1 << 22


def values_in(files: Iterable[str]) -> NDArray[np.float64]:
    """Find all values in the first band of rasters but no data, a strip at a time.

    Args:
        files: Paths of rasters.

    Returns:
        ``(V,)``, ascending.
    """
    found = np.zeros(0)
    for path in files:
        with open_raster(path) as file:
            rows = max(1, _CHUNK // file.width)
            for top in range(0, file.height, rows):
                strip = Window(0, top, file.width, min(rows, file.height - top))
                values = file.read(1, window=strip, masked=True).compressed()
                found = np.union1d(found, values[np.isfinite(values)])
    return found


class RasterLabels(CheckedQueries, RasterDataset):
    """Rasters of one band of labels; what they call no data reads as not labelled.

    Rasters on another grid or in another CRS are warped to the nearest pixel. What lies
    outside all of them is not labelled either.

    Args:
        paths: Files, or folders of them.
        crs: Coordinate reference system to warp to.
        res: Width and height of a pixel, in units of *crs*.
        values: What the values mean.
        num_classes: Number of classes, counting 0; None does not check.
        field_numbers: Rasters that number the fields, 0 for none.
        option: Name of the argument that gave *paths*, for messages.

    Raises:
        DatasetNotFoundError: If a path does not exist or holds no rasters.
        OSError: If a file cannot be opened.
        SITSError: If a file has several bands or complex numbers, or names servers or other files.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> from torchgeo_sits.datasets.labels import RasterLabels
        >>> labels = RasterLabels(str(files.classes), crs='EPSG:32631', res=(10.0, 10.0))
        >>> labels[labels.bounds]['mask'].shape
        torch.Size([32, 32])
        >>> labels.found()[:3]
        [1, 2, 3]
    """

    #: Whether files number the fields; they are found by their classes else.
    knows_fields = False
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
        field_numbers: 'RasterLabels | None' = None,
        option: str = 'labels.paths',
    ) -> None:
        crs = CRS.from_user_input(crs)
        self.num_classes = num_classes
        self.field_numbers = field_numbers
        self.values = values or LabelValues()
        self.option = option
        self.source_files = files = list_rasters(paths, option=option)
        self._no_data = set()
        #: Footprints of files whose every pixel is a label.
        self._full: list[shapely.Geometry] = []
        for path in files:
            try:
                require_own_pixels(path)
                with open_raster(path) as file:
                    require_real(path, file.dtypes)
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

    @property
    def source(self) -> str:
        """What holds the labels, for messages."""
        found = f'{self.option}={self.paths!r}'
        return found if self.field_numbers is None else f'{found} and {self.field_numbers.source}'

    def found(self) -> list[int]:
        """Find all values in the rasters but no data, in one pass over them.

        Raises:
            SITSError: If a label is no whole number.
        """
        found = values_in(self.source_files)
        self._check_whole(torch.from_numpy(found))
        return found.astype(np.int64).tolist()

    def colours(self) -> dict[int, str]:
        """Colours of values, as ``#rrggbb``, in the first raster that has a colour table.

        What is black or transparent there counts as not set.
        """
        for path in self.source_files:
            with open_raster(path) as file, suppress(ValueError):
                table = file.colormap(1)
                return {
                    value: '#{:02x}{:02x}{:02x}'.format(*colour)
                    for value, colour in table.items()
                    if any(colour[:3]) and colour[3]
                }
        return {}

    def __getitem__(self, index: GeoSlice) -> Sample:
        """Read the labels of a window.

        Args:
            index: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:step]``.

        Returns:
            The sample, with ``mask`` ``(H, W)`` int64, or float32 of values.

        Raises:
            IndexError: If no raster lies there.
            SITSError: If a label is no whole number, negative, or not below ``num_classes``.
        """
        x, y, t = self._disambiguate_slice(index)
        grid = Grid.of(x, y, self.crs)  # a pixel at least
        require_memory((grid.height, grid.width), np.dtype(np.float64), 'a window of labels')
        try:
            sample = super().__getitem__((x, y, t))
        except SITSError:
            raise
        except IndexError as error:
            raise SITSIndexError(str(error)) from error
        values = sample[MASK]
        missing = ~values.isfinite()
        for no_data in self._no_data - {None}:
            missing |= values == no_data
        missing |= self._outside(sample)
        if self.values.kind == 'class':
            self._check_whole(values[~missing])
        else:
            require_in_range(values[~missing].numpy(), self.source)
        sample[MASK] = self.values.encode(values, missing)
        if self.values.kind == 'class':
            self._check_range(sample)
        return sample

    def fields(self, grids: Sequence[Grid]) -> list[NumberedFields]:
        """Number the fields in areas: pixels of one number, or of one class and connected.

        Of dated maps the first that labels a pixel counts.

        Args:
            grids: The areas, on the pixels of the images.

        Returns:
            Of each area the fields, each with the label of most of its pixels (the lowest of
            several), or the mean of its values.

        Raises:
            SITSError: If labels are values and no rasters number the fields.
        """
        return [self._fields(grid) for grid in grids]

    def _fields(self, grid: Grid) -> NumberedFields:
        """Number the fields in an area."""
        mask = self._read(grid)
        known = self.values.known(mask)
        if self.field_numbers is not None:
            number = self.field_numbers._read(grid)
            known &= number != 0
            found = np.zeros(mask.shape, np.int32)
            found[known] = np.searchsorted(np.unique(number[known]), number[known]) + 1
        elif self.values.kind == 'value':
            raise SITSError(
                f'{self.option}={self.paths!r} hold values (labels.kind=value), which do not tell '
                'fields apart: give rasters that number the fields as labels.field_paths, or '
                'polygons as labels.paths'
            )
        else:
            found = connected_fields(mask, known)
        of_all = _majority if self.values.kind == 'class' else _mean
        return NumberedFields(grid, found, of_all(found[known], mask[known]))

    def _read(self, grid: Grid) -> NDArray[Any]:
        """Labels ``(H, W)`` of an area, read a strip at a time."""
        whole = np.full((grid.height, grid.width), self.values.missing)
        if self.values.kind == 'class':
            whole = whole.astype(np.int64)
        step = max(1, _CHUNK // grid.width)
        for first in range(0, grid.height, step):
            last = min(first + step, grid.height)
            x = slice(grid.left, grid.left + grid.width * grid.xres, grid.xres)
            y = slice(grid.top - last * grid.yres, grid.top - first * grid.yres, grid.yres)
            try:
                mask = self[x, y][MASK].numpy()
            except IndexError:  # nothing is labelled here
                continue
            if mask.ndim == 3:
                holds = self.values.known(mask).argmax(axis=0)
                mask = np.take_along_axis(mask, holds[None], axis=0)[0]
            whole[first:last] = mask
        return whole

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
        """Refuse labels that are no whole numbers, or beyond those that all types hold."""
        odd = values[(values != values.round()) | (values.abs() > _LARGEST_WHOLE)]
        if len(odd):
            raise SITSError(
                f'{self.option}={self.paths!r} holds the label {odd[0].item():.16g}: classes are '
                'whole numbers; for measurements set labels.kind=value; what means no data is to '
                'be written into the file as its nodata'
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


def _majority(number: NDArray[np.int32], label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Label of most pixels of each field, ``(F,)``, the lowest of several.

    Args:
        number: Number of the field of each labelled pixel, ``(N,)``.
        label: Its label, ``(N,)``.

    Returns:
        The labels, ``(F,)``.
    """
    kinds = np.unique(label)
    if not len(kinds):
        return np.zeros(0, np.int64)
    pairs = number.astype(np.int64) * len(kinds) + np.searchsorted(kinds, label)
    count = int(number.max()) + 1
    counts = np.bincount(pairs, minlength=count * len(kinds)).reshape(count, -1)
    majority: NDArray[np.int64] = kinds[counts[1:].argmax(axis=1)]
    return majority


def _mean(number: NDArray[np.int32], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the values of each field, ``(F,)``; as for `_majority`."""
    total, count = np.bincount(number, value), np.bincount(number)
    mean: NDArray[np.float64] = total[1:] / count[1:]
    return mean


class DatedLabels(RasterLabels):
    """Label rasters with dates in their names; a sample holds all maps, in their order.

    Args:
        *args: As for :class:`~torchgeo_sits.datasets.labels.RasterLabels`.
        **kwargs: As for :class:`~torchgeo_sits.datasets.labels.RasterLabels`.

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
        unlabelled: Value in the mask of frames before the first map, NaN for values.

    Examples:
        >>> import numpy as np
        >>> import torch
        >>> from torchgeo_sits.datasets.labels import MapsToFrames
        >>> sample = {
        ...     'mask': torch.tensor([[[1]], [[2]]]),
        ...     'acquisition_times': torch.tensor([5, 15, 25, 35]),
        ... }
        >>> MapsToFrames(np.array([10, 30]), unlabelled=0.0)(sample)['mask'].flatten()
        tensor([0, 1, 1, 2])
    """

    def __init__(self, starts: np.ndarray[Any, Any], unlabelled: float) -> None:
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

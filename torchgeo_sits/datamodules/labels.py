"""Rasters of labels, as a data set to join with a series."""

import numpy as np
import shapely
import torch
from pyproj import CRS
from rasterio import open as open_raster
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import geometry_mask
from rasterio.transform import from_bounds
from rasterio.warp import transform_geom
from shapely.geometry import shape
from torch import Tensor
from torchgeo.datasets import RasterDataset
from torchgeo.datasets.utils import GeoSlice, Sample

from ..datasets.files import list_rasters
from ..keys import BOUNDS, MASK
from .label_values import LabelValues, values_in

__all__ = ['Labels']


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
        ValueError: If a file has several bands.
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
        option: str = 'mask_paths',
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
                raise ValueError(
                    f"the labels '{path}' have {count} bands, expected 1: give rasters of "
                    f'labels, one number per pixel, as {option}'
                )
            self._no_data.add(no_data)
        # Handles of TorchGeo's that were opened before a fork read wrong pixels in the workers.
        super().__init__(files, crs=crs, res=res, cache=False)

    def found(self) -> list[int]:
        """All values in the rasters but no data, in one pass over them.

        Raises:
            ValueError: If a label is no whole number.
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
            ValueError: If a label is no whole number, negative, or not below ``num_classes``.
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
        """Pixels ``(H, W)`` that are 0 because no file reaches there, and only for that."""
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
            raise ValueError(
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
            raise ValueError(
                f'{self.option}={self.paths!r} holds the label {odd.item():.0f} near '
                f'{[round(v, 1) for v in sample[BOUNDS][:6].tolist()]}, but labels are '
                f'numbers from 0{zero}{classes}: '
                + ('raise num_classes, ' if classes and low >= 0 else '')
                + 'name the values that are labels in `classes`, or write this value into the '
                'file as its nodata'
            )

"""Rasters of labels, as a data set to join with a series."""

import torch
from pyproj import CRS
from rasterio import open as open_raster
from rasterio.errors import RasterioError
from torch import Tensor
from torchgeo.datasets import RasterDataset
from torchgeo.datasets.utils import GeoSlice, Sample

from ..datasets.files import list_rasters
from ..keys import BOUNDS, MASK

__all__ = ['Labels']


class Labels(RasterDataset):
    """Rasters of one band of labels; what they call no data reads as 0, not labelled.

    Args:
        paths: Files, or folders of them.
        crs: Coordinate reference system to warp to.
        res: Width and height of a pixel, in units of *crs*.
        num_classes: Number of classes, counting 0; None does not check.

    Raises:
        DatasetNotFoundError: If a path does not exist or holds no rasters.
        OSError: If a file cannot be opened.
        ValueError: If a file has several bands.
    """

    is_image = False
    #: Not int64 yet: whoever casts a nodata of NaN or a class of 1.5 hides it.
    dtype = torch.float64

    def __init__(
        self,
        paths: str | list[str],
        *,
        crs: CRS,
        res: tuple[float, float],
        num_classes: int | None = None,
    ) -> None:
        self.num_classes = num_classes
        files = list_rasters(paths, option='mask_paths')
        self._no_data = set()
        for path in files:
            try:
                with open_raster(path) as file:
                    count, no_data = file.count, file.nodata
            except RasterioError as error:
                raise OSError(
                    f"the labels '{path}' cannot be opened ({error}): write them again, or leave "
                    'them out of mask_paths'
                ) from error
            if count != 1:
                raise ValueError(
                    f"the labels '{path}' have {count} bands, expected 1: give rasters of "
                    'labels, one number per pixel, as mask_paths'
                )
            self._no_data.add(no_data)
        # Handles of TorchGeo's that were opened before a fork read wrong pixels in the workers.
        super().__init__(files, crs=crs, res=res, cache=False)

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
        values = sample[MASK].nan_to_num(0, 0, 0)
        for no_data in self._no_data - {None}:
            values[values == no_data] = 0
        self._check(values, sample)
        sample[MASK] = values.long()
        return sample

    def _check(self, values: Tensor, sample: Sample) -> None:
        """Refuse labels that are no class."""
        odd = values[values != values.round()]
        if len(odd):
            raise ValueError(
                f'mask_paths={self.paths!r} holds the label {odd[0].item()}: labels are whole '
                'numbers, so give classes, not measurements'
            )
        low, high = values.aminmax()
        if low < 0 or (self.num_classes is not None and high >= self.num_classes):
            odd = low if low < 0 else high
            classes = '' if self.num_classes is None else f' below num_classes={self.num_classes}'
            raise ValueError(
                f'mask_paths={self.paths!r} holds the label {odd.item():.0f} near '
                f'{[round(v, 1) for v in sample[BOUNDS][:6].tolist()]}, but labels are '
                f'numbers from 0 (not labelled){classes}: '
                + ('raise num_classes, ' if classes and low >= 0 else '')
                + 'renumber the labels, or write this value into the file as its nodata'
            )

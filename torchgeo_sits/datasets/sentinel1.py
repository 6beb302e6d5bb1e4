"""A Sentinel-1 series read beside an optical one."""

import pandas as pd
import torch
from torchgeo.datasets.utils import Sample

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, BOUNDS, IMAGE, MASK_CLEAR, S1_KEYS, VALID
from .series import TimeSeries

__all__ = ['Sentinel1Beside']


class Sentinel1Beside:
    """Add to each sample the Sentinel-1 frames of its place and time window.

    Meant as ``transforms`` of an optical series: it reads where the sample says that it lies,
    so that splits, samplers and joined labels need not know of it. The frames come under
    ``image_s1``, ``acquisition_times_s1``, ``valid_s1`` and ``mask_clear_s1``, on the grid of
    the sample (coarser pixels are interpolated) and on their own dates; where the sample has
    every n-th acquisition, so have they. A sample without any Sentinel-1 frame gets one that is
    not valid.

    Args:
        series: The Sentinel-1 series, opened in the CRS and at the resolution of the optical
            one: ``RasterTimeSeries(paths, crs=optical.crs, res=optical.res)``.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, Sentinel1Beside
        >>> from torchgeo_sits.datasets import write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> series = RasterTimeSeries(files.images)
        >>> radar = RasterTimeSeries(files.clouds, crs=series.crs, res=series.res)  # for one band
        >>> series.transforms = Sentinel1Beside(radar)
        >>> sample = series[series.bounds]
        >>> sample['image'].shape, sample['image_s1'].shape
        (torch.Size([4, 10, 32, 32]), torch.Size([4, 1, 32, 32]))
    """

    def __init__(self, series: TimeSeries) -> None:
        self.series = series

    def __call__(self, sample: Sample) -> Sample:
        """Read the frames of a sample.

        Args:
            sample: A sample with ``image`` ``(T, C, H, W)`` and ``bounds`` ``(9,)``.

        Returns:
            A new dictionary with the keys of Sentinel-1 too.

        Raises:
            SITSError: If the two are not of one resolution.
            OSError: If a file cannot be read.
        """
        left, right, xres, bottom, top, yres, start, stop, step = sample[BOUNDS].tolist()
        if self.series.res != (xres, yres):
            raise SITSError(
                f'the Sentinel-1 series has pixels of {self.series.res}, the images of '
                f'{(xres, yres)}: open it with crs and res of the images'
            )
        first, last = (pd.Timestamp(t, unit='s') for t in (start, stop))
        try:
            found = self.series[left:right:xres, bottom:top:yres, first : last : round(step)]
        except IndexError:  # it was not there in that time, or never there
            shape = 1, len(self.series.bands), *sample[IMAGE].shape[-2:]
            found = {
                IMAGE: torch.zeros(shape),
                ACQUISITION_TIMES: torch.zeros(1, dtype=torch.int64),
                VALID: torch.zeros(1, dtype=torch.bool),
                MASK_CLEAR: torch.zeros(1, *shape[2:], dtype=torch.bool),
            }
        return {**sample, **{name: found[key] for key, name in S1_KEYS.items()}}

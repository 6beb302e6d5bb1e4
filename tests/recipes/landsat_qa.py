"""Landsat surface reflectance with its quality bits, as a data set of your own."""

import numpy as np
from numpy.typing import NDArray

from torchgeo_sits.datasets import RasterTimeSeries


class LandsatQA(RasterTimeSeries):
    """Landsat Collection 2 Level-2 files, a file per band, with QA_PIXEL among them."""

    default_nodata = 0
    scale = 0.0000275
    offset = -0.2 / 0.0000275
    quality_band = 'QA_PIXEL'

    def clear(self, quality: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Tell where no bit of fill, dilated cloud, cirrus, cloud or shadow is set."""
        return quality & 0b11111 == 0

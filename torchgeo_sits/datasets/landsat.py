"""Landsat image time series, as reflectance or temperature, clear by their quality bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bands import common_name
from ..errors import SITSError
from .quality import QUALITY_LAYERS, ClearRule
from .raster_series import RasterTimeSeries

__all__ = ['LandsatTimeSeries']


class LandsatTimeSeries(RasterTimeSeries):
    """Landsat Collection 2 Level-2 series: reflectance or temperature, clouds from QA_PIXEL.

    Reads products as the USGS delivers them, a file per band, in any folder. By default all
    ``SR_B`` bands are read as surface reflectance, DN x 0.0000275 - 0.2; with
    ``bands=['ST_B10']`` surface temperature in kelvin, DN x 0.00341802 + 149 [1]_. The two have
    scales of their own and are series of their own. DN 0 is no data.

    A pixel is clear where ``QA_PIXEL`` sets none of :attr:`unclear_bits`; snow and water are
    clear. It is found beside the bands.

    Bands of one number are not the same light in Landsat 4 to 7 and in 8 and 9 (``SR_B4`` is near
    infrared in the former and red in the latter), so a folder of both is refused unless bands are
    named by their light: ``bands=['red', 'nir08']`` finds those of each sensor.

    .. [1] USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide, LSDS-1619, version 5.0,
       section 4 (QA_PIXEL: table 6-2).

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> import rasterio
        >>> from torchgeo_sits.datasets import LandsatTimeSeries
        >>> folder = tempfile.TemporaryDirectory()
        >>> where = {'crs': 'EPSG:32632', 'transform': rasterio.Affine(30, 0, 6e5, 0, -30, 5e6)}
        >>> size = {'count': 1, 'height': 1, 'width': 3, 'dtype': 'uint16'}
        >>> for layer, values in (('SR_B4', [9000, 9000, 0]), ('QA_PIXEL', [21824, 22280, 1])):
        ...     name = f'{folder.name}/LC08_L2SP_198025_20200601_20200831_02_T1_{layer}.TIF'
        ...     with rasterio.open(name, 'w', **where, **size) as file:
        ...         file.write(np.array([[values]], 'uint16'))
        >>> series = LandsatTimeSeries(folder.name)
        >>> sample = series[series.bounds]
        >>> sample['image'][0, 0, 0, :2], sample['mask_clear'].flatten()  # clear, cloud, fill
        (tensor([0.0475, 0.0475]), tensor([ True, False, False]))
    """

    all_bands = tuple(f'SR_B{i}' for i in range(1, 8))
    rgb_bands = ('SR_B4', 'SR_B3', 'SR_B2')
    default_nodata = 0
    scale = 0.0000275
    offset = -0.2 / 0.0000275
    quality_band = 'QA_PIXEL'
    #: Bits of QA_PIXEL that make a pixel not clear.
    unclear_bits: tuple[int, ...] = QUALITY_LAYERS['QA_PIXEL'].rule.bits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Find the products and read their headers.

        Args:
            *args: See :class:`RasterTimeSeries`.
            **kwargs: See :class:`RasterTimeSeries`.

        Raises:
            DatasetNotFoundError: If a folder is missing or holds no rasters.
            SITSError: As :class:`RasterTimeSeries`, and if bands of both kinds, or of neither
                kind, are asked for.
            OSError: If a file cannot be opened and *unreadable* is ``'raise'``.
        """
        super().__init__(*args, **kwargs)
        kinds = {
            (raster.name.band or '').upper()[:4]
            for product in self._products.values()
            for raster in product.rasters
        }
        if kinds == {''}:  # multi-band files
            kinds = {band[:4] for band in self.bands}
        if kinds == {'ST_B'}:
            self.scale, self.offset = 0.00341802, 149 / 0.00341802
        elif kinds != {'SR_B'}:
            raise SITSError(
                f'bands {self.bands} have no scale in common: expected SR_B bands (reflectance) '
                'or ST_B bands (temperature). Read the two as two series, and other layers by '
                'RasterTimeSeries, which leaves values as they are stored'
            )

    def clear(self, quality: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell where none of :attr:`unclear_bits` is set."""
        return ClearRule(bits=self.unclear_bits)(quality)

    def band_name(self, name: str) -> str:
        """Spell names as the USGS does, ``SR_B4``, and those of light as all do, ``red``."""
        return common_name(name) or name.upper()

    def default_bands(self, all_bands: tuple[str, ...]) -> tuple[str, ...]:
        """Choose the bands of surface reflectance, if the files hold any."""
        return tuple(band for band in all_bands if band.startswith('SR_B')) or all_bands

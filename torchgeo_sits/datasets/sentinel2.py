"""Sentinel-2 image time series, as reflectance."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from ..errors import SITSError
from .raster_series import RasterTimeSeries

__all__ = ['Sentinel2TimeSeries']

#: Class of snow in the scene classification (SCL).
_SNOW = 11

_L1C = ['B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B10', 'B11', 'B12']
_BY_COUNT = {
    10: ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12'),
    12: tuple(band for band in _L1C if band != 'B10'),  # Level-2A drops the cirrus band
    13: tuple(_L1C),
}
#: Common names of the STAC extension for electro-optical data.
_COMMON = {
    'coastal': 'B01',
    'blue': 'B02',
    'green': 'B03',
    'red': 'B04',
    'rededge1': 'B05',
    'rededge2': 'B06',
    'rededge3': 'B07',
    'nir': 'B08',
    'nir08': 'B8A',
    'nir09': 'B09',
    'cirrus': 'B10',
    'swir16': 'B11',
    'swir1': 'B11',
    'swir22': 'B12',
    'swir2': 'B12',
}
_BASELINE = re.compile(r'_N(\d{4})_')


class Sentinel2TimeSeries(RasterTimeSeries):
    """Sentinel-2 series: known bands, reflectance, clouds from the scene classification.

    Reads products as they come (``.SAFE`` folders, or the same files in any folder) and stacks
    with a file per date. ``B2``, ``S2-L2A-B02`` and ``blue`` all are ``B02``. By default the ten
    bands of 10 and 20 m are read, in the order of their numbers, as far as the files hold them.

    Pixels are ``(DN + offset) x scale``. Since processing baseline 04.00 (25 January 2022)
    products add 1000 to each DN, so that the offset is -1000 where the product's name holds
    ``_N0400_`` or later, and 0 elsewhere [1]_. Names without a baseline say nothing: for files
    cut from such products give ``offset=-1000``. 0 stays 0 where nothing was observed.

    .. [1] ESA, Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD, issue 14.9,
       ``BOA_ADD_OFFSET``.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import Sentinel2TimeSeries, write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> bands = ['red', 'nir']
        >>> series = Sentinel2TimeSeries(files.images, bands=bands, cloud_paths=files.clouds)
        >>> series.bands
        ('B04', 'B08')
        >>> 0 <= series[series.bounds]['image'].max() < 2  # reflectance
        tensor(True)
    """

    all_bands = _BY_COUNT[12]
    rgb_bands = ('B04', 'B03', 'B02')
    #: DN 0 is no data in all products, though their JPEG 2000 files do not say so.
    default_nodata = 0
    quality_band = 'SCL'
    #: Classes of the scene classification that show the ground: dark features, vegetation, bare
    #: soil, water, and unclassified, which holds little cloud.
    clear_values: tuple[int, ...] | None = (2, 4, 5, 6, 7)

    def __init__(
        self,
        *args: Any,
        clear_values: Sequence[int] | None = None,
        snow_is_clear: bool = False,
        scale: float = 1e-4,
        offset: float | Literal['baseline'] = 'baseline',
        **kwargs: Any,
    ) -> None:
        """Find the products and read their headers.

        Args:
            *args: See :class:`RasterTimeSeries`: paths, crs, res, bands (``B01`` ... ``B12`` and
                ``B8A``), transforms and cache.
            clear_values: Classes that count as clear; by default dark features, vegetation,
                bare soil, water and unclassified (2, 4, 5, 6, 7).
            snow_is_clear: Count snow (class 11) as clear too.
            scale: Reflectance of one DN; 1 keeps the numbers as they are stored.
            offset: DN added before scaling, or ``'baseline'`` for what the products' names say.
            **kwargs: See :class:`RasterTimeSeries`. ``cloud_paths`` are SCL rasters; by default
                those in *paths* whose names hold ``SCL`` beside files that do not, if there are
                any.

        Raises:
            DatasetNotFoundError: If a folder is missing or holds no rasters.
            SITSError: As :class:`RasterTimeSeries`, and if *scale* is not positive.
            OSError: If a file cannot be opened and *unreadable* is ``'raise'``.
        """
        if scale <= 0:
            raise SITSError(f'scale must be positive, got {scale}')
        if isinstance(offset, str) and offset != 'baseline':
            raise SITSError(f"offset must be a number of DN or 'baseline', got {offset!r}")
        self.scale = scale
        self._by_baseline = isinstance(offset, str)
        self.offset = 0.0 if isinstance(offset, str) else offset
        if snow_is_clear:
            self.clear_values = (*(self.clear_values or ()), _SNOW)
            clear_values = clear_values and (*clear_values, _SNOW)
        super().__init__(*args, clear_values=clear_values, **kwargs)

    def band_name(self, name: str) -> str:
        """Spell ``B02`` for ``B2``, ``b02``, ``S2-L2A-B02`` and ``blue``; others as they are."""
        if name.lower() in _COMMON:
            return _COMMON[name.lower()]
        match = re.search(r'(?<![A-Za-z0-9])B(\d{1,2})(A?)$', name.strip(), re.IGNORECASE)
        if match is None:
            return name
        return f'B{int(match[1])}A' if match[2] else f'B{int(match[1]):02d}'

    def default_band_names(self, count: int) -> tuple[str, ...]:
        """Name so many bands in their usual order."""
        if count not in _BY_COUNT:
            raise SITSError(
                f'rasters have {count} bands without descriptions, and only {sorted(_BY_COUNT)} '
                'bands have a usual order in Sentinel-2: write the names of the bands into the '
                'files, or use RasterTimeSeries, which numbers them'
            )
        return _BY_COUNT[count]

    def default_bands(self, all_bands: tuple[str, ...]) -> tuple[str, ...]:
        """Choose the ten bands of 10 and 20 m, as far as the files hold them."""
        return tuple(band for band in _BY_COUNT[10] if band in all_bands) or all_bands

    def offset_of(self, path: str) -> float:
        """Tell the DN that the processing baseline of a product asks to be added."""
        if not self._by_baseline:
            return self.offset
        baseline = _BASELINE.findall(path)
        return -1000.0 if baseline and int(baseline[-1]) >= 400 else 0.0

"""Sentinel-2 image time series, as reflectance."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from pyproj import CRS
from torchgeo.datasets.utils import Path, Sample

from ..errors import SITSError
from .filenames import parse_name
from .raster_series import RasterTimeSeries
from .scenes import list_rasters

__all__ = ['Sentinel2TimeSeries']

#: Classes of the scene classification (SCL) that show the ground: dark features, vegetation,
#: bare soil, water, and unclassified, which holds little cloud.
CLEAR_CLASSES = (2, 4, 5, 6, 7)
SNOW_CLASS = 11

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
    """

    all_bands = _BY_COUNT[12]
    rgb_bands = ('B04', 'B03', 'B02')
    #: DN 0 is no data in all products, though their JPEG 2000 files do not say so.
    default_nodata = 0

    def __init__(
        self,
        paths: Path | Iterable[Path] = 'data',
        crs: CRS | None = None,
        res: float | tuple[float, float] | None = None,
        bands: Sequence[str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        cache: bool = True,
        *,
        cloud_paths: Path | Iterable[Path] | None = None,
        clear_values: Sequence[int] | None = None,
        snow_is_clear: bool = False,
        scale: float = 1e-4,
        offset: float | Literal['baseline'] = 'baseline',
        nodata: float | None = None,
        filename_regex: str | None = None,
        date_format: str | None = None,
        group_by: Literal['day', 'time'] = 'day',
        unreadable: Literal['raise', 'skip'] = 'raise',
        min_clear: float = 0.0,
    ) -> None:
        """Find the products and read their headers.

        Args:
            paths: Folders, searched with all they contain, or files.
            crs: Coordinate reference system to warp to; that of the first file by default.
            res: Size of a pixel in units of *crs*; the finest of the bands by default.
            bands: Names of the bands, ``B01`` ... ``B12`` and ``B8A``.
            transforms: Called with each sample.
            cache: Keep files open between samples.
            cloud_paths: Folders or files of SCL rasters. By default those in *paths* whose
                names hold ``SCL`` beside files that do not, if there are any.
            clear_values: Classes that count as clear; by default dark features, vegetation,
                bare soil, water and unclassified (2, 4, 5, 6, 7).
            snow_is_clear: Count snow (class 11) as clear too.
            scale: Reflectance of one DN; 1 keeps the numbers as they are stored.
            offset: DN added before scaling, or ``'baseline'`` for what the products' names say.
            nodata: Value that means no data, in place of what the files say.
            filename_regex: See :class:`RasterTimeSeries`.
            date_format: See :class:`RasterTimeSeries`.
            group_by: See :class:`RasterTimeSeries`.
            unreadable: See :class:`RasterTimeSeries`.
            min_clear: See :class:`RasterTimeSeries`.

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
        self.offset = offset
        if cloud_paths is None:
            cloud_paths = self._scene_classifications(paths)
        if clear_values is None and cloud_paths is not None:
            clear_values = CLEAR_CLASSES
        if snow_is_clear and clear_values is not None:
            clear_values = (*clear_values, SNOW_CLASS)
        super().__init__(
            paths,
            crs,
            res,
            bands,
            transforms,
            cache,
            cloud_paths=cloud_paths,
            clear_values=clear_values,
            nodata=nodata,
            filename_regex=filename_regex,
            date_format=date_format,
            group_by=group_by,
            unreadable=unreadable,
            min_clear=min_clear,
        )

    @staticmethod
    def _scene_classifications(paths: Path | Iterable[Path]) -> list[str] | None:
        """Files of scene classes that lie among the files of the bands."""
        names = {path: parse_name(path) for path in list_rasters(paths)}
        classes = [
            path
            for path, name in names.items()
            if name is not None and (name.band or '').upper() == 'SCL'
        ]
        return classes if 0 < len(classes) < len(names) else None

    def _band_name(self, name: str) -> str:
        """``B02`` for ``B2``, ``b02``, ``S2-L2A-B02`` and ``blue``; others as they are."""
        if name.lower() in _COMMON:
            return _COMMON[name.lower()]
        match = re.search(r'(?<![A-Za-z0-9])B(\d{1,2})(A?)$', name.strip(), re.IGNORECASE)
        if match is None:
            return name
        return f'B{int(match[1])}A' if match[2] else f'B{int(match[1]):02d}'

    def _default_names(self, count: int) -> tuple[str, ...]:
        """The usual order of so many bands."""
        if count not in _BY_COUNT:
            raise SITSError(
                f'rasters have {count} bands without descriptions, and only {sorted(_BY_COUNT)} '
                'bands have a usual order in Sentinel-2: write the names of the bands into the '
                'files, or use RasterTimeSeries, which numbers them'
            )
        return _BY_COUNT[count]

    def _default_bands(self, all_bands: tuple[str, ...]) -> tuple[str, ...]:
        """The ten bands of 10 and 20 m, as far as the files hold them."""
        return tuple(band for band in _BY_COUNT[10] if band in all_bands) or all_bands

    def _offset(self, path: str) -> float:
        """DN that the processing baseline of a product asks to be added."""
        if not isinstance(self.offset, str):
            return self.offset
        baseline = _BASELINE.findall(path)
        return -1000.0 if baseline and int(baseline[-1]) >= 400 else 0.0

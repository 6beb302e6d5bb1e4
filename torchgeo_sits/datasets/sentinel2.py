"""Sentinel-2 image time series, as reflectance."""

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from xml.parsers import expat

import pandas as pd

from ..bands import SENSORS, find_band
from ..errors import SITSError
from .catalogue import Product
from .files import list_examples
from .quality import QUALITY_LAYERS
from .raster_series import RasterTimeSeries

__all__ = ['Sentinel2TimeSeries']

#: Class of snow in the scene classification (SCL).
_SNOW = 11

_BY_COUNT = {
    10: ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12'),
    12: tuple(band.name for band in SENSORS['Sentinel-2'] if band.name != 'B10'),  # none in L2A
    13: tuple(band.name for band in SENSORS['Sentinel-2']),
}
_BASELINE = re.compile(r'_N(\d{4})_')
#: Baseline of what users process by themselves, with or without an offset.
_UNKNOWN = 9999
#: First day of products with an offset.
_CHANGE = pd.Timestamp('2022-01-25')


class Sentinel2TimeSeries(RasterTimeSeries):
    """Sentinel-2 series: known bands, reflectance, clouds from the scene classification.

    Reads products as they come (``.SAFE`` folders, or the same files in any folder) and stacks
    with a file per date. ``B2``, ``S2-L2A-B02`` and ``blue`` all are ``B02``. By default the ten
    bands of 10 and 20 m are read, in the order of their numbers, as far as the files hold them.

    Pixels are ``(DN + offset) x scale``. Since processing baseline 04.00 (25 January 2022)
    products add 1000 to each DN, so that the offset is -1000 [1]_. What is found first counts:

    1. ``offset``, where you give it;
    2. the metadata of the product, ``MTD_MSIL2A.xml`` or ``MTD_MSIL1C.xml``, in a folder above;
    3. the scale and offset in the file's own tags, as in the COGs of ``sentinel-2-c1-l2a``;
    4. the baseline in the product's name: -1000 for ``_N0400_`` and later, 0 before;
    5. 0, with a warning where images are of 25 January 2022 or later.

    Copies from which the offset was taken already (the COGs of ``sentinel-2-l2a`` on AWS with
    ``earthsearch:boa_offset_applied``, Earth Engine's ``HARMONIZED``) cannot be told from others
    by their files: give ``offset=0``, and for files cut from products with an offset
    ``offset=-1000``. 0 stays 0 where nothing was observed.

    .. [1] ESA, Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD, issue 14.9,
       ``BOA_ADD_OFFSET`` and ``RADIO_ADD_OFFSET``.

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
    #: Classes of the scene classification that show the ground.
    clear_values: tuple[int, ...] | None = QUALITY_LAYERS['SCL'].rule.values

    def __init__(
        self,
        *args: Any,
        clear_values: Sequence[int] | None = None,
        snow_is_clear: bool = False,
        scale: float | None = None,
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
            scale: Reflectance of one DN; by default what the tags of the files say, else 0.0001.
                1 keeps the numbers as they are stored.
            offset: DN added before scaling, or ``'baseline'`` for what the products say.
            **kwargs: See :class:`RasterTimeSeries`. ``cloud_paths`` are SCL rasters; by default
                those in *paths* whose names hold ``SCL`` beside files that do not, if there are
                any.

        Raises:
            DatasetNotFoundError: If a folder is missing or holds no rasters.
            SITSError: As :class:`RasterTimeSeries`, and if *scale* is not positive, files differ
                in their own scales, or the bands of a product in their offsets.
            OSError: If a file cannot be opened and *unreadable* is ``'raise'``.
        """
        if scale is not None and scale <= 0:
            raise SITSError(f'scale must be positive, got {scale}')
        if isinstance(offset, str) and offset != 'baseline':
            raise SITSError(f"offset must be a number of DN or 'baseline', got {offset!r}")
        self._by_baseline = isinstance(offset, str)
        self.offset = 0.0 if isinstance(offset, str) else offset
        if snow_is_clear:
            self.clear_values = (*(self.clear_values or ()), _SNOW)
            clear_values = clear_values and (*clear_values, _SNOW)
        super().__init__(*args, clear_values=clear_values, **kwargs)
        self.scale = self._tagged_scale() if scale is None else scale
        self._offsets = self._find_offsets() if self._by_baseline else {}

    def band_name(self, name: str) -> str:
        """Spell ``B02`` for ``B2``, ``b02``, ``S2-L2A-B02`` and ``blue``; others as they are."""
        band = find_band('Sentinel-2', name)
        return name if band is None else band.name

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
        """Tell the DN that a product asks to be added."""
        if not self._by_baseline:
            return self.offset
        return self._offsets.get(path, _offset_of_baseline(path) or 0.0)

    def _tagged_scale(self) -> float:
        """Look up the scale in the tags of the files.

        Raises:
            SITSError: If they differ.
        """
        found: dict[float, str] = {}
        for product in self._products.values():
            for scale, _ in _tags(product, self.bands):
                found.setdefault(scale, product.rasters[0].path)
        if len(found) > 1:
            (one, first), (other, second), *_ = found.items()
            raise SITSError(
                f"files differ in the scale that their tags give: '{first}' has {one:g}, "
                f"'{second}' has {other:g}. Open them as series of their own, or give scale"
            )
        return next(iter(found), 1e-4)

    def _find_offsets(self) -> dict[str, float]:
        """Find the offset of each product by its first file, and warn where nothing says it."""
        offsets: dict[str, float] = {}
        silent: list[str] = []
        metadata: dict[str, float | None] = {}
        for product in self._products.values():
            path = product.rasters[0].path
            folder = os.path.dirname(path)
            if folder not in metadata:
                metadata[folder] = _offset_of_metadata(folder)
            offset = metadata[folder]
            if offset is None:
                offset = _offset_of_tags(product, self.bands)
            if offset is None:
                offset = _offset_of_baseline(path)
            if offset is None and product.name.time >= _CHANGE:
                silent.append(path)
            offsets[path] = offset or 0.0
        if silent:
            warnings.warn(
                f'{len(silent)} of {len(self._products)} images are of {_CHANGE:%Y-%m-%d} or later '
                'and tell neither by metadata, tags nor name whether 1000 was added to their '
                f'pixels: {list_examples(silent)}. They are read as if it was not: give offset=0 '
                'if that is right, or offset=-1000',
                UserWarning,
                stacklevel=3,
            )
        return offsets


def _offset_of_baseline(path: str) -> float | None:
    """Tell by the baseline in a path what is to be added; None where there is none."""
    found = _BASELINE.findall(path)
    if not found or int(found[-1]) == _UNKNOWN:
        return None
    return -1000.0 if int(found[-1]) >= 400 else 0.0


def _tags(product: Product, bands: Sequence[str]) -> set[tuple[float, float]]:
    """Read scales and offsets, in their units, off the tags of the files of some bands."""
    rasters = {raster.path: raster for raster in product.rasters}
    found = set()
    for path, index in (product.sources[band] for band in bands):
        number = rasters[path].indexes.index(index)
        scale, offset = rasters[path].scales[number], rasters[path].offsets[number]
        if (scale, offset) != (1, 0):
            found.add((scale, offset))
    return found


def _offset_of_tags(product: Product, bands: Sequence[str]) -> float | None:
    """Read the offset in DN off the tags of a product's files; None where they have none."""
    offsets = {round(offset / scale, 6) for scale, offset in _tags(product, bands)}
    if len(offsets) > 1:
        raise _differing(product.rasters[0].path, offsets)
    return next(iter(offsets), None)


def _offset_of_metadata(folder: str) -> float | None:
    """Read the offset in DN off the metadata of the product that a folder is a part of.

    Args:
        folder: Folder of a band; the product is at most five levels above.

    Returns:
        The offset, 0 where the metadata holds none; None where there is no metadata.

    Raises:
        SITSError: If the metadata cannot be read, or bands differ in it.
    """
    if '://' in folder or folder.startswith('/vsi'):
        return None
    for above in (Path(folder), *Path(folder).parents[:5]):
        for name in ('MTD_MSIL2A.xml', 'MTD_MSIL1C.xml'):
            if (above / name).is_file():
                return _read_offset(str(above / name))
    return None


def _read_offset(path: str) -> float:
    """Read the offset of the bands off a file of metadata, 0 where it holds none."""
    texts: list[str] = []
    inside = False

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal inside
        inside = tag in ('BOA_ADD_OFFSET', 'RADIO_ADD_OFFSET')
        if inside:
            texts.append('')

    def end(_: str) -> None:
        nonlocal inside
        inside = False

    def read(text: str) -> None:
        if inside:
            texts[-1] += text

    def refuse(*_: object) -> None:  # a document type may define entities, without any end
        raise SITSError('it has a document type')

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = read, refuse
    try:
        parser.Parse(Path(path).read_bytes(), True)
        offsets = {float(text) for text in texts}
    except (expat.ExpatError, ValueError, OSError) as error:
        raise SITSError(
            f"'{path}' cannot be read as metadata of Sentinel-2 ({error}): fetch it again, remove "
            'it, or give offset'
        ) from error
    if len(offsets) > 1:
        raise _differing(path, offsets)
    return next(iter(offsets), 0.0)


def _differing(path: str, offsets: set[float]) -> SITSError:
    """Say that the bands of a product are not of one offset."""
    return SITSError(
        f"the bands of '{path}' have offsets of {sorted(offsets)} DN, and a series has one for "
        'each product: read them as series of their own, or give offset'
    )

"""Products of a collection: which files belong together, which bands they hold, where they lie."""

import math
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePath
from typing import Literal

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS as RasterCRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import calculate_default_transform, transform, transform_bounds

from ..bands import common_name, find_band, find_sensor
from ..errors import SITSError
from ..grid import crs_name
from .filenames import ANCILLARY_BANDS, RasterName, is_ancillary, is_band, parse_description
from .files import RasterFile, list_examples
from .frames import acquisition_keys
from .headers import Bounds
from .rivals import level_of, rank_rivals

__all__ = [
    'Product',
    'acquisition_intervals',
    'band_order',
    'catalogue',
    'common_crs',
    'extents',
    'finest',
    'product_index',
    'rank_products',
    'to_pyproj',
    'with_all_bands',
]


#: What an image of such a file is, and its bands with their numbers in the file.
DatedBands = tuple[RasterName, dict[str, int]]

#: Numbers of dates without the dates: T1B1 as eo-learn writes, 0_B2 and B2_1 as Earth Engine does.
_NUMBER_FIRST = re.compile(r'(?:[Tt]_?(?=\d+)|(?=\d+_))(?P<date>\d+)_?(?P<band>[A-Za-z].*)')
_NUMBER_LAST = re.compile(r'(?P<band>.+?)(?:_[Tt]?(?P<date>\d+))?')


def split_dates(
    path: str, descriptions: Sequence[str], indexes: Sequence[int]
) -> list[DatedBands] | None:
    """Split the bands of a file by the dates that their descriptions hold.

    Args:
        path: The file, for messages.
        descriptions: What the file calls its bands, such as ``20200101_B2``.
        indexes: Numbers of these bands in the file.

    Returns:
        One entry per date, in the order of time, and for several images of one date (tiles, say)
        several; the name of the band is empty where descriptions hold a date alone. None where
        no description holds a date.

    Raises:
        SITSError: If only some descriptions hold a date, two are the same, or dates are numbered
            but not told.

    Examples:
        >>> from torchgeo_sits.datasets.catalogue import split_dates
        >>> for name, bands in split_dates('x.tif', ['20200101_B2', '20200611_B2'], [1, 2]):
        ...     print(name.time, bands)
        2020-01-01 00:00:00 {'B2': 1}
        2020-06-11 00:00:00 {'B2': 2}
    """
    found = _parse(tuple(descriptions))
    if not any(found):
        if _numbers_dates(tuple(descriptions)):
            raise SITSError(
                f"'{path}' numbers dates in the names of its bands, such as '{descriptions[0]}' "
                f"and '{descriptions[-1]}', but does not tell them: write the dates into the "
                'descriptions, such as 20200101_B2, or write a file for each date'
            )
        return None
    images: dict[tuple[RasterName, str], dict[str, int]] = defaultdict(dict)
    for text, told, index in zip(descriptions, found, indexes, strict=True):
        if told is None:
            if len({name.time for name, _ in filter(None, found)}) < 2:
                return None  # such as `mean_2020`: the name of a band, not a date of it
            dated = next(t for t, told in zip(descriptions, found, strict=True) if told)
            raise SITSError(
                f"'{path}' holds bands with dates, such as '{dated}', and without, such as "
                f"'{text}': write the date of each band into its description, such as "
                '20200101_B2, or write a file for each date'
            )
        name, band = told
        bands = images[name, name.product]
        if band in bands:
            raise SITSError(
                f"'{path}' calls two bands '{text}': write the date and the name of each band "
                'into its description, such as 20200101_B2'
            )
        bands[band] = index
    ordered = sorted(images.items(), key=lambda item: (item[0][0].time, item[0][1]))
    return [(name, bands) for (name, _), bands in ordered]


@lru_cache(1 << 10)
def _parse(descriptions: tuple[str, ...]) -> tuple[tuple[RasterName, str] | None, ...]:
    """Parse all descriptions of a file, which many files share."""
    return tuple(parse_description(text) for text in descriptions)


@lru_cache(1 << 10)
def _numbers_dates(descriptions: tuple[str, ...]) -> bool:
    """Tell whether descriptions number dates: each number has the same bands."""
    for pattern, fewest in ((_NUMBER_FIRST, 1), (_NUMBER_LAST, 2)):  # band_1, band_2 are bands
        bands_of: dict[str | None, list[str]] = defaultdict(list)
        for text in descriptions:
            if match := pattern.fullmatch(text.strip()):
                bands_of[match['date']].append(match['band'])
        sets = list(map(sorted, bands_of.values()))
        complete = sum(map(len, sets)) == len(descriptions) and all(own == sets[0] for own in sets)
        if complete and len(sets) > 1 and len(sets[0]) >= fewest:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Product:
    """Delivery of an acquisition: a multi-band file, the files of its bands, or bands of a file.

    Attributes:
        name: What the names say; the bands of a product agree in it but for the band.
        rasters: The files, in the order of their paths.
        sources: Band -> file and number of the band in it.
        part: What tells it from other products in the same file; empty where there is none.
        rank: How many products of the same place and acquisition count before this one.
    """

    name: RasterName
    rasters: tuple[RasterFile, ...]
    sources: dict[str, tuple[str, int]]
    part: str = ''
    rank: int = 0

    @property
    def key(self) -> str:
        """Path of the first file, with the date behind ``#`` where the file holds several."""
        return f'{self.rasters[0].path}#{self.part}' if self.part else self.rasters[0].path


def catalogue(
    rasters: Sequence[RasterFile],
    *,
    bands: Sequence[str] | None,
    unreadable: Literal['raise', 'skip'],
    band_name: Callable[[str], str],
    default_band_names: Callable[[int], tuple[str, ...]],
    default_bands: Callable[[tuple[str, ...]], tuple[str, ...]],
) -> tuple[list[Product], tuple[str, ...], tuple[str, ...]]:
    """Group files to products and find the names of their bands.

    Files that hold a single band, named in the file name or by their folder, are the bands of
    products; files whose descriptions hold dates are a product for each date; all others are
    products of their own.

    Args:
        rasters: What :func:`scan` found.
        bands: Bands that each product must hold, by their own names or by those of their light
            (``red``); None for *default_bands*.
        unreadable: What to do about a product without one of *bands*.
        band_name: Spelling of a band that is found in a file or a name.
        default_band_names: Names for so many bands that carry none.
        default_bands: Which to read of all spectral bands found.

    Returns:
        The products in the order of time and name, all bands found, and the bands to read.

    Raises:
        SITSError: If files differ in number or names of bands, a band is unknown or is other
            light in other products, or a product lacks one.
    """
    spectral = [s for s in rasters if not is_ancillary(s.name.band)]
    products: list[Product] = []
    undated = []
    for raster in spectral:
        split = _products_of_dates(raster, band_name, default_band_names)
        products += split
        if not split:
            undated.append(raster)
    if products:
        rasters = spectral = undated
    spectral = _with_bands_of_folders(spectral)
    separate = [s for s in spectral if s.name.band is not None and len(s.indexes) == 1]
    others = [s for s in spectral if s.name.band is None or len(s.indexes) > 1]
    if separate and others:
        raise SITSError(
            f"'{separate[0].path}' holds the band {separate[0].name.band} of a product, "
            f"but '{others[0].path}' holds {len(others[0].indexes)} bands without one "
            'band in its name: keep one layout per dataset, and masks in cloud_paths'
        )
    if separate:
        masks = [s for s in rasters if is_ancillary(s.name.band) and len(s.indexes) == 1]
        products += _products_of_bands([*separate, *masks], band_name)
    elif spectral:
        products += _products_of_files(spectral, band_name, default_band_names, named=bands)
    elif not products:  # a folder of masks only is a series of masks
        if all(len(s.indexes) == 1 for s in rasters):
            products += _products_of_bands(rasters, band_name)
        else:
            products += _products_of_files(rasters, band_name, default_band_names, named=bands)

    products = _of_one_level(products, bands or ())
    found = {band: None for product in products for band in product.sources}
    spectral_bands = [b for b in found if b.upper() not in ANCILLARY_BANDS]
    all_bands = tuple(sorted(spectral_bands, key=band_order)) if separate else tuple(found)
    all_bands = all_bands or tuple(found)
    products = _with_light(products, tuple(found if bands is None else bands))
    known = {band for product in products for band in product.sources}
    wanted = tuple(bands) if bands is not None else default_bands(all_bands)
    unknown = [band for band in wanted if band not in known]
    if unknown:
        raise SITSError(
            f'unknown bands {unknown}: the files hold {tuple(found)}. Give some of these names, '
            'in the order in which the channels are wanted.'
            + (
                ' Names of light, such as red, are known where names of files or folders tell the '
                'sensor.'
                if any(map(common_name, unknown))
                else ''
            )
        )
    if not wanted:
        raise SITSError('bands is empty: name at least one, or leave it None for all')
    complete = with_all_bands(products, wanted, unreadable)
    complete.sort(key=lambda product: (product.name.time, product.rasters[0].path, product.part))
    return complete, all_bands, wanted


def band_order(band: str) -> tuple[float, str]:
    """Sort B8A between B8 and B9, B10 after B9, and names without a number behind."""
    digits = ''.join(c for c in band if c.isdigit())
    if not digits:
        return float('inf'), ''
    return int(digits) + 0.5 * band.upper().endswith('A'), band


def _products_of_dates(
    raster: RasterFile,
    band_name: Callable[[str], str],
    default_band_names: Callable[[int], tuple[str, ...]],
) -> list[Product]:
    """Make each date that the descriptions of a file's bands hold a product; none where none do."""
    images = split_dates(raster.path, raster.descriptions, raster.indexes)
    products = []
    for name, indexes in images or ():
        bands = {
            band_name(band) if band else default_band_names(1)[0]: (raster.path, i)
            for band, i in indexes.items()
        }
        told = name.time.isoformat() if name.has_clock else f'{name.time:%Y-%m-%d}'
        part = f'{told}_{name.product}' if name.product else told
        products.append(Product(name, (raster,), bands, part))
    return products


def _with_bands_of_folders(rasters: Sequence[RasterFile]) -> list[RasterFile]:
    """Name the bands of files by their folders: NDVI/2020-06-01.tif beside EVI/2020-06-01.tif.

    Folders name bands where they do by a name that is known, or where their files have the same
    names and lie in the same place: two images of one place and day cannot be one frame.
    """
    by_folder: dict[str, list[int]] = defaultdict(list)
    for i, raster in enumerate(rasters):
        if raster.name.band is None and len(raster.indexes) == 1:
            by_folder[os.path.dirname(raster.path)].append(i)
    siblings: dict[str, list[str]] = defaultdict(list)
    for folder in by_folder:
        siblings[os.path.dirname(folder)].append(folder)
    named = list(rasters)
    for folders in siblings.values():
        if len(folders) < 2 or any(level_of(f'{folder}/') for folder in folders):
            continue
        files = [
            {
                (os.path.basename(rasters[i].path), rasters[i].name.time, rasters[i].bounds)
                for i in by_folder[folder]
            }
            for folder in folders
        ]
        known = all(is_band(os.path.basename(folder)) for folder in folders)
        if not known and any(own != files[0] for own in files):
            continue
        for folder in folders:
            for i in by_folder[folder]:
                name = rasters[i].name
                named[i] = replace(
                    rasters[i],
                    name=RasterName(name.time, name.stop, os.path.basename(folder), name.product),
                )
    return named


def _products_of_files(
    rasters: Sequence[RasterFile],
    band_name: Callable[[str], str],
    default_band_names: Callable[[int], tuple[str, ...]],
    *,
    named: Sequence[str] | None,
) -> list[Product]:
    """Make each file a product, its bands by their descriptions, else by their place.

    Files may differ in their bands where all have names and the user *named* the bands to read.
    """
    first = rasters[0]
    descriptions = [_distinct(raster.descriptions) for raster in rasters]
    if named is not None and all(descriptions):
        return [
            Product(
                raster.name,
                (raster,),
                {band_name(n): (raster.path, i) for n, i in zip(own, raster.indexes, strict=True)},
            )
            for raster, own in zip(rasters, descriptions, strict=True)
        ]
    for raster in rasters:
        if len(raster.indexes) != len(first.indexes):
            raise SITSError(
                f"rasters differ in their number of bands: '{first.path}' has "
                f"{len(first.indexes)}, '{raster.path}' has {len(raster.indexes)}. Keep images of "
                'one kind in a folder (masks of clouds go to cloud_paths, labels to a dataset '
                'of their own).'
            )
    described = next((s for s in rasters if _distinct(s.descriptions)), None)
    names = described.descriptions if described else default_band_names(len(first.indexes))
    bands = tuple(band_name(name) for name in names)
    products = []
    for raster, said in zip(rasters, descriptions, strict=True):
        own = tuple(band_name(name) for name in said) or bands
        if set(own) != set(bands):
            raise SITSError(
                f"rasters differ in their bands: '{described.path if described else first.path}' "
                f"has {bands}, '{raster.path}' has {own}. Keep images of one kind in a folder, or "
                'name in `bands` those that all have.'
            )
        index = dict(zip(own, raster.indexes, strict=True))
        sources = {band: (raster.path, index[band]) for band in bands}
        products.append(Product(raster.name, (raster,), sources))
    return products


def _distinct(descriptions: tuple[str, ...]) -> tuple[str, ...]:
    """Keep the descriptions of a file's bands only where they tell them apart."""
    return descriptions if len(set(descriptions)) == len(descriptions) else ()


def _products_of_bands(
    rasters: Sequence[RasterFile], band_name: Callable[[str], str]
) -> list[Product]:
    """Make files with one name but for the band a product; the finest of each band."""
    groups: dict[tuple[str, ...], list[RasterFile]] = defaultdict(list)
    for raster in rasters:
        folder = PurePath(raster.path).parent
        # Sentinel-2 keeps the bands of a product in R10m, R20m and R60m; others a folder
        # per band.
        own = folder.name.upper() in {'R10M', 'R20M', 'R60M', str(raster.name.band).upper()}
        groups[str(folder.parent if own else folder), raster.name.product].append(raster)

    products = []
    for group in groups.values():
        finest: dict[str, RasterFile] = {}
        for raster in sorted(group, key=lambda s: (s.res, s.path)):
            finest.setdefault(band_name(str(raster.name.band)), raster)
        kept = tuple(sorted(finest.values(), key=lambda s: s.path))
        sources = {band: (raster.path, raster.indexes[0]) for band, raster in finest.items()}
        products.append(Product(kept[0].name, kept, sources))
    return products


def _of_one_level(products: Sequence[Product], bands: Sequence[str]) -> list[Product]:
    """Leave out images at the top of the atmosphere beside such of the surface.

    Args:
        products: All products.
        bands: Bands that the user named: products without any of them are of no account.

    Returns:
        Those of the highest level, and those that do not say theirs.
    """
    levels = [level_of(product.rasters[0].path) for product in products]
    held = {
        level: product
        for product, level in zip(products, levels, strict=True)
        if level is not None
        and all(band in product.sources or common_name(band) is not None for band in bands)
    }
    if len({level for level, _ in held}) < 2:
        return list(products)
    highest = max(held)
    kept = [
        product
        for product, level in zip(products, levels, strict=True)
        if level is None or level[0] == highest[0]
    ]
    lowest = min(held)
    warnings.warn(
        f'{len(products) - len(kept)} of {len(products)} products are of level {lowest[1]} (top of '
        f"the atmosphere), such as '{held[lowest].rasters[0].path}', beside others of level "
        f"{highest[1]} (surface), such as '{held[highest].rasters[0].path}', and are left out. "
        'Keep the two in folders of their own to read either',
        UserWarning,
        stacklevel=4,
    )
    return kept


def _with_light(products: Sequence[Product], bands: Sequence[str]) -> list[Product]:
    """Find bands by the names of their light, and refuse names that mean several.

    Args:
        products: All products.
        bands: Names of bands, or of light such as ``red``, that are to be read.

    Returns:
        The products, with what was found under these names among their sources.

    Raises:
        SITSError: If a name is other light in other products.
    """
    sensors = [_sensor_of(product) for product in products]
    for band in bands:
        seen: dict[str, tuple[str, str]] = {}
        for product, sensor in zip(products, sensors, strict=True):
            if band in product.sources and sensor is not None:
                light = find_band(sensor, band)
                if light is not None and light.common not in seen:
                    told = f'{light.common} ({light.centre:.0f} nm) in {sensor}'
                    seen[light.common] = sensor, f"{told}, such as '{product.rasters[0].path}'"
        if len(seen) > 1:
            raise SITSError(
                f'bands of one name are not the same light: {band} is '
                f'{" and ".join(told for _, told in sorted(seen.values()))}. Name the bands by '
                f'their light, such as bands={_shared_light(products, sensors)}, or open a series '
                'of each sensor with the bands that agree, in the same order, and join them with |'
            )
    lights = {band: common_name(band) for band in bands}
    absent = [
        (band, common)
        for band, common in lights.items()
        if common is not None and any(band not in product.sources for product in products)
    ]
    if not absent:
        return list(products)
    own = [_bands_by_light(p, sensor) for p, sensor in zip(products, sensors, strict=True)]
    added: list[dict[str, tuple[str, int]]] = [{} for _ in products]
    for band, common in absent:
        # `nir` is the wide band of Sentinel-2 and, where sensors meet, the narrow one of all.
        either = [common, *({'nir': ['nir08'], 'nir08': ['nir']}.get(common, []))]
        most = max(either, key=lambda name: sum(name in bands for bands in own))
        for product, bands_of, more in zip(products, own, added, strict=True):
            if most in bands_of:
                more[band] = product.sources[bands_of[most]]
    return [
        replace(product, sources=product.sources | more) if more else product
        for product, more in zip(products, added, strict=True)
    ]


def _sensor_of(product: Product) -> str | None:
    """Tell whose bands a product's are; None where they are only numbered by their places."""
    raster = product.rasters[0]
    named = raster.name.band is not None or bool(_distinct(raster.descriptions))
    return find_sensor(raster.path) if named else None


def _bands_by_light(product: Product, sensor: str | None) -> dict[str, str]:
    """Look up the bands of a product by the common names of their light."""
    found: dict[str, str] = {}
    for band in product.sources:
        known = find_band(sensor, band)
        common = common_name(band) if known is None else known.common
        if common is not None:
            found.setdefault(common, band)
    return found


def _shared_light(products: Sequence[Product], sensors: Sequence[str | None]) -> list[str]:
    """List the light that all products hold, in the order of wavelengths."""
    first, *others = (_bands_by_light(p, s) for p, s in zip(products, sensors, strict=True))
    return [common for common in first if all(common in other for other in others)]


def with_all_bands(
    products: Sequence[Product], bands: Sequence[str], unreadable: Literal['raise', 'skip']
) -> list[Product]:
    """Keep the products that hold all of *bands*, and only the files that hold one of them."""
    complete, lacking = [], []
    for product in products:
        missing = [band for band in bands if band not in product.sources]
        if missing:
            path, name = product.rasters[0].path, product.name
            lacking.append(
                f'{"/".join(missing)} of {name.time:%Y-%m-%d} '
                f'({PurePath(path).parent / name.product}, * for the band)'
            )
            continue
        used = {product.sources[band][0] for band in bands}
        kept = tuple(raster for raster in product.rasters if raster.path in used)
        whole = len(kept) == len(product.rasters)
        complete.append(product if whole else replace(product, rasters=kept))
    if lacking and (unreadable == 'raise' or not complete):
        raise SITSError(
            f'{len(lacking)} of {len(products)} products lack a band: {list_examples(lacking)}. '
            'Fetch the missing files, give only bands that all have in `bands`, or leave these '
            "products out with unreadable='skip'."
        )
    if lacking:
        warnings.warn(
            f'{len(lacking)} of {len(products)} products lack a band and are left out: '
            f'{list_examples(lacking)}',
            UserWarning,
            stacklevel=4,
        )
    return complete


def product_index(
    products: Sequence[Product],
    *,
    group_by: Literal['day', 'time'],
    target: RasterCRS,
    crs: CRS,
) -> GeoDataFrame:
    """Index products by footprint and interval, as TorchGeo's samplers and splitters read it.

    Args:
        products: The products.
        group_by: What makes products one acquisition.
        target: The CRS of all samples.
        crs: The same as GeoPandas holds it.

    Returns:
        ``filepath`` of the first file (:attr:`Product.key`) and the footprint that all files
        share, by interval.
    """
    rasters = [raster for product in products for raster in product.rasters]
    counts = [len(product.rasters) for product in products]
    starts = np.cumsum([0, *counts[:-1]])
    bounds = extents(rasters, target)
    low = np.maximum.reduceat(bounds[:, :2], starts)
    high = np.minimum.reduceat(bounds[:, 2:], starts)
    shared = shapely.box(*low.T, *high.T)
    shared[(low >= high).any(axis=1)] = shapely.Polygon()
    return GeoDataFrame(
        {'filepath': [product.key for product in products]},
        index=acquisition_intervals([product.name for product in products], group_by),
        geometry=shared,
        crs=crs,
    )


def rank_products(
    products: Sequence[Product], index: GeoDataFrame, *, group_by: Literal['day', 'time']
) -> list[Product]:
    """Order products that cover the same pixels at one acquisition, see :func:`rank_rivals`.

    Args:
        products: The products.
        index: What :func:`product_index` made of them.
        group_by: What makes products one acquisition.

    Returns:
        The products with their ranks.
    """
    times = pd.DatetimeIndex([product.name.time for product in products]).as_unit('us').asi8
    ranks = rank_rivals(
        [product.rasters[0].path for product in products],
        [product.name for product in products],
        np.asarray(index.geometry),
        acquisition_keys(times, group_by, per_second=1_000_000),
        group_by=group_by,
    )
    return [
        replace(product, rank=rank) if rank else product
        for product, rank in zip(products, ranks, strict=True)
    ]


def acquisition_intervals(
    names: Sequence[RasterName], group_by: Literal['day', 'time']
) -> pd.IntervalIndex:
    """Find the first and last instant of the acquisitions of files, for an index.

    Args:
        names: What the file names say.
        group_by: Whether all files of a UTC day are one acquisition, or those of one instant.

    Returns:
        Both ends, closed. Under ``'day'`` whole days, so that whoever takes an interval of
        the index for a window gets all tiles of that day.
    """
    first = pd.DatetimeIndex([name.time for name in names])
    last = pd.DatetimeIndex([name.stop for name in names])
    if group_by == 'day':
        first = first.normalize()
        end = first + (pd.Timedelta(days=1) - pd.Timedelta(microseconds=1))
        last = last.where(last > end, end)
    return pd.IntervalIndex.from_arrays(first, last, closed='both', name='datetime')


def to_pyproj(crs: RasterCRS) -> CRS:
    """Turn a CRS of rasterio into one of pyproj, as TorchGeo and GeoPandas hold it."""
    return CRS.from_wkt(crs.to_wkt(version='WKT2_2019'))


def extents(
    rasters: Sequence[RasterFile], crs: RasterCRS, *, near: float | None = None
) -> NDArray[np.float64]:
    """Find the bounds of N rasters in another CRS.

    Bounds in degrees go on beyond 180 for a raster that lies across that line: they are 179.9 to
    180.1, or -180.1 to -179.9, whichever is nearer to the others. Other CRS end somewhere, too;
    of a raster across such an edge the larger part counts, with one warning.

    Args:
        rasters: The rasters.
        crs: The CRS.
        near: Longitude that counts as the place of the others; by default where they lie.

    Returns:
        West, south, east, north in units of *crs*, ``(N, 4)``.

    Raises:
        SITSError: If a raster has no place in *crs*.
    """
    warped: dict[tuple[RasterCRS, Bounds], Bounds] = {}  # a tile has the same in all its files
    cut: dict[tuple[RasterCRS, Bounds], str] = {}
    bounds = []
    for raster in rasters:
        if raster.crs == crs:
            bounds.append(raster.bounds)
            continue
        place = raster.crs, raster.bounds
        if place not in warped:
            warped[place], whole = _warped_bounds(raster, crs)
            if not whole:
                cut[place] = raster.path
        bounds.append(warped[place])
    found = np.array(bounds)
    if crs.is_geographic:
        turn = 2 * math.pi / crs.units_factor[1]
        across = found[:, 0] > found[:, 2]
        found[across, 2] += turn
        middle = found[:, [0, 2]].mean(axis=1)
        if near is None:
            near = float(np.median(middle[~across])) if not across.all() else 0.0
        back = across & (np.abs(middle - turn - near) < np.abs(middle - near))
        found[np.ix_(back, [0, 2])] -= turn
    if cut:
        warnings.warn(
            f'{len(cut)} rasters lie across the edge of {crs_name(crs)}, as at the meridian '
            f'of 180 degrees, and only the larger part of each is read: '
            f'{list_examples(list(cut.values()))}. Give another `crs`, such as '
            f"'{next(iter(cut))[0].to_string()[:60]}'.",
            UserWarning,
            stacklevel=4,
        )
    return found


def _warped_bounds(raster: RasterFile, crs: RasterCRS) -> tuple[Bounds, bool]:
    """Warp the bounds of a raster; False where they are those of a part, cut by an edge."""
    west, south, east, north = raster.bounds
    side = np.linspace(0, 1, 22)[:-1]
    x = west + (east - west) * np.concatenate([side, 0 * side + 1, 1 - side, 0 * side])
    y = south + (north - south) * np.concatenate([0 * side, side, 0 * side + 1, 1 - side])
    try:
        found = transform_bounds(raster.crs, crs, *raster.bounds)
        outline = np.array(transform(raster.crs, crs, x.tolist(), y.tolist()))
    except (RasterioError, CPLE_BaseError) as error:
        raise _no_place(raster, crs) from error
    if not np.isfinite(found).all():
        raise _no_place(raster, crs)
    steps = np.abs(np.diff(outline[0], append=outline[0, :1]))
    if crs.is_geographic or steps.max() < 0.5 * (found[2] - found[0]):
        return found, True
    east_side = outline[0] > outline[0].mean()
    larger = outline[:, east_side if east_side.sum() * 2 > len(x) else ~east_side]
    reach = np.sort(steps)[-3]  # the longest step that is none across the edge
    low, high = larger.min(axis=1), larger.max(axis=1)
    return (low[0] - reach, low[1], high[0] + reach, high[1]), False


def _no_place(raster: RasterFile, crs: RasterCRS) -> SITSError:
    """The error of a raster that cannot be warped."""
    return SITSError(
        f"'{raster.path}' has no place in {crs_name(crs)}: it lies where that CRS is not "
        f"made for. Give another `crs`, such as its own, '{raster.crs.to_string()[:60]}'"
    )


def common_crs(rasters: Sequence[RasterFile], crs: CRS | None) -> RasterCRS:
    """Choose the CRS of all samples, and warn of files that must be warped to it.

    Args:
        rasters: The rasters.
        crs: What the user chose, if anything; else that of the first raster.

    Returns:
        The CRS.

    Raises:
        SITSError: If *crs* is none.
    """
    try:
        target = rasters[0].crs if crs is None else RasterCRS.from_user_input(crs)
    except (CRSError, ValueError) as error:
        raise SITSError(
            f"crs={crs!r} is no coordinate reference system, such as 'EPSG:32631': {error}"
        ) from error
    others = [raster.path for raster in rasters if raster.crs != target]
    if others and crs is None:
        warnings.warn(
            f'{len(others)} of {len(rasters)} rasters are in another CRS than '
            f"'{rasters[0].path}' and are warped to its own ({crs_name(target)}): "
            f'{list_examples(others)}. Give `crs` for another choice.',
            UserWarning,
            stacklevel=3,
        )
    return target


def finest(rasters: Sequence[RasterFile], crs: RasterCRS) -> tuple[float, float]:
    """Find the size of the smallest pixel among rasters, in units of *crs*."""
    same = [raster.res for raster in rasters if raster.crs == crs]
    if same:
        return min(same)
    raster = min(rasters, key=lambda s: s.res)
    left, bottom, right, top = raster.bounds
    width = round((right - left) / raster.res[0])
    height = round((top - bottom) / raster.res[1])
    west, south, east, north = extents([raster], crs)[0].tolist()
    if crs.is_geographic and (west < -180 or east > 180):
        # What GDAL finds spans the whole Earth. It keeps the length of the diagonal.
        size = math.hypot(east - west, north - south) / math.hypot(width, height)
        return size, size
    grid, *_ = calculate_default_transform(raster.crs, crs, width, height, *raster.bounds)
    return float(grid.a), float(-grid.e)

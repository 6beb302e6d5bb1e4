"""Products of a collection: which files belong together, which bands they hold, where they lie."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.crs import CRS as RasterCRS
from rasterio.errors import CRSError
from rasterio.warp import calculate_default_transform, transform_bounds

from ..errors import SITSError
from .filenames import ANCILLARY_BANDS, RasterName
from .files import RasterFile, list_examples
from .headers import Bounds

__all__ = [
    'Product',
    'acquisition_intervals',
    'catalogue',
    'common_crs',
    'extents',
    'finest',
    'product_index',
    'to_pyproj',
]


@dataclass(frozen=True, slots=True)
class Product:
    """Delivery of an acquisition: a multi-band file, or the files of its bands.

    Attributes:
        name: What the names say; the bands of a product agree in it but for the band.
        rasters: The files, in the order of their paths.
        sources: Band -> file and number of the band in it.
    """

    name: RasterName
    rasters: tuple[RasterFile, ...]
    sources: dict[str, tuple[str, int]]


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

    Files that hold a single band, named in the file name, are the bands of products; all
    others are products of their own.

    Args:
        rasters: What :func:`scan` found.
        bands: Bands that each product must hold; None for *default_bands*.
        unreadable: What to do about a product without one of *bands*.
        band_name: Spelling of a band that is found in a file or a name.
        default_band_names: Names for so many bands that carry none.
        default_bands: Which to read of all spectral bands found.

    Returns:
        The products in the order of time and name, all bands found, and the bands to read.

    Raises:
        SITSError: If files differ in number or names of bands, a band is unknown, or a
            product lacks one.
    """
    separate = [s for s in rasters if s.name.band is not None and len(s.indexes) == 1]
    if separate and len(separate) < len(rasters):
        spectral = [s for s in separate if not _is_ancillary(s)]
        if spectral:
            bands_of_products = {s.path for s in separate}
            others = [
                s for s in rasters if s.path not in bands_of_products and not _is_ancillary(s)
            ]
            if others:
                raise SITSError(
                    f"'{spectral[0].path}' holds the band {spectral[0].name.band} of a product, "
                    f"but '{others[0].path}' holds {len(others[0].indexes)} bands without one "
                    'band in its name: keep one layout per dataset, and masks in cloud_paths'
                )
        else:  # masks beside multi-band files
            separate = []
            rasters = [s for s in rasters if not _is_ancillary(s)]
    if separate:
        products = _products_of_bands(separate, band_name)
    else:
        products = _products_of_files(rasters, band_name, default_band_names)

    found = {band: None for product in products for band in product.sources}
    spectral_bands = [b for b in found if b.upper() not in ANCILLARY_BANDS]
    all_bands = tuple(sorted(spectral_bands, key=_band_order)) if separate else tuple(found)
    all_bands = all_bands or tuple(found)  # a folder of masks only is a series of masks
    wanted = tuple(bands) if bands is not None else default_bands(all_bands)
    unknown = [band for band in wanted if band not in found]
    if unknown:
        raise SITSError(
            f'unknown bands {unknown}: the files hold {tuple(found)}. Give some of these names, '
            'in the order in which the channels are wanted.'
        )
    if not wanted:
        raise SITSError('bands is empty: name at least one, or leave it None for all')
    complete = _with_all_bands(products, wanted, unreadable)
    complete.sort(key=lambda product: (product.name.time, product.rasters[0].path))
    return complete, all_bands, wanted


def _is_ancillary(raster: RasterFile) -> bool:
    """Tell by its name whether a file is a mask or another companion of the bands."""
    return raster.name.band is not None and raster.name.band.upper() in ANCILLARY_BANDS


def _band_order(band: str) -> tuple[float, str]:
    """Sort B8A between B8 and B9, B10 after B9, and names without a number behind."""
    digits = ''.join(c for c in band if c.isdigit())
    if not digits:
        return float('inf'), ''
    return int(digits) + 0.5 * band.upper().endswith('A'), band


def _products_of_files(
    rasters: Sequence[RasterFile],
    band_name: Callable[[str], str],
    default_band_names: Callable[[int], tuple[str, ...]],
) -> list[Product]:
    """Make each file a product, its bands by their descriptions, else by their place."""
    first = rasters[0]
    for raster in rasters:
        if len(raster.indexes) != len(first.indexes):
            raise SITSError(
                f"rasters differ in their number of bands: '{first.path}' has "
                f"{len(first.indexes)}, '{raster.path}' has {len(raster.indexes)}. Keep images of "
                'one kind in a folder (masks of clouds go to cloud_paths, labels to a dataset '
                'of their own).'
            )
    described = next((s for s in rasters if s.descriptions), None)
    names = described.descriptions if described else default_band_names(len(first.indexes))
    bands = tuple(band_name(name) for name in names)
    products = []
    for raster in rasters:
        own = tuple(band_name(name) for name in raster.descriptions) or bands
        if set(own) != set(bands):
            raise SITSError(
                f"rasters differ in their bands: '{described.path if described else first.path}' "
                f"has {bands}, '{raster.path}' has {own}. Keep images of one kind in a folder."
            )
        index = dict(zip(own, raster.indexes, strict=True))
        sources = {band: (raster.path, index[band]) for band in bands}
        products.append(Product(raster.name, (raster,), sources))
    return products


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


def _with_all_bands(
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
        complete.append(Product(product.name, kept, product.sources))
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
        ``filepath`` of the first file and the footprint that all files share, by interval.
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
        {'filepath': [product.rasters[0].path for product in products]},
        index=acquisition_intervals([product.name for product in products], group_by),
        geometry=shared,
        crs=crs,
    )


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


def extents(rasters: Sequence[RasterFile], crs: RasterCRS) -> NDArray[np.float64]:
    """Bounds of N rasters in units of *crs*: west, south, east, north, ``(N, 4)``."""
    warped: dict[tuple[RasterCRS, Bounds], Bounds] = {}  # a tile has the same in all its files
    bounds = []
    for raster in rasters:
        if raster.crs == crs:
            bounds.append(raster.bounds)
            continue
        place = raster.crs, raster.bounds
        if place not in warped:
            warped[place] = transform_bounds(raster.crs, crs, *raster.bounds)
        bounds.append(warped[place])
    return np.array(bounds)


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
            f"'{rasters[0].path}' and are warped to its own ({target.to_string()[:60]}): "
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
    transform, *_ = calculate_default_transform(raster.crs, crs, width, height, *raster.bounds)
    return float(transform.a), float(-transform.e)

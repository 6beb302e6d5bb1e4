"""From files to products: which files belong together, and which bands they hold."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath
from typing import Literal

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.crs import CRS as RasterCRS

from ..errors import SITSError
from .filenames import ANCILLARY_BANDS, RasterName
from .scenes import Scene, extents, list_examples

__all__ = [
    'Product',
    'acquisition_intervals',
    'acquisition_keys',
    'catalogue',
    'group_products',
    'product_index',
]


@dataclass(frozen=True, slots=True)
class Product:
    """One delivery of one acquisition: a multi-band file, or the files of its bands.

    Attributes:
        name: What the names say; the bands of a product agree in it but for the band.
        scenes: The files, in the order of their paths.
        sources: Band -> file and number of the band in it.
    """

    name: RasterName
    scenes: tuple[Scene, ...]
    sources: dict[str, tuple[str, int]]


def catalogue(
    scenes: Sequence[Scene],
    *,
    bands: Sequence[str] | None,
    unreadable: Literal['raise', 'skip'],
    band_name: Callable[[str], str],
    default_names: Callable[[int], tuple[str, ...]],
    default_bands: Callable[[tuple[str, ...]], tuple[str, ...]],
) -> tuple[list[Product], tuple[str, ...], tuple[str, ...]]:
    """Group files to products and find the names of their bands.

    Files that hold a single band, named in the file name, are the bands of products; all
    others are products of their own.

    Args:
        scenes: What :func:`scan` found.
        bands: Bands that each product must hold; None for *default_bands*.
        unreadable: What to do about a product without one of *bands*.
        band_name: Spelling of a band that is found in a file or a name.
        default_names: Names for so many bands that carry none.
        default_bands: Which to read of all spectral bands found.

    Returns:
        The products in the order of time and name, all bands found, and the bands to read.

    Raises:
        SITSError: If files differ in number or names of bands, a band is unknown, or a
            product lacks one.
    """
    separate = [s for s in scenes if s.name.band is not None and len(s.indexes) == 1]
    if separate and len(separate) < len(scenes):
        spectral = [s for s in separate if not _is_ancillary(s)]
        if spectral:
            bands_of_products = {s.path for s in separate}
            others = [s for s in scenes if s.path not in bands_of_products and not _is_ancillary(s)]
            if others:
                raise SITSError(
                    f"'{spectral[0].path}' holds the band {spectral[0].name.band} of a product, "
                    f"but '{others[0].path}' holds {len(others[0].indexes)} bands without one "
                    'band in its name: keep one layout per dataset, and masks in cloud_paths'
                )
        else:  # masks beside multi-band files
            separate = []
            scenes = [s for s in scenes if not _is_ancillary(s)]
    if separate:
        products = _products_of_bands(separate, band_name)
    else:
        products = _products_of_files(scenes, band_name, default_names)

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
    complete.sort(key=lambda product: (product.name.time, product.scenes[0].path))
    return complete, all_bands, wanted


def _is_ancillary(scene: Scene) -> bool:
    """Whether the name says that the file is a mask or another companion of the bands."""
    return scene.name.band is not None and scene.name.band.upper() in ANCILLARY_BANDS


def _band_order(band: str) -> tuple[float, str]:
    """Sort B8A between B8 and B9, B10 after B9, and names without a number behind."""
    digits = ''.join(c for c in band if c.isdigit())
    if not digits:
        return float('inf'), ''
    return int(digits) + 0.5 * band.upper().endswith('A'), band


def _products_of_files(
    scenes: Sequence[Scene],
    band_name: Callable[[str], str],
    default_names: Callable[[int], tuple[str, ...]],
) -> list[Product]:
    """One product per file; bands by their descriptions, else by their place."""
    first = scenes[0]
    for scene in scenes:
        if len(scene.indexes) != len(first.indexes):
            raise SITSError(
                f"rasters differ in their number of bands: '{first.path}' has "
                f"{len(first.indexes)}, '{scene.path}' has {len(scene.indexes)}. Keep images of "
                'one kind in a folder (masks of clouds go to cloud_paths, labels to a dataset '
                'of their own).'
            )
    described = next((s for s in scenes if s.descriptions), None)
    names = described.descriptions if described else default_names(len(first.indexes))
    bands = tuple(band_name(name) for name in names)
    products = []
    for scene in scenes:
        own = tuple(band_name(name) for name in scene.descriptions) or bands
        if set(own) != set(bands):
            raise SITSError(
                f"rasters differ in their bands: '{described.path if described else first.path}' "
                f"has {bands}, '{scene.path}' has {own}. Keep images of one kind in a folder."
            )
        index = dict(zip(own, scene.indexes, strict=True))
        sources = {band: (scene.path, index[band]) for band in bands}
        products.append(Product(scene.name, (scene,), sources))
    return products


def _products_of_bands(scenes: Sequence[Scene], band_name: Callable[[str], str]) -> list[Product]:
    """One product per name without its band; of a band in several resolutions the finest."""
    groups: dict[tuple[str, ...], list[Scene]] = defaultdict(list)
    for scene in scenes:
        folder = PurePath(scene.path).parent
        # Sentinel-2 keeps the bands of a product in R10m, R20m and R60m; others a folder
        # per band.
        own = folder.name.upper() in {'R10M', 'R20M', 'R60M', str(scene.name.band).upper()}
        groups[str(folder.parent if own else folder), scene.name.product].append(scene)

    products = []
    for group in groups.values():
        finest: dict[str, Scene] = {}
        for scene in sorted(group, key=lambda s: (s.res, s.path)):
            finest.setdefault(band_name(str(scene.name.band)), scene)
        kept = tuple(sorted(finest.values(), key=lambda s: s.path))
        sources = {band: (scene.path, scene.indexes[0]) for band, scene in finest.items()}
        products.append(Product(kept[0].name, kept, sources))
    return products


def _with_all_bands(
    products: Sequence[Product], bands: Sequence[str], unreadable: Literal['raise', 'skip']
) -> list[Product]:
    """The products that hold all of *bands*, and only the files that hold one of them."""
    complete, lacking = [], []
    for product in products:
        missing = [band for band in bands if band not in product.sources]
        if missing:
            path, name = product.scenes[0].path, product.name
            lacking.append(
                f'{"/".join(missing)} of {name.time:%Y-%m-%d} '
                f'({PurePath(path).parent / name.product}, * for the band)'
            )
            continue
        used = {product.sources[band][0] for band in bands}
        kept = tuple(scene for scene in product.scenes if scene.path in used)
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


_DAY = 24 * 60 * 60  # seconds


def product_index(
    products: Sequence[Product],
    *,
    group_by: Literal['day', 'time'],
    target: RasterCRS,
    crs: CRS,
) -> GeoDataFrame:
    """One row per product, as TorchGeo's samplers and splitters read them.

    Args:
        products: The products.
        group_by: What makes products one acquisition.
        target: The CRS of all samples.
        crs: The same as GeoPandas holds it.

    Returns:
        ``filepath`` of the first file and the footprint that all files share, by interval.
    """
    scenes = [scene for product in products for scene in product.scenes]
    counts = [len(product.scenes) for product in products]
    starts = np.cumsum([0, *counts[:-1]])
    bounds = extents(scenes, target)
    low = np.maximum.reduceat(bounds[:, :2], starts)
    high = np.minimum.reduceat(bounds[:, 2:], starts)
    shared = shapely.box(*low.T, *high.T)
    shared[(low >= high).any(axis=1)] = shapely.Polygon()
    return GeoDataFrame(
        {'filepath': [product.scenes[0].path for product in products]},
        index=acquisition_intervals([product.name for product in products], group_by),
        geometry=shared,
        crs=crs,
    )


def group_products(
    products: Sequence[Product], group_by: Literal['day', 'time']
) -> list[list[Product]]:
    """Products of each acquisition.

    Args:
        products: Some products of a window.
        group_by: What makes products one acquisition: the UTC day, or the time.

    Returns:
        Acquisitions in the order of time, the products of each in that of their names.
    """

    def key(product: Product) -> pd.Timestamp:
        time = product.name.time
        return time.normalize() if group_by == 'day' else time

    ordered = sorted(products, key=lambda product: (key(product), product.scenes[0].path))
    return [list(group) for _, group in groupby(ordered, key)]


def acquisition_intervals(
    names: Sequence[RasterName], group_by: Literal['day', 'time']
) -> pd.IntervalIndex:
    """First and last instant of the acquisitions that names belong to, for an index.

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


def acquisition_keys(
    seconds: NDArray[np.int64], group_by: Literal['day', 'time']
) -> NDArray[np.int64]:
    """What frames of one acquisition have in common.

    Args:
        seconds: When frames were taken, seconds since 1970 UTC, ``(N,)``.
        group_by: What makes them one acquisition: the UTC day, or the time.

    Returns:
        ``(N,)``, equal for those of one acquisition and ascending with time.
    """
    return seconds // _DAY if group_by == 'day' else seconds

"""From products to acquisitions: which ones make one frame, and the index of them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.crs import CRS as RasterCRS

from .catalogue import Product
from .filenames import RasterName
from .footprints import extents

__all__ = ['acquisition_intervals', 'acquisition_keys', 'group_products', 'product_index']

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

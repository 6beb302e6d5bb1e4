"""From products to acquisitions: which ones make one frame, and the index of them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import pandas as pd
import shapely
from geopandas import GeoDataFrame
from pyproj import CRS
from rasterio.crs import CRS as RasterCRS

from .catalogue import Product
from .filenames import RasterName
from .footprints import footprint

__all__ = ['acquisition_interval', 'group_products', 'product_index']


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
    intervals = [acquisition_interval(product.name, group_by) for product in products]
    return GeoDataFrame(
        {'filepath': [product.scenes[0].path for product in products]},
        index=pd.IntervalIndex.from_tuples(intervals, closed='both', name='datetime'),
        geometry=[
            shapely.intersection_all([footprint(s, target) for s in product.scenes])
            for product in products
        ],
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


def acquisition_interval(
    name: RasterName, group_by: Literal['day', 'time']
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last instant of the acquisition that a name belongs to, for an index.

    Args:
        name: What the file name says.
        group_by: Whether all files of a UTC day are one acquisition, or those of one instant.

    Returns:
        Both ends, closed. Under ``'day'`` whole days, so that whoever takes an interval of
        the index for a window gets all tiles of that day.
    """
    if group_by == 'time':
        return name.time, name.stop
    day = pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
    return name.time.normalize(), max(name.time.normalize() + day, name.stop)

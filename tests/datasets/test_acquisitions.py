"""The index of products: footprints and intervals against one-by-one computations."""

import numpy as np
import pandas as pd
import shapely
from rasterio.crs import CRS
from rasterio.transform import from_bounds
from rasterio.warp import transform_bounds

from torchgeo_sits.datasets.catalogue import Product, product_index, to_pyproj
from torchgeo_sits.datasets.filenames import parse_name
from torchgeo_sits.datasets.files import RasterFile

UTM31, UTM32 = CRS.from_epsg(32631), CRS.from_epsg(32632)


def raster(name: str, bounds: tuple[float, float, float, float], crs: CRS = UTM31) -> RasterFile:
    return RasterFile(
        crs=crs,
        transform=from_bounds(*bounds, 10, 10),
        width=10,
        height=10,
        bounds=bounds,
        res=((bounds[2] - bounds[0]) / 10, (bounds[3] - bounds[1]) / 10),
        block=(10, 10),
        indexes=(1,),
        descriptions=(),
        dtypes=('uint16',),
        nodata=(None,),
        scales=(1.0,),
        offsets=(0.0,),
        is_map=False,
        path=name,
        name=parse_name(name),
    )


def test_footprints_are_what_all_files_of_a_product_share() -> None:
    rng = np.random.default_rng(0)
    products = []
    for i in range(40):
        rasters = []
        for band in range(1, 2 + i % 4):
            left, bottom = rng.uniform(0, 150, 2)
            crs, x = (UTM32, 76_000) if band == 2 else (UTM31, 500_000)
            bounds = (x + left, 5.6e6 + bottom, x + left + 100, 5.6e6 + bottom + 100)
            rasters.append(raster(f'p{i}_20200101_B{band}.tif', bounds, crs))
        products.append(Product(rasters[0].name, tuple(rasters), {}))
    index = product_index(products, group_by='day', target=UTM31, crs=to_pyproj(UTM31))
    empty = 0
    for found, product in zip(index.geometry, products, strict=True):
        boxes = [
            shapely.box(
                *(s.bounds if s.crs == UTM31 else transform_bounds(UTM32, UTM31, *s.bounds))
            )
            for s in product.rasters
        ]
        expected = shapely.intersection_all(boxes)
        empty += expected.is_empty
        assert found.is_empty == expected.is_empty
        assert found.symmetric_difference(expected).area < 1e-6
    assert 0 < empty < 40


def test_intervals() -> None:
    names = ['a_20200101.tif', 'a_20200102T101112.tif', 'a_20200101T235959.tif']
    products = [Product(parse_name(name), (raster(name, (0, 0, 1, 1)),), {}) for name in names]
    options = {'target': UTM31, 'crs': to_pyproj(UTM31)}
    stamp = pd.Timestamp

    days = product_index(products, group_by='day', **options).index
    assert days.closed == 'both'
    assert days.name == 'datetime'
    assert list(days.left) == [stamp(f'2020-01-0{day}') for day in (1, 2, 1)]
    assert list(days.right) == [stamp(f'2020-01-0{day} 23:59:59.999999') for day in (1, 2, 1)]

    times = product_index(products, group_by='time', **options).index
    assert times[1].left == stamp('2020-01-02 10:11:12')
    assert times[1].right == stamp('2020-01-02 10:11:12.999999')
    assert times[0].right == stamp('2020-01-01 23:59:59.999999')

    # A name that stands for many days keeps them.
    regex = r'(?P<start>\d{8})-(?P<stop>\d{8})'
    name = parse_name('20200101-20200116.tif', filename_regex=regex)
    long = Product(name, products[0].rasters, {})
    day = product_index([long], group_by='day', **options).index[0]
    assert (day.left, day.right) == (stamp('2020-01-01'), stamp('2020-01-16 23:59:59.999999'))

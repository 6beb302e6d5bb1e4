"""A raster of one band, for tests."""

import rasterio
from rasterio.transform import from_origin


def write(path, values, *, origin=(600000, 5000000), res=10, crs='EPSG:32631', **profile):
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=from_origin(*origin, res, res),
        **profile,
    ) as file:
        file.write(values[None])
    return str(path)

"""Parcels and patches of change as polygons."""

from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.features import shapes
from shapely.geometry import shape

__all__ = ['VectorFormat', 'write_polygons']

type VectorFormat = Literal['gpkg', 'parquet']


def write_polygons(raster: Path, path: Path, *, classes: list[str]) -> None:
    """Write the connected pixels of one class as polygons, with their class and area.

    Args:
        raster: Raster of classes in one band.
        path: GeoPackage (``.gpkg``) or GeoParquet (``.parquet``), which gets its name when it
            is whole.
        classes: Names of the classes, from 0.
    """
    with rasterio.open(raster) as file:
        nodata, crs = file.nodata, file.crs
        found = [
            (shape(outline), int(value))
            # By the band, not by its pixels: these are then read line by line.
            for outline, value in shapes(rasterio.band(file, 1), transform=file.transform)
            if value != nodata
        ]
    table = gpd.GeoDataFrame(
        {
            'class': np.array([value for _, value in found], np.int32),
            'name': [classes[int(value)] for _, value in found],
        },
        geometry=[outline for outline, _ in found],
        crs=crs,
    )
    table['area'] = table.area
    whole = path.with_name(f'.{path.name}')
    whole.unlink(missing_ok=True)
    if path.suffix == '.parquet':
        table.to_parquet(whole)
    else:
        table.to_file(whole, driver='GPKG', layer=raster.stem)
    whole.replace(path)

"""Cloud-Optimised GeoTIFFs, written block by block."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.features import shapes
from rasterio.io import DatasetWriter
from rasterio.shutil import copy
from shapely.geometry import shape

from ..grid import Grid
from .outputs import MapOutput

__all__ = ['BLOCK', 'VectorFormat', 'draft', 'finish', 'write_polygons']

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


#: Side of a tile of the files in pixels.
BLOCK = 512
#: Megabytes of pixels that GDAL keeps: a twentieth of the memory of the machine otherwise.
_CACHE = 128


@contextmanager
def draft(
    path: Path, output: MapOutput, grid: Grid, channels: int, tags: Mapping[str, str]
) -> Iterator[DatasetWriter]:
    """Open a raster to be written block by block, with all that is said of its pixels.

    Args:
        path: Its path, which :func:`finish` takes.
        output: What is drawn.
        grid: Extent, pixels and coordinate reference system.
        channels: Number of channels that it is drawn from.
        tags: Tags beside those of *output*.

    Yields:
        The open file.
    """
    bands = output.bands(channels)
    profile: dict[str, Any] = {
        'driver': 'GTiff',
        'width': grid.width,
        'height': grid.height,
        'count': len(bands),
        'dtype': output.dtype,
        'nodata': output.nodata,
        'crs': grid.crs,
        'transform': grid.transform,
        'tiled': True,
        'blockxsize': BLOCK,
        'blockysize': BLOCK,
        'bigtiff': 'if_safer',
        # Else a block of many bands is a tile of each, far apart in the file.
        'interleave': 'pixel',
    }
    with rasterio.Env(GDAL_CACHEMAX=_CACHE), rasterio.open(path, 'w', **profile) as file:
        file.update_tags(**tags, **output.tags())
        for i, name in enumerate(bands, 1):
            file.set_band_description(i, name)
        if (scales := output.scales()) is not None:
            file.scales, file.offsets = scales
        if (colours := output.colours()) is not None:
            file.write_colormap(1, colours)
        yield file


def finish(path: Path, final: Path, output: MapOutput) -> None:
    """Turn a draft into a Cloud-Optimised GeoTIFF, which gets its name when it is whole.

    Args:
        path: The draft, deleted at the end.
        final: The file to write.
        output: What it shows.
    """
    whole = final.with_name(f'.{final.name}')
    with rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_NUM_THREADS='ALL_CPUS'):
        copy(
            path,
            whole,
            driver='COG',
            COMPRESS='DEFLATE',
            PREDICTOR='YES',
            BLOCKSIZE=BLOCK,
            RESAMPLING=output.resampling.upper(),
            BIGTIFF='IF_SAFER',
        )
    whole.replace(final)
    path.unlink()

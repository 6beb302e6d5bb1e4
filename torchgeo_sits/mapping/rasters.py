"""The files of maps: drafts that are written block by block, and what they become."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio.io import DatasetWriter
from rasterio.shutil import copy

from ..grid import Grid
from ..whole_files import whole_file
from .outputs import MapOutput

__all__ = ['BLOCK', 'draft_raster', 'finish_raster']

#: Side of a tile of the files in pixels.
BLOCK: Final = 512
#: Megabytes of pixels that GDAL keeps: a twentieth of the memory of the machine otherwise.
_CACHE: Final = 128


@contextmanager
def draft_raster(
    path: Path, output: MapOutput, grid: Grid, channels: int, tags: Mapping[str, str]
) -> Iterator[DatasetWriter]:
    """Open a raster to be written block by block, with all tags, names and colours.

    Args:
        path: Its path, which :func:`finish_raster` takes.
        output: Map to draw.
        grid: Extent, pixels and coordinate reference system.
        channels: Number of channels of the values that it is drawn from.
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


def finish_raster(path: Path, final: Path, output: MapOutput) -> None:
    """Turn a draft into a Cloud-Optimised GeoTIFF, which gets its name when it is whole.

    Args:
        path: The draft, deleted at the end.
        final: The file to write.
        output: Map that it shows.
    """
    settings = rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_NUM_THREADS='ALL_CPUS')
    with whole_file(final) as whole, settings:
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
    path.unlink()

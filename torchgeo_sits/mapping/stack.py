"""Embeddings of several steps in time as one Zarr store."""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
import zarr
from pyproj import CRS
from rasterio.windows import Window
from shapely.geometry import box
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ZarrUserWarning

from ..datasets.cubes.layout import group_attributes, write_coordinates
from ..errors import SITSError
from ..grid import Grid
from ..time_steps import DaySpan
from ..whole_files import whole_file
from .outputs import Embedding
from .windows import raster_blocks

__all__ = ['write_stack']

#: Side of a chunk in pixels.
_CHUNK: Final = 64
#: Side of the blocks that are read, whole chunks and those of the rasters.
_BLOCK: Final = 512


def write_stack(maps: Mapping[Embedding, Path], path: Path) -> None:
    """Write rasters of embeddings as one Zarr store, with time as an axis.

    ``embedding`` ``(time, band, y, x)`` holds the pixels as they are in the rasters, NaN where
    nothing was observed. Where they are quantised it is bytes, 0 for no data, and
    ``embedding * scale + offset`` gives the values, with ``scale`` and ``offset`` ``(time, band)``.
    ``time`` is the last day of a step, ``time_bounds`` its first day and the day after the last.
    Coordinates are those of a cube of :func:`~torchgeo_sits.datasets.write_cube`; xarray opens it.

    Args:
        maps: Embeddings of one grid and their rasters, in the order of time.
        path: The store, which gets its name when it is whole.

    Raises:
        SITSError: If there is an embedding without days.
        OSError: If a raster cannot be read, or the store cannot be written.
    """
    spans = [step.span for step in maps if step.span is not None]
    if len(spans) < len(maps):
        raise SITSError('a store of embeddings is for steps in time: give --every, such as 14d')
    first = next(iter(maps.values()))
    with rasterio.open(first) as file:
        west, north, (xres, yres) = file.bounds.left, file.bounds.top, file.res
        grid = Grid(west, north, xres, yres, file.width, file.height, file.crs)
        bands, dtype = list(file.descriptions), np.dtype(file.dtypes[0])
        crs = CRS.from_user_input(file.crs.to_wkt())
    is_quantised = dtype.kind == 'u'
    with whole_file(path) as draft:
        group = zarr.create_group(draft, attributes=group_attributes(grid, crs))
        write_coordinates(
            group,
            grid,
            crs,
            bands=bands,
            times=np.array([_seconds(span)[0] for span in spans]),
            spans=np.array([_seconds(span)[1:] for span in spans]),
            footprints=[box(*grid.bounds).wkt] * len(spans),
        )
        array = group.create_array(
            'embedding',
            shape=(len(maps), len(bands), grid.height, grid.width),
            chunks=(1, len(bands), min(_CHUNK, grid.height), min(_CHUNK, grid.width)),
            dtype=dtype,
            fill_value=0 if is_quantised else np.nan,
            compressors=[BloscCodec(cname='zstd', clevel=3), Crc32cCodec()],
            dimension_names=('time', 'band', 'y', 'x'),
            attributes={
                'long_name': 'features of the days up to each time',
                'grid_mapping': 'spatial_ref',
                'coordinates': 'spatial_ref',
            },
        )
        levels = np.ones((2, len(maps), len(bands)))
        for i, raster in enumerate(maps.values()):
            with rasterio.open(raster) as file:
                levels[:, i] = file.scales, file.offsets
                for place in raster_blocks(grid.height, grid.width, _BLOCK):
                    array[i, :, place[0], place[1]] = file.read(window=Window.from_slices(*place))
        if is_quantised:
            for name, values in zip(('scale', 'offset'), levels, strict=True):
                stored = group.create_array(
                    name, data=values, dimension_names=('time', 'band'), fill_value=np.nan
                )
                stored.attrs['long_name'] = f'{name} of the bytes of each feature'
        with warnings.catch_warnings():  # no part of the format, and what xarray looks for
            warnings.simplefilter('ignore', ZarrUserWarning)
            zarr.consolidate_metadata(group.store)


def _seconds(span: DaySpan) -> tuple[int, int, int]:
    """Begin of the last day, begin of the first one, and end of the last one."""
    start, stop = span.seconds
    return int(datetime.combine(span.last, time(), UTC).timestamp()), start, stop

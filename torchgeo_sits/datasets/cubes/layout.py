"""Layout of a cube in its store: arrays, chunks, shards, codecs and attributes."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from pyproj import CRS
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from ...grid import Grid
from ...keys import IMAGE

__all__ = [
    'ATTRIBUTE',
    'FORMAT',
    'MASK_OBSERVED',
    'CubeLayout',
    'Shard',
    'array_attributes',
    'group_attributes',
    'shard_file',
    'write_coordinates',
    'zarr_options',
]

#: The conventions whose attributes the root has, as their schemas ask for them.
_CONVENTIONS = [
    {
        'schema_url': 'https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/'
        'schema.json',
        'spec_url': 'https://github.com/zarr-conventions/geo-proj/blob/v1/README.md',
        'uuid': 'f17cb550-5864-4468-aeb7-f3180cfb622f',
        'name': 'proj:',
        'description': 'Coordinate reference system information for geospatial data',
    },
    {
        'schema_url': 'https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/'
        'schema.json',
        'spec_url': 'https://github.com/zarr-conventions/spatial/blob/v1/README.md',
        'uuid': '689b58e2-cf7b-45e0-9fff-9cfc0883d6b4',
        'name': 'spatial',
        'description': 'Spatial coordinate information',
    },
]
_EPOCH = {'units': 'seconds since 1970-01-01', 'calendar': 'proleptic_gregorian'}


def group_attributes(grid: Grid, crs: CRS) -> dict[str, Any]:
    """Attributes of the root: CF, and the ``proj:`` and ``spatial:`` conventions of GeoZarr.

    Args:
        grid: The pixels of the cube.
        crs: Its coordinate reference system.

    Returns:
        The attributes, in plain values.
    """
    authority = crs.to_authority(min_confidence=100)
    # The schema of proj: takes one of these, not both.
    known = authority is not None and authority[0] == 'EPSG'
    place = {'proj:code': ':'.join(authority)} if known else {'proj:wkt2': crs.to_wkt()}
    return {
        'Conventions': 'CF-1.11',
        'zarr_conventions': _CONVENTIONS,
        **place,
        'spatial:dimensions': ['y', 'x'],
        'spatial:transform': list(grid.transform)[:6],
        'spatial:shape': [grid.height, grid.width],
        'spatial:bbox': list(grid.bounds),
        'spatial:registration': 'pixel',
    }


def array_attributes(name: str, scale: float) -> dict[str, Any]:
    """Attributes of the pixels or of a mask.

    Args:
        name: Of the array.
        scale: Factor on the stored pixels.

    Returns:
        The attributes, in plain values.
    """
    meaning = {
        IMAGE: 'stored values of the bands, 0 where nothing was observed',
        'mask_clear': 'observed, and neither cloud nor shadow',
        'mask_observed': 'observed, clear or not',
    }
    attributes = {
        'long_name': meaning[name],
        'grid_mapping': 'spatial_ref',
        'coordinates': 'spatial_ref',
    }
    return attributes | ({'scale_factor': scale} if name == IMAGE and scale != 1 else {})


def write_coordinates(
    group: zarr.Group,
    grid: Grid,
    crs: CRS,
    *,
    bands: Sequence[str],
    times: NDArray[np.int64],
    spans: NDArray[np.int64],
    footprints: Sequence[str],
) -> None:
    """Write all of a cube but its pixels and masks.

    Args:
        group: The cube.
        grid: Its pixels.
        crs: Its coordinate reference system.
        bands: Names of the bands.
        times: Seconds since 1970 UTC of the acquisitions, ``(T,)``.
        spans: First second of each, and first after it, ``(T, 2)``.
        footprints: Where each may have pixels, as WKT, T of them.
    """
    x = grid.left + grid.xres * (np.arange(grid.width) + 0.5)
    y = grid.top - grid.yres * (np.arange(grid.height) + 0.5)
    axes: dict[str, Any] = {str(axis.get('axis')).lower(): axis for axis in crs.cs_to_cf()}
    geotransform = ' '.join(repr(float(value)) for value in grid.transform.to_gdal())
    mapping = crs.to_cf() | {'spatial_ref': crs.to_wkt(), 'GeoTransform': geotransform}
    time = {'standard_name': 'time', 'axis': 'T', 'bounds': 'time_bounds', **_EPOCH}
    arrays: list[tuple[str, NDArray[Any], tuple[str, ...], dict[str, Any]]] = [
        ('time', times, ('time',), time),
        ('time_bounds', spans, ('time', 'bounds'), {}),
        ('band', _text(bands), ('band',), {'long_name': 'name of the band'}),
        ('y', y, ('y',), axes.get('y', {'axis': 'Y'})),
        ('x', x, ('x',), axes.get('x', {'axis': 'X'})),
        ('spatial_ref', np.array(0), (), mapping),
        (
            'footprint',
            _text(footprints),
            ('time',),
            {'long_name': 'where the acquisition may have pixels, as WKT'},
        ),
    ]
    for name, values, dimensions, attributes in arrays:
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape or 'auto',
            dtype=str if values.dtype.kind == 'T' else values.dtype,
            dimension_names=dimensions,
            compressors=[ZstdCodec(), Crc32cCodec()],
            attributes=attributes,
            overwrite=True,
        )
        array[...] = values


def _text(values: Sequence[str]) -> NDArray[Any]:
    """Strings of any length."""
    return np.array(list(values), np.dtypes.StringDType())


#: Rows and columns of the pixels of a shard.
Shard = tuple[slice, slice]

#: Version of what is described here, kept in each cube.
FORMAT = 1
#: Attribute of the root that tells a cube from other stores.
ATTRIBUTE = 'torchgeo_sits'
#: Present only where clouds make it differ from the clear mask.
MASK_OBSERVED = 'mask_observed'

#: Side of a chunk in pixels: a window of 64 needs four to nine of these and 1.0 to 2.3 times
#: its own pixels, with chunks of 64 up to four times.
CHUNK_SIDE = 32
#: Dates of a chunk at most, so that a window of some dates of a long series stays cheap.
CHUNK_TIMES = 256
#: Side of a shard in pixels, and its bytes at most.
SHARD_SIDE, SHARD_BYTES = 256, 2**28
#: Bytes of the shards that are read together at most, where files have larger blocks.
READ_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class CubeLayout:
    """Chunks and shards of a cube.

    All dates of a place are in one chunk, or in a few of equal length; all dates of a square of
    chunks are in one shard, which is one file and is written as a whole or not at all.

    Attributes:
        shape: T, C, H, W.
        chunk: The same of a chunk.
        shard: The same of a shard, in whole chunks.
    """

    shape: tuple[int, int, int, int]
    chunk: tuple[int, int, int, int]
    shard: tuple[int, int, int, int]

    @classmethod
    def of(cls, shape: tuple[int, int, int, int], itemsize: int) -> 'CubeLayout':
        """The layout for a cube.

        Args:
            shape: T, C, H, W.
            itemsize: Bytes of a pixel.

        Returns:
            The layout.
        """
        times, bands, height, width = shape
        parts = -(-times // CHUNK_TIMES)
        chunk_times = -(-times // parts)
        pixel = parts * chunk_times * bands * itemsize
        side = min(SHARD_SIDE, -(-max(height, width) // CHUNK_SIDE) * CHUNK_SIDE)
        while side > CHUNK_SIDE and side**2 * pixel > SHARD_BYTES:
            side -= CHUNK_SIDE
        return cls(
            shape,
            (chunk_times, bands, CHUNK_SIDE, CHUNK_SIDE),
            (parts * chunk_times, bands, side, side),
        )

    @property
    def number_of_shards(self) -> int:
        """Number of shards of an array."""
        side, (height, width) = self.shard[2], self.shape[2:]
        return -(-height // side) * -(-width // side)

    def batches(self, block: tuple[int, int], itemsize: int) -> Iterator[list[Shard]]:
        """Shards that are best read together, so that blocks of the source are decoded once.

        Args:
            block: Rows and columns of a block of the source, in pixels of the cube.
            itemsize: Bytes of a pixel.

        Yields:
            Rows and columns of each shard of a batch: as many shards as a block has, or as
            fit in memory. They are the same each time.
        """
        side, (height, width) = self.shard[2], self.shape[2:]
        most = max(1, READ_BYTES // (math.prod(self.shard) * itemsize))
        across = min(-(-block[1] // side), -(-width // side), most)
        down = min(-(-block[0] // side), most // across)

        def shards(top: int, left: int) -> list[Shard]:
            bottom, right = min(top + down * side, height), min(left + across * side, width)
            return [
                (slice(y, min(y + side, bottom)), slice(x, min(x + side, right)))
                for y in range(top, bottom, side)
                for x in range(left, right, side)
            ]

        for top in range(0, height, down * side):
            for left in range(0, width, across * side):
                yield shards(top, left)

    def create(self, group: zarr.Group, name: str, dtype: DTypeLike, attributes: Any) -> None:
        """Create the array of the pixels, or that of a mask, without any shard.

        Args:
            group: The cube, opened under :func:`zarr_options`.
            name: Of the array; masks have no bands.
            dtype: Of its values.
            attributes: Of the array.
        """
        axes = (0, 1, 2, 3) if name == IMAGE else (0, 2, 3)
        names = ('time', 'band', 'y', 'x')
        group.create_array(
            name,
            shape=tuple(self.shape[axis] for axis in axes),
            chunks=tuple(self.chunk[axis] for axis in axes),
            shards=tuple(self.shard[axis] for axis in axes),
            dtype=dtype,
            fill_value=0,
            # Twice as fast to read as Zstandard; a checksum of each chunk finds rotten bytes.
            compressors=[BloscCodec(cname='lz4', clevel=5, shuffle='bitshuffle'), Crc32cCodec()],
            dimension_names=[names[axis] for axis in axes],
            attributes=attributes,
        )


def zarr_options() -> AbstractContextManager[Any]:
    """Options under which the arrays of a cube are to be opened; they keep them.

    Returns:
        A context. A missing shard is an error in it, not zeros; each chunk is written, so that
        no shard is left out for holding zeros only; and Zarr decodes in the thread that asks.
    """
    return zarr.config.set(
        {
            'array.read_missing_chunks': False,
            'array.write_empty_chunks': True,
            'codec_pipeline.path': 'zarr.core.codec_pipeline.FusedCodecPipeline',
        }
    )


def shard_file(path: str, array: zarr.Array[Any], row: int, column: int) -> str:
    """The file of the shard that holds a pixel.

    Args:
        path: The cube.
        array: Its pixels or one of its masks.
        row: Row of the pixel.
        column: Its column.

    Returns:
        Path of the file.
    """
    shards = array.shards
    assert shards is not None  # cubes have them
    place = (row // shards[-2], column // shards[-1])
    key = array.metadata.encode_chunk_key((0,) * (array.ndim - 2) + place)
    return os.path.join(path, array.basename, *key.split('/'))

"""Arrays of cubes whose chunks are decoded on several threads.

Zarr (3.4) decodes the chunks of a shard one after another, which is half of the time of a window
on two cores; zarrs (0.2.3), which does not, fails with it; and TensorStore ends a process that was
forked, as workers of a loader are. What
:class:`~torchgeo_sits.datasets.cubes.layout.CubeLayout` writes is one of the many layouts that Zarr
knows, so that little is needed to read it: an index at the end of each shard, and chunks of Blosc
with a checksum (Zarr 3 specification, codecs ``sharding_indexed``, ``bytes``, ``blosc`` and
``crc32c``). An array that was coded in another way since is read by Zarr.
"""

import os
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np
import zarr
from numpy.typing import NDArray

from ..threads import ReadingThreads
from .layout import shard_file

__all__ = ['CubeArray', 'ShardError', 'read_parts']

#: Those of this process, for all cubes.
_THREADS = ReadingThreads()

#: Where the index of a shard has no chunk.
_NONE = 2**64 - 1


class ShardError(Exception):
    """A shard that cannot be read.

    Args:
        path: Its file.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class CubeArray:
    """The pixels of a cube, or one of its masks.

    Holds no file open.

    Args:
        path: The cube.
        array: The array, as Zarr opened it.

    Attributes:
        shape: T, C, H and W; masks have no C.
        dtype: Type of the values.
        chunks: Shape of a chunk.
    """

    def __init__(self, path: str, array: 'zarr.Array[Any]') -> None:
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, array.chunks
        self._path, self._array = path, array
        #: Those of a cube as it is written; None where Zarr must read it.
        self._shards = array.shards if _has_known_codecs(array) else None

    def parts(
        self,
        out: NDArray[Any],
        frames: NDArray[np.intp],
        channels: Sequence[int] | None,
        rows: slice,
        columns: slice,
        files: ExitStack,
        *,
        scale: float = 1.0,
    ) -> list[Callable[[], None]]:
        """Plan the read of a window: a call for each chunk, in any order, from any thread.

        Args:
            out: ``(T, C, H, W)``, or ``(T, H, W)`` for a mask, to read into.
            frames: Numbers of the T frames, ascending.
            channels: Numbers of the C bands; None for a mask.
            rows: The H rows, inside of the array.
            columns: The W columns.
            files: Closes the files that were opened.
            scale: Factor on the values, applied in float32 where it is not 1.

        Returns:
            The calls, which raise ShardError.

        Raises:
            ShardError: If a shard is missing or has no index.
        """
        bands: list[Any] = [] if channels is None else [_as_slice(np.array(channels))]
        if self._shards is None:
            return [self._by_zarr(out, (_as_slice(frames), *bands, rows, columns), scale)]
        #: Chunks along each axis of a shard.
        chunks = tuple(s // c for s, c in zip(self._shards, self.chunks, strict=True))
        times = []
        for number in range(frames[0] // self.chunks[0], frames[-1] // self.chunks[0] + 1):
            start = number * self.chunks[0]
            first, last = np.searchsorted(frames, [start, start + self.chunks[0]]).tolist()
            if first < last:  # frames may skip a whole chunk of dates
                times.append((number, slice(first, last), _as_slice(frames[first:last] - start)))
        found: list[Callable[[], None]] = []
        for top in _starts(rows, self._shards[-2]):
            for left in _starts(columns, self._shards[-1]):
                shard = _Shard(shard_file(self._path, self._array, top, left), chunks, files)
                for y in _starts(_within(rows, top, self._shards[-2]), self.chunks[-2]):
                    for x in _starts(_within(columns, left, self._shards[-1]), self.chunks[-1]):
                        down, inside_rows = _overlap(rows, y, self.chunks[-2])
                        right, inside_columns = _overlap(columns, x, self.chunks[-1])
                        place = ((y - top) // self.chunks[-2], (x - left) // self.chunks[-1])
                        for number, at, chosen in times:
                            target = out[at, ..., down, right]
                            picked = (chosen, *bands, inside_rows, inside_columns)
                            key = (number, *(0 for _ in bands), *place)
                            found.append(self._part(shard, key, target, picked, scale))
        return found

    def _by_zarr(
        self, target: NDArray[Any], picked: tuple[Any, ...], scale: float
    ) -> Callable[[], None]:
        """Plan the read of a window into *target* by Zarr."""

        def read() -> None:
            try:
                target[...] = self._array.oindex[picked]
            except MemoryError:
                raise
            except Exception as error:  # whatever the codecs and the file system raise
                path = os.path.join(self._path, self._array.basename)
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise ShardError(path, reason) from error
            if scale != 1:
                np.multiply(target, np.float32(scale), out=target)

        return read

    def _part(
        self,
        shard: '_Shard',
        key: tuple[int, ...],
        target: NDArray[Any],
        picked: tuple[Any, ...],
        scale: float,
    ) -> Callable[[], None]:
        """Plan the read of a part of a chunk into *target*."""

        def read() -> None:
            chunk = np.empty(self.chunks, self.dtype)
            if not shard.decode(key, chunk):
                target[...] = 0
                return
            for axis, choice in enumerate(picked):  # one at a time: two lists would be paired
                chunk = chunk[(slice(None),) * axis + (choice,)]
            target[...] = chunk
            if scale != 1:
                np.multiply(target, np.float32(scale), out=target)

        return read


class _Shard:
    """An open shard and its index.

    Args:
        path: Its file.
        grid: Chunks along each axis.
        files: Closes the file.

    Raises:
        ShardError: If it is missing, or too short for an index, or its index is broken.
    """

    def __init__(self, path: str, grid: tuple[int, ...], files: ExitStack) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDONLY | getattr(os, 'O_BINARY', 0))
            files.callback(os.close, self._file)
            size = 16 * int(np.prod(grid)) + 4
            self._end = os.fstat(self._file).st_size
            index = self._bytes(self._end - size, size) if self._end >= size else b''
        except OSError as error:
            raise ShardError(path, error.strerror or str(error)) from error
        if not index:
            raise ShardError(path, f'it is shorter than the {size} bytes of its index')
        #: First byte and number of bytes of each chunk.
        self._index = _checked(path, index).view('<u8').reshape(*grid, 2)

    def decode(self, key: tuple[int, ...], out: NDArray[Any]) -> bool:
        """Decode a chunk.

        Args:
            key: Its place.
            out: An array of its shape.

        Returns:
            False where the shard does not hold it, which means zeros.

        Raises:
            ShardError: If it is broken.
        """
        first, size = self._index[key].tolist()
        if (first, size) == (_NONE, _NONE):
            return False
        if first + size > self._end or size < 20:
            raise ShardError(self.path, f'its index tells of {size} bytes at {first}')
        try:
            data = self._bytes(first, size)
        except OSError as error:
            raise ShardError(self.path, str(error)) from error
        if len(data) < size:
            raise ShardError(self.path, f'a chunk has {len(data)} bytes of {size}')
        coded = _checked(self.path, data)
        # Blosc itself trusts its header, and reads past the end of what is shorter.
        pixels, _, told = struct.unpack_from('<III', data, 4)
        if (pixels, told) != (out.nbytes, len(coded)):
            raise ShardError(self.path, f'a chunk says that it holds {pixels} bytes in {told}')
        try:
            numcodecs.blosc.decompress(coded, out)
        except (RuntimeError, ValueError) as error:
            raise ShardError(self.path, str(error)) from error
        return True

    def _bytes(self, first: int, size: int) -> bytes:
        """Read some bytes, from any thread."""
        if not hasattr(os, 'pread'):  # Windows has none
            with open(self.path, 'rb') as file:
                file.seek(first)
                return file.read(size)
        return os.pread(self._file, size, first)


def read_parts(parts: Sequence[Callable[[], None]]) -> None:
    """Make the calls that :meth:`CubeArray.parts` planned, on several threads.

    Args:
        parts: The calls.

    Raises:
        ShardError: If any of them does.
    """
    _THREADS.map(lambda i: parts[i](), len(parts))


def _has_known_codecs(array: 'zarr.Array[Any]') -> bool:
    """Tell whether an array is coded as :class:`CubeArray` reads it."""
    codecs: Any = array.metadata.to_dict()['codecs']
    if [codec['name'] for codec in codecs] != ['sharding_indexed']:
        return False
    told = codecs[0]['configuration']
    names = [[codec['name'] for codec in told[key]] for key in ('codecs', 'index_codecs')]
    first = [told[key][0] for key in ('codecs', 'index_codecs')]
    orders = {codec.get('configuration', {}).get('endian', 'little') for codec in first}
    return (
        names == [['bytes', 'blosc', 'crc32c'], ['bytes', 'crc32c']]
        and orders == {'little'}
        and told['index_location'] == 'end'
    )


def _checked(path: str, data: bytes) -> NDArray[np.uint8]:
    """Take off the checksum at the end (CRC-32C, little-endian), if it is that of the rest."""
    rest = np.frombuffer(data, np.uint8)[:-4]  # no copy
    if google_crc32c.value(rest) != int.from_bytes(data[-4:], 'little'):
        raise ShardError(path, 'the checksum of a chunk or of its index does not fit')
    return rest


def _as_slice(numbers: NDArray[Any]) -> slice | NDArray[Any]:
    """Make a slice of numbers that follow each other, which reads without a copy."""
    first, last = int(numbers[0]), int(numbers[-1]) + 1
    follows = np.array_equal(numbers, np.arange(first, last))
    return slice(first, last) if follows else numbers


def _starts(part: slice, step: int) -> range:
    """First pixels of the shards or chunks that a part meets."""
    return range(part.start // step * step, part.stop, step)


def _within(part: slice, start: int, size: int) -> slice:
    """Cut a part to so many pixels from *start*."""
    return slice(max(part.start, start), min(part.stop, start + size))


def _overlap(part: slice, start: int, size: int) -> tuple[slice, slice]:
    """Where a part and so many pixels from *start* overlap: in the part, and in these."""
    both = _within(part, start, size)
    return (
        slice(both.start - part.start, both.stop - part.start),
        slice(both.start - start, both.stop - start),
    )

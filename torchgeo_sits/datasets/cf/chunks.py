"""Chunks of Zarr stores that are cut off: the decoder of Blosc reads what lies behind them."""

import struct
from typing import Any

import numcodecs.blosc
import zarr
from zarr.abc.store import ByteRequest
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

__all__ = ['WholeChunkStore']


class WholeChunkStore(WrapperStore[LocalStore]):
    """A Zarr store on this machine that refuses chunks of Blosc that are cut off.

    Other codecs do so themselves, and shards have checksums.

    Args:
        store: The store.
        group: Group of the arrays; None for the root.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> import zarr
        >>> from torchgeo_sits.datasets.cf.chunks import WholeChunkStore
        >>> folder = tempfile.TemporaryDirectory()
        >>> _ = zarr.create_group(folder.name).create_array('a', data=np.array([1, 2]))
        >>> store = WholeChunkStore(zarr.storage.LocalStore(folder.name, read_only=True))
        >>> zarr.open_group(store, mode='r')['a'][:]
        array([1, 2])
    """

    def __init__(self, store: LocalStore, group: str | None = None) -> None:
        super().__init__(store)
        prefix = f'{group.strip("/")}/' if group else ''
        opened = zarr.open_group(store, path=prefix.rstrip('/'), mode='r')
        self._blosc = tuple(f'{prefix}{n}/' for n, array in opened.arrays() if _is_blosc(array))

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value, and check it."""
        return self._checked(key, await super().get(key, prototype, byte_range))

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a value in the thread that asks, and check it."""
        found = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        return self._checked(key, found)

    def _checked(self, key: str, found: Buffer | None) -> Buffer | None:
        """Give a value back, unless it is a chunk that is shorter than its header says."""
        name = key.rpartition('/')[2]
        if found is None or not key.startswith(self._blosc) or name in _METADATA:
            return found
        header = found[:16].to_bytes()
        size = struct.unpack('<I', header[12:])[0] if len(header) == 16 else 16
        if len(found) < size:
            raise ValueError(f"the chunk '{key}' has {len(found)} bytes of {size}")
        return found


_METADATA = ('.zarray', '.zattrs', 'zarr.json')


def _is_blosc(array: 'zarr.Array[Any]') -> bool:
    """Tell whether chunks are the frames of Blosc."""
    last = array.compressors[-1:]
    return array.shards is None and isinstance(last[0] if last else None, _BLOSC)


_BLOSC = (BloscCodec, numcodecs.blosc.Blosc)

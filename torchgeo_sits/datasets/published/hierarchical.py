"""Family of the files with arrays by name: HDF5, of which a process keeps one open."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from os import getpid
from pathlib import Path

import h5py

from ...errors import SITSError

__all__ = ['open_hdf5']


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Give an open HDF5 file, for reading.

    Files stay open within a process, the last few of them: opening takes longer than reading a
    small array. A process that was forked opens its own.

    Args:
        path: The file.

    Yields:
        The open file; not to be closed.

    Raises:
        FileNotFoundError: If there is none.
        SITSError: If it is no HDF5 file, or what is asked of it within the block is not there.

    Examples:
        >>> import tempfile, h5py
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.hierarchical import open_hdf5
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / 'a.h5'
        >>> with h5py.File(path, 'w') as file:
        ...     file['x'] = [1, 2]
        >>> with open_hdf5(path) as file:
        ...     file['x'][()].tolist()
        [1, 2]
    """
    try:
        yield _open(path, getpid())
    except FileNotFoundError as error:
        raise FileNotFoundError(2, 'No such file or directory', str(path)) from error
    except (KeyError, OSError) as error:
        raise SITSError(
            f"'{path}' cannot be read as published ({str(error).strip(chr(34))}): fetch it again"
        ) from error


@lru_cache(maxsize=8)
def _open(path: Path, process: int) -> h5py.File:
    """Open a file in a process."""
    return h5py.File(path, 'r')

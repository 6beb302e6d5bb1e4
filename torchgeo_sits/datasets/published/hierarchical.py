"""Family of the files with arrays by name: HDF5 and zipped Zarr, which a process keeps open."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from os import getpid
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cftime
import h5py
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import BaseZarrError
from zarr.storage import ZipStore

from ...errors import SITSError

__all__ = ['cf_times', 'open_hdf5', 'open_zipped_zarr']

_EPOCH = 'seconds since 1970-01-01'


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
        raise _refused(path, error) from error


@contextmanager
def open_zipped_zarr(path: Path) -> Iterator[Any]:
    """Give an open Zarr store in a zip archive, for reading, as :func:`open_hdf5` does.

    Args:
        path: The archive.

    Yields:
        The group at its root.

    Raises:
        FileNotFoundError: If there is none.
        SITSError: If it is no such archive, or what is asked of it within the block is not there.

    Examples:
        >>> import tempfile, zarr
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.hierarchical import open_zipped_zarr
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / 'a.zarr.zip'
        >>> with zarr.storage.ZipStore(path, mode='w') as store:
        ...     group = zarr.open_group(store, mode='w', zarr_format=2)
        ...     _ = group.create_array('x', data=np.array([1, 2]))
        >>> with open_zipped_zarr(path) as group:
        ...     group['x'][:].tolist()
        [1, 2]
    """
    try:
        yield _open_zip(path, getpid())
    except FileNotFoundError as error:
        if not path.exists():
            raise FileNotFoundError(2, 'No such file or directory', str(path)) from error
        raise _refused(path, error) from error
    except (BadZipFile, KeyError, OSError, RuntimeError, BaseZarrError) as error:
        raise _refused(path, error) from error


def cf_times(variable: Any) -> NDArray[np.int64]:
    """Decode times by the conventions of NetCDF, as xarray writes them.

    Args:
        variable: An array of HDF5 or Zarr, with ``units`` and perhaps ``calendar``, or of dates.

    Returns:
        Seconds since 1970-01-01 UTC, of the same shape.

    Raises:
        KeyError: If there are no units, or none of a time, or a time is no finite number.

    Examples:
        >>> import tempfile, h5py
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.hierarchical import cf_times
        >>> folder = tempfile.TemporaryDirectory()
        >>> with h5py.File(Path(folder.name) / 'a.h5', 'w') as file:
        ...     file['time'] = [0, 36]
        ...     file['time'].attrs['units'] = 'hours since 1970-01-02'
        ...     cf_times(file['time']).tolist()
        [86400, 216000]
    """
    stored = np.asarray(variable[()])
    if stored.dtype.kind == 'M':
        return stored.astype('datetime64[s]').astype(np.int64)
    if stored.dtype.kind not in 'iuf':
        raise KeyError(f'times of the type {stored.dtype}')
    if not np.isfinite(stored).all():
        raise KeyError('times that are none')
    attributes = {name: _text(variable.attrs[name]) for name in variable.attrs}
    calendar = attributes.get('calendar', 'standard')
    unit, _, start = attributes['units'].partition(' since ')
    # cftime counts in microseconds, xarray writes nanoseconds, too.
    if unit in ('nanoseconds', 'nanosecond', 'ns'):
        stored, unit = stored // 1000, 'microseconds'
    try:
        dates = cftime.num2date(stored, f'{unit} since {start}', calendar)
        found: NDArray[Any] = np.asarray(cftime.date2num(dates, _EPOCH, calendar))
    except (OverflowError, TypeError, ValueError) as error:
        raise KeyError(f'times in the unit {attributes["units"]!r}: {error}') from error
    return np.rint(found).astype(np.int64)


def _text(value: Any) -> str:
    """An attribute as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _refused(path: Path, error: Exception) -> SITSError:
    """What cannot be read, in one line."""
    told = ' '.join(str(error).strip(chr(34)).split())
    return SITSError(f"'{path}' cannot be read as published ({told}): fetch it again")


@lru_cache(maxsize=8)
def _open_zip(path: Path, process: int) -> zarr.Group:
    """Open an archive in a process."""
    if not path.exists():  # nothing is to be made of it
        raise FileNotFoundError(path)
    return zarr.open_group(ZipStore(path, mode='r'), mode='r')


@lru_cache(maxsize=8)
def _open(path: Path, process: int) -> h5py.File:
    """Open a file in a process."""
    return h5py.File(path, 'r')

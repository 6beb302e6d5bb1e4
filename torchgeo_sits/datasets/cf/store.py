"""NetCDF files and Zarr stores: found, opened in each process, and windows of them read."""

import math
import os
import struct
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import netCDF4
import numcodecs.blosc
import numpy as np
import shapely
import xarray as xr
import zarr
from numpy.typing import NDArray
from pyproj import CRS
from torchgeo.datasets.utils import Path
from zarr.abc.store import ByteRequest
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from ...errors import SITSError
from ...grid import Grid
from ..catalogue import band_order
from ..cubes.layout import ATTRIBUTE
from ..files import RastersNotFoundError, list_examples
from ..frames import LARGEST, Frames, within_range
from ..reading import file_signature
from .layout import read_layout

__all__ = ['CFStore', 'is_store', 'list_stores']


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
        >>> from torchgeo_sits.datasets.cf.store import WholeChunkStore
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


#: Bytes of a value, by the number of its type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}


def missing_bytes(path: str) -> int:
    """Count the bytes that a classic NetCDF file lacks.

    Args:
        path: Any file.

    Returns:
        How many its header tells of that are not there; 0 for files of other formats.

    Examples:
        >>> from tempfile import NamedTemporaryFile
        >>> from torchgeo_sits.datasets.cf.store import missing_bytes
        >>> with NamedTemporaryFile() as file:
        ...     _ = file.write(b'no NetCDF')
        ...     file.flush()
        ...     missing_bytes(file.name)
        0
    """
    with open(path, 'rb') as file:
        magic = file.read(4)
        if magic[:3] != b'CDF' or magic[3:] not in (b'\1', b'\2', b'\5'):
            return 0
        try:
            expected = _Header(file, magic[3]).end()
        except struct.error:  # the header itself is cut off
            return 1
        file.seek(0, 2)
        return max(0, expected - file.tell())


class _Header:
    """The header of a classic file, as the specification of its format has it.

    Args:
        file: The file, after its first four bytes.
        version: 1, 2 (large offsets) or 5 (large numbers).
    """

    def __init__(self, file: BinaryIO, version: int) -> None:
        self._file = file
        self._number = '>Q' if version == 5 else '>I'
        self._offset = '>I' if version == 1 else '>Q'

    def _read(self, kind: str) -> int:
        """Read one number."""
        size = struct.calcsize(kind)
        value: int = struct.unpack(kind, self._file.read(size))[0]
        return value

    def _skip(self, size: int) -> None:
        """Pass over so many bytes, and those that fill up four."""
        self._file.seek(size + -size % 4, 1)

    def _skip_attributes(self) -> None:
        """Pass over a list of attributes."""
        for _ in range(self._count()):
            self._skip(self._read(self._number))
            size = _SIZES.get(self._read('>I'), 1)
            self._skip(size * self._read(self._number))

    def _count(self) -> int:
        """Read the tag of a list, and the number of its items."""
        self._read('>I')
        return self._read(self._number)

    def end(self) -> int:
        """Find where the last value ends.

        Returns:
            Bytes from the start of the file.
        """
        records = self._read(self._number)
        lengths = []
        for _ in range(self._count()):
            self._skip(self._read(self._number))
            lengths.append(self._read(self._number))  # 0 for that of records
        self._skip_attributes()
        end = self._file.tell()
        of_records: list[tuple[int, int]] = []  # beginning, and bytes in each record
        for _ in range(self._count()):
            self._skip(self._read(self._number))
            shape = [lengths[self._read(self._number)] for _ in range(self._read(self._number))]
            self._skip_attributes()
            size = _SIZES.get(self._read('>I'), 1)
            self._read(self._number)  # their sum, which is too short for large variables
            begin = self._read(self._offset)
            if shape and shape[0] == 0:
                of_records.append((begin, math.prod(shape[1:]) * size))
            else:
                end = max(end, begin + math.prod(shape) * size)
        # Records of several variables are filled up to four bytes, those of one are not.
        length = sum(size + -size % 4 for _, size in of_records)
        if len(of_records) == 1:
            length = of_records[0][1]
        streamed = records == (2**64 if self._number == '>Q' else 2**32) - 1
        if records and not streamed:
            for begin, size in of_records:
                end = max(end, begin + (records - 1) * length + size)
        return end


#: Attributes that name values without data: those of CF, of odc-stac, and of older xarray.
_FILLS = ('_FillValue', 'missing_value', 'nodata', 'nodatavals')


@dataclass(frozen=True, slots=True)
class Packing:
    """How the numbers of a variable are stored.

    Attributes:
        stored: Type in which they are stored, unsigned where an attribute says so.
        fills: Values without data, as they are stored.
        limits: Least and largest value that is valid.
        unpacked_limits: Whether these are meant after scale and offset.
        scale: Factor on what is stored.
        offset: Added after it.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.cf.store import Packing
        >>> attributes = {'_FillValue': 255, 'scale_factor': 0.004, 'add_offset': -0.08}
        >>> packing = Packing.of(np.dtype('uint8'), attributes)
        >>> packing.unpack(np.array([20, 145, 255], 'uint8'))
        (array([0.  , 0.5 , 0.94], dtype=float32), array([ True,  True, False]))
    """

    stored: np.dtype[Any]
    fills: tuple[Any, ...] = ()
    limits: tuple[float, float] = (-math.inf, math.inf)
    unpacked_limits: bool = False
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(
        cls,
        dtype: np.dtype[Any],
        attributes: Mapping[str, Any],
        *,
        nodata: float | None = None,
        default_fill: bool = False,
    ) -> 'Packing':
        """Read it off the attributes of a variable.

        Args:
            dtype: Type of the variable.
            attributes: Those of CF, and ``nodata`` as odc-stac writes it.
            nodata: Stored value without data, in place of what the attributes say.
            default_fill: Whether what was never written holds the default of NetCDF, unless an
                attribute says otherwise.

        Returns:
            The packing.
        """
        stored = dtype
        unsigned = str(attributes.get('_Unsigned', '')).lower()
        if unsigned in ('true', 'false') and dtype.kind in 'iu':
            stored = np.dtype(f'{"u" if unsigned == "true" else "i"}{dtype.itemsize}')
        declared = [v for name in _FILLS for v in _numbers(attributes.get(name))]
        if nodata is not None:
            declared = [float(nodata)]
        elif default_fill and not declared and dtype.itemsize > 1:
            declared = list(_numbers(netCDF4.default_fillvals.get(dtype.str[1:])))
        fills = {f for value in declared if (f := _in_type(value, stored)) is not None}
        scale = next(_numbers(attributes.get('scale_factor')), 1.0)
        offset = next(_numbers(attributes.get('add_offset')), 0.0)
        limits = list(_numbers(attributes.get('valid_range')))
        if len(limits) != 2:
            low = next(_numbers(attributes.get('valid_min')), -math.inf)
            limits = [low, next(_numbers(attributes.get('valid_max')), math.inf)]
        # The users' guide of NetCDF: limits of a wider type than what is stored are unpacked.
        kinds = {np.asarray(attributes[n]).dtype.kind for n in _LIMITS if n in attributes}
        packed = (scale, offset) != (1, 0)
        if stored.kind == 'u' and dtype.kind == 'i':  # limits are stored like the values
            limits = [v + 2.0 ** (8 * dtype.itemsize) if v < 0 else v for v in limits]
        return cls(
            stored,
            tuple(sorted(fills)),
            (float(limits[0]), float(limits[1])),
            packed and stored.kind in 'iu' and 'f' in kinds,
            float(scale),
            float(offset),
        )

    @property
    def is_packed(self) -> bool:
        """Whether values differ from what is stored."""
        return (self.scale, self.offset) != (1, 0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: that of samples where the stored one is wider, or they are scaled."""
        wide = self.stored.kind == 'f' and self.stored.itemsize > 4
        return np.dtype(np.float32) if self.is_packed or wide else self.stored

    def unpack(self, stored: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Turn stored numbers into values.

        Args:
            stored: Of any shape.

        Returns:
            The values, and bool of the same shape: True where there is data. Others are
            undefined.
        """
        stored = stored.view(self.stored) if stored.dtype != self.stored else stored
        seen = within_range(stored) if self.stored.kind == 'f' else np.ones(stored.shape, bool)
        for fill in self.fills:
            seen &= stored != fill
        values = stored
        if self.is_packed:
            values = stored * np.float64(self.scale)
            values += self.offset
            seen &= within_range(values)
        low, high = self.limits
        limited = values if self.unpacked_limits else stored
        if low > -math.inf:
            seen &= limited >= low
        if high < math.inf:
            seen &= limited <= high
        with np.errstate(over='ignore', invalid='ignore'):  # of what is no data
            return values.astype(self.dtype, copy=False), seen


_LIMITS = ('valid_range', 'valid_min', 'valid_max')


def _numbers(value: Any) -> Iterator[Any]:
    """The numbers in an attribute: of one, several, or none; text that is a number counts."""
    if value is None:
        return
    for item in np.atleast_1d(np.asarray(value)).ravel().tolist():
        try:
            number = item if isinstance(item, int | float) else float(item)
        except (TypeError, ValueError):
            continue
        yield number


def _in_type(value: float, dtype: np.dtype[Any]) -> Any:
    """A value as a variable of some type holds it; None where it cannot."""
    if dtype.kind == 'f':
        with np.errstate(over='ignore'):
            found = dtype.type(value).item()
        return found if math.isfinite(found) else None  # others are no data anyway
    if not math.isfinite(value) or value != int(value):
        return None
    number, bits = int(value), 8 * dtype.itemsize
    if dtype.kind == 'u' and number < 0:  # an unsigned variable of a format without such
        number += 2**bits
    if dtype.kind == 'b':
        return number if number in (0, 1) else None
    info = np.iinfo(dtype)
    return number if info.min <= number <= info.max else None


def flags(attributes: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """The flags of a variable.

    Args:
        attributes: ``flag_meanings`` with ``flag_values``, ``flag_masks`` or both.

    Returns:
        For each name a mask and a value: the flag is set where ``stored & mask == value``.

    Examples:
        >>> from torchgeo_sits.datasets.cf.store import flags
        >>> flags({'flag_meanings': 'cloud shadow', 'flag_masks': [2, 8]})
        {'cloud': (2, 2), 'shadow': (8, 8)}
        >>> flags({'flag_meanings': 'clear cloud', 'flag_values': [0, 1]})
        {'clear': (-1, 0), 'cloud': (-1, 1)}
    """
    meanings = str(attributes.get('flag_meanings', '')).split()
    masks = [int(v) for v in _numbers(attributes.get('flag_masks'))]
    values = [int(v) for v in _numbers(attributes.get('flag_values'))]
    if len(meanings) not in (len(masks), len(values)):
        return {}
    if len(masks) != len(meanings):
        masks = [-1] * len(meanings)
    if len(values) != len(meanings):
        values = masks
    return dict(zip(meanings, zip(masks, values, strict=True), strict=True))


#: Endings of NetCDF files, which are looked for in folders.
NETCDF_EXTENSIONS = ('.nc', '.nc4', '.cdf', '.netcdf', '.h5', '.hdf5')
#: Files that tell a folder is a Zarr store.
_ZARR_FILES = ('zarr.json', '.zmetadata', '.zgroup')
#: Side of a block where a file has no chunks.
_BLOCK = 256


def is_store(path: str) -> bool:
    """Tell whether a path is a Zarr store, or named as a NetCDF file is."""
    if os.path.isdir(path):
        return any(os.path.exists(os.path.join(path, name)) for name in _ZARR_FILES)
    return path.lower().endswith(NETCDF_EXTENSIONS)


def list_stores(paths: Path | Iterable[Path]) -> list[str]:
    """List the NetCDF files and Zarr stores among paths and in the folders among them.

    Args:
        paths: Files of any ending, stores, and folders.

    Returns:
        Paths of the stores, each once, sorted.

    Raises:
        RastersNotFoundError: If a path does not exist, or none is or holds a store.
    """
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: set[str] = set()
    for root in [os.fspath(root) for root in roots]:
        if '://' in root or root.startswith('/vsi'):
            raise SITSError(f"'{root}' is not on this machine: fetch NetCDF and Zarr first")
        if not os.path.exists(root):
            raise RastersNotFoundError(
                f"'{root}' does not exist: give NetCDF files, Zarr stores, or folders of some"
            )
        if not os.path.isdir(root):
            found.add(root)
            continue
        for folder, inner, files in os.walk(root):
            if is_store(folder):
                found.add(folder)
                inner.clear()
                continue
            found.update(os.path.join(folder, file) for file in files if is_store(file))
    if not found:
        raise RastersNotFoundError(
            f'no NetCDF files ({", ".join(NETCDF_EXTENSIONS)}) and no Zarr stores in '
            f'{", ".join(repr(os.fspath(root)) for root in roots)}'
        )
    return sorted(found)


class CFStore:
    """A series in a NetCDF file or a Zarr store, of which windows are read.

    Each process opens it anew, so that it is safe under workers that were forked or spawned.

    Args:
        path: The file or the store.
        bands: Bands to read; None for all of one grid but masks and flags.
        crs: CRS where it says none.
        group: Group of the variables.
        nodata: Stored value without data, in place of what the variables say.
        cloud_variable: Variable that tells what is clear.
        clear_values: Its values that mean clear.
        cloud_flags: Its flags that mean not clear, by their names in ``flag_meanings``.

    Attributes:
        path: The file or the store.
        grid: Its pixels, from north to south and from west to east.
        crs: Their coordinate reference system.
        bands: Names of the bands.
        times: Seconds since 1970 UTC, ``(T,)``, ascending.
        spans: First second of each acquisition and first after it, ``(T, 2)``.
        footprints: Where each may have pixels, as WKT, T of them.
        dtype: Type of the values.
        scale: Factor on them, 1.
        is_ordered: Whether times only rise, or only fall, in the order in which they are stored.

    Raises:
        OSError: If it cannot be opened.
        SITSError: If it holds no series on an even grid, or an option does not fit.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> import xarray as xr
        >>> from torchgeo_sits.datasets.cf import CFStore
        >>> folder = tempfile.TemporaryDirectory()
        >>> days = np.array(['2021-03-01', '2021-04-01'], 'datetime64[ns]')
        >>> coordinates = {'time': days, 'lat': [50.15, 50.05], 'lon': [4.05, 4.15, 4.25]}
        >>> ndvi = xr.DataArray(np.ones((2, 2, 3), 'float32'), coordinates, list(coordinates))
        >>> ndvi.to_dataset(name='ndvi').to_netcdf(f'{folder.name}/ndvi.nc')
        >>> store = CFStore(f'{folder.name}/ndvi.nc')
        >>> store.bands, store.grid.crs.to_string(), round(store.grid.top, 6)
        (('ndvi',), 'EPSG:4326', 50.2)
        >>> store.read(np.arange(2), [0], row=0, column=1, height=2, width=2).values.shape
        (2, 1, 2, 2)
    """

    scale = 1.0

    def __init__(
        self,
        path: str,
        *,
        bands: Sequence[str] | None = None,
        crs: CRS | None = None,
        group: str | None = None,
        nodata: float | None = None,
        cloud_variable: str | None = None,
        clear_values: Sequence[int] | None = None,
        cloud_flags: Sequence[str] | None = None,
    ) -> None:
        self.path = path
        self.group = group
        self.source_file = _root_file(path)
        self._signature = file_signature(self.source_file)
        self._dataset: xr.Dataset | None = None
        self._pid = 0
        self._told_large = False
        dataset = self._open()
        layout = read_layout(dataset, path, bands=bands, crs=crs, apart_from=cloud_variable)
        self._layout = layout
        self.grid, self.crs, self.times = layout.grid, layout.crs, layout.times
        self.bands = tuple(band.name for band in layout.bands)
        self.spans = np.stack([self.times, self.times + 1], axis=1)
        box = shapely.to_wkt(shapely.box(*self.grid.bounds), rounding_precision=-1)
        self.footprints = [box] * len(self.times)
        for name in {band.variable for band in layout.bands}:
            if dataset.variables[name].dtype.kind == 'c':
                raise SITSError(
                    f"'{name}' in '{path}' holds complex numbers, of which no band is made by "
                    'itself: write what is wanted of them, such as the amplitude, as real numbers'
                )
        steps = np.diff(layout.frames)
        self.is_ordered = bool((steps > 0).all() or (steps < 0).all())
        netcdf = not os.path.isdir(path)
        self._packings = {
            band.variable: Packing.of(
                dataset.variables[band.variable].dtype,
                dataset.variables[band.variable].attrs,
                nodata=nodata,
                default_fill=netcdf,
            )
            for band in layout.bands
        }
        self.dtype = np.result_type(*(packing.dtype for packing in self._packings.values()))
        #: Pixels along each dimension that are decoded at once.
        first = dataset.variables[layout.bands[0].variable]
        self._chunks: dict[Hashable, int] = {
            dim: min(int(np.max(size)), first.sizes[dim])
            for dim, size in first.encoding.get('preferred_chunks', {}).items()
        }
        self._clouds: _CloudRule | None = None
        if cloud_variable is not None:
            self._clouds = _CloudRule(
                dataset, cloud_variable, self._layout.dims, path, clear_values, cloud_flags
            )

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy without what this process opened."""
        return self.__dict__ | {'_dataset': None}

    @property
    def block(self) -> Grid:
        """One of the chunks of the first band: the pixels decoded at once."""
        (_, y, x), (up, left) = self._layout.dims, self._layout.flipped
        height, width = self.grid.height, self.grid.width
        rows = self._chunks.get(y, min(height, _BLOCK))
        columns = self._chunks.get(x, min(width, _BLOCK))
        # Chunks begin at the first row that is stored, which may be the one in the south.
        row = height - rows if up else 0
        column = width - columns if left else 0
        return self.grid.crop(row, column, rows, columns)

    def close(self) -> None:
        """Close the file; reading again opens it."""
        if self._dataset is not None and self._pid == os.getpid():
            self._dataset.close()
        self._dataset = None

    def _open(self) -> xr.Dataset:
        """Open the store at its first use in this process: handles of another are not ours."""
        if self._dataset is None or self._pid != os.getpid():
            self._dataset, self._pid = _open_dataset(self.path, self.group), os.getpid()
        return self._dataset

    def read(
        self,
        frames: NDArray[np.intp],
        channels: Sequence[int],
        row: int,
        column: int,
        height: int,
        width: int,
        *,
        observed: bool = False,
        scaled: bool = False,
    ) -> Frames:
        """Read some acquisitions of a window.

        Args:
            frames: Numbers of the acquisitions, ascending, at least one.
            channels: Numbers of the bands wanted, in their order.
            row: First row; it may lie outside the grid.
            column: First column; it may too.
            height: Number of rows.
            width: Number of columns.
            observed: No matter: what was observed is known in any case.
            scaled: Give values as float32; they have no other scale.

        Returns:
            The frames; beyond the grid nothing was observed.

        Raises:
            OSError: If the file cannot be read, or is no longer the one that was opened.
        """
        top, left = max(row, 0), max(column, 0)
        bottom = min(row + height, self.grid.height)
        right = min(column + width, self.grid.width)
        shape = len(frames), len(channels), height, width
        whole = (bottom - top, right - left) == (height, width)
        values = (np.empty if whole else np.zeros)(shape, np.float32 if scaled else self.dtype)
        seen = np.zeros((shape[0], *shape[2:]), bool)
        clear = seen
        if bottom > top and right > left:
            inside = slice(top - row, bottom - row), slice(left - column, right - column)
            window = _Window(self._layout, frames, (top, bottom), (left, right), self._chunks)
            own = seen[:, *inside]
            own[...] = True
            try:
                variables = self._open().variables
                for variable, positions, at in self._reads(channels):
                    part = window.read(variables[variable], positions)
                    self._warn_of_too_large(variable, part)
                    part, valid = self._packings[variable].unpack(part)
                    values[:, at, *inside] = part
                    own &= valid if positions is None else valid.all(axis=1)
                if not own.all():
                    np.copyto(values[:, :, *inside], 0, where=~own[:, None])
                if self._clouds is not None:
                    clear = seen.copy()
                    clear[:, *inside] &= self._clouds.clear(window, variables)
            except (MemoryError, SITSError):
                raise
            except Exception as error:  # whatever the libraries of the formats raise
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise OSError(
                    f"'{self.path}' cannot be read ({reason}): it may be truncated or broken. "
                    'Fetch or write it again'
                ) from error
        if file_signature(self.source_file) != self._signature:
            raise OSError(
                f"'{self.path}' is not what it was when the series was opened: it was replaced or "
                'removed meanwhile. Open the series again.'
            )
        return Frames(
            values,
            clear,
            self.times[frames],
            self.grid.crop(row, column, height, width),
            observed=seen,
        )

    def _warn_of_too_large(self, variable: str, stored: NDArray[Any]) -> None:
        """Count values that are finite, too large and not said to be no data, once."""
        if self._told_large or stored.dtype.kind != 'f':
            return
        large = stored[np.isfinite(stored) & ~within_range(stored)]
        large = large[~np.isin(large, list(self._packings[variable].fills))]
        if not len(large):
            return
        self._told_large = True
        warnings.warn(
            f"{len(large)} values of '{variable}' in '{self.path}' are beyond {LARGEST:g}, such as "
            f'{large[0]:g}, and count as unobserved, there and wherever such values are. No sensor '
            'measures them: give as `nodata` what means no data, or look at what wrote the file',
            UserWarning,
            stacklevel=5,
        )

    def _reads(self, channels: Sequence[int]) -> Iterator[tuple[str, list[int] | None, Any]]:
        """Group channels that are read at once.

        Args:
            channels: Numbers of the bands.

        Yields:
            The variable, positions along its dimension of bands if it has one, and what channels
            of the frames these are.
        """
        groups: dict[str, tuple[list[int], list[int]]] = {}
        for at, channel in enumerate(channels):
            band = self._layout.bands[channel]
            if band.position is None:
                yield band.variable, None, at
                continue
            positions, places = groups.setdefault(band.variable, ([], []))
            positions.append(band.position)
            places.append(at)
        for variable, (positions, places) in groups.items():
            first, last = places[0], places[-1] + 1
            direct = places == list(range(first, last))
            yield variable, positions, slice(first, last) if direct else places


class _Window:
    """Frames and pixels of a store, as its variables are indexed by them.

    Args:
        layout: Axes of the store.
        frames: Numbers of the acquisitions, ascending.
        rows: First row, and first after the window.
        columns: The same of columns.
        chunks: Values along each dimension that are decoded at once.
    """

    def __init__(
        self,
        layout: Any,
        frames: NDArray[np.intp],
        rows: tuple[int, int],
        columns: tuple[int, int],
        chunks: Mapping[Hashable, int],
    ) -> None:
        time, y, x = layout.dims
        self._dims = layout.dims
        self._band_dims: dict[str, Hashable] = layout.band_dims
        self.shape = len(frames), rows[1] - rows[0], columns[1] - columns[0]
        self._select: dict[Hashable, Any] = {}
        sizes = layout.grid.height, layout.grid.width
        self._order: list[slice] = []
        for dim, (first, last), size, flipped in zip(
            (y, x), (rows, columns), sizes, layout.flipped, strict=True
        ):
            begin, end = (size - last, size - first) if flipped else (first, last)
            self._select[dim] = slice(begin, end)
            self._order.append(slice(None, None, -1 if flipped else 1))
        #: Of the frames that are read, those wanted; None for all in their order.
        self._picked: NDArray[np.intp] | None = None
        if time is not None:
            positions = layout.frames[frames]
            stored = np.unique(positions)
            span = int(stored[-1] - stored[0]) + 1
            if len(stored) == span or len(stored) * chunks.get(time, 1) >= span:
                # All chunks between are read either way, or there are none between.
                self._select[time] = slice(int(stored[0]), int(stored[-1]) + 1)
                stored = np.arange(stored[0], stored[-1] + 1)
            else:
                self._select[time] = stored
            if not np.array_equal(stored, positions):
                self._picked = np.searchsorted(stored, positions)

    def read(self, variable: xr.Variable, positions: list[int] | None = None) -> NDArray[Any]:
        """Read the window of a variable.

        Args:
            variable: With the dimensions of the layout, and those of one value.
            positions: Places along its dimension of bands; None where it has none.

        Returns:
            Stored numbers, ``(T, H, W)``, or ``(T, C, H, W)`` with positions.
        """
        time, y, x = self._dims
        select = {dim: self._select[dim] for dim in (time, y, x) if dim is not None}
        others = [dim for dim in variable.dims if dim not in select]
        bands = next((dim for dim in others if variable.sizes[dim] > 1), None)
        picked: list[int] | None = None
        for dim in others:
            select[dim] = 0
        if positions is not None and bands is not None:
            low, high = min(positions), max(positions) + 1
            if len(positions) * 2 > high - low:
                select[bands] = slice(low, high)
                picked = [position - low for position in positions]
                picked = None if picked == list(range(high - low)) else picked
            else:
                stored = sorted(set(positions))
                select[bands] = stored
                picked = [stored.index(position) for position in positions]
                picked = None if picked == list(range(len(stored))) else picked
        part = variable.isel(select)
        wanted = [dim for dim in (time, bands if positions is not None else None, y, x) if dim]
        data = part.transpose(*wanted).values
        if time is None:
            data = data[None]
        data = data[..., self._order[0], self._order[1]]
        if picked is not None:
            data = data[:, picked]
        return data if self._picked is None else data[self._picked]


class _CloudRule:
    """What a variable of a store calls clear.

    Args:
        dataset: The store.
        name: The variable.
        dims: Dimensions of time, y and x of the bands.
        path: The store, for messages.
        clear_values: Values that mean clear.
        cloud_flags: Names of flags that mean not clear.

    Raises:
        SITSError: If the variable is unknown or lies on another grid, or a flag is unknown.
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        name: str,
        dims: Sequence[Hashable | None],
        path: str,
        clear_values: Sequence[int] | None,
        cloud_flags: Sequence[str] | None,
    ) -> None:
        self._name = name
        variable = dataset.variables.get(name)
        if variable is None:
            raise SITSError(
                f"'{path}' has no variable {name!r} for cloud_variable: it holds "
                f'{list_examples([str(n) for n in dataset.data_vars], 12)}'
            )
        others = [d for d in variable.dims if d not in dims and variable.sizes[d] > 1]
        if others or not {d for d in dims if d is not None} <= set(variable.dims):
            raise SITSError(
                f"cloud_variable={name!r} of '{path}' has the dimensions {variable.dims}, expected "
                f'those of the bands: {tuple(d for d in dims if d is not None)}'
            )
        self._packing = Packing.of(variable.dtype, variable.attrs)
        self._clear_values = None if clear_values is None else list(clear_values)
        known = flags(variable.attrs)
        if unknown := [flag for flag in cloud_flags or () if flag not in known]:
            raise SITSError(
                f"cloud_flags {unknown} are none of {name!r} in '{path}', whose flag_meanings are "
                f'{list(known)}'
            )
        self._flags = None if cloud_flags is None else [known[flag] for flag in cloud_flags]

    def clear(self, window: _Window, variables: Mapping[Hashable, xr.Variable]) -> Any:
        """Tell which pixels of a window are clear, ``(T, H, W)`` bool."""
        stored = window.read(variables[self._name])
        values, seen = self._packing.unpack(stored)
        if self._clear_values is not None:  # what the user calls clear is, whatever the file says
            return np.isin(values, self._clear_values)
        for mask, value in self._flags or ():
            seen &= (values & mask) != value if mask != -1 else values != value
        return seen


# -- opening --------------------------------------------------------------------------------


def _root_file(path: str) -> str:
    """The file that tells whether a store is still the same."""
    if not os.path.isdir(path):
        return path
    return next(
        (file for name in _ZARR_FILES if os.path.exists(file := os.path.join(path, name))), path
    )


def _open_dataset(path: str, group: str | None) -> xr.Dataset:
    """Open a store: nothing decoded, attributes at their variables, nothing kept in memory."""
    options: dict[str, Any] = {
        'mask_and_scale': False,
        'decode_times': False,
        'decode_timedelta': False,
        'decode_coords': False,
        'cache': False,
        'group': group,
    }
    try:
        if not os.path.isdir(path):
            if missing := missing_bytes(path):
                raise OSError(f'{missing} bytes or more are missing at its end')
            return xr.open_dataset(path, engine='netcdf4', **options)
        with (
            warnings.catch_warnings(),
            zarr.config.set(
                # Decodes in the thread that asks.
                {'codec_pipeline.path': 'zarr.core.codec_pipeline.FusedCodecPipeline'}
            ),
        ):
            warnings.filterwarnings('ignore', message='Failed to open Zarr store with consolidated')
            store: Any = WholeChunkStore(zarr.storage.LocalStore(path, read_only=True), group)
            dataset = xr.open_dataset(store, engine='zarr', chunks=None, **options)
        # Zarr keeps no order of variables, NetCDF does.
        names = [str(name) for name in dataset.variables]
        names.sort()
        names.sort(key=band_order)
        dataset = dataset[names]
    except SITSError:
        raise
    except Exception as error:  # whatever the libraries of the formats raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        kind = 'a Zarr store' if os.path.isdir(path) else 'NetCDF'
        raise OSError(
            f"'{path}' cannot be opened as {kind} ({reason}): it may be truncated, or be something "
            'else. Fetch or write it again'
        ) from error
    if ATTRIBUTE in dataset.attrs:
        raise SITSError(f"'{path}' is a cube of torchgeo-sits: open it with ZarrTimeSeries")
    return dataset

"""NetCDF files and Zarr stores: found, opened in each process, and windows of them read."""

import os
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
import xarray as xr
import zarr
from numpy.typing import NDArray
from pyproj import CRS
from torchgeo.datasets.utils import Path

from ...errors import SITSError
from ...grid import Grid
from ..catalogue import band_order
from ..cubes.layout import ATTRIBUTE
from ..files import RastersNotFoundError, list_examples
from ..frames import Frames
from ..reading import file_signature
from .chunks import WholeChunkStore
from .classic import missing_bytes
from .layout import read_layout
from .values import Packing, flags

__all__ = ['CFStore', 'is_store', 'list_stores']

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
        dataset = self._open()
        layout = read_layout(dataset, path, bands=bands, crs=crs, apart_from=cloud_variable)
        self._layout = layout
        self.grid, self.crs, self.times = layout.grid, layout.crs, layout.times
        self.bands = tuple(band.name for band in layout.bands)
        self.spans = np.stack([self.times, self.times + 1], axis=1)
        box = shapely.to_wkt(shapely.box(*self.grid.bounds), rounding_precision=-1)
        self.footprints = [box] * len(self.times)
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
        values = (np.empty if whole else np.zeros)(shape, self.dtype)
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

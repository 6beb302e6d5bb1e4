"""Cubes on disk: opened, and windows of them read."""

import json
import math
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import shapely
import zarr
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.crs import CRS as RasterCRS

from ...errors import SITSError
from ...grid import Grid
from ...keys import IMAGE, MASK_CLEAR
from ..frames import Frames
from ..reading import file_signature
from .chunks import CubeArray, ShardError, read_parts
from .layout import ATTRIBUTE, FORMAT, MASK_OBSERVED, zarr_options

__all__ = [
    'CubeStore',
    'cube_record',
    'is_cube',
]


def is_cube(path: str) -> bool:
    """Tell whether a path is a cube that this package wrote, complete or not.

    Args:
        path: Any path.

    Returns:
        True where there is a Zarr store whose root says so.
    """
    try:
        with open(os.path.join(path, 'zarr.json'), 'rb') as file:
            return ATTRIBUTE in json.load(file)['attributes']
    except (OSError, ValueError, KeyError, TypeError):
        return False


def cube_record(path: str) -> dict[str, Any]:
    """Read the record in the root of a cube of how it was made.

    Args:
        path: The cube.

    Returns:
        ``format``, ``complete``, ``command``, ``arrays``, ``source``.

    Raises:
        OSError: If there is no such cube, or its metadata cannot be read.
        SITSError: If it is another kind of store, or of a version that is not known.
    """
    try:
        group = zarr.open_group(path, mode='r')
        record = group.attrs.asdict().get(ATTRIBUTE)
    except Exception as error:  # whatever Zarr and JSON raise
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"'{path}' does not exist: give a cube that `torchgeo-sits cube` wrote, or a "
                'folder of some'
            ) from error
        raise OSError(
            f"'{os.path.join(path, 'zarr.json')}' cannot be read as the root of a Zarr store "
            f'({error}): give a cube that `torchgeo-sits cube` wrote'
        ) from error
    if not isinstance(record, dict):
        raise SITSError(
            f"'{path}' is a Zarr store, but no cube of torchgeo-sits: its root has no attribute "
            f'{ATTRIBUTE!r}. Write one with `torchgeo-sits cube`'
        )
    if record.get('format') != FORMAT:
        raise SITSError(
            f"'{path}' is a cube of format {record.get('format')!r}, this version of "
            f'torchgeo-sits reads format {FORMAT}: convert it again, or use another version'
        )
    for name, kind in _RECORD.items():
        if not isinstance(record.get(name), kind):
            raise SITSError(
                f"the record of the cube '{path}' has {name}={record.get(name)!r}, expected "
                f'a {kind.__name__}: it was changed. Remove the cube and convert it again'
            )
    if {IMAGE, MASK_CLEAR} - set(record['arrays']) or set(record['arrays']) - set(_ARRAYS):
        raise SITSError(
            f"the record of the cube '{path}' lists the arrays {record['arrays']}, expected "
            f'{list(_ARRAYS)}, the last one where there are clouds: it was changed. Remove the '
            'cube and convert it again'
        )
    return record


#: What a record holds beside its format.
_RECORD = {'complete': bool, 'command': str, 'arrays': list, 'source': dict}
_ARRAYS = (IMAGE, MASK_CLEAR, MASK_OBSERVED)


class CubeStore:
    """A complete cube, of which windows are read.

    Holds no file open, so that it is safe under fork and in any number; a pickle takes nothing
    that belongs to this process.

    Args:
        path: The cube.

    Attributes:
        path: The cube.
        grid: Its pixels.
        crs: Their coordinate reference system.
        bands: Names of the bands.
        times: Seconds since 1970 UTC, ``(T,)``, ascending.
        spans: First second of each acquisition and first after it, ``(T, 2)``.
        footprints: Where each may have pixels, as WKT, T of them.
        dtype: Type of the stored pixels.
        scale: Factor on them.

    Raises:
        OSError: If it does not exist, is not complete, or its metadata cannot be read.
        SITSError: If it is another kind of store.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_cube
        >>> from torchgeo_sits.datasets import write_synthetic_series
        >>> from torchgeo_sits.datasets.cubes import CubeStore
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> import numpy as np
        >>> path = f'{folder.name}/s.zarr'
        >>> write_cube(RasterTimeSeries(files.images), path)
        1
        >>> cube = CubeStore(path)
        >>> window = {'row': 0, 'column': 8, 'height': 16, 'width': 16}
        >>> cube.read(np.arange(4), channels=[2, 6], **window).values.shape
        (4, 2, 16, 16)
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._signature = file_signature(os.path.join(path, 'zarr.json'))
        record = cube_record(path)
        if not record['complete']:
            raise OSError(
                f"'{path}' is not complete, its conversion was stopped. Finish it with the same "
                f'command: {record["command"]}'
            )
        self._arrays: dict[str, CubeArray] | None = None
        self._names: list[str] = record['arrays']
        try:
            with zarr_options():
                group = zarr.open_group(path, mode='r')
                names = ('band', 'footprint', 'time', 'time_bounds')
                read: list[NDArray[Any]] = [self._whole(group[name]) for name in names]
            bands, footprints, self.times, self.spans = read
            attributes: dict[str, Any] = group.attrs.asdict()
            image = self._open()[IMAGE]
            attributes_of_image: dict[str, Any] = group[IMAGE].attrs.asdict()
            self.crs = CRS.from_user_input(
                attributes.get('proj:code') or attributes.get('proj:wkt2')
            )
            xres, _, left, _, yres, top = attributes['spatial:transform']
            height, width = attributes['spatial:shape']
            _require_consistent(
                image.shape,
                (len(self.times), len(bands), height, width),
                [array.shape for name, array in self._open().items() if name != IMAGE],
                spans=np.shape(self.spans),
                footprints=len(shapely.from_wkt(np.asarray(footprints, object))),
            )
            if not np.isfinite([left, top]).all() or not 0 < min(xres, -yres) < math.inf:
                raise ValueError(f'no grid has the transform {attributes["spatial:transform"]}')
            scale = float(attributes_of_image.get('scale_factor', 1.0))
            if not math.isfinite(scale) or scale == 0:
                raise ValueError(f'no pixel has the scale {scale}')
        except Exception as error:  # whatever Zarr and its codecs raise
            raise OSError(
                f"the metadata of the cube '{path}' cannot be read ({type(error).__name__}: "
                f'{error}): remove it and convert it again with {record["command"]}'
            ) from error
        self.grid = Grid(left, top, xres, -yres, width, height, RasterCRS.from_user_input(self.crs))
        self.bands = tuple(str(band) for band in bands)
        self.footprints = [str(footprint) for footprint in footprints]
        self.dtype: np.dtype[Any] = image.dtype
        self.scale = scale
        #: Rows and columns of a chunk.
        self._chunk = image.chunks[-2], image.chunks[-1]
        self.command = record['command']

    @staticmethod
    def _whole(array: Any) -> NDArray[Any]:
        """Read all values of a coordinate."""
        return np.asarray(array[...])

    @property
    def has_clouds(self) -> bool:
        """Whether pixels may be observed and not be clear."""
        return MASK_OBSERVED in self._names

    @property
    def block(self) -> Grid:
        """The first chunk: the pixels decoded at once."""
        height, width = self._chunk
        return self.grid.crop(0, 0, height, width)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy without the open arrays."""
        return self.__dict__ | {'_arrays': None}

    def _open(self) -> dict[str, CubeArray]:
        """Open the arrays of pixels and masks at first use."""
        if self._arrays is None:
            with zarr_options():
                group = zarr.open_group(self.path, mode='r')
                arrays = [group[name] for name in self._names]
            self._arrays = {
                name: CubeArray(self.path, array)
                for name, array in zip(self._names, arrays, strict=True)
                if isinstance(array, zarr.Array)
            }
        return self._arrays

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
            row: First row; it may lie outside the cube.
            column: First column; it may too.
            height: Number of rows.
            width: Number of columns.
            observed: Read what was observed too.
            scaled: Give values as float32 with the scale applied, not as they are stored.

        Returns:
            The frames, of which what was observed is None unless it is asked for; beyond the
            cube nothing was.

        Raises:
            OSError: If a shard is missing or broken, or the cube is no longer the one that was
                opened; the message names it.
        """
        top, left = max(row, 0), max(column, 0)
        bottom = min(row + height, self.grid.height)
        right = min(column + width, self.grid.width)
        arrays = self._open()
        names = [IMAGE, MASK_CLEAR]
        if observed and MASK_OBSERVED in arrays:
            names.append(MASK_OBSERVED)
        whole = (bottom - top, right - left) == (height, width)
        found: list[NDArray[Any]] = []
        with ExitStack() as files:
            parts: list[Callable[[], None]] = []
            try:
                for name in names:
                    bands = channels if name == IMAGE else None
                    shape = (len(frames), *(() if bands is None else (len(bands),)), height, width)
                    dtype = np.float32 if scaled and name == IMAGE else arrays[name].dtype
                    out = (np.empty if whole else np.zeros)(shape, dtype)
                    found.append(out)
                    if bottom > top and right > left:
                        inside = out[..., top - row : bottom - row, left - column : right - column]
                        window = slice(top, bottom), slice(left, right)
                        scale = self.scale if scaled and name == IMAGE else 1.0
                        parts += arrays[name].parts(
                            inside, frames, bands, *window, files, scale=scale
                        )
                read_parts(parts)
            except ShardError as error:
                raise OSError(
                    f"'{error.path}' of the cube '{self.path}' is missing or broken "
                    f'({error.reason}). Delete this file, if it is there, and fill the gap from '
                    f'the source with the command that made the cube: {self.command}'
                ) from error
        if file_signature(os.path.join(self.path, 'zarr.json')) != self._signature:
            raise OSError(
                f"'{self.path}' is not the cube that it was when the series was opened: it was "
                'replaced or removed meanwhile. Open the series again.'
            )
        return Frames(
            found[0],
            found[1],
            self.times[frames],
            self.grid.crop(row, column, height, width),
            observed=found[-1] if observed else None,
            scale=1.0 if scaled else self.scale,
        )


def _require_consistent(
    image: tuple[int, ...],
    expected: tuple[int, ...],
    masks: list[tuple[int, ...]],
    *,
    spans: tuple[int, ...],
    footprints: int,
) -> None:
    """Refuse metadata whose parts tell of different cubes.

    Args:
        image: Shape of the pixels.
        expected: Number of dates and bands, height and width, as the rest says.
        masks: Shapes of the masks.
        spans: Shape of the first and last seconds of the dates.
        footprints: Number of the footprints.

    Raises:
        ValueError: If they do.
    """
    times, _, height, width = expected
    if image != expected or 0 in image:
        raise ValueError(f'pixels of {image}, but {expected} dates, bands, rows and columns')
    odd = [mask for mask in masks if mask != (times, height, width)]
    if odd or spans != (times, 2) or footprints != times:
        raise ValueError(
            f'{times} dates of {height} x {width}, but masks of {masks}, {spans} spans and '
            f'{footprints} footprints'
        )

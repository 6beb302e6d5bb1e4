"""What the names and headers of raster files say."""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatch
from pathlib import PurePath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.crs import CRS as RasterCRS
from rasterio.errors import CRSError, RasterioError
from rasterio.transform import from_origin
from rasterio.warp import calculate_default_transform, transform_bounds
from torchgeo.datasets import DatasetNotFoundError
from torchgeo.datasets.utils import Path, find_files

from ..errors import SITSError
from ..grid import TOLERANCE, Grid
from .filenames import KNOWN_NAMES, RasterName, parse_name
from .header_cache import read_headers
from .headers import Bounds, Header

__all__ = [
    'RASTER_EXTENSIONS',
    'RastersNotFoundError',
    'Scene',
    'common_crs',
    'extents',
    'finest',
    'list_examples',
    'list_rasters',
    'scan',
    'snapped',
    'to_pyproj',
]

#: Names of all that a header holds.
_FIELDS = tuple(field.name for field in fields(Header))


class RastersNotFoundError(DatasetNotFoundError):
    """No folder or no rasters where they were looked for; the message says where."""

    def __init__(self, message: str) -> None:
        FileNotFoundError.__init__(self, message)


@dataclass(frozen=True, slots=True)
class Scene(Header):
    """One file: what its name and its header say.

    Attributes:
        path: The file.
        name: What its name says.
    """

    path: str
    name: RasterName


def list_examples(items: Sequence[object], limit: int = 3) -> str:
    """Name the first few of *items*, and count the others."""
    shown = ', '.join(f"'{item}'" for item in items[:limit])
    return shown if len(items) <= limit else f'{shown} and {len(items) - limit} more'


def scan(
    files: Sequence[str],
    *,
    unreadable: Literal['raise', 'skip'],
    filename_regex: str | None = None,
    date_format: str = '%Y%m%d',
) -> list[Scene]:
    """Read the names and headers of rasters.

    Args:
        files: The rasters, in the order in which they are to be kept.
        unreadable: What to do about a file that does not open: fail, or leave it out with one
            warning for all such files.
        filename_regex: See :func:`~torchgeo_sits.datasets.filenames.parse_name`.
        date_format: See :func:`~torchgeo_sits.datasets.filenames.parse_name`.

    Returns:
        One scene per file with a date in its name. Others are left out with one warning.

    Raises:
        SITSError: If no name holds a date, or a raster has no CRS.
        OSError: If a file does not open and *unreadable* is ``'raise'``.
    """
    names = {
        path: parse_name(path, filename_regex=filename_regex, date_format=date_format)
        for path in files
    }
    dated = [(path, name) for path, name in names.items() if name is not None]
    dateless = [path for path, name in names.items() if name is None]
    if not dated and filename_regex is not None:
        raise SITSError(
            f'filename_regex={filename_regex!r} finds no date in the names of {len(files)} '
            f"rasters, such as '{PurePath(files[0]).name}': it must match from the start of the "
            "name and have a group 'date' (?P<date>...), or 'start' and 'stop'"
        )
    if not dated:
        raise SITSError(
            f'no date found in the names of {len(files)} rasters, such as '
            f"'{files[0]}'. Names like these are understood: {KNOWN_NAMES}. For others give "
            "filename_regex with a group 'date', and date_format."
        )
    if dateless:
        warnings.warn(
            f'{len(dateless)} rasters without a date in their names are ignored: '
            f'{list_examples(dateless)}',
            UserWarning,
            stacklevel=3,
        )

    results = read_headers([path for path, _ in dated])
    scenes: list[Scene] = []
    errors: dict[str, RasterioError] = {}
    for (path, name), header in zip(dated, results, strict=True):
        if isinstance(header, Header):
            said = {field: getattr(header, field) for field in _FIELDS}
            scenes.append(Scene(path=path, name=name, **said))
        else:
            errors[path] = header
    broken = list(errors)
    if broken and unreadable == 'raise':
        raise OSError(
            f'{len(broken)} of {len(dated)} rasters cannot be opened: {list_examples(broken)} '
            f'({errors[broken[0]]}). Fetch or write them again, remove them, or leave them out '
            "with unreadable='skip'."
        )
    if broken:
        warnings.warn(
            f'{len(broken)} of {len(dated)} rasters cannot be opened and are left out: '
            f'{list_examples(broken)}',
            UserWarning,
            stacklevel=3,
        )
    if not scenes:
        raise RastersNotFoundError(
            f'none of {len(dated)} rasters can be opened: {list_examples(broken)}'
        )
    return scenes


#: Endings of the files that are taken for rasters, whatever their case.
RASTER_EXTENSIONS = ('.tif', '.tiff', '.jp2', '.vrt', '.img')


def list_rasters(
    paths: Path | Iterable[Path], filename_glob: str = '*', *, option: str = 'paths'
) -> list[str]:
    """List the rasters in folders and all that they contain.

    Args:
        paths: Folders, files, or GDAL paths (``/vsi...``).
        filename_glob: Pattern that the names of files must fit.
        option: Name of the argument that gave *paths*, for messages.

    Returns:
        Paths of the rasters, each once, sorted.

    Raises:
        RastersNotFoundError: If a path does not exist or none holds a raster.
    """
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files: set[str] = set()
    for root in roots:
        root = os.fspath(root)
        if os.path.isfile(root) or '://' in root:
            found = [root] if fnmatch(os.path.basename(root), filename_glob) else []
        elif os.path.isdir(root) or root.startswith('/vsi'):
            found = find_files(root, filename_glob)
        else:
            raise RastersNotFoundError(
                f"'{root}' does not exist: give a folder of rasters, or files, as `{option}`"
            )
        files.update(path for path in found if path.lower().endswith(RASTER_EXTENSIONS))
    if not files:
        raise RastersNotFoundError(
            f'no rasters ({", ".join(RASTER_EXTENSIONS)}) in '
            f'{", ".join(repr(os.fspath(root)) for root in roots)}, given as `{option}`'
            + (f" with names like '{filename_glob}'" if filename_glob != '*' else '')
        )
    return sorted(files)


def to_pyproj(crs: RasterCRS) -> CRS:
    """The same CRS as TorchGeo and GeoPandas hold it."""
    return CRS.from_wkt(crs.to_wkt(version='WKT2_2019'))


def extents(scenes: Sequence[Scene], crs: RasterCRS) -> NDArray[np.float64]:
    """``(N, 4)`` west, south, east and north of N rasters, in units of *crs*."""
    warped: dict[tuple[RasterCRS, Bounds], Bounds] = {}  # a tile has the same in all its files
    bounds = []
    for scene in scenes:
        if scene.crs == crs:
            bounds.append(scene.bounds)
            continue
        place = scene.crs, scene.bounds
        if place not in warped:
            warped[place] = transform_bounds(scene.crs, crs, *scene.bounds)
        bounds.append(warped[place])
    return np.array(bounds)


def common_crs(scenes: Sequence[Scene], crs: CRS | None) -> RasterCRS:
    """The CRS of all samples; says once how many files must be warped to it.

    Args:
        scenes: The rasters.
        crs: What the user chose, if anything; else that of the first raster.

    Returns:
        The CRS.

    Raises:
        SITSError: If *crs* is none.
    """
    try:
        target = scenes[0].crs if crs is None else RasterCRS.from_user_input(crs)
    except (CRSError, ValueError) as error:
        raise SITSError(
            f"crs={crs!r} is no coordinate reference system, such as 'EPSG:32631': {error}"
        ) from error
    others = [scene.path for scene in scenes if scene.crs != target]
    if others and crs is None:
        warnings.warn(
            f'{len(others)} of {len(scenes)} rasters are in another CRS than '
            f"'{scenes[0].path}' and are warped to its own ({target.to_string()[:60]}): "
            f'{list_examples(others)}. Give `crs` for another choice.',
            UserWarning,
            stacklevel=3,
        )
    return target


def finest(scenes: Sequence[Scene], crs: RasterCRS) -> tuple[float, float]:
    """Size of the smallest pixel among rasters, in units of *crs*."""
    same = [scene.res for scene in scenes if scene.crs == crs]
    if same:
        return min(same)
    scene = min(scenes, key=lambda s: s.res)
    left, bottom, right, top = scene.bounds
    width = round((right - left) / scene.res[0])
    height = round((top - bottom) / scene.res[1])
    transform, *_ = calculate_default_transform(scene.crs, crs, width, height, *scene.bounds)
    return float(transform.a), float(-transform.e)


def snapped(grid: Grid, scenes: Sequence[Scene]) -> Grid:
    """Move a window onto the pixel grid of the rasters below it, by half a pixel at most.

    Args:
        grid: The window as it was asked for.
        scenes: The rasters; the first one of its CRS and pixel size gives the grid.

    Returns:
        The window, as it was if it fits already or no raster has its pixel size.
    """
    for scene in scenes:
        if scene.crs != grid.crs:
            continue
        offset = grid.offset_in(from_origin(scene.bounds[0], scene.bounds[3], *scene.res))
        if offset is None:
            continue
        column, row = (float(value - np.floor(value + 0.5)) for value in offset)
        if max(abs(column), abs(row)) <= TOLERANCE:
            return grid
        return Grid(
            grid.left - column * grid.xres,
            grid.top + row * grid.yres,
            grid.xres,
            grid.yres,
            grid.width,
            grid.height,
            grid.crs,
        )
    return grid

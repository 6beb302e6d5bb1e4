"""Raster files with dates in their names: found in folders, their headers read."""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatch
from pathlib import PurePath
from typing import Any, Literal

from rasterio.errors import RasterioError
from torchgeo.datasets import DatasetNotFoundError
from torchgeo.datasets.utils import Path, find_files

from ..errors import SITSError
from .filenames import KNOWN_NAMES, RasterName, parse_description, parse_names
from .headers import Header, read_header, read_headers

__all__ = ['RasterFile', 'RastersNotFoundError', 'list_examples', 'list_rasters', 'scan']

#: Names of all that a header holds.
_FIELDS = tuple(field.name for field in fields(Header))


class RastersNotFoundError(DatasetNotFoundError):
    """No folder or no rasters where they were looked for; the message says where.

    Examples:
        >>> from torchgeo_sits.datasets import RastersNotFoundError, RasterTimeSeries
        >>> try:
        ...     RasterTimeSeries('nowhere')
        ... except RastersNotFoundError as error:
        ...     print(error)
        'nowhere' does not exist: give a folder of rasters, or files, as `paths`
    """

    def __init__(self, message: str) -> None:
        FileNotFoundError.__init__(self, message)


@dataclass(frozen=True, slots=True)
class RasterFile(Header):
    """Name and header of one file.

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
) -> list[RasterFile]:
    """Read the names and headers of rasters.

    Args:
        files: The rasters, in the order in which they are to be kept.
        unreadable: What to do about a file that does not open: fail, or leave it out with one
            warning for all such files.
        filename_regex: See :func:`~torchgeo_sits.datasets.filenames.parse_name`.
        date_format: See :func:`~torchgeo_sits.datasets.filenames.parse_name`.

    Returns:
        One raster per file with a date in its name, or with one in the descriptions of its bands.
        Others are left out with one warning.

    Raises:
        SITSError: If no name holds a date, or a raster has no CRS.
        OSError: If a file does not open and *unreadable* is ``'raise'``.
    """
    names = parse_names(files, filename_regex=filename_regex, date_format=date_format)
    if filename_regex is None:
        names |= {path: _name_by_bands(path) for path, name in names.items() if name is None}
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
    rasters: list[RasterFile] = []
    errors: dict[str, RasterioError] = {}
    told: dict[int, dict[str, Any]] = {}  # files of one grid share a header
    for (path, name), header in zip(dated, results, strict=True):
        if isinstance(header, Header):
            if id(header) not in told:
                told[id(header)] = {field: getattr(header, field) for field in _FIELDS}
            rasters.append(RasterFile(path=path, name=name, **told[id(header)]))
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
    if not rasters:
        raise RastersNotFoundError(
            f'none of {len(dated)} rasters can be opened: {list_examples(broken)}'
        )
    return rasters


def _name_by_bands(path: str) -> RasterName | None:
    """Find the first date that the descriptions of a file's bands hold, if all do."""
    try:
        descriptions = read_header(path).descriptions
    except (RasterioError, SITSError):
        return None
    found = [parse_description(text) for text in descriptions]
    names = [told[0] for told in found if told is not None]
    if not names or len(names) < len(found):
        return None
    first = min(names, key=lambda name: name.time)
    return RasterName(first.time, first.stop, None, PurePath(path).stem)


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

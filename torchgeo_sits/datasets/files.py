"""Raster files with dates in their names: found in folders, their headers read."""

import os
import tarfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatch
from glob import escape, iglob
from pathlib import PurePath
from typing import Any, Literal, NamedTuple
from zipfile import BadZipFile, ZipFile

from rasterio.errors import RasterioError
from torchgeo.datasets import DatasetNotFoundError
from torchgeo.datasets.utils import Path, find_files

from ..errors import SITSError
from .filenames import KNOWN_NAMES, RasterName, parse_description, parse_names
from .headers import Header, read_header, read_headers

__all__ = [
    'FoundFiles',
    'RasterFile',
    'RastersNotFoundError',
    'files_in',
    'find_rasters',
    'list_examples',
    'list_rasters',
    'scan',
]

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
        Others are left out with one warning, and so are maps of this package among images.

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
    return _without_maps(rasters)


def _without_maps(rasters: list[RasterFile]) -> list[RasterFile]:
    """Leave out maps that were written among the images; a folder of maps alone is a series."""
    maps = [raster.path for raster in rasters if raster.is_map]
    if not maps or len(maps) == len(rasters):
        return rasters
    warnings.warn(
        f'{len(maps)} rasters are maps of this package, and left out: {list_examples(maps)}. To '
        'read them as a series, give them alone.',
        UserWarning,
        stacklevel=4,
    )
    return [raster for raster in rasters if not raster.is_map]


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
#: Endings of pixels without a word about them: rasters where a header (.hdr) lies beside.
_FLAT = ('.dat', '.bil', '.bip', '.bsq', '.bin', '.raw', '.flt', '')
#: Archives whose rasters GDAL reads in place, and its names for what is in them.
_ARCHIVES = {'.zip': '/vsizip/', '.tar': '/vsitar/'}
#: Endings of what may be a part of a series as well, and what is to be done about it.
_OTHERS = {
    'give a header (.hdr) beside each': _FLAT[:-1],
    'unpack them': ('.gz', '.tgz', '.bz2', '.xz', '.zst', '.7z', '.rar'),
    'convert each layer that they hold to a GeoTIFF, with gdal_translate': (
        *('.hdf', '.hdf4', '.h4', '.he4', '.hdf5', '.h5', '.he5', '.grb', '.grb2', '.grib'),
        *('.grib2', '.n1', '.e1', '.e2', '.kea', '.pix', '.ers', '.mrf', '.til'),
    ),
    'give cubes (NetCDF) as paths of their own': ('.nc', '.nc4', '.cdf'),
    'list them as paths, file by file, or convert them to GeoTIFF': (
        *('.asc', '.grd', '.rst', '.ntf', '.nitf', '.ecw', '.sid', '.hgt', '.dem', '.bt'),
        *('.sdat', '.rsw', '.mpr', '.map', '.pnm', '.j2k', '.jpx', '.cog'),
        *('.gtiff', '.geotiff', '.blx', '.lcp', '.gsb', '.tif_', '.jpc', '.xpm', '.webp'),
    ),
}
#: Endings of files that are never rasters of a series, even where they are listed.
_COMPANIONS = (
    *('.xml', '.json', '.txt', '.hdr', '.prj', '.tfw', '.tifw', '.wld', '.j2w', '.jgw', '.pgw'),
    *('.aux', '.ovr', '.msk', '.rrd', '.ige', '.tab', '.png', '.jpg', '.jpeg', '.gif', '.pdf'),
    *('.html', '.htm', '.csv', '.md', '.geojson', '.gpkg', '.shp', '.shx', '.dbf', '.cpg', '.kml'),
    *('.kmz', '.gml', '.qml', '.sld', '.yaml', '.yml', '.log', '.met', '.md5', '.sha256'),
    *('.parquet', '.py', '.ipynb', '.npy', '.npz', '.lock', '.tmp', '.part', '.safe'),
)


class FoundFiles(NamedTuple):
    """Files in the folders of a series.

    Attributes:
        rasters: Those that are taken for rasters, sorted.
        others: Those that may be rasters of other formats, sorted.
    """

    rasters: list[str]
    others: list[str]

    def warn_of_others(self, option: str = 'paths') -> None:
        """Count the files that are left out for their endings, and say what to do about them.

        Args:
            option: Name of the argument that gave the folders.
        """
        if not self.others:
            return
        advice = [
            f'{text} ({", ".join(sorted(endings))})'
            for text, known in _OTHERS.items()
            if (endings := {_ending(path) for path in self.others} & set(known))
        ]
        warnings.warn(
            f'{len(self.others)} files in {option} are left out for their endings: '
            f'{list_examples(self.others)}. To read them, {"; ".join(advice)}.',
            UserWarning,
            stacklevel=3,
        )


def list_rasters(
    paths: Path | Iterable[Path], filename_glob: str = '*', *, option: str = 'paths'
) -> list[str]:
    """List the rasters in folders and all that they contain.

    Args:
        paths: Folders, files, archives (.zip, .tar) or GDAL paths (``/vsi...``).
        filename_glob: Pattern that the names of files must fit.
        option: Name of the argument that gave *paths*, for messages.

    Returns:
        Paths of the rasters, each once, sorted.

    Raises:
        RastersNotFoundError: If a path does not exist or none holds a raster.
    """
    return find_rasters(paths, filename_glob, option=option).rasters


def find_rasters(
    paths: Path | Iterable[Path], filename_glob: str = '*', *, option: str = 'paths'
) -> FoundFiles:
    """List the rasters in folders, and the files that may be rasters as well.

    In folders the ending tells what is a raster. A file that is named itself is one whatever its
    ending, but for those of companions of rasters. Archives are read in place, unless what they
    hold lies unpacked beside them.

    Args:
        paths: Folders, files, archives (.zip, .tar) or GDAL paths (``/vsi...``).
        filename_glob: Pattern that the names of files must fit.
        option: Name of the argument that gave *paths*, for messages.

    Returns:
        The files.

    Raises:
        RastersNotFoundError: If a path does not exist or none holds a raster.
    """
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    rasters: set[str] = set()
    others: set[str] = set()
    for root in roots:
        root = os.fspath(root)
        if os.path.isfile(root) and _ending(root) in _ARCHIVES:
            rasters.update(_members(root, filename_glob))
        elif os.path.isfile(root) or '://' in root:
            if fnmatch(os.path.basename(root), filename_glob) and _ending(root) not in _COMPANIONS:
                rasters.add(root)
        elif os.path.isdir(root):
            found = files_in(root)
            headers = {path[:-4].lower() for path in found if path.lower().endswith('.hdr')}
            for path in found:
                ending = _ending(path)
                fits = fnmatch(os.path.basename(path), filename_glob)
                if ending in RASTER_EXTENSIONS:
                    if fits:
                        rasters.add(path)
                elif ending in _ARCHIVES:
                    if not _is_unpacked(path) and os.path.isfile(path):
                        rasters.update(_members(path, filename_glob))
                elif not fits:
                    continue
                elif ending in _FLAT and {path.lower(), path.lower()[: -len(ending)]} & headers:
                    rasters.add(path)
                elif any(ending in endings for endings in _OTHERS.values()):
                    others.add(path)
        elif root.startswith('/vsi'):
            found = find_files(root, filename_glob)
            rasters.update(path for path in found if path.lower().endswith(RASTER_EXTENSIONS))
        else:
            raise RastersNotFoundError(
                f"'{root}' does not exist: give a folder of rasters, or files, as `{option}`"
            )
    found_files = FoundFiles(sorted(rasters), sorted(others))
    if not rasters:
        found_files.warn_of_others(option)
        raise RastersNotFoundError(
            f'no rasters ({", ".join(RASTER_EXTENSIONS)}) in '
            f'{", ".join(repr(os.fspath(root)) for root in roots)}, given as `{option}`'
            + (f" with names like '{filename_glob}'" if filename_glob != '*' else '')
        )
    return found_files


def files_in(folder: str) -> list[str]:
    """List all that a folder holds, in folders of its own too, but for what is hidden.

    Args:
        folder: The folder, whose name may hold brackets and stars: it is no pattern.

    Returns:
        Paths, sorted.
    """
    return sorted(iglob(os.path.join(escape(folder), '**', '*'), recursive=True))


def _ending(path: str) -> str:
    """The ending of a name in small letters, with its dot."""
    return os.path.splitext(path)[1].lower()


def _is_unpacked(archive: str) -> bool:
    """Tell whether a folder beside an archive has its name."""
    start = archive[:-4]
    return os.path.isdir(start) or os.path.isdir(f'{start}.SAFE')


def _members(archive: str, filename_glob: str) -> list[str]:
    """List the rasters in an archive as GDAL reads them there; itself where it is broken."""
    ending = _ending(archive)
    try:
        if ending == '.zip':
            with ZipFile(archive) as file:
                names = file.namelist()
        else:
            with tarfile.open(archive, 'r:') as tar:
                names = tar.getnames()
    except (OSError, BadZipFile, tarfile.TarError, ValueError):
        return [archive]  # which does not open: the caller says so as of any other file
    return [
        f'{_ARCHIVES[ending]}{archive}/{name}'
        for name in names
        if _ending(name) in RASTER_EXTENSIONS
        and fnmatch(os.path.basename(name), filename_glob)
        and not name.startswith('/')
        and '..' not in name.split('/')
    ]

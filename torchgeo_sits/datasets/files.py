"""Finding raster files in folders."""

import os
from collections.abc import Iterable
from fnmatch import fnmatch

from torchgeo.datasets.utils import Path, find_files

from .scenes import RastersNotFoundError

__all__ = ['RASTER_EXTENSIONS', 'list_rasters']

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

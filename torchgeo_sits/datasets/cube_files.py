"""Which cubes make one data set, and whether they fit together."""

import os
from collections.abc import Iterable, Sequence

from pyproj import CRS
from pyproj.exceptions import CRSError
from torchgeo.datasets.utils import Path

from .cube_store import CubeStore
from .grid import TOLERANCE, pixel_size
from .scenes import RastersNotFoundError

__all__ = ['channels_of', 'find_cubes', 'require_expected', 'require_same_grid']


def find_cubes(paths: Path | Iterable[Path]) -> list[str]:
    """List the Zarr stores among paths and in the folders among them.

    Args:
        paths: Stores, or folders that hold some at any depth.

    Returns:
        Paths of the stores, each once, sorted.

    Raises:
        RastersNotFoundError: If a path does not exist or none holds a store.
    """
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: set[str] = set()
    for root in [os.fspath(root) for root in roots]:
        if not os.path.isdir(root):
            raise RastersNotFoundError(
                f"'{root}' does not exist: give a cube that `torchgeo-sits cube` wrote, or a "
                'folder of some, as `paths`'
            )
        for folder, inner, files in os.walk(root):
            if 'zarr.json' in files:
                found.add(folder)
                inner.clear()  # the arrays of a store have one too
    if not found:
        raise RastersNotFoundError(
            f'no cubes in {", ".join(repr(os.fspath(root)) for root in roots)}: write one with '
            '`torchgeo-sits cube`'
        )
    return sorted(found)


def require_same_grid(cube: CubeStore, first: CubeStore) -> None:
    """Refuse cubes whose pixels do not lie side by side with those of another.

    Args:
        cube: A cube.
        first: The first one of the data set.

    Raises:
        ValueError: If CRS, pixel size, alignment or scale differ.
    """
    if cube.grid.crs != first.grid.crs:
        raise ValueError(
            f"'{cube.path}' is in another CRS than '{first.path}', and cubes are not warped: "
            f'convert again with --crs {_short(first.crs)}'
        )
    offset = first.grid.offset_in(cube.grid.transform)
    if offset is None:
        raise ValueError(
            f"'{cube.path}' has pixels of {cube.grid.xres} x {cube.grid.yres}, '{first.path}' of "
            f'{first.grid.xres} x {first.grid.yres}: convert again with --res {first.grid.xres}'
        )
    shift = max(abs(value - round(value)) for value in offset)
    if shift > 10 * TOLERANCE:
        raise ValueError(
            f"the pixels of '{cube.path}' lie {shift:.2f} of a pixel beside those of "
            f"'{first.path}': open them as two data sets and join these with |"
        )
    if cube.scale != first.scale:
        raise ValueError(
            f"'{cube.path}' has scale {cube.scale}, '{first.path}' {first.scale}: convert one of "
            'them again, so that both have the same'
        )


def require_expected(
    cube: CubeStore, crs: CRS | str | None, res: float | tuple[float, float] | None
) -> None:
    """Refuse a cube in another CRS or of another pixel size than asked for.

    Args:
        cube: The cube.
        crs: The coordinate reference system, None for any.
        res: The size of a pixel, None for any.

    Raises:
        ValueError: If they differ, or *crs* is none.
    """
    if crs is not None:
        try:
            wanted = CRS.from_user_input(crs)
        except CRSError as error:
            raise ValueError(
                f"crs={crs!r} is no coordinate reference system, such as 'EPSG:32631': {error}"
            ) from error
        if wanted != cube.crs:
            raise ValueError(
                f"'{cube.path}' is in {_short(cube.crs)}, and cubes are not warped to "
                f'{_short(wanted)}: convert again with --crs {_short(wanted)}'
            )
    if res is not None:
        own = cube.grid.xres, cube.grid.yres
        asked = pixel_size(res)
        if max(abs(a / b - 1) for a, b in zip(asked, own, strict=True)) > 1e-9:
            raise ValueError(
                f"'{cube.path}' has pixels of {own[0]} x {own[1]}, and cubes are not resampled "
                f'to {asked[0]} x {asked[1]}: convert again with --res {asked[0]}'
            )


def channels_of(cube: CubeStore, bands: Sequence[str]) -> list[int]:
    """Numbers of bands in a cube.

    Args:
        cube: The cube.
        bands: Their names.

    Returns:
        Their numbers, from 0.

    Raises:
        ValueError: If a band is unknown, or there are none.
    """
    unknown = [band for band in bands if band not in cube.bands]
    if unknown:
        raise ValueError(
            f"unknown bands {unknown}: '{cube.path}' holds {cube.bands}. Give some of these "
            'names, in the order in which the channels are wanted.'
        )
    if not bands:
        raise ValueError('bands is empty: name at least one, or leave it None for all')
    return [cube.bands.index(band) for band in bands]


def _short(crs: CRS) -> str:
    """A CRS as the command line takes it, where it has a code."""
    authority = crs.to_authority(min_confidence=100)
    return ':'.join(authority) if authority else str(crs.name)

"""Cubes of image time series as a TorchGeo data set."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal

from pyproj import CRS
from torchgeo.datasets.utils import Path, Sample

from .cubes import CubeStore
from .files import RastersNotFoundError
from .store_series import StoreTimeSeries

__all__ = ['ZarrTimeSeries']

#: Options of series of rasters that a cube was written with.
_OF_CONVERSION = (
    *('cloud_paths', 'clear_values', 'nodata', 'filename_regex', 'date_format', 'unreadable'),
    *('snow_is_clear', 'scale', 'offset', 'quality', 'cloud_bits'),
)


class ZarrTimeSeries(StoreTimeSeries):
    """Image time series from one or several cubes that ``torchgeo-sits cube`` wrote.

    Samples are those of the :class:`RasterTimeSeries` that a cube was made of, bit for bit where
    its files needed no warp, and all that works on one works on the other; windows are read
    several times as fast, since all dates of a place lie side by side. A pixel counts as observed
    where all bands of the cube were, whichever are read, and an acquisition of several tiles has
    the time of the first one everywhere. Pixels are not warped: a cube has one grid, and all cubes
    of a data set share its CRS, pixel size and alignment. Where several hold pixels of one
    acquisition the first that observed a pixel counts, in the order of their paths.

    What is missing, broken or replaced meanwhile is an error that names the file, never zeros.
    Safe under forked and spawned workers.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import (
        ...     RasterTimeSeries,
        ...     ZarrTimeSeries,
        ...     write_cube,
        ...     write_synthetic_series,
        ... )
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> rasters = RasterTimeSeries(files.images)
        >>> write_cube(rasters, f'{folder.name}/s.zarr')
        1
        >>> cube = ZarrTimeSeries(f'{folder.name}/s.zarr', bands=['B04', 'B08'])
        >>> cube[cube.bounds]['image'].shape
        torch.Size([4, 2, 32, 32])
    """

    _other_crs: ClassVar[str] = 'convert again with --crs {}'
    _other_res: ClassVar[str] = 'convert again with --res {}'

    def __init__(
        self,
        paths: Path | Iterable[Path],
        crs: CRS | str | None = None,
        res: float | tuple[float, float] | None = None,
        bands: Sequence[str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        *,
        group_by: Literal['day', 'time'] = 'day',
        min_clear: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Open the cubes.

        Args:
            paths: Cubes, or folders that hold some.
            crs: The coordinate reference system to expect; that of the cubes by default.
            res: The size of a pixel to expect; that of the cubes by default.
            bands: Names of the bands to read, in this order; all by default.
            transforms: Called with each sample.
            group_by: What makes frames one acquisition: the same UTC day, or the same time.
            min_clear: Frames with a smaller share of clear pixels are left out of a sample;
                0 keeps all, the empty ones too. Where no frame is clear enough the clearest
                is kept.
            **kwargs: Options of a series of rasters, such as ``nodata``, are refused unless they
                are None or what they are by default: a cube was given them when it was written.

        Raises:
            DatasetNotFoundError: If there is no cube.
            SITSError: If cubes differ in grid or scale, are not what is expected, a band is
                unknown, or an option is out of range or one of the conversion.
            OSError: If a cube is not complete or cannot be read.
        """
        super().__init__(
            paths,
            transforms,
            group_by=group_by,
            min_clear=min_clear,
            refused=_OF_CONVERSION,
            advice='leave it out, or give it to `torchgeo-sits cube` for a cube that is read',
            **kwargs,
        )
        self._join([CubeStore(path) for path in self.files], crs=crs, res=res, bands=bands)

    @property
    def files(self) -> list[str]:
        """The cubes, sorted."""
        return _find_cubes(self.paths)

    @property
    def has_clouds(self) -> bool:
        """Whether any of the cubes holds pixels that are observed and not clear."""
        return any(isinstance(s, CubeStore) and s.has_clouds for s in self._stores)

    @property
    def source_files(self) -> list[str]:
        """A file of each cube that changes whenever it is written."""
        return [os.path.join(path, 'zarr.json') for path in self.files]


def _find_cubes(paths: Path | Iterable[Path]) -> list[str]:
    """List the stores among paths and in the folders among them, each once, sorted."""
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

"""Which kind of series reads what lies at some paths."""

import os
from collections.abc import Iterable

from torchgeo.datasets.utils import Path

from .cf import is_store
from .cf_series import CFTimeSeries
from .cubes.store import is_cube
from .files import RASTER_EXTENSIONS
from .raster_series import RasterTimeSeries
from .series import TimeSeries
from .stac_items import is_stac
from .stac_series import StacTimeSeries
from .zarr_series import ZarrTimeSeries

__all__ = ['series_class_of']


def series_class_of(paths: Path | Iterable[Path]) -> type[TimeSeries]:
    """Choose the kind of series that reads what lies at some paths.

    Args:
        paths: What is given as ``paths`` to a series.

    Returns:
        :class:`ZarrTimeSeries` for the cubes of ``torchgeo-sits cube``, :class:`CFTimeSeries` for
        NetCDF files and other Zarr stores, also for folders that hold some and no rasters,
        :class:`StacTimeSeries` for STAC catalogues, items and STAC-GeoParquet, and
        :class:`RasterTimeSeries` for all else.

    Examples:
        >>> from torchgeo_sits.datasets import series_class_of
        >>> series_class_of('images').__name__, series_class_of('cube.nc').__name__
        ('RasterTimeSeries', 'CFTimeSeries')
    """
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if roots and all(is_stac(root) for root in roots):
        return StacTimeSeries
    store = next((found for root in roots if (found := _store_in(os.fspath(root)))), None)
    if store is None:
        return RasterTimeSeries
    return ZarrTimeSeries if is_cube(store) else CFTimeSeries


def _store_in(path: str) -> str | None:
    """A NetCDF file or Zarr store at a path or below; None where rasters lie, too."""
    if is_store(path):
        return path
    found = None
    for folder, inner, files in os.walk(path):
        if is_store(folder):
            found = found or folder
            inner.clear()
            continue
        if any(file.lower().endswith(RASTER_EXTENSIONS) for file in files):
            return None
        found = found or next((os.path.join(folder, f) for f in files if is_store(f)), None)
    return found

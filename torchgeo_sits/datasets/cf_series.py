"""NetCDF and Zarr by the CF conventions as a TorchGeo data set of image time series."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pyproj import CRS
from torchgeo.datasets.utils import Path, Sample

from ..errors import SITSError
from .cf import CFStore, list_stores
from .store_series import StoreTimeSeries, parse_crs

__all__ = ['CFTimeSeries']

#: Options of series of rasters that have no meaning here.
_OF_RASTERS = ('cloud_paths', 'filename_regex', 'date_format', 'unreadable')


class CFTimeSeries(StoreTimeSeries):
    """Image time series from NetCDF files and Zarr stores that follow the CF conventions.

    Those that xarray, odc-stac, stackstac, openEO, GDAL and many providers write: variables with
    dimensions of time, y and x, or latitude and longitude, under any names and in any order.
    Bands are variables, or lie along a dimension of their own. Several files are one series: dates
    that follow each other, or places side by side on one grid.

    Values are in physical units: ``scale_factor`` and ``add_offset`` are applied, and what
    ``_FillValue``, ``missing_value``, ``nodata`` or ``valid_range`` excludes, or is not finite, is
    not observed. A pixel counts as observed where all bands that are read were. Coordinates are the
    centres of pixels unless their ``bounds`` say otherwise; latitudes and longitudes without a
    grid mapping are of EPSG:4326. Times of other calendars must be dates of the usual one.

    Pixels are not warped. Chunks on disk that are missing in a Zarr store are its fill value, as
    Zarr defines it, not an error. Safe under forked and spawned workers.

    Attributes:
        cloud_variable: Variable that tells what is clear.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> import xarray as xr
        >>> from torchgeo_sits.datasets import CFTimeSeries
        >>> folder = tempfile.TemporaryDirectory()
        >>> dims = ('time', 'y', 'x')
        >>> cube = xr.Dataset(
        ...     {
        ...         'red': (dims, np.full((2, 4, 4), 500, 'uint16'), {'_FillValue': 0}),
        ...         'SCL': (dims, np.full((2, 4, 4), 4, 'uint8')),
        ...     },
        ...     {
        ...         'time': np.array(['2021-03-01', '2021-04-01'], 'datetime64[ns]'),
        ...         'y': [5_000_035.0, 5_000_025.0, 5_000_015.0, 5_000_005.0],
        ...         'x': [600_005.0, 600_015.0, 600_025.0, 600_035.0],
        ...     },
        ...     {'crs': 'EPSG:32631'},
        ... )
        >>> cube.to_netcdf(f'{folder.name}/cube.nc')
        >>> series = CFTimeSeries(folder.name, cloud_variable='SCL', clear_values=[4, 5])
        >>> sample = series[series.bounds]
        >>> series.bands, sample['image'].shape, sample['mask_clear'].all().item()
        (('red',), torch.Size([2, 1, 4, 4]), True)
    """

    _other_crs: ClassVar[str] = "reproject it first, for instance with rioxarray's ds.rio.reproject"
    _other_res: ClassVar[str] = (
        "resample it first, for instance with rioxarray's ds.rio.reproject(resolution={})"
    )

    def __init__(
        self,
        paths: Path | Iterable[Path],
        crs: CRS | str | None = None,
        res: float | tuple[float, float] | None = None,
        bands: Sequence[str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        *,
        cloud_variable: str | None = None,
        clear_values: Sequence[int] | None = None,
        cloud_flags: Sequence[str] | None = None,
        nodata: float | None = None,
        group: str | None = None,
        group_by: Literal['day', 'time'] = 'day',
        min_clear: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Open the files.

        Args:
            paths: NetCDF files, Zarr stores, or folders that hold some.
            crs: Coordinate reference system of files that say none, and to expect of others.
            res: Size of a pixel to expect; that of the files by default.
            bands: Names of the bands to read, in this order; all by default but masks and flags.
            transforms: Called with each sample.
            cloud_variable: Variable that tells what is clear, such as ``'SCL'``.
            clear_values: Its values that mean clear.
            cloud_flags: Its flags that mean not clear, by their names in ``flag_meanings``.
            nodata: Value that means no data, as it is stored, in place of what the files say.
            group: Group of the files that holds the variables; their root by default.
            group_by: What makes frames one acquisition: the same UTC day, or the same time.
            min_clear: Frames with a smaller share of clear pixels are left out of a sample;
                0 keeps all, the empty ones too. Where no frame is clear enough the clearest
                is kept.
            **kwargs: Options of a series of rasters, such as ``cloud_paths``, are refused unless
                they are None or what they are by default.

        Raises:
            DatasetNotFoundError: If there is no file.
            SITSError: If files hold no series on an even grid, differ in grid, are not what is
                expected, a band is unknown, or an option is out of range or does not fit.
            OSError: If a file cannot be opened.
        """
        super().__init__(
            paths,
            transforms,
            group_by=group_by,
            min_clear=min_clear,
            refused=_OF_RASTERS,
            advice='leave it out (masks are named by cloud_variable, times stand in the files)',
            **kwargs,
        )
        if cloud_variable is None and (clear_values or cloud_flags):
            raise SITSError(
                'clear_values and cloud_flags need cloud_variable: the name of the variable that '
                'holds them'
            )
        if cloud_variable is not None and (clear_values is None) == (cloud_flags is None):
            raise SITSError(
                f'cloud_variable={cloud_variable!r} needs clear_values, such as (2, 4, 5, 6, 7) of '
                "Sentinel-2's SCL, or cloud_flags, names in its flag_meanings: give one of them"
            )
        self.cloud_variable = cloud_variable
        self.nodata = nodata
        self.clear_values = None if clear_values is None else tuple(clear_values)
        self.cloud_flags = None if cloud_flags is None else tuple(cloud_flags)
        self.group = group
        expected = None if crs is None else parse_crs(crs)
        stores = [
            CFStore(
                path,
                bands=bands,
                crs=expected,
                group=group,
                nodata=nodata,
                cloud_variable=cloud_variable,
                clear_values=clear_values,
                cloud_flags=cloud_flags,
            )
            for path in self.files
        ]
        self._join(stores, crs=crs, res=res, bands=bands)
        self._warn_of_times(stores)

    @property
    def files(self) -> list[str]:
        """The NetCDF files and Zarr stores, sorted."""
        return list_stores(self.paths)

    @property
    def source_files(self) -> list[str]:
        """A file of each store that changes whenever it is written."""
        return [store.source_file for store in self._stores if isinstance(store, CFStore)]

    @property
    def has_clouds(self) -> bool:
        """Whether a variable tells what is clear."""
        return self.cloud_variable is not None

    def pixel_options(self) -> dict[str, Any]:
        """List options that change pixels, in plain values, by which a cube knows its source."""
        return {
            'nodata': None if self.nodata is None else repr(float(self.nodata)),
            'cloud_variable': self.cloud_variable,
            'clear_values': None if self.clear_values is None else list(self.clear_values),
            'cloud_flags': None if self.cloud_flags is None else list(self.cloud_flags),
            'group': self.group,
        }

    def close(self) -> None:
        """Close all open files; the next sample opens what it needs."""
        self._by_place.blocks.clear()
        for store in self._stores:
            if isinstance(store, CFStore):
                store.close()

    def _warn_of_times(self, stores: Sequence[CFStore]) -> None:
        """Say what is made of times that repeat, are in no order, or share a day."""
        total = sum(len(store.times) for store in stores)
        twice = sum(len(store.times) - len(np.unique(store.times)) for store in stores)
        days = sum(len(np.unique(s.times)) - len(np.unique(s.times // 86400)) for s in stores)
        found = []
        if any(not store.is_ordered for store in stores):
            found.append('times are in no order, and frames are put into that of time')
        if twice:
            found.append(
                f'{twice} of {total} times repeat an earlier one; of a pixel the first that '
                'observed it counts'
            )
        if days and self.group_by == 'day':
            found.append(
                f'{days} of {total} times share a day with an earlier one and become one frame, of '
                "which the first that observed a pixel counts: group_by='time' keeps them apart"
            )
        if found:
            warnings.warn(f"'{stores[0].path}': {'; '.join(found)}", UserWarning, stacklevel=3)

"""Data sets of dated rasters, as TorchGeo data sets."""

from .cf_series import CFTimeSeries
from .combine import LabelledTimeSeries, TimeSeriesUnion, merge_series
from .cubes import verify_cube, write_cube
from .filenames import RasterName, parse_name
from .files import RastersNotFoundError
from .frames import Frames
from .landsat import LandsatTimeSeries
from .opening import series_class_of
from .pastis import PASTIS
from .points import PointLabels, PointSeries
from .raster_series import RasterTimeSeries
from .sentinel1 import Sentinel1Beside
from .sentinel2 import Sentinel2TimeSeries
from .series import TimeSeries
from .stac_series import StacTimeSeries
from .synthetic import SyntheticSeries, write_synthetic_series
from .zarr_series import ZarrTimeSeries

__all__ = [
    'PASTIS',
    'CFTimeSeries',
    'Frames',
    'LabelledTimeSeries',
    'LandsatTimeSeries',
    'PointLabels',
    'PointSeries',
    'RasterName',
    'RasterTimeSeries',
    'RastersNotFoundError',
    'Sentinel1Beside',
    'Sentinel2TimeSeries',
    'StacTimeSeries',
    'SyntheticSeries',
    'TimeSeries',
    'TimeSeriesUnion',
    'ZarrTimeSeries',
    'merge_series',
    'parse_name',
    'series_class_of',
    'verify_cube',
    'write_cube',
    'write_synthetic_series',
]

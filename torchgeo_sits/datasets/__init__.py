"""Data sets of dated rasters, as TorchGeo data sets."""

from .combine import LabelledTimeSeries, TimeSeriesUnion, merge_series
from .filenames import RasterName, parse_name
from .scenes import RastersNotFoundError
from .sentinel2 import Sentinel2TimeSeries
from .synthetic import SyntheticSeries, write_synthetic_series
from .timeseries import RasterTimeSeries

__all__ = [
    'LabelledTimeSeries',
    'RasterName',
    'RasterTimeSeries',
    'RastersNotFoundError',
    'Sentinel2TimeSeries',
    'SyntheticSeries',
    'TimeSeriesUnion',
    'merge_series',
    'parse_name',
    'write_synthetic_series',
]

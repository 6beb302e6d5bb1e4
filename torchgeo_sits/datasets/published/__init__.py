"""Published data sets of image time series, by families of their layouts."""

from .base import (
    PARTS,
    About,
    Download,
    LabelKind,
    Part,
    PublishedDataNotFoundError,
    PublishedTimeSeries,
    StoredSeries,
    seconds_of,
)
from .breizhcrops import BreizhCrops
from .dated_files import DatedFiles, Frame, raster_size, read_raster
from .dynamicearthnet import DynamicEarthNet
from .hierarchical import open_hdf5
from .registry import DATASETS, find_dataset
from .tables import Rows, TableSeries

__all__ = [
    'DATASETS',
    'PARTS',
    'About',
    'BreizhCrops',
    'DatedFiles',
    'Download',
    'DynamicEarthNet',
    'Frame',
    'LabelKind',
    'Part',
    'PublishedDataNotFoundError',
    'PublishedTimeSeries',
    'Rows',
    'StoredSeries',
    'TableSeries',
    'find_dataset',
    'open_hdf5',
    'raster_size',
    'read_raster',
    'seconds_of',
]

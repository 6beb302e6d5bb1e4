"""Published data sets of image time series, by families of their layouts."""

from .arrays import ArraySeries
from .base import (
    PARTS,
    About,
    Download,
    LabelKind,
    Part,
    PublishedDataNotFoundError,
    PublishedTimeSeries,
    StoredSeries,
    join_series,
    seconds_of,
)
from .biomassters import BioMassters
from .bradd import BraDDS1TS
from .breizhcrops import BreizhCrops
from .cropharvest import CropHarvest
from .cv4akenya import CV4AKenya
from .dafals import DAFALS
from .dated_files import DatedFiles, Frame, raster_grid, raster_size, read_raster
from .denethor import Denethor
from .dynamicearthnet import DynamicEarthNet
from .eurocropsml import EuroCropsML
from .fields import FieldSquares
from .flairhub import FLAIRHUB
from .hierarchical import open_hdf5
from .mtlcc import MTLCC
from .multisenge import MultiSenGE
from .pastis_hd import PASTISHD
from .registry import DATASETS, find_dataset
from .sen4agrinet import Sen4AgriNet
from .sen4map import Sen4Map
from .sickle import Sickle
from .side_files import read_json, read_lines, read_npy
from .sitsscd_dynamicearthnet import SitsSCDDynamicEarthNet
from .sitsscd_muds import SitsSCDMUDS
from .spacenet7 import SpaceNet7
from .ssl4eos12 import SSL4EOS12
from .stacked import read_stack
from .tables import Rows, TableSeries
from .timesen2crop import TimeSen2Crop
from .tiselac import TiSeLaC
from .treesataits import TreeSatAITS
from .zuericrop import ZueriCrop

__all__ = [
    'DAFALS',
    'DATASETS',
    'FLAIRHUB',
    'MTLCC',
    'PARTS',
    'PASTISHD',
    'SSL4EOS12',
    'About',
    'ArraySeries',
    'BioMassters',
    'BraDDS1TS',
    'BreizhCrops',
    'CV4AKenya',
    'CropHarvest',
    'DatedFiles',
    'Denethor',
    'Download',
    'DynamicEarthNet',
    'EuroCropsML',
    'FieldSquares',
    'Frame',
    'LabelKind',
    'MultiSenGE',
    'Part',
    'PublishedDataNotFoundError',
    'PublishedTimeSeries',
    'Rows',
    'Sen4AgriNet',
    'Sen4Map',
    'Sickle',
    'SitsSCDDynamicEarthNet',
    'SitsSCDMUDS',
    'SpaceNet7',
    'StoredSeries',
    'TableSeries',
    'TiSeLaC',
    'TimeSen2Crop',
    'TreeSatAITS',
    'ZueriCrop',
    'find_dataset',
    'join_series',
    'open_hdf5',
    'raster_grid',
    'raster_size',
    'read_json',
    'read_lines',
    'read_npy',
    'read_raster',
    'read_stack',
    'seconds_of',
]

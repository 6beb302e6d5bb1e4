"""Data modules: data sets, samplers and transforms, joined for Lightning."""

from .base import SeriesDataModule
from .fusion import SITSFusionDataModule
from .loader import ResumableLoader
from .options import ImageOptions, LabelOptions, PatchOptions, Sentinel1Options, SplitOptions
from .pastis import PASTISDataModule
from .points import PointDataModule, PointLabelOptions, PointSplitOptions, TableOptions
from .published import PublishedDataModule
from .sentinel1 import Sentinel1DataModule
from .sits import SITSDataModule
from .synthetic import SyntheticSITSDataModule

__all__ = [
    'ImageOptions',
    'LabelOptions',
    'PASTISDataModule',
    'PatchOptions',
    'PointDataModule',
    'PointLabelOptions',
    'PointSplitOptions',
    'PublishedDataModule',
    'ResumableLoader',
    'SITSDataModule',
    'SITSFusionDataModule',
    'Sentinel1DataModule',
    'Sentinel1Options',
    'SeriesDataModule',
    'SplitOptions',
    'SyntheticSITSDataModule',
    'TableOptions',
]

"""Data modules: data sets, samplers and transforms, joined for Lightning."""

from .fusion import SITSFusionDataModule
from .loader import ResumableLoader
from .pastis import PASTISDataModule
from .series import SeriesDataModule
from .synthetic import SyntheticSITSDataModule
from .timeseries import SITSDataModule

__all__ = [
    'PASTISDataModule',
    'ResumableLoader',
    'SITSDataModule',
    'SITSFusionDataModule',
    'SeriesDataModule',
    'SyntheticSITSDataModule',
]

"""Data modules: data sets, samplers and transforms, joined for Lightning."""

from .loader import ResumableLoader
from .pastis import PASTISDataModule
from .series import SeriesDataModule
from .synthetic import SyntheticSITSDataModule
from .timeseries import SITSDataModule

__all__ = [
    'PASTISDataModule',
    'ResumableLoader',
    'SITSDataModule',
    'SeriesDataModule',
    'SyntheticSITSDataModule',
]

"""Data modules: data sets, samplers and transforms, joined for Lightning."""

from .synthetic import SyntheticSITSDataModule
from .timeseries import SITSDataModule

__all__ = ['SITSDataModule', 'SyntheticSITSDataModule']

"""Samplers of places and times, which compose with TorchGeo's by ``@``."""

from .spatial import GriddedSeriesPatchSampler, RandomSeriesPatchSampler, SeriesPatchSampler
from .spatiotemporal import SkippingSampler
from .temporal import AcquisitionSampler, RandomDateCountSampler, SeasonSampler

__all__ = [
    'AcquisitionSampler',
    'GriddedSeriesPatchSampler',
    'RandomDateCountSampler',
    'RandomSeriesPatchSampler',
    'SeasonSampler',
    'SeriesPatchSampler',
    'SkippingSampler',
]

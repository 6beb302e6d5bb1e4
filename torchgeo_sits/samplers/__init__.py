"""Samplers of places and times, which compose with TorchGeo's by ``@``."""

from .acquisitions import AcquisitionSampler
from .epochs import EpochSampler
from .foreign import SeededSampler
from .shards import ShardedSampler
from .spatial import GriddedSeriesPatchSampler, RandomSeriesPatchSampler, SeriesPatchSampler
from .spatiotemporal import SkippingSampler
from .temporal import RandomDateCountSampler, SeasonSampler

__all__ = [
    'AcquisitionSampler',
    'EpochSampler',
    'GriddedSeriesPatchSampler',
    'RandomDateCountSampler',
    'RandomSeriesPatchSampler',
    'SeasonSampler',
    'SeededSampler',
    'SeriesPatchSampler',
    'ShardedSampler',
    'SkippingSampler',
]

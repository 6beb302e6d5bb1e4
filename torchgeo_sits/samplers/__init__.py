"""Samplers of places and times, which compose with TorchGeo's by ``@``."""

from .blocks import BlockPatchSampler
from .epochs import EpochSampler, SeededSampler
from .shards import ListedSampler, ShardedSampler
from .spatial import GriddedSeriesPatchSampler, RandomSeriesPatchSampler, SeriesPatchSampler
from .spatiotemporal import BlockWindow, SkippingSampler
from .temporal import AcquisitionSampler, RandomDateCountSampler, SeasonSampler

__all__ = [
    'AcquisitionSampler',
    'BlockPatchSampler',
    'BlockWindow',
    'EpochSampler',
    'GriddedSeriesPatchSampler',
    'ListedSampler',
    'RandomDateCountSampler',
    'RandomSeriesPatchSampler',
    'SeasonSampler',
    'SeededSampler',
    'SeriesPatchSampler',
    'ShardedSampler',
    'SkippingSampler',
]

"""Samplers of places and times, which compose with TorchGeo's by ``@``."""

from .acquisitions import AcquisitionSampler
from .blocks import BlockPatchSampler
from .epochs import EpochSampler, ListedSampler, SeededSampler
from .shards import ShardedSampler
from .spatial import GriddedSeriesPatchSampler, RandomSeriesPatchSampler, SeriesPatchSampler
from .spatiotemporal import BlockWindow, SkippingSampler
from .temporal import RandomDateCountSampler, SeasonSampler

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

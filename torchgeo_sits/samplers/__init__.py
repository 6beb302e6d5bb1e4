"""Samplers of places and times, which compose with TorchGeo's by ``@``."""

from .acquisitions import AcquisitionSampler
from .block_windows import BlockWindow
from .blocks import BlockPatchSampler
from .epochs import EpochSampler
from .foreign import SeededSampler
from .listed import ListedSampler
from .shards import ShardedSampler
from .spatial import GriddedSeriesPatchSampler, RandomSeriesPatchSampler, SeriesPatchSampler
from .spatiotemporal import SkippingSampler
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

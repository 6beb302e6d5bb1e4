"""From the predictions for windows to maps: GeoTIFFs, polygons, and a run that can be stopped."""

from .files import VectorFormat, write_polygons
from .outputs import (
    ChangeDate,
    ChangeMap,
    ClassMap,
    Embedding,
    MapOutput,
    Probabilities,
    QuantisedEmbedding,
)
from .run import MapRun, OnBlock, release_freed_arrays
from .window_store import PartStore
from .windows import Blender, Layout, Windows, blocks

__all__ = [
    'Blender',
    'ChangeDate',
    'ChangeMap',
    'ClassMap',
    'Embedding',
    'Layout',
    'MapOutput',
    'MapRun',
    'OnBlock',
    'PartStore',
    'Probabilities',
    'QuantisedEmbedding',
    'VectorFormat',
    'Windows',
    'blocks',
    'release_freed_arrays',
    'write_polygons',
]

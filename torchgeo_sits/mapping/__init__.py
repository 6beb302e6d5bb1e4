"""From the predictions for windows to maps: GeoTIFFs, polygons, and a run that can be stopped."""

from .allocation import release_freed_arrays
from .assembly import Blender, Layout, blocks
from .outputs import (
    ChangeDate,
    ChangeMap,
    ClassMap,
    Embedding,
    MapOutput,
    Probabilities,
    QuantisedEmbedding,
)
from .parts import PartStore
from .run import MapRun, OnBlock
from .vectors import VectorFormat, write_polygons
from .windows import Windows

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

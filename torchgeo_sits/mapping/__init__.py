"""Maps from the predictions for windows: GeoTIFFs, polygons, and runs that can be stopped."""

from .outputs import (
    Certainty,
    ChangeDate,
    ChangeMap,
    ClassMap,
    Embedding,
    MapOutput,
    MeasuredOutput,
    Probabilities,
    QuantisedEmbedding,
    ValueMap,
)
from .polygons import summarise_maps
from .run import MapRun, VectorFormat
from .windows import OverlappingWindows

__all__ = [
    'Certainty',
    'ChangeDate',
    'ChangeMap',
    'ClassMap',
    'Embedding',
    'MapOutput',
    'MapRun',
    'MeasuredOutput',
    'OverlappingWindows',
    'Probabilities',
    'QuantisedEmbedding',
    'ValueMap',
    'VectorFormat',
    'summarise_maps',
]

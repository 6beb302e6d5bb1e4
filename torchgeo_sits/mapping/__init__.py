"""Maps from the predictions for windows: GeoTIFFs, polygons, and runs that can be stopped."""

from .comparison import StableChange, compare_embeddings, fit_stable_change
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
    'StableChange',
    'ValueMap',
    'VectorFormat',
    'compare_embeddings',
    'fit_stable_change',
    'summarise_maps',
]

"""Lightning callbacks: what is watched, scored, drawn and said during a run."""

from .health import CollapseError, EmbeddingHealth
from .knn import KNNProbe
from .map_writer import MapWriter
from .pictures import PredictionPicture, ViewsPicture
from .report import CheckpointReport

__all__ = [
    'CheckpointReport',
    'CollapseError',
    'EmbeddingHealth',
    'KNNProbe',
    'MapWriter',
    'PredictionPicture',
    'ViewsPicture',
]

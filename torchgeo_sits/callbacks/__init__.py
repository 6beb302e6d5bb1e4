"""Lightning callbacks: what is watched, scored, drawn and said during a run."""

from .checkpoints import BestCheckpoint, CheckpointReport, is_default_checkpoint
from .health import CollapseError, EmbeddingHealth
from .knn import KNNProbe
from .map_writer import MapWriter
from .pictures import PredictionPicture, ViewsPicture

__all__ = [
    'BestCheckpoint',
    'CheckpointReport',
    'CollapseError',
    'EmbeddingHealth',
    'KNNProbe',
    'MapWriter',
    'PredictionPicture',
    'ViewsPicture',
    'is_default_checkpoint',
]

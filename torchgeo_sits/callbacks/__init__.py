"""Lightning callbacks that watch, score, draw and report a run, and write its maps."""

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

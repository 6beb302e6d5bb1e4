"""Lightning callbacks that watch, score, draw and report a run, and write its maps and tables."""

from .checkpoints import (
    BestCheckpoint,
    CheckpointReport,
    CommandLine,
    WholeCheckpointIO,
    is_default_checkpoint,
    keep_whole_checkpoints,
)
from .early_season import EarlySeason
from .health import CollapseError, EmbeddingHealth
from .knn import KNNProbe
from .map_writer import MapWriter
from .pictures import LearnedPicture, PredictionPicture, ViewsPicture
from .progress import RunProgress
from .report import RunReport
from .scores import ScoreTable
from .stopping import StopOnSignal
from .table_writer import TableWriter

__all__ = [
    'BestCheckpoint',
    'CheckpointReport',
    'CollapseError',
    'CommandLine',
    'EarlySeason',
    'EmbeddingHealth',
    'KNNProbe',
    'LearnedPicture',
    'MapWriter',
    'PredictionPicture',
    'RunProgress',
    'RunReport',
    'ScoreTable',
    'StopOnSignal',
    'TableWriter',
    'ViewsPicture',
    'WholeCheckpointIO',
    'is_default_checkpoint',
    'keep_whole_checkpoints',
]

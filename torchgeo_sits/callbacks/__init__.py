"""Lightning callbacks for pretraining on satellite image time series."""

from .health import CollapseError, EmbeddingHealth
from .knn import KNNProbe
from .picture import ViewsPicture
from .report import CheckpointReport

__all__ = ['CheckpointReport', 'CollapseError', 'EmbeddingHealth', 'KNNProbe', 'ViewsPicture']

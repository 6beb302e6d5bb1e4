"""Tasks: what to learn from a batch, as Lightning modules on TorchGeo's ``BaseTask``."""

from .change import SITSChangeDetection
from .classification import SITSClassification
from .dino import SITSDINO
from .segmentation import SITSSegmentation

__all__ = ['SITSDINO', 'SITSChangeDetection', 'SITSClassification', 'SITSSegmentation']

"""Tasks: what to learn from a batch, as Lightning modules on TorchGeo's ``BaseTask``."""

from .byol import SITSBYOL
from .change import SITSChangeDetection
from .classification import SITSClassification
from .dino import SITSDINO
from .embedding import SITSEmbedding
from .loading import load_task
from .mae import SITSMAE
from .segmentation import SITSSegmentation
from .simclr import SITSSimCLR
from .vicreg import SITSVICReg

__all__ = [
    'SITSBYOL',
    'SITSDINO',
    'SITSMAE',
    'SITSChangeDetection',
    'SITSClassification',
    'SITSEmbedding',
    'SITSSegmentation',
    'SITSSimCLR',
    'SITSVICReg',
    'load_task',
]

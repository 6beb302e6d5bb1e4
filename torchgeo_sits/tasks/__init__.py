"""Tasks: what to learn from a batch, as Lightning modules on TorchGeo's ``BaseTask``."""

from .byol import SITSBYOL
from .change import SITSChangeDetection
from .change_date import SITSChangeDate
from .change_series import SITSChangeSeries
from .classification import SITSClassification
from .dino import SITSDINO
from .embedding import SITSEmbedding
from .loading import load_task
from .mae import SITSMAE
from .segmentation import SITSSegmentation
from .simclr import SITSSimCLR
from .supervised import SITSSupervised
from .vicreg import SITSVICReg

__all__ = [
    'SITSBYOL',
    'SITSDINO',
    'SITSMAE',
    'SITSChangeDate',
    'SITSChangeDetection',
    'SITSChangeSeries',
    'SITSClassification',
    'SITSEmbedding',
    'SITSSegmentation',
    'SITSSimCLR',
    'SITSSupervised',
    'SITSVICReg',
    'load_task',
]

"""Tasks: how to learn from a batch, as Lightning modules on TorchGeo's ``BaseTask``."""

from .barlow_twins import SITSBarlowTwins
from .byol import SITSBYOL
from .change import SITSChange, SITSChangeDetection
from .change_date import SITSChangeDate
from .change_series import SITSChangeSeries
from .class_order import ClassOrder
from .classification import SITSClassification
from .dino import SITSDINO
from .distillation import SITSDistillation
from .embedding import SITSEmbedding
from .labelled import SITSLabelled
from .loading import load_task
from .mae import SITSMAE
from .multilabel import SITSMultilabel
from .panoptic import SITSPanoptic
from .pretraining import SITSPretraining, ViewLosses
from .regression import SITSRegression
from .segmentation import SITSSegmentation
from .siamese import SITSSiamese
from .simclr import SITSSimCLR
from .supervised import SITSSupervised
from .vicreg import SITSVICReg
from .view_batches import encode_view, join_views

__all__ = [
    'SITSBYOL',
    'SITSDINO',
    'SITSMAE',
    'ClassOrder',
    'SITSBarlowTwins',
    'SITSChange',
    'SITSChangeDate',
    'SITSChangeDetection',
    'SITSChangeSeries',
    'SITSClassification',
    'SITSDistillation',
    'SITSEmbedding',
    'SITSLabelled',
    'SITSMultilabel',
    'SITSPanoptic',
    'SITSPretraining',
    'SITSRegression',
    'SITSSegmentation',
    'SITSSiamese',
    'SITSSimCLR',
    'SITSSupervised',
    'SITSVICReg',
    'ViewLosses',
    'encode_view',
    'join_views',
    'load_task',
]

"""Measures that torchmetrics, smp and lightly lack."""

from .change import ChangeDateScores, ChangeScores, SemanticChangeScores, semantic_change_scores
from .conformal import conformal_half_width
from .confusion import ClassScores, Confusion, binary_scores, multiclass_scores
from .health import (
    Sign,
    assignment_information,
    assignment_perplexity,
    effective_rank,
    mean_cosine,
    normalized_std,
    signs_of_collapse,
)
from .multilabel import MultilabelScores
from .panoptic import PanopticQuality
from .pastis import overall_score
from .region_loss import RegionLoss
from .regression import RegressionScores

__all__ = [
    'ChangeDateScores',
    'ChangeScores',
    'ClassScores',
    'Confusion',
    'MultilabelScores',
    'PanopticQuality',
    'RegionLoss',
    'RegressionScores',
    'SemanticChangeScores',
    'Sign',
    'assignment_information',
    'assignment_perplexity',
    'binary_scores',
    'conformal_half_width',
    'effective_rank',
    'mean_cosine',
    'multiclass_scores',
    'normalized_std',
    'overall_score',
    'semantic_change_scores',
    'signs_of_collapse',
]

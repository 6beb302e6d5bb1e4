"""Measures that torchmetrics, smp and lightly lack."""

from .change import ChangeScores, SemanticChangeScores, semantic_change_scores
from .change_date import ChangeDateScores
from .health import (
    assignment_information,
    assignment_perplexity,
    effective_rank,
    mean_cosine,
    normalized_std,
)

__all__ = [
    'ChangeDateScores',
    'ChangeScores',
    'SemanticChangeScores',
    'assignment_information',
    'assignment_perplexity',
    'effective_rank',
    'mean_cosine',
    'normalized_std',
    'semantic_change_scores',
]

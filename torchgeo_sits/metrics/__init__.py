"""Measures that torchmetrics, smp and lightly lack."""

from .health import (
    assignment_information,
    assignment_perplexity,
    effective_rank,
    mean_cosine,
    normalized_std,
)

__all__ = [
    'assignment_information',
    'assignment_perplexity',
    'effective_rank',
    'mean_cosine',
    'normalized_std',
]

"""Measures that torchmetrics, smp and lightly lack."""

from .health import assignment_perplexity, effective_rank, mean_cosine, normalized_std

__all__ = ['assignment_perplexity', 'effective_rank', 'mean_cosine', 'normalized_std']

"""Watch the embeddings during pretraining, and stop a run that has collapsed."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ..metrics import (
    assignment_information,
    assignment_perplexity,
    effective_rank,
    mean_cosine,
    normalized_std,
)

__all__ = ['CollapseError', 'EmbeddingHealth']


class CollapseError(RuntimeError):
    """The embeddings of a run have collapsed, or its loss is no longer finite."""


class EmbeddingHealth(Callback):
    """Log the health of the embeddings at every step, and stop when they collapse.

    The task's ``training_step`` returns, beside ``loss``, ``embedding`` ``(B, D)`` and,
    where it assigns samples to prototypes, ``assignment`` ``(B, K)``. Logged are
    ``embedding_std`` (1 healthy, 0 collapsed), ``embedding_cosine``, ``embedding_rank``,
    ``prototypes_used`` and ``assignment_information``.

    A run counts as collapsed when, for *patience* steps in a row, all embeddings point the
    same way (``embedding_std`` below *min_std*), vary along one line only
    (``embedding_rank`` below *min_rank*), fall on one prototype (``prototypes_used`` below
    *min_prototypes*), or when all samples share one assignment over many prototypes
    (``assignment_information`` below *min_information*): the teacher then teaches nothing.
    """

    def __init__(
        self,
        *,
        min_std: float = 0.02,
        min_rank: float = 1.5,
        min_prototypes: float = 1.05,
        min_information: float = 1e-3,
        patience: int = 20,
    ) -> None:
        """Initialize a new EmbeddingHealth instance.

        Args:
            min_std: Smallest healthy standard deviation, as
                :func:`~torchgeo_sits.metrics.normalized_std` gives it.
            min_rank: Smallest healthy effective rank.
            min_prototypes: Smallest healthy number of prototypes in use.
            min_information: Least healthy information in nats that an assignment gives about
                its sample.
            patience: Number of unhealthy steps in a row after which the run stops.
        """
        self.min_std = min_std
        self.min_rank = min_rank
        self.min_prototypes = min_prototypes
        self.min_information = min_information
        self.patience = patience
        self.unhealthy = 0

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Stop before a loss that is not finite reaches the weights.

        Raises:
            CollapseError: If the loss is not finite.
        """
        if not torch.isfinite(loss):
            raise CollapseError(
                f'The loss is {loss.item()} at step {trainer.global_step}. Lower `lr`, keep '
                'gradient clipping on, and look for infinite values in the imagery.'
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure, log, and stop the run if it must be.

        Raises:
            CollapseError: If the embeddings have collapsed.
        """
        embedding: Tensor = outputs['embedding']
        if len(embedding) < 2:
            return
        health = {
            'embedding_std': normalized_std(embedding),
            'embedding_cosine': mean_cosine(embedding),
            'embedding_rank': effective_rank(embedding),
        }
        if (assignment := outputs.get('assignment')) is not None:
            health['prototypes_used'] = assignment_perplexity(assignment)
            health['assignment_information'] = assignment_information(assignment)
        pl_module.log_dict(health, batch_size=len(embedding))

        causes = self._causes(health, len(embedding))
        self.unhealthy = self.unhealthy + 1 if causes else 0
        if self.unhealthy >= self.patience:
            numbers = ', '.join(f'{name} {value.item():.3g}' for name, value in health.items())
            raise CollapseError(
                f'The embeddings have collapsed: {" and ".join(causes)} for {self.patience} '
                f'steps, at step {trainer.global_step} ({numbers}). Lower `lr`, warm up for '
                'longer, raise `batch_size`, or lower `teacher_temp` (sharper targets) where '
                'all samples look alike; raise it where one prototype takes them all.'
            )

    def _causes(self, health: dict[str, Tensor], count: int) -> list[str]:
        """Name what is unhealthy, in words."""
        causes = []
        if health['embedding_std'] < self.min_std:
            causes.append('all samples have the same embedding')
        # Two embeddings span one line whatever they are, three at most a plane.
        elif count > 4 and health['embedding_rank'] < self.min_rank:
            causes.append('embeddings vary along one line only')
        if 'prototypes_used' in health and health['prototypes_used'] < self.min_prototypes:
            causes.append('one prototype takes all samples')
        elif (
            'prototypes_used' in health and health['assignment_information'] < self.min_information
        ):
            causes.append('all samples share one assignment')
        return causes

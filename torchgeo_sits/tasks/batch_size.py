"""Samples per optimiser step of a run."""

from typing import Any

from lightning.pytorch import Trainer

__all__ = ['effective_batch_size']


def effective_batch_size(trainer: Trainer) -> int:
    """Samples per optimiser step: of all processes and accumulated batches.

    Args:
        trainer: The trainer of the run.

    Returns:
        The number; of one batch of 16 where nothing tells it.
    """
    datamodule: Any = getattr(trainer, 'datamodule', None)
    own = getattr(datamodule, 'batch_size', None)
    if own is None:
        own = getattr(trainer.train_dataloader, 'batch_size', None)
    return (own or 16) * trainer.world_size * trainer.accumulate_grad_batches

"""What the trainer of a run says: samples per optimiser step, and how it shares them."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

__all__ = ['check_strategy', 'effective_batch_size']


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


def check_strategy(trainer: Trainer) -> None:
    """Refuse strategies that shard a model.

    Args:
        trainer: The trainer of the run.

    Raises:
        ValueError: If its strategy shards the model.
    """
    if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
        raise ValueError(
            f'{type(trainer.strategy).__name__} shards the weights, of which teachers, health '
            "and checkpoints here need the whole: use strategy='ddp'. The encoders are small "
            'enough for one device'
        )

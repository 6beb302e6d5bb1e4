"""Which of Lightning's strategies pretraining runs under."""

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

__all__ = ['check_strategy']


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

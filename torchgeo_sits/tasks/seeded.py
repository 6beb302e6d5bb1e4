"""Tasks whose random numbers follow from the seed of the run and the step alone."""

import warnings
from typing import Any

from lightning.pytorch import LightningModule

from .step_seed import StepSeed

__all__ = ['SeededMixin']


class SeededMixin(LightningModule):
    """Seed each step of a task, so that a run that is resumed ends as one without a stop."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = StepSeed()

    def setup(self, stage: str) -> None:
        """Keep Lightning from warning of hooks that a data module could have as well."""
        warnings.filterwarnings('ignore', message='You have overridden `on_before_batch_transfer`')

    def on_fit_start(self) -> None:
        """Choose the seed of the run, unless a resumed one brought it."""
        self.seed.start()
        # A checkpoint holds the first process's, and resumes all of them.
        self.seed.run = self.trainer.strategy.broadcast(self.seed.run)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Seed this step, so that a resumed run draws what an uninterrupted one would.

        Here and not at the start of the step: the data module has augmented the batch by then.
        """
        if self.trainer.training:
            index = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
            self.seed.step(self.global_rank, self.current_epoch, index)
        return batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the seed of the run."""
        super().on_save_checkpoint(checkpoint)
        self.seed.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the seed of the run that goes on."""
        self.seed.load(checkpoint)

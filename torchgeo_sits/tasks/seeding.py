"""Random numbers of a run that follow from its seed and the step alone."""

import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule
from numpy.random import SeedSequence

__all__ = ['SeededMixin', 'StepSeed']

_KEY = 'sits_run_seed'


class StepSeed:
    """Seed PyTorch anew at each step, by the run's seed, the process, and the step.

    A run that is resumed then draws the views, masks and dropout that it would have drawn
    without a stop, wherever it stopped; and processes that were seeded alike, as Lightning
    seeds them, do not draw the same views. No state of a generator has to be kept, of which a
    checkpoint would hold the first process's only.
    """

    def __init__(self) -> None:
        self.run: int | None = None

    def start(self) -> None:
        """Take the seed of the run: that of ``seed_everything``, or a random one."""
        if self.run is None:
            self.run = torch.initial_seed()

    def step(self, rank: int, epoch: int, batch: int) -> None:
        """Seed PyTorch for one batch.

        Args:
            rank: Index of the process.
            epoch: Index of the epoch.
            batch: Index of the batch in the epoch.
        """
        assert self.run is not None
        state = SeedSequence([self.run, rank, epoch, batch]).generate_state(2)
        torch.manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Write the seed into a checkpoint."""
        checkpoint[_KEY] = self.run

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Take the seed from a checkpoint; one without leaves it as it is."""
        self.run = checkpoint.get(_KEY, self.run)


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

"""A seed for each step, so that runs that are resumed draw what they would have drawn."""

from typing import Any

import torch
from numpy.random import SeedSequence

__all__ = ['StepSeed']

_SEED_KEY = 'sits_run_seed'


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
        self.start()  # a finder of learning rates or batch sizes steps before a run begins
        assert self.run is not None
        state = SeedSequence([self.run, rank, epoch, batch]).generate_state(2)
        torch.manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Write the seed into a checkpoint."""
        checkpoint[_SEED_KEY] = self.run

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Take the seed from a checkpoint; one without leaves it as it is."""
        self.run = checkpoint.get(_SEED_KEY, self.run)

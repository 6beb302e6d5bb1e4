"""Random draws that a seed and the number of the epoch determine."""

from typing import ClassVar

import numpy as np
from numpy.random import Generator, SeedSequence

__all__ = ['EpochDraws']


class EpochDraws:
    """Base of samplers that draw at random: same seed and epoch, same draws.

    Without :meth:`set_epoch` the generator moves on from one iteration to the next. Lightning
    calls it before each epoch of training, so that a run that is resumed goes on with the
    draws of its epoch instead of repeating those of the first.
    """

    #: Keeps samplers with one seed apart: from the same stream of numbers a place and a date
    #: that are drawn side by side would go together.
    stream: ClassVar[int] = 0

    generator: Generator

    def seed(self, generator: int | Generator | None) -> None:
        """Begin at epoch 0.

        Args:
            generator: A seed, a generator to draw a seed from, or None for a new one.
        """
        if isinstance(generator, Generator):
            generator = int(generator.integers(2**63))
        self._entropy = SeedSequence(generator).entropy
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw what belongs to an epoch from now on.

        Args:
            epoch: Number of the epoch, from 0.
        """
        sequence = SeedSequence(self._entropy, spawn_key=(self.stream, epoch))
        self.generator = np.random.default_rng(sequence)

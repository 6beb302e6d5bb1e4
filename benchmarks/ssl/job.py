"""What a process is given to do."""

from dataclasses import dataclass
from pathlib import Path

from .contenders import Contender


@dataclass(frozen=True)
class Job:
    """One contender, one set, one initialisation.

    Attributes:
        contender: Who.
        set: Name of the set.
        seed: Number of the initialisation.
        steps: Optimiser steps of a pretraining.
        lr: Learning rate of a pretraining, None for the task's own.
        data: Folder of the set.
        scratch: Folder of the simulated series.
        development: Score what choices are made on, not the test.
    """

    contender: Contender
    set: str
    seed: int
    steps: int
    lr: float | None
    data: Path
    scratch: Path
    development: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells its record from others."""
        return self.contender.name, self.set, self.seed

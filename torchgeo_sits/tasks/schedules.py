"""Schedules of the learning rate, counted in optimiser steps."""

from lightly.utils.scheduler import cosine_warmup_schedule
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ['rise_and_fall']


def rise_and_fall(
    optimizer: Optimizer, *, steps: int, warmup_share: float, last: float
) -> LambdaLR:
    """A linear rise of the learning rate, then a cosine fall.

    Not lightly's scheduler: it keeps the number of steps in its state, and a run that is
    resumed for more of them would stay at the last learning rate.

    Args:
        optimizer: The optimiser, at its largest learning rates.
        steps: Optimiser steps of the whole run.
        warmup_share: Share of the steps over which the learning rate rises.
        last: Learning rate at the last step over the largest.

    Returns:
        The scheduler, to be stepped after each optimiser step.
    """
    warmup = round(warmup_share * steps)

    def share(step: int) -> float:
        step = min(step, steps)
        return float(cosine_warmup_schedule(step, steps, 1.0, last, warmup, 0.0))

    return LambdaLR(optimizer, share)

"""Schedules of the learning rate, counted in optimiser steps."""

from collections.abc import Callable

from lightly.utils.scheduler import cosine_warmup_schedule

__all__ = ['rise_and_fall']


def rise_and_fall(*, steps: int, warmup_share: float, last: float) -> Callable[[int], float]:
    """A linear rise of the learning rate, then a cosine fall.

    Not lightly's scheduler: it keeps the number of steps in its state, and a run that is
    resumed for more of them would stay at the last learning rate.

    Args:
        steps: Optimiser steps of the whole run.
        warmup_share: Share of the steps over which the learning rate rises.
        last: Learning rate at the last step over the largest.

    Returns:
        The learning rate over the largest, by the number of steps taken, for
        :class:`~torch.optim.lr_scheduler.LambdaLR`.
    """
    warmup = round(warmup_share * steps)

    def share(step: int) -> float:
        step = min(step, steps)
        return float(cosine_warmup_schedule(step, steps, 1.0, last, warmup, 0.0))

    return share

"""AdamW as pretraining runs it: everything is scheduled, and counted in optimiser steps."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from lightly.utils.scheduler import cosine_schedule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.optim import param_groups_weight_decay
from torch import nn
from torch.optim import AdamW, Optimizer

from .base import SITSTask
from .batch_size import effective_batch_size

__all__ = ['SITSScheduledTask']


class SITSScheduledTask(SITSTask):
    """A task whose learning rate follows the batch size, and its weight decay a cosine.

    Reads the hyperparameters of :class:`SITSTask`, of which ``lr`` may be None, and
    ``weight_decay`` and ``end_weight_decay``.
    """

    #: Learning rate that suits a batch of 16.
    reference_lr: ClassVar[float] = 5e-4

    @abstractmethod
    def trained(self) -> Iterable[nn.Module]:
        """The modules that the optimiser trains."""

    @property
    def learning_rate(self) -> float:
        """Largest learning rate: the one asked for, or one for the batch size in use.

        Adam's learning rate follows the root of the batch size (Malladi et al., NeurIPS 2022,
        https://arxiv.org/abs/2205.10287).
        """
        if self.hparams['lr'] is not None:
            return float(self.hparams['lr'])
        return self.reference_lr * min(4.0, (effective_batch_size(self.trainer) / 16) ** 0.5)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step with this step's weight decay."""
        step, steps = self.global_step, self.total_steps
        start, end = self.hparams['weight_decay'], self.hparams['end_weight_decay']
        for group in optimizer.param_groups:
            if group['decays']:
                # A plain number: older lightly gives NumPy's, which checkpoints may not hold.
                group['weight_decay'] = float(cosine_schedule(step, steps, start, end))
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with a linear rise and a cosine fall of the learning rate per step."""
        groups = []
        for module in self.trained():
            # Any decay above 0 does to tell the groups apart; the schedule sets its value.
            for group in param_groups_weight_decay(module, weight_decay=1.0):
                groups.append({**group, 'decays': group['weight_decay'] > 0, 'weight_decay': 0.0})
        optimizer = AdamW(groups, lr=self.learning_rate)
        return self.scheduled(optimizer)

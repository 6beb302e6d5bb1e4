"""Show the views of a run in its log."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib import pyplot as plt

from ..transforms import plot_views

__all__ = ['ViewsPicture']


class ViewsPicture(Callback):
    """Log one picture of a sample and its views, at the first step of a run.

    Works with every logger whose ``experiment`` has ``add_figure`` (TensorBoard).
    """

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw and log."""
        if trainer.global_step > 0 or batch_idx > 0 or trainer.logger is None:
            return
        experiment: Any = getattr(trainer.logger, 'experiment', None)
        make_views: Any = pl_module.make_views
        if not trainer.is_global_zero or not hasattr(experiment, 'add_figure'):
            return
        # The picture must not change the random numbers that the training draws.
        devices = [pl_module.device] if pl_module.device.type == 'cuda' else []
        with torch.random.fork_rng(devices=devices):
            figure = plot_views(batch, make_views(batch))
        experiment.add_figure('views', figure, global_step=0)
        plt.close(figure)

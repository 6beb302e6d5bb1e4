"""Pictures of the views and of the predictions of a run in its log."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib import pyplot as plt
from torch import Tensor

from ..keys import IMAGE
from ..transforms import plot_views

__all__ = ['PredictionPicture', 'ViewsPicture']


class PredictionPicture(Callback):
    """Log a picture of the first samples of each validation and of their predictions.

    The data module draws it: its ``plot`` gets a sample with ``prediction`` beside ``mask``.
    Works with every logger whose ``experiment`` has ``add_figure`` (TensorBoard). Tasks with
    labels bring one.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import PredictionPicture
        >>> trainer = Trainer(accelerator='cpu', callbacks=[PredictionPicture(samples=4)])
    """

    def __init__(self, *, samples: int = 2) -> None:
        """Initialize a new PredictionPicture instance.

        Args:
            samples: Number of samples to draw.
        """
        self.samples = samples

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw and log the first batch."""
        experiment: Any = getattr(trainer.logger, 'experiment', None)
        datamodule: Any = getattr(trainer, 'datamodule', None)
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if not hasattr(experiment, 'add_figure') or not hasattr(datamodule, 'plot'):
            return
        task: Any = pl_module
        if outputs['scores'].ndim < 4:
            return  # one label for a series is no map to draw
        with torch.no_grad():
            found = task.prediction(outputs['scores'], batch)
            if (order := getattr(task, 'class_order', None)) is not None:
                found = order.to_data(found)
            batch = batch | {'prediction': found}
        for i in range(min(self.samples, len(batch[IMAGE]))):
            sample = {k: v[i].cpu() if isinstance(v, Tensor) else v[i] for k, v in batch.items()}
            figure = datamodule.plot(sample)
            if figure is not None:
                experiment.add_figure(f'prediction/{i}', figure, global_step=trainer.global_step)
                plt.close(figure)


class ViewsPicture(Callback):
    """Log one picture of a sample and its views, at the first step of a run.

    Works with every logger whose ``experiment`` has ``add_figure`` (TensorBoard). Tasks of
    pretraining bring one.

    Examples:
        >>> from torchgeo_sits.callbacks import ViewsPicture
        >>> from torchgeo_sits.tasks import SITSSimCLR
        >>> task = SITSSimCLR(model='tempcnn', in_channels=3)
        >>> any(isinstance(c, ViewsPicture) for c in task.own_callbacks())
        True
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

"""What all tasks of this package share: the data's bands, schedules, clipping, the card."""

from abc import abstractmethod
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchgeo.tasks import BaseTask

from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, VALID
from ..models import CARD_KEY, CardDetails, EncoderCard, SITSEncoder, encoder_card
from .class_names import class_names
from .pretrained import adopt_data
from .schedules import rise_and_fall

__all__ = ['SITSTask', 'series_inputs']


def series_inputs(batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """What an encoder takes of a batch; ``mask_clear`` may be absent."""
    return batch[IMAGE], batch[ACQUISITION_TIMES], batch[VALID], batch.get(MASK_CLEAR)


class SITSTask(BaseTask):
    """TorchGeo's base of tasks, with what goes around an encoder of time series.

    Subclasses take, among their own, the hyperparameters that are read here: ``model``,
    ``in_channels``, ``lr``, ``min_lr``, ``warmup_share``, ``clip_grad``.
    """

    #: Checkpoint to start from; not a hyperparameter, a checkpoint stands for itself.
    weights: str | None
    #: Its card, until the data is known.
    _card: EncoderCard | None = None
    #: Largest learning rate of each group of parameters.
    _largest: list[float]
    #: Name of the submodule whose weights are those of the encoder to be used.
    encoder_name: str
    #: Licence of the weights, for the card of the checkpoints; no hyperparameter, it can be set
    #: at any time before one is written.
    licence: str | None = None

    @abstractmethod
    def own_callbacks(self) -> list[Callback]:
        """Callbacks that every run of the task has."""

    def meet_data(self, datamodule: Any) -> None:
        """Take the number of bands from the data, and normalise it as *weights* do.

        Args:
            datamodule: The data module, or None where nothing is known of the data.

        Raises:
            ValueError: If nothing tells the number of bands, or it is not that of the data, or
                *weights* are of other bands.
        """
        if self._card is not None:
            adopt_data(self._card, datamodule, str(self.weights))
            self._card = None
        found = getattr(datamodule, 'in_channels', None)
        if self.hparams['in_channels'] is None:
            self.hparams['in_channels'] = found
        wanted = self.hparams['in_channels']
        if wanted is None:
            raise ValueError(
                'The number of bands is unknown: give `in_channels`, or a data module that '
                'has it (SITSDataModule).'
            )
        if found not in (None, wanted):
            raise ValueError(
                f'the model takes in_channels={wanted}, but the data has {found} bands: '
                f'{getattr(datamodule, "bands", "")}. Choose `bands` to match, or leave '
                'in_channels out'
            )

    @property
    def total_steps(self) -> int:
        """Number of optimiser steps of the whole run.

        Raises:
            ValueError: If the run has no end: the schedules need one.
        """
        steps = self.trainer.estimated_stepping_batches
        if steps == float('inf'):
            raise ValueError('The schedules need an end: set trainer.max_epochs or max_steps')
        return int(steps)

    @property
    def learning_rate(self) -> float:
        """Largest learning rate."""
        return float(self.hparams['lr'])

    def scheduled(self, optimizer: Optimizer) -> OptimizerLRScheduler:
        """An optimiser whose learning rate rises linearly and falls in a cosine, per step.

        Args:
            optimizer: The optimiser, at its largest learning rates.

        Returns:
            For Lightning. The schedule is set by :meth:`on_train_start`: asked here for the
            number of steps, Lightning loads the data before the state of a resumed run, and
            its epoch starts anew (Lightning #20550).
        """
        self._largest = [group['lr'] for group in optimizer.param_groups]
        scheduler = LambdaLR(optimizer, lambda step: 1.0)
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': scheduler, 'interval': 'step'},
        }

    def on_train_start(self) -> None:
        """Set the schedule of this run; a resumed one brings the learning rates of the old."""
        scheduler: Any = self.lr_schedulers()
        share = rise_and_fall(
            steps=self.total_steps,
            warmup_share=self.hparams['warmup_share'],
            last=self.hparams['min_lr'] / self.learning_rate,
        )
        scheduler.lr_lambdas = [share] * len(self._largest)
        scheduler.base_lrs = self._largest
        for group, largest in zip(scheduler.optimizer.param_groups, self._largest, strict=True):
            group['lr'] = largest * share(scheduler.last_epoch)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer says, or to ``clip_grad`` where it says nothing."""
        if gradient_clip_val is None and self.hparams['clip_grad']:
            gradient_clip_val, gradient_clip_algorithm = self.hparams['clip_grad'], 'norm'
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_callbacks(self) -> list[Callback]:
        """Callbacks that every run has, but for those that the trainer has its own of."""
        given = {type(callback) for callback in getattr(self.trainer, 'callbacks', [])}
        return [callback for callback in self.own_callbacks() if type(callback) not in given]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what another task needs to use the encoder, and what it was trained on."""
        datamodule: Any = getattr(self.trainer, 'datamodule', None)
        card = datamodule.card if hasattr(datamodule, 'card') else {}
        encoder: SITSEncoder = getattr(self, self.encoder_name)
        details = CardDetails(task=type(self).__name__, **getattr(datamodule, 'training_data', {}))
        if self.hparams.get('labels') is not None:
            details['class_names'] = class_names(self)
        if self.licence is not None:
            details['licence'] = self.licence
        checkpoint[CARD_KEY] = encoder_card(
            self.hparams['model'], encoder, prefix=self.encoder_name, **card, **details
        )

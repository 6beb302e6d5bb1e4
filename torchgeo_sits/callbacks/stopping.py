"""Trainings that end at a signal with a checkpoint, from which they go on."""

import signal
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ..stopping import STOP, Stopped

__all__ = ['StopOnSignal']


class StopOnSignal(Callback):
    """End ``fit`` after the step in which a signal came, with a checkpoint to go on from.

    The command line adds it. The checkpoint lies beside the others, as
    ``stopped-epoch=E-step=S.ckpt``; nothing is saved where the trainer keeps no checkpoints, or
    where a step took so long that it was cut off in the middle. Processes of one training stop
    together after the same step, whichever of them was sent the signal. Under SLURM, Lightning's
    handler of the signal before the time limit (SIGUSR1) stays, and requeues the job.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import StopOnSignal
        >>> trainer = Trainer(callbacks=[StopOnSignal()], logger=False, accelerator='cpu')
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let signals wait for the end of a step, and take them back from Lightning.

        Its handler ends a training without a word, and one of several processes waits in it for
        the others, which train on.
        """
        STOP.waits = True
        environment = trainer._accelerator_connector.cluster_environment
        if getattr(environment, 'requeue_signal', None) != signal.SIGTERM:
            STOP.listen()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let signals raise again."""
        STOP.waits = False

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop where a signal came meanwhile, to any of the processes."""
        if trainer.world_size > 1:
            device = trainer.strategy.root_device
            own = torch.tensor(STOP.signum or 0, device=device)
            STOP.signum = int(trainer.strategy.reduce(own, reduce_op='max')) or None
        self._stop()

    def on_validation_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop where a signal came meanwhile; several processes train on until the next step."""
        if STOP.waits and trainer.world_size == 1:
            self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save, unless a step was cut off in the middle, and say how to go on."""
        if STOP.signum is None or trainer.state.fn != 'fit':
            return
        STOP.heard()
        kept = trainer.checkpoint_callback
        if not isinstance(kept, ModelCheckpoint) or not kept.dirpath:
            STOP.advice = 'nothing was saved: the trainer keeps no checkpoints'
            return
        path = kept.last_model_path or kept.best_model_path
        if not STOP.is_forced:
            name = f'stopped-epoch={trainer.current_epoch:02d}-step={trainer.global_step}.ckpt'
            path = kept.last_model_path = str(Path(kept.dirpath) / name)
            trainer.save_checkpoint(path)
        STOP.advice = (
            f'The same command with --ckpt_path {path} goes on from there'
            if path
            else 'nothing was saved yet'
        )

    @staticmethod
    def _stop() -> None:
        if STOP.signum is not None:
            raise Stopped

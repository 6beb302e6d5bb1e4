"""Trainings that end at a signal with a checkpoint, from which they go on."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ..stopping import STOP, Stopped

__all__ = ['StopOnSignal']


class StopOnSignal(Callback):
    """End ``fit`` after the step in which a signal came, with a checkpoint to go on from.

    The command line adds it. The checkpoint lies beside the others, as
    ``stopped-epoch=E-step=S.ckpt``; nothing is saved where the trainer keeps no checkpoints, or
    where a step took so long that it was cut off in the middle. Under SLURM, Lightning's own
    handlers stay, and requeue the job.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import StopOnSignal
        >>> trainer = Trainer(callbacks=[StopOnSignal()], logger=False, accelerator='cpu')
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning, whose handler ends a training without a word."""
        if not SLURMEnvironment.detect():
            STOP.listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let signals wait for the end of a step."""
        STOP.waits = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let signals raise again."""
        STOP.waits = False

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop where a signal came meanwhile."""
        self._stop(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop where a signal came meanwhile."""
        if STOP.waits:
            self._stop(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save, unless a step was cut off in the middle, and say how to go on."""
        is_asked = STOP.signum is not None or isinstance(exception, SIGTERMException)
        if not is_asked or trainer.state.fn != 'fit':
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
    def _stop(trainer: Trainer) -> None:
        if STOP.signum is None:
            return
        if trainer.world_size > 1:
            # Lightning tells the other processes before the next step, and all stop together.
            trainer._signal_connector.received_sigterm = True
            return
        raise Stopped

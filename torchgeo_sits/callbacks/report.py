"""Say at the end of a run where its checkpoint is and how to use it."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

__all__ = ['CheckpointReport']


class CheckpointReport(Callback):
    """Print the last checkpoint of a run, and what to do with it where the task says so."""

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Print after an interruption too."""
        if isinstance(exception, KeyboardInterrupt):
            self.on_fit_end(trainer, pl_module)

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print, if the run wrote a checkpoint."""
        callback = trainer.checkpoint_callback
        if not isinstance(callback, ModelCheckpoint):
            return
        path = callback.last_model_path or callback.best_model_path
        if not path:
            return
        advice = getattr(pl_module, 'next_steps', lambda path: '')(path)
        print(f'\nCheckpoint: {path}\n{advice}'.rstrip())

"""Say at the end of a run where its checkpoint is and how to use it."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

__all__ = ['CheckpointReport']


class CheckpointReport(Callback):
    """Print the last checkpoint of a pretraining run and what to do with it."""

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
        print(
            f'\nCheckpoint: {path}\n'
            'Use the encoder in Python:\n'
            '  from torchgeo_sits.models import load_encoder\n'
            f"  encoder, card = load_encoder('{path}')\n"
            'Train on from here, with more epochs:\n'
            f'  torchgeo-sits fit <the options of this run> --ckpt_path {path} '
            '--trainer.max_epochs N'
        )

"""Checkpoints that a run keeps, and the report of them at its end."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

__all__ = ['BestCheckpoint', 'CheckpointReport', 'is_default_checkpoint']


def is_default_checkpoint(callback: Any) -> bool:
    """Say whether a callback is the checkpoint that Lightning adds to a trainer without one.

    Examples:
        >>> from lightning.pytorch.callbacks import ModelCheckpoint
        >>> from torchgeo_sits.callbacks import is_default_checkpoint
        >>> is_default_checkpoint(ModelCheckpoint())
        True
        >>> is_default_checkpoint(ModelCheckpoint(monitor='val_loss'))
        False
    """
    default = ModelCheckpoint()
    asked = ('dirpath', 'filename', 'save_top_k', 'save_last', 'save_weights_only')
    return (
        type(callback) is ModelCheckpoint
        and callback.state_key == default.state_key
        and all(getattr(callback, name) == getattr(default, name) for name in asked)
    )


class BestCheckpoint(ModelCheckpoint):
    """Keep the best epoch by a score, or the last one until there is such a score.

    Lightning's :class:`~lightning.pytorch.callbacks.ModelCheckpoint` keeps nothing where there is
    no validation, and stops where validation had nothing to score (no label, or no change).

    Examples:
        >>> from torchgeo_sits.callbacks import BestCheckpoint
        >>> best = BestCheckpoint(monitor='val_AverageF1Score', mode='max')
        >>> best.monitor
        'val_AverageF1Score'
    """

    @property
    def state_key(self) -> str:
        """Key of the state in checkpoints: Lightning's, so that older runs can be resumed."""
        return super().state_key.replace(type(self).__qualname__, 'ModelCheckpoint', 1)

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Any]) -> None:
        """Save by the score, if there is one; the best one so far is kept if there is not."""
        if self.monitor in monitor_candidates:
            super()._save_topk_checkpoint(trainer, monitor_candidates)
        elif not self.best_k_models:
            self._save_none_monitor_checkpoint(trainer, monitor_candidates)


class CheckpointReport(Callback):
    """Print the last checkpoint of a run, and what its task says it is good for.

    A task says so in ``next_steps(path)``. Printed is the path at the end of ``fit``, or when it
    is interrupted from the keyboard; nothing where no checkpoint was written.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import CheckpointReport
        >>> trainer = Trainer(accelerator='cpu', logger=False, callbacks=[CheckpointReport()])
        >>> trainer.checkpoint_callback.best_model_path = 'run/dino-epoch=07.ckpt'
        >>> CheckpointReport().on_fit_end(trainer, None)
        <BLANKLINE>
        Checkpoint: run/dino-epoch=07.ckpt
    """

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

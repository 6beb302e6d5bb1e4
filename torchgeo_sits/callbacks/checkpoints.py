"""Checkpoints that a run keeps, and the report of them at its end."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from ..whole_files import whole_file

__all__ = [
    'BestCheckpoint',
    'CheckpointReport',
    'CommandLine',
    'WholeCheckpointIO',
    'is_default_checkpoint',
    'keep_whole_checkpoints',
]


@dataclass(frozen=True)
class CommandLine:
    """Options that a run was started with, for the commands that come next.

    Attributes:
        typed: All options of the run, as they were typed.
        data: Values of the options of the data, by name: those that were typed, and those of
            configurations of the user. The class goes by the name ``data``.
        configs: Configurations of data alone.

    Examples:
        >>> from torchgeo_sits.callbacks import CommandLine
        >>> line = CommandLine(data={'data': 'SITSDataModule', 'data.paths': 'my images'})
        >>> line.follow('fit', '--config', 'conf/segmentation.yaml', data=line.data)
        "torchgeo-sits fit --config conf/segmentation.yaml --data.paths 'my images'"
    """

    typed: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    configs: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Name of the class of the data; empty where none was named."""
        return self.data.get('data', '').rpartition('.')[2]

    def again(self, command: str, **changed: str) -> str:
        """Write the command of this run with other options, to be pasted into a shell.

        Args:
            command: Name of the command.
            **changed: Options in place of those that were typed, by name.

        Returns:
            The line.
        """
        kept: list[str] = []
        rest = list(self.typed)
        while rest:
            word = rest.pop(0)
            name, equals, _ = word.removeprefix('--').partition('=')
            if word[:2] != '--' or name not in changed:
                kept.append(word)
            elif not equals and rest:
                rest.pop(0)
        new = [word for name, value in changed.items() for word in (f'--{name}', value)]
        return shlex.join(['torchgeo-sits', command, *kept, *new])

    def follow(self, command: str, *words: str, data: Mapping[str, str]) -> str:
        """Write a command on the data of this run, to be pasted into a shell.

        Args:
            command: Name of the command.
            *words: What goes before the options of the data.
            data: Options of the data to be told.

        Returns:
            The line.
        """
        # The paths alone say that it is one of these.
        implied = 'data.paths' in data and self.kind in ('SITSDataModule', 'PointDataModule')
        options = [
            word
            for name, value in data.items()
            if not (implied and name == 'data')
            for word in (f'--{name}', value)
        ]
        configs = [word for path in self.configs for word in ('--config', path)]
        return shlex.join(['torchgeo-sits', command, *words, *configs, *options])


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


class WholeCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint whole or not at all.

    Lightning's own leaves half a file under the final name where the disk is full. Here the file
    gets its name when it is on the disk, and one of the same name stays until then.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import WholeCheckpointIO
        >>> trainer = Trainer(plugins=[WholeCheckpointIO()], logger=False, accelerator='cpu')
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Save what a trainer keeps.

        Args:
            checkpoint: All of it.
            path: The file; at an address it is left to Lightning.
            storage_options: None; Lightning refuses others.

        Raises:
            OSError: If there is no room, or the folder cannot be written to.
        """
        if storage_options is not None or '://' in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # To an open file: to a path PyTorch writes other bytes, in which its name is repeated.
        with whole_file(path) as draft, draft.open('wb') as file:
            torch.save(checkpoint, file)


def keep_whole_checkpoints(trainer: Trainer) -> None:
    """Let a trainer write its checkpoints by :class:`WholeCheckpointIO`.

    Tasks of this package and the command line do so.

    Args:
        trainer: The trainer; one with a ``CheckpointIO`` of the user's is left as it is.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import keep_whole_checkpoints
        >>> trainer = Trainer(logger=False, accelerator='cpu')
        >>> keep_whole_checkpoints(trainer)
        >>> type(trainer.strategy.checkpoint_io).__name__
        'WholeCheckpointIO'
    """
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpointIO()


class BestCheckpoint(ModelCheckpoint):
    """Keep the best epoch by a score, the last of several, or the last until there is a score.

    Where few fields are scored, many epochs are as good, and the later ones have learned more.

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

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Say whether an epoch is at least as good as the worst that is kept.

        Args:
            trainer: The trainer.
            current: Score of the epoch.

        Returns:
            Whether to keep it.
        """
        kept = self.best_k_models.get(self.kth_best_model_path)
        if current is not None and kept is not None and current == kept:
            # As the other way does, where processes differ in a digit.
            return bool(trainer.strategy.reduce_boolean_decision(True))
        return bool(super().check_monitor_top_k(trainer, current))

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Any]) -> None:
        """Save by the score, if there is one; the best one so far is kept if there is not."""
        if self.monitor in monitor_candidates:
            super()._save_topk_checkpoint(trainer, monitor_candidates)
        elif not self.best_k_models:
            self._save_none_monitor_checkpoint(trainer, monitor_candidates)


class CheckpointReport(Callback):
    """Print the last checkpoint of a run, and what its task says it is good for.

    A task says so in ``next_steps(path)``. Printed is the path at the end of ``fit``, or when it
    is interrupted; nothing where no checkpoint was written. Checkpoints of a trainer with this
    callback are written by :class:`WholeCheckpointIO`.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import CheckpointReport
        >>> trainer = Trainer(accelerator='cpu', logger=False, callbacks=[CheckpointReport()])
        >>> trainer.checkpoint_callback.best_model_path = 'run/dino-epoch=07.ckpt'
        >>> CheckpointReport().on_fit_end(trainer, None)
        <BLANKLINE>
        Checkpoint: run/dino-epoch=07.ckpt
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have checkpoints written whole or not at all."""
        keep_whole_checkpoints(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Print after an interruption of ``fit`` too."""
        if isinstance(exception, KeyboardInterrupt) and trainer.state.fn == 'fit':
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

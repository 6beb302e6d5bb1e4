"""Progress of a run and the time that it has left: a bar on a terminal, else plain lines."""

import os
from math import inf, isfinite
from time import monotonic
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from ..keys import IMAGE

__all__ = ['RunProgress']

#: Seconds after which a line is due where there is no terminal.
_LINE_EVERY = 60
#: Steps, or seconds, whichever comes first, after which the time of a run is told.
_MEASURED = 5, 20
#: Seconds of an epoch from which on options are named that make it faster.
_LONG_EPOCH = 600


class RunProgress(RichProgressBar):
    """Lightning's bar, with the time left of the whole run; plain lines where there is no terminal.

    In the first minute one line says how long an epoch and the run will take, by the steps so
    far, and where an epoch is long which options make it shorter. Redirected to a file, there is
    a line for each epoch, and at least one a minute. The commands bring it; in Python it is given
    to the trainer.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import RunProgress
        >>> trainer = Trainer(accelerator='cpu', callbacks=[RunProgress()])
    """

    def __init__(self) -> None:
        super().__init__()
        self._in_lines = False
        self._start = self._last_line = monotonic()
        self._done = 0
        self._first: float | None = None
        self._told = False
        self._left = ''
        self._epoch = ''

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See whether there is a terminal, or a notebook."""
        super().setup(trainer, pl_module, stage)
        console = Console()
        if trainer.is_global_zero and not (console.is_terminal or console.is_jupyter):
            # Rich would draw the last state of its bar, when all is over.
            self.disable()
            self._in_lines = True
        self._last_line = monotonic()

    # -- training ---------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._start = monotonic()
        self._done, self._first, self._told, self._left, self._epoch = 0, None, False, '', ''

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how the last epoch went, with all that was scored at its end."""
        self._end_epoch(trainer, pl_module)
        super().on_train_epoch_start(trainer, pl_module)
        epochs = trainer.max_epochs or -1
        of = f'/{epochs - 1}' if epochs > 0 else ''
        self._epoch = f'Epoch {trainer.current_epoch}{of}'

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the time of a step, and say what is due."""
        now = monotonic()
        self._done += 1
        left = _batches_left(trainer, batch_idx)
        if self._first is None:
            self._first = now
            pace = now - self._start
        else:  # the first step, which warms up, counts no more
            pace = (now - self._first) / (self._done - 1)
        self._left = _span(pace * left) if left and isfinite(left) else ''
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        measured = self._done >= _MEASURED[0] or now - self._start >= _MEASURED[1]
        if measured and left and not self._told:
            self._told = True
            if trainer.is_global_zero and (self._in_lines or self.is_enabled):
                self._tell_time(trainer, pl_module, pace, left, batch)
        number = trainer.num_training_batches
        of = f'/{number}' if isfinite(number) else ''
        self._line_if_due(f'{self._epoch}, step {batch_idx + 1}{of}', trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar: it breaks long lines, such as the commands that are printed at the end."""
        self._end_epoch(trainer, pl_module)
        self._update_metrics(trainer, pl_module)
        self.refresh(hard=True)
        self._stop_progress()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Losses and scores beside the bar, and the time left of the whole run."""
        found: dict[str, Any] = {**super().get_metrics(trainer, pl_module)}
        found.pop('v_num', None)
        return found | ({'left': self._left} if self._left else {})

    def enable(self) -> None:
        """Show the bar again, where there is one."""
        if not self._in_lines:
            super().enable()

    # -- validation, test and prediction ----------------------------------------------------

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Say what is due."""
        super().on_validation_batch_end(
            trainer, pl_module, outputs, batch, batch_idx, dataloader_idx
        )
        before = f'{self._epoch}, v' if self._epoch else 'V'
        number = trainer.num_val_batches[dataloader_idx]
        self._line_if_due(f'{before}alidation batch {batch_idx + 1}/{number}')

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Say what is due."""
        super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        self._line_if_due(f'Test batch {batch_idx + 1}/{trainer.num_test_batches[dataloader_idx]}')

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Say what is due."""
        super().on_predict_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        number = trainer.num_predict_batches[dataloader_idx]
        self._line_if_due(f'Prediction batch {batch_idx + 1}/{number}')

    # -- what is printed --------------------------------------------------------------------

    def _end_epoch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of an epoch that is over."""
        if self._in_lines and self._epoch:
            self._line(self._epoch, trainer, pl_module)
        self._epoch = ''

    def _line_if_due(
        self, where: str, trainer: Trainer | None = None, pl_module: LightningModule | None = None
    ) -> None:
        """Print a line where there is no terminal and the last line is a minute old."""
        if self._in_lines and monotonic() - self._last_line >= _LINE_EVERY:
            self._line(where, trainer, pl_module)

    def _line(
        self, where: str, trainer: Trainer | None = None, pl_module: LightningModule | None = None
    ) -> None:
        """Print where the run is, and of a training losses, scores and the time left."""
        said = []
        if trainer is not None:
            scores = {**trainer.progress_bar_metrics}
            monitor = getattr(pl_module, 'monitor', None)
            if monitor in trainer.callback_metrics:
                scores[monitor] = float(trainer.callback_metrics[monitor])
            said = [f'{name} {value:.4g}' for name, value in scores.items()]
            said += [f'{self._left} left'] if self._left else []
        # A file that is watched gets each line at once.
        print(': '.join([where, ', '.join(said)]) if said else where, flush=True)
        self._last_line = monotonic()

    def _tell_time(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        pace: float,
        left: float,
        batch: Any,
    ) -> None:
        """Print how long an epoch and the run will take, and what would make it faster."""
        number = trainer.num_training_batches
        said = [f'{_span(pace)} a step']
        if isfinite(number):
            said.append(f'{_span(pace * number)} an epoch of {number} steps')
        if isfinite(left):
            said.append(f'about {_span(pace * left)} left')
        without = ', without validation' if sum(trainer.num_val_batches) else ''
        print(f'Time: {", ".join(said)} (by {self._done} steps{without})', flush=True)
        is_long = isfinite(number) and pace * number > _LONG_EPOCH
        if is_long and (options := _faster(trainer, pl_module, batch)):
            print('An epoch is long. Faster are:', *options, sep='\n  ', flush=True)
        self._last_line = monotonic()


def _batches_left(trainer: Trainer, batch_idx: int) -> float:
    """Batches of training that are left after one of them; infinite where there is no end."""
    per_epoch = trainer.num_training_batches
    epochs = trainer.max_epochs if trainer.max_epochs is not None else -1
    left = inf
    if epochs >= 0:
        left = (epochs - trainer.current_epoch) * per_epoch - batch_idx - 1
    if trainer.max_steps >= 0:
        steps = trainer.max_steps - trainer.global_step
        left = min(left, steps * trainer.accumulate_grad_batches)
    return max(0, left)


def _faster(trainer: Trainer, pl_module: LightningModule, batch: Any) -> list[str]:
    """Options of this run that would make a step, or an epoch, shorter."""
    datamodule: Any = getattr(trainer, 'datamodule', None)
    patches = getattr(datamodule, 'patches', None)
    options = []
    if patches is not None and IMAGE in batch:
        dates, size = batch[IMAGE].shape[1], batch[IMAGE].shape[-1]
        if dates > 16:
            options.append(f'fewer dates of each sample: --data.patches.num_dates 16 (of {dates})')
        if size > 16:
            options.append(f'smaller patches: --data.patches.size 16 (now {size})')
    if 'views_kwargs' in pl_module.hparams and pl_module.hparams.get('views') == 'planar':
        options.append("fewer and shorter paths: --model.views_kwargs '{num_paths: 4, length: 16}'")
    if patches is not None:
        number = trainer.num_training_batches * datamodule.batch_size
        options.append(f'fewer samples an epoch: --data.patches.length N (now {number})')
    if getattr(datamodule, 'num_workers', None) == 0 and (cores := os.cpu_count() or 1) > 2:
        options.append(f'processes that read beside: --data.num_workers {min(4, cores - 1)}')
    return options


def _span(seconds: float) -> str:
    """A time in its two largest units.

    Examples:
        >>> [_span(seconds) for seconds in (0.25, 42, 750, 12_000, 200_000)]
        ['0.25 s', '42 s', '12 min', '3 h 20 min', '2 d 7 h']
    """
    if seconds < 10:
        return f'{seconds:.2g} s'
    if seconds < 100:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    if minutes < 60:
        return f'{minutes} min'
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f'{hours} h {minutes} min'
    return f'{hours // 24} d {hours % 24} h'

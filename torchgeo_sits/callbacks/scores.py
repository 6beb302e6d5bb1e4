"""Table of the scores of a task with labels, at the end of a run."""

from io import StringIO
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..metrics import Confusion

__all__ = ['ScoreTable']


class ScoreTable(Callback):
    """Print the main scores of a run, and those of each class with the number of its labels.

    After training they are those of the epoch that is best by the task's ``monitor``, after
    ``validate`` and ``test`` those of the data. A task names its ``main_scores``, and gives the
    ``confusion`` of its classes. All other scores are in the logs. Tasks with labels bring one.

    Examples:
        >>> from torchgeo_sits.callbacks import ScoreTable
        >>> from torchgeo_sits.tasks import SITSSegmentation
        >>> task = SITSSegmentation(model='tempcnn', in_channels=3, num_classes=2)
        >>> any(isinstance(callback, ScoreTable) for callback in task.own_callbacks())
        True
    """

    def __init__(self) -> None:
        #: What the best epoch of validation came to; empty before.
        self.best: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Scores of the best epoch so far, in plain values."""
        return {'best': self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best = dict(state_dict['best'])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the scores of the best epoch; print those of a validation alone."""
        if trainer.sanity_checking:
            return
        found = _measure(trainer, pl_module, 'val')
        if trainer.state.fn == 'validate':
            self._print(trainer, 'Validation', found)
        elif found['scores'] and _is_better(found, self.best, pl_module):
            self.best = found

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the scores of the test."""
        self._print(trainer, 'Test', _measure(trainer, pl_module, 'test'))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the scores of the best epoch."""
        if self.best:
            title = f'Best validation, of epoch {self.best["epoch"]}'
            self._print(trainer, title, self.best)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Print after an interruption too."""
        if isinstance(exception, KeyboardInterrupt):
            self.on_fit_end(trainer, pl_module)

    def _print(self, trainer: Trainer, title: str, found: dict[str, Any]) -> None:
        """Print a table of scores, and one of classes."""
        if not trainer.is_global_zero or not found['scores']:
            return
        scores = Table(box=None, show_header=False, padding=(0, 2))
        scores.add_column()
        scores.add_column(justify='right')
        for name, value in found['scores'].items():
            scores.add_row(name, f'{value:.4g}')
        tables = [scores]
        if found['confusion']:
            tables.append(_class_table(Confusion(**found['confusion'])))
        # Plain, and wide enough that nothing is cut: the same on a terminal and in a file.
        text = StringIO()
        console = Console(file=text, width=120, no_color=True, force_terminal=False)
        for table in tables:
            console.print(table, '')
        lines = (line.rstrip() for line in text.getvalue().rstrip().splitlines())
        print(f'\n{title}:', *lines, sep='\n', flush=True)


def _measure(trainer: Trainer, pl_module: LightningModule, stage: str) -> dict[str, Any]:
    """Scores of a stage that is over, in plain values, as checkpoints hold them."""
    task: Any = pl_module
    known = trainer.callback_metrics
    names = [f'{stage}_{name}' for name in (*task.main_scores, 'loss')]
    confusion = task.confusion(stage)
    return {
        'epoch': trainer.current_epoch,
        'monitor': float(known[task.monitor]) if task.monitor in known else None,
        'scores': {name: float(known[name]) for name in names if name in known},
        'confusion': None if confusion is None else confusion._asdict(),
    }


def _is_better(found: dict[str, Any], best: dict[str, Any], task: Any) -> bool:
    """Say whether an epoch goes before the best so far: without a monitor the last one does."""
    new, old = found['monitor'], best.get('monitor')
    if new is None or old is None:
        return old is None
    # Of several as good the last one, as checkpoints do.
    return new >= old if task.mode == 'max' else new <= old


def _class_table(confusion: Confusion) -> Table:
    """Table of the scores of the classes that have labels or were predicted."""
    table = Table(box=None, header_style='none', padding=(0, 2))
    table.add_column('class', overflow='fold')
    for column in ('F1', 'precision', 'recall', confusion.unit):
        table.add_column(column, justify='right')
    if confusion.fields is not None:
        table.add_column('fields', justify='right')
    for scores in confusion.scores():
        if not scores.labels and scores.precision is None:
            continue
        # A name is no markup, and moves no cursor.
        name = ''.join(c if c.isprintable() else '?' for c in scores.name)
        shares = (scores.f1, scores.precision, scores.recall)
        cells = ['-' if share is None else f'{share:.3f}' for share in shares]
        counts = [scores.labels] if scores.fields is None else [scores.labels, scores.fields]
        table.add_row(Text(name), *cells, *(f'{count:,}' for count in counts))
    return table

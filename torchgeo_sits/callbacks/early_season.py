"""Score a task by the dates that are known so far: how early in a season it is right."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, ACQUISITION_TIMES_S1, VALID, VALID_S1
from ..time_steps import DaySpan, rolling_spans
from ..whole_files import whole_file

__all__ = ['EarlySeason']


class EarlySeason(Callback):
    """Test a task with classes on the dates up to each of several days, too.

    Each batch of the test is predicted again for each day, from the dates until then alone. What
    comes out is a table of the macro F1 over the classes that have labels, by day, printed and
    written as CSV, and a picture of it beside. The last row is the test itself, all dates. Series
    without a date until a day count as predicted from nothing. Sentinel-1 is cut alike.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import EarlySeason
        >>> early = EarlySeason(every='14d')
        >>> trainer = Trainer(callbacks=[early], logger=False, accelerator='cpu')
        >>> # trainer.test(task, datamodule=data) then writes early_season.csv and .png
        >>> early.path.name
        'early_season.csv'
    """

    def __init__(self, every: str = '1M', path: str = 'early_season.csv') -> None:
        """Initialize a new EarlySeason instance.

        Args:
            every: Length of a step: '14d', '2w', '1M', 'season' or '1y'. Days and weeks are counted
                from the 1st of January of the first year that is seen.
            path: The table, a CSV file; the picture has the same name and ends in ``.png``.

        Raises:
            SITSError: If the length is none, or the path ends otherwise.
        """
        rolling_spans(DaySpan(date(2000, 1, 1), date(2000, 1, 2)), every)
        self.every = every
        self.path = Path(path)
        if self.path.suffix != '.csv':
            raise SITSError(f"expected a table that ends with .csv, got '{path}'")
        self._origin: date | None = None
        self._matrices: dict[date, Tensor] = {}
        self._whole: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See whether the task and its processes can be scored so.

        Raises:
            SITSError: If the task has no classes, or several processes share the test.
        """
        if stage != 'test':
            return
        if not hasattr(pl_module, 'compare') or not hasattr(pl_module, 'outcome'):
            raise SITSError(
                f'scores by date are for tasks with classes, and {type(pl_module).__name__} has '
                'none: leave EarlySeason out'
            )
        if trainer.world_size > 1:
            raise SITSError('scores by date are those of one process: set trainer.devices to 1')
        self._origin, self._matrices, self._whole = None, {}, None

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predict a batch from the dates up to each day."""
        times = batch[ACQUISITION_TIMES][batch[VALID]]
        if not len(times):
            return
        first, last = (
            datetime.fromtimestamp(int(end), UTC).date() for end in (times.min(), times.max())
        )
        self._origin = self._origin or date(first.year, 1, 1)
        if first < self._origin:
            raise SITSError(
                f'a series of the test begins on {first}, before {self._origin}, the year in which '
                'those before it begin: test the years one by one'
            )
        spans = rolling_spans(DaySpan(self._origin, last), self.every)
        for span in spans[:-1]:
            if span.last >= first:
                found = self._matrix(pl_module, _until(batch, span.seconds[1]))
                self._matrices[span.last] = self._matrices.get(span.last, 0) + found
        whole = self._matrix(pl_module, batch)
        self._whole = whole if self._whole is None else self._whole + whole

    def _matrix(self, task: Any, batch: dict[str, Any]) -> Tensor:
        """Confusion matrix ``(K, K)`` of a batch, rows the truth."""
        _, scores, labels = task.compare(batch)
        found, truth = task.outcome(scores, labels)
        if found.is_floating_point():  # the probability of one of two classes
            found = (found > 0.5).long()
        return multiclass_confusion_matrix(found, truth, max(2, scores.shape[1])).cpu()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table and the picture."""
        if self._whole is None:
            return
        # Series that end before a day are known whole by then.
        rows = [(str(day), *_score(matrix)) for day, matrix in sorted(self._matrices.items())]
        rows.append(('all dates', *_score(self._whole)))
        table = pd.DataFrame(rows, columns=['until', 'macro_f1', 'labels'])
        figure = _draw(table)
        with whole_file(self.path) as draft:
            table.to_csv(draft, index=False)
            figure.savefig(draft.with_suffix('.png'), dpi=110, bbox_inches='tight')
        print(f'\nMacro F1 by the last date known:\n{table.to_string(index=False)}')
        print(f'Table and picture: {self.path}, {self.path.with_suffix(".png")}')


def _until(batch: dict[str, Any], stop: int) -> dict[str, Any]:
    """Take for padding what was acquired at a second *stop* or later, of both sensors."""
    pairs = (VALID, ACQUISITION_TIMES), (VALID_S1, ACQUISITION_TIMES_S1)
    cut = {v: batch[v] & (batch[t] < stop) for v, t in pairs if v in batch}
    return {**batch, **cut}


def _score(matrix: Tensor) -> tuple[float, int]:
    """Macro F1 over the classes that have labels, and the number of labels."""
    hits, truth, found = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    there = truth > 0
    f1 = 2 * hits[there] / (truth + found)[there]
    return float(f1.float().mean()) if there.any() else float('nan'), int(truth.sum())


def _draw(table: pd.DataFrame) -> Figure:
    """Draw the scores over the days, and a line at that of all dates."""
    figure = Figure(figsize=(6, 3.2), layout='constrained')
    axes = figure.subplots()
    days = pd.to_datetime(table['until'][:-1])
    axes.plot(days, table['macro_f1'][:-1], marker='o', markersize=3, label='dates until then')
    axes.axhline(table['macro_f1'].iloc[-1], color='grey', linestyle='--', label='all dates')
    axes.set_ylim(0, 1)
    axes.set_ylabel('macro F1')
    axes.tick_params(axis='x', labelrotation=45, labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='lower right')
    return figure

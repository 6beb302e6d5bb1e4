"""Write the predictions for points as a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from ..datasets import PointSeries
from ..datasets.points.series import POINT
from ..errors import SITSError
from ..keys import MASK_CLEAR, VALID
from ..mapping import ClassMap, MapOutput
from ..whole_files import whole_file

__all__ = ['TableWriter']


class TableWriter(Callback):
    """Write the predictions of ``trainer.predict`` for points as a table, a row for each.

    The columns are the name of the point, longitude and latitude where they are known, and what
    the task predicts: the class and the probability of each, the value, or the features of the
    embedding. Cells of points that were never seen are empty. With data that lies on a map
    nothing is written: that is for :class:`~torchgeo_sits.callbacks.MapWriter`.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import TableWriter
        >>> writer = TableWriter('predictions.parquet')
        >>> trainer = Trainer(callbacks=[writer], logger=False, accelerator='cpu')
        >>> # trainer.predict(task, datamodule=data) then writes predictions.parquet
        >>> writer.path.suffix
        '.parquet'
    """

    def __init__(self, path: str = 'predictions.csv') -> None:
        """Initialize a new TableWriter instance.

        Args:
            path: The table: a CSV file, or a Parquet file where it ends with ``.parquet``.

        Raises:
            SITSError: If the path ends otherwise, or its folder does not exist.
        """
        self.path = Path(path)
        if self.path.suffix not in ('.csv', '.parquet'):
            raise SITSError(f"expected a table that ends with .csv or .parquet, got '{path}'")
        self._points: PointSeries | None = None
        self._found: list[dict[str, NDArray[Any]]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See whether the data are points.

        Raises:
            SITSError: If several processes would write, or there is no folder for the table.
        """
        points = getattr(getattr(trainer, 'datamodule', None), 'points', None)
        if stage != 'predict' or not isinstance(points, PointSeries):
            return
        if trainer.world_size > 1:
            raise SITSError('tables are written by one process: set trainer.devices to 1')
        if not self.path.parent.is_dir():
            raise SITSError(f"no folder '{self.path.parent}' for {self.path.name}: make it first")
        self._points, self._found = points, []
        trainer.predict_loop.return_predictions = False

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the values of a batch."""
        if self._points is None:
            return
        named = outputs if isinstance(outputs, dict) else {'probabilities': outputs}
        seen = (batch[MASK_CLEAR].flatten(2).any(2) & batch[VALID]).any(1)
        found = {POINT: batch[POINT].cpu().numpy()}
        for key, value in named.items():
            flat = value.float().flatten(1) if value.ndim > 1 else value.float()[:, None]
            found[key] = flat.masked_fill(~seen[:, None], torch.nan).cpu().numpy()
        self._found.append(found)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table, all of it or nothing."""
        if self._points is None or not self._found:
            return
        task: Any = pl_module
        outputs = task.table_outputs() if hasattr(task, 'table_outputs') else task.map_outputs()
        joined = {key: np.concatenate([f[key] for f in self._found]) for key in self._found[0]}
        rows = joined.pop(POINT)
        table = _places(self._points).iloc[rows].reset_index(drop=True)
        parts = [table, *(_columns(output, joined[output.key]) for output in outputs)]
        table = pd.concat(parts, axis=1)
        with whole_file(self.path) as draft:
            if self.path.suffix == '.csv':
                table.to_csv(draft, index=False)
            else:
                table.to_parquet(draft, index=False)
        print(f'Table: {self.path} ({len(table)} points)')

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of the values."""
        self._points, self._found = None, []


def _places(points: PointSeries) -> pd.DataFrame:
    """Name and place of each point."""
    table = points.columns.iloc[:, :1].copy()
    if points.place is not None:
        table['lon'], table['lat'] = points.place
    return table


def _columns(output: MapOutput, values: NDArray[np.float32]) -> pd.DataFrame:
    """Columns of a table from what would be the bands of a map.

    Args:
        output: The map.
        values: ``(N, K)``, NaN for points that were never seen.
    """
    spread = values.T[:, None]
    names = output.bands(values.shape[1])
    if isinstance(output, ClassMap):
        found = np.array([*output.classes, None], object)[output.choose(spread)[0]]
        return pd.DataFrame({names[0]: found})
    drawn = output.draw(spread)[:, 0]
    return pd.DataFrame(dict(zip(names, drawn, strict=True)))

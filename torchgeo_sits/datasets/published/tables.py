"""Family of the tables: series of single places, dates by bands, without neighbours."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import SITSError
from .base import PublishedTimeSeries, StoredSeries, Window
from .side_files import told

__all__ = ['Rows', 'TableSeries', 'read_csv']


class Rows(NamedTuple):
    """The rows of a place.

    Attributes:
        values: ``(T, C)``, all bands in the order of ``band_names``, stored units.
        times: ``(T,)`` int64, seconds since 1970-01-01 UTC, in any order.
        clear: ``(T,)`` bool, True where no cloud, shadow or snow is marked; None where nothing
            is marked.
    """

    values: NDArray[Any]
    times: NDArray[np.int64]
    clear: NDArray[np.bool_] | None = None


class TableSeries(PublishedTimeSeries):
    """Base class of data sets of places without neighbours: samples of 1 x 1 pixels.

    A subclass reads the rows of a place in :meth:`read_rows`, and says the rest as every
    :class:`~.base.PublishedTimeSeries`.
    """

    @abstractmethod
    def read_rows(self, key: Any) -> Rows:
        """Read the rows of a place.

        Args:
            key: One of :attr:`samples`.

        Raises:
            SITSError: If the file is not as published.
        """

    def read_series(self, key: Any, window: Window) -> StoredSeries:
        """The rows of a place as frames of one pixel; a table has no windows."""
        rows = self.read_rows(key)
        clear = None if rows.clear is None else rows.clear[:, None, None]
        return StoredSeries(rows.values[:, :, None, None], rows.times, clear)

    def size(self, key: Any) -> tuple[int, int]:
        """One pixel."""
        return 1, 1


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    r"""Read a table, which must have some columns, as text.

    Args:
        path: The file.
        columns: Names of columns that it must have.

    Raises:
        FileNotFoundError: If there is none.
        SITSError: If it is no table, or lacks a column.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.tables import read_csv
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'dates.csv'
        ...     _ = path.write_text('date\n20180401\n')
        ...     read_csv(path, ['date'])['date'].tolist()
        ['20180401']
    """
    try:
        table = pd.read_csv(path, dtype=str)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # of pandas, too, where it is no table
        raise SITSError(
            f"'{path}' is no table that can be read ({told(error)}): fetch it again"
        ) from error
    if missing := [name for name in columns if name not in table]:
        raise SITSError(
            f"'{path}' lacks the columns {missing}, it has {list(table.columns)}: fetch it again"
        )
    return table

"""Series of single pixels from a table, as a data set."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Sample

from ...errors import SITSError, SITSIndexError
from ...keys import (
    ACQUISITION_TIMES,
    BOUNDS,
    IMAGE,
    LABEL,
    LENGTH,
    LOCATION,
    MASK,
    MASK_CLEAR,
    VALID,
)
from .files import read_arrays, read_table, table_files
from .labels import PointLabels, encode_labels
from .layout import Columns, arrange, arrange_arrays, find_column

__all__ = ['POINT', 'PointSeries']

#: Key of the number of a point among all of its table.
POINT: Final = 'point'
_LON: Final = ('lon', 'longitude', 'lng', 'long')
_LAT: Final = ('lat', 'latitude')


class PointSeries(NonGeoDataset):
    r"""Series of single pixels from a table: samples of 1 x 1 pixels.

    A table is a CSV or Parquet file, or several of the same columns, of one of two layouts, which
    is told by the names of its columns:

    - long, a row for each point and date: a column that tells the points apart, one of dates, and
      one for each band;
    - wide, a row for each point: a column for each band and date, such as ``B02_20180731``,
      ``20180731_B02``, ``B02_2018-07``, as Earth Engine writes them, or ``B02_1`` with *dates*.

    A ``.npz`` file holds an array ``(points, dates, bands)``, ``dates``, ``bands``, and columns.
    Everything is kept in memory, four bytes for each value.

    A sample is that of one pixel, see :mod:`torchgeo_sits.keys`: ``image`` ``(T, C, 1, 1)``, 0
    where a value is missing, and ``mask_clear`` ``(T, 1, 1)``, False on dates on which the value
    of any band is missing. With a label there are ``label`` ``()`` and ``mask`` ``(1, 1)``, int64
    or, of measured values, float32. Where longitude and latitude are known ``bounds`` are
    those, in degrees. ``point`` is the number of the point.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets import PointSeries
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / 'points.csv'
        >>> _ = path.write_text(
        ...     'id,date,B04,B08,crop\n'
        ...     'a,2018-04-01,900,2000,wheat\n'
        ...     'a,2018-05-01,400,4000,wheat\n'
        ...     'b,2018-04-11,1100,,maize\n'
        ... )
        >>> series = PointSeries(path, label='crop')
        >>> len(series), series.bands, series.labels.names
        (2, ['B04', 'B08'], ['maize', 'wheat'])
        >>> sample = series[0]
        >>> sample['image'].shape, sample['label']
        (torch.Size([2, 2, 1, 1]), tensor(1))
        >>> series[1]['mask_clear'].flatten()
        tensor([False])
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path] = 'points.csv',
        *,
        point: str | Sequence[str] | None = None,
        date: str | None = None,
        date_format: str | None = None,
        year: int | str | None = None,
        dates: Sequence[str] | None = None,
        bands: Sequence[str] | None = None,
        nodata: float | None = None,
        lon: str | None = None,
        lat: str | None = None,
        label: str | None = None,
        kind: Literal['class', 'value'] = 'class',
        classes: Mapping[int | str, str] | None = None,
        unlabelled: int | str | None = None,
        columns: Sequence[str] = (),
    ) -> None:
        """Initialize a new PointSeries instance.

        Args:
            paths: One or more files, or folders of them.
            point: Column, or columns, that tell points apart. Defaults to one of the usual
                names (``point``, ``id``, ``point_id``, ...); rows of a wide table need none.
            date: Column of the dates of a long table. Defaults to one of the usual names.
            date_format: Format of the dates, see :meth:`datetime.datetime.strptime`, where they
                are not written year, month, day.
            year: Year, or column of the year, of dates that are months only. Rows of a point are
                in order then: a month below the one before it begins the next year, and rows of
                one month are spread over it.
            dates: Dates of a wide table whose columns are numbered, from 0 or 1.
            bands: Names of the bands. Defaults to all: of a long table to the columns of numbers
                that change over time.
            nodata: Value that means no data, beside empty cells.
            lon: Column of longitudes. Defaults to one of the usual names, if any.
            lat: Column of latitudes.
            label: Column of the labels. None gives samples without.
            kind: Whether labels are classes, or measured values.
            classes: Values of *label* and names of their classes, in their order; points of
                others are not labelled. Defaults to all values, in ascending order.
            unlabelled: Value of *label* that means not labelled, beside empty cells.
            columns: Further columns to keep, such as one that says the split.

        Raises:
            FileNotFoundError: If there is no such file.
            SITSError: If a file cannot be read, holds no series, or lacks a column.
        """
        files = table_files(paths)
        self.files = files
        places = [name for name in (lon, lat) if name is not None] or [*_LON, *_LAT]
        asked = [*([] if label is None else [label]), *columns]
        if files[0].endswith('.npz'):
            arrays = read_arrays(files[0])
            frame = arrays.columns
        else:
            frame = read_table(files)
        for name in asked:
            find_column(frame, name, 'labels.column' if name == label else 'split')
        lower = {str(name).lower(): str(name) for name in frame.columns}
        others = {*asked, *(lower[name] for name in map(str.lower, places) if name in lower)}
        described = Columns(point, date, date_format, year, dates, bands, nodata, others=others)
        if files[0].endswith('.npz'):
            found = arrange_arrays(arrays, described)
        else:
            found = arrange(frame, described)
        self._values, self._times, self._starts = found.values, found.times, found.starts
        self.bands = found.bands
        #: What is said of each point; the first column names it.
        self.columns = found.columns
        self._varying = found.varying
        missing = np.isnan(self._values)
        self._clear = ~missing.any(axis=1)
        self._check_gaps(missing)
        self._values[missing] = 0
        self.place = self._find_place(lon, lat)
        self.labels: PointLabels | None = None
        if label is not None:
            self.labels = encode_labels(
                self.column(label),
                kind=kind,
                classes=classes,
                unlabelled=unlabelled,
                name=label,
            )

    def __len__(self) -> int:
        """Number of points."""
        return len(self._starts) - 1

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Points with a clear date, ``(N,)``."""
        number = np.add.reduceat(np.append(self._clear, False).astype(np.int64), self._starts[:-1])
        return number * (np.diff(self._starts) > 0) > 0

    def column(self, name: str) -> pd.Series:
        """A column of the points.

        Args:
            name: Name of the column, one of those that were asked for.

        Returns:
            N values.

        Raises:
            SITSError: If it is not the same on all dates of a point.
        """
        column = self.columns[name]
        if number := self._varying.get(name):
            raise SITSError(
                f'the column {name!r} is not the same on all dates of {number} points: expected '
                'one value for each point. Correct the table, or tell points apart by more '
                'columns (table.point)'
            )
        return column

    def values(self, points: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values of some points, one after the other.

        Args:
            points: Numbers of the points.

        Returns:
            ``(R, C)``, 0 where one is missing, and which dates are clear, ``(R,)``.
        """
        rows = self._rows(points)
        return self._values[rows], self._clear[rows]

    def days(self, points: NDArray[np.int64]) -> NDArray[np.datetime64]:
        """Different days on which points were seen, ascending, as ``datetime64[D]``."""
        return np.unique(self._times[self._rows(points)].astype('datetime64[s]').astype('M8[D]'))

    def __getitem__(self, index: int) -> Sample:
        """A point as a sample.

        Args:
            index: Number of the point.

        Returns:
            The sample, see the class.

        Raises:
            SITSIndexError: If there is no such point.
        """
        if not -len(self) <= index < len(self):
            raise SITSIndexError(f'there is no point {index} among {len(self)}')
        number = index % len(self)
        batch = self.batch(np.array([number]))
        return {key: value[0] for key, value in batch.items()}

    def batch(self, points: NDArray[np.int64]) -> dict[str, Tensor]:
        """Some points as a batch: what :func:`~torchgeo_sits.collate.pad_time` makes of them.

        Args:
            points: Numbers of B points.

        Returns:
            The batch.
        """
        starts, ends = self._starts[points], self._starts[points + 1]
        length = ends - starts
        steps = np.arange(max(int(length.max(initial=0)), 1))
        valid = steps < length[:, None]
        rows = np.where(valid, starts[:, None] + steps, 0)
        image = self._values[rows] * valid[..., None]
        batch = {
            IMAGE: torch.from_numpy(image)[..., None, None],
            ACQUISITION_TIMES: torch.from_numpy(self._times[rows] * valid),
            VALID: torch.from_numpy(valid),
            LENGTH: torch.from_numpy(length),
            MASK_CLEAR: torch.from_numpy(self._clear[rows] & valid)[..., None, None],
            POINT: torch.from_numpy(np.asarray(points, np.int64)),
        }
        if self.labels is not None:
            label = torch.from_numpy(self.labels.values[points])
            batch |= {LABEL: label, MASK: label[:, None, None].clone()}
        if self.place is not None:
            lon, lat = (values[points] for values in self.place)
            still, one = np.zeros(len(points)), np.ones(len(points))
            last = self._times[np.maximum(ends - 1, 0)]
            span = self._times[np.minimum(starts, len(self._times) - 1)], last, one
            bounds = np.stack([lon, lon, still, lat, lat, still, *span], axis=1)
            batch[BOUNDS] = torch.from_numpy(bounds.astype(np.float64))
            batch[LOCATION] = torch.from_numpy(np.stack([lat, lon], 1).astype(np.float32))
        return batch

    def _rows(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of some points, one after the other."""
        length = self._starts[points + 1] - self._starts[points]
        before = np.append(0, np.cumsum(length)[:-1])
        shift = np.repeat(self._starts[points] - before, length)
        rows: NDArray[np.int64] = np.arange(length.sum()) + shift
        return rows

    def _find_place(
        self, lon: str | None, lat: str | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Longitudes and latitudes ``(N,)`` in degrees; None where they are not known."""
        lower = {str(name).lower(): str(name) for name in self.columns.columns}
        found = []
        for asked, usual in ((lon, _LON), (lat, _LAT)):
            names = [lower[name] for name in usual if name in lower]
            if asked is not None:
                names = [find_column(self.columns, asked, f'table.{usual[0]}')]
            if not names:
                return None
            values = pd.to_numeric(self.columns[names[0]], errors='coerce')
            found.append(values.to_numpy(np.float64, na_value=np.nan))
        if (np.abs(found[0]) > 360).any() or (np.abs(found[1]) > 90).any():
            if lon is None and lat is None:
                return None  # in metres, by the name of degrees
            raise SITSError(f'expected degrees in {lon!r} and {lat!r}, got larger numbers')
        return found[0], found[1]

    def _check_gaps(self, missing: NDArray[np.bool_]) -> None:
        """Say how much is lost where a date lacks some bands only, ``(R, C)``."""
        if not self._clear.any():
            raise SITSError(
                f'{self.files[0]}: on no date are the values of all bands {self.bands} there: '
                'choose bands of one sensor by table.bands, or look at table.nodata'
            )
        partly = ~self._clear & ~missing.all(axis=1)
        if partly.any():
            number = dict(zip(self.bands, missing[partly].sum(axis=0).tolist(), strict=True))
            lacking = {band: n for band, n in number.items() if n}
            warnings.warn(
                f'on {int(partly.sum())} of {len(partly)} dates of points some bands are missing '
                f'and others not, {lacking}: these dates count as not seen. table.bands chooses '
                'bands that are there together',
                UserWarning,
                stacklevel=3,
            )

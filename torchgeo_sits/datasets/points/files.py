"""Tables of points as they lie on a disk: CSV, Parquet, and arrays of NumPy."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from ...errors import SITSError
from ..stac_items import is_stac

__all__ = ['TABLE_ENDINGS', 'PointArrays', 'is_table', 'read_arrays', 'read_table', 'table_files']

_TEXT: Final = ('.csv', '.csv.gz', '.tsv', '.txt')
_PARQUET: Final = ('.parquet', '.pq', '.geoparquet')
#: Endings of the files that hold points.
TABLE_ENDINGS: Final = (*_TEXT, *_PARQUET, '.npz')
#: What people write for a missing value, beside what Arrow knows by itself.
_MISSING: Final = ['', '-', '--', 'NA', 'N/A', 'n/a', '#N/A', 'NaN', 'nan', 'NULL', 'null', 'None']


def is_table(path: str | Path) -> bool:
    """Tell by its name whether a file is a table of points, and no table of STAC items.

    Args:
        path: Path of the file.
    """
    return str(path).lower().endswith(TABLE_ENDINGS) and not is_stac(path)


def table_files(paths: str | Path | Sequence[str | Path]) -> list[str]:
    """List the files of a table that may lie in parts.

    Args:
        paths: One or more files, or folders of them.

    Returns:
        Paths, those of a folder in the order of their names.

    Raises:
        FileNotFoundError: If there is no such file, or no table in a folder.
        SITSError: If a file is of another kind, or arrays are not alone.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found: list[str] = []
    for path in map(str, given):
        if os.path.isdir(path):
            inside = sorted(entry.path for entry in os.scandir(path) if is_table(entry.path))
            if not inside:
                raise FileNotFoundError(
                    f'{path}: expected tables of points ({", ".join(TABLE_ENDINGS)}) in this '
                    'folder, found none'
                )
            found += inside
        elif not os.path.isfile(path):
            raise FileNotFoundError(f'no table at {path}: give the path of a CSV or Parquet file')
        elif not is_table(path):
            raise SITSError(
                f'{path}: expected a table of points, a file that ends with one of '
                f'{", ".join(TABLE_ENDINGS)}; folders of rasters are for SITSDataModule'
            )
        else:
            found.append(path)
    if len(found) != 1 and any(path.endswith('.npz') for path in found):
        raise SITSError(f'expected one .npz file alone, or tables without one, got {found}')
    if not found:
        raise SITSError('expected the path of a table of points, got none')
    return found


def read_table(files: Sequence[str]) -> pd.DataFrame:
    """Read the files of a table, one below the other.

    Args:
        files: CSV files (separated by commas, semicolons or tabs) and Parquet files.

    Returns:
        All columns that have a name.

    Raises:
        SITSError: If a file cannot be read, has no row, has two columns of one name, or other
            columns than the first.
    """
    parts: list[pd.DataFrame] = []
    for path in files:
        try:
            table = parquet.read_table(path) if path.lower().endswith(_PARQUET) else _csv(path)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeError) as error:
            reason = ' '.join(str(error).split())[:300]
            raise SITSError(f'{path} cannot be read as a table: {reason}') from error
        if twice := sorted({n for n in table.column_names if table.column_names.count(n) > 1}):
            raise SITSError(f'{path} has several columns of the names {twice}: rename all but one')
        # An index that pandas wrote has no name, and says nothing.
        named = [n for n in table.column_names if n and not _is_unnamed(n)]
        frame = table.select(named).to_pandas(date_as_object=False, ignore_metadata=True)
        if not len(frame):
            raise SITSError(f'{path} has no row: expected a row for each point, or point and date')
        if parts and set(frame.columns) != set(parts[0].columns):
            odd = sorted(set(frame.columns) ^ set(parts[0].columns))
            raise SITSError(f'{path} and {files[0]} differ in their columns: {odd}')
        parts.append(frame)
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def _is_unnamed(name: str) -> bool:
    """Tell the column of an index that was written without a name."""
    return name.startswith(('Unnamed: ', '__index_level_'))


def _csv(path: str) -> pa.Table:
    """Read a text file, whose separator and decimal mark are found in its first lines."""
    with pa.input_stream(path) as stream:
        head = stream.read(1 << 16).decode('utf-8', errors='replace').lstrip('\ufeff')
    lines = head.splitlines()
    if not lines:
        raise pa.ArrowInvalid('the file is empty')
    separator = max(',;\t', key=lines[0].count)
    comma = separator == ';' and any(re.search(r'\d,\d', line) for line in lines[1:])
    options = {
        'parse_options': csv.ParseOptions(delimiter=separator),
        'convert_options': csv.ConvertOptions(
            decimal_point=',' if comma else '.', null_values=_MISSING, strings_can_be_null=True
        ),
    }
    try:
        return csv.read_csv(path, **options)
    except pa.ArrowInvalid as error:
        if 'conversion error' not in str(error).lower():
            raise
        # Types are told by the first block: a column that begins with whole numbers and goes on
        # with others needs them told by all.
        size = os.path.getsize(path) * (30 if path.endswith('.gz') else 1)
        whole = csv.ReadOptions(block_size=min(size + 1, 2**31 - 1))
        return csv.read_csv(path, read_options=whole, **options)


class PointArrays(NamedTuple):
    """What a file of arrays holds.

    Attributes:
        values: ``(N, T, C)``, in the type in which they are stored.
        dates: ``(T,)`` or ``(N, T)``, as they are stored.
        bands: Names of the C bands; None where the file has none.
        columns: All other arrays of N values, as columns.
    """

    values: NDArray[np.generic]
    dates: NDArray[np.generic] | None
    bands: list[str] | None
    columns: pd.DataFrame


def read_arrays(path: str) -> PointArrays:
    """Read a ``.npz`` file of series: one array of three axes, dates, bands, and columns.

    Nothing in the file is unpickled.

    Args:
        path: Path of the file.

    Returns:
        The arrays.

    Raises:
        SITSError: If the file cannot be read, or does not hold one array ``(N, T, C)``.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # of many kinds, as archives can be broken in many ways
        raise SITSError(f'{path} cannot be read as arrays of NumPy: {error}') from error
    cubes = [name for name, value in arrays.items() if value.ndim == 3]
    if len(cubes) != 1:
        shapes = {name: value.shape for name, value in arrays.items()}
        raise SITSError(
            f'{path}: expected one array (points, dates, bands) of three axes, got {shapes}'
        )
    values = arrays.pop(cubes[0])
    number, steps, channels = values.shape
    dates = bands = None
    for name in ('dates', 'times', 'date', 'time'):
        if dates is None and name in arrays and arrays[name].shape in ((steps,), (number, steps)):
            dates = arrays.pop(name)
    if 'bands' in arrays and arrays['bands'].shape == (channels,):
        bands = [str(band) for band in arrays.pop('bands')]
    columns = {name: value for name, value in arrays.items() if value.shape == (number,)}
    return PointArrays(values, dates, bands, pd.DataFrame(columns, index=range(number)))

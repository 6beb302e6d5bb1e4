"""The files that describe PASTIS: its patches, their dates, and published statistics."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError

__all__ = ['published_dates', 'published_statistics', 'read_patches']

#: Columns that each release has.
_COLUMNS = ('ID_PATCH', 'Fold')


def read_patches(path: Path) -> gpd.GeoDataFrame:
    """Read ``metadata.geojson``.

    Args:
        path: The file.

    Returns:
        One row per patch, ordered by its number, with the columns of the file; ``ID_PATCH``
        and ``Fold`` are whole numbers.

    Raises:
        ValueError: If the file is no GeoJSON of patches.
    """
    try:
        patches = gpd.read_file(path)
    except (DataSourceError, ValueError) as error:
        raise ValueError(
            f"'{path}' cannot be read as GeoJSON ({error}): download it again"
        ) from error
    if missing := [name for name in _COLUMNS if name not in patches]:
        raise ValueError(
            f"'{path}' lacks the columns {missing}, it has {list(patches.columns)}: expected the "
            'metadata.geojson of PASTIS or PASTIS-R'
        )
    for name in _COLUMNS:
        try:
            patches[name] = patches[name].astype(np.int64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"'{path}': the column {name!r} holds what is no whole number ({error}): download "
                'it again'
            ) from error
    return patches.sort_values('ID_PATCH').reset_index(drop=True)


def published_dates(value: Any, *, column: str, patch: int, path: Path) -> NDArray[np.int64]:
    """Dates of the frames of a patch.

    Args:
        value: Index of the frame to YYYYMMDD: a dictionary, or one as JSON, which is what
            GDAL makes of it and GeoPandas, by its version, hands on.
        column: Where it is from, such as 'dates-S2', for messages.
        patch: Number of the patch, for messages.
        path: The file, for messages.

    Returns:
        Seconds since 1970-01-01 UTC ``(T,)``, at midnight, in the order of the frames.

    Raises:
        ValueError: If it is neither, or a date is none.
    """
    try:
        table = json.loads(value) if isinstance(value, str) else value
        # Keys of JSON are strings, which need not come in the order of numbers.
        numbered = sorted((int(key), int(date)) for key, date in table.items())
        times = [
            datetime.strptime(f'{date:08d}', '%Y%m%d').replace(tzinfo=UTC).timestamp()
            for _, date in numbered
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"'{path}': {column!r} of patch {patch} does not name a date (YYYYMMDD) for each "
            f'frame, it is {str(value)[:80]!r} ({error}): download it again'
        ) from error
    return np.array(times, np.int64)


def published_statistics(
    path: Path, folds: Sequence[int], channels: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of some folds, as the authors average them.

    Args:
        path: A file such as ``NORM_S2_patch.json``.
        folds: The folds, from 1 to 5.
        channels: Positions of the bands.

    Returns:
        Means over the folds of the published mean and of the published standard deviation of
        each band.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not hold statistics of each fold.
    """
    try:
        table = json.loads(path.read_text())
        values = np.array(
            [[table[f'Fold_{fold}'][name] for fold in folds] for name in ('mean', 'std')], float
        )
        mean, std = values.mean(axis=1)[:, list(channels)]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"'{path}' does not exist, which holds the mean and standard deviation of each fold: "
            'download it again, or give mean and std'
        ) from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"'{path}' does not hold mean and std of {max(channels) + 1} bands for each of the "
            f'folds {list(folds)} ({type(error).__name__}: {error}): download it again, or give '
            'mean and std'
        ) from error
    return mean.tolist(), std.tolist()

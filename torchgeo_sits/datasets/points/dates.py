"""Dates in the columns of tables, in whatever way they are written, and months."""

import re
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import SITSError

__all__ = ['MISSING', 'Dates', 'month_starts', 'parse_dates', 'place_months']

#: What a missing or unreadable date is, in any unit.
MISSING: Final = np.iinfo(np.int64).min
_MONTH: Final = re.compile(r'(\d{4})[-_/.]?(\d{2})')
#: Numbers that mean a time: name, least and largest value.
_NUMBERS: Final = (
    ('month of year', 1, 12),
    ('YYYYMM', 190001, 210012),
    ('YYYYDDD', 1900001, 2100366),
    ('YYYYMMDD', 19000101, 21001231),
    ('seconds', 100_000_000, 5_000_000_000),
    ('milliseconds', 100_000_000_000, 5_000_000_000_000),
)


class Dates(NamedTuple):
    """Dates of the rows of a table.

    Attributes:
        unit: 'second' for seconds since 1970-01-01 UTC; 'month' for months since the year 0;
            'month of year' for 1 to 12, of a year that is not said.
        values: ``(R,)``, :data:`MISSING` where a row has none that can be read.
    """

    unit: Literal['second', 'month', 'month of year']
    values: NDArray[np.int64]


def parse_dates(values: pd.Series, *, date_format: str | None = None, name: str = 'date') -> Dates:
    """Read dates, each different one once.

    Times of dates, ISO 8601 with and without a clock, ``YYYYMMDD``, ``YYYYDDD``, months
    ``YYYY-MM`` and ``YYYYMM``, months of the year from 1 to 12, and seconds or milliseconds since
    1970 are understood.

    Args:
        values: A column.
        date_format: Format of :meth:`datetime.datetime.strptime`, for others.
        name: Name of the column, for messages.

    Returns:
        The dates.

    Raises:
        SITSError: If most of them cannot be read.
    """
    codes, found = pd.factorize(values)
    unique = pd.Series(found)
    dates = _parse(unique, date_format)
    readable = dates.values != MISSING
    if not len(unique) or readable.mean() < 0.5:
        raise SITSError(
            f'the column {name!r} holds no dates that can be read, such as '
            f'{unique[~readable].astype(str).tolist()[:3]}: expected 2018-07-31, 20180731 or '
            "times; give the format of others as table.date_format, such as '%d.%m.%Y'"
        )
    return Dates(dates.unit, np.append(dates.values, MISSING)[codes])


def _parse(values: pd.Series, date_format: str | None) -> Dates:
    """Read dates without repeats."""
    if date_format is not None:
        parsed = pd.to_datetime(values.astype(str), format=date_format, errors='coerce', utc=True)
        if any(code in date_format for code in ('%d', '%j', '%c', '%x')):
            return Dates('second', _seconds(parsed))
        missing = parsed.isna().to_numpy()
        month = parsed.dt.month.fillna(1).to_numpy(np.int64)
        if '%Y' not in date_format and '%y' not in date_format:
            return Dates('month of year', np.where(missing, MISSING, month))
        months = parsed.dt.year.fillna(0).to_numpy(np.int64) * 12 + month - 1
        return Dates('month', np.where(missing, MISSING, months))
    if pd.api.types.is_datetime64_any_dtype(values):
        return Dates('second', _seconds(pd.to_datetime(values, utc=True)))
    numbers = pd.to_numeric(values, errors='coerce')
    if not pd.api.types.is_bool_dtype(values) and numbers.notna().mean() >= 0.5:
        return _parse_numbers(numbers.to_numpy(np.float64, na_value=np.nan))
    text = values.astype(str).str.strip()
    if text.str.fullmatch(_MONTH).mean() >= 0.5:
        parts = text.str.extract(_MONTH).astype(np.float64).to_numpy()
        good = (parts[:, 1] >= 1) & (parts[:, 1] <= 12)
        months = np.nan_to_num(parts[:, 0] * 12 + parts[:, 1] - 1).astype(np.int64)
        return Dates('month', np.where(good, months, MISSING))
    text = text.str.replace('[_/]', '-', regex=True)
    return Dates(
        'second', _seconds(pd.to_datetime(text, format='ISO8601', errors='coerce', utc=True))
    )


def _parse_numbers(numbers: NDArray[np.float64]) -> Dates:
    """Read numbers, in the first of the ways that fits most of them."""
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers))
    fits = [whole & (numbers >= least) & (numbers <= most) for _, least, most in _NUMBERS]
    best = int(np.argmax([fit.sum() for fit in fits]))
    good, kind = fits[best], _NUMBERS[best][0]
    value = np.where(good, numbers, _NUMBERS[best][1]).astype(np.int64)
    if kind == 'month of year':
        return Dates('month of year', np.where(good, value, MISSING))
    if kind == 'YYYYMM':
        good &= (value % 100 >= 1) & (value % 100 <= 12)
        return Dates('month', np.where(good, value // 100 * 12 + value % 100 - 1, MISSING))
    if kind in ('YYYYMMDD', 'YYYYDDD'):
        form = '%Y%m%d' if kind == 'YYYYMMDD' else '%Y%j'
        parsed = pd.to_datetime(pd.Series(value).astype(str), format=form, errors='coerce')
        return Dates('second', np.where(good, _seconds(parsed), MISSING))
    value = value if kind == 'seconds' else value // 1000
    return Dates('second', np.where(good, value, MISSING))


def _seconds(times: pd.Series) -> NDArray[np.int64]:
    """Seconds since 1970-01-01 UTC ``(R,)``, :data:`MISSING` for none."""
    seconds: NDArray[np.int64] = pd.DatetimeIndex(times).as_unit('s').asi8
    return seconds


def month_starts(months: NDArray[np.int64]) -> NDArray[np.int64]:
    """First second of months since the year 0, in seconds since 1970-01-01 UTC, ``(R,)``."""
    starts: NDArray[np.int64] = (
        (months - 1970 * 12).astype('datetime64[M]').astype('datetime64[s]').astype(np.int64)
    )
    return starts


def place_months(point: NDArray[np.int64], months: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place rows of months in time: one in the middle of its month, more spread over it in order.

    Args:
        point: Number of the point of each row, ``(R,)``.
        months: Months since the year 0, ``(R,)``, those of a point in ascending order.

    Returns:
        Seconds since 1970-01-01 UTC, ``(R,)``.
    """
    if not len(months):
        return months
    begins = np.ones(len(months), bool)
    begins[1:] = (point[1:] != point[:-1]) | (months[1:] != months[:-1])
    first = np.flatnonzero(begins)
    count = np.diff(np.append(first, len(months)))
    run = np.cumsum(begins) - 1
    share = (np.arange(len(months)) - first[run] + 0.5) / count[run]
    start, end = month_starts(months), month_starts(months + 1)
    placed: NDArray[np.int64] = start + (share * (end - start)).astype(np.int64)
    return placed

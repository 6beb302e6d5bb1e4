"""Tables as series: one row for each point and date, or one column for each band and date."""

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import SITSError
from ..frames import LARGEST, within_range
from .files import PointArrays

__all__ = ['Columns', 'SeriesArrays', 'arrange', 'arrange_arrays', 'find_column']


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


Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_POINT_NAMES: Final = ('point', 'point_id', 'id', 'fid', 'sample_id', 'pixel_id', 'plot_id')
_DATE_NAMES: Final = (
    'date', 'datetime', 'time', 'timestamp', 'acquisition_date', 'acquisition_time',
    'acquisition_times', 'system:time_start', 'month',
)  # fmt: skip
#: Values that many files use for no data, without saying so.
_USUAL_FILLS: Final = (-32768, -9999)

_DAY = (
    r'(?<!\d)(?:19|20)\d\d(?P<sep>[-_.]?)(?:0[1-9]|1[0-2])'
    r'(?:(?P=sep)(?:0[1-9]|[12]\d|3[01]))?(?!\d)'
)
#: Column names with a date: behind the band, or before it, where Earth Engine puts the name of
#: the image (its dates, tile, or path and row).
_DATED: Final = (
    re.compile(rf'(?P<band>.+?)[-_. ](?P<date>{_DAY})(?:T(?P<clock>\d{{6}}))?'),
    re.compile(
        rf'(?:L[COTEM]\d\d_\d{{6}}_)?(?P<date>{_DAY})(?:T(?P<clock>\d{{6}}))?'
        r'(?:_\d{8}T\d{6})?(?:_T\d\d[A-Z]{3})?[-_. ](?P<band>.+)'
    ),
)
#: Column names with the number of a date.
_NUMBERED: Final = (
    re.compile(r'(?P<band>.+?)[-_. ](?P<number>\d{1,4})'),
    re.compile(r'(?P<number>\d{1,4})[-_. ](?P<band>.+)'),
)


@dataclass(frozen=True)
class Columns:
    """Columns of a table, and what is known of them; see :class:`.series.PointSeries`.

    Attributes:
        point: Column, or columns, that tell points apart.
        date: Column of dates.
        date_format: Format of the dates.
        year: Year of dates that are months only, or the column that has it.
        dates: Dates of columns that are numbered.
        bands: Names of the bands.
        nodata: Value that means no data.
        others: Columns that are no bands: of labels, places, splits.
    """

    point: str | Sequence[str] | None = None
    date: str | None = None
    date_format: str | None = None
    year: int | str | None = None
    dates: Sequence[str] | None = None
    bands: Sequence[str] | None = None
    nodata: float | None = None
    others: Collection[str] = ()


class SeriesArrays(NamedTuple):
    """Series of N points, one after the other, with R dates in all.

    Attributes:
        values: ``(R, C)`` float32, NaN where a value is missing.
        times: ``(R,)`` int64, seconds since 1970-01-01 UTC, ascending within a point.
        starts: ``(N + 1,)`` int64, the first row of each point, and the end.
        bands: Names of the C bands.
        columns: What is said of each point, N rows; the first column names the points.
        varying: Columns of these that are not the same on all dates of some point, with the
            number of such points.
    """

    values: Floats
    times: Integers
    starts: Integers
    bands: list[str]
    columns: pd.DataFrame
    varying: Mapping[str, int]


def find_column(frame: pd.DataFrame, name: str, option: str) -> str:
    """Check that there is a column.

    Args:
        frame: The table.
        name: Name of the column.
        option: Option that asks for it, for the message.

    Returns:
        The name.

    Raises:
        SITSError: If there is none.
    """
    if name in frame.columns:
        return name
    near = get_close_matches(name, map(str, frame.columns), n=1)
    meant = f'; did you mean {near[0]!r}?' if near else ''
    raise SITSError(
        f'{option}={name!r} is no column of the table, which has {_some(frame.columns)}{meant}'
    )


def arrange(frame: pd.DataFrame, columns: Columns) -> SeriesArrays:
    """Arrange a table as series, whichever way it is laid out.

    Args:
        frame: The table.
        columns: Its columns.

    Returns:
        The series.

    Raises:
        SITSError: If the table holds no series, or columns are missing.
    """
    if columns.dates is not None:
        if columns.date is not None:
            raise SITSError(
                f'table.date={columns.date!r} is the column of dates of a table with a row for '
                'each date, table.dates are those of numbered columns: give one of them'
            )
        return _arrange_wide(frame, _numbered(frame, columns), columns)
    if columns.date is None:
        dated = _dated(frame, columns)
        if len({date for _, date in dated.values()}) > 1:
            return _arrange_wide(frame, dated, columns)
    return _arrange_long(frame, columns)


# -- a column for each band and date -----------------------------------------------------------


def _dated(frame: pd.DataFrame, columns: Columns) -> dict[str, tuple[str, str]]:
    """Band and date of each column whose name has both, the date as ISO 8601."""
    found = {}
    for name in frame.columns:
        if name in columns.others:
            continue
        for pattern in _DATED:
            if match := pattern.fullmatch(name):
                digits = re.sub(r'\D', '', match['date'])
                date = '-'.join(filter(None, (digits[:4], digits[4:6], digits[6:])))
                if clock := match['clock']:
                    date += f'T{clock[:2]}:{clock[2:4]}:{clock[4:]}'
                found[name] = match['band'], date
                break
    return found


def _numbered(frame: pd.DataFrame, columns: Columns) -> dict[str, tuple[str, str]]:
    """Band and date of each column whose name has the number of a date."""
    assert columns.dates is not None
    dates = [str(date) for date in columns.dates]
    found: dict[str, tuple[str, int]] = {}
    for name in frame.columns:
        for pattern in _NUMBERED:
            if name not in columns.others and (match := pattern.fullmatch(name)):
                found[name] = match['band'], int(match['number'])
                break
    if columns.bands is not None:
        found = {name: pair for name, pair in found.items() if pair[0] in columns.bands}
    numbers = sorted({number for _, number in found.values()})
    first = numbers[0] if numbers else 0
    if first > 1 or numbers != list(range(first, first + len(dates))):
        raise SITSError(
            f'table.dates holds {len(dates)} dates, so columns such as B02_1 to B02_{len(dates)} '
            f'were expected (or from 0 on), found the numbers {numbers[:5]}'
            f'{" ..." if len(numbers) > 5 else ""}: give a date for each number, and table.bands '
            'where other columns end with a number too'
        )
    return {name: (band, dates[number - first]) for name, (band, number) in found.items()}


def _arrange_wide(
    frame: pd.DataFrame, names: dict[str, tuple[str, str]], columns: Columns
) -> SeriesArrays:
    """Arrange a table with a row for each point."""
    bands = _chosen(list(dict.fromkeys(band for band, _ in names.values())), columns.bands)
    names = {name: pair for name, pair in names.items() if pair[0] in bands}
    written = list(dict.fromkeys(date for _, date in names.values()))
    times = _times_of(written, columns)
    by_pair: dict[tuple[str, int], str] = {}
    for name, (band, date) in names.items():
        pair = band, int(times[written.index(date)])
        if pair in by_pair:
            raise SITSError(
                f'the columns {by_pair[pair]!r} and {name!r} are both {band} of {date}: rename or '
                'drop one'
            )
        by_pair[pair] = name
    steps = np.unique(times)
    values = np.full((len(frame), len(steps), len(bands)), np.nan, np.float32)
    for c, band in enumerate(bands):
        for t, time in enumerate(steps.tolist()):
            if (column := by_pair.get((band, time))) is not None:
                values[:, t, c] = _numbers(frame[column], column)
    rest = frame.drop(columns=list(names)).reset_index(drop=True)
    return _from_cube(values, steps, bands, rest, columns)


def _times_of(written: list[str], columns: Columns) -> Integers:
    """Seconds of a list of dates, months in their middle."""
    dates = parse_dates(pd.Series(written), date_format=columns.date_format, name='table.dates')
    if (dates.values == MISSING).any():
        odd = [date for date, v in zip(written, dates.values, strict=True) if v == MISSING]
        raise SITSError(f'these dates of columns cannot be read: {odd[:5]}')
    if dates.unit == 'second':
        return dates.values
    months = dates.values
    if dates.unit == 'month of year':
        if not isinstance(columns.year, int):
            raise SITSError(
                f'the dates {written[:3]} are months of no year: give the year as table.year'
            )
        months = columns.year * 12 + months - 1
    return place_months(np.arange(len(months)), months)


def arrange_arrays(arrays: PointArrays, columns: Columns) -> SeriesArrays:
    """Arrange arrays as series.

    Args:
        arrays: The arrays of a file.
        columns: What is known of them; ``dates`` and ``bands`` go before those of the file.

    Returns:
        The series.

    Raises:
        SITSError: If dates or names of bands are missing, or do not fit.
    """
    values = arrays.values
    number, steps, channels = values.shape
    bands = arrays.bands
    if bands is None:
        if columns.bands is None or len(columns.bands) != channels:
            raise SITSError(
                f'the file names no bands: give the names of its {channels} as table.bands'
            )
        bands = list(columns.bands)
    chosen = _chosen(bands, columns.bands)
    values = values[..., [bands.index(band) for band in chosen]]
    dates = arrays.dates if columns.dates is None else np.array([str(d) for d in columns.dates])
    if dates is None or dates.shape not in ((steps,), (number, steps)):
        raise SITSError(
            f"expected an array 'dates' of {steps} dates, or of ({number}, {steps}), got "
            f'{None if dates is None else dates.shape}: give them as table.dates'
        )
    kept = _single(values, 'the array of values')
    if dates.ndim == 1:
        times = _times_of([str(date) for date in dates.tolist()], columns)
        order = np.argsort(times, kind='stable')
        if (twice := np.diff(times[order]) == 0).any():
            raise SITSError(f'the dates hold {int(twice.sum())} repeats: each may come once')
        return _from_cube(kept[:, order], times[order], chosen, arrays.columns, columns)
    parsed = parse_dates(pd.Series(dates.ravel()), date_format=columns.date_format, name='dates')
    point = np.repeat(np.arange(number), steps)
    rows = _Rows(kept.reshape(-1, len(chosen)), point, parsed)
    named, _ = _with_names(arrays.columns, columns)
    return _from_rows(rows, chosen, named, {}, columns)


def _from_cube(
    values: Floats, times: Integers, bands: list[str], rest: pd.DataFrame, columns: Columns
) -> SeriesArrays:
    """Series of N points that have the same dates."""
    number, steps, _ = values.shape
    named, _ = _with_names(rest, columns)
    starts = np.arange(number + 1, dtype=np.int64) * steps
    flat = _without_fill(values.reshape(-1, len(bands)), columns.nodata)
    return SeriesArrays(flat, np.tile(times, number), starts, bands, named, {})


# -- a row for each point and date -------------------------------------------------------------


class _Rows(NamedTuple):
    """Rows of a table: values ``(R, C)``, numbers of points ``(R,)``, and dates."""

    values: Floats
    point: Integers
    dates: Dates


def _arrange_long(frame: pd.DataFrame, columns: Columns) -> SeriesArrays:
    """Arrange a table with a row for each point and date."""
    date = _column(frame, columns.date, _DATE_NAMES, 'date')
    keys = _point_columns(frame, columns)
    year = columns.year
    if year is None and date.lower() == 'month':
        year = next((name for name in frame.columns if name.lower() == 'year'), None)
    dates = parse_dates(frame[date], date_format=columns.date_format, name=date)
    if dates.unit == 'month of year' and isinstance(year, str):
        found = find_column(frame, year, 'table.year')
        years = pd.to_numeric(frame[found], errors='coerce').to_numpy(np.float64, na_value=np.nan)
        known = (dates.values != MISSING) & (years >= 1900) & (years <= 2100)
        months = np.where(known, np.nan_to_num(years).astype(np.int64) * 12 + dates.values - 1, 0)
        dates = Dates('month', np.where(known, months, MISSING))
    elif dates.unit == 'month of year' and year is None:
        raise SITSError(
            f'the column {date!r} holds months from 1 to 12 of no year: give the year, or the '
            'column that has it, as table.year. Rows of a point are taken in their order, and a '
            'month that is smaller than the one before begins the next year'
        )
    used = {date, *keys, *columns.others, *([year] if isinstance(year, str) else [])}
    point, names = _number_points(frame, keys)
    lost = (point < 0) | (dates.values == MISSING)
    if lost.all():
        raise SITSError(f'no row of the table has both a point ({keys}) and a date ({date!r})')
    if lost.any():
        warnings.warn(
            f'{int(lost.sum())} of {len(frame)} rows have no {" or ".join([*keys, date])} that can '
            f'be read, the first is row {int(lost.argmax()) + 1}: they are left out',
            UserWarning,
            stacklevel=2,
        )
        frame = frame[~lost].reset_index(drop=True)
        point, names = _number_points(frame, keys)
        dates = Dates(dates.unit, dates.values[~lost])
    bands = _bands_of_rows(frame, columns, used, point)
    values = np.empty((len(frame), len(bands)), np.float32)
    for c, band in enumerate(bands):
        values[:, c] = _numbers(frame[band], band)
    first = np.unique(point, return_index=True)[1]
    kept = [name for name in columns.others if name in frame.columns and name not in keys]
    varying = {}
    for name in kept:
        if number := _varies(frame[name], point, first):
            varying[name] = number
    of_points = pd.concat([names, frame[kept].iloc[first].reset_index(drop=True)], axis=1)
    rows = _Rows(values, point, dates)
    year = year if isinstance(year, int) else None
    return _from_rows(rows, bands, of_points, varying, columns, year)


def _from_rows(
    rows: _Rows,
    bands: list[str],
    of_points: pd.DataFrame,
    varying: Mapping[str, int],
    columns: Columns,
    year: int | None = None,
) -> SeriesArrays:
    """Series of points from rows in any order."""
    values, point, dates = rows
    values = _without_fill(values, columns.nodata)
    if dates.unit == 'second':
        times = dates.values
    else:
        order = np.argsort(point, kind='stable')
        months = dates.values[order]
        if dates.unit == 'month of year':
            assert year is not None
            months = _with_years(point[order], months, year)
        again = np.lexsort((months, point[order]))
        order, months = order[again], months[again]
        values, point = values[order], point[order]
        times = place_months(point, months)
    empty = np.isnan(values).any(axis=1)
    ascending = (np.diff(point) > 0) | ((np.diff(point) == 0) & (np.diff(times) > 0))
    if not ascending.all():
        order = np.lexsort((empty, times, point))
        values, point, times = values[order], point[order], times[order]
        twice = np.zeros(len(point), bool)
        twice[1:] = (np.diff(point) == 0) & (np.diff(times) == 0)
        if twice.any():
            where = int(twice.argmax())
            when = np.datetime64(int(times[where]), 's')
            warnings.warn(
                f'{int(twice.sum())} rows are of a point and date that another row has, such as '
                f'point {of_points.iloc[int(point[where]), 0]} on {when}: the first without a '
                'missing value is taken',
                UserWarning,
                stacklevel=2,
            )
            values, point, times = values[~twice], point[~twice], times[~twice]
    starts = np.searchsorted(point, np.arange(len(of_points) + 1))
    return SeriesArrays(values, times, starts.astype(np.int64), bands, of_points, varying)


def _with_years(point: Integers, months: Integers, year: int) -> Integers:
    """Months since the year 0: a month below the one before it begins the next year."""
    begins = np.append(True, point[1:] != point[:-1])
    turns = np.append(False, months[1:] < months[:-1]) & ~begins
    passed = np.cumsum(turns)
    passed = passed - passed[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    placed: Integers = (year + passed) * 12 + months - 1
    return placed


def _number_points(frame: pd.DataFrame, keys: list[str]) -> tuple[Integers, pd.DataFrame]:
    """Number of the point of each row, in the order of their first rows, and their names."""
    if len(keys) == 1:
        codes, found = pd.factorize(frame[keys[0]])
        return codes.astype(np.int64), pd.DataFrame({keys[0]: found})
    groups = frame.groupby(keys, sort=False, dropna=True)
    codes = groups.ngroup().to_numpy(np.int64, na_value=-1)
    first = np.flatnonzero(codes >= 0)
    first = first[np.unique(codes[first], return_index=True)[1]]
    return codes, frame[keys].iloc[first].reset_index(drop=True)


def _bands_of_rows(
    frame: pd.DataFrame, columns: Columns, used: Collection[str], point: Integers
) -> list[str]:
    """Columns that are bands: those asked for, or all numbers that change over time.

    What stays the same on all dates of each point may be a label or say the split: it is no band
    unless it is asked for.
    """
    if columns.bands is not None:
        return [find_column(frame, band, 'table.bands') for band in columns.bands]
    free = [name for name in frame.columns if name not in used]
    numbers = [
        name
        for name in free
        if pd.api.types.is_numeric_dtype(frame[name])
        and not pd.api.types.is_bool_dtype(frame[name])
    ]
    first = np.unique(point, return_index=True)[1]
    bands = [name for name in numbers if _varies(frame[name], point, first)]
    if not bands:
        raise SITSError(
            f'no column of numbers changes over time: give the names of the bands as table.bands, '
            f'among {_some(free)}'
        )
    if still := [name for name in numbers if name not in bands]:
        warnings.warn(
            f'the columns {still} stay the same on all dates of each point, as labels do, and are '
            f'not read; the bands are {bands}. Give table.bands to choose',
            UserWarning,
            stacklevel=2,
        )
    return bands


def _varies(column: pd.Series, point: Integers, first: Integers) -> int:
    """Number of points on whose dates a column is not the same."""
    codes = pd.factorize(column)[0]
    return len(np.unique(point[codes != codes[first][point]]))


def _point_columns(frame: pd.DataFrame, columns: Columns) -> list[str]:
    """Columns that tell the points apart."""
    if columns.point is None:
        return [_column(frame, None, _POINT_NAMES, 'point')]
    names = [columns.point] if isinstance(columns.point, str) else list(columns.point)
    return [find_column(frame, name, 'table.point') for name in names]


def _column(frame: pd.DataFrame, asked: str | None, usual: Sequence[str], option: str) -> str:
    """A column by its name, or the first of usual names."""
    if asked is not None:
        return find_column(frame, asked, f'table.{option}')
    lower = {str(name).lower(): str(name) for name in frame.columns}
    for name in usual:
        if name in lower:
            return lower[name]
    raise SITSError(
        f'which column tells the {option} of a row? Give its name as table.{option}, among '
        f'{_some(frame.columns)}. Tables with a row for each point have columns such as '
        'B02_20180731, or B02_1 with table.dates'
    )


# -- both ----------------------------------------------------------------------------------------


def _with_names(frame: pd.DataFrame, columns: Columns) -> tuple[pd.DataFrame, list[str]]:
    """Columns of points, those first that name them: a column, or the numbers of the rows."""
    if columns.point is not None:
        keys = _point_columns(frame, columns)
    else:
        lower = {str(name).lower(): str(name) for name in frame.columns}
        keys = [lower[name] for name in _POINT_NAMES if name in lower][:1]
    if not keys:
        frame, keys = frame.assign(point=np.arange(len(frame))), ['point']
    return frame[[*keys, *(name for name in frame.columns if name not in keys)]], keys


def _chosen(found: list[str], asked: Sequence[str] | None) -> list[str]:
    """Bands that were asked for, or all."""
    if asked is None:
        return found
    if missing := [band for band in asked if band not in found]:
        raise SITSError(f'table.bands holds {missing}, the table has {_some(found)}')
    return list(asked)


def _numbers(column: pd.Series, name: str) -> Floats:
    """Numbers of a column; what is none is missing, and counted."""
    if pd.api.types.is_numeric_dtype(column):
        return _single(column, f'the band {name!r}')
    numbers = pd.to_numeric(column, errors='coerce')
    odd = numbers.isna() & column.notna()
    if odd.all() or (odd.any() and not numbers.notna().any()):
        raise SITSError(f'the band {name!r} holds no numbers, but {column[odd].iloc[0]!r}')
    if odd.any():
        warnings.warn(
            f'{int(odd.sum())} values of the band {name!r} are no numbers, such as '
            f'{column[odd].iloc[0]!r}: they count as missing',
            UserWarning,
            stacklevel=3,
        )
    return _single(numbers, f'the band {name!r}')


def _single(values: NDArray[Any] | pd.Series, source: str) -> Floats:
    """Numbers as float32; infinite where it ends."""
    if pd.api.types.is_complex_dtype(values):
        raise SITSError(
            f'{source} holds complex numbers: write what is wanted of them, such as the amplitude, '
            'as real numbers'
        )
    with np.errstate(over='ignore'):
        if isinstance(values, pd.Series):
            return values.to_numpy(np.float32, na_value=np.nan)
        return np.asarray(values, np.float32)


def _without_fill(values: Floats, nodata: float | None) -> Floats:
    """Values, NaN where they are no data or too large; no data that is not said is named."""
    missing = np.zeros(values.shape, bool)
    if nodata is not None:
        missing = values == np.float32(nodata)
    large = ~within_range(values) & ~np.isnan(values) & ~missing
    if large.any():
        warnings.warn(
            f'{int(large.sum())} values are beyond {LARGEST:g}, such as {values[large][0]:g}, and '
            'count as missing: no sensor measures them. Say what means no data by table.nodata',
            UserWarning,
            stacklevel=2,
        )
        missing |= large
    if nodata is None:
        for fill in _USUAL_FILLS:
            if number := int((values == fill).sum()):
                warnings.warn(
                    f'{number} values are {fill}, which often means no data: say so by '
                    f'table.nodata={fill}, or they are taken for measurements',
                    UserWarning,
                    stacklevel=2,
                )
    if missing.any():
        values = np.where(missing, np.float32(np.nan), values)
    return values


def _some(names: Collection[str]) -> str:
    """The first twenty of some names."""
    listed = list(map(str, names))
    return f'{listed[:20]}{f" and {len(listed) - 20} more" if len(listed) > 20 else ""}'

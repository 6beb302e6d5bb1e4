"""Steps in time: the days of which the embeddings or scores of a series are, one after another."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

import pandas as pd

from .errors import SITSError

__all__ = ['DaySpan', 'parse_day', 'rolling_spans']

#: Months of the units that are counted in months, and the month of the year they are counted from.
_MONTHS: Final = {'m': (1, 1), 'season': (3, 12), 'y': (12, 1)}
#: Days of the others.
_DAYS: Final = {'d': 1, 'w': 7}
_STEP: Final = re.compile(r'(\d*)\s*(d|w|m|y|days?|weeks?|months?|seasons?|years?)', re.IGNORECASE)


class DaySpan(NamedTuple):
    """Days of a part of a series, in UTC.

    Attributes:
        first: First day.
        last: Last day.

    Examples:
        >>> from datetime import date
        >>> from torchgeo_sits.time_steps import DaySpan
        >>> DaySpan(date(1970, 1, 1), date(1970, 1, 2)).seconds
        (0, 172800)
    """

    first: date
    last: date

    @property
    def seconds(self) -> tuple[int, int]:
        """Seconds since 1970-01-01 UTC: the first one, and the first one after the last day."""
        ends = self.first, self.last + timedelta(days=1)
        start, stop = (int(datetime.combine(day, time(), UTC).timestamp()) for day in ends)
        return start, stop


def parse_day(text: str) -> date:
    """Read a day.

    Args:
        text: The day, as YYYY-MM-DD.

    Returns:
        The day.

    Raises:
        SITSError: If it is written otherwise, or there is no such day.

    Examples:
        >>> from torchgeo_sits.time_steps import parse_day
        >>> parse_day('2021-03-01')
        datetime.date(2021, 3, 1)
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise SITSError(
            f'expected a day as YYYY-MM-DD, such as 2021-03-01, got {text!r}'
        ) from error


def rolling_spans(days: DaySpan, every: str, over: str | None = None) -> list[DaySpan]:
    """List the days up to each step.

    A step of days or weeks is counted from the first day; months, seasons (from December, March,
    June and September) and years end with those of the calendar. The last day of all is a step,
    too, so that a shorter one may come last.

    Args:
        days: Days to divide.
        every: Length of a step: a number of days, weeks, months, seasons or years, such as '14d',
            '2w', '1M', 'season' or '1y'.
        over: Length of the span of each step, alike. None takes all days from the first one on.

    Returns:
        The spans in the order of time, each with the step as its last day. With *over* all are of
        that length: none ends before it has passed.

    Raises:
        SITSError: If a length is written otherwise, or no span of *over* fits the days.

    Examples:
        >>> from datetime import date
        >>> from torchgeo_sits.time_steps import DaySpan, rolling_spans
        >>> days = DaySpan(date(2021, 1, 10), date(2021, 3, 15))
        >>> [str(span.last) for span in rolling_spans(days, '1M')]
        ['2021-01-31', '2021-02-28', '2021-03-15']
        >>> [str(span.first) for span in rolling_spans(days, '1M', over='30d')]
        ['2021-01-30', '2021-02-14']
    """
    number, unit = _parse_length(every, 'every')
    after = days.last + timedelta(days=1)
    ends = [*_ends(days.first, after, number, unit), after]
    if over is None:
        return [DaySpan(days.first, end - timedelta(days=1)) for end in ends]
    length = _offset(*_parse_length(over, 'over'))
    starts = [((pd.Timestamp(end) - length).date(), end) for end in ends]
    found = [DaySpan(s, end - timedelta(days=1)) for s, end in starts if s >= days.first]
    if not found:
        raise SITSError(
            f'over={over!r} is longer than the time at hand, {days.first} to {days.last}: choose a '
            'shorter one, or an earlier start'
        )
    return found


def _ends(first: date, after: date, number: int, unit: str) -> Iterator[date]:
    """First days after the steps that end before *after*."""
    if unit in _DAYS:
        step = timedelta(days=number * _DAYS[unit])
        end = first + step
        while end < after:
            yield end
            end += step
        return
    months, origin = _MONTHS[unit]
    month = 12 * first.year + first.month  # from 1
    while True:
        year, of_year = divmod(month, 12)
        end = date(year, of_year + 1, 1)  # of the month after
        if end >= after:
            return
        if (month + 1 - origin) % (number * months) == 0:
            yield end
        month += 1


def _offset(number: int, unit: str) -> pd.DateOffset:
    if unit in _DAYS:
        return pd.DateOffset(days=number * _DAYS[unit])
    return pd.DateOffset(months=number * _MONTHS[unit][0])


def _parse_length(text: str, name: str) -> tuple[int, str]:
    """Number and unit of a length of time."""
    found = _STEP.fullmatch(str(text).strip())
    number = 0 if found is None else int(found[1] or 1)
    if found is None or number < 1:
        raise SITSError(
            f'expected {name} as a number of days, weeks, months, seasons or years, such as 14d, '
            f'2w, 1M, season or 1y, got {text!r}'
        )
    unit = found[2].lower()
    return number, 'season' if unit.startswith('season') else unit[0]

"""Steps in time, by calendars written by hand."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from torchgeo_sits.errors import SITSError
from torchgeo_sits.time_steps import DaySpan, rolling_spans

DAYS = DaySpan(date(2019, 11, 20), date(2021, 3, 5))


@pytest.mark.parametrize(
    ('every', 'lasts'),
    [
        ('season', ['2019-11-30', '2020-02-29', '2020-05-31', '2020-08-31', '2020-11-30']),
        ('2 seasons', ['2019-11-30', '2020-05-31', '2020-11-30']),
        ('1y', ['2019-12-31', '2020-12-31']),
        ('6M', ['2019-12-31', '2020-06-30', '2020-12-31']),
        ('26w', ['2020-05-19', '2020-11-17']),
    ],
)
def test_steps_end_with_the_calendar(every, lasts):
    spans = rolling_spans(DAYS, every)
    found = [str(span.last) for span in spans if span.last < DAYS.last]
    assert found[: len(lasts)] == lasts
    assert spans[-1].last == DAYS.last
    assert {span.first for span in spans} == {DAYS.first}


def test_spans_that_follow_each_other_share_no_day_and_leave_none_out():
    days = DaySpan(date(2020, 1, 1), date(2021, 12, 31))
    for length in ('14d', '1M', '1y'):
        spans = rolling_spans(days, length, length)
        whole = [s for s in spans if s.last < days.last or length != '14d']
        for before, after in pairwise(whole):
            assert after.first == before.last + timedelta(days=1)
    assert rolling_spans(days, '1y', '1y')[0] == DaySpan(date(2020, 1, 1), date(2020, 12, 31))


def test_seconds_are_of_whole_days():
    start, stop = DaySpan(date(2020, 2, 28), date(2020, 2, 29)).seconds
    assert (start, stop - start) == (1_582_848_000, 2 * 86_400)


@pytest.mark.parametrize('length', ['3x', '0d', '-1d', '', 'd14'])
def test_lengths_that_are_none_are_refused(length):
    with pytest.raises(SITSError, match='expected every as a number of days'):
        rolling_spans(DAYS, length)

"""Days of the calendar year, for models that look their dates up."""

from typing import Final

from torch import Tensor

__all__ = ['DAYS_OF_YEAR', 'day_of_year']

#: With the 29th of February.
DAYS_OF_YEAR: Final = 366
_SECONDS_PER_DAY: Final = 86_400


def day_of_year(acquisition_times: Tensor) -> Tensor:
    """Day of the year of any date of the Gregorian calendar, UTC.

    After the algorithm for days of the proleptic calendar by H. Hinnant (chrono-compatible
    low-level date algorithms, ``civil_from_days``): years begin in March, so that a leap day
    is the last of its year.

    Args:
        acquisition_times: ``(...)`` int64, seconds since 1970-01-01 UTC.

    Returns:
        ``(...)`` int64, 0 on the 1st of January and at most 365.
    """
    days = acquisition_times.div(_SECONDS_PER_DAY, rounding_mode='floor') + 719_468
    day = days.remainder(146_097)  # of the era of 400 years, from 0000-03-01
    leap = day.div(1_460, rounding_mode='floor') - day.div(36_524, rounding_mode='floor')
    leap = leap + day.div(146_096, rounding_mode='floor')
    year = (day - leap).div(365, rounding_mode='floor')
    centuries = year.div(100, rounding_mode='floor')
    of_march = day - (365 * year + year.div(4, rounding_mode='floor') - centuries)
    # March and later months: 59 days, 60 in leap years, lie before them in the calendar's year.
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    late = of_march < 306
    return (of_march + 59 + is_leap.long()).where(late, of_march - 306)

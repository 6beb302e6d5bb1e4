"""Times of frames by the CF conventions: units, calendars, and text."""

from collections.abc import Hashable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from xarray.conventions import decode_cf_variable

from ...errors import SITSError
from .axes import Variables, axis_of, coordinates_along

__all__ = ['times_along']


def times_along(variables: Variables, dim: Hashable | None, path: str) -> NDArray[np.int64]:
    """Seconds since 1970 UTC along the dimension of time, in its order."""
    if dim is None:
        names = [n for n, v in variables.items() if v.ndim == 0 and axis_of(n, v) == 'T']
    else:
        names = [n for n in coordinates_along(variables, dim) if axis_of(n, variables[n]) == 'T']
    if not names:
        raise SITSError(
            f"the dimension of time {str(dim)!r} of '{path}' has no coordinate: write the times of "
            "its frames, for instance with xarray's ds.assign_coords"
        )
    name, variable = names[0], variables[names[0]]
    values = _decoded_times(name, variable, path)
    if lacking := int(np.isnat(values).sum()):
        raise SITSError(
            f"{lacking} of {len(values)} times of '{path}' are missing ({str(name)!r} has no "
            'value): write them, or leave these frames out'
        )
    # Floats of days are off by microseconds: to the nearest millisecond, and its second.
    micros = values.astype('datetime64[us]').astype(np.int64)
    return np.floor_divide((micros + 500) // 1000, 1000)


def _decoded_times(name: Hashable, variable: xr.Variable, path: str) -> NDArray[np.datetime64]:
    """Times of a coordinate, ``(T,)``."""
    values = np.atleast_1d(variable.values)
    what = f"the times {str(name)!r} of '{path}'"
    if values.dtype.kind in 'USOT':
        text = [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
        try:
            stamps = pd.to_datetime(text, utc=True, format='ISO8601')
        except ValueError as error:
            raise SITSError(f'{what} cannot be read ({error}): write them as CF does') from error
        return stamps.tz_localize(None).to_numpy()
    if ' since ' not in str(variable.attrs.get('units', '')):
        raise SITSError(
            f"{what} have no units such as 'days since 1970-01-01' (they say "
            f'{variable.attrs.get("units")!r}): write them as CF does'
        )
    calendar = str(variable.attrs.get('calendar', 'standard'))
    if calendar.lower() == 'julian':
        raise SITSError(f'{what} are of the calendar {calendar!r}, expected the usual one')
    try:
        decoded = np.atleast_1d(decode_cf_variable(name, variable).values)
    except Exception as error:  # whatever xarray and cftime raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SITSError(f'{what} cannot be read ({reason}): write them as CF does') from error
    if decoded.dtype.kind == 'M':
        return decoded
    try:
        dates = [
            datetime(d.year, d.month, d.day, d.hour, d.minute, d.second, d.microsecond)
            for d in decoded
        ]
    except ValueError as error:
        wrong = next(d for d in decoded if not _exists(d))
        raise SITSError(
            f'{what} are of the calendar {calendar!r}, and {wrong} is no date: convert them, for '
            "instance with xarray's ds.convert_calendar('standard', align_on='date')"
        ) from error
    return np.array(dates, 'datetime64[us]')


def _exists(date: Any) -> bool:
    """Tell whether a date of another calendar is one of the usual calendar."""
    try:
        datetime(date.year, date.month, date.day)
    except ValueError:
        return False
    return True

"""Parts of a series: two windows of time to compare, or the frame that holds at a date."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from ..keys import ACQUISITION_TIMES, IMAGE, MASK, MASK_CLEAR, VALID
from ..models import stable_order

__all__ = ['Span', 'frame_at', 'parse_spans', 'seconds', 'two_windows']

#: First second, and the second after the last.
type Span = tuple[int, int]


def seconds(date: str) -> int:
    """Seconds since 1970-01-01 UTC of a date.

    Args:
        date: ``YYYY-MM-DD``.

    Raises:
        ValueError: If it is none.
    """
    try:
        return int(datetime.strptime(date, '%Y-%m-%d').replace(tzinfo=UTC).timestamp())
    except (TypeError, ValueError) as error:
        raise ValueError(f'expected a date YYYY-MM-DD, got {date!r}') from error


def parse_spans(windows: Sequence[Sequence[str]]) -> tuple[Span, Span]:
    """Two windows of time from the days that bound them.

    Args:
        windows: Two pairs of days ``YYYY-MM-DD``, first day and the day after the last.

    Raises:
        ValueError: If there are not two, or one is empty.
    """
    if len(windows) != 2 or any(len(window) != 2 for window in windows):
        raise ValueError(
            'expected two windows of two dates each, [[START, END], [START, END]], got '
            f'{[list(window) for window in windows]}'
        )
    spans = [(seconds(start), seconds(end)) for start, end in windows]
    for (start, end), window in zip(spans, windows, strict=True):
        if start >= end:
            raise ValueError(f'expected a window that ends after it starts, got {list(window)}')
    return spans[0], spans[1]


def two_windows(
    batch: dict[str, Any], spans: tuple[Span, Span] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The frames of a series before and after, as two batches.

    Args:
        batch: A batch, see :mod:`torchgeo_sits.keys`.
        spans: The two windows; None takes the first and the second half of the valid frames of
            each series, of two frames one each.

    Returns:
        Both batches, with the keys that encoders take, and ``mask`` where it has a map for
        each frame. A window without a frame is left with one that is not valid.
    """
    times, valid = batch[ACQUISITION_TIMES], batch[VALID]
    if spans is None:
        latest = torch.iinfo(times.dtype).max
        rank = stable_order(times.masked_fill(~valid, latest)).argsort(1)
        half = (valid.sum(1, keepdim=True) + 1) // 2
        parts = [valid & (rank < half), valid & (rank >= half)]
    else:
        parts = [valid & (times >= start) & (times < end) for start, end in spans]
    return _only(batch, parts[0]), _only(batch, parts[1])


def _only(batch: dict[str, Any], valid: Tensor) -> dict[str, Any]:
    """The frames of a batch that are in *valid* ``(B, T)``; those in none are cut out."""
    if torch.compiler.is_exporting():  # how many there are depends on the data
        return batch | {VALID: valid}
    used = valid.any(0)
    if not used.any():
        used[0] = True
    keys: list[str] = [key for key in (IMAGE, ACQUISITION_TIMES, MASK_CLEAR) if key in batch]
    if MASK in batch and batch[MASK].shape[:2] == valid.shape and batch[MASK].ndim == 4:
        keys.append(MASK)
    return {key: batch[key][:, used] for key in keys} | {VALID: valid[:, used]}


def frame_at(acquisition_times: Tensor, valid: Tensor, date: int) -> Tensor:
    """The frame of each series that holds at a date: the last one until then.

    Args:
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(B, T)`` bool.
        date: Seconds since 1970-01-01 UTC.

    Returns:
        ``(B,)`` int64 indices; the earliest frame where all are later.
    """
    latest = torch.iinfo(acquisition_times.dtype).max
    first = acquisition_times.masked_fill(~valid, latest).argmin(1)
    until = valid & (acquisition_times <= date)
    last = acquisition_times.masked_fill(~until, -latest).argmax(1)
    return torch.where(until.any(1), last, first)

"""Frames in the order of their dates, for models whose time axis is a sequence."""

import torch
from torch import Tensor

from ..errors import SITSError

__all__ = [
    'chronological',
    'fill_gaps',
    'mark_unclear',
    'regular_dates',
    'stable_order',
    'take_frames',
]


def chronological(acquisition_times: Tensor, valid: Tensor) -> Tensor:
    """Indices that put the valid frames of each series first, by date.

    Frames of the same second keep the order in which they came.

    Args:
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(B, T)`` bool, False in padding frames.

    Returns:
        ``(B, T)`` int64. The ``argsort`` of it along T leads back.
    """
    latest = torch.iinfo(acquisition_times.dtype).max
    return stable_order(acquisition_times.masked_fill(~valid, latest))


def stable_order(times: Tensor) -> Tensor:
    """Indices that sort the last axis, equal entries as they came.

    Args:
        times: ``(B, T)`` int64.

    Returns:
        ``(B, T)`` int64.

    Examples:
        >>> import torch
        >>> stable_order(torch.tensor([[30, 10, 30, 20]]))
        tensor([[1, 3, 0, 2]])
    """
    if not torch.compiler.is_exporting():
        return times.argsort(dim=-1, stable=True)
    # ONNX knows no sort that is stable. Ranks do: how many come before each.
    place = torch.arange(times.shape[1], device=times.device)
    this, other = times[:, :, None], times[:, None]
    before = (other < this) | ((other == this) & (place < place[:, None]))
    rank = before.long().sum(-1)
    return (rank[:, None] == place[:, None]).long().argmax(-1)


def take_frames(series: Tensor, order: Tensor) -> Tensor:
    """Frames of each series in another order.

    Args:
        series: ``(B, T, ...)``.
        order: ``(B, T)`` int64, from :func:`chronological`.

    Returns:
        ``(B, T, ...)``.
    """
    return series[torch.arange(order.shape[0], device=order.device)[:, None], order]


def mark_unclear(image: Tensor, clear: Tensor) -> Tensor:
    """Zeros where a pixel was not seen, and a last channel that says so.

    A convolution cannot leave a pixel out; the channel tells it a zero that stands for
    nothing from one that was measured.

    Args:
        image: ``(B, T, C, H, W)``, anything where not clear.
        clear: ``(B, T, H, W)`` bool.

    Returns:
        ``(B, T, C + 1, H, W)``, 1 in the last channel where clear.
    """
    shown = clear[:, :, None]
    # where, not a product: NaN times zero is NaN.
    return torch.cat([torch.where(shown, image, 0), shown.to(image.dtype)], 2)


def regular_dates(acquisition_times: Tensor, valid: Tensor, number: int) -> Tensor:
    """Dates at equal distances, from the first to the last valid frame of each series.

    Args:
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(B, T)`` bool, False in padding frames.
        number: Number of dates S, at least 1; a single one is that of the first frame.

    Returns:
        ``(B, S)`` int64, seconds since 1970-01-01 UTC; 0 for series without a valid frame.

    Raises:
        SITSError: If *number* is below 1.
    """
    if number < 1:
        raise SITSError(f'expected a number of dates of at least 1, got {number}')
    limit = torch.iinfo(torch.int64)
    first = acquisition_times.masked_fill(~valid, limit.max).amin(-1, keepdim=True)
    last = acquisition_times.masked_fill(~valid, limit.min).amax(-1, keepdim=True)
    known = valid.any(-1, keepdim=True)
    first, last = first.where(known, 0), last.where(known, 0)
    steps = torch.arange(number, device=acquisition_times.device)
    return first + torch.div((last - first) * steps, max(1, number - 1), rounding_mode='floor')


def fill_gaps(values: Tensor, acquisition_times: Tensor, clear: Tensor, dates: Tensor) -> Tensor:
    """Values at given dates, interpolated linearly between the clear observations of each pixel.

    The same as :func:`numpy.interp` for each pixel and band: before its first and after its last
    clear observation a pixel keeps that value. Frames need no order. Of frames of one second
    the last one counts at that second.

    Args:
        values: ``(B, P, T, C)`` float, anything where not clear.
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
        clear: ``(B, P, T)`` bool, False in padding frames.
        dates: ``(B, S)`` int64, seconds since 1970-01-01 UTC, in any order.

    Returns:
        ``(B, P, S, C)``, zeros where a pixel was never clear.

    Examples:
        >>> import torch
        >>> values = torch.tensor([1.0, float('nan'), 3.0]).view(1, 1, 3, 1)
        >>> clear = torch.tensor([[[True, False, True]]])
        >>> times, dates = torch.tensor([[0, 10, 20]]), torch.tensor([[5, 15, 99]])
        >>> fill_gaps(values, times, clear, dates).flatten()
        tensor([1.5000, 2.5000, 3.0000])
    """
    b, p, t, _ = values.shape
    # Frames that no pixel saw, padding among them, go last, whatever their date.
    latest = torch.iinfo(torch.int64).max
    times = acquisition_times.masked_fill(~clear.any(1), latest)
    order = stable_order(times)
    times = times.gather(-1, order)
    clear = clear.gather(-1, order[:, None].expand(b, p, t))

    place = torch.arange(t, device=values.device)
    end = place[-1] + 1  # not t: a size that is left open is no value in an exported graph
    seen = torch.nn.functional.pad(clear.long().cumsum(-1), (1, 0))
    # Places of the clear frames, one after the other; all others are dropped beyond the end.
    slot = torch.where(clear, seen[..., :-1], end)
    places = torch.zeros_like(seen).scatter(-1, slot, place.expand(b, p, t))
    split = (times[:, None] <= dates[..., None]).sum(-1)
    split = split[:, None].expand(b, p, dates.shape[-1])
    # Outside of what a pixel saw, both neighbours are the nearest observation.
    number, most = seen.gather(-1, split), seen[..., -1:]
    left = places.gather(-1, (number - 1).clamp(min=0))
    right = places.gather(-1, torch.minimum(number, (most - 1).clamp(min=0)))

    rows = times[:, None].expand(b, p, t)
    start, end = rows.gather(-1, left), rows.gather(-1, right)
    share = (dates[:, None] - start).float() / (end - start).clamp(min=1).float()
    share = share.where(left != right, 0).to(values.dtype)[..., None]
    frames = order[:, None].expand(b, p, t)
    index = torch.stack([frames.gather(-1, left), frames.gather(-1, right)])
    index = index[..., None].expand(*index.shape, values.shape[-1])
    low, high = values.gather(2, index[0]), values.gather(2, index[1])
    # where, not a product: what an unseen pixel holds may be NaN.
    return torch.where(clear.any(-1)[..., None, None], low + share * (high - low), 0)

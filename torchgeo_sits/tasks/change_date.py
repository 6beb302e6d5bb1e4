"""One change point in a series: how likely each date is, from evidence frame by frame."""

import torch
from torch import Tensor

from ..models import stable_order

__all__ = ['change_point_scores', 'first_frame_after']


def change_point_scores(evidence: Tensor, times: Tensor, seen: Tensor) -> Tensor:
    r"""Log-odds of a change before each frame against none at all.

    Let :math:`p_t` be the probability that frame t shows the state after a change, and
    :math:`s_t = \log p_t / (1 - p_t)` the evidence for it. A series that changed between two
    frames shows the state before in all frames until then and the state after in all that
    follow, so the likelihood of a change right before frame k, over that of none, is

    .. math:: \log \prod_{t \ge k} \frac{p_t}{1 - p_t} = \sum_{t \ge k} s_t .

    A frame that did not see the pixel has no evidence. No change is the empty sum, 0: a
    softmax over the dates and that 0 gives the probability of each date and of none.

    Args:
        evidence: ``(B, T, H, W)``.
        times: ``(B, T)`` int64; frames may come in any order.
        seen: ``(B, T, H, W)`` bool, False where a frame did not see the pixel.

    Returns:
        ``(B, T + 1, H, W)``, that of no change last. Frames that did not see the pixel, in
        padding too, and the first that did get -10,000: the change is told to be before the
        first frame that shows it.
    """
    order = stable_order(times)
    back = order.argsort(1)
    rows = torch.arange(times.shape[0], device=times.device)[:, None]
    found = (evidence.float() * seen)[rows, order]
    shown = seen[rows, order]
    total = found.flip(1).cumsum(1).flip(1)
    first = shown & (shown.long().cumsum(1) == 1)
    scores = total.masked_fill(~shown | first, -1e4)[rows, back]
    return torch.cat([scores, torch.zeros_like(scores[:, :1])], 1)


def first_frame_after(date: Tensor, times: Tensor, seen: Tensor) -> Tensor:
    """Which frame is the first to show a change.

    Args:
        date: ``(B, H, W)`` seconds since 1970-01-01 UTC; 0 where nothing changed.
        times: ``(B, T)`` int64.
        seen: ``(B, T, H, W)`` bool, False where a frame did not see the pixel.

    Returns:
        ``(B, H, W)`` int64, T for no change: where there was none, or it lies before the
        first or after the last frame that saw the pixel.
    """
    latest = torch.iinfo(times.dtype).max
    when = times[:, :, None, None].expand(seen.shape)
    after = seen & (when >= date[:, None]) & (date[:, None] > 0)
    before = (seen & (when < date[:, None])).any(1)
    found = when.masked_fill(~after, latest).argmin(1)
    return torch.where(after.any(1) & before, found, seen.shape[1])

"""The series of a batch: its masks, some of its frames, and a Sentinel-1 series beside it."""

from typing import Any

import torch
from torch import Tensor

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, IMAGE_S1, MASK_CLEAR, S1_KEYS, VALID

__all__ = ['observed', 's1_of', 'seen_pixels', 'take_dates', 'with_s1']


def observed(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Read ``valid`` and ``mask_clear`` of a batch, or make them up where it has none.

    Args:
        batch: ``image`` ``(B, T, C, H, W)``, and the masks if any.

    Returns:
        valid: ``(B, T)`` bool; all frames by default.
        mask_clear: ``(B, T, H, W)`` bool; all pixels of valid frames by default.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms.batches import observed
        >>> valid, clear = observed({'image': torch.rand(2, 5, 3, 8, 8)})
        >>> valid.shape, clear.shape, bool(clear.all())
        (torch.Size([2, 5]), torch.Size([2, 5, 8, 8]), True)
    """
    image = batch[IMAGE]
    valid = batch.get(VALID)
    if valid is None:
        valid = torch.ones(image.shape[:2], dtype=torch.bool, device=image.device)
    clear = batch.get(MASK_CLEAR)
    if clear is None:
        clear = valid[..., None, None].expand(*image.shape[:2], *image.shape[-2:])
    return valid, clear


def take_dates(batch: dict[str, Any], frames: Tensor, keep: Tensor) -> dict[str, Any]:
    """Take frames out of a batch, and blank the padding.

    Args:
        batch: ``image`` ``(B, T, C, H, W)``, ``acquisition_times``, ``mask_clear``.
        frames: ``(B, T')`` int64.
        keep: ``(B, T')`` bool, False in padding.

    Returns:
        ``image`` ``(B, T', C, H, W)``, ``acquisition_times``, ``valid``, ``mask_clear``: zero
        and False in padding.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms.batches import take_dates
        >>> batch = {'image': torch.rand(1, 3, 1, 4, 4), 'acquisition_times': torch.ones(1, 3)}
        >>> first = take_dates(batch, torch.tensor([[0, 1]]), torch.tensor([[True, False]]))
        >>> first['acquisition_times'].tolist(), first['valid'].tolist()
        ([[1.0, 0.0]], [[True, False]])
    """
    sample = torch.arange(len(frames), device=frames.device)[:, None]
    _, clear = observed(batch)
    image = batch[IMAGE][sample, frames]
    return {
        IMAGE: image.masked_fill_(~keep[..., None, None, None], 0.0),
        ACQUISITION_TIMES: batch[ACQUISITION_TIMES].gather(1, frames).masked_fill_(~keep, 0),
        VALID: keep,
        MASK_CLEAR: clear[sample, frames] & keep[..., None, None],
    }


def s1_of(batch: dict[str, Any]) -> dict[str, Any] | None:
    """Take the Sentinel-1 series out of a batch, under the keys of an optical one.

    Args:
        batch: A batch of the contract.

    Returns:
        ``image`` ``(B, T1, C1, H, W)``, ``acquisition_times`` ``(B, T1)``, and ``valid`` and
        ``mask_clear`` if any; None where the batch has no such series.

    Raises:
        SITSError: If the batch lacks its dates, or it lies on another grid.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import s1_of
        >>> batch = {'image': torch.rand(2, 5, 10, 8, 8)}
        >>> s1_of(batch) is None
        True
        >>> batch['image_s1'] = torch.rand(2, 3, 2, 8, 8)
        >>> batch['acquisition_times_s1'] = torch.arange(6).view(2, 3)
        >>> s1_of(batch)['image'].shape
        torch.Size([2, 3, 2, 8, 8])
    """
    if IMAGE_S1 not in batch:
        return None
    series = {key: batch[name] for key, name in S1_KEYS.items() if name in batch}
    if ACQUISITION_TIMES not in series:
        raise SITSError(
            f'a batch with {IMAGE_S1!r} needs {S1_KEYS[ACQUISITION_TIMES]!r}, got the keys '
            f'{sorted(batch)}'
        )
    grids = [tuple(values[IMAGE].shape[-2:]) for values in (batch, series)]
    if grids[0] != grids[1]:
        raise SITSError(
            f'{IMAGE_S1!r} must lie on the grid of {IMAGE!r}, {grids[0]} pixels, got {grids[1]}'
        )
    return series


def seen_pixels(batch: dict[str, Any], *, s1: bool = False) -> Tensor:
    """Find the pixels that were clear on any date.

    Args:
        batch: A batch of the contract.
        s1: Whether pixels count that the Sentinel-1 series alone saw, where there is one.

    Returns:
        ``(B, H, W)`` bool.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import seen_pixels
        >>> batch = {'image': torch.rand(1, 2, 3, 4, 4), 'valid': torch.zeros(1, 2).bool()}
        >>> batch['image_s1'] = torch.rand(1, 1, 2, 4, 4)
        >>> batch['acquisition_times_s1'] = torch.ones(1, 1)
        >>> bool(seen_pixels(batch).any()), bool(seen_pixels(batch, s1=True).all())
        (False, True)
    """
    valid, clear = observed(batch)
    seen = (clear & valid[..., None, None]).any(1)
    series = s1_of(batch) if s1 else None
    return seen if series is None else seen | seen_pixels(series)


def with_s1(view: dict[str, Any], series: dict[str, Any]) -> dict[str, Any]:
    """Put a Sentinel-1 series beside an optical one, under keys of its own.

    Args:
        view: A batch or a view.
        series: The series under the keys of an optical one, as :func:`s1_of` gives it.

    Returns:
        A new dictionary, with ``image_s1`` and so on.
    """
    return {**view, **{S1_KEYS[key]: value for key, value in series.items()}}

"""Augmentations of time: dates that go missing, dates that are a little off."""

from typing import Any

import torch
from torch import Tensor

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, LENGTH, MASK, MASK_CLEAR, VALID
from .base import SeriesAugmentation
from .dates import take_dates
from .random import uniform

__all__ = ['RandomDateDrop', 'RandomDateJitter']


class RandomDateDrop(SeriesAugmentation):
    """Drop a random share of the dates of each sample.

    What is left moves up, in chronological order, and the end is padded, so that shapes stay
    the same. One date always stays, one with a clear pixel where there is any. Image, times,
    validity, clear mask and a mask with a time axis lose the same dates; ``length`` follows.
    """

    def __init__(self, drop: tuple[float, float] = (0.0, 0.5), *, p: float = 1.0) -> None:
        """Initialise a new RandomDateDrop instance.

        Args:
            drop: Least and largest share of the valid dates to drop, in [0, 1].
            p: Probability that a sample is augmented.

        Raises:
            SITSError: If a number is out of range.
        """
        super().__init__(p=p)
        if not 0 <= drop[0] <= drop[1] <= 1:
            raise SITSError(f'expected shares 0 <= low <= high <= 1 to drop, got {drop}')
        self.drop = drop

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw ``frames`` ``(B, T)`` int64, their new order, and ``keep`` ``(B, T)`` bool."""
        valid, clear = batch[VALID], batch[MASK_CLEAR]
        low, high = self.drop
        u = uniform((len(valid),), generator=generator, device=valid.device)
        number = ((1 - low - u * (high - low)) * valid.sum(1)).round().clamp(min=1)

        noise = uniform(valid.shape, generator=generator, device=valid.device)
        seen = valid & clear.flatten(2).any(2)
        # Clear dates come before other valid ones, and those before padding: the first stays.
        spared = (noise - seen.float() * 2 - valid.float()).argmin(1, keepdim=True)
        turn = noise.masked_fill(~valid, 2.0).scatter(1, spared, -1.0).argsort(1).argsort(1)
        chosen = valid & (turn < number[:, None])

        index = torch.arange(valid.shape[1], device=valid.device)
        frames = torch.where(chosen, index, index + len(index)).argsort(1)
        return {'frames': frames, 'keep': chosen.gather(1, frames)}

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Take the frames that are kept, and pad."""
        frames, keep = params['frames'], params['keep']
        out = {**batch, **take_dates(batch, frames, keep)}
        if LENGTH in batch:
            out[LENGTH] = keep.sum(1)
        if MASK in batch and batch[MASK].ndim == 4:
            sample = torch.arange(len(frames), device=frames.device)[:, None]
            out[MASK] = batch[MASK][sample, frames].masked_fill(~keep[..., None, None], 0)
        return out


class RandomDateJitter(SeriesAugmentation):
    """Shift the date of each frame by up to some days; images stay as they are.

    Shifted dates that would swap places are handed out in order, so that frames stay in
    chronological order and no date moves farther than *days*. Padding stays 0.
    """

    def __init__(self, days: float = 3.0, *, p: float = 1.0) -> None:
        """Initialise a new RandomDateJitter instance.

        Args:
            days: Largest shift either way, in days.
            p: Probability that a sample is augmented.

        Raises:
            SITSError: If *days* is negative or *p* out of range.
        """
        super().__init__(p=p)
        if days < 0:
            raise SITSError(f'expected days >= 0, got {days}')
        self.days = days

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw ``shift`` ``(B, T)`` int64, in seconds."""
        valid = batch[VALID]
        u = uniform(valid.shape, generator=generator, device=valid.device)
        return {'shift': ((2 * u - 1) * self.days * 86400).long()}

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Shift the times and sort them again."""
        valid, times = batch[VALID], batch[ACQUISITION_TIMES]
        last = torch.iinfo(times.dtype).max
        # Sorting may not move padding into the series, wherever the padding lies.
        place = torch.where(valid, 0, 1).argsort(dim=1, stable=True)
        shifted = (times + params['shift']).masked_fill(~valid, last).sort(1).values
        shifted = torch.zeros_like(times).scatter(1, place, shifted)
        return {**batch, ACQUISITION_TIMES: shifted.masked_fill(~valid, 0)}

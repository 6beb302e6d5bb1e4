"""Series as equally many layers for every site: medians of what was clear in bins of time."""

import torch
from torch import Tensor

from torchgeo_sits.models.frame_order import fill_gaps

from .sites import Site

YEAR = 365.25 * 86_400


def season_composite(site: Site, number: int = 16) -> Tensor:
    """Medians ``(number, C, H, W)`` by the day of the year."""
    share = (site.times % YEAR) / YEAR
    return _composite(site, (share * number).long().clamp(max=number - 1), number)


def elapsed_composite(site: Site, number: int = 24) -> Tensor:
    """Medians ``(number, C, H, W)`` by the time since the first date."""
    share = (site.times - site.times[0]) / (site.times[-1] - site.times[0])
    return _composite(site, (share * number).long().clamp(max=number - 1), number)


def _composite(site: Site, bins: Tensor, number: int) -> Tensor:
    """Medians by bin; empty ones are interpolated along time, 0 where nothing was ever seen."""
    values = torch.where(site.clear[:, None], site.image, torch.nan)
    empty = torch.full_like(values[0], torch.nan)
    stack = torch.stack(
        [
            values[bins == b].nanmedian(0).values if (bins == b).any() else empty
            for b in range(number)
        ]
    )
    lines = stack.flatten(2).permute(2, 0, 1)[None]
    seen = ~lines.isnan().any(-1)
    steps = torch.arange(number)[None]
    filled = fill_gaps(lines, steps, seen, steps)
    return filled[0].permute(1, 2, 0).unflatten(-1, site.image.shape[2:])

"""Random numbers for parameter generators: from any generator, onto any device."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ['integers', 'uniform']


def uniform(
    shape: Sequence[int],
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw float32 numbers of *shape* from ``[0, 1)``.

    A generator draws on its own device, so that a seeded one on the CPU gives the same
    numbers whatever *device* they are for; without one, they are drawn on *device*.
    """
    if generator is None:
        return torch.rand(*shape, device=device)
    drawn = torch.rand(*shape, generator=generator, device=generator.device)
    return drawn.to(generator.device if device is None else device)


def integers(
    high: int,
    shape: Sequence[int],
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw int64 numbers of *shape* from ``0, ..., high - 1``."""
    drawn = uniform(shape, generator=generator, device=device)
    # float32 may round the product up to `high` itself.
    return (drawn * high).long().clamp_(max=high - 1)

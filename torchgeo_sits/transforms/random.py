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
    """Draw float32 numbers from ``[0, 1)``.

    A generator draws on its own device, so that a seeded one on the CPU gives the same
    numbers whatever *device* they are for; without one, they are drawn on *device*.

    Args:
        shape: Shape of the result.
        generator: Source of randomness; torch's default without one.
        device: Device of the result; the generator's by default.

    Returns:
        The numbers, of *shape*.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import uniform
        >>> uniform((2,), generator=torch.Generator().manual_seed(0))
        tensor([0.4963, 0.7682])
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
    """Draw int64 numbers from ``0, ..., high - 1``, in the way of :func:`uniform`.

    Args:
        high: Number of values, at least 1.
        shape: Shape of the result.
        generator: Source of randomness; torch's default without one.
        device: Device of the result; the generator's by default.

    Returns:
        The numbers, of *shape*.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import integers
        >>> integers(6, (4,), generator=torch.Generator().manual_seed(0))
        tensor([2, 4, 0, 0])
    """
    drawn = uniform(shape, generator=generator, device=device)
    # float32 may round the product up to `high` itself.
    return (drawn * high).long().clamp_(max=high - 1)

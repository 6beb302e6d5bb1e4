"""Mean and standard deviation of each band over the clear pixels of a data set."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR

__all__ = ['band_statistics', 'choose', 'far_off', 'given_statistics']

#: Means and deviations beyond this are those of a fill value, such as -3.4e38: no quantity that
#: a sensor measures comes near it.
LARGEST = 1e20


def band_statistics(samples: Iterable[dict[str, Any]]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per band over clear pixels.

    Sums are kept in float64 relative to the first sample's mean, so that neither many
    pixels nor a mean far from zero costs digits.

    Args:
        samples: Samples with ``image`` ``(T, C, H, W)`` and ``mask_clear`` ``(T, H, W)``.

    Returns:
        Mean and standard deviation, ``(C,)`` float32. A band that never varies gets 1, so
        that dividing by it is harmless.

    Raises:
        SITSError: If there is not one clear pixel, or values are beyond all sensors.
    """
    count = 0
    shift = total = square = torch.zeros(())
    for sample in samples:
        pixels = sample[IMAGE].movedim(1, -1)[sample[MASK_CLEAR]].double()
        if not len(pixels):
            continue
        if not count:
            shift = pixels.mean(dim=0)
        pixels = pixels - shift
        count += len(pixels)
        total = total + pixels.sum(dim=0)
        square = square + pixels.square().sum(dim=0)
    if not count:
        raise SITSError(
            'no clear pixel was found to normalise by: all pixels of the rasters are no data '
            '(nodata, NaN or inf), or none is clear. Check the files, `nodata`, and '
            '`clear_values` where there are `cloud_paths`'
        )
    mean = total / count
    std = (square / count - mean.square()).clamp(min=0).sqrt()
    std = torch.where(std > 1e-6 * (mean + shift).abs().clamp(min=1e-12), std, 1.0)
    mean = mean + shift
    if (odd := (mean.abs() > LARGEST) | (std > LARGEST)).any():
        raise SITSError(
            f'values of the bands number {(odd.nonzero().flatten() + 1).tolist()} are as large as '
            f'{max(mean.abs().max(), std.max()):.1e}: they mean no data, which the files do not '
            'say. Give that value as `nodata`'
        )
    return mean.float(), std.float()


def given_statistics(
    mean: Sequence[float], std: Sequence[float], bands: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation as a user gave them.

    Args:
        mean: One value per band.
        std: One value per band.
        bands: Names of the C bands.

    Returns:
        Mean and standard deviation, ``(C,)`` float32.

    Raises:
        SITSError: If there are more or fewer values than bands.
    """
    if len(mean) != len(bands) or len(std) != len(bands):
        raise SITSError(
            f'mean and std have {len(mean)} and {len(std)} values, the series '
            f'has {len(bands)} bands: {list(bands)}'
        )
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)


def choose(items: Sequence[Any], most: int, seed: int) -> list[Any]:
    """Some of *items* at random, *most* of them or all; the same for a seed."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed))
    return [items[i] for i in order[:most]]


def far_off(
    own: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], bands: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Bands whose means lie more than 3 of the smaller standard deviation apart.

    Args:
        own: Mean and standard deviation of each of the C bands, ``(C,)``.
        other: Those to hold them against, ``(C,)``.
        bands: Names of the bands.

    Returns:
        Both means of each such band, by its name.
    """
    (mean, std), (wanted, spread) = own, other
    odd = (mean - wanted).abs() > 3 * torch.minimum(std, spread)
    return {
        name: (round(a, 4), round(b, 4))
        for name, a, b, far in zip(bands, mean.tolist(), wanted.tolist(), odd.tolist(), strict=True)
        if far
    }

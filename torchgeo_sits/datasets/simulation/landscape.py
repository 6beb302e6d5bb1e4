"""A map of fields, roads and hedges for the synthetic series."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ['Landscape', 'draw_landscape', 'smooth_noise']


@dataclass(frozen=True)
class Landscape:
    """Parcels and the thin lines between them on an ``H x W`` grid.

    Args:
        parcel: Number of the parcel of each pixel from 1, 0 on lines, ``(H, W)`` int64.
        line: 0 inside parcels, 1 on roads, 2 on hedges and margins, ``(H, W)`` int64.
        centre: Mean row and column of each parcel, ``(P, 2)``.
    """

    parcel: NDArray[np.int64]
    line: NDArray[np.int64]
    centre: NDArray[np.float64]


def smooth_noise(
    size: tuple[int, int], scale: float, *, rng: np.random.Generator, slope: float = 3.0
) -> NDArray[np.float64]:
    """Gaussian noise with a power-law spectrum that flattens beyond *scale* pixels.

    Args:
        size: Height and width in pixels.
        scale: Longest wave in pixels that carries full power.
        rng: Source of randomness.
        slope: Exponent of the fall of power with frequency; larger is smoother.

    Returns:
        Noise ``(H, W)`` with mean 0 and standard deviation 1, periodic at the borders.
    """
    h, w = size
    frequency = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None])
    amplitude = (frequency**2 + scale**-2.0) ** (-slope / 4)
    amplitude[0, 0] = 0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((h, w))) * amplitude, (h, w))
    spread = noise.std()
    return noise / spread if spread > 0 else noise


def draw_landscape(
    size: tuple[int, int],
    *,
    parcel_pixels: int,
    min_pixels: int,
    rng: np.random.Generator,
) -> Landscape:
    """Draw blocks of fields: Voronoi cells, each cut into strips and those into fields.

    Block borders are roads, some field borders are hedges, and borders wave a little. What is
    left of a field with fewer than *min_pixels* is margin.

    Args:
        size: Height and width in pixels.
        parcel_pixels: Mean area of a field in pixels.
        min_pixels: Smallest area of a parcel in pixels.
        rng: Source of randomness.

    Returns:
        The map.
    """
    h, w = size
    blocks = max(2, round(h * w / (22 * parcel_pixels)))
    rows, columns = np.mgrid[:h, :w].astype(float)
    rows += 1.2 * smooth_noise(size, 24, rng=rng, slope=6)
    columns += 1.2 * smooth_noise(size, 24, rng=rng, slope=6)
    seeds = rng.uniform(0, 1, (blocks, 2)) * (h, w)
    # One seed at a time: all distances at once would need blocks x H x W.
    near, far = np.full((2, h, w), np.inf)
    block, second = np.zeros((2, h, w), int)
    for index, (row, column) in enumerate(seeds):
        distance = np.hypot(rows - row, columns - column)
        nearest, next_best = distance < near, distance < far
        second = np.where(nearest, block, np.where(next_best, index, second))
        far = np.where(nearest, near, np.where(next_best, distance, far))
        block, near = np.where(nearest, index, block), np.where(nearest, distance, near)
    # Distance in pixels to the line halfway between the two nearest seeds.
    apart = np.hypot(*(seeds[block] - seeds[second]).transpose(2, 0, 1))
    road = (far**2 - near**2) / (2 * apart) < 0.8

    angle = rng.uniform(0, np.pi, blocks)[block]
    along = (rows * np.cos(angle) + columns * np.sin(angle)) + h + w
    across = (-rows * np.sin(angle) + columns * np.cos(angle)) + h + w
    strip_width = np.sqrt(parcel_pixels) * rng.uniform(0.7, 1.1, blocks)
    strip = _cut(across, strip_width[block], block, rng)
    key = block * 10_000 + strip
    _, lane = np.unique(key, return_inverse=True)
    lane = lane.reshape(size)
    # Fields of a strip share their width and differ in length.
    length = parcel_pixels / strip_width[block]
    field = _cut(along, length, lane, rng)
    _, parcel = np.unique(lane * 10_000 + field, return_inverse=True)
    parcel = parcel.reshape(size)

    edge = np.zeros(size, bool)
    edge[:-1] |= parcel[:-1] != parcel[1:]
    edge[:, :-1] |= parcel[:, :-1] != parcel[:, 1:]
    hedged = rng.random(parcel.max() + 1) < 0.2
    line = np.where(road, 1, np.where(edge & hedged[parcel], 2, 0))

    area = np.bincount(parcel[line == 0], minlength=parcel.max() + 1)
    line = np.where((line == 0) & (area[parcel] < min_pixels), 2, line)
    kept = np.flatnonzero(area >= min_pixels)
    number = np.zeros(len(area), int)
    number[kept] = np.arange(1, len(kept) + 1)
    parcel = np.where(line == 0, number[parcel], 0)
    inside = parcel > 0
    ids, (r, c) = parcel[inside], np.nonzero(inside)
    total = np.bincount(ids, minlength=len(kept) + 1)[1:]
    centre = np.stack(
        [np.bincount(ids, x, minlength=len(kept) + 1)[1:] / total for x in (r, c)], axis=1
    )
    return Landscape(parcel=parcel, line=line, centre=centre)


def _cut(
    position: NDArray[np.float64],
    width: NDArray[np.float64],
    group: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Number of the interval of *position* (all ``(H, W)``), with uneven cuts per *group*.

    Cuts are a regular comb of the given width whose teeth move by up to 0.3 widths.
    """
    teeth = int(np.ceil((position / width).max())) + 2
    jitter = rng.uniform(-0.3, 0.3, (group.max() + 1, teeth + 1))
    phase = position / width
    base = np.floor(phase).astype(int)
    low = base + jitter[group, base]
    high = base + 1 + jitter[group, base + 1]
    return base - (phase < low) + (phase >= high)

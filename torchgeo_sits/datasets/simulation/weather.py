"""Clouds, their shadows and the swath border of each date of the synthetic series."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .landscape import smooth_noise
from .phenology import BANDS

__all__ = [
    'MEASURED',
    'MILD',
    'SCL',
    'Conditions',
    'add_weather',
    'draw_clouds',
    'draw_observed',
    'observe',
]


@dataclass(frozen=True)
class Conditions:
    """How well the land is seen: what comes between it and the pixels of a date.

    Args:
        haze: Mean of the haze of a date, as reflectance in the middle of the bands.
        haze_shape: Shape of its gamma distribution: the lower, the more clear and hazy days differ.
        gain: Standard deviation of the factor that all bands of a date share.
        shift: Standard deviation, in pixels, by which a date is shifted along each axis.
        missed: Greatest opacity of clouds and darkness of shadows that a date's mask may miss.
        texture: Factor on how much pixels of one field differ.
    """

    haze: float
    haze_shape: float
    gain: float
    shift: float
    missed: float
    texture: float


#: Mild conditions: masks miss little but the thinnest haze, and dates lie upon each other.
MILD: Final = Conditions(haze=0.006, haze_shape=1.5, gain=0.04, shift=0.0, missed=0.0, texture=1.0)
#: Conditions as two Sentinel-2 stacks in Flanders have them, measured by ``study/realism.py``.
MEASURED: Final = Conditions(
    haze=0.018, haze_shape=0.8, gain=0.13, shift=0.4, missed=0.12, texture=5.0
)

# Bands that Sentinel-2 takes at 20 m instead of 10 m.
_COARSE = [BANDS.index(band) for band in ('B05', 'B06', 'B07', 'B8A', 'B11', 'B12')]


def observe(
    image: NDArray[np.float64],
    *,
    rng: np.random.Generator,
    difficulty: float,
    conditions: Conditions = MILD,
) -> NDArray[np.float64]:
    """See the land through sensor and air: point spread, 20 m bands, gain, haze and noise.

    Args:
        image: Reflectance of the land at 10 m, ``(C, H, W)``.
        rng: Source of randomness.
        difficulty: Factor on the noise.
        conditions: Haze, and how dates lie upon each other.

    Returns:
        Reflectance as seen, ``(C, H, W)``.
    """
    if conditions.shift:
        image = _moved(image, rng.normal(0, conditions.shift, 2))
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode='edge')
    rows = 0.15 * padded[:, :-2] + 0.7 * padded[:, 1:-1] + 0.15 * padded[:, 2:]
    image = 0.15 * rows[..., :-2] + 0.7 * rows[..., 1:-1] + 0.15 * rows[..., 2:]
    _, h, w = image.shape
    half = np.pad(image[_COARSE], ((0, 0), (0, h % 2), (0, w % 2)), mode='edge')
    half = half.reshape(len(_COARSE), (h + 1) // 2, 2, (w + 1) // 2, 2).mean((2, 4))
    image[_COARSE] = half.repeat(2, 1).repeat(2, 2)[:, :h, :w]
    channels = len(image)
    gain = 1 + rng.normal(0, conditions.gain) + rng.normal(0, 0.012, channels)
    shape = conditions.haze_shape
    haze = rng.gamma(shape, conditions.haze / shape) * np.linspace(1.4, 0.2, channels)
    noise = rng.standard_normal(image.shape) * (0.0025 + 0.012 * image) * difficulty
    return image * gain[:, None, None] + haze[:, None, None] + noise


def _moved(image: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move an image ``(C, H, W)`` by parts of a pixel, linearly; borders repeat."""
    for axis, amount in zip((1, 2), shift, strict=True):
        whole = int(np.floor(amount))
        places = np.arange(image.shape[axis]) - whole
        last = image.shape[axis] - 1
        near, far = (image.take((places - d).clip(0, last), axis) for d in (0, 1))
        image = near + (amount - whole) * (far - near)
    return image


#: Codes of the Sentinel-2 scene classification that the synthetic series uses.
SCL: Final = {
    'nodata': 0,
    'shadow': 3,
    'vegetation': 4,
    'bare': 5,
    'water': 6,
    'cloud_medium': 8,
    'cloud_high': 9,
    'cirrus': 10,
}

# Reflectance of a thick cloud in the ten bands: bright, and darker where ice absorbs (SWIR).
_CLOUD: Final = (0.62, 0.60, 0.60, 0.61, 0.62, 0.63, 0.64, 0.63, 0.48, 0.38)

# Reach of the shadows in pixels beyond the image, so that clouds outside cast theirs inside.
_MARGIN = 24


def draw_clouds(
    size: tuple[int, int], *, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw the clouds of one date and the shadows they cast.

    The cloud fraction is bimodal as in temperate climates: half of the dates are almost clear,
    15 % overcast, the rest anywhere between.

    Args:
        size: Height and width in pixels.
        rng: Source of randomness.

    Returns:
        Opacity of the clouds and darkness of the shadows, both ``(H, W)`` from 0 to 1.
    """
    sort = rng.random()
    partly = rng.beta(0.9, 1.3)
    fraction = rng.uniform(0, 0.02) if sort < 0.5 else 1.0 if sort > 0.85 else partly
    h, w = size
    noise = smooth_noise((h + 2 * _MARGIN, w + 2 * _MARGIN), 80, rng=rng, slope=4.5)
    threshold = np.quantile(noise, 1 - fraction) if fraction < 1 else noise.min() - 1
    opacity = np.clip((noise - threshold) / rng.uniform(0.1, 0.4), 0, 1)
    # Sun in the south-east at 10:30: shadows fall to the north-west, longer with cloud height.
    reach = rng.uniform(5, _MARGIN)
    bearing = rng.uniform(np.deg2rad(125), np.deg2rad(165))
    shift = round(reach * np.cos(bearing)), -round(reach * np.sin(bearing))
    shadow = 0.55 * np.roll(opacity, shift, axis=(0, 1))
    inside = slice(_MARGIN, _MARGIN + h), slice(_MARGIN, _MARGIN + w)
    return opacity[inside], shadow[inside]


def draw_observed(size: tuple[int, int], *, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw which pixels of one date lie inside the swath: all, but on every eighth date.

    Args:
        size: Height and width in pixels.
        rng: Source of randomness.

    Returns:
        True where observed, ``(H, W)``; the border leans by 10 degrees as the orbits do.
    """
    h, w = size
    wedge, share, side = rng.random() < 0.125, rng.uniform(0.15, 0.6), rng.random() < 0.5
    if not wedge:
        return np.ones(size, bool)
    rows, columns = np.mgrid[:h, :w]
    position = columns + np.tan(np.deg2rad(10)) * rows
    border = np.quantile(position, share)
    return position > border if side else position < np.quantile(position, 1 - share)


def add_weather(
    image: NDArray[np.float64],
    water: NDArray[np.bool_],
    *,
    rng: np.random.Generator,
    conditions: Conditions = MILD,
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Put clouds, shadows and the swath border over an image, and classify the scene.

    Args:
        image: Clear reflectance, ``(C, H, W)``.
        water: Where water lies, ``(H, W)``.
        rng: Source of randomness.
        conditions: How much the classification misses.

    Returns:
        Reflectance x 10000 ``(C, H, W)``, 0 where nothing was observed, and the scene
        classification ``(H, W)``, 0 in the same places.
    """
    size = water.shape
    opacity, shadow = draw_clouds(size, rng=rng)
    observed = draw_observed(size, rng=rng)
    red, nir = image[BANDS.index('B04')], image[BANDS.index('B08')]
    ndvi = (nir - red) / np.maximum(nir + red, 1e-6)
    scl = np.where(ndvi > 0.45, SCL['vegetation'], SCL['bare'])
    scl[water & (ndvi < 0.1)] = SCL['water']
    # The classifier misses the thinnest haze, as the real one does, and on some days more.
    missed = rng.uniform(0, conditions.missed) if conditions.missed else 0.0
    scl[shadow > max(0.18, missed)] = SCL['shadow']
    scl[opacity > max(0.08, missed)] = SCL['cirrus']
    scl[opacity > max(0.3, missed)] = SCL['cloud_medium']
    scl[opacity > 0.7] = SCL['cloud_high']
    cloud = np.array(_CLOUD)[:, None, None] * (1 + 0.15 * smooth_noise(size, 30, rng=rng))
    image = image * (1 - shadow) * (1 - opacity) + cloud * opacity
    scl[~observed] = SCL['nodata']
    # 1 is the darkest value: 0 means that nothing was observed.
    digital = np.clip(np.round(image * 10_000), 1, 20_000) * observed
    return digital.astype(np.uint16), scl.astype(np.uint8)

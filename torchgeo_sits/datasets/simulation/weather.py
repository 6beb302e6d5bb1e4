"""Clouds, their shadows and the swath border of each date of the synthetic series."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .landscape import smooth_noise
from .phenology import BANDS

__all__ = ['SCL', 'add_weather', 'draw_clouds', 'draw_observed', 'observe']

# Bands that Sentinel-2 takes at 20 m instead of 10 m.
_COARSE = [BANDS.index(band) for band in ('B05', 'B06', 'B07', 'B8A', 'B11', 'B12')]


def observe(
    image: NDArray[np.float64], *, rng: np.random.Generator, difficulty: float
) -> NDArray[np.float64]:
    """See the land through sensor and air: point spread, 20 m bands, gain, haze and noise.

    Args:
        image: Reflectance of the land at 10 m, ``(C, H, W)``.
        rng: Source of randomness.
        difficulty: Factor on the noise.

    Returns:
        Reflectance as seen, ``(C, H, W)``.
    """
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode='edge')
    rows = 0.15 * padded[:, :-2] + 0.7 * padded[:, 1:-1] + 0.15 * padded[:, 2:]
    image = 0.15 * rows[..., :-2] + 0.7 * rows[..., 1:-1] + 0.15 * rows[..., 2:]
    _, h, w = image.shape
    half = np.pad(image[_COARSE], ((0, 0), (0, h % 2), (0, w % 2)), mode='edge')
    half = half.reshape(len(_COARSE), (h + 1) // 2, 2, (w + 1) // 2, 2).mean((2, 4))
    image[_COARSE] = half.repeat(2, 1).repeat(2, 2)[:, :h, :w]
    channels = len(image)
    gain = 1 + rng.normal(0, 0.04) + rng.normal(0, 0.012, channels)
    haze = rng.gamma(1.5, 0.004) * np.linspace(1.4, 0.2, channels)
    noise = rng.standard_normal(image.shape) * (0.0025 + 0.012 * image) * difficulty
    return image * gain[:, None, None] + haze[:, None, None] + noise


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
    image: NDArray[np.float64], water: NDArray[np.bool_], *, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Put clouds, shadows and the swath border over an image, and classify the scene.

    Args:
        image: Clear reflectance, ``(C, H, W)``.
        water: Where water lies, ``(H, W)``.
        rng: Source of randomness.

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
    # The classifier misses the thinnest haze, as the real one does.
    scl[shadow > 0.18] = SCL['shadow']
    scl[opacity > 0.08] = SCL['cirrus']
    scl[opacity > 0.3] = SCL['cloud_medium']
    scl[opacity > 0.7] = SCL['cloud_high']
    cloud = np.array(_CLOUD)[:, None, None] * (1 + 0.15 * smooth_noise(size, 30, rng=rng))
    image = image * (1 - shadow) * (1 - opacity) + cloud * opacity
    scl[~observed] = SCL['nodata']
    # 1 is the darkest value: 0 means that nothing was observed.
    digital = np.clip(np.round(image * 10_000), 1, 20_000) * observed
    return digital.astype(np.uint16), scl.astype(np.uint8)

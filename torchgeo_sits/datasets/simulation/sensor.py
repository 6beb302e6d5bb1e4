"""What a sensor like Sentinel-2's makes of the light from the land."""

import numpy as np
from numpy.typing import NDArray

from .spectra import BANDS

__all__ = ['observe']

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

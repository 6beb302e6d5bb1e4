"""Reflectance of pure surfaces in the ten bands, and their mixture."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ['BANDS', 'ENDMEMBERS', 'SURFACES', 'mix']

#: Sentinel-2 bands of the synthetic series, in file order.
BANDS: Final = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')

#: Reflectance (0 to 1) of pure surfaces in :data:`BANDS`. Own rounded numbers, with the shapes
#: of soil, leaf, litter, water and urban spectra as in the USGS spectral library (Kokaly et
#: al. 2017): chlorophyll dip at 665 nm, red edge 705 to 783 nm, water absorption in the SWIR.
ENDMEMBERS: Final = {
    'soil': (0.075, 0.100, 0.130, 0.150, 0.170, 0.185, 0.200, 0.215, 0.300, 0.255),
    'leaf': (0.022, 0.052, 0.026, 0.095, 0.330, 0.430, 0.460, 0.480, 0.210, 0.095),
    'straw': (0.085, 0.125, 0.180, 0.215, 0.245, 0.265, 0.290, 0.310, 0.390, 0.290),
    'flower': (0.045, 0.155, 0.140, 0.190, 0.370, 0.440, 0.470, 0.480, 0.240, 0.120),
    'broadleaf': (0.018, 0.042, 0.022, 0.082, 0.280, 0.370, 0.400, 0.410, 0.185, 0.078),
    'needle': (0.016, 0.030, 0.020, 0.052, 0.165, 0.210, 0.225, 0.235, 0.105, 0.048),
    'litter': (0.035, 0.048, 0.062, 0.085, 0.120, 0.140, 0.160, 0.172, 0.200, 0.135),
    'water': (0.042, 0.048, 0.032, 0.026, 0.020, 0.018, 0.016, 0.014, 0.009, 0.007),
    'roof': (0.125, 0.145, 0.165, 0.175, 0.185, 0.195, 0.205, 0.210, 0.235, 0.215),
    'asphalt': (0.075, 0.085, 0.095, 0.102, 0.110, 0.115, 0.120, 0.123, 0.145, 0.132),
    'char': (0.032, 0.038, 0.044, 0.050, 0.060, 0.066, 0.072, 0.080, 0.120, 0.130),
}

#: Names of the endmembers: the order of the last axis of all arrays of shares.
SURFACES: Final = tuple(ENDMEMBERS)


def mix(shares: NDArray[np.float64], brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mix the spectra linearly.

    Args:
        shares: Share of each surface, ``(T, N, E)``.
        brightness: Factor on soil, straw and built-up surfaces of each unit, ``(N,)``.

    Returns:
        Reflectance from 0 to 1, ``(T, N, C)``.
    """
    ground = np.isin(SURFACES, ('soil', 'straw', 'roof', 'asphalt'))
    factor = np.where(ground, brightness[:, None], 1.0)
    return (shares * factor) @ np.array(list(ENDMEMBERS.values()))

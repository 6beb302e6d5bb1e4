"""What a band holds, for published models, which find their inputs by name."""

import re
from collections.abc import Collection, Sequence
from typing import Final

from ..bands import find_band
from ..errors import SITSError

__all__ = ['LIGHTS', 'OPTICAL', 'find_quantities', 'quantity']

#: Lights that published models know, in the order of Sentinel-2's bands.
OPTICAL: Final = (
    'blue',
    'green',
    'red',
    'rededge1',
    'rededge2',
    'rededge3',
    'nir',
    'nir08',
    'swir16',
    'swir22',
)

#: The same and the two of 60 m that products of surface reflectance have, in the same order.
LIGHTS: Final = ('coastal', *OPTICAL[:8], 'nir09', *OPTICAL[8:])

#: Names of what is no light, in small letters and without separators, by what they mean.
_NO_LIGHT: Final = {
    't2m': 'temperature_2m',
    'temperature2m': 'temperature_2m',
    'tp': 'total_precipitation',
    'totalprecipitation': 'total_precipitation',
    'totalprecipitationsum': 'total_precipitation',
    'elevation': 'elevation',
    'slope': 'slope',
}


def quantity(name: str) -> str | None:
    """Find what a band holds, for a model that was trained on Sentinel-2 and its like.

    Args:
        name: Name of a band. Numbers are those of Sentinel-2: a band of another sensor is to be
            named by its light, such as ``nir08``.

    Returns:
        The common name of the light (see :mod:`torchgeo_sits.bands`), or ``VV``, ``VH``,
        ``temperature_2m``, ``total_precipitation``, ``elevation`` or ``slope``; None for others.

    Examples:
        >>> quantity('B8A'), quantity('S2-L2A-B04'), quantity('vv'), quantity('tp')
        ('nir08', 'red', 'VV', 'total_precipitation')
        >>> quantity('VV_dBx100'), quantity('VV_VH_ratio')
        ('VV', None)
        >>> quantity('SR_B4') is None  # red of Landsat 8, near infrared of Landsat 5
        True
    """
    words = re.split('[ _-]+', name.lower())
    # Of a polarisation the unit may follow.
    if words[0] in ('vv', 'vh') and not {'vv', 'vh', 'ratio'} & {*words[1:]}:
        return words[0].upper()
    plain = ''.join(words)
    if plain in _NO_LIGHT:
        return _NO_LIGHT[plain]
    if plain.startswith(('srb', 'stb', 'surrefl')):
        return None
    band = find_band('Sentinel-2', name)
    return None if band is None else band.common


def find_quantities(
    model: str, known: Collection[str], bands: Sequence[str], option: str = 'bands'
) -> list[str]:
    """Find what the bands of the data hold, each of it known to a model and there once.

    Args:
        model: Name of the model, for messages.
        known: Quantities that it knows.
        bands: Names of the bands.
        option: Name of the option that chooses them, for messages.

    Returns:
        See :func:`quantity`.

    Raises:
        SITSError: If the model does not know one, or two are the same.
    """
    found = [quantity(name) for name in bands]
    kept = [name for name, of in zip(bands, found, strict=True) if of in known]
    if len(kept) < len(bands):
        odd = [name for name in bands if name not in kept]
        choice = f'Choose {option}={kept}, or name' if kept else 'Name'
        raise SITSError(
            f'{model} does not know the bands {odd}: it takes {list(known)}, by these names or '
            f'those of Sentinel-2 (B02). {choice} bands of another sensor by their light'
        )
    names = [str(of) for of in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SITSError(
            f'{model}: {sorted(twice)} is there twice among the bands {list(bands)}: choose one '
            f'by {option}'
        )
    return names

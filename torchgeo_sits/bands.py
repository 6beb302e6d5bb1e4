"""The bands of sensors: what products call them, and which light they hold.

One table serves whoever must know whether two bands are the same light: band ``B4`` is red on
Landsat 8 and near infrared on Landsat 5. Light has a common name, such as ``red`` or ``swir16``;
these are the names that the STAC extension for electro-optical data gives [1]_, but for the
numbers of Sentinel-2's red edge bands.

Wavelengths are from the agencies: Sentinel-2A from ESA's user guide, Landsat from the USGS (band
designations), MODIS from NASA (band specifications), PlanetScope from Planet (PSB.SD).

.. [1] https://github.com/stac-extensions/eo
"""

import os
import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ['SENSORS', 'Band', 'common_name', 'find_band', 'find_sensor']


@dataclass(frozen=True, slots=True)
class Band:
    """Band of a sensor.

    Attributes:
        name: What the product's files call it.
        common: Name of its light, the same for all sensors.
        centre: Central wavelength in nanometres.
        width: Width in nanometres.

    Examples:
        >>> from torchgeo_sits.bands import SENSORS
        >>> SENSORS['Sentinel-2'][3]
        Band(name='B04', common='red', centre=665, width=31)
    """

    name: str
    common: str
    centre: float
    width: float


def _bands(prefix: str, *rows: tuple[str, str, float, float]) -> tuple[Band, ...]:
    """Write the bands of a sensor, whose names share a *prefix*."""
    return tuple(Band(prefix + name, common, centre, width) for name, common, centre, width in rows)


_MSI = _bands(
    'B',
    ('01', 'coastal', 443, 21),
    ('02', 'blue', 492, 66),
    ('03', 'green', 560, 36),
    ('04', 'red', 665, 31),
    ('05', 'rededge1', 704, 15),
    ('06', 'rededge2', 741, 15),
    ('07', 'rededge3', 783, 20),
    ('08', 'nir', 833, 106),
    ('8A', 'nir08', 865, 21),
    ('09', 'nir09', 945, 20),
    ('10', 'cirrus', 1374, 31),
    ('11', 'swir16', 1614, 91),
    ('12', 'swir22', 2202, 175),
)
_OLI = (
    ('coastal', 443, 16),
    ('blue', 482, 60),
    ('green', 561, 57),
    ('red', 655, 37),
    ('nir08', 865, 28),
    ('swir16', 1609, 85),
    ('swir22', 2201, 187),
    ('pan', 590, 172),
    ('cirrus', 1373, 20),
    ('lwir11', 10895, 590),
    ('lwir12', 12005, 1010),
)
_THEMATIC = (
    ('1', 'blue', 485, 70),
    ('2', 'green', 560, 80),
    ('3', 'red', 660, 60),
    ('4', 'nir08', 835, 130),
    ('5', 'swir16', 1650, 200),
    ('6', 'lwir', 11450, 2100),
    ('7', 'swir22', 2215, 270),
)
_MULTISPECTRAL = (
    ('green', 550, 100),
    ('red', 650, 100),
    ('nir08', 750, 100),
    ('nir09', 950, 300),
)

#: Bands of each sensor, in the order of its own numbers.
SENSORS: dict[str, tuple[Band, ...]] = {
    'Sentinel-2': _MSI,
    'HLS S30': _MSI,
    'HLS L30': _bands('B', *((f'{i + 1:02d}', *row) for i, row in enumerate(_OLI) if i != 7)),
    'Landsat 8 and 9': _bands('B', *((f'{i + 1}', *row) for i, row in enumerate(_OLI))),
    'Landsat 7': _bands('B', *_THEMATIC, ('8', 'pan', 710, 380)),
    'Landsat 4 and 5 TM': _bands('B', *_THEMATIC),
    'Landsat 4 and 5 MSS': _bands('B', *((f'{i + 1}', *r) for i, r in enumerate(_MULTISPECTRAL))),
    'Landsat 1 to 3': _bands('B', *((f'{i + 4}', *row) for i, row in enumerate(_MULTISPECTRAL))),
    'MODIS': _bands(
        'sur_refl_b',
        ('01', 'red', 645, 50),
        ('02', 'nir08', 859, 35),
        ('03', 'blue', 469, 20),
        ('04', 'green', 555, 20),
        ('05', 'nir12', 1240, 20),
        ('06', 'swir16', 1640, 24),
        ('07', 'swir22', 2130, 50),
    ),
    'PlanetScope': _bands(
        '',
        ('coastal_blue', 'coastal', 443, 20),
        ('blue', 'blue', 490, 50),
        ('green_i', 'green05', 531, 36),
        ('green', 'green', 565, 36),
        ('yellow', 'yellow', 610, 20),
        ('red', 'red', 665, 31),
        ('rededge', 'rededge1', 705, 15),
        ('nir', 'nir08', 865, 40),
    ),
}

#: Other spellings of common names, in small letters and without separators.
_SPELLINGS = {
    'coastalblue': 'coastal',
    'coastalaerosol': 'coastal',
    'greeni': 'green05',
    'panchromatic': 'pan',
    'rededge': 'rededge1',
    're1': 'rededge1',
    're2': 'rededge2',
    're3': 'rededge3',
    'rededge071': 'rededge1',
    'rededge075': 'rededge2',
    'rededge078': 'rededge3',
    'nirnarrow': 'nir08',
    'watervapor': 'nir09',
    'swir': 'swir16',
    'swir1': 'swir16',
    'swir2': 'swir22',
} | {band.common: band.common for bands in SENSORS.values() for band in bands}

#: What names of files and folders say, the first that is found in either.
_NAMES = (
    (re.compile(r'(?<![A-Za-z0-9])HLS\.S30\.'), 'HLS S30'),
    (re.compile(r'(?<![A-Za-z0-9])HLS\.L30\.'), 'HLS L30'),
    (re.compile(r'(?<![A-Za-z0-9])S(?:ENTINEL-?)?2[A-D]?(?![A-Za-z0-9])', re.I), 'Sentinel-2'),
    (re.compile(r'(?<![A-Za-z0-9])T\d\d[A-Z]{3}_\d{8}T\d{6}_'), 'Sentinel-2'),
    (re.compile(r'(?<![A-Za-z0-9])L(?:[CO]0?)?[89](?=[_-]|\d{6})'), 'Landsat 8 and 9'),
    (re.compile(r'(?<![A-Za-z0-9])L(?:E0?)?7(?=[_-]|\d{6})'), 'Landsat 7'),
    (re.compile(r'(?<![A-Za-z0-9])L(?:T0?)?[45](?=[_-]|\d{6})'), 'Landsat 4 and 5 TM'),
    (re.compile(r'(?<![A-Za-z0-9])LM0?[45](?=[_-]|\d{6})'), 'Landsat 4 and 5 MSS'),
    (re.compile(r'(?<![A-Za-z0-9])LM0?[123](?=[_-]|\d{6})'), 'Landsat 1 to 3'),
    (re.compile(r'(?<![A-Za-z0-9])(?:M[OY]D\d\d|MCD43)'), 'MODIS'),
    (re.compile(r'_3B_(?:Analytic|ortho_analytic)', re.I), 'PlanetScope'),
)
#: One of these is in all of them, and none in most paths.
_HINT = re.compile(r'S(?:ENTINEL-?)?2|HLS\.|T\d\d[A-Z]{3}_|L[A-Z]?0?[1-9]|M[OY]D|MCD|_3B_', re.I)
#: Number of a band in any spelling: B4, B04, b4, SR_B4, SRB4, band_4, S2-L2A-B04, sur_refl_b04.
_NUMBER = re.compile(
    r'(?:^|[^A-Za-z0-9])(?:SR|ST)?B(?:AND)?_?0*(\d{1,2})(A?)(?:_VCID_\d)?$', re.IGNORECASE
)


def common_name(name: str) -> str | None:
    """Find the light that a name means whatever the sensor.

    Args:
        name: Name of a band.

    Returns:
        The common name, None for names that are a sensor's own.

    Examples:
        >>> from torchgeo_sits.bands import common_name
        >>> common_name('BLUE'), common_name('Red Edge 2'), common_name('B4')
        ('blue', 'rededge2', None)
    """
    return _SPELLINGS.get(re.sub('[ _-]', '', name).lower())


@lru_cache(1 << 12)
def find_band(sensor: str | None, name: str) -> Band | None:
    """Look up a band of a sensor.

    Args:
        sensor: A key of :data:`SENSORS`, None for an unknown one.
        name: Its own name in any spelling, or that of its light.

    Returns:
        The band, None where the table has none.

    Examples:
        >>> from torchgeo_sits.bands import find_band
        >>> find_band('Landsat 8 and 9', 'SR_B4').common
        'red'
        >>> find_band('Landsat 4 and 5 TM', 'SR_B4').common
        'nir08'
        >>> [find_band('Sentinel-2', name).name for name in ('B2', 'S2-L2A-B02', 'blue')]
        ['B02', 'B02', 'B02']
    """
    bands = SENSORS.get(sensor or '', ())
    number = _number(name)
    if number is not None:
        return next((band for band in bands if _number(band.name) == number), None)
    common = common_name(name)
    return next((band for band in bands if band.common == common), None)


def _number(name: str) -> str | None:
    """Spell the number of a band in one way, ``8A`` or ``4``."""
    match = _NUMBER.search(name.strip())
    return None if match is None else match[1] + match[2].upper()


def find_sensor(path: str) -> str | None:
    """Tell by its name, or those of its folders, which sensor took an image.

    Args:
        path: Path of a file.

    Returns:
        A key of :data:`SENSORS`, None where no name says.

    Examples:
        >>> from torchgeo_sits.bands import find_sensor
        >>> find_sensor('LT05_L2SP_198025_20100601_20200824_02_T1/x_SR_B4.TIF')
        'Landsat 4 and 5 TM'
        >>> find_sensor('images/site_20200601.tif') is None
        True
    """
    if _HINT.search(path) is None:
        return None
    folder, name = os.path.split(path)
    return _sensor_in(name) or _sensor_of_folder(folder)


@lru_cache(1 << 12)
def _sensor_of_folder(folder: str) -> str | None:
    """Search the names of the last folders, the last first."""
    for part in reversed(re.split(r'[/\\]', folder)[-5:]):
        if found := _sensor_in(part):
            return found
    return None


def _sensor_in(name: str) -> str | None:
    """Search one name."""
    return next((sensor for pattern, sensor in _NAMES if pattern.search(name)), None)

"""Date, band and product of a raster, read off its file name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import PurePath

import pandas as pd
from torchgeo.datasets.utils import disambiguate_timestamp

from ..errors import SITSError
from .frames import utc

__all__ = ['ANCILLARY_BANDS', 'KNOWN_NAMES', 'RasterName', 'parse_name']

#: Shown to users whose files carry no date that :func:`parse_name` finds.
KNOWN_NAMES = (
    'site_20180802.tif, site_2018-08-02.tif, site_20180802T105031_B04.tif, '
    'T31UES_20180802T105031_B04_10m.jp2, '
    'LC08_L2SP_198025_20180802_20200831_02_T1_SR_B4.TIF, '
    '20180802_103045_1003_3B_AnalyticMS.tif, MOD13Q1.A2018214.h18v04.061.tif'
)

#: Layers that products ship beside their spectral bands: never stacked unless asked for.
ANCILLARY_BANDS = frozenset(
    {'SCL', 'AOT', 'WVP', 'TCI', 'PVI', 'CLD', 'SNW', 'CLDPRB', 'SNWPRB', 'UDM', 'UDM2', 'BQA'}
    | {'QA_PIXEL', 'QA_RADSAT', 'QA_AEROSOL', 'PIXEL_QA', 'RADSAT_QA'}
    | {'SR_QA_AEROSOL', 'SR_ATMOS_OPACITY', 'SR_CLOUD_QA'}
    | {'ST_QA', 'ST_ATRAN', 'ST_CDIST', 'ST_DRAD', 'ST_EMIS', 'ST_EMSD', 'ST_TRAD', 'ST_URAD'}
)

_YEAR, _MONTH, _DAY = r'(?:19|20)\d\d', r'(?:0[1-9]|1[0-2])', r'(?:0[1-9]|[12]\d|3[01])'
_CLOCK = r'(?:[01]\d|2[0-3])[0-5]\d[0-5]\d'
_DATE = rf'(?<!\d){_YEAR}{_MONTH}{_DAY}'
#: Pattern, and the strptime format of its joined groups; the first that fits wins. The order
#: is what makes a Landsat's or a MODIS granule's acquisition win over its processing date.
_DATES = (
    # Planet writes date_time_..., and only at the very start: elsewhere six digits after a
    # date are a path and row, a version or an orbit.
    (re.compile(rf'^({_YEAR}{_MONTH}{_DAY})_({_CLOCK})(?!\d)'), '%Y%m%d%H%M%S'),
    # MODIS and VIIRS granules, A for acquisition, before the date of processing.
    (re.compile(r'(?<![A-Za-z0-9])A((?:19|20)\d{2}[0-3]\d{2})(?!\d)'), '%Y%j'),
    (re.compile(rf'({_DATE})[Tt]({_CLOCK})(?!\d)'), '%Y%m%d%H%M%S'),
    (
        re.compile(
            rf'(?<!\d)({_YEAR})-({_MONTH})-({_DAY})[Tt_]'
            r'([01]\d|2[0-3])[:-]?([0-5]\d)[:-]?([0-5]\d)(?!\d)'
        ),
        '%Y%m%d%H%M%S',
    ),
    (re.compile(rf'({_DATE})(?!\d)'), '%Y%m%d'),
    (re.compile(rf'(?<!\d)({_YEAR})([-_.])({_MONTH})\2({_DAY})(?!\d)'), '%Y%m%d'),
    # Landsat before its collections: LC81980252018214LGN00.
    (re.compile(r'(?<![A-Za-z0-9])L[COTEM]\d\d{6}((?:19|20)\d{5})[A-Z]{3}\d\d'), '%Y%j'),
    (re.compile(r'(?<!\d)((?:19|20)\d{2}[0-3]\d{2})(?!\d)'), '%Y%j'),
)

_BAND = re.compile(
    r'(?<![A-Za-z0-9])('
    + '|'.join(sorted(ANCILLARY_BANDS, key=len, reverse=True))
    + r'|(?:SR_|ST_)?B\d{1,2}A?|Band_?\d{1,2}'
    r'|coastal|blue|green_?i?|yellow|red|red_?edge_?\d?|nir(?:08|09)?|swir_?(?:16|22|\d)?|mir'
    r'|pan|thermal|lst|VV|VH|HH|HV|NDVI|EVI2?|NDWI|NDMI|NDSI|NBR2?|SAVI|LAI|FAPAR|FCOVER'
    r')(?![A-Za-z0-9])',
    re.IGNORECASE,
)
_RESOLUTION = re.compile(r'[_-]\d{1,4}m$', re.IGNORECASE)
_LAST_OF_SECOND = pd.Timedelta(microseconds=999_999)
_LAST_OF_DAY = pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RasterName:
    """Date, band and product in a file name, as :func:`parse_name` found them.

    Attributes:
        time: Acquisition, UTC without a zone; midnight where the name holds a date only.
        stop: Last microsecond that the name may mean: the end of the day for a date.
        band: Name of the band that the file holds, None where the name holds none.
        product: The name without band and resolution: the same for all bands of a product.

    Examples:
        >>> from torchgeo_sits.datasets import parse_name
        >>> name = parse_name('T31UES_20180802T105031_B04_10m.jp2')
        >>> name.band, name.product, name.has_clock
        ('B04', 'T31UES_20180802T105031_*', True)
    """

    time: pd.Timestamp
    stop: pd.Timestamp
    band: str | None
    product: str

    @property
    def has_clock(self) -> bool:
        """Tell whether the name holds a time of day, not only a date."""
        return self.stop - self.time < pd.Timedelta(hours=12)


def parse_name(
    path: str,
    *,
    filename_regex: str | None = None,
    date_format: str = '%Y%m%d',
) -> RasterName | None:
    """Read date, band and product off a file name.

    Without *filename_regex* the common names are understood (:data:`KNOWN_NAMES`). A file
    whose name is a band alone (``.../S2A_31UES_20180802/B04.tif``) takes the date of its
    folder.

    Args:
        path: Path of the file; it is not opened.
        filename_regex: Regular expression (verbose, matched from the start of the file name)
            with the groups ``date``, or ``start`` and ``stop``, and where bands are in files
            of their own ``band``, as in :class:`torchgeo.datasets.RasterDataset`.
        date_format: Format of these groups, see :meth:`datetime.datetime.strptime`.

    Returns:
        What was found, or None where there is no date in the name.

    Raises:
        SITSError: If a date that *filename_regex* found does not fit *date_format*.

    Examples:
        >>> from torchgeo_sits.datasets import parse_name
        >>> parse_name('LC08_L2SP_198025_20180802_20200831_02_T1_SR_B4.TIF').time
        Timestamp('2018-08-02 00:00:00')
        >>> own = {'filename_regex': 'x-(?P<date>.*).tif', 'date_format': '%d.%m.%y'}
        >>> parse_name('x-02.08.18.tif', **own).stop
        Timestamp('2018-08-02 23:59:59.999999')
        >>> parse_name('readme.tif') is None
        True
    """
    name = PurePath(path).name
    if filename_regex is not None:
        return _parse_with(filename_regex, date_format, name)

    stem = name.rsplit('.', 1)[0]
    found = _find_time(stem)
    bands = list(_BAND.finditer(stem))
    band = bands[-1] if bands else None  # the last: a site may be called `Red_River`
    if found is None and band is not None:
        found = _find_time(PurePath(path).parent.name)
    if found is None:
        return None
    time, stop = found
    if band is None:
        return RasterName(time, stop, None, stem)
    product = _RESOLUTION.sub('', stem)
    product = product[: band.start()] + '*' + product[band.end() :]
    return RasterName(time, stop, band.group(1), product)


@lru_cache(1 << 16)
def _own_span(digits: str, form: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Find the ends of a date in a format of :data:`_DATES`: ten times as fast as pandas."""
    time = datetime.strptime(digits, form)
    if time.year != int(digits[:4]):  # strptime takes day 366 of a common year for 1 January
        raise SITSError(f'{digits} is no date')
    first = pd.Timestamp(time)
    return first, first + (_LAST_OF_SECOND if form.endswith('%S') else _LAST_OF_DAY)


@lru_cache(1 << 16)
def _span(date: str, form: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Find the first and last instant of a date in any format; bands and tiles often share one."""
    first, last = disambiguate_timestamp(date, form)
    return utc(first), utc(last)


def _find_time(stem: str) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Find the first and last instant that the date in *stem* may mean."""
    for pattern, form in _DATES:
        for match in pattern.finditer(stem):
            digits = ''.join(group for group in match.groups() if group.isdigit())
            try:
                return _own_span(digits, form)
            except ValueError:  # 31 February, day 366 of a common year: not a date
                continue
    return None


def _parse_with(regex: str, date_format: str, name: str) -> RasterName | None:
    """Parse a name by a regular expression of the user's."""
    try:
        match = re.match(regex, name, re.VERBOSE)
    except re.error as error:
        raise SITSError(f'filename_regex={regex!r} is no regular expression: {error}') from error
    if match is None:
        return None
    groups = match.groupdict()
    dates: Sequence[str | None] = (groups.get('date'), groups.get('date'))
    if dates[0] is None:
        dates = (groups.get('start'), groups.get('stop'))
    if dates[0] is None or dates[1] is None:
        return None
    try:
        time, stop = _span(dates[0], date_format)[0], _span(dates[1], date_format)[1]
    except ValueError as error:
        raise SITSError(
            f"filename_regex found '{dates[0]}' in '{name}', which does not fit "
            f"date_format='{date_format}': give the format of the dates in your names"
        ) from error
    product = name
    band = groups.get('band')
    if band is not None:
        product = name[: match.start('band')] + '*' + name[match.end('band') :]
    return RasterName(time, stop, band, product)

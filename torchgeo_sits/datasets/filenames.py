"""Date, band and product of a raster, read off its file name."""

import calendar
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import PurePath

import pandas as pd
from torchgeo.datasets.utils import disambiguate_timestamp

from ..errors import SITSError
from .frames import utc

__all__ = [
    'ANCILLARY_BANDS',
    'KNOWN_NAMES',
    'RasterName',
    'is_ancillary',
    'is_band',
    'parse_description',
    'parse_name',
    'parse_names',
]

#: Shown to users whose files carry no date that :func:`parse_name` finds.
KNOWN_NAMES = (
    'site_20180802.tif, site_2018-08-02.tif, site_20180802T105031_B04.tif, site_2018-08.tif, '
    '2018-08-02/B04.tif, T31UES_20180802T105031_B04_10m.jp2, '
    'LC08_L2SP_198025_20180802_20200831_02_T1_SR_B4.TIF, '
    '20180802_103045_1003_3B_AnalyticMS.tif, MOD13Q1.A2018214.h18v04.061.tif'
)

#: Layers that products ship beside their spectral bands: never stacked unless asked for.
ANCILLARY_BANDS = frozenset(
    {'SCL', 'AOT', 'WVP', 'TCI', 'PVI', 'CLD', 'SNW', 'CLDPRB', 'SNWPRB', 'UDM', 'UDM2', 'BQA'}
    | {'QA_PIXEL', 'QA_RADSAT', 'QA_AEROSOL', 'PIXEL_QA', 'RADSAT_QA', 'FMASK'}
    | {'SAA', 'SZA', 'VAA', 'VZA'}  # angles of the sun and of the view: HLS, Landsat
    | {'SR_QA_AEROSOL', 'SR_ATMOS_OPACITY', 'SR_CLOUD_QA', 'SR_AEROSOL'}
    | {'ST_QA', 'ST_ATRAN', 'ST_CDIST', 'ST_DRAD', 'ST_EMIS', 'ST_EMSD', 'ST_TRAD', 'ST_URAD'}
    | {'QAI', 'OVV', 'HOT', 'DST', 'VZN'}  # FORCE
)


def is_ancillary(band: str | None) -> bool:
    """Tell whether a band that a file name holds is a mask or another companion of the bands."""
    return band is not None and (band.upper() in ANCILLARY_BANDS or band[:4].upper() == 'MSK_')


_YEAR, _MONTH, _DAY = r'(?:19|20)\d\d', r'(?:0[1-9]|1[0-2])', r'(?:0[1-9]|[12]\d|3[01])'
_HOUR, _SIXTY, _ORDINAL = r'(?:[01]\d|2[0-3])', r'[0-5]\d', r'[0-3]\d\d'
_CLOCK = _HOUR + _SIXTY + _SIXTY
_DATE = rf'(?<!\d){_YEAR}{_MONTH}{_DAY}'
#: Formats of dates by the number of their digits.
_FORMATS = {
    6: '%Y%m',
    7: '%Y%j',
    8: '%Y%m%d',
    11: '%Y%j%H%M',
    12: '%Y%m%d%H%M',
    13: '%Y%j%H%M%S',
    14: '%Y%m%d%H%M%S',
}
#: Patterns in groups: of the first group that fits the date that stands first in the name wins.
#: This is what makes a Landsat's or a MODIS granule's acquisition win over its processing date.
_DATES = tuple(
    tuple(map(re.compile, group))
    for group in (
        (
            # Sentinel-2 until 2016, V for validity, behind the date of processing.
            rf'_V({_YEAR}{_MONTH}{_DAY})T({_CLOCK})(?!\d)',
            # Planet writes date_time_..., and only at the very start: elsewhere six digits after
            # a date are a path and row, a version or an orbit.
            rf'^({_YEAR}{_MONTH}{_DAY})_({_CLOCK})(?!\d)',
            # MODIS and VIIRS granules, A for acquisition, before the date of processing.
            rf'(?<![A-Za-z0-9])A({_YEAR}{_ORDINAL})(?:\.({_HOUR}{_SIXTY}))?(?!\d)',
        ),
        (
            rf'(?<!\d)({_YEAR}{_ORDINAL})[Tt]({_CLOCK})(?!\d)',
            # With milliseconds: MAJA.
            rf'({_DATE})(?:[Tt]?({_CLOCK})|[Tt]?({_HOUR}{_SIXTY})|-({_CLOCK})(?=-\d{{3}}(?!\d)))?(?!\d)',
            # A second date behind _ is no clock: 2020-08-28_2020-09-12, 2020-08-28_202009.
            rf'(?<!\d)({_YEAR})([-_.])({_MONTH})\2({_DAY})'
            rf'(?:(?<=-\d\d)(?:[Tt]|_(?!20{_SIXTY}{_MONTH}(?!\d)))({_HOUR})([:-]?)({_SIXTY})\6({_SIXTY}))?'
            r'(?!\d)',
        ),
        (
            # Landsat before its collections: LC81980252018214LGN00.
            rf'(?<![A-Za-z0-9])L[COTEM]\d\d{{6}}({_YEAR}{_ORDINAL})[A-Z]{{3}}\d\d',
            rf'(?<!\d)({_YEAR}{_ORDINAL})(?!\d)',
            rf'(?<![A-Za-z0-9])({_YEAR})_({_ORDINAL})(?![A-Za-z0-9])',  # MODIStsp
        ),
        (
            # Months: no path and row of Landsat, no part of a day that does not exist.
            rf'(?<![A-Za-z0-9])({_YEAR})[-_.]({_MONTH})(?![A-Za-z0-9])'
            r'(?![-_.]\d\d?(?![A-Za-z0-9]))',
            rf'(?<![A-Za-z0-9])({_YEAR}{_MONTH})(?![A-Za-z0-9])',
        ),
    )
)
#: What stands before a date of processing.
_PROCESSED = re.compile(
    r'(?:proc(?:ess(?:ed|ing))?|creat(?:ed|ion)|generated|prod(?:uced)?)[-_]?$', re.I
)
#: What stands before six digits that are a path and row.
_LANDSAT = re.compile(r'(?<![A-Za-z0-9])L[COTEM]0?\d_(?:L\w{3}_)?$')

_BAND = re.compile(
    r'(?<![A-Za-z0-9])(MSK_[A-Z]+(?:_B\d[0-9A])?|B6_VCID_[12]|'
    + '|'.join(sorted(ANCILLARY_BANDS, key=len, reverse=True))
    + r'|(?:SR_|ST_)?B\d{1,2}A?|Band_?\d{1,2}'
    r'|coastal(?:_blue)?|blue|green_?i?|yellow|red|red_?edge_?\d?|nir(?:08|09)?|swir_?(?:16|22|\d)?|mir'
    r'|pan|thermal|lst|VV|VH|HH|HV|NDVI|EVI2?|NDWI|NDMI|NDSI|NBR2?|SAVI|LAI|FAPAR|FCOVER'
    r')(?![A-Za-z0-9])',
    re.IGNORECASE,
)


def is_band(text: str) -> bool:
    """Tell whether a text is the name of a band that :func:`parse_name` finds, and no more."""
    return _BAND.fullmatch(text) is not None


_RESOLUTION = re.compile(r'[_-]\d{1,4}m$', re.IGNORECASE)
_LAST_OF_SECOND = pd.Timedelta(microseconds=999_999)
_LAST_OF_MINUTE = pd.Timedelta(minutes=1) - pd.Timedelta(microseconds=1)
_LAST_OF_DAY = pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RasterName:
    """Date, band and product in a file name, as :func:`parse_name` found them.

    Attributes:
        time: Acquisition, UTC without a zone; midnight where the name holds a date only.
        stop: Last microsecond that the name may mean: the end of the day for a date, that of
            the month for a month.
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

    Without *filename_regex* the common names are understood (:data:`KNOWN_NAMES`). Of two
    dates the first counts: the second is that of processing, or the end of a composite. A file
    without a date in its name (``.../S2A_31UES_20180802/B04.tif``, ``.../2018/08/02/B04.tif``)
    takes that of its folder.

    Args:
        path: Path of the file; it is not opened.
        filename_regex: Regular expression (verbose, matched from the start of the file name)
            with the groups ``date``, or ``start`` and ``stop``, and where bands are in files
            of their own ``band``, as in :class:`torchgeo.datasets.RasterDataset`.
        date_format: Format of these groups, see :meth:`datetime.datetime.strptime`.

    Returns:
        What was found, or None where there is no date in the name.

    Raises:
        SITSError: If a date that *filename_regex* found does not fit *date_format*, or without
            it a folder that is named by a day, or as a product, is of another day than the file.

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
    if filename_regex is not None:
        return _parse_with(filename_regex, date_format, PurePath(path).name)

    return _parse(path)[0]


def parse_names(
    paths: Iterable[str],
    *,
    filename_regex: str | None = None,
    date_format: str = '%Y%m%d',
) -> dict[str, RasterName | None]:
    """Read date, band and product off the names of the files of a collection.

    Args:
        paths: Paths of the files.
        filename_regex: See :func:`parse_name`.
        date_format: See :func:`parse_name`.

    Returns:
        What :func:`parse_name` finds in each, but that a file without a date of its own takes
        that of its folder only where no file there has one: a DEM beside dated images has none.

    Raises:
        SITSError: As :func:`parse_name`.
    """
    if filename_regex is not None:
        return {p: _parse_with(filename_regex, date_format, PurePath(p).name) for p in paths}
    found = {path: _parse(path) for path in paths}
    names = {path: name for path, (name, _) in found.items()}
    borrowed = [path for path, (_, by_folder) in found.items() if by_folder]
    if borrowed:
        dated = {os.path.dirname(path) for path, (name, lent) in found.items() if name and not lent}
        names |= dict.fromkeys(path for path in borrowed if os.path.dirname(path) in dated)
    return names


def _parse(path: str) -> tuple[RasterName | None, bool]:
    """Parse a common name; also tell whether the date is that of the folder."""
    folder, name = os.path.split(path)
    stem = name.rsplit('.', 1)[0]
    bands = list(_BAND.finditer(stem))
    band = bands[-1] if bands else None  # the last: a site may be called `Red_River`
    found = _find_time(stem)
    by_folder = found is None
    if found is None:
        found = _time_of_folder(folder, band is not None)
        if found is None:
            return None, False
    elif (days := _days_of_folder(folder)) is not None:
        _require_day(path, found[0], days)
    time, stop = found
    if band is None:
        return RasterName(time, stop, None, stem), by_folder
    product = _RESOLUTION.sub('', stem)
    product = product[: band.start()] + '*' + product[band.end() :]
    return RasterName(time, stop, band.group(1), product), by_folder


@lru_cache(1 << 14)
def parse_description(text: str) -> tuple[RasterName, str] | None:
    """Read date and band off the description of a band, where one file holds many dates.

    Args:
        text: Description, such as ``20200101_B2``, ``2020-01-01`` or that of Earth Engine's
            ``toBands()``, ``20200101T105421_20200101T105420_T31UES_B2``.

    Returns:
        Its date, with what else the description says as ``product``, and the name of the band,
        empty where it holds none; None where there is no date.

    Examples:
        >>> from torchgeo_sits.datasets.filenames import parse_description
        >>> name, band = parse_description('3_20200101_B2')
        >>> name.time, name.product, band
        (Timestamp('2020-01-01 00:00:00'), '', 'B2')
    """
    text = text.strip()
    found = _find_time(text)
    if found is None:
        return None
    rest = _LEADING_NUMBERS.sub('', _ANY_DATE.sub('_', text)).strip(' _-.:')
    rest = _LEADING_NUMBERS.sub('', re.sub('_{2,}', '_', rest))
    bands = list(_BAND.finditer(rest))
    if not bands:
        return RasterName(*found, None, ''), rest
    band = bands[-1]
    product = (rest[: band.start()] + rest[band.end() :]).strip(' _-.:')
    return RasterName(*found, None, product), band.group(1)


#: Dates and clocks in descriptions, whatever they date.
_ANY_DATE = re.compile(
    rf'(?<!\d){_YEAR}(?:[-_.]?{_MONTH}(?:[-_.]?{_DAY})?|{_ORDINAL})'
    rf'(?:[Tt _]{_HOUR}:?{_SIXTY}(?::?{_SIXTY})?(?:\.\d+)?Z?)?(?!\d)'
)
#: The numbers that Earth Engine's toBands() and merges put before a description.
_LEADING_NUMBERS = re.compile(r'^(?:\d+_)+')


#: Folders by year, month and day, as ``tiles/31/U/ES/2018/8/2/0/R10m``.
_CALENDAR = re.compile(
    rf'(?:^|[/\\])({_YEAR})[/\\](0?[1-9]|1[0-2])[/\\](0?[1-9]|[12]\d|3[01])'
    r'(?:[/\\]\d{1,2})?(?:[/\\]R\d0m)?$'
)
#: Folders whose name is a day and nothing else, or that of a product.
_BARE_DAY = re.compile(rf'({_YEAR})([-_.]?)({_MONTH})\2({_DAY})')
_PRODUCT = re.compile(
    r'S2[A-D]_(?:MSIL\d\w|\d\d[A-Z]{3})_|L[COTEM]\d\d_L\w{3}_\d{6}_|HLS\.[LS]30\.'
)


@lru_cache(1 << 12)
def _time_of_folder(folder: str, is_band: bool) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Find the date of a file that has none; a file of a band may lie one folder deeper."""
    if days := _CALENDAR.search(folder):
        try:
            return _own_span(f'{days[1]}{int(days[2]):02d}{int(days[3]):02d}', '%Y%m%d')
        except ValueError:
            return None
    parent, name = os.path.split(folder)
    found = _find_time(name)
    if found is None and is_band:
        found = _find_time(os.path.basename(parent))
    return found


@lru_cache(1 << 12)
def _days_of_folder(folder: str) -> tuple[pd.Timestamp, str] | None:
    """Find the day that all files of a folder must be of, and how the folder says it."""
    name = os.path.basename(folder)
    calendar_days = _CALENDAR.search(folder)
    if calendar_days is None and not (_BARE_DAY.fullmatch(name) or _PRODUCT.match(name)):
        return None
    found = _time_of_folder(folder, False)
    if found is None:
        return None
    return found[0].normalize(), calendar_days[0] if calendar_days else name


def _require_day(path: str, time: pd.Timestamp, days: tuple[pd.Timestamp, str]) -> None:
    """Refuse a file whose name and folder are of two days.

    Raises:
        SITSError: If they are; a folder may hold the local day of a time in UTC.
    """
    day, folder = days
    apart = abs(time.normalize() - day)
    if apart == pd.Timedelta(0) or (time != time.normalize() and apart <= pd.Timedelta(days=1)):
        return
    raise SITSError(
        f"'{path}' is of {time:%Y-%m-%d} by its name and of {day:%Y-%m-%d} by its folder "
        f"'{folder}': rename the one that is wrong, or say by filename_regex where the date is"
    )


@lru_cache(1 << 16)
def _own_span(digits: str, form: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Find the ends of a date in a format of :data:`_FORMATS`: ten times as fast as pandas."""
    time = datetime.strptime(digits, form)
    if time.year != int(digits[:4]):  # strptime takes day 366 of a common year for 1 January
        raise SITSError(f'{digits} is no date')
    first = pd.Timestamp(time)
    if form.endswith('%m'):
        days = calendar.monthrange(time.year, time.month)[1]
        return first, first + pd.Timedelta(days=days) - pd.Timedelta(microseconds=1)
    last = {'%S': _LAST_OF_SECOND, '%M': _LAST_OF_MINUTE}.get(form[-2:], _LAST_OF_DAY)
    return first, first + last


@lru_cache(1 << 16)
def _span(date: str, form: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Find the first and last instant of a date in any format; bands and tiles often share one."""
    first, last = disambiguate_timestamp(date, form)
    return utc(first), utc(last)


def _find_time(stem: str) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Find the first and last instant that the date in *stem* may mean."""
    processed = None
    for group in _DATES:
        best: tuple[int, tuple[pd.Timestamp, pd.Timestamp]] | None = None
        for pattern in group:
            for match in pattern.finditer(stem):
                start = match.start()
                if best is not None and best[0] <= start:
                    break
                digits = ''.join(part for part in match.groups('') if part.isdigit())
                if len(digits) == 6 and _LANDSAT.search(stem[:start]):
                    continue
                try:
                    found = _own_span(digits, _FORMATS[len(digits)])
                except ValueError:  # 31 February, day 366 of a common year: not a date
                    continue
                if _PROCESSED.search(stem[:start]):
                    processed = processed or found
                    continue
                best = start, found
                break
        if best is not None:
            return best[1]
    return processed


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

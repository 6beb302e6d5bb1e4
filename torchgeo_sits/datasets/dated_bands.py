"""Files that hold many dates: dates and bands read off the descriptions of their bands."""

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from ..errors import SITSError
from .filenames import RasterName, parse_description

__all__ = ['DatedBands', 'split_dates']

#: What an image of such a file is, and its bands with their numbers in the file.
DatedBands = tuple[RasterName, dict[str, int]]

#: Numbers of dates without the dates: T1B1 as eo-learn writes, 0_B2 and B2_1 as Earth Engine does.
_NUMBER_FIRST = re.compile(r'(?:[Tt]_?(?=\d+)|(?=\d+_))(?P<date>\d+)_?(?P<band>[A-Za-z].*)')
_NUMBER_LAST = re.compile(r'(?P<band>.+?)(?:_[Tt]?(?P<date>\d+))?')


def split_dates(
    path: str, descriptions: Sequence[str], indexes: Sequence[int]
) -> list[DatedBands] | None:
    """Split the bands of a file by the dates that their descriptions hold.

    Args:
        path: The file, for messages.
        descriptions: What the file calls its bands, such as ``20200101_B2``.
        indexes: Numbers of these bands in the file.

    Returns:
        One entry per date, in the order of time, and for several images of one date (tiles, say)
        several; the name of the band is empty where descriptions hold a date alone. None where
        no description holds a date.

    Raises:
        SITSError: If only some descriptions hold a date, two are the same, or dates are numbered
            but not told.

    Examples:
        >>> from torchgeo_sits.datasets.dated_bands import split_dates
        >>> for name, bands in split_dates('x.tif', ['20200101_B2', '20200611_B2'], [1, 2]):
        ...     print(name.time, bands)
        2020-01-01 00:00:00 {'B2': 1}
        2020-06-11 00:00:00 {'B2': 2}
    """
    found = _parse(tuple(descriptions))
    if not any(found):
        if _numbers_dates(tuple(descriptions)):
            raise SITSError(
                f"'{path}' numbers dates in the names of its bands, such as '{descriptions[0]}' "
                f"and '{descriptions[-1]}', but does not tell them: write the dates into the "
                'descriptions, such as 20200101_B2, or write a file for each date'
            )
        return None
    images: dict[tuple[RasterName, str], dict[str, int]] = defaultdict(dict)
    for text, told, index in zip(descriptions, found, indexes, strict=True):
        if told is None:
            if len({name.time for name, _ in filter(None, found)}) < 2:
                return None  # such as `mean_2020`: the name of a band, not a date of it
            dated = next(t for t, told in zip(descriptions, found, strict=True) if told)
            raise SITSError(
                f"'{path}' holds bands with dates, such as '{dated}', and without, such as "
                f"'{text}': write the date of each band into its description, such as "
                '20200101_B2, or write a file for each date'
            )
        name, band = told
        bands = images[name, name.product]
        if band in bands:
            raise SITSError(
                f"'{path}' calls two bands '{text}': write the date and the name of each band "
                'into its description, such as 20200101_B2'
            )
        bands[band] = index
    ordered = sorted(images.items(), key=lambda item: (item[0][0].time, item[0][1]))
    return [(name, bands) for (name, _), bands in ordered]


@lru_cache(1 << 10)
def _parse(descriptions: tuple[str, ...]) -> tuple[tuple[RasterName, str] | None, ...]:
    """Parse all descriptions of a file, which many files share."""
    return tuple(parse_description(text) for text in descriptions)


@lru_cache(1 << 10)
def _numbers_dates(descriptions: tuple[str, ...]) -> bool:
    """Tell whether descriptions number dates: each number has the same bands."""
    for pattern, fewest in ((_NUMBER_FIRST, 1), (_NUMBER_LAST, 2)):  # band_1, band_2 are bands
        bands_of: dict[str | None, list[str]] = defaultdict(list)
        for text in descriptions:
            if match := pattern.fullmatch(text.strip()):
                bands_of[match['date']].append(match['band'])
        sets = list(map(sorted, bands_of.values()))
        complete = sum(map(len, sets)) == len(descriptions) and all(own == sets[0] for own in sets)
        if complete and len(sets) > 1 and len(sets[0]) >= fewest:
            return True
    return False

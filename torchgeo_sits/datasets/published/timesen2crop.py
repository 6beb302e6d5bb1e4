"""TimeSen2Crop: pixels of Austrian fields, Sentinel-2 in a season, sixteen crops."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray

from ...errors import SITSError
from ...whole_files import whole_file
from ..cache_folder import cache_folder
from .base import About, Download, Part, Window, seconds_of
from .side_files import read_npy, told
from .tables import Rows, TableSeries, read_csv

__all__ = ['TimeSen2Crop']

_TRAIN = (
    '32TNT', '32TPT', '32TQT', '33TUM', '33TUN', '33TVM', '33TVN', '33TWM', '33TXN', '33UUP',
    '33UWP', '33UWQ', '33UXP',
)  # fmt: skip
_TEST = ('33UVP', '2019_33UVP')
#: Columns of a file, in small letters.
_COLUMNS = [b'b1', b'b2', b'b3', b'b4', b'b5', b'b6', b'b7', b'b8', b'b9', b'flag']


class _Listing(NamedTuple):
    """The files of a tile, ``class/number.csv``, in order, and what tells them from others."""

    classes: NDArray[np.int64]
    numbers: NDArray[np.int64]
    digest: str


class TimeSen2Crop(TableSeries):
    """TimeSen2Crop: 1.2 million pixels of 15 tiles of Austria, September 2017 to August 2018.

    Weikmann, Paris and Bruzzone, TimeSen2Crop: a million labeled samples dataset of Sentinel 2
    image time series for crop-type classification, IEEE JSTARS 2021,
    https://doi.org/10.1109/JSTARS.2021.3073965. Tile 33UVP is for the test and 33TWN for
    validation, as AnySat has it; whether the authors split alike was not verified.

    Each pixel is a file of its own. They are read once, tile by tile at first use, and kept as an
    array in the user's cache folder, or in that of the environment variable
    ``TORCHGEO_SITS_CACHE``, some 0.7 GB in all; it is made anew when the files change.

    Examples:
        >>> from torchgeo_sits.datasets.published import TimeSen2Crop
        >>> TimeSen2Crop.classes[2], TimeSen2Crop.band_names[6]
        ('maize', 'B8A')
    """

    about = About(
        title='TimeSen2Crop',
        sensor='Sentinel-2 L2A, 9 bands',
        labels='16 crops, by pixel without neighbours',
        size='1,212,224 pixels, 1.03 GB',
        licence='CC-BY-4.0',
        paper='https://doi.org/10.1109/JSTARS.2021.3073965',
        hosts=('https://zenodo.org/records/4715631',),
        dates='day',
        metric=('OverallAccuracy', 'AverageF1Score'),
        config='classification',
        downloads=(
            Download(
                'https://zenodo.org/records/4715631/files/TimeSen2Crop.zip?download=1',
                'b5b7aad3fef192e78252e11c9a0e5cb8',
                1_030_000_000,
            ),
        ),
    )
    band_names = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B8A', 'B11', 'B12')
    classes = (
        'legumes', 'grassland', 'maize', 'potato', 'sunflower', 'soy', 'winter barley',
        'winter caraway', 'rye', 'rapeseed', 'beet', 'spring cereals', 'winter wheat',
        'winter triticale', 'permanent plantation', 'other',
    )  # fmt: skip
    label_kind = 'series'
    marker: ClassVar[str] = '33[TU]*/dates.csv'

    def __init__(
        self,
        *args: Any,
        test_tile: Literal['33UVP', '2019_33UVP'] = '33UVP',
        **kwargs: Any,
    ) -> None:
        """Initialize a new TimeSen2Crop instance.

        Args:
            *args: As for :class:`~.base.PublishedTimeSeries`.
            test_tile: Tile of the test; '2019_33UVP' is the same place a season later.
            **kwargs: As for :class:`~.base.PublishedTimeSeries`.

        Raises:
            SITSError: If an argument is out of its range, or a tile is missing.
        """
        if test_tile not in _TEST:
            raise SITSError(f'unknown test_tile {test_tile!r}: expected one of {_TEST}')
        self.test_tile = test_tile
        self._days: dict[str, NDArray[np.int64]] = {}
        self._unkept: dict[str, NDArray[Any]] = {}
        super().__init__(*args, **kwargs)

    @cached_property
    def _listings(self) -> dict[str, _Listing]:
        """Files of the tiles of this part."""
        tiles: dict[Part, tuple[str, ...]] = {
            'train': _TRAIN,
            'val': ('33TWN',),
            'test': (self.test_tile,),
            'unlabelled': (),
        }
        return {tile: _list_tile(self.folder / tile) for tile in tiles[self.part]}

    def list_samples(self, part: Part) -> Sequence[tuple[str, int]]:
        """Tile, and place among its files, of each pixel."""
        return [
            (tile, row)
            for tile, listing in self._listings.items()
            for row in range(len(listing.classes))
        ]

    def files(self, key: tuple[str, int]) -> Sequence[Path]:
        """The file of the pixel, and the dates of its tile."""
        tile, row = key
        listing = self._listings[tile]
        name = f'{listing.classes[row]}/{listing.numbers[row]}.csv'
        return [self.folder / tile / name, self.folder / tile / 'dates.csv']

    def read_rows(self, key: tuple[str, int]) -> Rows:
        """Rows of a pixel, from the array of its tile."""
        tile, row = key
        path, dates = self.files(key)
        if tile not in self._days:
            self._days[tile] = _read_days(dates)
        array = self._array(tile)[row]
        if len(array) != len(self._days[tile]):
            raise SITSError(
                f"'{path}' has {len(array)} rows for the {len(self._days[tile])} dates of "
                f"'{dates}': fetch both again"
            )
        return Rows(array[:, :-1], self._days[tile], array[:, -1] == 0)

    def _array(self, tile: str) -> NDArray[Any]:
        """Pixels, dates and columns of a tile; in memory where no cache can be written."""
        if tile in self._unkept:
            return self._unkept[tile]
        folder, listing = self.folder / tile, self._listings[tile]
        try:
            return _array_of(folder, listing)
        except FileNotFoundError:
            raise
        except OSError as error:
            warnings.warn(
                f"tile {tile} of TimeSen2Crop cannot be kept in '{cache_folder()}' ({error}) and "
                'is read again each time: set the environment variable TORCHGEO_SITS_CACHE to a '
                'folder that can be written',
                UserWarning,
                stacklevel=4,
            )
            self._unkept[tile] = _read_files(folder, listing)
            return self._unkept[tile]

    def read_label(self, key: tuple[str, int], window: Window) -> NDArray[np.int64]:
        """Class of a pixel, by its folder."""
        return self._listings[key[0]].classes[key[1]]

    def sample_classes(self) -> NDArray[np.int64]:
        """Classes of the pixels, by their folders."""
        found = [listing.classes for listing in self._listings.values()]
        return np.concatenate([np.zeros(0, np.int64), *found])


def _list_tile(folder: Path) -> _Listing:
    """List the files of a tile, of which names and folders say whether they are still the same."""
    if not folder.is_dir():
        raise SITSError(f"'{folder}' does not exist, a tile of TimeSen2Crop: unpack it again")
    found: list[tuple[int, int]] = []
    told = hashlib.sha256()
    for label in range(len(TimeSen2Crop.classes)):
        inner = folder / str(label)
        if not inner.is_dir():
            continue
        with os.scandir(inner) as entries:
            names = [os.path.splitext(entry.name) for entry in entries]
        numbers = sorted(int(n) for n, ending in names if ending == '.csv' and n.isdecimal())
        found += [(label, number) for number in numbers]
        told.update(f'{label} {inner.stat().st_mtime_ns} {numbers}'.encode())
    table = np.array(found, np.int64).reshape(-1, 2)
    return _Listing(table[:, 0], table[:, 1], told.hexdigest()[:20])


def _read_days(path: Path) -> NDArray[np.int64]:
    """Dates of a tile, in the order of the rows."""
    texts = read_csv(path, ['acquisition_date'])['acquisition_date'].astype(str)
    try:
        return np.array([seconds_of(text.strip()) for text in texts], np.int64)
    except ValueError as error:
        raise SITSError(f"'{path}' holds a date that is none ({error}): fetch it again") from error


def _array_of(folder: Path, listing: _Listing) -> NDArray[Any]:
    """Pixels, dates and columns of a tile: from the cache, which is made where it lacks.

    Raises:
        OSError: If it cannot be written.
        SITSError: If a file is not as published.
    """
    place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:20]
    path = cache_folder() / f'timesen2crop-v1-{place}-{listing.digest}.npy'
    try:
        return _mapped(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (EOFError, ValueError):  # cut off
        path.unlink(missing_ok=True)
    with FileLock(path.with_name(f'timesen2crop-{place}.lock')):  # one worker reads, others wait
        if not path.exists():
            array = _read_files(folder, listing)
            for older in path.parent.glob(f'timesen2crop-v1-{place}-*.npy'):
                older.unlink(missing_ok=True)
            with whole_file(path) as draft:
                np.save(draft, array)
    return _mapped(path)


@lru_cache(maxsize=32)
def _mapped(path: Path) -> NDArray[Any]:
    """An array on the disk, of which only what is asked for is read."""
    return read_npy(path)


def _read_files(folder: Path, listing: _Listing) -> NDArray[Any]:
    """Read all files of a tile, those of a class at once: opening them takes longest."""
    arrays: list[NDArray[Any]] = []
    length = None
    for label in np.unique(listing.classes):
        bodies = []
        for number in listing.numbers[listing.classes == label]:
            path = folder / f'{label}/{number}.csv'
            header, _, body = path.read_bytes().replace(b' ', b'').strip().partition(b'\n')
            if header.strip().lower().split(b',') != _COLUMNS:
                raise SITSError(
                    f"'{path}' begins with {header[:80]!r}, expected the columns B1 to B9 and "
                    'Flag: fetch it again'
                )
            rows = body.count(b'\n') + 1
            if rows != (length := length or rows):
                raise SITSError(
                    f"'{path}' has {rows} rows, files before it in its tile have {length}: fetch "
                    'it again'
                )
            bodies.append(body)
        try:
            table = pd.read_csv(BytesIO(b'\n'.join(bodies)), header=None, dtype=np.float32)
            shape = len(bodies), length or 0, len(_COLUMNS)
            arrays.append(table.to_numpy().reshape(shape))
        except (ValueError, pd.errors.ParserError) as error:
            raise SITSError(
                f"a file in '{folder / str(label)}' is no table of {len(_COLUMNS)} numbers a row "
                f'({told(error)}): fetch it again'
            ) from error
    found = np.concatenate(arrays)
    whole = found.astype(np.uint16, casting='unsafe')
    return whole if np.array_equal(whole, found) else found

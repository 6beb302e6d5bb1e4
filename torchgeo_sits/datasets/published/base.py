"""Base of the published data sets: what is said of one, and its samples in the batch contract."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torchgeo.datasets import DatasetNotFoundError, NonGeoDataset
from torchgeo.datasets.utils import Path as PathLike
from torchgeo.datasets.utils import Sample, download_url, extract_archive

from ...errors import SITSError, SITSIndexError
from ...keys import ACQUISITION_TIMES, IMAGE, LABEL, LENGTH, MASK, MASK_CLEAR, S1_KEYS, VALID
from ..frames import within_range
from ..plotting import plot_pixel, plot_series
from .side_files import told

__all__ = [
    'PARTS',
    'About',
    'Download',
    'LabelKind',
    'Part',
    'PublishedDataNotFoundError',
    'PublishedTimeSeries',
    'StoredSeries',
    'Window',
    'join_series',
    'seconds_of',
]

#: Parts of a data set: its official split, and what has no labels.
Part = Literal['train', 'val', 'test', 'unlabelled']
PARTS: Final[tuple[Part, ...]] = ('train', 'val', 'test', 'unlabelled')

#: What a label belongs to: a pixel, a pixel of each frame, or the whole series, which has one
#: class, several, or a measured value; a pixel may have a measured value, too.
LabelKind = Literal['pixel', 'frame', 'series', 'multilabel', 'value', 'pixel_value', 'none']

#: Rows and columns of a sample.
Window = tuple[slice, slice]

#: What reading a file raises that holds something else than its reader takes for given.
_UNEXPECTED = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)
#: Seconds of the years 1900 and 2200: what lies beyond is no date but another number.
_DATES = (-2_208_988_800, 7_258_118_400)


@dataclass(frozen=True)
class Download:
    """A file of a data set, as its host has it.

    Attributes:
        url: Where it is.
        md5: Its MD5, in hexadecimal digits; None where none is published.
        size: Its size in bytes, as published; None where none is.
    """

    url: str
    md5: str | None
    size: int | None


@dataclass(frozen=True)
class About:
    """What is said of a data set.

    Attributes:
        title: Its name, as its authors write it.
        sensor: Satellites and bands.
        labels: Number of classes and what they are of.
        size: Number of samples and size of the download.
        licence: Licence of the data; 'not stated' where none was found.
        paper: Address of the paper.
        hosts: Where it can be had.
        dates: How exactly the dates are known.
        metric: Scores of the authors' protocol, by the names that tasks log.
        config: The configuration of the task that goes with its labels.
        downloads: Files that ``download=True`` fetches; none where a person has to.
    """

    title: str
    sensor: str
    labels: str
    size: str
    licence: str
    paper: str
    hosts: tuple[str, ...]
    dates: Literal['second', 'day', 'month', 'month of any year', 'order']
    metric: tuple[str, ...]
    config: str
    downloads: tuple[Download, ...] = ()


class StoredSeries(NamedTuple):
    """The frames of a sample as its files have them.

    Attributes:
        values: ``(T, C, H, W)``, all bands in the order of ``band_names``, stored units.
        times: ``(T,)`` int64, seconds since 1970-01-01 UTC, in any order.
        clear: ``(T, H, W)`` bool, True where no cloud, shadow or snow is marked; None where
            nothing is marked.
    """

    values: NDArray[Any]
    times: NDArray[np.int64]
    clear: NDArray[np.bool_] | None = None


def join_series(parts: Sequence[StoredSeries]) -> StoredSeries:
    """Put series of one place into one, such as both orbits of Sentinel-1.

    Args:
        parts: Series of the same bands and size; of none of them clouds are marked.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.published import StoredSeries, join_series
        >>> one = StoredSeries(np.zeros((2, 1, 4, 4)), np.array([0, 86400]))
        >>> join_series([one, one]).values.shape
        (4, 1, 4, 4)
    """
    values = np.concatenate([part.values for part in parts])
    return StoredSeries(values, np.concatenate([part.times for part in parts]))


@lru_cache(maxsize=2**16)  # samples of a data set share their dates
def seconds_of(date: str, pattern: str = '%Y%m%d') -> int:
    """Seconds since 1970-01-01 UTC of a date.

    Args:
        date: The date.
        pattern: How it is written, see :meth:`datetime.datetime.strptime`.

    Raises:
        ValueError: If it is not written so.

    Examples:
        >>> from torchgeo_sits.datasets.published import seconds_of
        >>> seconds_of('1970-01-02', '%Y-%m-%d')
        86400
    """
    return int(datetime.strptime(date, pattern).replace(tzinfo=UTC).timestamp())


class PublishedDataNotFoundError(DatasetNotFoundError):
    """A published data set that is not where it was looked for."""

    def __init__(self, dataset: 'PublishedTimeSeries') -> None:
        """Initialize a new PublishedDataNotFoundError instance.

        Args:
            dataset: The data set.
        """
        about = dataset.about
        how = 'download=True fetches it' if about.downloads else 'it is to be fetched by hand'
        FileNotFoundError.__init__(
            self,
            f"{about.title} was not found in '{dataset.root}' (nothing there is called "
            f"'{dataset.marker}'): give its folder as root. It is at {' or '.join(about.hosts)} "
            f'({about.size}); {how}',
        )


class PublishedTimeSeries(NonGeoDataset, ABC):
    """Base class of published data sets of image time series.

    A subclass of one of the families (:class:`~.tables.TableSeries`,
    :class:`~.dated_files.DatedFiles`, ...) declares what is said of a data set, and where its
    parts, dates and labels are. This class makes samples of that, see
    :mod:`torchgeo_sits.keys`: frames in chronological order, pixels without data and, where
    marked, clouds as not clear, labels counted from 0 with -1 for none.

    Attributes:
        samples: Keys of the samples of this part, in their order.
    """

    about: ClassVar[About]
    #: All bands, in the order of the files.
    band_names: tuple[str, ...]
    #: Names of the classes, by the value of a label.
    classes: tuple[str, ...] = ()
    label_kind: LabelKind
    #: Unit of measured values.
    unit: ClassVar[str | None] = None
    #: Values that mean no data, in all bands.
    nodata: tuple[float, ...] = ()
    #: The authors' normalisation, by band; None measures it on the training part.
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    #: Bands of Sentinel-1 beside the images, and their normalisation.
    band_names_s1: tuple[str, ...] = ()
    mean_s1: tuple[float, ...] | None = None
    std_s1: tuple[float, ...] | None = None
    #: A file or folder, as a pattern, that tells the folder of the data set.
    marker: ClassVar[str]
    #: Official number of samples of each part, where it is published.
    official: ClassVar[Mapping[Part, int]] = {}

    def __init__(
        self,
        root: PathLike = 'data',
        part: Part = 'train',
        *,
        bands: Sequence[str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new instance.

        Args:
            root: The folder of the data set, or one above it.
            part: Part of the official split; 'unlabelled' is what is published without labels.
            bands: Names of the bands to read. Defaults to all.
            transforms: Applied to each sample.
            download: Download what is not there, where the host lets programs do so.
            checksum: Check the MD5 of what is downloaded.

        Raises:
            DatasetNotFoundError: If nothing is found, and *download* is False.
            SITSError: If an argument is out of its range, or files are not as published.
        """
        if part not in PARTS:
            raise SITSError(f'unknown part {part!r}: expected one of {PARTS}')
        every = self.band_names
        if bands is not None and (odd := [name for name in bands if name not in every]):
            raise SITSError(f'{self.about.title} has no bands {odd}: expected some of {every}')
        if bands is not None and not bands:
            raise SITSError(f'bands=[] leaves no band: expected some of {every}')
        if bands is not None and (twice := {name for name in bands if bands.count(name) > 1}):
            raise SITSError(f'bands={list(bands)} has {sorted(twice)} twice: name each once')
        self.root = Path(root)
        self.part: Part = part
        self.bands = tuple(every if bands is None else bands)
        self._channels = [every.index(name) for name in self.bands]
        self.transforms = transforms
        self.folder = self._find_folder(download, checksum)
        try:
            self.samples = list(self.list_samples(part))
        except FileNotFoundError as error:
            raise SITSError(
                f"'{error.filename or error}' is missing, which the part {part!r} of "
                f'{self.about.title} is listed by: fetch it, or look at the arguments'
            ) from error
        except SITSError:
            raise
        except _UNEXPECTED as error:
            raise SITSError(
                f"what '{self.folder}' says of the part {part!r} is not as {self.about.title} is "
                f'published ({type(error).__name__}: {told(error)}): fetch its lists again'
            ) from error

    @classmethod
    def find_in(cls, root: PathLike) -> Path | None:
        """Find the folder of the data set.

        Args:
            root: Where to look: itself, and up to two levels below.

        Returns:
            The folder, or None.
        """
        root = Path(root)
        if not root.is_dir():
            return None
        inner = [folder for folder in sorted(root.glob('*')) if folder.is_dir()]
        below = [path for one in inner for path in sorted(one.glob('*')) if path.is_dir()]
        for folder in (root, *inner, *below):
            if next(folder.glob(cls.marker), None) is not None:
                return folder
        return None

    # -- what a data set says --------------------------------------------------------------

    @abstractmethod
    def list_samples(self, part: Part) -> Sequence[Any]:
        """Keys of the samples of a part; none where the data set has no such part.

        Args:
            part: The part.

        Raises:
            SITSError: If a file that says so is not as published.
        """

    @abstractmethod
    def files(self, key: Any) -> Sequence[Path]:
        """Files of a sample, which all must be there.

        Args:
            key: One of :attr:`samples`.
        """

    @abstractmethod
    def read_series(self, key: Any, window: Window) -> StoredSeries:
        """Read the frames of a sample.

        Args:
            key: One of :attr:`samples`.
            window: Rows and columns.

        Raises:
            SITSError: If a file is not as published.
        """

    @abstractmethod
    def read_label(self, key: Any, window: Window) -> NDArray[Any]:
        """Read the label of a sample.

        Args:
            key: One of :attr:`samples`.
            window: Rows and columns.

        Returns:
            By ``label_kind``: 'pixel' ``(H, W)`` and 'frame' ``(T, H, W)`` integers, the latter
            in the order of the frames of :meth:`read_series`; 'series' ``()`` an integer;
            'multilabel' ``(K,)`` of 0 and 1; 'value' ``()`` and 'pixel_value' ``(H, W)``
            floating point. Negative integers and NaN are no label.
        """

    @abstractmethod
    def size(self, key: Any) -> tuple[int, int]:
        """Height and width of a sample in pixels.

        Args:
            key: One of :attr:`samples`.
        """

    def read_series_s1(self, key: Any, window: Window) -> StoredSeries | None:
        """Read the frames of Sentinel-1 beside a sample; None where it has none.

        Args:
            key: One of :attr:`samples`.
            window: Rows and columns.
        """
        return None

    def sample_classes(self) -> NDArray[np.int64]:
        """Class of each sample ``(N,)``, -1 for none; of data sets with a class for a series."""
        whole = slice(None), slice(None)
        return np.array([int(self.read_label(key, whole)) for key in self.samples], np.int64)

    # -- samples ---------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of samples of this part."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Args:
            index: Its position.

        Returns:
            The sample, see :meth:`read`.

        Raises:
            SITSIndexError: If there is no such sample.
            SITSError: If a file is missing or not as published.
        """
        return self.read(index)

    def read(self, index: int, window: Window | None = None) -> Sample:
        """Read a window of a sample.

        Args:
            index: Its position.
            window: Rows and columns; None is the whole sample.

        Returns:
            ``image`` ``(T, C, H, W)`` float32 in stored units, 0 where there is no data,
            ``acquisition_times``, ``valid`` ``(T,)``, ``mask_clear`` ``(T, H, W)``, ``length``,
            those of Sentinel-1 with ``_s1`` behind where the data set has any, and ``mask`` or
            ``label`` as :attr:`label_kind` says; single pixels have both.

        Raises:
            SITSIndexError: If there is no such sample.
            SITSError: If a file is missing or not as published.
        """
        if not -len(self) <= index < len(self):
            raise SITSIndexError(f'there is no sample {index} among {len(self)}')
        key = self.samples[index]
        rows, columns = window or (slice(None), slice(None))
        try:
            stored = self.read_series(key, (rows, columns))
            sample = self._to_sample(key, stored, self._channels)
            order = np.argsort(stored.times, kind='stable')
            if self.band_names_s1:
                sample |= self._read_beside(key, (rows, columns), sample)
            if self.part != 'unlabelled' and self.label_kind != 'none':
                sample |= self._read_labels(key, (rows, columns), order, stored.values.shape[-2:])
        except FileNotFoundError as error:
            raise SITSError(
                f"'{error.filename or error}' is missing, a file of sample {key!r} of "
                f'{self.about.title}: fetch it again'
            ) from error
        except SITSError:
            raise
        except _UNEXPECTED as error:
            raise SITSError(
                f'sample {key!r} of {self.about.title} is not as published '
                f'({type(error).__name__}: {told(error)}): fetch its files again'
                f'{self._named_files(key)}'
            ) from error
        return sample if self.transforms is None else self.transforms(sample)

    def plot(self, sample: Sample, show_titles: bool = True, suptitle: str | None = None) -> Figure:
        """Draw the frames of a sample with their dates, or a single pixel over time.

        Args:
            sample: A sample.
            show_titles: Not used: dates are always shown.
            suptitle: Title of the figure.

        Returns:
            The figure.
        """
        alone = sample[MASK_CLEAR].shape[-2:] == (1, 1)
        figure = (plot_pixel if alone else plot_series)(sample, self.bands)
        if suptitle is not None:
            figure.suptitle(suptitle)
        return figure

    def _named_files(self, key: Any) -> str:
        """The first files of a sample and the last, of its labels, for a message."""
        try:
            files = list(self.files(key))
        except _UNEXPECTED:
            return ''
        named = [f"'{path}'" for path in files]
        if len(named) > 3:
            named[2:-1] = [f'{len(named) - 3} more']
        return f', {", ".join(named)}' if named else ''

    def _to_sample(self, key: Any, stored: StoredSeries, channels: Sequence[int]) -> dict[str, Any]:
        """Frames in chronological order, and what of them is clear."""
        values = np.asarray(stored.values)
        if values.ndim != 4 or len(values) != len(stored.times) or not len(values):
            raise SITSError(
                f'{self.about.title}: {len(stored.times)} dates go with values of the shape '
                f'{values.shape}: expected one frame (C, H, W) for each date, and one at least'
                f'{self._named_files(key)}'
            )
        if values.dtype.kind not in 'biuf':
            raise SITSError(
                f'{self.about.title}: values are of the type {values.dtype}, expected numbers: '
                f'fetch the files again{self._named_files(key)}'
            )
        if (odd := (stored.times < _DATES[0]) | (stored.times > _DATES[1])).any():
            raise SITSError(
                f'{self.about.title}: {int(odd.sum())} of {len(odd)} dates are none, such as '
                f'{stored.times[odd][0]} seconds since 1970: fetch the files again'
                f'{self._named_files(key)}'
            )
        order = np.argsort(stored.times, kind='stable')
        # Copies of a whole series take longer than reading it: none but those that are needed.
        chosen = values if (np.diff(order) == 1).all() else values[order]
        if list(channels) != list(range(values.shape[1])):
            chosen = chosen[:, channels]
        with np.errstate(over='ignore'):  # what is too large is not seen
            pixels = np.array(chosen, np.float32)
        marks = [chosen == value for value in self.nodata]
        if chosen.dtype.kind == 'f':
            marks.append(~within_range(pixels))
        clear = np.ones((len(pixels), *pixels.shape[2:]), bool)
        for missing in marks:
            if missing.any():
                pixels[missing] = 0
                clear &= ~missing.any(axis=1)
        if stored.clear is not None:
            clear &= stored.clear[order]
        return {
            IMAGE: torch.from_numpy(pixels),
            ACQUISITION_TIMES: torch.from_numpy(stored.times[order].astype(np.int64)),
            VALID: torch.ones(len(pixels), dtype=torch.bool),
            LENGTH: torch.tensor(len(pixels)),
            MASK_CLEAR: torch.from_numpy(clear),
        }

    def _read_beside(self, key: Any, window: Window, sample: dict[str, Any]) -> dict[str, Any]:
        """The frames of Sentinel-1; one that is not valid where there is none."""
        every = range(len(self.band_names_s1))
        if (stored := self.read_series_s1(key, window)) is not None and len(stored.times):
            found = self._to_sample(key, stored, every)
            if (own := found[IMAGE].shape[-2:]) != (size := sample[IMAGE].shape[-2:]):
                raise SITSError(
                    f'{self.about.title}, sample {key!r}: Sentinel-1 has the size {tuple(own)}, '
                    f'expected {tuple(size)} as the images: fetch the files again'
                    f'{self._named_files(key)}'
                )
        else:
            shape = (1, len(every), *sample[IMAGE].shape[-2:])
            empty = StoredSeries(np.zeros(shape), np.zeros(1, np.int64))
            found = self._to_sample(key, empty, every)
            found[VALID] = torch.zeros(1, dtype=torch.bool)
            found[MASK_CLEAR] = torch.zeros_like(found[MASK_CLEAR])
        return {name: found[own] for own, name in S1_KEYS.items()}

    def _read_labels(
        self, key: Any, window: Window, order: NDArray[np.intp], shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """``mask`` or ``label`` of a sample."""
        kind, label = self.label_kind, np.asarray(self.read_label(key, window))
        if kind in ('value', 'pixel_value', 'multilabel'):
            with np.errstate(over='ignore'):  # what is too large is none
                values = label.astype(np.float32)
            found = torch.from_numpy(np.where(within_range(values), values, np.float32(np.nan)))
            if kind == 'multilabel' and not ((found == 0) | (found == 1)).all():
                raise SITSError(
                    f'{self.about.title}, sample {key!r}: labels are {found.tolist()}, expected 0 '
                    f'or 1 for each class: fetch the files again{self._named_files(key)}'
                )
        else:
            if label.dtype.kind not in 'biu':
                raise SITSError(
                    f'{self.about.title}, sample {key!r}: labels are of the type {label.dtype}, '
                    f'expected whole numbers: fetch the files again{self._named_files(key)}'
                )
            found = torch.from_numpy(np.where(label < 0, -1, label).astype(np.int64))
            if len(self.classes) <= (largest := int(found.max()) if found.numel() else -1):
                raise SITSError(
                    f'{self.about.title}, sample {key!r}: the label {largest} is none of the '
                    f'{len(self.classes)} classes: fetch the files again'
                    f'{self._named_files(key)}'
                )
        expected = {
            'pixel': shape,
            'pixel_value': shape,
            'frame': (len(order), *shape),
            'multilabel': (len(self.classes),),
        }.get(kind, ())
        if tuple(found.shape) != tuple(expected):
            raise SITSError(
                f'{self.about.title}, sample {key!r}: labels have the shape '
                f'{tuple(found.shape)}, expected {tuple(expected)}: fetch the files again'
                f'{self._named_files(key)}'
            )
        if kind == 'frame':
            found = found[torch.from_numpy(order)]
        if kind in ('pixel', 'pixel_value', 'frame'):
            return {MASK: found}
        # A pixel without neighbours serves tasks on pixels as well.
        alone = tuple(shape) == (1, 1) and kind != 'multilabel'
        return {LABEL: found, **({MASK: found.reshape(1, 1)} if alone else {})}

    # -- files -----------------------------------------------------------------------------

    def _find_folder(self, download: bool, checksum: bool) -> Path:
        """The folder that holds the marker: the root, or one up to two levels below it."""
        if (found := self.find_in(self.root)) is not None:
            return found
        about = self.about
        if download and about.downloads:
            for file in about.downloads:
                size = '' if file.size is None else f' ({file.size / 1e9:.2f} GB)'
                print(f'{about.title}: fetching {file.url}{size}')
                name = self.root / file.url.rpartition('/')[2].partition('?')[0]
                md5 = file.md5 if checksum else None
                try:
                    download_url(file.url, self.root, name.name, md5=md5)
                except RuntimeError as error:
                    raise SITSError(
                        f"'{name}' has another MD5 than {md5}, the published one: fetch it again, "
                        'or give checksum=False'
                    ) from error
                if name.suffix in ('.zip', '.tar', '.gz', '.tgz'):
                    extract_archive(name, self.root)
            if (found := self.find_in(self.root)) is not None:
                return found
        if download:
            raise SITSError(
                f'{about.title} cannot be downloaded from here: fetch it by hand from '
                f'{" or ".join(about.hosts)} ({about.size}), and give its folder as root'
            )
        raise PublishedDataNotFoundError(self)

"""Data module of the published data sets, by their splits and the authors' normalisation."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchgeo.datamodules import NonGeoDataModule
from torchgeo.datasets.utils import Sample

from ..collate import pad_time
from ..datasets.plotting import plot_pixel
from ..datasets.published import LabelKind, Part, PublishedTimeSeries, find_dataset
from ..errors import SITSError
from ..keys import FRAME_KEYS, LABEL, LENGTH, MASK, MASK_CLEAR
from ..samplers import ShardedSampler
from ..transforms import s1_of
from .base import band_statistics, choose, given_statistics
from .fields import choose_fields
from .loader import DrawnSample, ShuffledSamples
from .options import LabelOptions
from .sentinel1 import Sentinel1DataModule

__all__ = ['PublishedDataModule']

#: Most samples that statistics are measured on, and values of labels.
_MEASURED = 256
#: Most samples of one pixel, and of more, that a k-NN probe looks up, and most that it scores.
_PROBED = {'table': 4096, 'image': 32}
#: Kinds of labels with a class for a series, several, or a value.
_WHOLE = ('series', 'multilabel', 'value')
#: Arguments of every data set, which the data module gives.
_OWN = {'root', 'part', 'bands', 'transforms', 'download', 'checksum'}
#: Kinds of labels that are classes.
_CLASSES = ('pixel', 'frame', 'series', 'multilabel')


class _Place(NamedTuple):
    """Where a sample is read."""

    #: Number of the data set.
    source: int
    #: Position in it.
    sample: int
    #: First row and column of the square; None draws it, or is the whole.
    corner: tuple[int, int] | None = None
    #: Rows and columns of it, from the first, that another square of the sample scores.
    scored: tuple[int, int] = (0, 0)


class _Samples(Dataset[Sample]):
    """Samples of one or more parts of a data set, whole or squares of them.

    Args:
        sources: The parts.
        places: Where samples are read.
        crop: Height and width of the square; None is the whole.
        num_dates: Number of dates to draw of each sample; None takes all.
        labelled: Whether samples have their labels.
        probed: Give the class of a series to each of its pixels, for a k-NN probe.
    """

    def __init__(
        self,
        sources: Sequence[PublishedTimeSeries],
        places: Sequence[_Place],
        *,
        crop: int | None = None,
        num_dates: int | None = None,
        labelled: bool = True,
        probed: bool = False,
    ) -> None:
        self.sources = list(sources)
        self.places = list(places)
        self.crop = crop
        self.num_dates = num_dates
        self.labelled = labelled
        self.probed = probed

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, item: int | DrawnSample) -> Sample:
        """Read a sample; one that is drawn, by its seed."""
        number, seed = item if isinstance(item, DrawnSample) else (item, None)
        place = self.places[number]
        source = self.sources[place.source]
        generator = None if seed is None else np.random.default_rng(seed)
        window = None
        if self.crop is not None:
            size = source.size(source.samples[place.sample])
            corner = place.corner or _corner(size, self.crop, generator)
            window = (
                slice(corner[0], min(corner[0] + self.crop, size[0])),
                slice(corner[1], min(corner[1] + self.crop, size[1])),
            )
        sample = source.read(place.sample, window)
        rows, columns = place.scored
        if (rows or columns) and MASK in sample:
            none = torch.nan if sample[MASK].is_floating_point() else PublishedDataModule.unlabelled
            sample[MASK][..., :rows, :] = none
            sample[MASK][..., :columns] = none
        if self.num_dates is not None and generator is not None:
            sample = _some_dates(sample, self.num_dates, generator)
        if not self.labelled:
            sample.pop(MASK, None)
            sample.pop(LABEL, None)
        if self.probed and MASK not in sample:
            sample[MASK] = sample[LABEL].expand(sample[MASK_CLEAR].shape[-2:]).clone()
        return sample


class PublishedDataModule(Sentinel1DataModule, NonGeoDataModule):
    """A published data set by its official split, in the normalisation of its authors.

    ``torchgeo-sits data list`` names the data sets. Training draws a square of *crop* pixels from
    each sample, and *num_dates* of its dates, where they are given; validation and test read all
    dates, and every pixel once, square by square. The labels decide which tasks fit: of pixels,
    of pixels in each frame, of whole series, of several classes, or measured values.

    Attributes:
        source: The class of the data set.

    Examples:
        >>> from torchgeo_sits.datamodules import PublishedDataModule
        >>> data = PublishedDataModule('breizhcrops', 'data/breizhcrops', bands=['B4', 'B8'])
        >>> data.class_names[3], data.in_channels, data.target
        ('corn', 2, 'field')
    """

    unlabelled = -1

    def __init__(
        self,
        dataset: str = 'breizhcrops',
        root: str = 'data',
        *,
        dataset_kwargs: dict[str, Any] | None = None,
        bands: list[str] | None = None,
        labels: LabelOptions = LabelOptions(),
        with_unlabelled: bool = False,
        crop: int | None = None,
        num_dates: int | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new PublishedDataModule instance.

        Args:
            dataset: Name of the data set, or the dotted path of a class of one's own.
            root: Its folder, or one above it.
            dataset_kwargs: Arguments of its own, such as ``{level: L2A}``.
            bands: Names of the bands to read. Defaults to all.
            labels: Labels to train on and to validate by: ``fields_per_class`` is a number of
                samples of each class, of data sets with a class for a series, and ``fraction``
                a share of the samples. With ``supervised`` training reads the labelled samples
                alone.
            with_unlabelled: Train on what is published without labels, too; samples of training
                have no labels then.
            crop: Height and width in pixels of the squares. None reads whole samples.
            num_dates: Number of dates that training draws of each sample, all where it has
                fewer. None reads all.
            batch_size: Number of samples in a batch.
            num_workers: Number of worker processes that read.
            seed: Seed of the choice of labels, of the order of samples and of what is drawn.
            mean: Mean of each band to normalise by, in stored units. Defaults to the authors'.
            std: Standard deviation of each band.
            download: Download what is not there, where the host lets programs do so.
            checksum: Check the MD5 of what is downloaded.

        Raises:
            SITSError: If an argument is out of its range or does not go with another.
        """
        for name, value, least in (
            ('crop', crop, 1),
            ('num_dates', num_dates, 1),
            ('batch_size', batch_size, 1),
            ('num_workers', num_workers, 0),
        ):
            if value is not None and value < least:
                raise SITSError(f'{name}={value}: expected {least} at least')
        if (mean is None) != (std is None):
            raise SITSError('give both mean and std, or neither')
        self.source = find_dataset(dataset)
        about = self.source.about
        labels.take_only(
            {'supervised', 'target', 'fields_per_class', 'fraction', 'kind', 'per_frame'},
            f'{about.title} brings labels of its own',
        )
        self._options = dataset_kwargs or {}
        if odd := sorted(_OWN & set(self._options)):
            raise SITSError(
                f'dataset_kwargs has {odd}, which are no arguments of one data set: give root, '
                'bands, download and checksum beside it, and leave out the others'
            )
        super().__init__(
            self.source,
            batch_size,
            num_workers,
            **self._options,
            root=root,
            bands=bands,
            download=download,
            checksum=checksum,
        )
        self.labels = labels
        self.with_unlabelled = with_unlabelled
        self.crop = crop
        self.num_dates = num_dates
        self.seed = seed
        self.collate_fn = pad_time
        self.task_config = None if self.source.label_kind == 'none' else about.config
        self._bands = bands
        self._parts: dict[Part, PublishedTimeSeries] = {}
        self._given = None if mean is None or std is None else (mean, std)

    # -- what is known before anything is read ---------------------------------------------

    @property
    def target(self) -> Literal['pixel', 'field']:  # type: ignore[override]
        """Whether labels are of pixels or of whole series."""
        return 'field' if self.label_kind in _WHOLE else 'pixel'

    @property
    def label_kind(self) -> LabelKind:
        """What a label belongs to; arguments of a data set may decide that."""
        return self._any.label_kind if self._options else self.source.label_kind

    @property
    def bands(self) -> list[str]:
        """Names of the bands, in the order of the channels."""
        if self._bands is not None:
            return list(self._bands)
        return list((self._any if self._options else self.source).band_names)

    @property
    def bands_s1(self) -> list[str]:
        """Names of the bands of Sentinel-1 beside them."""
        return list((self._any if self._options else self.source).band_names_s1)

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, from 0; None without classes."""
        known: type[PublishedTimeSeries] | PublishedTimeSeries = self.source
        # Arguments of a data set may decide that, or its files alone.
        if self._options or (not known.classes and self.label_kind in _CLASSES):
            known = self._any
        return list(known.classes) or None

    @property
    def training_data(self) -> dict[str, Any]:
        """Name of the data, in plain values, for the checkpoint."""
        return super().training_data | {'dataset': self.source.about.title}

    @property
    def target_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the measured values of up to 256 samples of training.

        Raises:
            SITSError: If labels are no measured values.
        """
        if self.label_kind not in ('value', 'pixel_value'):
            raise SITSError(
                f'a regression needs measured values, which {self.source.about.title} has not: '
                f'use conf/{self.source.about.config}.yaml'
            )
        train, whole = self.part('train'), (slice(None), slice(None))
        keys = choose([train.samples[i] for i in self._labelled], _MEASURED, self.seed)
        found = [np.ravel(train.read_label(key, whole)).astype(np.float64) for key in keys]
        values = np.concatenate(found)
        values = values[np.isfinite(values)]
        if not len(values):
            raise SITSError(f'no sample for training of {self.source.about.title} has a value')
        return float(values.mean()), float(values.std())

    # -- samples ---------------------------------------------------------------------------

    def part(self, part: Part) -> PublishedTimeSeries:
        """Samples of a part, opened at first use.

        Args:
            part: The part.

        Raises:
            DatasetNotFoundError: If the data set is not found.
            SITSError: If an argument of the data set is out of its range.
        """
        if part not in self._parts:
            # Downloaded by prepare_data, in one process.
            options = {**self.kwargs, 'download': False}
            try:
                self._parts[part] = self.source(part=part, **options)
            except TypeError as error:
                raise SITSError(
                    f'{self.source.about.title} does not take '
                    f'dataset_kwargs={self._options}: {error}'
                ) from error
        return self._parts[part]

    def prepare_data(self) -> None:
        """Download the data set, if that is asked for and it is not there."""
        if self.kwargs['download']:
            self.source(**self.kwargs)

    def setup(self, stage: str) -> None:
        """Open the parts, and choose what is labelled.

        Args:
            stage: Either 'fit', 'validate', 'test', or 'predict'.

        Raises:
            SITSError: If training has no sample, or labels are not of what is asked for.
        """
        self._check_target()
        if stage == 'fit':
            self.train_dataset = train = self._train_samples()
            length = max(len(train), 10 * self.batch_size if self._are_tables else 0)
            self.train_sampler = ShardedSampler(
                ShuffledSamples(len(train), length, seed=self.seed), drop_last=True
            )
        if stage in ('fit', 'validate'):
            self.val_dataset = self._scored_samples('val')
        if stage in ('test', 'predict'):
            self.test_dataset = self._scored_samples('test')
            self.predict_dataset = self.test_dataset
        self._set_transforms()

    def val_dataloader(self) -> Any:
        """Samples for validation.

        Returns:
            The loader; an empty list where the data set holds none out.
        """
        assert isinstance(self.val_dataset, _Samples)
        return super().val_dataloader() if len(self.val_dataset) else []

    def test_dataloader(self) -> Any:
        """Samples for the test.

        Returns:
            The loader.

        Raises:
            SITSError: If the data set has none.
        """
        assert isinstance(self.test_dataset, _Samples)
        if not len(self.test_dataset):
            raise SITSError(
                f"{self.source.about.title} has no part for the test in '{self.root}': see "
                'torchgeo-sits data show for the parts that are there'
            )
        return super().test_dataloader()

    def probe_dataloaders(self) -> tuple[DataLoader[Any], DataLoader[Any]] | None:
        """Samples of training to look up and of validation to score, for a k-NN probe.

        Returns:
            The loaders; None without one class for each pixel or series.
        """
        if self.label_kind not in ('pixel', 'series'):
            return None
        most = _PROBED['table' if self._are_tables else 'image']
        loaders = []
        parts: list[tuple[Part, Sequence[int]]] = [
            ('train', self._labelled.tolist()),
            ('val', range(len(self.part('val')))),
        ]
        for part, indices in parts:
            source = self.part(part)
            places = []
            for index in choose(list(indices), most, self.seed):
                middle = None
                if self.crop is not None:
                    size = source.size(source.samples[index])
                    middle = _corner(size, self.crop, None)
                places.append(_Place(0, index, middle))
            loaders.append(
                DataLoader(
                    _Samples([source], places, crop=self.crop, probed=True),
                    self.batch_size if not self._are_tables else 256,
                    num_workers=self.num_workers,
                    collate_fn=self.collate_fn,
                )
            )
        return (loaders[0], loaders[1]) if all(len(loader) for loader in loaders) else None

    def plot(self, sample: Sample) -> Figure:
        """Draw a single pixel over time, or the clearest frame of a sample and its labels.

        Args:
            sample: A sample, with ``prediction`` like ``mask`` where there is one.

        Returns:
            The figure.
        """
        if sample[MASK_CLEAR].shape[-2:] == (1, 1):
            return plot_pixel(sample, self.bands)
        return super().plot(sample)

    @property
    def _any(self) -> PublishedTimeSeries:
        """Any part that is open; that of training where none is."""
        return next(iter(self._parts.values()), None) or self.part('train')

    @property
    def _are_tables(self) -> bool:
        """Whether samples are single pixels."""
        train = self.part('train')
        return bool(len(train)) and train.size(train.samples[0]) == (1, 1)

    def _check_target(self) -> None:
        """Refuse labels of another kind than those of the data set."""
        for name, given, kinds in (
            ('kind=value', self.labels.kind == 'value', ('value', 'pixel_value')),
            ('per_frame=true', self.labels.per_frame, ('frame',)),
            ('target=field', self.labels.target == 'field', _WHOLE),
        ):
            if given and self.label_kind not in kinds:
                about = self.source.about
                raise SITSError(
                    f'labels.{name} does not go with {about.title}, whose labels are of the kind '
                    f'{self.label_kind!r}: use conf/{about.config}.yaml'
                )

    @cached_property
    def _labelled(self) -> NDArray[np.int64]:
        """Positions of the samples of training that are labelled."""
        train = self.part('train')
        per_class, fraction = self.labels.fields_per_class, self.labels.fraction
        everyone = np.ones(len(train), bool)
        classes = np.zeros(len(train), np.int64)
        if self.label_kind == 'series' and (per_class or fraction):
            classes = train.sample_classes()
            everyone = classes >= 0
        elif per_class is not None:
            raise SITSError(
                f'labels.fields_per_class={per_class}, but a sample of '
                f'{self.source.about.title} has no one class: give labels.fraction, a share of '
                'its samples'
            )
        chosen = choose_fields(
            classes, everyone, per_class=per_class, fraction=fraction, seed=self.seed
        )
        return np.flatnonzero(chosen)

    def _train_samples(self) -> _Samples:
        """Samples of training."""
        train = self.part('train')
        sources, places = [train], [_Place(0, i) for i in range(len(train))]
        few = self.labels.fields_per_class is not None or self.labels.fraction is not None
        if self.labels.supervised or few:
            places = [_Place(0, int(i)) for i in self._labelled]
        if self.with_unlabelled:
            if self.labels.supervised:
                raise SITSError(
                    'with_unlabelled=True trains without labels, labels.supervised=True with them: '
                    'leave one of them out'
                )
            sources.append(self.part('unlabelled'))
            places += [_Place(1, i) for i in range(len(sources[1]))]
        if not places:
            raise SITSError(f'{self.source.about.title} has no sample for training in {self.root}')
        return _Samples(
            sources,
            places,
            crop=self.crop,
            num_dates=self.num_dates,
            labelled=not self.with_unlabelled,
        )

    @property
    def root(self) -> str:
        """The folder that was given."""
        return str(self.kwargs['root'])

    def _scored_samples(self, part: Part) -> _Samples:
        """Samples of validation or test: every pixel once."""
        source = self.part(part)
        places = []
        for index, key in enumerate(source.samples):
            if self.crop is None or self.label_kind in _WHOLE:
                places.append(_Place(0, index))
                continue
            rows, columns = (_starts(side, self.crop) for side in source.size(key))
            places += [
                _Place(0, index, (row, column), (above, left))
                for row, above in rows
                for column, left in columns
            ]
        crop = None if self.label_kind in _WHOLE else self.crop
        return _Samples([source], places, crop=crop)

    # -- normalisation ---------------------------------------------------------------------

    def _measure(self) -> tuple[Tensor, Tensor]:
        """The authors' statistics, or those of up to 256 samples of training."""
        train = self._any
        if train.mean is not None and train.std is not None:
            chosen = [train.band_names.index(name) for name in self.bands]
            mean, std = ([values[i] for i in chosen] for values in (train.mean, train.std))
            return given_statistics(mean, std, self.bands)
        return band_statistics(self._measured())

    def _measure_s1(self) -> tuple[Tensor, Tensor]:
        """The authors' statistics of Sentinel-1, or those of up to 256 samples of training."""
        train = self._any
        if train.mean_s1 is not None and train.std_s1 is not None:
            return given_statistics(train.mean_s1, train.std_s1, self.bands_s1)
        return band_statistics(series for sample in self._measured() if (series := s1_of(sample)))

    def _measured(self) -> Iterator[Sample]:
        """Samples of training that statistics are measured on."""
        train = self.part('train')
        places = [_Place(0, i) for i in choose(list(range(len(train))), _MEASURED, self.seed)]
        samples = _Samples([train], places, crop=self.crop)
        return (samples[i] for i in range(len(samples)))


def _starts(side: int, crop: int) -> list[tuple[int, int]]:
    """Starts of squares that cover a side, and how much of each the one before has covered.

    The last square ends where the side does, so that all are of one size.
    """
    starts = [(start, 0) for start in range(0, max(side - crop, 0) + 1, crop)]
    if rest := max(side - crop, 0) - starts[-1][0]:
        starts.append((side - crop, crop - rest))
    return starts


def _corner(
    size: tuple[int, int], crop: int, generator: np.random.Generator | None
) -> tuple[int, int]:
    """First row and column of a square: drawn, or in the middle."""
    last = [max(side - crop, 0) for side in size]
    if generator is None:
        return last[0] // 2, last[1] // 2
    return int(generator.integers(last[0] + 1)), int(generator.integers(last[1] + 1))


def _some_dates(sample: Sample, number: int, generator: np.random.Generator) -> Sample:
    """Some of the dates of a sample and of what lies beside it, at random, in order."""
    found = dict(sample)
    for end in ('', '_s1'):
        valid = sample.get(f'valid{end}')
        if valid is None or len(valid) <= number:
            continue
        kept = torch.from_numpy(np.sort(generator.permutation(len(valid))[:number]))
        keys = [f'{key}{end}' for key in FRAME_KEYS]
        if not end and MASK in sample and sample[MASK].ndim == 3:
            keys.append(MASK)
        found |= {key: sample[key][kept] for key in keys}
    found[LENGTH] = torch.tensor(len(found['valid']))
    return found

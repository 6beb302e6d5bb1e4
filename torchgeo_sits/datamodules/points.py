"""Data module of points: series of single pixels from a table."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.random import SeedSequence
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchgeo.datamodules import NonGeoDataModule
from torchgeo.datasets.utils import Sample

from ..datasets import PointLabels, PointSeries
from ..datasets.plotting import plot_pixel
from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR
from ..samplers import EpochSampler, ShardedSampler
from ..samplers.epochs import epoch_generator
from ..transforms import Normalize
from .base import SeriesDataModule, band_statistics
from .fields import choose_fields, hold_out_fields

__all__ = ['PointDataModule']


@dataclass(frozen=True)
class TableOptions:
    """Columns of a table of points, and how to read them.

    Args:
        point: Column, or columns, that tell points apart. Defaults to one of the usual names;
            rows of a table with a row for each point need none.
        date: Column of the dates of a table with a row for each date. Defaults to one of the
            usual names.
        date_format: Format of dates that are not written year, month, day, such as '%d.%m.%Y'.
        year: Year, or column of the year, of dates that are months only. Rows of a point are in
            order then: a month below the one before it begins the next year.
        dates: Dates of a table whose columns are numbered, such as B02_1.
        bands: Names of the bands. Defaults to all: of a table with a row for each date to the
            numbers that change over time.
        nodata: Value that means no data, beside empty cells.
        lon: Column of longitudes. Defaults to one of the usual names, if any.
        lat: Column of latitudes.
        mean: Mean of each band to normalise by. Measured if None.
        std: Standard deviation of each band. Measured if None.

    Raises:
        SITSError: If only one of mean and std is given.

    Examples:
        >>> from torchgeo_sits.datamodules import TableOptions
        >>> TableOptions(point='id', date='month', year=2018).year
        2018
    """

    _: KW_ONLY
    point: str | list[str] | None = None
    date: str | None = None
    date_format: str | None = None
    year: int | str | None = None
    dates: list[str] | None = None
    bands: list[str] | None = None
    nodata: float | None = None
    lon: str | None = None
    lat: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise SITSError('give both table.mean and table.std, or neither')

    @property
    def statistics(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation as they were given, or None."""
        return None if self.mean is None or self.std is None else (self.mean, self.std)

    def series_arguments(self) -> dict[str, Any]:
        """Arguments for :class:`~torchgeo_sits.datasets.PointSeries`.

        Returns:
            The arguments by name.
        """
        own = {'mean', 'std'}
        return {k: v for k, v in vars(self).items() if k not in own and v is not None}


@dataclass(frozen=True)
class PointLabelOptions:
    """Labels of points, to train on or to validate by.

    Args:
        column: Column of the labels.
        kind: Whether the labels are classes, or measured values for a regression.
        classes: Values of the column and names of their classes, such as ``{1110: 'winter wheat',
            1200: 'maize'}``, in their order; others are not labelled. Defaults to all values.
        unlabelled: Value of the column that means not labelled, beside empty cells.
        supervised: Train on labelled points only. False trains on every point and keeps the
            labels for the k-NN probe.
        target: Whether tasks take labels for those of whole series, or of their one pixel.
        per_class: Number of points of each class that are labelled for training, drawn at
            random; of more points, fewer are a part.
        fraction: Share of the points of each class that are labelled for training, and one at
            least; of a larger share, a smaller one is a part.
        min_points: Smallest number of labelled points of a class; points of smaller classes are
            not labelled.

    Raises:
        SITSError: If an option is out of its range or does not go with another.

    Examples:
        >>> from torchgeo_sits.datamodules import PointLabelOptions
        >>> PointLabelOptions('target', kind='value', supervised=True).kind
        'value'
    """

    column: str | None = None
    _: KW_ONLY
    kind: Literal['class', 'value'] = 'class'
    classes: dict[int | str, str] | None = None
    unlabelled: int | str | None = None
    supervised: bool = False
    target: Literal['pixel', 'field'] = 'field'
    per_class: int | None = None
    fraction: float | None = None
    min_points: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ('class', 'value'):
            raise SITSError(f"unknown labels.kind {self.kind!r}: expected 'class' or 'value'")
        if self.target not in ('pixel', 'field'):
            raise SITSError(f"unknown labels.target {self.target!r}: expected 'pixel' or 'field'")
        for name in ('per_class', 'min_points'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SITSError(f'labels.{name} must be at least 1, got {value}')
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise SITSError(
                f'labels.fraction must be a share above 0, at most 1, got {self.fraction}'
            )
        if self.fraction is not None and self.per_class is not None:
            raise SITSError(
                f'labels.per_class={self.per_class} and labels.fraction={self.fraction} both say '
                'how many points are labelled: give one of them'
            )
        if self.kind == 'value' and (self.per_class is not None or self.min_points > 1):
            raise SITSError(
                'labels.per_class and labels.min_points count points of classes, of which labels.'
                "kind='value' has none: use labels.fraction"
            )


@dataclass(frozen=True)
class PointSplitOptions:
    """Points to hold out for validation and test.

    By default single points are drawn at random, class by class. Points that lie near each other
    or were observed by one campaign are alike: hold out groups or blocks for honest scores.

    Args:
        column: Column of a split that was published: of the words train, val (or validation) and
            test, or of 0 and 1 where its name says what 1 is, such as ``is_test``. Where it has
            no validation, a share of the points for training is drawn for it.
        groups: Column of groups of points that no split may divide, such as a region or a site.
        block: Side in degrees of blocks of longitude and latitude that no split may divide.
        val_fraction: Share of the points (of the groups, of the blocks) for validation.
        test_fraction: Share for test; of a split that was published that is said.

    Raises:
        SITSError: If the shares leave nothing for training, or options do not go together.

    Examples:
        >>> from torchgeo_sits.datamodules import PointSplitOptions
        >>> PointSplitOptions(column='is_test', val_fraction=0.1).fractions
        (0.9, 0.1, 0.0)
    """

    _: KW_ONLY
    column: str | None = None
    groups: str | None = None
    block: float | None = None
    val_fraction: float = 0.25
    test_fraction: float = 0.0

    def __post_init__(self) -> None:
        val, test = self.val_fraction, self.test_fraction
        if val < 0 or test < 0 or val + test >= 1:
            raise SITSError(
                'split.val_fraction and split.test_fraction must be at least 0 and leave '
                f'something for training, got {val} and {test}'
            )
        if self.groups is not None and self.block is not None:
            raise SITSError(
                f'split.groups={self.groups!r} and split.block={self.block} both say what is not '
                'divided: give one of them'
            )
        if self.block is not None and self.block <= 0:
            raise SITSError(f'split.block is a side in degrees above 0, got {self.block}')
        if self.column is not None and test:
            raise SITSError(
                f'split.column={self.column!r} says what the test is: leave split.test_fraction '
                f'out, got {test}'
            )

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Shares of training, validation and test."""
        return 1 - self.val_fraction - self.test_fraction, self.val_fraction, self.test_fraction


Integers = NDArray[np.int64]

#: Words for the splits, training first, as columns have them.
_WORDS: Final = (
    ('train', 'training', 'fit', 'learn'),
    ('val', 'valid', 'validation', 'dev', 'eval'),
    ('test', 'testing', 'holdout', 'hold_out'),
)


def split_points(
    series: PointSeries, split: PointSplitOptions, *, usable: NDArray[np.bool_], seed: int
) -> Integers:
    """Assign points to training (0), validation (1) and test (2).

    Args:
        series: The points.
        split: How they are split.
        usable: Points to share out, ``(N,)``.
        seed: Seed of the assignment.

    Returns:
        Number of the split of each point, ``(N,)``; -1 for those that are not to be used.

    Raises:
        SITSError: If a column does not say a split, or there are too few groups.
    """
    found = np.where(usable, 0, -1)
    fractions = split.fractions
    if split.column is not None:
        said = published_split(series.column(split.column), split.column)
        found = np.where(usable, said, -1)
        if (said == 1).any() or not split.val_fraction:
            return _with_training(found, split)
    free = np.flatnonzero(found == 0)
    groups = _groups(series, split)
    if groups is None:
        kinds = np.zeros(len(series), np.int64)
        if series.labels is not None and series.labels.names is not None:
            kinds = series.labels.values
        found[free] = hold_out_fields(kinds[free], fractions, seed=seed)
    else:
        found[free] = _hold_out_groups(groups[free], fractions, seed, split)
    return _with_training(found, split)


def published_split(column: pd.Series, name: str) -> Integers:
    """Read a split off a column.

    Args:
        column: Words, or 0 and 1.
        name: Name of the column, which says what 1 means.

    Returns:
        Number of the split of each point, ``(N,)``; -1 where the cell is empty.

    Raises:
        SITSError: If its values are no split.
    """
    codes, unique = pd.factorize(column)
    number = {word: i for i, words in enumerate(_WORDS) for word in words}
    text = [str(value).strip().lower() for value in unique]
    if all(word in number for word in text):
        return np.append([number[word] for word in text], -1).astype(np.int64)[codes]
    flags = {'0': 0, '0.0': 0, 'false': 0, '1': 1, '1.0': 1, 'true': 1}
    meant = [i for part in name.lower().split('_') if (i := number.get(part)) is not None]
    if len(meant) == 1 and all(word in flags for word in text):
        # 1 is what the name says; 0 is the rest: of is_train the test, of others training.
        pair = [2, 0] if meant[0] == 0 else [0, meant[0]]
        return np.append([pair[flags[word]] for word in text], -1).astype(np.int64)[codes]
    raise SITSError(
        f'split.column={name!r} holds {text[:6]}: expected the words train, val and test, or 0 and '
        '1 in a column whose name says what 1 is, such as is_test. For folds, regions or sites '
        'that no split may divide use split.groups'
    )


def _groups(series: PointSeries, split: PointSplitOptions) -> Integers | None:
    """Number of the group of each point ``(N,)``; None where points stand for themselves."""
    if split.groups is not None:
        codes = pd.factorize(series.column(split.groups), use_na_sentinel=False)[0]
        return codes.astype(np.int64)
    if split.block is None:
        return None
    if series.place is None:
        raise SITSError(
            f'split.block={split.block} needs longitudes and latitudes in degrees: give their '
            'columns as table.lon and table.lat'
        )
    cells = [np.floor(values / split.block) for values in series.place]
    if not all(np.isfinite(cell).all() for cell in cells):
        raise SITSError('split.block needs a longitude and latitude of each point, some have none')
    blocks = np.stack(cells, axis=1)
    return np.unique(blocks, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _hold_out_groups(
    groups: Integers, fractions: tuple[float, float, float], seed: int, split: PointSplitOptions
) -> Integers:
    """Assign whole groups, at random, until each split has its share of the points."""
    names, of_point, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    wanted = [int(share > 0) for share in fractions]
    if len(names) < sum(wanted):
        raise SITSError(
            f'{split} makes {len(names)} groups of points, fewer than the {sum(wanted)} splits: '
            'choose smaller groups, or hold nothing out (split.val_fraction=0)'
        )
    order = np.random.default_rng(SeedSequence(seed, spawn_key=(2,))).permutation(len(names))
    assigned = np.zeros(len(names), np.int64)
    place = 0
    for number, share in enumerate(fractions[1:], start=1):
        taken = 0
        # One group at least is left for each split that comes after, and for training.
        while share > 0 and place < len(names) - 1 - sum(wanted[number + 1 :]):
            if taken and taken + sizes[order[place]] / 2 > share * len(groups):
                break
            assigned[order[place]] = number
            taken += sizes[order[place]]
            place += 1
    return assigned[of_point]


def _with_training(found: Integers, split: PointSplitOptions) -> Integers:
    """Refuse a split that leaves nothing for training."""
    if not (found == 0).any():
        raise SITSError(f'{split} leaves no point for training')
    return found


#: Points whose values are looked at together, for statistics.
_CHUNK = 1 << 14
#: Options of labels that mean nothing without any.
_HARMLESS: dict[str, Any] = {'kind': 'class', 'supervised': False, 'target': 'field'}


class _Batches(Dataset[dict[str, Tensor]]):
    """Some points of a table, of which a loader takes a batch at a time.

    Args:
        series: The points.
        points: Numbers of those that are in it.
    """

    def __init__(self, series: PointSeries, points: NDArray[np.int64]) -> None:
        self.series = series
        self.points = points

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One point, as a sample."""
        return self.series[int(self.points[index])]

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Several points, as a batch: sample by sample takes fifty times as long."""
        return self.series.batch(self.points[np.asarray(indices, np.int64)])


def _as_it_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Collate nothing: points come in batches."""
    return batch


class _Shuffled(EpochSampler):
    """Numbers of samples in random order, from the first again where an epoch has more.

    Args:
        count: Number of samples.
        length: Number of samples of an epoch.
        seed: Seed of the order.
    """

    def __init__(self, count: int, length: int, *, seed: int) -> None:
        self.count = count
        self.length = length
        self._seeds = [seed]

    def epoch_length(self, number: int) -> int:
        """Number of samples of an epoch, the same for all."""
        return self.length

    def iter_epoch(self, number: int) -> Iterator[Any]:
        """Numbers of the samples of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            The numbers.
        """
        generator = epoch_generator(self._seeds[0], number, stream=0)
        for _ in range(-(-self.length // self.count)):
            yield from generator.permutation(self.count).tolist()


class PointDataModule(SeriesDataModule, NonGeoDataModule):
    r"""Series of single pixels from a table: a CSV or Parquet file, or arrays of NumPy.

    :class:`~torchgeo_sits.datasets.PointSeries` says what tables are read. Samples are of 1 x 1
    pixels, with one label each. An epoch of training has each point once, and ten batches at
    least. Points without a date on which all bands are there are left out, but for predictions.

    Attributes:
        target_name: Column of the labels; None without labels.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.datamodules import PointDataModule, PointLabelOptions
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name) / 'points.csv'
        >>> rows = [f'{i},{i % 2},0.{i},0.5,0.{9 - i},0.1' for i in range(8)]
        >>> header = 'id,crop,B04_20180401,B08_20180401,B04_20180501,B08_20180501'
        >>> _ = path.write_text('\n'.join([header, *rows]))
        >>> data = PointDataModule(str(path), labels=PointLabelOptions('crop'), batch_size=4)
        >>> data.setup('fit')
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch['image'].shape, batch['label'].shape, len(data.val_dataset)
        (torch.Size([4, 2, 2, 1, 1]), torch.Size([4]), 2)
    """

    unlabelled = -1

    def __init__(
        self,
        paths: str | list[str] = 'points.csv',
        *,
        table: TableOptions = TableOptions(),
        labels: PointLabelOptions = PointLabelOptions(),
        split: PointSplitOptions = PointSplitOptions(),
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Initialize a new PointDataModule instance.

        Args:
            paths: One or more files of a table, or folders of them.
            table: Columns of the table, and how to read them.
            labels: Labels to train on, or to validate by.
            split: Points to hold out for validation and test.
            batch_size: Number of points in a batch.
            num_workers: Number of worker processes; the table is in memory, so that none is
                fastest.
            seed: Seed of the split, of the choice of labels and of the order of points.

        Raises:
            SITSError: If an option is out of its range.
        """
        if batch_size < 1 or num_workers < 0:
            raise SITSError(
                f'expected batch_size of at least 1 and num_workers of at least 0, got '
                f'{batch_size} and {num_workers}'
            )
        # Configurations say what kind labels are of, for tables that may have none.
        if labels.column is None and replace(labels, **_HARMLESS) != PointLabelOptions():
            raise SITSError(f'{labels} needs labels: give labels.column')
        super().__init__(PointSeries, batch_size, num_workers, paths=paths)
        self.table = table
        self.labels = labels
        self.split = split
        self.seed = seed
        self.target = labels.target
        self.target_name = labels.column
        self.collate_fn: Any = _as_it_is
        self._given = table.statistics
        self._points: PointSeries | None = None
        self._shares: tuple[NDArray[np.int64], ...] = ()

    @property
    def points(self) -> PointSeries:
        """All points of the table, read at first use."""
        if self._points is None:
            self._points = self._open()
        return self._points

    @property
    def bands(self) -> list[str]:
        """Names of the bands, in the order of the channels."""
        return list(self.points.bands)

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, from 0; None without classes."""
        labels = self.points.labels
        return None if labels is None else labels.names

    @property
    def target_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the measured values of training.

        Raises:
            SITSError: If labels are no measured values.
        """
        labels = self.points.labels
        if labels is None or labels.names is not None:
            raise SITSError(
                "a regression needs measured values: give labels.column and labels.kind='value'"
            )
        values = labels.values[self._split(0)].astype(np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            raise SITSError(f'no point for training has a value of {self.target_name!r}')
        return float(values.mean()), float(values.std())

    @property
    def training_data(self) -> dict[str, Any]:
        """Name of the data and its dates, in plain values, for the checkpoint."""
        days = self.points.days(self._split(0)).astype(str)
        dates = {'first': str(days[0]), 'last': str(days[-1]), 'number': len(days)}
        return super().training_data | {'dates': dates}

    def setup(self, stage: str) -> None:
        """Read the table, and split it.

        Args:
            stage: Either 'fit', 'validate', 'test', or 'predict'.

        Raises:
            SITSError: If the stage has no point.
        """
        if stage == 'fit':
            train = self._split(0)
            if self.labels.supervised:
                train = train[self._known(train)]
            if not len(train):
                raise SITSError('no point for training has a label: look at labels and split')
            length = max(len(train), 10 * self.batch_size)
            self.train_dataset = _Batches(self.points, train)
            self.train_sampler = ShardedSampler(
                _Shuffled(len(train), length, seed=self.seed), drop_last=True
            )
        if stage in ('fit', 'validate'):
            self.val_dataset = self._held_out(1, needed=stage == 'validate')
        if stage == 'test':
            self.test_dataset = self._held_out(2, needed=True)
        if stage == 'predict':
            self.predict_dataset = _Batches(self.points, np.arange(len(self.points)))
        self._set_transforms()

    def val_dataloader(self) -> Any:
        """Points for validation.

        Returns:
            The loader; an empty list where none are held out.
        """
        assert isinstance(self.val_dataset, _Batches)
        return super().val_dataloader() if len(self.val_dataset) else []

    def probe_dataloaders(self) -> tuple[DataLoader[Any], DataLoader[Any]] | None:
        """Labelled points of training and of validation, for a k-NN probe.

        Returns:
            Points to look up and points to score, or None without classes.
        """
        bank, query = (points[self._known(points)] for points in (self._split(0), self._split(1)))
        if self.class_names is None or not len(bank) or not len(query):
            return None
        options: dict[str, Any] = {'batch_size': 1024, 'collate_fn': self.collate_fn}
        return (
            DataLoader(_Batches(self.points, bank), **options),
            DataLoader(_Batches(self.points, query), **options),
        )

    def plot(self, sample: Sample) -> Figure:
        """Draw the values of a point over time.

        Args:
            sample: A sample.

        Returns:
            The figure.
        """
        return plot_pixel(sample, self.bands)

    def _open(self) -> PointSeries:
        """Read the table, and leave the labels that were asked for."""
        columns = [n for n in (self.split.column, self.split.groups) if n is not None]
        options: dict[str, Any] = self.table.series_arguments()
        if self.labels.column is not None:
            options |= {
                'label': self.labels.column,
                'kind': self.labels.kind,
                'classes': self.labels.classes,
                'unlabelled': self.labels.unlabelled,
            }
        points = PointSeries(self.kwargs['paths'], columns=columns, **options)
        if points.labels is not None and points.labels.names is not None:
            points.labels = _without_small(points.labels, self.labels.min_points)
        usable = points.seen
        if not usable.all():
            warnings.warn(
                f'{int((~usable).sum())} of {len(points)} points have no date on which all bands '
                'are there: they are left out of training and scores, and predictions of them '
                'are empty',
                UserWarning,
                stacklevel=2,
            )
        split = split_points(points, self.split, usable=usable, seed=self.seed)
        if points.labels is not None:
            points.labels = self._few(points.labels, split == 0)
        self._shares = tuple(np.flatnonzero(split == i) for i in range(3))
        return points

    def _few(self, labels: PointLabels, training: NDArray[np.bool_]) -> PointLabels:
        """Labels of which training has as many as were asked for."""
        kinds = labels.values if labels.names is not None else np.zeros(len(labels.values), int)
        kept = choose_fields(
            kinds.astype(np.int64),
            training & labels.known,
            per_class=self.labels.per_class,
            fraction=self.labels.fraction,
            seed=self.seed,
        )
        return labels._replace(values=np.where(training & ~kept, labels.missing, labels.values))

    def _split(self, number: int) -> NDArray[np.int64]:
        """Numbers of the points of training (0), validation (1) or test (2)."""
        assert self.points is not None  # read, and thereby split
        return self._shares[number]

    def _known(self, points: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some points have a label."""
        labels = self.points.labels
        if labels is None:
            if self.labels.supervised:
                raise SITSError('labels.supervised=True needs labels: give labels.column')
            return np.zeros(len(points), bool)
        return labels.known[points]

    def _held_out(self, number: int, *, needed: bool) -> _Batches:
        """Points of validation or test, those with a label where there are labels."""
        points = self._split(number)
        if self.points.labels is not None:
            points = points[self._known(points)]
        if needed and not len(points):
            stage, option = ('validation', 'val') if number == 1 else ('test', 'test')
            raise SITSError(
                f'no point is held out for {stage}: give split.{option}_fraction or split.column'
            )
        return _Batches(self.points, points)

    def _measure(self) -> tuple[Tensor, Tensor]:
        """Statistics over the points of training."""
        train = self._split(0)

        def parts() -> Iterator[dict[str, Tensor]]:
            for first in range(0, len(train), _CHUNK):
                values, clear = self.points.values(train[first : first + _CHUNK])
                yield {
                    IMAGE: torch.from_numpy(values)[..., None, None],
                    MASK_CLEAR: torch.from_numpy(clear)[:, None, None],
                }

        return band_statistics(parts())

    def _set_transforms(self) -> None:
        """Normalise every batch; a single pixel has nothing to flip or turn."""
        self.aug = self.train_aug = Normalize(*self.statistics)


def _without_small(labels: PointLabels, least: int) -> PointLabels:
    """Labels without the classes of fewer points than *least*.

    Args:
        labels: Labels of classes.
        least: Smallest number of points of a class.

    Returns:
        Labels of the classes that are left, renumbered.

    Raises:
        SITSError: If fewer than two are left.
    """
    assert labels.names is not None
    count = np.bincount(labels.values[labels.known], minlength=len(labels.names))
    kept = np.flatnonzero(count >= least)
    if not len(kept):
        raise SITSError(
            f'no class has labels.min_points={least} points: the largest has {count.max()}'
        )
    number = np.full(len(labels.names) + 1, labels.missing, np.int64)
    number[kept] = np.arange(len(kept))
    return PointLabels(number[labels.values], [labels.names[i] for i in kept])

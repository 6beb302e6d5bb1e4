"""Data module of points: series of single pixels from a table."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchgeo.datamodules import NonGeoDataModule
from torchgeo.datasets.utils import Sample

from ..datasets import PointLabels, PointSeries
from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR
from ..samplers import EpochSampler, ShardedSampler
from ..samplers.epochs import epoch_generator
from ..transforms import Normalize
from .base import SeriesDataModule, band_statistics
from .fields import choose_fields
from .loader import ResumableLoader
from .point_options import PointLabelOptions, PointSplitOptions, TableOptions
from .point_splits import split_points

__all__ = ['PointDataModule']

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

    def train_dataloader(self) -> ResumableLoader:
        """Points for training, each process its share; a resumed run gets the rest of an epoch.

        Returns:
            The loader.
        """
        return ResumableLoader(
            self.train_dataset,
            batch_size=self.batch_size,
            sampler=self.train_sampler,
            num_workers=self.num_workers,
            collate_fn=self.collate_fn,
            drop_last=True,
            persistent_workers=self.num_workers > 0,
        )

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
        figure = Figure(figsize=(8, 3), layout='constrained')
        axes = figure.subplots()
        clear = sample[MASK_CLEAR].flatten()
        times = sample['acquisition_times'][clear].numpy().astype('datetime64[s]')
        for band, values in zip(self.bands, sample[IMAGE][clear, :, 0, 0].T, strict=True):
            axes.plot(times, values.numpy(), marker='.', label=band)
        axes.legend(fontsize='small', ncols=2)
        return figure

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

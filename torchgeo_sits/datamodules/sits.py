"""Data module for any folder of dated rasters."""

import copy
import math
import warnings
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datamodules import GeoDataModule
from torchgeo.datasets import GeoDataset, IntersectionDataset
from torchgeo.samplers import GeoSampler

from ..datasets.labels import (
    LabelValues,
    RasterLabels,
    as_number,
    list_some,
    open_labels,
    pad_labels,
)
from ..errors import SITSError
from ..keys import MASK
from ..renamed import SITS_OPTIONS, take_old_names
from ..samplers import (
    BlockPatchSampler,
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
    RandomSeriesPatchSampler,
    ShardedSampler,
)
from ..samplers.footprints import join_footprints
from .base import SeriesDataModule, band_statistics, choose
from .fields import FieldPatchSampler, FieldSampler, FieldTargets, around_fields, field_windows
from .loader import ListedSamples
from .options import ImageOptions, LabelOptions, PatchOptions, SplitOptions, changed
from .splits import Splits, split_series

__all__ = ['SITSDataModule']

type _Stage = Literal['train', 'val', 'test', 'predict']
#: Which of these a stage of the trainer needs.
_STAGES: dict[str, tuple[_Stage, ...]] = {
    'fit': ('train', 'val'),
    'validate': ('val',),
    'test': ('test',),
    'predict': ('predict',),
}


class SITSDataModule(SeriesDataModule, GeoDataModule):
    """Patches of satellite image time series from any folder of dated rasters.

    Bands, dates, resolution and coordinate reference system are found in the files;
    normalisation statistics are computed once from clear pixels of the training split and
    travel in the checkpoint.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from torchgeo_sits.datamodules import PatchOptions, SITSDataModule
        >>> from torchgeo_sits.datasets import write_synthetic_series
        >>> with TemporaryDirectory() as folder:
        ...     _ = write_synthetic_series(folder, size=(32, 32), num_dates=3)
        ...     data = SITSDataModule(
        ...         str(Path(folder) / 'images'), patches=PatchOptions(16), batch_size=4
        ...     )
        ...     data.setup('fit')
        ...     batch = next(iter(data.train_dataloader()))
        >>> batch['image'].shape
        torch.Size([4, 3, 10, 16, 16])
    """

    @take_old_names(
        SITS_OPTIONS, images=ImageOptions, labels=LabelOptions, split=SplitOptions,
        patches=PatchOptions,
    )  # fmt: skip
    def __init__(
        self,
        paths: str | list[str] | None = None,
        *,
        images: ImageOptions = ImageOptions(),
        labels: LabelOptions = LabelOptions(),
        split: SplitOptions = SplitOptions(),
        patches: PatchOptions = PatchOptions(),
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Initialize a new SITSDataModule instance.

        Args:
            paths: One or more folders of dated rasters, or files: short for ``images.paths``.
            images: Images to read, and how to read them.
            labels: Labels to validate by, or to train on.
            split: Data to hold out for validation and test.
            patches: Patches to draw for training.
            batch_size: Number of patches in a batch.
            num_workers: Number of worker processes that read.
            seed: Seed of the splits, of the choice of fields and of the positions of patches.

        Raises:
            SITSError: If an option is out of its range or does not go with another.
        """
        if batch_size < 1:
            raise SITSError(f'batch_size must be at least 1, got {batch_size}')
        if num_workers < 0:
            raise SITSError(f'num_workers must be at least 0, got {num_workers}')
        if paths is not None:
            if images.paths not in (ImageOptions.paths, paths):
                raise SITSError(
                    f'paths={paths!r} and images.paths={images.paths!r} both say where the '
                    'images are: give one of them'
                )
            images = replace(images, paths=paths)
        if labels.target == 'field' and patches.by_block:
            raise SITSError(
                "patches.by_block=True draws patches: leave it out with labels.target='field'"
            )
        if labels.paths is None:
            _check_unlabelled(labels, split)
        super().__init__(
            images.dataset_class,
            batch_size,
            patches.size,
            patches.length,
            num_workers,
            **images.series_arguments(),
        )
        self.images = images
        self.labels = labels
        self.split = split
        self.patches = patches
        self.seed = seed
        self.target = labels.target
        self._supervised = labels.supervised or labels.target == 'field'
        self.unlabelled = -1 if labels.target == 'field' else labels.unlabelled
        self._values = LabelValues(labels.unlabelled, labels.classes, labels.kind)
        self._num_classes = labels.num_classes
        self.collate_fn = partial(pad_labels, unlabelled=self._values.missing)
        self._given = images.statistics
        self._usual_split: Literal['space', 'fields'] = 'fields' if labels.about_fields else 'space'
        self._splits: Splits | None = None

    @property
    def splits(self) -> Splits:
        """Images and labels, opened and split at first use."""
        if self._splits is None:
            self._splits = self._open()
        return self._splits

    @property
    def bands(self) -> list[str]:
        """Names of the bands, in the order of the channels."""
        return list(self.splits.series.bands)

    @property
    def class_names(self) -> list[str] | None:
        """Names by value of the mask, or of labels of fields; None where they are not known.

        A column of text brings its own, and so do codes, for which the files are opened.
        """
        named = self.labels.column is not None or self._takes_codes
        if named and self.labels.paths is not None and self._values.classes is None:
            _ = self.splits
        if self.target == 'pixel' or self._values.classes is None:
            return self._values.names
        return list(self._values.classes.values())

    @property
    def class_codes(self) -> list[int | None] | None:
        """Values in the files of labels, by value of the mask or label of a field.

        None where they are text, or those of the mask themselves.
        """
        names = self.class_names  # which opens files where these say what the classes are
        codes = self._values.codes
        if codes is None or names is None or self.target == 'pixel':
            return codes
        return [code for code in codes if code is not None]

    @property
    def class_colors(self) -> list[str | None] | None:
        """Colours by value of the mask, or of labels of fields.

        Those of ``labels.colors``, else those of the colour table of the label rasters.

        Raises:
            SITSError: If ``labels.colors`` names what is no class.
        """
        number = None if self.labels.paths is None else self.num_classes
        if number is None:
            return None
        values = self._values
        # Values of the mask by what stands in the files, and by name.
        places = values.positions or {value: value for value in range(number + 1)}
        named = dict(zip((values.classes or {}).values(), places.values(), strict=False))
        labels = self.splits.labels
        table = labels.colours() if isinstance(labels, RasterLabels) else {}
        found = {places[value]: colour for value, colour in table.items() if value in places}
        for key, colour in (self.labels.colors or {}).items():
            place = places.get(as_number(key), named.get(str(key)))
            if place is None:
                raise SITSError(
                    f'labels.colors gives {key!r} a colour, which is no class: expected some of '
                    f'{list_some([*places, *named], 20)}'
                )
            found[place] = colour
        if not found:
            return None
        left_out = values.unlabelled if self.target == 'field' else None
        return [found.get(i) for i in range(number + 1) if i != left_out][:number]

    @property
    def _takes_codes(self) -> bool:
        """Whether large numbers are codes of classes: of change 0 is a label, days are others."""
        coded = self._supervised and self._num_classes is None and self._values.kind == 'class'
        return coded and self._values.unlabelled == 0

    @property
    def num_classes(self) -> int | None:
        """Number of values of the mask, or of labels of fields; None where it is not known.

        It is not where labels are values that were measured.

        Where it was not given it is one more than the largest label, which is looked up for
        supervised training only: it takes a pass over the label rasters.
        """
        if self._values.kind == 'value':
            return None
        if self.class_names is not None:
            return len(self.class_names)
        unlabelled = self._values.unlabelled
        if self._num_classes is None and self._supervised:
            assert self.splits.labels is not None  # supervised needs labels
            found = set(self.splits.labels.found()) - {unlabelled}
            _require_few(found, self.labels.paths)
            self._num_classes = max(found, default=0) + 1
        if self._num_classes is None or self.target == 'pixel':
            return self._num_classes
        return self._num_classes - (0 <= unlabelled < self._num_classes)

    @property
    def target_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the measured values of training.

        Those of its fields, each once, where labels are restricted to fields; else those of the
        pixels of at most 32 patches.

        Raises:
            SITSError: If labels are no measured values, or training has none.
        """
        splits = self.splits
        if splits.labels is None or self._values.kind != 'value':
            raise SITSError(
                "a regression needs measured values: give labels.paths and labels.kind='value'"
            )
        if splits.fields is not None:
            values = np.asarray(splits.fields.labels[splits.kept[0]], np.float64)
        else:
            train = splits.labelled_train
            assert train is not None  # the first share of the labelled area
            windows = choose(list(self._gridded_patches(train)), 32, self.seed)
            masks = [train[window][MASK].numpy().ravel() for window in windows]
            values = np.concatenate([*masks, np.zeros(0)]).astype(np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            raise SITSError(f'labels.paths={self.labels.paths!r} hold no value for training')
        return float(values.mean()), float(values.std())

    def count_fields(self, stage: Literal['train', 'val', 'test']) -> dict[int, int] | None:
        """Count the labelled fields of each class of a split.

        Args:
            stage: Name of the split.

        Returns:
            Numbers by value of the mask; None where labels are not of fields, or are values
            that were measured.
        """
        splits = self.splits
        if splits.fields is None or self._values.kind == 'value':
            return None
        kept = splits.kept[('train', 'val', 'test').index(stage)]
        values, counts = np.unique(splits.fields.classes[kept], return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))

    def setup(self, stage: str) -> None:
        """Open the files, split them, and make the samplers.

        Args:
            stage: Either 'fit', 'validate', 'test', or 'predict'.

        Raises:
            SITSError: If an epoch of training has no full batch.
        """
        if stage == 'fit' and self.length is not None and self.length < self.batch_size:
            raise SITSError(
                f'patches.length={self.length} patches in an epoch do not fill a batch of '
                f'batch_size={self.batch_size}: give a larger patches.length or a smaller '
                'batch_size'
            )
        for name in _STAGES[stage]:
            found = self._stage(name)
            if found is not None:
                dataset, sampler = found
                if name != 'predict':
                    # What is repeated to fill up a process would count twice in a gradient.
                    sampler = ShardedSampler(sampler, drop_last=name == 'train')
                setattr(self, f'{name}_dataset', dataset)
                setattr(self, f'{name}_sampler', sampler)
        self._set_transforms()

    def val_dataloader(self) -> Any:
        """Patches for validation; the same order where a trainer overfits batches."""
        if not (self._overfits and self.val_dataset is not None and self.val_sampler is not None):
            return super().val_dataloader()
        return DataLoader(
            ListedSamples(self.val_dataset, self.val_sampler),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=self.collate_fn,
        )

    def probe_dataloaders(self) -> tuple[DataLoader[Any], DataLoader[Any]] | None:
        """Labelled patches of the training and of the validation split, for a k-NN probe.

        With ``split.by='time'`` both are of the same places on different dates: what is scored
        is whether features of a place stay the same over time, and a place that was looked
        up is easier to label than a new one. For figures on new places use
        ``split.by='space'``.

        Returns:
            Patches to look up and patches to score, or None without labels that are classes.
        """
        if self._values.kind == 'value':
            return None
        bank, query = self.splits.labelled_train, self.splits.labelled_val
        if bank is None or query is None:
            return None
        options: dict[str, Any] = {'collate_fn': self.collate_fn, 'num_workers': self.num_workers}
        bank_loader, query_loader = (
            DataLoader(split, self.batch_size, sampler=self._gridded_patches(split), **options)
            for split in (bank, query)
        )
        return bank_loader, query_loader

    def middle(self, *, most: int) -> dict[str, Any]:
        """Read a window in the middle of the imagery, with labels where there are any.

        Args:
            most: Largest number of pixels of all dates together.

        Returns:
            A batch of one sample, see :mod:`torchgeo_sits.keys`, not normalised.
        """
        dataset: GeoDataset = self.splits.labelled or self.splits.series
        west, south, east, north = join_footprints(dataset).bounds
        xres, yres = dataset.res
        dates = len(self.splits.series.index.index.left.unique())
        sides = (east - west) / xres, (north - south) / yres, (most / dates) ** 0.5
        windows = list(_gridded_patches(self.splits, dataset, max(1, int(min(sides)))))

        def away(window: Any) -> float:
            x, y = ((part.start + part.stop) / 2 for part in window[:2])
            return math.hypot(x - (west + east) / 2, y - (south + north) / 2)

        batch: dict[str, Any] = self.collate_fn([dataset[min(windows, key=away)]])
        return batch

    def _open(self) -> Splits:
        """Open series and labels, and split both alike."""
        series = self.images.open()
        dates = series.index.index.left.unique()
        if len(dates) == 1:
            warnings.warn(
                f'{self.images.paths!r} holds one date only, {dates[0]:%Y-%m-%d}: nothing can be '
                'learned of time from a series of one. If there should be more, look at the names '
                'of the files, and at images.filename_regex',
                UserWarning,
                stacklevel=2,
            )
        labels = None
        if self.labels.paths is not None:
            labels = open_labels(
                self.labels.paths,
                series,
                values=self._values,
                num_classes=self._num_classes,
                codes=self._takes_codes,
                per_frame=self.labels.per_frame,
                field_paths=self.labels.field_paths,
                column=self.labels.column,
                layer=self.labels.layer,
                crs=self.labels.crs,
                shrink=self.labels.shrink,
            )
            self._values = labels.values
        return split_series(
            series,
            labels,
            chosen=self.labels,
            split=self.split,
            usual=self._usual_split,
            patch=self.patches.size,
            seed=self.seed,
        )

    def _stage(self, name: _Stage) -> tuple[GeoDataset, GeoSampler] | None:
        """Data set and sampler of a stage; None where nothing is held out for it."""
        options: dict[str, Any] = {
            'batch_size': self.batch_size,
            'group_by': self.images.group_by,
            'seed': self.seed,
        }
        if self.target == 'field':
            return _field_stage(self.splits, name, self.patches, **options)
        options |= {'supervised': self._supervised, 'num_workers': self.num_workers}
        return _patch_stage(self.splits, name, self.patches, **options)

    def _gridded_patches(self, dataset: GeoDataset) -> GeoSampler:
        """Patches of a split side by side, on all dates."""
        return _gridded_patches(self.splits, dataset, self.patches.size)

    def _measured_samples(self) -> Iterator[dict[str, Any]]:
        """At most 32 patches of the training split, to measure statistics on."""
        train = self.splits.train
        # Where no patch of the grid lies between held-out blocks, others may; of a raster of a
        # million pixels by a million there are too many to list.
        gridded = self._gridded_patches(train)
        windows = (list(gridded) if len(gridded) <= _MOST_LISTED else []) or list(
            _random_patches(
                self.splits,
                train,
                replace(self.patches, length=32, by_block=False),
                batch_size=self.batch_size,
                num_workers=self.num_workers,
                group_by=self.images.group_by,
                seed=self.seed,
            )
        )
        return (train[window] for window in choose(windows, 32, self.seed))

    def _measure(self) -> tuple[Tensor, Tensor]:
        """Statistics over patches of the training split."""
        return band_statistics(self._measured_samples())


#: Patches of a grid that are listed at most, to choose some of them.
_MOST_LISTED = 2**22
#: Largest number that is taken for a class where nothing says which numbers are: that of 16 bits.
_LARGEST_CLASS = 65_535


def _require_few(found: Collection[int], paths: str | list[str] | None) -> None:
    """Refuse labels of which one, a fill perhaps, asks for more classes than there can be."""
    odd = [value for value in found if not 0 <= value <= _LARGEST_CLASS]
    if odd:
        raise SITSError(
            f'labels.paths={paths!r} hold the label {odd[0]}, but classes are numbers from 0 to '
            f'{_LARGEST_CLASS}: write it into the file as its nodata, or list the numbers that '
            'are classes in labels.classes'
        )


def _check_unlabelled(labels: LabelOptions, split: SplitOptions) -> None:
    """Refuse what needs labels where there are none, and say what has no effect."""
    harmless = {'num_classes', 'unlabelled', 'min_field_pixels'}
    for name, value in changed(labels, apart_from=harmless).items():
        raise SITSError(f'labels.{name}={value!r} needs labels: give labels.paths')
    if split.by == 'fields':
        raise SITSError("split.by='fields' needs labels: give labels.paths")
    if split != SplitOptions():
        warnings.warn(
            f'{split} has no effect without labels: nothing can be validated, so all of the '
            'imagery is for training. Give labels.paths to hold some out',
            UserWarning,
            stacklevel=4,
        )


def _patch_stage(
    splits: Splits, stage: _Stage, patches: PatchOptions, *, supervised: bool, **options: Any
) -> tuple[GeoDataset, GeoSampler] | None:
    """Data set and patches of a stage.

    Args:
        splits: All splits.
        stage: Its name.
        patches: How patches are drawn for training.
        supervised: Train on labelled places only.
        **options: As for `_random_patches`, for training.

    Returns:
        Both, or None where nothing is held out for the stage.
    """
    if stage == 'train':
        labelled = splits.labelled_train if supervised else None
        train = splits.train if labelled is None else labelled
        return train, _random_patches(splits, train, patches, **options)
    dataset = {'val': splits.labelled_val, 'test': splits.labelled_test}.get(stage, splits.series)
    return None if dataset is None else (dataset, _gridded_patches(splits, dataset, patches.size))


def _gridded_patches(splits: Splits, dataset: GeoDataset, size: int) -> GriddedSeriesPatchSampler:
    """Patches of a split side by side, on all dates.

    Args:
        splits: All splits.
        dataset: The one to sample from.
        size: Side of a patch in pixels.

    Returns:
        The sampler.
    """
    whole, roi = splits.places(dataset)
    return GriddedSeriesPatchSampler(whole, size=size, roi=roi)


def _random_patches(
    splits: Splits,
    dataset: GeoDataset,
    patches: PatchOptions,
    *,
    batch_size: int,
    num_workers: int,
    group_by: Literal['day', 'time'],
    seed: int,
) -> GeoSampler:
    """Random patches of a split, on random dates where they are counted.

    Where labels are restricted to fields, patches of labelled training hold some of them:
    each one at least a pixel; by block each one a part of the box around a field.

    Args:
        splits: All splits.
        dataset: The one to sample from.
        patches: How patches are drawn.
        batch_size: Patches in a batch.
        num_workers: Number of processes that read, each its own blocks.
        group_by: What makes files of one day, or of one time, a date.
        seed: Seed of places and dates.

    Returns:
        The sampler.
    """
    size = patches.size
    whole, roi = splits.places(dataset)
    length = patches.length
    if length is None:
        area = join_footprints(dataset).area
        length = max(round(area / (size**2 * math.prod(dataset.res))), 10 * batch_size)
    options: dict[str, Any] = {'size': size, 'length': length, 'roi': roi, 'generator': seed}
    fields = splits.fields if dataset is splits.labelled_train else None
    if patches.by_block:
        if fields is not None:
            near = around_fields(fields, splits.kept[0], size)
            options['roi'] = near if roi is None else near & roi
        places: RandomSeriesPatchSampler | BlockPatchSampler = BlockPatchSampler(
            whole, batch_size=batch_size, num_workers=num_workers, **options
        )
    elif fields is None:
        places = RandomSeriesPatchSampler(whole, **options)
    else:
        places = FieldPatchSampler(whole, fields=fields, kept=splits.kept[0], **options)
    shapes = places.grids.shape
    if (shapes.min(axis=1) < size).all():
        largest = max(map(tuple, shapes.tolist()))
        warnings.warn(
            f'patches.size={size} is larger than the imagery, {largest} pixels '
            '(height, width): patches reach beyond it, and what lies there counts as '
            'not observed. Choose a smaller patches.size',
            UserWarning,
            stacklevel=3,
        )
    if patches.num_dates is None:
        return places
    dates = RandomDateCountSampler(
        dataset, count=patches.num_dates, stride='max', group_by=group_by, generator=seed
    )
    return places @ dates


def _field_stage(
    splits: Splits,
    stage: _Stage,
    patches: PatchOptions,
    *,
    batch_size: int,
    group_by: Literal['day', 'time'],
    seed: int,
) -> tuple[GeoDataset, GeoSampler] | None:
    """Data set and windows of a stage with one sample per field.

    Args:
        splits: The splits, with fields.
        stage: Its name; to predict takes the labelled fields of all splits.
        patches: Size of the windows, and how they are drawn for training: without a length
            each field once, and ten batches at least.
        batch_size: Samples in a batch.
        group_by: What makes files of one day, or of one time, a date.
        seed: Seed of order and dates.

    Returns:
        Both, or None where nothing is held out for the stage.

    Raises:
        SITSError: If no field is left for the stage.
    """
    assert splits.fields is not None  # they are looked for where they are the target
    assert splits.labels is not None  # there are no fields without
    number = {'train': 0, 'val': 1, 'test': 2}.get(stage)
    if number is None:
        labelled: GeoDataset | None = splits.labelled
        kept = np.ones(len(splits.fields), bool)
    else:
        labelled = (splits.labelled_train, splits.labelled_val, splits.labelled_test)[number]
        kept = splits.kept[number]
    if labelled is None:
        return None
    if not kept.any():
        raise SITSError(
            f'no field is left for {stage}: hold out another share (split.val_fraction, '
            "split.test_fraction), or hold out whole fields of each class (split.by='fields')"
        )
    windows = field_windows(splits.fields, kept, patches.size)
    dataset = copy.copy(labelled)
    assert isinstance(dataset, IntersectionDataset)  # all that is labelled is joined
    dataset.transforms = FieldTargets(splits.fields, windows, splits.labels.values.unlabelled)
    if stage != 'train':
        return dataset, FieldSampler(dataset, windows)
    length = patches.length
    if length is None:
        length = max(len(windows.numbers), 10 * batch_size)
    sampler = FieldSampler(dataset, windows, length=length, seed=seed)
    if patches.num_dates is None:
        return dataset, sampler
    dates = RandomDateCountSampler(
        dataset, count=patches.num_dates, stride='max', group_by=group_by, generator=seed
    )
    return dataset, sampler @ dates

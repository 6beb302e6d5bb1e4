"""Data module for any folder of dated rasters."""

import warnings
from collections.abc import Mapping
from functools import partial
from inspect import Signature, signature
from typing import Any, Literal

from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datamodules import GeoDataModule
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import GeoSampler

from ..datasets import RasterTimeSeries, TimeSeries
from ..datasets.labels import LabelValues, open_labels, pad_labels
from ..errors import SITSError
from ..samplers import ShardedSampler
from .field_samples import field_stage
from .loader import ResumableLoader
from .patches import STAGES, Stage, gridded_patches, patch_stage, random_patches
from .series import SeriesDataModule
from .splits import Parts, field_options, split_parts
from .statistics import band_statistics, choose

__all__ = ['SITSDataModule', 'check_options', 'series_options']


def series_options(
    dataset_class: type[TimeSeries],
    options: Mapping[str, Any],
    chosen_by: Signature,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Arguments for a kind of series.

    Args:
        dataset_class: The kind.
        options: Arguments of the data module that are those of series.
        chosen_by: Where the data module took them: those that are not the defaults there were
            chosen by the user.
        extra: Further arguments of this kind, as the user gave them.

    Returns:
        All arguments that the kind takes.

    Raises:
        SITSError: If it does not take one that was given.
    """
    taken = signature(dataset_class).parameters
    for name, value in options.items():
        # A cube was given these when it was converted.
        if name not in taken and value != chosen_by.parameters[name].default:
            raise SITSError(
                f'{name} is no argument of {dataset_class.__name__}: leave it out, or give it to '
                '`torchgeo-sits cube` for a cube that is read'
            )
    free = [name for name in taken if name not in options]
    if unknown := sorted(set(extra) - set(free)):
        raise SITSError(
            f'dataset_kwargs holds {unknown}, expected some of {free}, which '
            f'{dataset_class.__name__} takes beside the arguments of the data module'
        )
    return {name: value for name, value in options.items() if name in taken} | dict(extra)


def check_options(given: Mapping[str, Any]) -> None:
    """Refuse arguments of the data module that are out of their range or do not go together.

    Args:
        given: All arguments, by their names.

    Raises:
        SITSError: If an argument cannot work.
    """
    val_fraction, test_fraction = given['val_fraction'], given['test_fraction']
    if val_fraction < 0 or test_fraction < 0 or val_fraction + test_fraction >= 1:
        raise SITSError(
            'val_fraction and test_fraction must be at least 0 and leave something for '
            f'training, got {val_fraction} and {test_fraction}'
        )
    if (given['mean'] is None) != (given['std'] is None):
        raise SITSError('Give both mean and std, or neither')
    for name in (
        'patch_size',
        'batch_size',
        'length',
        'num_dates',
        'num_classes',
        'fields_per_class',
        'min_field_pixels',
    ):
        if (value := given[name]) is not None and value < 1:
            raise SITSError(f'{name} must be at least 1, got {value}')
    if given['num_workers'] < 0:
        raise SITSError(f'num_workers must be at least 0, got {given["num_workers"]}')
    fraction = given['label_fraction']
    if fraction is not None and not 0 < fraction <= 1:
        raise SITSError(f'label_fraction must be a share above 0, at most 1, got {fraction}')
    if fraction is not None and given['fields_per_class'] is not None:
        raise SITSError(
            f'fields_per_class={given["fields_per_class"]} and label_fraction={fraction} both say '
            'how many fields are labelled: give one of them'
        )
    if given['classes'] is not None and given['num_classes'] is not None:
        raise SITSError(
            f'num_classes={given["num_classes"]} follows from classes: leave num_classes out'
        )
    if given['target'] == 'field' and given['by_block']:
        raise SITSError("by_block=True draws patches: leave it out with target='field'")
    if given['mask_paths'] is None:
        _check_without_labels(given)


def _check_without_labels(given: Mapping[str, Any]) -> None:
    """Refuse what needs labels, and say what has no effect without."""
    for name, without in (
        ('supervised', False),
        ('classes', None),
        ('mask_per_frame', False),
        ('field_paths', None),
        ('fields_per_class', None),
        ('label_fraction', None),
    ):
        if given[name] != without:
            raise SITSError(f'{name}={given[name]!r} needs labels: give mask_paths')
    if given['split'] == 'fields' or given['target'] == 'field':
        name = 'split' if given['split'] == 'fields' else 'target'
        raise SITSError(f'{name}={given[name]!r} needs labels: give mask_paths')
    split, val, test = (given[name] for name in ('split', 'val_fraction', 'test_fraction'))
    if (split, val, test) != ('space', 0.25, 0.0):
        warnings.warn(
            f'split={split!r}, val_fraction={val} and test_fraction={test} '
            'have no effect without labels: nothing can be validated, so all of the imagery '
            'is for training. Give mask_paths to hold some out',
            UserWarning,
            stacklevel=4,
        )


class SITSDataModule(SeriesDataModule, GeoDataModule):
    """Patches of satellite image time series from any folder of dated rasters.

    Bands, dates, resolution and coordinate reference system are found in the files;
    normalisation statistics are computed once from clear pixels of the training split and
    travel in the checkpoint.
    """

    def __init__(
        self,
        paths: str | list[str] = 'data',
        mask_paths: str | list[str] | None = None,
        cloud_paths: str | list[str] | None = None,
        clear_values: list[int] | None = None,
        bands: list[str] | None = None,
        dataset_class: type[TimeSeries] = RasterTimeSeries,
        patch_size: int = 32,
        batch_size: int = 16,
        num_workers: int = 0,
        length: int | None = None,
        num_dates: int | None = None,
        by_block: bool = False,
        supervised: bool = False,
        target: Literal['pixel', 'field'] = 'pixel',
        num_classes: int | None = None,
        classes: dict[int, str] | None = None,
        unlabelled: int = 0,
        mask_per_frame: bool = False,
        field_paths: str | list[str] | None = None,
        fields_per_class: int | None = None,
        label_fraction: float | None = None,
        min_field_pixels: int = 1,
        split: Literal['space', 'time', 'fields'] = 'space',
        val_fraction: float = 0.25,
        test_fraction: float = 0.0,
        seed: int = 0,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        crs: str | None = None,
        res: float | None = None,
        nodata: float | None = None,
        min_clear: float = 0.0,
        filename_regex: str | None = None,
        date_format: str = '%Y%m%d',
        group_by: Literal['day', 'time'] = 'day',
        unreadable: Literal['raise', 'skip'] = 'raise',
        dataset_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Initialize a new SITSDataModule instance.

        Args:
            paths: One or more folders of dated rasters, or files.
            mask_paths: One or more label rasters, or folders of them. Their no data is not
                labelled.
            cloud_paths: One or more folders of cloud masks (Sentinel-2 SCL, say), matched
                to the images by date.
            clear_values: Values in the cloud masks that mean clear.
            bands: Names of the bands to read. Defaults to all.
            dataset_class: Kind of series, e.g.
                :class:`~torchgeo_sits.datasets.Sentinel2TimeSeries`, or
                :class:`~torchgeo_sits.datasets.ZarrTimeSeries` for cubes.
            patch_size: Height and width of a patch, in pixels.
            batch_size: Number of patches in a batch.
            num_workers: Number of worker processes that read.
            length: Number of training patches in an epoch. Defaults to as many as fit side
                by side, and to ten batches at least.
            num_dates: Number of dates of a training sample, spread over the whole series
                from a random start. None reads all.
            by_block: Draw several training patches from each block of the files and read it
                once for all of them: faster, with patches of a block spread over the epoch.
                Each worker keeps up to four blocks of all dates in memory.
            supervised: Train on labelled places only, and give their masks. False trains on
                every place and keeps the labels for the k-NN probe.
            target: Labels of pixels, as masks; or one sample per field: the window of
                *patch_size* around it, clear in the field only, with its class as ``label``,
                counted from 0 without *unlabelled*. Training is supervised then.
            num_classes: Number of classes, counting 0. Labels beyond are an error. Without it
                and *classes*, the largest label is looked up where *supervised*.
            classes: Values in the label rasters and names of their classes, such as
                ``{1110: 'winter wheat', 1200: 'maize'}``. Masks then hold their positions in
                this order, from 0 and leaving out *unlabelled*: with 0 from 1. All other
                values are not labelled.
            unlabelled: Value in masks of what is not labelled.
            mask_per_frame: The label rasters have dates in their names, and each frame gets
                the map that holds at its date, until that of the next map. Frames before the
                first are not labelled.
            field_paths: One or more rasters that number the fields (parcels), 0 for none. With
                these, or any option on fields, only pixels of fields are labelled, a field
                that two splits share is labelled in the one that holds most of it, and each
                patch of supervised training holds a labelled field. The numbers of the whole
                labelled area are kept in memory, four bytes per pixel. Without them a
                connected component of one class is a field.
            fields_per_class: Number of fields of each class that are labelled for training;
                of more fields, fewer are a part.
            label_fraction: Share of the fields of each class that are labelled for training,
                and one at least; of a larger share, a smaller one is a part.
            min_field_pixels: Smallest number of labelled pixels of a field.
            split: Hold out places, dates, or whole fields for validation and test. The last
                dates are held out by time, at all places. Fields are held out class by class;
                imagery of all places is then read in all splits. Without *mask_paths* nothing
                can be validated, and all of the imagery is for training.
            val_fraction: Share of the area (of the dates, of the fields) for validation.
            test_fraction: Share of the area (of the dates, of the fields) for test.
            seed: Seed of the splits, of the choice of fields and of the positions of patches.
            mean: Mean of each band. Computed if None.
            std: Standard deviation of each band. Computed if None.
            crs: Coordinate reference system to warp to, such as 'EPSG:32631'. Defaults to that
                of the first file.
            res: Resolution in units of the CRS. Defaults to the files'.
            nodata: Value of pixels without data. Defaults to what the files say.
            min_clear: Frames with a smaller share of clear pixels in the window are left
                out. 0 keeps all.
            filename_regex: For unusual names: a regular expression with a group ``date``.
            date_format: Format of that date.
            group_by: Files of one day, or of one time of acquisition, make one frame.
            unreadable: Stop at a file that cannot be read, or leave it out and warn.
            dataset_kwargs: Further arguments of *dataset_class*, such as ``scale``, ``offset``
                and ``snow_is_clear`` of Sentinel-2.

        Raises:
            SITSError: If an argument is out of its range.
        """
        check_options(locals())
        options: dict[str, Any] = {
            'paths': paths,
            'cloud_paths': cloud_paths,
            'clear_values': clear_values,
            'bands': bands,
            'crs': crs,
            'res': res,
            'nodata': nodata,
            'min_clear': min_clear,
            'filename_regex': filename_regex,
            'date_format': date_format,
            'group_by': group_by,
            'unreadable': unreadable,
        }
        options = series_options(
            dataset_class, options, signature(SITSDataModule.__init__), dataset_kwargs or {}
        )
        super().__init__(dataset_class, batch_size, patch_size, length, num_workers, **options)
        self._series_class = dataset_class
        self._patch = patch_size
        self.mask_paths = mask_paths
        self.num_dates = num_dates
        self.by_block = by_block
        self.target = target
        self.supervised = supervised or target == 'field'
        self.unlabelled = unlabelled
        self.mask_per_frame = mask_per_frame
        self.field_paths = field_paths
        self.fields_per_class = fields_per_class
        self.label_fraction = label_fraction
        self.min_field_pixels = min_field_pixels
        self._values = LabelValues(unlabelled, classes)
        self.class_names = self._values.names
        if target == 'field':
            self.unlabelled = -1
            self.class_names = None if classes is None else list(classes.values())
        self._num_classes = num_classes
        self.split = split
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.seed = seed
        self.collate_fn = partial(pad_labels, unlabelled=unlabelled)
        self._given = None if mean is None or std is None else (mean, std)
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        """The files, opened and split at first use."""
        if self._parts is None:
            self._parts = self._open()
        return self._parts

    @property
    def bands(self) -> list[str]:
        """Names of the bands, in the order of the channels."""
        return list(self.parts.series.bands)

    @property
    def num_classes(self) -> int | None:
        """Number of values of the mask, or of labels of fields; None where it is not known.

        Where it was not given it is one more than the largest label, which is looked up for
        supervised training only: it takes a pass over the label rasters.
        """
        if self.class_names is not None:
            return len(self.class_names)
        unlabelled = self._values.unlabelled
        if self._num_classes is None and self.supervised:
            assert self.parts.labels is not None  # supervised needs labels
            found = set(self.parts.labels.found()) - {unlabelled}
            self._num_classes = max(found, default=0) + 1
        if self._num_classes is None or self.target == 'pixel':
            return self._num_classes
        return self._num_classes - (0 <= unlabelled < self._num_classes)

    def setup(self, stage: str) -> None:
        """Open the files, split them, and make the samplers.

        Args:
            stage: Either 'fit', 'validate', 'test', or 'predict'.

        Raises:
            SITSError: If an epoch of training has no full batch.
        """
        if stage == 'fit' and self.length is not None and self.length < self.batch_size:
            raise SITSError(
                f'length={self.length} patches in an epoch do not fill a batch of '
                f'batch_size={self.batch_size}: give a larger length or a smaller batch_size'
            )
        for name in STAGES[stage]:
            found = self._stage(name)
            if found is not None:
                dataset, sampler = found
                if name != 'predict':
                    # What is repeated to fill up a process would count twice in a gradient.
                    sampler = ShardedSampler(sampler, drop_last=name == 'train')
                setattr(self, f'{name}_dataset', dataset)
                setattr(self, f'{name}_sampler', sampler)
        self._set_transforms()

    def train_dataloader(self) -> ResumableLoader:
        """Patches for training, each process its share; a resumed run gets the rest of an epoch.

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

    def probe_dataloaders(self) -> tuple[DataLoader[Any], DataLoader[Any]] | None:
        """Labelled patches of the training and of the validation split, for a k-NN probe.

        With ``split='time'`` both are of the same places on different dates: what is scored
        is whether features of a place stay the same over time, and a place that was looked
        up is easier to label than a new one. For figures on new places use
        ``split='space'``.

        Returns:
            Patches to look up and patches to score, or None without labels.
        """
        bank, query = self.parts.labelled_train, self.parts.labelled_val
        if bank is None or query is None:
            return None
        options: dict[str, Any] = {'collate_fn': self.collate_fn, 'num_workers': self.num_workers}
        bank_loader, query_loader = (
            DataLoader(part, self.batch_size, sampler=self._gridded_patches(part), **options)
            for part in (bank, query)
        )
        return bank_loader, query_loader

    def _open(self) -> Parts:
        """Open series and labels, and split both alike."""
        series = self._series_class(**self.kwargs)
        labels = None
        if self.mask_paths is not None:
            labels = open_labels(
                self.mask_paths,
                series,
                values=self._values,
                num_classes=self._num_classes,
                per_frame=self.mask_per_frame,
            )
        train = 1 - self.val_fraction - self.test_fraction
        return split_parts(
            series,
            labels,
            by=self.split,
            fractions=(train, self.val_fraction, self.test_fraction),
            patch=self._patch,
            seed=self.seed,
            fields=field_options(
                self.field_paths,
                series,
                per_class=self.fields_per_class,
                fraction=self.label_fraction,
                least=self.min_field_pixels,
                needed=self.split == 'fields' or self.target == 'field',
            ),
        )

    def _stage(self, name: Stage) -> tuple[GeoDataset, GeoSampler] | None:
        """Data set and sampler of a stage; None where nothing is held out for it."""
        if self.target == 'field':
            return field_stage(self.parts, name, **self._drawn)
        blocks = (self.batch_size, self.num_workers) if self.by_block else None
        return patch_stage(
            self.parts, name, supervised=self.supervised, blocks=blocks, **self._drawn
        )

    @property
    def _drawn(self) -> dict[str, Any]:
        """What samples of training are drawn by."""
        return {
            'size': self._patch,
            'length': self.length,
            'least': 10 * self.batch_size,
            'num_dates': self.num_dates,
            'group_by': self.kwargs['group_by'],
            'seed': self.seed,
        }

    def _gridded_patches(self, part: GeoDataset) -> GeoSampler:
        """Patches of a split side by side, on all dates."""
        return gridded_patches(self.parts, part, self._patch)

    def _measure(self) -> tuple[Tensor, Tensor]:
        """Statistics over patches of the training split, at most 32 of them."""
        train = self.parts.train
        # Where no patch of the grid lies between held-out blocks, others may.
        patches = list(self._gridded_patches(train)) or list(
            random_patches(self.parts, train, blocks=None, **self._drawn | {'length': 32})
        )
        return band_statistics(train[window] for window in choose(patches, 32, self.seed))

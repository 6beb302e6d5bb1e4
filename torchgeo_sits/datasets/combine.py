"""Series joined with labels, and series merged with series."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torchgeo.datasets import (
    GeoDataset,
    IntersectionDataset,
    RasterDataset,
    UnionDataset,
    VectorDataset,
)
from torchgeo.datasets.utils import GeoSlice, Sample

from ..errors import SITSError, SITSIndexError
from ..grid import Grid
from ..keys import ACQUISITION_TIMES, BOUNDS, IMAGE, LENGTH, LOCATION, MASK_CLEAR, TRANSFORM, VALID
from .frames import acquisition_keys
from .queries import CheckedQueries

__all__ = [
    'LabelledTimeSeries',
    'SeriesOperators',
    'TimeSeriesUnion',
    'is_labels',
    'is_series',
    'merge_series',
]


def is_labels(dataset: GeoDataset) -> bool:
    """Tell whether a data set holds labels: TorchGeo's vectors, or what says ``is_image=False``."""
    if isinstance(dataset, UnionDataset):
        return all(is_labels(member) for member in dataset.datasets)
    return isinstance(dataset, VectorDataset) or not getattr(dataset, 'is_image', True)


def is_series(dataset: GeoDataset) -> bool:
    """Tell whether samples of a data set hold dated frames."""
    return isinstance(dataset, SeriesOperators)


class SeriesOperators(CheckedQueries):
    """``&`` and ``|`` of all data sets of image time series.

    Attributes:
        group_by: What makes two frames one acquisition: the UTC day, or the time.
    """

    group_by: Literal['day', 'time']

    def __and__(self, other: GeoDataset) -> IntersectionDataset:
        """Join with labels by place whatever their date, or with images as TorchGeo does."""
        if is_labels(other):
            return LabelledTimeSeries(self, other)
        return super().__and__(other)

    def __or__(self, other: GeoDataset) -> UnionDataset:
        """Merge with another series in the order of time."""
        if is_series(other):
            return TimeSeriesUnion(self, other, group_by=self.group_by)
        return super().__or__(other)


class LabelledTimeSeries(CheckedQueries, IntersectionDataset):
    """Series with labels of the same place, whatever the date of the labels.

    Made by ``series & labels``. A sample is that of the series with ``mask`` ``(H, W)`` int64
    of the very same pixels. Safe under workers, even if labels were read before they started.

    Args:
        series: The images.
        labels: The labels; its CRS and resolution become those of *series*.
        transforms: Called with each sample, image and mask together.

    Raises:
        SITSError: If the two have no place in common.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> from torchgeo_sits.datasets.labels import RasterLabels
        >>> series = RasterTimeSeries(files.images)
        >>> labels = RasterLabels(str(files.classes), crs=series.crs, res=series.res)
        >>> labelled = series & labels
        >>> sample = labelled[labelled.bounds]
        >>> type(labelled).__name__, sample['image'].shape, sample['mask'].shape
        ('LabelledTimeSeries', torch.Size([4, 10, 32, 32]), torch.Size([32, 32]))
    """

    def __init__(
        self,
        series: GeoDataset,
        labels: GeoDataset,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        try:
            super().__init__(series, labels, spatial_only=True, transforms=transforms)
        except RuntimeError as error:
            # TorchGeo has moved the labels to the CRS of the series by now.
            ours, theirs = (
                [round(float(v), 1) for v in part.index.total_bounds] for part in (series, labels)
            )
            raise SITSError(
                f'the labels {getattr(labels, "paths", "")!r} lie nowhere on the images: in the '
                f"images' CRS the labels span {theirs} and the images {ours} (west, south, east, "
                'north). Give labels of the same place'
            ) from error
        self._pid = os.getpid()

    @property
    def block_grid(self) -> Grid | None:
        """First block of the files of the series, if it has such."""
        return getattr(self.datasets[0], 'block_grid', None)

    def __getitem__(self, index: GeoSlice) -> Sample:
        """Read series and labels of a window.

        Args:
            index: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:step]``.

        Returns:
            The sample of the series, and all of the labels but their ``bounds`` and
            ``transform``.

        Raises:
            IndexError: If there are no frames or no labels in the window.
        """
        if self._pid != os.getpid():
            # TorchGeo's handles, which labels may use, share their file offset with the
            # process that this one was forked from: wrong pixels for both.
            RasterDataset._cached_load_warp_file.cache_clear()
            self._pid = os.getpid()
        series, labels = self.datasets
        # A window that knows its block stays what it is, only those with gaps are filled.
        sample = series[index if hasattr(index, 'block') else self._disambiguate_slice(index)]
        # Where the frames really lie: the series may have moved the window onto its grid. No
        # time: labels of another year than the images are labels all the same.
        left, right, xres, bottom, top, yres = sample[BOUNDS][:6].tolist()
        found = labels[left:right:xres, bottom:top:yres]
        for key, value in found.items():
            if key not in (BOUNDS, TRANSFORM, LOCATION):
                sample[key] = value
        return sample if self.transforms is None else self.transforms(sample)


class TimeSeriesUnion(SeriesOperators, UnionDataset):
    """Two series as one, frames in the order of time.

    Made by ``series | series``. Where both hold a frame of one acquisition they are merged to
    one; pixels that the first did not see clearly are taken from the second.

    Args:
        dataset1: A series, or a union of some.
        dataset2: Another, with as many channels; its CRS and resolution become those of
            *dataset1*.
        group_by: What makes two frames one acquisition: the UTC day, or the time.
        transforms: Called with each merged sample.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> first, *others = sorted(files.images.iterdir())
        >>> series = RasterTimeSeries(first) | RasterTimeSeries(others)
        >>> type(series).__name__, series[series.bounds]['image'].shape
        ('TimeSeriesUnion', torch.Size([4, 10, 32, 32]))
    """

    def __init__(
        self,
        dataset1: GeoDataset,
        dataset2: GeoDataset,
        *,
        group_by: Literal['day', 'time'] = 'day',
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        self.group_by = group_by
        super().__init__(dataset1, dataset2, collate_fn=self._merge, transforms=transforms)

    def __getitem__(self, index: GeoSlice) -> Sample:
        """Read a window of both series, and merge what is found.

        Args:
            index: ``[xmin:xmax:xres, ymin:ymax:yres, tmin:tmax:step]``.

        Returns:
            The sample.

        Raises:
            IndexError: If neither has an acquisition in the window.
        """
        self._disambiguate_slice(index)
        try:
            return super().__getitem__(index)
        except SITSError:
            raise
        except IndexError as error:
            raise SITSIndexError(str(error)) from error

    def _merge(self, samples: Iterable[Sample]) -> Sample:
        """:func:`merge_series` by the grouping of this union."""
        return merge_series(list(samples), group_by=self.group_by)


def merge_series(samples: Sequence[Sample], *, group_by: Literal['day', 'time'] = 'day') -> Sample:
    """Merge series of the same window in the order of time.

    Args:
        samples: At least one, with frames ``(T, C, H, W)`` that differ in T only.
        group_by: What makes two frames one acquisition: the UTC day, or the time.

    Returns:
        One sample. A frame made of two takes each pixel from the first that saw it clearly,
        failing that from the first where it is not 0 (a cloud beats a gap), and the date of
        the first. Keys other than those of frames are those of the first sample.

    Raises:
        SITSError: If there is no sample, or frames differ in bands or size.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.datasets import merge_series
        >>> def series(day, value):
        ...     return {
        ...         'image': torch.full((1, 1, 1, 1), value),
        ...         'acquisition_times': torch.tensor([day * 86400]),
        ...         'mask_clear': torch.ones(1, 1, 1, dtype=torch.bool),
        ...     }
        >>> merged = merge_series([series(9, 1.0), series(3, 2.0)])
        >>> merged['image'].flatten(), merged['length']
        (tensor([2., 1.]), tensor(2))
    """
    if not samples:
        raise SITSError('merge_series got no samples: expected at least one')
    merged = dict(samples[0])
    if len(samples) == 1:
        return merged
    shapes = [tuple(sample[IMAGE].shape[1:]) for sample in samples]
    if len(set(shapes)) > 1:
        raise SITSError(
            f'series with frames (C, H, W) of {shapes} cannot be merged: read the same bands '
            'from both, at one resolution'
        )
    image, times, clear = (
        torch.cat([sample[key] for sample in samples])
        for key in (IMAGE, ACQUISITION_TIMES, MASK_CLEAR)
    )
    keys = torch.from_numpy(acquisition_keys(times.numpy(), group_by))
    frames: dict[int, list[int]] = {}
    for i in torch.argsort(times, stable=True).tolist():
        frames.setdefault(int(keys[i]), []).append(i)
    groups = [sorted(group) for group in frames.values()]
    images, masks = zip(*(_merge_frames(image[g], clear[g]) for g in groups), strict=True)
    merged[IMAGE], merged[MASK_CLEAR] = torch.stack(images), torch.stack(masks)
    merged[ACQUISITION_TIMES] = torch.stack([times[group].min() for group in groups])
    merged[VALID] = torch.ones(len(groups), dtype=torch.bool)
    merged[LENGTH] = torch.tensor(len(groups))
    return merged


def _merge_frames(image: Tensor, clear: Tensor) -> tuple[Tensor, Tensor]:
    """Merge frames ``(N, C, H, W)`` and masks ``(N, H, W)`` to ``(C, H, W)`` and ``(H, W)``.

    The one place where a 0 is taken for a gap: a sample does not say whether a pixel that is
    not clear was observed, series write 0 where it was not, and what is decided is only
    which of two pixels is shown that ``mask_clear`` calls not clear either way.
    """
    pixels, seen = image[0].clone(), clear[0].clone()
    for frame, mask in zip(image[1:], clear[1:], strict=True):
        take = ~seen & (mask | (pixels == 0).all(dim=0))
        pixels = torch.where(take, frame, pixels)
        seen |= mask
    return pixels, seen

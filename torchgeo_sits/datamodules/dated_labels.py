"""Dated rasters of labels: each frame of a series gets the map that holds at its date."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..collate import pad_time
from ..datasets import TimeSeries
from ..datasets.filenames import parse_name
from ..keys import ACQUISITION_TIMES, IMAGE, MASK, VALID
from .label_values import LabelValues
from .labels import Labels

__all__ = ['DatedLabels', 'MapsToFrames', 'open_labels', 'pad_labels']


class DatedLabels(Labels):
    """Label rasters with dates in their names; a sample holds all maps, in their order.

    Args:
        *args: As for :class:`~torchgeo_sits.datamodules.labels.Labels`.
        **kwargs: As for :class:`~torchgeo_sits.datamodules.labels.Labels`.

    Attributes:
        starts: Seconds since 1970-01-01 UTC from which each of the D maps holds, ``(D,)``.

    Raises:
        ValueError: If the name of a file holds no date.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        dates = {}
        for path in self.source_files:
            name = parse_name(path)
            if name is None:
                raise ValueError(
                    f"mask_per_frame=True needs a date in each name, '{path}' has none: name the "
                    'labels like labels_20200901.tif, by the day from which they hold'
                )
            dates[path] = int(name.time.timestamp())
        self.starts = np.unique(list(dates.values()))
        self._dates = dates

    def _merge_or_stack(self, filepaths: Sequence[str], *args: Any, **kwargs: Any) -> Tensor:
        """Maps ``(D, 1, H, W)`` of a window, NaN where there is no file for a date."""
        maps: list[Tensor | None] = []
        for start in self.starts:
            files = [path for path in filepaths if self._dates[path] == start]
            maps.append(super()._merge_or_stack(files, *args, **kwargs).double() if files else None)
        known = next(m for m in maps if m is not None)
        return torch.stack([known * torch.nan if m is None else m for m in maps])


class MapsToFrames:
    """Give each frame the map that holds at its time: a transform of samples.

    A map holds from its date until that of the next one.

    Args:
        starts: Seconds since 1970-01-01 UTC from which each map holds, ``(D,)``, ascending.
        unlabelled: Value in the mask of frames before the first map.
    """

    def __init__(self, starts: np.ndarray[Any, Any], unlabelled: int) -> None:
        self.starts = torch.as_tensor(starts)
        self.unlabelled = unlabelled

    def __call__(self, sample: Sample) -> Sample:
        """Choose the maps.

        Args:
            sample: A sample with ``mask`` ``(D, H, W)`` and ``acquisition_times`` ``(T,)``.

        Returns:
            The sample with ``mask`` ``(T, H, W)``.
        """
        holds = torch.searchsorted(self.starts, sample[ACQUISITION_TIMES], right=True) - 1
        mask = sample[MASK][holds.clamp(min=0)]
        mask[holds < 0] = self.unlabelled
        sample[MASK] = mask
        return sample


def pad_labels(samples: Iterable[dict[str, Any]], unlabelled: int) -> dict[str, Any]:
    """Stack samples by :func:`~torchgeo_sits.collate.pad_time`, with no label in padding.

    Args:
        samples: One dictionary per sample.
        unlabelled: Value in masks of what is not labelled.

    Returns:
        The batch.
    """
    batch = pad_time(samples)
    if MASK in batch and batch[MASK].ndim == batch[IMAGE].ndim - 1:
        batch[MASK][~batch[VALID]] = unlabelled
    return batch


def open_labels(
    paths: str | list[str],
    series: TimeSeries,
    *,
    values: LabelValues,
    num_classes: int | None,
    per_frame: bool,
) -> Labels:
    """Open the labels of a series, in its CRS and resolution.

    Args:
        paths: Files, or folders of them.
        series: The images.
        values: What the values of the rasters mean.
        num_classes: Number of classes, counting 0; None does not check.
        per_frame: Whether the rasters are dated, see :class:`DatedLabels`.

    Returns:
        The labels.
    """
    kind = DatedLabels if per_frame else Labels
    labels = kind(paths, crs=series.crs, res=series.res, values=values, num_classes=num_classes)
    if values.classes is not None:
        values.warn_of_others(labels.found())
    return labels

"""A series and its labels, split alike, and where the patches of a split may lie."""

import copy
import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset, IntersectionDataset

from ..datasets import TimeSeries
from ..samplers.footprints import join_footprints
from .dated_labels import DatedLabels, MapsToFrames
from .field_choice import choose_fields, hold_out_fields
from .fields import FieldMap, find_fields
from .kept_fields import KeptFields
from .labels import Labels
from .splits import split_space, split_time

__all__ = ['By', 'FieldOptions', 'Parts', 'field_options', 'split_parts']

By = Literal['space', 'time', 'fields']


class FieldOptions(NamedTuple):
    """Which groups of pixels are fields, and how many of them are labelled for training."""

    #: Rasters that number the fields; None for connected components of a class.
    numbers: Labels | None = None
    per_class: int | None = None
    fraction: float | None = None
    #: Smallest number of labelled pixels of a field.
    least: int = 1


def field_options(
    paths: str | list[str] | None,
    series: TimeSeries,
    *,
    per_class: int | None,
    fraction: float | None,
    least: int,
    needed: bool,
) -> FieldOptions | None:
    """How the fields of a series are found and chosen.

    Args:
        paths: Rasters that number the fields.
        series: The images.
        per_class: Number of fields of each class to label.
        fraction: Share of the fields of each class to label.
        least: Smallest number of labelled pixels of a field.
        needed: Whether fields are needed whatever these say.

    Returns:
        The options; None where nothing is said of fields and nothing needs them.
    """
    if not needed and (paths, per_class, fraction, least) == (None, None, None, 1):
        return None
    numbers = None
    if paths is not None:
        numbers = Labels(paths, crs=series.crs, res=series.res, option='field_paths')
    return FieldOptions(numbers, per_class, fraction, least)


class Parts(NamedTuple):
    """The splits, each as a data set of its own."""

    series: TimeSeries
    train: GeoDataset
    #: Series and labels joined; None without labels.
    labelled: IntersectionDataset | None = None
    #: None where nothing is labelled or held out, as are the two that follow.
    labelled_train: GeoDataset | None = None
    labelled_val: GeoDataset | None = None
    labelled_test: GeoDataset | None = None
    by: By = 'space'
    labels: Labels | None = None
    #: The fields, and which of them are labelled in training, validation and test; None where
    #: labels are not restricted to fields.
    fields: FieldMap | None = None
    kept: tuple[NDArray[np.bool_], ...] = ()

    def places(self, part: GeoDataset) -> tuple[GeoDataset, BaseGeometry | None]:
        """Where to place patches of a split.

        Files hold pixels on both sides of a border, so that the footprints of a split alone
        do not tell a patch that reaches into another split from one that reaches beyond the
        data. Held against all of the data they do.

        Args:
            part: One of these splits.

        Returns:
            The data set that *part* was cut from, and the region of interest in it.
        """
        if self.by != 'space':
            return part, None
        whole: GeoDataset | None = self.series
        if part is not self.series and part is not self.train:
            whole = self.labelled
        assert whole is not None  # there is no such part without labels
        return whole, join_footprints(part)


def split_parts(
    series: TimeSeries,
    labels: Labels | None,
    *,
    by: By,
    fractions: Sequence[float],
    patch: int,
    seed: int,
    fields: FieldOptions | None = None,
) -> Parts:
    """Join series and labels, and split both alike.

    Args:
        series: The images.
        labels: The labels. Without any nothing can be validated: all is for training.
        by: What is held out: blocks of the labelled area, the last dates, or whole fields.
        fractions: Shares of training, validation and test, summing to 1.
        patch: Side of the smallest block, in pixels.
        seed: Seed of the assignment of blocks or fields, and of the choice of fields.
        fields: Restrict labels to fields, and divide none between places or splits.

    Returns:
        The splits.

    Raises:
        ValueError: If there are too few blocks, dates or fields to hold out.
    """
    if labels is None:
        return Parts(series, series)
    labelled = series & labels
    if isinstance(labels, DatedLabels):
        labelled.transforms = MapsToFrames(labels.starts, labels.values.unlabelled)
    train: GeoDataset | None = series
    if by == 'space':
        # Blocks are drawn over the labelled area, so that each split has labels.
        parts = split_space((series, labelled), fractions, block=(patch, patch), seed=seed)
        train, joined = parts[0][0], parts[1]
    elif by == 'time':
        parts = split_time((series, labelled), fractions)
        train, joined = parts[0][0], parts[1]
    else:
        joined = [copy.copy(labelled) if share > 0 else None for share in fractions]
    assert train is not None  # the first fraction is above 0
    split = Parts(series, train, labelled, joined[0], joined[1], joined[2], by, labels)
    if fields is None:
        return split
    return _restrict(
        split,
        find_fields(labelled, labels, fields.numbers, least=fields.least),
        fractions,
        fields,
        seed,
    )


def _restrict(
    split: Parts, found: FieldMap, fractions: Sequence[float], options: FieldOptions, seed: int
) -> Parts:
    """Leave each split the labels of its own fields."""
    assert split.labels is not None
    values = split.labels.values
    joined = [split.labelled_train, split.labelled_val, split.labelled_test]
    if split.by == 'fields':
        share = hold_out_fields(found.classes, fractions, seed=seed)
        kept = [share == i for i in range(3)]
    elif split.by == 'space':
        places = [MultiPolygon() if part is None else join_footprints(part) for part in joined]
        share = found.most_in(places)
        kept = [share == i for i in range(3)]
    else:
        kept = [np.ones(len(found), bool) for _ in joined]
    _warn_of_few(found, kept, joined, options, split.by, values.names)
    kept[0] = choose_fields(
        found.classes,
        kept[0],
        per_class=options.per_class,
        fraction=options.fraction,
        seed=seed,
    )
    for part, own in zip(joined, kept, strict=True):
        if isinstance(part, IntersectionDataset):
            part.transforms = KeptFields(found, own, values.unlabelled, part.transforms)
    return split._replace(fields=found, kept=tuple(kept))


def _warn_of_few(
    found: FieldMap,
    kept: Sequence[NDArray[np.bool_]],
    joined: Sequence[GeoDataset | None],
    options: FieldOptions,
    by: By,
    names: Sequence[str] | None,
) -> None:
    """Name the classes with fewer fields than asked for, and those that a split lacks."""
    kinds = np.unique(found.classes)
    counts = [[int((found.classes[own] == kind).sum()) for kind in kinds] for own in kept]
    called = [str(kind) if names is None else names[kind] for kind in kinds]
    asked = options.per_class
    few = {
        name: n
        for name, n in zip(called, counts[0], strict=True)
        if asked is not None and n < asked
    }
    if few:
        warnings.warn(
            f'these classes have fewer fields for training than fields_per_class={asked}: {few} '
            '(class: fields). All of theirs are taken',
            UserWarning,
            stacklevel=2,
        )
    if by != 'fields':
        return  # what lies in other places, or on other dates, is no choice of ours
    for stage, part, own in zip(('training', 'validation', 'test'), joined, counts, strict=True):
        absent = [name for name, n in zip(called, own, strict=True) if not n]
        if absent and part is not None:
            warnings.warn(
                f'no field of the classes {absent} is left for {stage}: there are too few of them',
                UserWarning,
                stacklevel=2,
            )

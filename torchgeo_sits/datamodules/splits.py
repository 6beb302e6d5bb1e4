"""Split data sets by space or by time, so that no pixel or date is in two splits."""

import copy
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset, IntersectionDataset, roi_split, time_series_split

from ..datasets import TimeSeries
from ..datasets.labels import DatedLabels, Labels, MapsToFrames
from ..datasets.labels.values import list_some
from ..errors import SITSError
from ..samplers.footprints import join_footprints
from .fields import FieldMap, KeptFields, choose_fields, find_fields, hold_out_fields
from .options import LabelOptions, SplitOptions

__all__ = ['Splits', 'split_blocks', 'split_series', 'split_space', 'split_time']

#: What splits are for, in messages.
_STAGES = ('training', 'validation', 'test')
#: A data set cut into training, validation and test; None where a share is 0.
Shares = list[GeoDataset | None]


def split_space(
    datasets: Sequence[GeoDataset],
    fractions: Sequence[float],
    *,
    block: tuple[float, float],
    seed: int = 0,
) -> list[Shares]:
    """Split data sets of one area along the same blocks.

    Args:
        datasets: The data sets; the blocks are drawn over the area of the last.
        fractions: Share of each split, summing to 1; the first is training.
        block: Smallest height and width of a block, in pixels.
        seed: Seed of the assignment of blocks to splits.

    Returns:
        For each data set its splits, None where a split is empty. What a data set covers
        beyond the area of the last belongs to the first split.
    """
    xres, yres = datasets[-1].res
    area = shapely.get_parts(join_footprints(datasets[-1]))
    size = block[0] * yres, block[1] * xres
    rois = split_blocks(list(area), fractions=fractions, block=size, seed=seed)
    held_out = shapely.union_all(rois[1:])
    result: list[Shares] = []
    for dataset in datasets:
        rest = join_footprints(dataset).difference(held_out)
        shares = [rest, *rois[1:]]
        found = iter(roi_split(dataset, [roi for roi in shares if not roi.is_empty]))
        result.append([None if roi.is_empty else next(found) for roi in shares])
    return result


def split_time(datasets: Sequence[GeoDataset], fractions: Sequence[float]) -> list[Shares]:
    """Split data sets of one time span at the same dates, in chronological order.

    Args:
        datasets: The data sets; the dates of the first count.
        fractions: Share of the dates of each split, summing to 1.

    Returns:
        For each data set its splits, None where a fraction is 0.

    Raises:
        SITSError: If there are fewer dates than splits.
    """
    dates = datasets[0].index.index.left.unique().sort_values()
    wanted = [i for i, fraction in enumerate(fractions) if fraction > 0]
    if len(dates) < len(wanted):
        raise SITSError(
            f'{len(dates)} dates cannot be split by time into {len(wanted)}: hold nothing out '
            "(split.val_fraction=0, split.test_fraction=0), or by='space'"
        )
    # Cut between acquisitions: a cut within one would put it on both sides.
    ends = np.cumsum([fractions[i] for i in wanted])[:-1] * len(dates)
    cuts = [
        dates[int(np.clip(round(end), i + 1, len(dates) - len(wanted) + i + 1))]
        for i, end in enumerate(ends)
    ]
    result: list[Shares] = []
    for dataset in datasets:
        time = dataset.bounds[2]
        edges = [time.start, *cuts, time.stop]
        intervals = [pd.Interval(a, b, closed='neither') for a, b in pairwise(edges)]
        found = iter(time_series_split(dataset, intervals))
        result.append([next(found) if i in wanted else None for i in range(len(fractions))])
    return result


def split_blocks(
    footprints: Sequence[Polygon],
    *,
    fractions: Sequence[float],
    block: tuple[float, float],
    seed: int = 0,
) -> list[MultiPolygon]:
    """Assign whole blocks of an area to splits, at random.

    Each footprint is cut into a grid of blocks of equal size, as close to *block* as whole
    numbers allow but never smaller. Within a footprint the splits after the first each
    take the nearest number of blocks to their fraction, and at least one where their
    fraction is above 0; the first split takes the rest, blocks that the footprint fills in
    part only among it.

    Args:
        footprints: Disjoint, as (multi-)polygons' parts give them, in CRS units.
        fractions: Share of each split, summing to 1.
        block: Smallest height and width of a block, in CRS units.
        seed: Seed of the assignment.

    Returns:
        One geometry per split; their interiors are disjoint and they cover all footprints.

    Raises:
        SITSError: If no footprint has as many blocks as there are splits.
    """
    if abs(sum(fractions) - 1) > 1e-6 or min(fractions) < 0:
        raise SITSError(f'fractions must be positive and sum to 1, got {list(fractions)}')
    generator = np.random.default_rng(seed)
    shares: list[list[Polygon]] = [[] for _ in fractions]
    wanted = sum(fraction > 0 for fraction in fractions)
    divided = False
    for footprint in footprints:
        blocks = _grid(footprint, block)
        if len(blocks) < wanted:
            # Too small to be divided: a whole footprint stays in training.
            shares[0].append(footprint)
            continue
        divided = True
        order = generator.permutation(len(blocks))[:-1]  # one at least is for training
        taken = 0
        for share, fraction in zip(shares[1:], fractions[1:], strict=True):
            count = max(1, round(fraction * len(blocks))) if fraction > 0 else 0
            share.extend(blocks[i] for i in order[taken : taken + count])
            taken += count
        held_out = shapely.union_all([blocks[i] for i in order[:taken]])
        shares[0].append(footprint.difference(held_out))
    if not divided:
        sizes = [tuple(round(float(v), 3) for v in _size(footprint)) for footprint in footprints]
        raise SITSError(
            f'No area is large enough to hold out a block of {block} (height, width) in CRS '
            f'units: the areas measure {sizes[:5]}. Choose a smaller patches.size, split by '
            "fields or by time (split.by='fields', 'time'), or hold nothing out "
            '(split.val_fraction=0).'
        )
    return [shapely.union_all(share) if share else MultiPolygon() for share in shares]


def _size(footprint: Polygon) -> tuple[float, float]:
    """Height and width of the bounds."""
    xmin, ymin, xmax, ymax = footprint.bounds
    return ymax - ymin, xmax - xmin


def _grid(footprint: Polygon, block: tuple[float, float]) -> list[Polygon]:
    """Cut the bounds into blocks and keep those that lie in the footprint."""
    xmin, ymin, xmax, ymax = footprint.bounds
    rows, cols = (
        max(1, int((length + 1e-6 * size) // size))
        for length, size in zip(_size(footprint), block, strict=True)
    )
    # Whole multiples of the block but for the last, so that edges fall on pixels.
    ys = [ymax - i * block[0] for i in range(rows)] + [ymin]
    xs = [xmin + j * block[1] for j in range(cols)] + [xmax]
    boxes = (
        shapely.box(xs[j], ys[i + 1], xs[j + 1], ys[i]) for i in range(rows) for j in range(cols)
    )
    return [box for box in boxes if box.difference(footprint).area < 1e-6 * box.area]


class Splits(NamedTuple):
    """A series and its labels, and what each split has of them."""

    series: TimeSeries
    train: GeoDataset
    #: Series and labels joined; None without labels.
    labelled: IntersectionDataset | None = None
    #: None where nothing is labelled or held out, as are the two that follow.
    labelled_train: GeoDataset | None = None
    labelled_val: GeoDataset | None = None
    labelled_test: GeoDataset | None = None
    by: str = 'space'
    labels: Labels | None = None
    #: The fields, and which of them are labelled in training, validation and test; None where
    #: labels are not restricted to fields.
    fields: FieldMap | None = None
    kept: tuple[NDArray[np.bool_], ...] = ()

    def places(self, dataset: GeoDataset) -> tuple[GeoDataset, BaseGeometry | None]:
        """Data set and region to place the patches of a split in.

        Files hold pixels on both sides of a border, so that the footprints of a split alone
        do not tell a patch that reaches into another split from one that reaches beyond the
        data. Held against all of the data they do.

        Args:
            dataset: One of these splits.

        Returns:
            The data set that it was cut from, and the region of interest in that.
        """
        if self.by != 'space':
            return dataset, None
        whole: GeoDataset | None = self.series
        if dataset is not self.series and dataset is not self.train:
            whole = self.labelled
        assert whole is not None  # there is no such split without labels
        return whole, join_footprints(dataset)


def split_series(
    series: TimeSeries,
    labels: Labels | None,
    *,
    chosen: LabelOptions,
    split: SplitOptions,
    usual: Literal['space', 'fields'],
    patch: int,
    seed: int,
) -> Splits:
    """Join series and labels, and split both alike.

    Args:
        series: The images.
        labels: The labels. Without any nothing can be validated: all is for training.
        chosen: What is labelled. With vectors, or any option on fields, labels are restricted to
            fields, and none is divided between places or splits.
        split: What is held out.
        usual: How to split where *split* leaves it open and labels are no vectors. Where space
            cannot be divided so that every class can be learned, fields are.
        patch: Side of the smallest block, in pixels.
        seed: Seed of the assignment of blocks or fields, and of the choice of fields.

    Returns:
        The splits.

    Raises:
        SITSError: If there are too few blocks, dates or fields to hold out, or a class has no
            field to learn it from.
    """
    if labels is None:
        return Splits(series, series)
    options: dict[str, Any] = {
        'chosen': chosen,
        'fractions': split.fractions,
        'patch': patch,
        'seed': seed,
    }
    if split.by is not None:
        return _split_by(split.by, series, labels, **options)
    if usual == 'fields' or labels.knows_fields:
        return _split_by('fields', series, labels, **options)
    try:
        return _split_by('space', series, labels, **options)
    except SITSError as error:
        if isinstance(labels, DatedLabels):
            raise
        splits = _split_by('fields', series, labels, **options)
        warnings.warn(
            f"whole fields are held out (split.by='fields'), for places cannot be: {error}",
            UserWarning,
            stacklevel=2,
        )
        return splits


def _split_by(
    by: Literal['space', 'time', 'fields'],
    series: TimeSeries,
    labels: Labels,
    *,
    chosen: LabelOptions,
    fractions: tuple[float, float, float],
    patch: int,
    seed: int,
) -> Splits:
    """Split series and labels in one way; arguments are those of :func:`split_series`."""
    labelled = series & labels
    if isinstance(labels, DatedLabels):
        labelled.transforms = MapsToFrames(labels.starts, labels.values.missing)
    train: GeoDataset | None = series
    if by == 'space':
        # Blocks are drawn over the labelled area, so that each split has labels.
        images, joined = split_space((series, labelled), fractions, block=(patch, patch), seed=seed)
        train = images[0]
    elif by == 'time':
        images, joined = split_time((series, labelled), fractions)
        train = images[0]
    else:
        joined = [copy.copy(labelled) if share > 0 else None for share in fractions]
    assert train is not None  # the first fraction is above 0
    splits = Splits(series, train, labelled, joined[0], joined[1], joined[2], by, labels)
    if not (chosen.about_fields or labels.knows_fields or by == 'fields'):
        return splits
    found = find_fields(labelled, labels, least=chosen.min_field_pixels)
    return _restrict(splits, found, fractions, chosen, seed)


def _restrict(
    splits: Splits, found: FieldMap, fractions: Sequence[float], chosen: LabelOptions, seed: int
) -> Splits:
    """Leave each split the labels of its own fields."""
    assert splits.labels is not None
    values = splits.labels.values
    joined = [splits.labelled_train, splits.labelled_val, splits.labelled_test]
    if splits.by == 'fields':
        share = hold_out_fields(found.classes, fractions, seed=seed)
        kept = [share == i for i in range(3)]
    elif splits.by == 'space':
        places = [
            MultiPolygon() if dataset is None else join_footprints(dataset) for dataset in joined
        ]
        share = found.most_in(places)
        kept = [share == i for i in range(3)]
    else:
        kept = [np.ones(len(found), bool) for _ in joined]
    if values.names is not None or values.unlabelled == 0:  # others may be days
        learned = chosen.supervised or chosen.target == 'field'
        _check_classes(found, kept[0], splits.by, values.names, learned=learned)
    _warn_of_few(found, kept, joined, chosen.fields_per_class, splits.by, values.names)
    _warn_of_none(kept, joined, splits.by)
    kept[0] = choose_fields(
        found.classes,
        kept[0],
        per_class=chosen.fields_per_class,
        fraction=chosen.fraction,
        seed=seed,
    )
    for dataset, own in zip(joined, kept, strict=True):
        if isinstance(dataset, IntersectionDataset):
            dataset.transforms = KeptFields(found, own, values.missing, dataset.transforms)
    return splits._replace(fields=found, kept=tuple(kept))


def _check_classes(
    found: FieldMap,
    train: NDArray[np.bool_],
    by: str,
    names: Sequence[str] | None,
    *,
    learned: bool,
) -> None:
    """Refuse to learn classes none of whose fields is for training."""
    absent = sorted(set(found.classes.tolist()) - set(found.classes[train].tolist()))
    if not absent:
        return
    called = absent if names is None else [names[kind] for kind in absent]
    text = (
        f'no field of the classes {list_some(called)} lies in the places for training '
        f"(split.by='{by}'): hold out whole fields of each class (split.by='fields') or less of "
        'the area (split.val_fraction, split.test_fraction)'
    )
    if learned:
        raise SITSError(f'{text}, or list only the other classes in labels.classes')
    warnings.warn(text, UserWarning, stacklevel=2)


def _warn_of_none(
    kept: Sequence[NDArray[np.bool_]], joined: Sequence[GeoDataset | None], by: str
) -> None:
    """Name the splits whose places hold no field, which cannot be scored or trained on."""
    for stage, dataset, own in zip(_STAGES, joined, kept, strict=True):
        if by == 'space' and dataset is not None and not own.any():
            warnings.warn(
                f'no labelled field lies in the places for {stage}, which are blocks of all of the '
                "images (split.by='space'): hold out whole fields instead (split.by='fields')",
                UserWarning,
                stacklevel=2,
            )


def _warn_of_few(
    found: FieldMap,
    kept: Sequence[NDArray[np.bool_]],
    joined: Sequence[GeoDataset | None],
    asked: int | None,
    by: str,
    names: Sequence[str] | None,
) -> None:
    """Name the classes with fewer fields than asked for, and those that a split lacks."""
    kinds = np.unique(found.classes)
    counts = [[int((found.classes[own] == kind).sum()) for kind in kinds] for own in kept]
    called = [str(kind) if names is None else names[kind] for kind in kinds]
    few = {
        name: n
        for name, n in zip(called, counts[0], strict=True)
        if asked is not None and n < asked
    }
    if few:
        warnings.warn(
            'these classes have fewer fields for training than labels.fields_per_class='
            f'{asked}: {few} (class: fields). All of theirs are taken',
            UserWarning,
            stacklevel=2,
        )
    if by != 'fields':
        return  # what lies in other places, or on other dates, is no choice of ours
    for stage, dataset, own in zip(_STAGES, joined, counts, strict=True):
        absent = [name for name, n in zip(called, own, strict=True) if not n]
        if absent and dataset is not None:
            warnings.warn(
                f'no field of the classes {absent} is left for {stage}: there are too few of them',
                UserWarning,
                stacklevel=2,
            )

"""Split data sets by space or by time, so that no pixel or date is in two splits."""

import copy
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset, IntersectionDataset, roi_split, time_series_split

from ..datasets import TimeSeries
from ..datasets.labels import DatedLabels, Labels, MapsToFrames
from ..errors import SITSError
from ..samplers.footprints import join_footprints
from .fields import FieldMap, KeptFields, choose_fields, find_fields, hold_out_fields

__all__ = [
    'By',
    'FieldOptions',
    'Parts',
    'field_options',
    'split_blocks',
    'split_parts',
    'split_space',
    'split_time',
]

Split = list[GeoDataset | None]


def split_space(
    datasets: Sequence[GeoDataset],
    fractions: Sequence[float],
    *,
    block: tuple[float, float],
    seed: int = 0,
) -> list[Split]:
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
    result: list[Split] = []
    for dataset in datasets:
        rest = join_footprints(dataset).difference(held_out)
        shares = [rest, *rois[1:]]
        parts = iter(roi_split(dataset, [roi for roi in shares if not roi.is_empty]))
        result.append([None if roi.is_empty else next(parts) for roi in shares])
    return result


def split_time(datasets: Sequence[GeoDataset], fractions: Sequence[float]) -> list[Split]:
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
            "(val_fraction=0, test_fraction=0), or use split='space'"
        )
    # Cut between acquisitions: a cut within one would put it on both sides.
    ends = np.cumsum([fractions[i] for i in wanted])[:-1] * len(dates)
    cuts = [
        dates[int(np.clip(round(end), i + 1, len(dates) - len(wanted) + i + 1))]
        for i, end in enumerate(ends)
    ]
    result: list[Split] = []
    for dataset in datasets:
        time = dataset.bounds[2]
        edges = [time.start, *cuts, time.stop]
        intervals = [pd.Interval(a, b, closed='neither') for a, b in pairwise(edges)]
        parts = iter(time_series_split(dataset, intervals))
        result.append([next(parts) if i in wanted else None for i in range(len(fractions))])
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
    parts: list[list[Polygon]] = [[] for _ in fractions]
    wanted = sum(fraction > 0 for fraction in fractions)
    divided = False
    for footprint in footprints:
        blocks = _grid(footprint, block)
        if len(blocks) < wanted:
            # Too small to be divided: a whole footprint stays in training.
            parts[0].append(footprint)
            continue
        divided = True
        order = generator.permutation(len(blocks))[:-1]  # one at least is for training
        taken = 0
        for part, fraction in zip(parts[1:], fractions[1:], strict=True):
            count = max(1, round(fraction * len(blocks))) if fraction > 0 else 0
            part.extend(blocks[i] for i in order[taken : taken + count])
            taken += count
        held_out = shapely.union_all([blocks[i] for i in order[:taken]])
        parts[0].append(footprint.difference(held_out))
    if not divided:
        sizes = [tuple(round(float(v), 3) for v in _size(footprint)) for footprint in footprints]
        raise SITSError(
            f'No area is large enough to hold out a block of {block} (height, width) in CRS '
            f'units: the areas measure {sizes[:5]}. Choose a smaller patch_size, split by '
            "time (split='time'), or hold nothing out (val_fraction=0)."
        )
    return [shapely.union_all(part) if part else MultiPolygon() for part in parts]


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
    cells = (
        shapely.box(xs[j], ys[i + 1], xs[j + 1], ys[i]) for i in range(rows) for j in range(cols)
    )
    return [cell for cell in cells if cell.difference(footprint).area < 1e-6 * cell.area]


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
        SITSError: If there are too few blocks, dates or fields to hold out.
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

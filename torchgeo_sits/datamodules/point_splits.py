"""Splits of points: as published, at random, by groups, or by blocks of degrees."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.random import SeedSequence
from numpy.typing import NDArray

from ..datasets import PointSeries
from ..errors import SITSError
from .fields import hold_out_fields
from .point_options import PointSplitOptions

__all__ = ['split_points']

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

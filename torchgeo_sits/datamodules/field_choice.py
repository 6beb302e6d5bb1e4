"""Which fields are held out, and which of the rest are labelled: class by class, seeded."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

__all__ = ['choose_fields', 'hold_out_fields']


def hold_out_fields(
    classes: NDArray[np.int64], fractions: Sequence[float], *, seed: int
) -> NDArray[np.int64]:
    """Assign whole fields to splits, each class in the same shares.

    Each split with a share gets at least one field of a class, the first before the second
    and so on, where the class has as many.

    Args:
        classes: Class of each field, ``(F,)``.
        fractions: Share of each split, summing to 1; the first is training.
        seed: Seed of the assignment.

    Returns:
        Number of the split of each field, ``(F,)``.
    """
    split = np.zeros(len(classes), np.int64)
    for kind in np.unique(classes):
        fields = np.flatnonzero(classes == kind)
        order = _generator(seed, 0, kind).permutation(fields)
        free = len(fields) - 1  # one at least is for training
        for i, fraction in enumerate(fractions[1:], start=1):
            later = sum(share > 0 for share in fractions[i + 1 :])
            most = max(free - later, min(free, 1))
            count = min(max(1, round(fraction * len(fields))), most) if fraction > 0 else 0
            split[order[free - count : free]] = i
            free -= count
    return split


def choose_fields(
    classes: NDArray[np.int64],
    among: NDArray[np.bool_],
    *,
    per_class: int | None = None,
    fraction: float | None = None,
    seed: int,
) -> NDArray[np.bool_]:
    """Choose some fields of each class, at random; more of them hold those that are fewer.

    Args:
        classes: Class of each field, ``(F,)``.
        among: Fields to choose from, ``(F,)``.
        per_class: Number of fields of each class; all where there are fewer.
        fraction: Share of the fields of each class, and at least one.
        seed: Seed of the choice.

    Returns:
        Which fields are chosen, ``(F,)``: all of *among* without a number or a share.
    """
    if per_class is None and fraction is None:
        return among.copy()
    chosen = np.zeros(len(classes), bool)
    for kind in np.unique(classes[among]):
        order = _generator(seed, 1, kind).permutation(np.flatnonzero(classes == kind))
        order = order[among[order]]
        wanted = per_class if per_class is not None else max(1, round((fraction or 0) * len(order)))
        chosen[order[:wanted]] = True
    return chosen


def _generator(seed: int, stream: int, kind: int) -> Generator:
    """A generator of its own for each use and class, so that none depends on another."""
    # Keys are not negative, classes may be.
    return np.random.default_rng(SeedSequence(seed, spawn_key=(stream, int(kind) % 2**32)))

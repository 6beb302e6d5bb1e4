"""Which pixels are scored, and which fields are labelled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sites import SMALLEST, Site

#: Pixels of a field that are used at most, so that large fields do not outweigh all others.
PER_FIELD = 12


@dataclass(frozen=True)
class Pixels:
    """The labelled pixels of a site.

    Attributes:
        index: ``(P,)`` flat indices of the grid.
        classes: ``(P,)`` classes.
        fields: ``(P,)`` numbers of fields.
    """

    index: NDArray[np.int64]
    classes: NDArray[np.int64]
    fields: NDArray[np.int64]

    def of(self, fields: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pixels ``(P,)`` lie in one of *fields*."""
        return np.isin(self.fields, fields)


def labelled_pixels(site: Site, *, development: bool = False) -> Pixels:
    """The pixels of the fields that are tested, or of those that choices are made on.

    Tested are fields of at least ``SMALLEST`` pixels, of classes with two of them at least.

    Args:
        site: The site.
        development: Take the fields below that size instead.
    """
    rng = np.random.default_rng(0)
    sizes = np.bincount(site.fields.ravel())
    index, classes = [], []
    for field in np.flatnonzero(sizes):
        at = np.flatnonzero(site.fields == field) if field else []
        if field and (sizes[field] < SMALLEST) == development:
            index.append(rng.permutation(at)[:PER_FIELD])
            classes.append(site.classes.ravel()[at[0]])
    kinds, counts = np.unique(classes, return_counts=True)
    kept = [p for p, c in zip(index, classes, strict=True) if c in kinds[counts > 1]]
    joined = np.concatenate(kept)
    return Pixels(joined, site.classes.ravel()[joined], site.fields.ravel()[joined])


def draw_fields(pixels: Pixels, budget: str, draw: int) -> tuple[NDArray[np.int64], ...]:
    """Fields to train on and fields to test on.

    One field of each class at least is held out. Budgets take as many fields of a class as they
    say, or as there are ('all': two thirds). A share takes that part of all fields, of each
    class in proportion and at least one.

    Args:
        pixels: The pixels.
        budget: A number of fields per class, a share such as '5 %', or 'all'.
        draw: Number of the draw.

    Returns:
        Two arrays of numbers of fields.
    """
    rng = np.random.default_rng(draw)
    train, test = [], []
    for value in np.unique(pixels.classes):
        own = rng.permutation(np.unique(pixels.fields[pixels.classes == value]))
        if budget == 'all':
            number = round(len(own) * 2 / 3)
        elif budget.endswith('%'):
            number = max(1, round(len(own) * float(budget[:-1]) / 100))
        else:
            number = int(budget)
        number = min(number, len(own) - 1)
        train.append(own[:number])
        test.append(own[number:])
    return np.concatenate(train), np.concatenate(test)

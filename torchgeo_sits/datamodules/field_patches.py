"""Random patches that each hold pixels of labelled fields, all classes alike."""

from typing import Any

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset

from ..samplers import RandomSeriesPatchSampler
from .fields import FieldMap

__all__ = ['FieldPatchSampler', 'around_fields']

Integers = NDArray[np.int64]


class FieldPatchSampler(RandomSeriesPatchSampler):
    """Random patches of which each holds at least a pixel of some fields.

    A class is drawn, a field of it, a pixel of that, and a patch that holds it, each with the
    same probability: rare classes and small fields are seen as often as others.

    Args:
        dataset: Data set to sample from.
        fields: Its fields.
        kept: Which of the F fields patches shall hold, ``(F,)``.
        **kwargs: As for :class:`~torchgeo_sits.samplers.RandomSeriesPatchSampler`.

    Raises:
        ValueError: If no such field lies where patches can.
    """

    def __init__(
        self, dataset: GeoDataset, *, fields: FieldMap, kept: NDArray[np.bool_], **kwargs: Any
    ) -> None:
        super().__init__(dataset, uniform=0.0, **kwargs)
        wanted = np.append(False, kept)
        pixels, numbers = [], []
        for i in range(len(self.regions)):
            left, top, shape, res = self.regions[i]
            bounds = (left, top - shape[0] * res[1], left + shape[1] * res[0], top)
            found = fields.at(bounds, shape)
            row, column = np.nonzero(wanted[found])
            pixels.append(np.stack([np.full(len(row), i), row, column]))
            numbers.append(found[row, column])
        number = np.concatenate(numbers)
        if not len(number):
            raise ValueError(
                f'none of the {int(kept.sum())} fields for training lies where patches of '
                f'{self.size} pixels (height, width) can: choose a smaller patch_size'
            )
        # Pixels by field, and fields by class, so that each is a range of the other.
        present = np.unique(number)
        present = present[np.argsort(fields.classes[present - 1], kind='stable')]
        rank = np.zeros(len(fields) + 1, np.int64)
        rank[present] = np.arange(len(present))
        order = np.argsort(rank[number], kind='stable')
        self._pixels = np.concatenate(pixels, axis=1)[:, order]
        self._by_field = _starts(rank[number][order])
        self._by_class = _starts(fields.classes[present - 1])

    def _towards_pixels(self, number: int, generator: Generator) -> Integers:
        """Region, row and column of positions around a pixel of a field, ``(3, N)``."""
        assert self._pixels is not None
        at = generator.integers(len(self._by_class) - 1, size=number)
        for starts in (self._by_class, self._by_field):
            at = generator.integers(starts[at], starts[at + 1])
        where, row, column = self._pixels[:, at]
        start = []
        for pixel, side, most in zip(
            (row, column), self.size, self.regions.positions[where].T, strict=True
        ):
            low, high = np.maximum(pixel - side + 1, 0), np.minimum(pixel, most - 1)
            start.append(generator.integers(low, high + 1))
        return np.stack([where, *start])


def around_fields(fields: FieldMap, kept: NDArray[np.bool_], size: int) -> BaseGeometry:
    """Where patches lie that reach into the bounds of a field, as a region of interest.

    Args:
        fields: The fields.
        kept: Which of them, ``(F,)``.
        size: Side of a patch in pixels.

    Returns:
        The region, in the CRS of the fields.
    """
    (where, row, column), starts = fields.pixels()
    # A field lies in one area.
    first = starts[:-1]
    reach = size - 1
    low = [np.minimum.reduceat(axis, first)[kept] - reach for axis in (row, column)]
    high = [np.maximum.reduceat(axis, first)[kept] + 1 + reach for axis in (row, column)]
    corner = np.array([(area.left, area.top) for area in fields.areas])[where[first]][kept]
    (xres, yres), (left, top) = fields.res, corner.T
    return shapely.union_all(
        shapely.box(
            left + low[1] * xres, top - high[0] * yres, left + high[1] * xres, top - low[0] * yres
        )
    )


def _starts(values: Integers) -> Integers:
    """Where each run of equal values begins, and the end."""
    begins = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    return np.append(begins, len(values))

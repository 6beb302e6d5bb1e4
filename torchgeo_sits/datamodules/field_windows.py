"""One sample per field: the window around it, and its class as the label of the series."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchgeo.datasets.utils import Sample

from ..keys import BOUNDS, LABEL, MASK, MASK_CLEAR
from .fields import FieldMap

__all__ = ['FieldTargets', 'FieldWindows', 'field_windows']


class FieldWindows(NamedTuple):
    """A window for each of some fields, no two the same."""

    #: xmin, ymin, xmax, ymax ``(N, 4)`` in the CRS of the fields.
    bounds: NDArray[np.float64]
    #: Numbers of the fields ``(N,)``, counting from 1.
    numbers: NDArray[np.int64]


def field_windows(fields: FieldMap, kept: NDArray[np.bool_], size: int) -> FieldWindows:
    """Place a window around each of some fields.

    It is centred on the bounds of the field where these fit, else on the pixel of the field
    that lies nearest to its centre. At the border of the images it reaches beyond them.

    Args:
        fields: The fields.
        kept: Which of the F fields, ``(F,)``.
        size: Height and width of the windows in pixels.

    Returns:
        The windows, in the order of the numbers of the fields.
    """
    (where, row, column), ends = fields.pixels()
    numbers = np.flatnonzero(kept) + 1
    taken: set[tuple[int, int, int]] = set()
    bounds = []
    for first, last in zip(ends[numbers - 1].tolist(), ends[numbers].tolist(), strict=True):
        area = fields.areas[int(where[first])]
        rows, columns = row[first:last], column[first:last]
        far = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
        middle = int(far.argmin())
        start = []
        for pixels in (rows, columns):
            low, high = int(pixels.min()), int(pixels.max()) + 1
            at = (low + high - size) // 2 if high - low <= size else int(pixels[middle]) - size // 2
            start.append(at)
        # A field within another may have its centre: the window tells which one is meant.
        while (int(where[first]), start[0], start[1]) in taken:
            start[1] += 1
        taken.add((int(where[first]), start[0], start[1]))
        left, top = area.left + start[1] * fields.res[0], area.top - start[0] * fields.res[1]
        bounds.append((left, top - size * fields.res[1], left + size * fields.res[0], top))
    return FieldWindows(np.array(bounds).reshape(-1, 4), numbers)


class FieldTargets:
    """Make a window the sample of its field: a transform of samples.

    Args:
        fields: The fields.
        windows: The windows that samples may have.
        unlabelled: Value in masks of what is not labelled; classes are counted from 0 without
            it.
    """

    def __init__(self, fields: FieldMap, windows: FieldWindows, unlabelled: int) -> None:
        self.fields = fields
        self.windows = windows
        classes = fields.classes[windows.numbers - 1]
        self.labels = classes - ((classes > unlabelled) & (unlabelled >= 0))

    def __call__(self, sample: Sample) -> Sample:
        """Restrict ``mask_clear`` to the field, and replace ``mask`` by its ``label``.

        Args:
            sample: A sample with ``mask_clear`` ``(T, H, W)``, ``mask`` and ``bounds``.

        Returns:
            The sample with ``label`` ``()`` int64.
        """
        xmin, xmax, _, ymin, ymax, _ = sample[BOUNDS][:6].tolist()
        # Series move windows onto their pixels, by less than windows differ.
        far = np.abs(self.windows.bounds[:, [0, 3]] - [xmin, ymax]).sum(axis=1)
        at = int(far.argmin())
        rows, columns = sample[MASK_CLEAR].shape[-2:]
        found = self.fields.at((xmin, ymin, xmax, ymax), (rows, columns))
        inside = torch.from_numpy(found == self.windows.numbers[at])
        sample[MASK_CLEAR] = sample[MASK_CLEAR] & inside
        sample[LABEL] = torch.tensor(int(self.labels[at]))
        del sample[MASK]
        return sample

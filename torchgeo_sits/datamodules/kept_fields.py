"""Labels of some fields only, as a transform of samples."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..keys import BOUNDS, MASK
from .fields import FieldMap

__all__ = ['KeptFields']


class KeptFields:
    """Take the labels of all pixels away that do not lie in some fields.

    Args:
        fields: The fields.
        kept: Which of the F fields keep their labels, ``(F,)``.
        unlabelled: Value in masks of what is not labelled.
        before: A transform that comes first.
    """

    def __init__(
        self,
        fields: FieldMap,
        kept: NDArray[np.bool_],
        unlabelled: int,
        before: Callable[[Sample], Sample] | None = None,
    ) -> None:
        self.fields = fields
        self.kept = np.append(False, kept)
        self.unlabelled = unlabelled
        self.before = before

    def numbers(self, sample: Sample) -> Tensor:
        """Numbers of the fields ``(H, W)`` int64 of a sample, 0 where none is kept."""
        xmin, xmax, _, ymin, ymax, _ = sample[BOUNDS][:6].tolist()
        rows, columns = sample[MASK].shape[-2:]
        found = self.fields.at((xmin, ymin, xmax, ymax), (rows, columns))
        return torch.from_numpy(np.where(self.kept[found], found, 0).astype(np.int64))

    def __call__(self, sample: Sample) -> Sample:
        """Restrict the labels.

        Args:
            sample: A sample with ``mask`` ``(H, W)`` or ``(T, H, W)`` and ``bounds``.

        Returns:
            The sample.
        """
        if self.before is not None:
            sample = self.before(sample)
        inside = self.numbers(sample) > 0
        sample[MASK] = torch.where(inside, sample[MASK], self.unlabelled)
        return sample

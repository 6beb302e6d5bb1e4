"""Panoptic quality of parcels, as the authors of PASTIS count it since June 2022."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ['PanopticQuality']


class PanopticQuality(Metric):
    """Segmentation, recognition and panoptic quality of parcels.

    Kirillov et al., Panoptic segmentation, CVPR 2019, https://arxiv.org/abs/1801.00868, eq. 1, as
    it is counted on PASTIS (https://github.com/VSainteuf/utae-paps, src/panoptic/metrics.py, as
    mended in June 2022): a predicted parcel is right where it and a true one of its class overlap
    by more than half of their union. Predicted parcels that do so with a void one count
    nowhere, nor do void pixels. Parcels are of one patch; counts are summed over patches.

    * ``SQ``: mean overlap of the parcels that are right, 0 for a class without any.
    * ``RQ``: the F1 score of recognition.
    * ``PQ``: their product.

    All are means over the classes that occur among true or predicted parcels, but background and
    void. One case differs from the authors' code: a single parcel that fills a whole patch is
    counted here, and not there.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.metrics import PanopticQuality
        >>> metric = PanopticQuality(num_classes=3)
        >>> parcels = torch.tensor([[[1, 1, 0, 2], [1, 1, 0, 2]]])
        >>> classes = torch.tensor([[[1, 1, 0, 2], [1, 1, 0, 2]]])
        >>> metric.update(parcels, classes, parcels, classes)
        >>> {name: value.item() for name, value in metric.compute().items()}
        {'SQ': 1.0, 'RQ': 1.0, 'PQ': 1.0}
    """

    full_state_update = False
    counts: Tensor
    overlap: Tensor

    def __init__(
        self, num_classes: int, *, background: int = 0, void: int | None = None, **kwargs: Any
    ) -> None:
        """Initialize a new PanopticQuality instance.

        Args:
            num_classes: Number of classes, background and void included.
            background: Class of what is no parcel.
            void: Class of parcels that count nowhere, if there is one.
            **kwargs: Arguments of :class:`torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.background = background
        self.void = void
        # True positives, false positives, false negatives.
        self.add_state('counts', torch.zeros(num_classes, 3, dtype=torch.int64), 'sum')
        # In units of 2^-40: sums are exact, and not every device has floats of 64 bits.
        self.add_state('overlap', torch.zeros(num_classes, dtype=torch.int64), 'sum')

    def update(
        self, found: Tensor, found_classes: Tensor, parcels: Tensor, classes: Tensor
    ) -> None:
        """Count patches.

        Args:
            found: Numbers of the predicted parcels, ``(B, H, W)`` int64, 0 for none.
            found_classes: Predicted class of each pixel, ``(B, H, W)``.
            parcels: Numbers of the true parcels, ``(B, H, W)`` int64, 0 for none.
            classes: True class of each pixel, ``(B, H, W)``.
        """
        for one in zip(found, found_classes, parcels, classes, strict=True):
            self._count(*(values.cpu().long() for values in one))

    def _count(
        self, found: Tensor, found_classes: Tensor, parcels: Tensor, classes: Tensor
    ) -> None:
        """Count a patch ``(H, W)``."""
        if self.void is not None:
            is_void = classes == self.void
            found = torch.where(self._is_void(found, parcels * is_void) | is_void, 0, found)
        true, true_number, true_area = self._segments(parcels, classes)
        other, other_number, other_area = self._segments(found, found_classes)
        hits = torch.zeros(self.num_classes, dtype=torch.int64)
        overlap = torch.zeros(self.num_classes, dtype=torch.float64)
        for one, two, shared in _pairs(true, other):
            kind = int(true_number[one - 1])
            if kind != int(other_number[two - 1]):
                continue
            union = float(true_area[one - 1] + other_area[two - 1] - shared)
            if shared / union > 0.5:
                hits[kind] += 1
                overlap[kind] += shared / union
        numbers = (true_number, other_number)
        in_truth, predicted = (torch.bincount(n, minlength=self.num_classes) for n in numbers)
        counted = torch.stack([hits, predicted - hits, in_truth - hits], dim=1)
        self.counts += counted.to(self.counts.device)
        self.overlap += (overlap * _UNITS).round().long().to(self.overlap.device)

    def _segments(self, parcels: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Number parcels of one class each, from 1: map, class and area of each."""
        counted = (parcels > 0) & (classes != self.background)
        if self.void is not None:
            counted &= classes != self.void
        keys = torch.where(counted, parcels * self.num_classes + classes, -1)
        unique, number, area = keys.unique(return_inverse=True, return_counts=True)
        if len(unique) and unique[0] < 0:
            return number, unique[1:] % self.num_classes, area[1:]
        return number + 1, unique % self.num_classes, area

    def _is_void(self, found: Tensor, void: Tensor) -> Tensor:
        """Pixels of predicted parcels that overlap a void one by more than half."""
        areas, void_areas = (_areas(values) for values in (found, void))
        gone = [
            one
            for one, two, shared in _pairs(found, void)
            if shared / (areas[one] + void_areas[two] - shared) > 0.5
        ]
        return torch.isin(found, torch.tensor(gone, dtype=found.dtype))

    def compute(self) -> dict[str, Tensor]:
        """``SQ``, ``RQ`` and ``PQ``, NaN where no parcel occurs."""
        right, wrong, missed = self.counts.cpu().double().unbind(1)
        quality = torch.where(
            right > 0, self.overlap.cpu().double() / _UNITS / right.clamp(min=1), 0.0
        )
        recognition = right / (right + 0.5 * wrong + 0.5 * missed)
        there = ~recognition.isnan()
        scores = {'SQ': quality, 'RQ': recognition, 'PQ': quality * recognition}
        return {name: values[there].mean() for name, values in scores.items()}


#: Units of an overlap of 1.
_UNITS = float(1 << 40)


def _areas(parcels: Tensor) -> dict[int, int]:
    """Pixels of each number of a map; numbers may be far apart."""
    numbers, areas = parcels.unique(return_counts=True)
    return dict(zip(numbers.tolist(), areas.tolist(), strict=True))


def _pairs(first: Tensor, second: Tensor) -> list[tuple[int, int, int]]:
    """Numbers above 0 of two maps that share pixels, and how many they share."""
    both = (first > 0) & (second > 0)
    pairs = torch.stack([first[both], second[both]], dim=1)
    unique, shared = pairs.unique(dim=0, return_counts=True)
    return [(int(a), int(b), int(n)) for (a, b), n in zip(unique, shared, strict=True)]

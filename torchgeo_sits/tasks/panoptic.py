"""Panoptic segmentation: parcels, and the class of each."""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool2d
from torchmetrics import Metric

from ..errors import SITSError
from ..metrics import PanopticQuality
from ..models import SITSEncoder
from .segmentation import SITSSegmentation

__all__ = ['SITSPanoptic', 'find_parcels', 'inside_of_parcels']

#: Key of the numbers of the true parcels, ``(B, H, W)``.
_MASK_INSTANCE: Final = 'mask_instance'


class SITSPanoptic(SITSSegmentation):
    """Parcels and their classes: segmentation, and a score of being inside a parcel.

    A simple head over any encoder: one more score for each pixel says whether its neighbours are
    of its parcel. Pixels inside that touch are a parcel, which grows by *grow* pixels to its
    border, and has the class that its pixels find most probable together. The batch has
    ``mask_instance`` ``(B, H, W)``, the numbers of the true parcels, 0 for none; class 0 is
    background. Scores are those of :class:`~torchgeo_sits.metrics.PanopticQuality` beside those
    of segmentation.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSPanoptic
        >>> task = SITSPanoptic(model='tempcnn', in_channels=3, num_classes=4)
        >>> series = {
        ...     'image': torch.rand(2, 5, 3, 8, 8),
        ...     'acquisition_times': 86_400 * torch.arange(5).expand(2, 5),
        ...     'valid': torch.ones(2, 5, dtype=torch.bool),
        ... }
        >>> parcels, classes = task.find(task(series))
        >>> parcels.shape, classes.shape
        (torch.Size([2, 8, 8]), torch.Size([2, 8, 8]))
    """

    monitor = 'val_PQ'
    main_scores = ('PQ', 'SQ', 'RQ', *SITSSegmentation.main_scores)

    def __init__(
        self, inside_weight: float = 1.0, grow: int = 2, min_pixels: int = 4, **kwargs: Any
    ) -> None:
        """Initialize a new SITSPanoptic instance.

        Args:
            inside_weight: Weight of the loss of being inside, beside that of the classes.
            grow: Pixels by which what is inside grows to a parcel.
            min_pixels: Smallest number of pixels of a parcel.
            **kwargs: Arguments of the base class, :class:`SITSSegmentation`.

        Raises:
            SITSError: If an argument is out of its range.
        """
        if inside_weight < 0 or grow < 0 or min_pixels < 1:
            raise SITSError(
                'inside_weight and grow must be at least 0, min_pixels at least 1, got '
                f'{inside_weight}, {grow} and {min_pixels}'
            )
        super().__init__(**kwargs)
        if self.hparams['task'] != 'multiclass':
            raise SITSError("SITSPanoptic tells classes apart: set task to 'multiclass'")

    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on dense features, of one more score than there are classes."""
        return super().build_head(encoder, num_outputs + 1)

    # -- the last score is that of being inside ------------------------------------------------

    def select(self, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Select the labelled places of a batch, see :meth:`SITSSupervised.select`."""
        return super().select(scores[:, :-1], target)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Probabilities ``(B, K, H, W)`` of the classes."""
        return super().probabilities(scores[:, :-1])

    def prediction(self, scores: Tensor, batch: dict[str, Any]) -> Tensor:
        """Predict the class of each pixel ``(B, H, W)``."""
        return super().prediction(scores[:, :-1], batch)

    def auxiliary_loss(self, batch: dict[str, Any], scores: Tensor) -> Tensor:
        """Cross-entropy of being inside a parcel, over all pixels but void ones.

        Raises:
            SITSError: If the batch has no parcels.
        """
        if _MASK_INSTANCE not in batch:
            raise SITSError(
                f'expected {_MASK_INSTANCE!r} (B, H, W) in the batch, the numbers of the parcels, '
                f'got the keys {sorted(batch)}: set instances=true of PASTISDataModule'
            )
        wanted = inside_of_parcels(batch[_MASK_INSTANCE]).to(scores.dtype)
        known = self.is_labelled(self.target(batch))
        found: Tensor = binary_cross_entropy_with_logits(scores[:, -1][known], wanted[known])
        return self.hparams['inside_weight'] * found if known.any() else scores.sum() * 0.0

    def find(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Find the parcels of scores.

        Args:
            scores: ``(B, K + 1, H, W)``, as the task gives them.

        Returns:
            Numbers of the parcels, 0 for none, and their classes, 0 outside, ``(B, H, W)``.
        """
        classes = scores[:, :-1].float().log_softmax(1)
        foreground = classes[:, 1:].amax(1) > classes[:, 0]
        parcels = find_parcels(
            (scores[:, -1] > 0) & foreground,
            foreground,
            grow=self.hparams['grow'],
            min_pixels=self.hparams['min_pixels'],
        )
        kinds = [_class_of(*one) for one in zip(parcels, classes, strict=True)]
        return parcels, torch.stack(kinds)

    def map_metrics(self) -> list[Metric]:
        """Panoptic quality."""
        assert self.num_classes is not None
        return [PanopticQuality(self.num_classes, void=self.hparams['ignore_index'])]

    def update_map_metrics(
        self, metrics: nn.ModuleList, batch: dict[str, Any], scores: Tensor
    ) -> None:
        """Count the parcels of a batch."""
        quality: Any = metrics[0]
        quality.update(*self.find(scores), batch[_MASK_INSTANCE], self.target(batch))


def inside_of_parcels(parcels: Tensor) -> Tensor:
    """Find the pixels whose eight neighbours are of their parcel.

    Of a parcel that is too narrow to have any, all pixels count: each parcel has some.

    Args:
        parcels: Numbers of the parcels, ``(B, H, W)`` int64, 0 for none.

    Returns:
        ``(B, H, W)`` bool.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks.panoptic import inside_of_parcels
        >>> parcels = torch.tensor([[[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2]]])
        >>> inside_of_parcels(parcels)[0].int().tolist()
        [[1, 1, 0, 1], [1, 1, 0, 1], [1, 1, 0, 1]]
    """
    found = []
    for one in parcels:
        # Numbered anew: published ones exceed what float32 tells apart.
        unique, number = one.unique(return_inverse=True)
        values = number.float()[None, None]
        largest = max_pool2d(values, 3, stride=1, padding=1)
        smallest = -max_pool2d(-values, 3, stride=1, padding=1)
        same = ((largest == values) & (smallest == values))[0, 0] & (one > 0)
        narrow = torch.bincount(number[same], minlength=len(unique)) == 0
        found.append(same | (narrow[number] & (one > 0)))
    return torch.stack(found)


def find_parcels(inside: Tensor, foreground: Tensor, *, grow: int, min_pixels: int) -> Tensor:
    """Number what is inside and touches, and let it grow to its border.

    Args:
        inside: Pixels inside of parcels, ``(B, H, W)`` bool.
        foreground: Pixels that may be of one, ``(B, H, W)`` bool.
        grow: Pixels to grow by, within the foreground.
        min_pixels: Smallest number of pixels of a parcel.

    Returns:
        Numbers of the parcels, ``(B, H, W)`` int64, 0 for none; they do not follow each other.
    """
    height, width = inside.shape[-2:]
    # Exact in float32 up to patches of 4,096 x 4,096 pixels.
    number = torch.arange(1, height * width + 1, device=inside.device, dtype=torch.float32)
    labels = number.view(1, 1, height, width) * inside[:, None]
    while True:
        spread = max_pool2d(labels, 3, stride=1, padding=1) * inside[:, None]
        if torch.equal(spread, labels):
            break
        labels = spread
    for _ in range(grow):
        spread = max_pool2d(labels, 3, stride=1, padding=1) * foreground[:, None]
        labels = torch.where(labels > 0, labels, spread)
    parcels = labels[:, 0].long()
    sizes = [torch.bincount(one.flatten(), minlength=height * width + 1) for one in parcels]
    kept = [size[one] >= min_pixels for size, one in zip(sizes, parcels, strict=True)]
    return parcels * torch.stack(kept)


def _class_of(parcels: Tensor, classes: Tensor) -> Tensor:
    """The class of each parcel, by the sum of its log-probabilities, ``(H, W)``; 0 outside.

    Args:
        parcels: Numbers of the parcels, ``(H, W)``.
        classes: Log-probabilities ``(K, H, W)``, of which the first is that of background.
    """
    unique, number = parcels.unique(return_inverse=True)
    total = classes.new_zeros(len(unique), len(classes))
    total.index_add_(0, number.flatten(), classes.flatten(1).T)
    best = total[:, 1:].argmax(1) + 1
    return torch.where(parcels > 0, best[number], 0)

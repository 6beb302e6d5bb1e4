"""Segmentation: a class for each pixel of a series."""

from typing import Any, cast

from torch import Tensor, nn

from ..keys import IMAGE, MASK
from ..mapping import Certainty, MapOutput
from ..models import DenseHead, SITSEncoder
from .supervised import SITSSupervised

__all__ = ['SITSSegmentation']


class SITSSegmentation(SITSSupervised):
    """Semantic segmentation of satellite image time series: one map for a whole series.

    Any encoder of :data:`torchgeo_sits.models.ENCODERS`, pretrained or not, and a linear head
    on its dense features. With ``freeze_backbone`` it is a linear probe.

    On PASTIS, ``test_OverallAccuracy`` and ``test_AverageJaccardIndex`` are the OA and the mIoU
    of its authors, whose void is never predicted here and counts nowhere. Their score over the
    five folds is that of the sum of :attr:`test_confusion`, see
    :func:`torchgeo_sits.metrics.overall_score`.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSSegmentation
        >>> task = SITSSegmentation(model='tempcnn', in_channels=3, num_classes=4)
        >>> series = {
        ...     'image': torch.rand(2, 5, 3, 8, 8),
        ...     'acquisition_times': 86_400 * torch.arange(5).expand(2, 5),
        ...     'valid': torch.ones(2, 5, dtype=torch.bool),
        ... }
        >>> task(series).shape
        torch.Size([2, 4, 8, 8])
    """

    @property
    def test_confusion(self) -> Tensor | None:
        """Confusion matrix ``(K, K)`` int64 of the last test, rows the truth; None before."""
        return self._confusion.get('test')

    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on dense features."""
        return DenseHead(
            encoder.feature_dim(self.hparams['depth']),
            num_outputs,
            stride=encoder.stride,
            hidden_dim=self.hparams['hidden_dim'],
        )

    @property
    def joining_layer(self) -> nn.Module:
        """Layer that adds up what early and late features give."""
        head: Any = self.head
        return cast(nn.Module, head.first)

    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Raw scores of the pixels.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            ``(B, K, H, W)``.
        """
        features = self.encoder.features(self.encoder.series_of(batch), depth=self.hparams['depth'])
        return self.head(features, batch[IMAGE].shape[-2:])

    def target(self, batch: dict[str, Any]) -> Tensor:
        """Labels ``(B, H, W)`` of a batch."""
        mask: Tensor = batch[MASK]
        return mask

    def map_outputs(self) -> list[MapOutput]:
        """Maps of the class, of the probabilities of the classes, and of the certainty."""
        return [
            self.class_map('class'),
            self.probability_map('probabilities'),
            Certainty('certainty', 'probabilities'),
        ]

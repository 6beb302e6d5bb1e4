"""Segmentation: a class for each pixel of a series."""

from typing import Any

from torch import Tensor, nn

from ..keys import IMAGE, MASK, Series
from ..mapping import ClassMap, MapOutput, Probabilities
from ..models import DenseHead, SITSEncoder
from .base import class_names
from .supervised import SITSSupervised

__all__ = ['SITSSegmentation']


class SITSSegmentation(SITSSupervised):
    """Semantic segmentation of satellite image time series: one map for a whole series.

    Any encoder of :data:`torchgeo_sits.models.ENCODERS`, pretrained or not, and a linear head
    on its dense features. With ``freeze_backbone`` it is a linear probe.
    """

    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on dense features."""
        return DenseHead(
            encoder.feature_dim(self.hparams['depth']),
            num_outputs,
            stride=encoder.stride,
            hidden_dim=self.hparams['hidden_dim'],
        )

    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Raw scores of the pixels.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            ``(B, K, H, W)``.
        """
        features = self.encoder.features(Series.from_batch(batch), depth=self.hparams['depth'])
        return self.head(features, batch[IMAGE].shape[-2:])

    def target(self, batch: dict[str, Any]) -> Tensor:
        """Labels ``(B, H, W)`` of a batch."""
        mask: Tensor = batch[MASK]
        return mask

    def map_outputs(self) -> list[MapOutput]:
        """Maps of the class and of the probabilities of the classes."""
        names = class_names(self)
        bands = names[1:] if self.hparams['task'] == 'binary' else names
        return [
            ClassMap('class', 'probabilities', names),
            Probabilities('probabilities', 'probabilities', bands),
        ]

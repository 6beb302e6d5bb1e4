"""Maps of embeddings, from any task that has an encoder."""

from abc import abstractmethod
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn.functional import interpolate

from ..keys import IMAGE
from ..mapping import Embedding, MapOutput
from ..models import SITSEncoder
from .base import series_inputs

__all__ = ['EmbeddingMapMixin']


class EmbeddingMapMixin(LightningModule):
    """What a task of pretraining predicts: the late features of each pixel."""

    @property
    @abstractmethod
    def encoder(self) -> SITSEncoder:
        """The encoder that downstream tasks use."""

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Dense features.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.

        Returns:
            ``embedding`` ``(B, D, H, W)``, between the cells of encoders with a stride bilinear.
        """
        features = self.encoder.features(*series_inputs(batch))
        size = batch[IMAGE].shape[-2:]
        if features.shape[-2:] != size:
            features = interpolate(features, size, mode='bilinear')
        return {'embedding': features}

    def map_outputs(self) -> list[MapOutput]:
        """One map, a band for each feature."""
        return [Embedding('embedding', 'embedding')]

"""The encoder of a checkpoint, to embed pixels with."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn.functional import interpolate

from ..keys import IMAGE, Series
from ..mapping import Embedding, MapOutput
from ..models import SITSEncoder, load_encoder
from .base import adopt_data

__all__ = ['EmbeddingMapMixin', 'SITSEmbedding']


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
        features = self.encoder.features(Series.from_batch(batch))
        size = batch[IMAGE].shape[-2:]
        if features.shape[-2:] != size:
            features = interpolate(features, size, mode='bilinear')
        return {'embedding': features}

    def map_outputs(self) -> list[MapOutput]:
        """One map, a band for each feature."""
        return [Embedding('embedding', 'embedding')]


class SITSEmbedding(EmbeddingMapMixin, LightningModule):
    """Predicts the features of each pixel, with the encoder of any task's checkpoint.

    The data is normalised as it was when the encoder was trained.

    Args:
        weights: Path of the checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If the file is not a whole checkpoint of this package.
    """

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        self.weights = weights
        self.backbone, self._card = load_encoder(weights)

    @property
    def encoder(self) -> SITSEncoder:
        """The encoder."""
        return self.backbone

    def setup(self, stage: str) -> None:
        """Hold the bands of the data against those of the checkpoint, and normalise as it did.

        Raises:
            SITSError: If the data has other bands.
        """
        datamodule: Any = getattr(self.trainer, 'datamodule', None)
        adopt_data(self._card, datamodule, self.weights)

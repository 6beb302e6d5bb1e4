"""The encoder of a checkpoint, to embed pixels with."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule

from ..models import SITSEncoder, load_encoder
from .embedding_map import EmbeddingMapMixin
from .pretrained import adopt_data

__all__ = ['SITSEmbedding']


class SITSEmbedding(EmbeddingMapMixin, LightningModule):
    """Predicts the features of each pixel, with the encoder of any task's checkpoint.

    The data is normalised as it was when the encoder was trained.

    Args:
        weights: Path of the checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a whole checkpoint of this package.
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
            ValueError: If the data has other bands.
        """
        datamodule: Any = getattr(self.trainer, 'datamodule', None)
        adopt_data(self._card, datamodule, self.weights)

"""Decoupled contrastive learning (https://arxiv.org/abs/2110.06848)."""

from typing import Any

from lightly.loss import DCLLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import nn

from torchgeo_sits.tasks import SITSSiamese


class Decoupled(SITSSiamese):
    """Two views of a thing agree, and both lie apart from the views of all others."""

    def __init__(
        self,
        temperature: float = 0.2,
        hidden_dim: int = 512,
        output_dim: int = 128,
        **kwargs: Any,
    ) -> None:
        """Take the temperature of the similarities, and the widths of the head."""
        super().__init__(**kwargs)

    def build_head(self, dim: int) -> nn.Module:
        """Build a projection head ``(P, dim)`` -> ``(P, output_dim)``."""
        return SimCLRProjectionHead(dim, self.hparams['hidden_dim'], self.hparams['output_dim'])

    def build_criterion(self) -> nn.Module:
        """Build the loss of two tensors ``(P, output_dim)``."""
        return DCLLoss(temperature=self.hparams['temperature'])

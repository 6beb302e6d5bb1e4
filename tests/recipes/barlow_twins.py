"""Barlow Twins (https://arxiv.org/abs/2103.03230): `tests.recipes.barlow_twins.BarlowTwins`."""

from typing import Any

from lightly.loss import BarlowTwinsLoss
from lightly.models.modules.heads import BarlowTwinsProjectionHead
from torch import nn

from torchgeo_sits.tasks import SITSSiamese


class BarlowTwins(SITSSiamese):
    """Two views of a thing agree feature by feature, and no feature repeats another."""

    def __init__(
        self,
        redundancy: float = 5e-3,
        hidden_dim: int = 512,
        output_dim: int = 512,
        **kwargs: Any,
    ) -> None:
        """Take the weight of the redundancy term, and the widths of the head."""
        super().__init__(**kwargs)

    def build_head(self, dim: int) -> nn.Module:
        """Build a projection head ``(P, dim)`` -> ``(P, output_dim)``."""
        hidden, output = self.hparams['hidden_dim'], self.hparams['output_dim']
        return BarlowTwinsProjectionHead(dim, hidden, output)

    def build_criterion(self) -> nn.Module:
        """Build the loss of two tensors ``(P, output_dim)``."""
        return BarlowTwinsLoss(lambda_param=self.hparams['redundancy'])

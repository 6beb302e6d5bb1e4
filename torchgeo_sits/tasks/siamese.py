"""Base of the methods that see two views with one encoder, and compare projections of them."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..models import PlaneFeatures
from .comparison import Level
from .pretraining import SITSPretraining, ViewLosses, zero_loss
from .view_batches import encode_view, join_views, split_views

__all__ = ['SITSSiamese']


class SITSSiamese(SITSPretraining):
    """Base of methods with two views, one encoder, and a head and a criterion for each level.

    A subclass writes :meth:`build_head` and :meth:`build_criterion`; a criterion is given float32
    projections of the whole batch, of all processes together.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSSiamese
        >>> class Agree(SITSSiamese):
        ...     def build_head(self, dim):
        ...         return torch.nn.Linear(dim, 8)
        ...     def build_criterion(self):
        ...         return torch.nn.MSELoss()
        >>> task = Agree(model='tempcnn', in_channels=3, object_weight=1.0)
        >>> list(task.projection_head)
        ['image', 'object']
    """

    default_views: ClassVar[dict[str, Any]] = {'global_views': 2, 'local_views': 0}
    projection_head: nn.ModuleDict
    criteria: nn.ModuleDict

    @abstractmethod
    def build_head(self, dim: int) -> nn.Module:
        """Build a projection head ``(P, dim)`` -> ``(P, D')``."""

    @abstractmethod
    def build_criterion(self) -> nn.Module:
        """Build a criterion of two tensors ``(P, D')``."""

    def build_heads(self, dim: int) -> None:
        """Build a projection head for each level."""
        self.projection_head = nn.ModuleDict(
            {str(k): self.build_head(dim) for k in self.compared_levels}
        )

    def configure_losses(self) -> None:
        """Initialize a criterion for each level."""
        self.criteria = nn.ModuleDict(
            {str(k): self.build_criterion() for k in self.compared_levels}
        )

    def check_views(self, global_views: int, local_views: int) -> None:
        """Raise SITSError unless there are two views of one shape."""
        if (global_views, local_views) != (2, 0):
            raise SITSError(
                f'{type(self).__name__} compares two global views: expected views_kwargs with '
                f'global_views=2 and local_views=0, got {global_views} and {local_views}'
            )

    def compare_views(self, views: list[dict[str, Any]], batch: dict[str, Any]) -> ViewLosses:
        """Encode both views and compare their projections, level by level."""
        features = encode_view(self.backbone, join_views(views))
        first, second = split_views(features, 2)
        health = {'embedding': features.embed.detach()}
        losses: dict[str, Tensor] = {}
        for level, pair in self.match_views(first, second, views[0], views[1], batch).items():
            losses[level], projection = self._compare(level, *pair)
            health.setdefault('projection', projection.detach())
        return ViewLosses(losses | self.further_losses(views, (first, second), batch), health)

    def further_losses(
        self,
        views: list[dict[str, Any]],
        features: tuple[PlaneFeatures, PlaneFeatures],
        batch: dict[str, Any],
    ) -> dict[str, Tensor]:
        """Compute what a method adds to the comparison; nothing by default.

        Args:
            views: Both views.
            features: Their features.
            batch: The batch that they show.

        Returns:
            Losses, each named as its weight: a loss ``mixup`` has the weight ``mixup_weight``.
        """
        return {}

    def _compare(self, level: Level, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a level, and the projections ``(2P, D')`` that it compares."""
        head = self.projection_head[level]
        if len(ours) < 2:
            # Batch normalisation needs two; DDP, a gradient of each weight.
            return zero_loss(ours, theirs, *head.parameters()), torch.cat([ours, theirs])
        a, b = head(ours), head(theirs)
        with self.full_precision():
            loss: Tensor = self.criteria[level](a.float(), b.float())
        return loss, torch.cat([a, b])

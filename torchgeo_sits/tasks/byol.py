"""BYOL on views of satellite image time series."""

from typing import Any, ClassVar

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor, nn

from ..errors import SITSError
from .distillation import SITSDistillation
from .pretraining import ViewLosses, zero_loss
from .view_batches import encode_view, join_views, next_view

__all__ = ['SITSBYOL']


class SITSBYOL(SITSDistillation):
    """BYOL: predict a teacher's projection of one view from another view, without negatives.

    The loss is the squared distance of normalised vectors (BYOL,
    https://arxiv.org/abs/2006.07733, eq. 2), the mean over both directions where the paper
    takes the sum, at each level: places, objects, pixels. The teacher's statistics of batch
    normalisation follow the student's as its weights do.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSBYOL
        >>> task = SITSBYOL(
        ...     model='tempcnn', in_channels=3, views_kwargs={'num_paths': 2}, pixel_weight=1.0
        ... )
        >>> batch = {
        ...     'image': torch.rand(4, 6, 3, 16, 16),
        ...     'acquisition_times': 86_400 * torch.arange(6).expand(4, 6),
        ...     'valid': torch.ones(4, 6, dtype=torch.bool),
        ...     'mask_clear': torch.ones(4, 6, 16, 16, dtype=torch.bool),
        ... }
        >>> views = task.make_views(batch)
        >>> sorted(task.compare_views(views, batch).losses)
        ['image', 'pixel']
    """

    default_views: ClassVar[dict[str, Any]] = {'global_views': 2, 'local_views': 0}
    projection_head: nn.ModuleDict
    teacher_head: nn.ModuleDict
    prediction_head: nn.ModuleDict

    def __init__(self, hidden_dim: int = 512, output_dim: int = 128, **kwargs: Any) -> None:
        """Initialize a new SITSBYOL instance.

        Args:
            hidden_dim: Width of the projection and prediction heads.
            output_dim: Output dimension of the projection heads.
            **kwargs: Arguments of the base class,
                :class:`~torchgeo_sits.tasks.distillation.SITSDistillation`.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        super().__init__(**kwargs)

    def check_views(self, global_views: int, local_views: int) -> None:
        """Raise SITSError unless there are views of one shape to compare."""
        if global_views < 2 or local_views:
            raise SITSError(
                'SITSBYOL compares global views: expected views_kwargs with global_views of at '
                f'least 2 and local_views=0, got {global_views} and {local_views}'
            )

    def build_head(self, dim: int) -> nn.Module:
        """Build a projection head ``(P, dim)`` -> ``(P, output_dim)`` for each level."""
        hidden, output = self.hparams['hidden_dim'], self.hparams['output_dim']
        return nn.ModuleDict(
            {k: BYOLProjectionHead(dim, hidden, output) for k in self.compared_levels}
        )

    def build_heads(self, dim: int) -> None:
        """Build the teacher, the projection heads, and the student's prediction heads."""
        super().build_heads(dim)
        hidden, output = self.hparams['hidden_dim'], self.hparams['output_dim']
        self.prediction_head = nn.ModuleDict(
            {k: BYOLPredictionHead(output, hidden, output) for k in self.compared_levels}
        )

    def configure_losses(self) -> None:
        """Initialize the loss."""
        self.similarity = NegativeCosineSimilarity()

    def compare_views(self, views: list[dict[str, Any]], batch: dict[str, Any]) -> ViewLosses:
        """Predict each view's projection from the other, level by level."""
        count = len(views)
        view = join_views(views)
        student = encode_view(self.backbone, view)
        with torch.no_grad():
            target = next_view(encode_view(self.teacher, view), count)
        health = {'embedding': student.embed.detach()}
        losses: dict[str, Tensor] = {}
        pairs = self.match_views(student, target, view, next_view(view, count), batch)
        for level, (ours, theirs) in pairs.items():
            project, predict = self.projection_head[level], self.prediction_head[level]
            if len(ours) < 2:
                # Batch normalisation needs two; DDP, a gradient of each weight.
                losses[level] = zero_loss(ours, *project.parameters(), *predict.parameters())
                continue
            projection = project(ours)
            predicted = predict(projection)
            with torch.no_grad():
                wanted = self.teacher_head[level](theirs)
            with self.full_precision():
                losses[level] = 2 + 2 * self.similarity(predicted.float(), wanted.float())
            health.setdefault('projection', projection.detach())
        return ViewLosses(losses, health)

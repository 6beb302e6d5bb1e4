"""Base of the methods with a student and a teacher that is its moving average."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from ..errors import SITSError
from ..models import SITSEncoder, build_encoder
from .pretraining import SITSPretraining

__all__ = ['SITSDistillation']


class SITSDistillation(SITSPretraining):
    """Base of methods with a student that is trained, and a teacher that is its moving average.

    The student's encoder is ``backbone``; downstream tasks use the ``teacher``. A subclass writes
    :meth:`build_head`, of which ``projection_head`` and ``teacher_head`` are one each, and
    :meth:`compare_views`.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSDistillation, ViewLosses, encode_view
        >>> class Follow(SITSDistillation):
        ...     def build_head(self, dim):
        ...         return torch.nn.Linear(dim, 8)
        ...     def compare_views(self, views, batch):
        ...         ours = encode_view(self.backbone, views[0]).embed
        ...         with torch.no_grad():
        ...             theirs = self.teacher_head(encode_view(self.teacher, views[1]).embed)
        ...         loss = (self.projection_head(ours) - theirs).square().mean()
        ...         return ViewLosses({'image': loss}, {'embedding': ours.detach()})
        >>> task = Follow(model='tempcnn', in_channels=3)
        >>> task.encoder is task.teacher, next(task.teacher.parameters()).requires_grad
        (True, False)
    """

    encoder_name = 'teacher'
    teacher: SITSEncoder
    teacher_head: nn.Module

    def __init__(self, momentum: float | None = None, **kwargs: Any) -> None:
        """Initialize a new task.

        Args:
            momentum: Momentum of the teacher at the first step; a cosine takes it to 1. None
                chooses it by the length of the run, 0.996 at most.
            **kwargs: Arguments of the base class, :class:`SITSPretraining`.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        if momentum is not None and not 0 <= momentum <= 1:
            raise SITSError(f'momentum must be in [0, 1], got {momentum}')
        super().__init__(**kwargs)

    @abstractmethod
    def build_head(self, dim: int) -> nn.Module:
        """Build a head, of which student and teacher get one each.

        Args:
            dim: Number of features of an embedding.
        """

    def build_heads(self, dim: int) -> None:
        """Build both heads and the teacher, with equal weights."""
        name, kwargs = self.hparams['model'], self.hparams['model_kwargs'] or {}
        self.teacher = build_encoder(name, self.backbone.in_channels, **kwargs)
        # Two built, none copied: weight norm cannot be deep-copied.
        self.projection_head, self.teacher_head = self.build_head(dim), self.build_head(dim)
        for student, teacher in self._followed():
            teacher.load_state_dict(student.state_dict())
            deactivate_requires_grad(teacher)
        # The teacher's targets must not depend on dropped paths: they are switched off.
        self.teacher.eval()

    def _followed(self) -> Iterable[tuple[nn.Module, nn.Module]]:
        """Pairs of a student's module and the teacher's that follows it, encoder and head."""
        return (self.backbone, self.teacher), (self.projection_head, self.teacher_head)

    def train(self, mode: bool = True) -> 'SITSDistillation':
        """Set the mode of all but the teacher's encoder, which stays in evaluation."""
        super().train(mode)
        if hasattr(self, 'teacher'):
            self.teacher.eval()
        return self

    @property
    def first_momentum(self) -> float:
        """Momentum of the teacher at the first step.

        By default its memory is a quarter of the run, so that about a seventh of its random
        start is left at the end, and that of the papers' 0.996 at most.
        """
        if self.hparams['momentum'] is not None:
            return float(self.hparams['momentum'])
        return min(0.996, 1 - 1 / max(2, self.total_steps / 4))

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step the student, then let the teacher follow."""
        step, steps = self.global_step, self.total_steps
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        momentum = cosine_schedule(step, steps, self.first_momentum, 1.0)
        for student, teacher in self._followed():
            update_momentum(student, teacher, momentum)
            _follow_statistics(student, teacher, momentum)


@torch.no_grad()
def _follow_statistics(student: nn.Module, teacher: nn.Module, momentum: float) -> None:
    """Move the teacher's statistics of batch normalisation as its weights move.

    lightly's :func:`~lightly.models.utils.update_momentum` leaves buffers behind, and a teacher
    in evaluation would normalise by those it was built with.

    Args:
        student: Module that is trained.
        teacher: Module of the same structure.
        momentum: Share of the teacher's own statistics that is kept.
    """
    for ours, theirs in zip(student.modules(), teacher.modules(), strict=True):
        if isinstance(ours, _BatchNorm) and ours.track_running_stats:
            for name in ('running_mean', 'running_var'):
                getattr(theirs, name).lerp_(getattr(ours, name), 1 - momentum)

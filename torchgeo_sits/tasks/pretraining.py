"""What the tasks of self-supervised pretraining share: views, a teacher, schedules, the card."""

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from lightning.pytorch import Callback
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ..callbacks import CheckpointReport, EmbeddingHealth, ViewsPicture
from ..models import SITSEncoder, build_encoder, load_weights
from ..transforms import (
    PlanarMultiView,
    RandomCloudGaps,
    RandomDateJitter,
    RandomGainOffset,
    ResamplingMultiView,
    SeriesSequential,
)
from .base import SITSTask

__all__ = ['SITSPretraining']


class SITSPretraining(SITSTask):
    """A student that sees views of a series, and a teacher that is its moving average.

    Subclasses take, among their own, the hyperparameters that are read here (``model``,
    ``in_channels``, ``model_kwargs``, ``views``, ``views_kwargs``, ``jitter_days``, ``gain``,
    ``offset``, ``cloud_rate``, ``momentum``, ``lr``, ``min_lr``, ``warmup_share``,
    ``weight_decay``, ``end_weight_decay``, ``clip_grad``), say in :meth:`build_heads` what
    stands on the encoders, and compute a loss from :meth:`make_views`.
    """

    monitor = 'train_loss'

    encoder_name = 'teacher'
    student: SITSEncoder
    teacher: SITSEncoder
    student_head: nn.Module
    teacher_head: nn.Module

    def __init__(self) -> None:
        """Initialize the views and, if the number of bands is known, the models.

        Raises:
            ValueError: If a hyperparameter is out of its range.
        """
        super().__init__()
        if self.hparams['lr'] <= 0:
            raise ValueError(f'lr must be above 0, got {self.hparams["lr"]}')
        for name in ('warmup_share', 'momentum'):
            if (value := self.hparams[name]) is not None and not 0 <= value <= 1:
                raise ValueError(f'{name} must be in [0, 1], got {value}')
        # Clouds lie over the place, before its views are drawn; the rest differs per view.
        self.clouds = RandomCloudGaps(self.hparams['cloud_rate'])
        self.views = self._build_views()

    def _build_views(self) -> PlanarMultiView | ResamplingMultiView:
        """The views that the hyperparameters describe."""
        augment = SeriesSequential(
            RandomDateJitter(self.hparams['jitter_days']),
            RandomGainOffset(self.hparams['gain'], self.hparams['offset']),
        )
        kwargs = self.hparams['views_kwargs'] or {}
        kind = PlanarMultiView if self.hparams['views'] == 'planar' else ResamplingMultiView
        try:
            views = kind(augment=augment, **kwargs)
        except TypeError as error:
            names = [name for name in signature(kind).parameters if name != 'augment']
            raise ValueError(
                f'views_kwargs={kwargs} do not fit {kind.__name__}: {error}. It takes {names}'
            ) from error
        if views.global_views + views.local_views < 2:
            raise ValueError('Views are compared: views_kwargs must leave two at least, got one')
        return views

    def make_views(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """Draw the views of a batch, as a training step does.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            The views, the global ones first.
        """
        with torch.no_grad():
            return self.views(self.clouds(batch))

    # -- models ----------------------------------------------------------------------------

    @property
    def encoder(self) -> SITSEncoder:
        """The encoder that downstream tasks use: the teacher's."""
        return self.teacher

    def configure_models(self) -> None:
        """Build student and teacher, if the number of bands is known already."""
        if self.hparams['in_channels'] is not None:
            self._build(self.hparams['in_channels'])

    def configure_model(self) -> None:
        """Build student and teacher for the bands of the data module.

        Raises:
            ValueError: If nothing tells the number of bands, or it is not that of the data.
        """
        # No trainer where a checkpoint is loaded by hand.
        self.meet_data(getattr(self._trainer, 'datamodule', None))
        if not hasattr(self, 'student'):
            self.configure_models()
            # Its card was not known when the data was met.
            self.meet_data(getattr(self._trainer, 'datamodule', None))

    def build_heads(self, dim: int) -> tuple[nn.Module, nn.Module]:
        """Build the heads of student and teacher; equal weights are seen to by the caller.

        Args:
            dim: Number of features of an embedding.
        """
        return nn.Identity(), nn.Identity()

    def _build(self, in_channels: int) -> None:
        """Build student and teacher with equal weights."""
        name, kwargs = self.hparams['model'], self.hparams['model_kwargs'] or {}
        self.student = build_encoder(name, in_channels, **kwargs)
        self.teacher = build_encoder(name, in_channels, **kwargs)
        self.student_head, self.teacher_head = self.build_heads(self.student.embed_dim)
        if self.weights is not None:
            self._card = load_weights(self.student, self.weights)
        for student, teacher in self._pairs():
            teacher.load_state_dict(student.state_dict())
            deactivate_requires_grad(teacher)
        # The teacher's targets must not depend on dropped paths: they are switched off.
        self.teacher.eval()

    def _pairs(self) -> Iterable[tuple[nn.Module, nn.Module]]:
        """What follows what: student and teacher, encoder and head."""
        return (self.student, self.teacher), (self.student_head, self.teacher_head)

    def train(self, mode: bool = True) -> 'SITSPretraining':
        """Set the mode of all but the teacher, which stays in evaluation."""
        super().train(mode)
        if hasattr(self, 'teacher'):
            self.teacher.eval()
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Embed series with the teacher.

        Args:
            *args: Arguments of :meth:`torchgeo_sits.models.SITSEncoder.forward`.
            **kwargs: The same, by name.

        Returns:
            Embeddings ``(B, D)``.
        """
        return self.encoder(*args, **kwargs)

    # -- schedules, all counted in optimiser steps -----------------------------------------

    @property
    def first_momentum(self) -> float:
        """Momentum of the teacher at the first step.

        By default its memory is a quarter of the run, so that about a seventh of its random
        start is left at the end, and that of the papers' 0.996 at most.
        """
        if self.hparams['momentum'] is not None:
            return self.hparams['momentum']
        return min(0.996, 1 - 1 / max(2, self.total_steps / 4))

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step the student with this step's weight decay, then let the teacher follow."""
        step, steps = self.global_step, self.total_steps
        start, end = self.hparams['weight_decay'], self.hparams['end_weight_decay']
        for group in optimizer.param_groups:
            if group['decays']:
                # A plain number: older lightly gives NumPy's, which checkpoints may not hold.
                group['weight_decay'] = float(cosine_schedule(step, steps, start, end))
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        momentum = cosine_schedule(step, steps, self.first_momentum, 1.0)
        for student, teacher in self._pairs():
            update_momentum(student, teacher, momentum)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with a linear rise and a cosine fall of the learning rate per step."""
        groups = []
        for module in (self.student, self.student_head):
            # Any decay above 0 does to tell the groups apart; the schedule sets its value.
            for group in param_groups_weight_decay(module, weight_decay=1.0):
                groups.append({**group, 'decays': group['weight_decay'] > 0, 'weight_decay': 0.0})
        optimizer = AdamW(groups, lr=self.hparams['lr'])
        return self.scheduled(optimizer)

    def on_train_start(self) -> None:
        """Take the learning rate of the schedule: a resumed run brings that of the old one."""
        scheduler: Any = self.lr_schedulers()
        share = scheduler.lr_lambdas[0](scheduler.last_epoch)
        for group in scheduler.optimizer.param_groups:
            group['lr'] = share * self.hparams['lr']

    # -- the run ---------------------------------------------------------------------------

    def own_callbacks(self) -> list[Callback]:
        """A watch over the embeddings, a picture of the views, and the report at the end."""
        return [EmbeddingHealth(), ViewsPicture(), CheckpointReport()]

    def next_steps(self, path: str) -> str:
        """What to do with a checkpoint of this task, for the end of a run."""
        return (
            'Fine-tune it with labels:\n'
            f'  torchgeo-sits fit --config conf/segmentation.yaml --model.weights {path}\n'
            'Use the encoder in Python:\n'
            '  from torchgeo_sits.models import load_encoder\n'
            f"  encoder, card = load_encoder('{path}')\n"
            'Train on from here, with more epochs:\n'
            f'  torchgeo-sits fit <the options of this run> --ckpt_path {path} '
            '--trainer.max_epochs N'
        )

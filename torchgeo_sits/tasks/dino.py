"""DINO on views of satellite image time series."""

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any, Literal

import torch
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import CosineWarmupScheduler, cosine_schedule, linear_warmup_schedule
from lightning.pytorch import Callback
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.optim import param_groups_weight_decay
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torchgeo.tasks import BaseTask

from ..callbacks import CheckpointReport, EmbeddingHealth, ViewsPicture
from ..models import PlaneFeatures, SITSEncoder, build_encoder, encoder_card, load_weights
from ..transforms import (
    PlanarMultiView,
    RandomCloudGaps,
    RandomDateJitter,
    RandomGainOffset,
    ResamplingMultiView,
    SeriesSequential,
)
from .matching import matched_tokens
from .views import encode_view, join_views

__all__ = ['SITSDINO']


class SITSDINO(BaseTask):
    """DINO: self-distillation without labels on views of a time series.

    A student sees all views, a teacher, its moving average, the global ones; the student
    learns to assign every view to the prototypes to which the teacher assigns the others.

    * DINO: https://arxiv.org/abs/2104.14294 (eqs. 1 to 4)
    * optional masked tokens, iBOT: https://arxiv.org/abs/2111.07832 (eq. 3)
    * optional spread of the embeddings, KoLeo: https://arxiv.org/abs/1806.03198

    The per-pixel term is this project's own: pixels that two global views share are known
    exactly through the paths of their planes, so the student's token of a pixel learns the
    assignment that the teacher gives to that pixel in the other view, seen along another
    path and on other dates.
    """

    monitor = 'train_loss'

    student: SITSEncoder
    teacher: SITSEncoder

    def __init__(
        self,
        model: str = 'planar_vit_tiny',
        in_channels: int | None = None,
        weights: str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        views: Literal['planar', 'resampling'] = 'planar',
        views_kwargs: dict[str, Any] | None = None,
        jitter_days: float = 3.0,
        gain: float = 0.1,
        offset: float = 0.1,
        cloud_rate: float = 0.1,
        num_prototypes: int = 1024,
        hidden_dim: int = 512,
        bottleneck_dim: int = 128,
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        warmup_teacher_temp: float = 0.04,
        warmup_teacher_temp_share: float = 0.3,
        center_momentum: float = 0.9,
        momentum: float = 0.996,
        freeze_last_layer: int = 1,
        pixel_weight: float = 0.0,
        max_pixels: int = 1024,
        ibot_weight: float = 0.0,
        mask_ratio: float = 0.3,
        koleo_weight: float = 0.0,
        lr: float = 5e-4,
        min_lr: float = 1e-6,
        warmup_share: float = 0.1,
        weight_decay: float = 0.04,
        end_weight_decay: float = 0.4,
        clip_grad: float = 3.0,
    ) -> None:
        """Initialize a new SITSDINO instance.

        Args:
            model: Name of an encoder of this project, see
                :func:`torchgeo.models.list_models`.
            in_channels: Number of bands. None takes it from the data module.
            weights: Checkpoint of a pretraining of this project to start from.
            model_kwargs: Further arguments of the encoder.
            views: ``'planar'`` for :class:`~torchgeo_sits.transforms.PlanarMultiView`,
                ``'resampling'`` for
                :class:`~torchgeo_sits.transforms.ResamplingMultiView`, which draws dates
                but no planes.
            views_kwargs: Arguments of the views.
            jitter_days: Largest shift of a date in a view, in days.
            gain: Largest relative change of a band at a date in a view.
            offset: Largest shift of a band at a date in a view, in standard deviations.
            cloud_rate: Share of the dates that simulated clouds cover in part.
            num_prototypes: Output dimension of the projection head.
            hidden_dim: Width of the projection head.
            bottleneck_dim: Dimension before the prototypes.
            student_temp: Temperature of the student's assignments.
            teacher_temp: Temperature of the teacher's assignments after the warm-up.
            warmup_teacher_temp: The same at the first step.
            warmup_teacher_temp_share: Share of the steps over which it changes linearly.
            center_momentum: Momentum of the centre of the teacher's outputs.
            momentum: Momentum of the teacher at the first step; a cosine takes it to 1.
            freeze_last_layer: Number of epochs in which the prototypes stay as they are.
            pixel_weight: Weight of the per-pixel term (planar views only).
            max_pixels: Largest number of shared pixels that a step compares.
            ibot_weight: Weight of the term on masked tokens (planar views only).
            mask_ratio: Share of the tokens of a global view that is masked for it.
            koleo_weight: Weight of the KoLeo term.
            lr: Largest learning rate.
            min_lr: Learning rate at the last step.
            warmup_share: Share of the steps over which the learning rate rises.
            weight_decay: Weight decay at the first step.
            end_weight_decay: Weight decay at the last step; a cosine lies between.
            clip_grad: Largest norm of the gradient, unless the trainer clips; 0 never clips.

        Raises:
            ValueError: If an argument is out of its range, or does not go with the views.
        """
        for name in ('lr', 'num_prototypes', 'student_temp', 'teacher_temp'):
            if (value := locals()[name]) <= 0:
                raise ValueError(f'{name} must be above 0, got {value}')
        for name in ('warmup_teacher_temp_share', 'warmup_share', 'momentum', 'mask_ratio'):
            if not 0 <= (value := locals()[name]) <= 1:
                raise ValueError(f'{name} must be in [0, 1], got {value}')
        if views != 'planar' and (pixel_weight or ibot_weight):
            raise ValueError(
                f"pixel_weight and ibot_weight need views='planar', got views={views!r}: "
                'set both to 0'
            )
        self.weights = weights
        super().__init__()
        # Clouds lie over the place, before its views are drawn; the rest differs per view.
        self.clouds = RandomCloudGaps(cloud_rate)
        augment = SeriesSequential(RandomDateJitter(jitter_days), RandomGainOffset(gain, offset))
        multi_view = PlanarMultiView if views == 'planar' else ResamplingMultiView
        try:
            self.views = multi_view(augment=augment, **views_kwargs or {})
        except TypeError as error:
            names = [name for name in signature(multi_view).parameters if name != 'augment']
            raise ValueError(
                f'views_kwargs={views_kwargs} do not fit {multi_view.__name__}: {error}. It takes '
                f'{names}'
            ) from error
        if self.views.global_views + self.views.local_views < 2:
            raise ValueError('DINO compares views: views_kwargs must leave two at least, got one')

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
        datamodule = getattr(self.trainer, 'datamodule', None)
        in_channels = getattr(datamodule, 'in_channels', None)
        if hasattr(self, 'student'):
            if in_channels not in (None, self.student.in_channels):
                raise ValueError(
                    f'the model takes in_channels={self.student.in_channels}, but the data has '
                    f'{in_channels} bands: {getattr(datamodule, "bands", "")}. Choose `bands` to '
                    'match, or leave in_channels out'
                )
            return
        if in_channels is None:
            raise ValueError(
                'The number of bands is unknown: give `in_channels`, or a data module that '
                'has it (SITSDataModule).'
            )
        self.hparams['in_channels'] = in_channels
        self._build(in_channels)

    def _build(self, in_channels: int) -> None:
        """Build student and teacher with equal weights."""
        name, kwargs = self.hparams['model'], self.hparams['model_kwargs'] or {}
        self.student = build_encoder(name, in_channels, **kwargs)
        self.teacher = build_encoder(name, in_channels, **kwargs)
        # lightly's head cannot be deep-copied (weight norm): build two, load the state.
        self.student_head, self.teacher_head = (
            DINOProjectionHead(
                self.student.embed_dim,
                self.hparams['hidden_dim'],
                self.hparams['bottleneck_dim'],
                self.hparams['num_prototypes'],
                freeze_last_layer=self.hparams['freeze_last_layer'],
            )
            for _ in range(2)
        )
        if self.weights is not None:
            card = load_weights(self.student, self.weights)
            datamodule = getattr(self._trainer, 'datamodule', None)
            bands = getattr(datamodule, 'bands', card['bands'])
            if card['bands'] and bands != card['bands']:
                warnings.warn(
                    f'{self.weights} was trained on the bands {card["bands"]}, the data has '
                    f'{bands}: its weights are used in this order',
                    UserWarning,
                    stacklevel=2,
                )
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher_head.load_state_dict(self.student_head.state_dict())
        deactivate_requires_grad(self.teacher)
        deactivate_requires_grad(self.teacher_head)

    def configure_losses(self) -> None:
        """Initialize the loss terms."""
        dim, temp = self.hparams['num_prototypes'], self.hparams['student_temp']
        center = self.hparams['center_momentum']
        self.dino_loss = DINOLoss(dim, student_temp=temp, center_momentum=center)
        self.pixel_loss = IBOTPatchLoss(dim, student_temp=temp, center_momentum=center)
        self.ibot_loss = IBOTPatchLoss(dim, student_temp=temp, center_momentum=center)
        self.koleo_loss = KoLeoLoss()

    def configure_callbacks(self) -> list[Callback]:
        """Callbacks that every run of this task has."""
        return [EmbeddingHealth(), ViewsPicture(), CheckpointReport()]

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Embed series with the teacher.

        Args:
            *args: Arguments of :meth:`torchgeo_sits.models.SITSEncoder.forward`.
            **kwargs: The same, by name.

        Returns:
            Embeddings ``(B, D)``.
        """
        return self.encoder(*args, **kwargs)

    def training_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.

        Returns:
            ``loss``, and for the watch over its health ``embedding`` ``(2B, D)`` of the
            student and ``assignment`` ``(2B, K)`` of the teacher.
        """
        with torch.no_grad():
            views = self.views(self.clouds(batch))
        count = self.views.global_views
        global_view, local_views = join_views(views[:count]), views[count:]
        temp = self.teacher_temp

        with torch.no_grad():
            target = encode_view(self.teacher, global_view)
            teacher_out = self.teacher_head(target.embed)
        token_mask = self._draw_token_mask(target) if self.hparams['ibot_weight'] else None
        student = encode_view(self.student, global_view, token_mask)
        student_out = list(self.student_head(student.embed).chunk(count))
        if local_views:
            local = encode_view(self.student, join_views(local_views))
            student_out += self.student_head(local.embed).chunk(len(local_views))

        assignment = ((teacher_out - self.dino_loss.center[0]) / temp).softmax(dim=-1)
        loss = self.dino_loss(list(teacher_out.chunk(count)), student_out, teacher_temp=temp)
        terms = {'dino_loss': loss}
        if self.hparams['pixel_weight']:
            terms['pixel_loss'] = self._pixel_term(student, target, views[:count], temp)
            loss = loss + self.hparams['pixel_weight'] * terms['pixel_loss']
        if token_mask is not None:
            terms['ibot_loss'] = self.ibot_loss(
                self.teacher_head(target.late[token_mask]),
                self.student_head(student.late[token_mask]),
                token_mask,
                temp,
            )
            loss = loss + self.hparams['ibot_weight'] * terms['ibot_loss']
        if self.hparams['koleo_weight']:
            # Within one view only: another view of the same place is a wanted neighbour.
            parts = student.embed.float().chunk(count)
            terms['koleo_loss'] = torch.stack([self.koleo_loss(part) for part in parts]).mean()
            loss = loss + self.hparams['koleo_weight'] * terms['koleo_loss']

        size = len(batch['image'])
        self.log('train_loss', loss, prog_bar=True, batch_size=size)
        if len(terms) > 1:
            self.log_dict(terms, batch_size=size)
        return {'loss': loss, 'embedding': student.embed.detach(), 'assignment': assignment}

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """No-op: the loss of DINO says nothing on held-out data; see the k-NN probe."""

    def _draw_token_mask(self, features: PlaneFeatures) -> Tensor:
        """Mask ``(B, N, S)`` of the tokens that the student does not see, at random."""
        shape = features.late.shape[:3]
        return torch.rand(shape, device=features.late.device) < self.hparams['mask_ratio']

    def _pixel_term(
        self,
        student: PlaneFeatures,
        target: PlaneFeatures,
        views: list[dict[str, Any]],
        temp: float,
    ) -> Tensor:
        """Cross-entropy between assignments of one pixel in two views."""
        pairs = matched_tokens(student.late, target.late, views, self.hparams['max_pixels'])
        if pairs is None:
            return student.late.sum() * 0.0
        ours, theirs = pairs
        everywhere = torch.ones(1, 1, len(ours), dtype=torch.bool, device=ours.device)
        with torch.no_grad():
            theirs = self.teacher_head(theirs)
        return self.pixel_loss(theirs, self.student_head(ours), everywhere, temp)

    @property
    def total_steps(self) -> int:
        """Number of optimiser steps of the whole run.

        Raises:
            ValueError: If the run has no end: the schedules need one.
        """
        steps = self.trainer.estimated_stepping_batches
        if steps == float('inf'):
            raise ValueError('The schedules need an end: set trainer.max_epochs or max_steps')
        return int(steps)

    @property
    def teacher_temp(self) -> float:
        """Temperature of the teacher at this step."""
        steps = max(1, round(self.hparams['warmup_teacher_temp_share'] * self.total_steps))
        return linear_warmup_schedule(
            step=self.global_step,
            warmup_steps=steps,
            start_value=self.hparams['warmup_teacher_temp'],
            end_value=self.hparams['teacher_temp'],
        )

    def on_after_backward(self) -> None:
        """Keep the prototypes frozen in the first epochs (DINO, appendix A)."""
        self.student_head.cancel_last_layer_gradients(self.current_epoch)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer says, or to ``clip_grad`` where it says nothing."""
        if gradient_clip_val is None and self.hparams['clip_grad']:
            gradient_clip_val, gradient_clip_algorithm = self.hparams['clip_grad'], 'norm'
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step the student with this step's weight decay, then let the teacher follow."""
        schedule = {'step': self.global_step, 'max_steps': self.total_steps}
        decay = cosine_schedule(
            **schedule,
            start_value=self.hparams['weight_decay'],
            end_value=self.hparams['end_weight_decay'],
        )
        for group in optimizer.param_groups:
            if group['decays']:
                group['weight_decay'] = decay
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        momentum = cosine_schedule(**schedule, start_value=self.hparams['momentum'], end_value=1.0)
        update_momentum(self.student, self.teacher, momentum)
        update_momentum(self.student_head, self.teacher_head, momentum)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with a linear rise and a cosine fall of the learning rate per step."""
        groups = [
            {**group, 'decays': group['weight_decay'] > 0}
            for module in (self.student, self.student_head)
            for group in param_groups_weight_decay(module, self.hparams['weight_decay'] or 1e-8)
        ]
        optimizer = AdamW(groups, lr=self.hparams['lr'])
        scheduler = CosineWarmupScheduler(
            optimizer,
            warmup_epochs=round(self.hparams['warmup_share'] * self.total_steps),
            max_epochs=self.total_steps,
            end_value=self.hparams['min_lr'] / self.hparams['lr'],
        )
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': scheduler, 'interval': 'step'},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a downstream task needs to use the encoder."""
        datamodule: Any = getattr(self.trainer, 'datamodule', None)
        checkpoint['sits'] = encoder_card(
            self.hparams['model'],
            self.teacher,
            prefix='teacher',
            **(datamodule.card if hasattr(datamodule, 'card') else {}),
        )

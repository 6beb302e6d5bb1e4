"""DINO on views of satellite image time series."""

from typing import Any, Literal

import torch
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from lightly.models.modules.center import center_mean
from lightly.models.modules.heads import DINOProjectionHead
from lightly.utils.scheduler import linear_warmup_schedule
from torch import Tensor, nn

from ..models import PlaneFeatures
from .matching import matched_tokens
from .pretraining import SITSPretraining
from .views import encode_view, join_views

__all__ = ['SITSDINO']


class SITSDINO(SITSPretraining):
    """DINO: self-distillation without labels on views of a time series.

    A student sees all views, a teacher, its moving average, the global ones; the student
    learns to assign every view to the prototypes to which the teacher assigns the others.

    * DINO: https://arxiv.org/abs/2104.14294 (eqs. 1 to 4)
    * optional masked tokens, iBOT: https://arxiv.org/abs/2111.07832
    * optional spread of the embeddings, KoLeo: https://arxiv.org/abs/1806.03198

    The per-pixel term is this project's own: pixels that two global views share are known
    exactly through the paths of their planes, so the student's token of a pixel learns the
    assignment that the teacher gives to that pixel in the other view, seen along another
    path and on other dates.
    """

    student_head: DINOProjectionHead

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
        momentum: float | None = None,
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
                :data:`torchgeo_sits.models.ENCODERS`.
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
            momentum: Momentum of the teacher at the first step; a cosine takes it to 1. None
                chooses it by the length of the run, 0.996 at most.
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
        if not 0 <= warmup_teacher_temp_share <= 1:
            raise ValueError(
                f'warmup_teacher_temp_share must be in [0, 1], got {warmup_teacher_temp_share}'
            )
        if not 0 < mask_ratio < 1:
            raise ValueError(f'mask_ratio must lie between 0 and 1, got {mask_ratio}')
        if views != 'planar' and (pixel_weight or ibot_weight):
            raise ValueError(
                f"pixel_weight and ibot_weight need views='planar', got views={views!r}: "
                'set both to 0'
            )
        self.weights = weights
        super().__init__()

    def build_heads(self, dim: int) -> tuple[nn.Module, nn.Module]:
        """Build the projection heads ``(B, dim)`` -> ``(B, K)``."""
        if not self.hparams['ibot_weight'] and hasattr(self.student, 'mask_token'):
            # Nothing is masked: DDP stops at parameters that never get a gradient.
            self.student.mask_token.requires_grad_(False)
        # lightly's head cannot be deep-copied (weight norm): build two.
        student, teacher = (
            DINOProjectionHead(
                dim,
                self.hparams['hidden_dim'],
                self.hparams['bottleneck_dim'],
                self.hparams['num_prototypes'],
                freeze_last_layer=self.hparams['freeze_last_layer'],
            )
            for _ in range(2)
        )
        return student, teacher

    def configure_losses(self) -> None:
        """Initialize the loss terms."""
        dim, temp = self.hparams['num_prototypes'], self.hparams['student_temp']
        center = self.hparams['center_momentum']
        self.dino_loss = DINOLoss(dim, student_temp=temp, center_momentum=center)
        self.pixel_loss = IBOTPatchLoss(dim, student_temp=temp, center_momentum=center)
        self.ibot_loss = IBOTPatchLoss(dim, student_temp=temp, center_momentum=center)
        self.koleo_loss = KoLeoLoss()

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
        views = self.make_views(batch)
        count = self.views.global_views
        global_view, local_views = join_views(views[:count]), views[count:]
        temp = self.teacher_temp

        with torch.no_grad():
            target = encode_view(self.teacher, global_view)
            teacher_out = self.teacher_head(target.embed)
            self._begin_at(self.dino_loss.center, teacher_out)
            assignment = ((teacher_out - self.dino_loss.center[0]) / temp).softmax(dim=-1)
        token_mask = None
        if self.hparams['ibot_weight']:
            token_mask = draw_token_mask(target.seen, self.hparams['mask_ratio'])
        student = encode_view(self.student, global_view, token_mask)
        student_out = list(self.student_head(student.embed).chunk(count))
        if local_views:
            local = encode_view(self.student, join_views(local_views))
            student_out += self.student_head(local.embed).chunk(len(local_views))

        # The teacher's views come first among the student's: lightly leaves out the diagonal.
        loss = self.dino_loss(list(teacher_out.chunk(count)), student_out, teacher_temp=temp)
        terms = {'dino_loss': loss}
        if self.hparams['pixel_weight']:
            terms['pixel_loss'] = self._pixel_term(student, target, views[:count], temp)
            loss = loss + self.hparams['pixel_weight'] * terms['pixel_loss']
        if token_mask is not None and token_mask.any():
            hidden = self.teacher_head(target.late[token_mask])
            self._begin_at(self.ibot_loss.center.center, hidden)
            guessed = self.student_head(student.late[token_mask])
            terms['ibot_loss'] = self.ibot_loss(hidden, guessed, token_mask, temp)
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

    def _begin_at(self, center: Tensor, outputs: Tensor) -> None:
        """Set a centre to the mean of the teacher's first outputs ``(B, K)``.

        From 0 a moving average takes tens of steps to the mean, which at the start outweighs
        all differences: until then one prototype takes every sample, and the student learns
        just that. The papers' runs are long enough to forget it, short ones are not.
        """
        if self.global_step == 0:
            center.copy_(center_mean(outputs, dim=(0,)).view_as(center))

    def _pixel_term(
        self,
        student: PlaneFeatures,
        target: PlaneFeatures,
        views: list[dict[str, Any]],
        temp: float,
    ) -> Tensor:
        """Cross-entropy between assignments of one pixel in two views."""
        pairs = matched_tokens(student, target, views, self.hparams['max_pixels'])
        if pairs is None:
            return student.late.sum() * 0.0
        ours, theirs = pairs
        everywhere = torch.ones(1, 1, len(ours), dtype=torch.bool, device=ours.device)
        with torch.no_grad():
            theirs = self.teacher_head(theirs)
            self._begin_at(self.pixel_loss.center.center, theirs)
        return self.pixel_loss(theirs, self.student_head(ours), everywhere, temp)

    @property
    def teacher_temp(self) -> float:
        """Temperature of the teacher at this step."""
        steps = round(self.hparams['warmup_teacher_temp_share'] * self.total_steps)
        end: float = self.hparams['teacher_temp']
        if self.global_step >= steps:
            return end
        return linear_warmup_schedule(
            step=self.global_step,
            warmup_steps=steps,
            start_value=self.hparams['warmup_teacher_temp'],
            end_value=end,
        )

    def on_after_backward(self) -> None:
        """Keep the prototypes frozen in the first epochs, as DINO's authors do."""
        self.student_head.cancel_last_layer_gradients(self.current_epoch)


def draw_token_mask(seen: Tensor, ratio: float) -> Tensor:
    """Draw tokens to hide, among those that were seen.

    Args:
        seen: ``(B, N, S)`` bool.
        ratio: Share of the seen tokens of a sample to hide; one at least is.

    Returns:
        ``(B, N, S)`` bool.
    """
    flat = seen.flatten(1)
    number = (ratio * flat.sum(1, keepdim=True)).clamp(min=1)
    noise = torch.rand(flat.shape, device=seen.device).masked_fill(~flat, 2.0)
    rank = noise.argsort(1).argsort(1)
    return (flat & (rank < number)).view_as(seen)

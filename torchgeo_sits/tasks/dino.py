"""DINO on views of satellite image time series."""

from typing import Any, Literal

import torch
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from lightly.loss.swav_loss import sinkhorn
from lightly.models.modules.center import Center, center_mean
from lightly.models.modules.heads import DINOProjectionHead
from lightly.utils.scheduler import linear_warmup_schedule
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

from ..errors import SITSError
from .distillation import SITSDistillation
from .distributed import gather_batch, global_mean
from .pretraining import ViewLosses
from .view_batches import encode_view, join_views, next_view

__all__ = ['SITSDINO']


class SITSDINO(SITSDistillation):
    """DINO: self-distillation without labels on views of a time series.

    A student sees all views, a teacher, its moving average, the global ones; the student
    learns to assign every view to the prototypes to which the teacher assigns the others.

    * DINO: https://arxiv.org/abs/2104.14294 (eqs. 1 to 4)
    * DINOv2, https://arxiv.org/abs/2304.07193 (section 4), all optional: masked tokens, iBOT,
      https://arxiv.org/abs/2111.07832; spread of the embeddings, KoLeo,
      https://arxiv.org/abs/1806.03198; Sinkhorn-Knopp centring of the teacher, SwAV,
      https://arxiv.org/abs/2006.09882 (section 3.1)

    Objects and pixels are compared between global views: the student's token of a pixel learns
    the assignment that the teacher gives to that pixel in the other view, seen along another
    path and on other dates.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSDINO
        >>> task = SITSDINO(model='tempcnn', in_channels=3, num_prototypes=64)
        >>> batch = {
        ...     'image': torch.rand(4, 6, 3, 16, 16),
        ...     'acquisition_times': 86_400 * torch.arange(6).expand(4, 6),
        ...     'valid': torch.ones(4, 6, dtype=torch.bool),
        ...     'mask_clear': torch.ones(4, 6, 16, 16, dtype=torch.bool),
        ... }
        >>> views = task.make_views(batch)
        >>> len(views), tuple(views[0]['planes'].shape)
        (6, (4, 8, 3, 3, 32))
    """

    projection_head: DINOProjectionHead

    def __init__(
        self,
        num_prototypes: int = 1024,
        hidden_dim: int = 512,
        bottleneck_dim: int = 128,
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        warmup_teacher_temp: float = 0.04,
        warmup_teacher_temp_share: float = 0.3,
        centering: Literal['mean', 'sinkhorn'] = 'mean',
        center_momentum: float = 0.9,
        freeze_last_layer: int = 1,
        ibot_weight: float = 0.0,
        ibot_ratio: float = 0.3,
        koleo_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SITSDINO instance.

        Args:
            num_prototypes: Output dimension of the projection head.
            hidden_dim: Width of the projection head.
            bottleneck_dim: Dimension before the prototypes.
            student_temp: Temperature of the student's assignments.
            teacher_temp: Temperature of the teacher's assignments after the warm-up.
            warmup_teacher_temp: The same at the first step.
            warmup_teacher_temp_share: Share of the steps over which it changes linearly.
            centering: What keeps the teacher from one prototype: the moving mean of its
                outputs, or an assignment of the batch that uses all prototypes alike.
            center_momentum: Momentum of the mean.
            freeze_last_layer: Number of epochs in which the prototypes stay as they are.
            ibot_weight: Weight of the term on masked tokens.
            ibot_ratio: Share of the tokens of a global view that is masked for it.
            koleo_weight: Weight of the KoLeo term.
            **kwargs: Arguments of the base class,
                :class:`~torchgeo_sits.tasks.distillation.SITSDistillation`.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        if not 0 <= warmup_teacher_temp_share <= 1:
            raise SITSError(
                f'warmup_teacher_temp_share must be in [0, 1], got {warmup_teacher_temp_share}'
            )
        if not 0 < ibot_ratio < 1:
            raise SITSError(f'ibot_ratio must lie between 0 and 1, got {ibot_ratio}')
        if centering not in ('mean', 'sinkhorn'):
            raise SITSError(f"expected centering to be 'mean' or 'sinkhorn', got {centering!r}")
        if min(student_temp, teacher_temp, warmup_teacher_temp) <= 0:
            raise SITSError(
                f'expected temperatures above 0, got student_temp={student_temp}, '
                f'teacher_temp={teacher_temp}, warmup_teacher_temp={warmup_teacher_temp}'
            )
        super().__init__(**kwargs)

    def check_views(self, global_views: int, local_views: int) -> None:
        """Raise SITSError unless there are two views to compare."""
        if global_views + local_views < 2:
            raise SITSError(
                'SITSDINO compares views: views_kwargs must leave two at least, got one'
            )
        if global_views < 2 and self.compared_levels not in ([], ['image']):
            raise SITSError(
                'objects and pixels are compared between global views: expected views_kwargs '
                f'with global_views of at least 2, got {global_views}, or pixel_weight=0 and '
                'object_weight=0'
            )

    def build_head(self, dim: int) -> nn.Module:
        """Build a projection head ``(P, dim)`` -> ``(P, K)``, one for all levels."""
        return DINOProjectionHead(
            dim,
            self.hparams['hidden_dim'],
            self.hparams['bottleneck_dim'],
            self.hparams['num_prototypes'],
            freeze_last_layer=self.hparams['freeze_last_layer'],
        )

    def configure_losses(self) -> None:
        """Initialize the loss terms."""
        dim, temp = self.hparams['num_prototypes'], self.hparams['student_temp']
        # Sinkhorn's targets need no centre: with a momentum of 1 it stays at 0.
        momentum = self.hparams['center_momentum'] if self.hparams['centering'] == 'mean' else 1.0
        self.dino_loss = DINOLoss(dim, student_temp=temp, center_momentum=momentum)
        self.object_loss = IBOTPatchLoss(dim, student_temp=temp, center_momentum=momentum)
        self.pixel_loss = IBOTPatchLoss(dim, student_temp=temp, center_momentum=momentum)
        self.ibot_loss = IBOTPatchLoss(dim, student_temp=temp)
        self.ibot_loss.center = _TokenCenter((1, dim), momentum=momentum)
        self.koleo_loss = KoLeoLoss()
        #: Losses whose centre is known not to be 0.
        self._centred: set[nn.Module] = set()

    def compare_views(self, views: list[dict[str, Any]], batch: dict[str, Any]) -> ViewLosses:
        """Compare the student's assignments of all views with the teacher's."""
        count = self.views.global_views
        view, local_views = join_views(views[:count]), views[count:]
        with torch.no_grad():
            target = encode_view(self.teacher, view)
        token_mask = None
        if self.hparams['ibot_weight']:
            token_mask = _draw_token_mask(target.seen, self.hparams['ibot_ratio'])
        student = encode_view(self.backbone, view, token_mask)
        health = {'embedding': student.embed.detach()}
        losses: dict[str, Tensor] = {}
        if 'image' in self.compared_levels:
            with torch.no_grad():
                center = self.dino_loss.center
                teacher_out = self._target(self.teacher_head(target.embed), center, self.dino_loss)
                health['assignment'] = self._assigned(teacher_out, self.dino_loss.center[0])
            student_out = list(self.projection_head(student.embed).chunk(count))
            if local_views:
                local = encode_view(self.backbone, join_views(local_views))
                student_out += self.projection_head(local.embed).chunk(len(local_views))
            # The teacher's views come first among the student's: lightly leaves out the diagonal.
            with self.full_precision():
                losses['image'] = self.dino_loss(
                    [part.float() for part in teacher_out.chunk(count)],
                    [part.float() for part in student_out],
                    teacher_temp=self.teacher_temp,
                )
        pairs = self.match_views(
            student,
            next_view(target, count),
            view,
            next_view(view, count),
            batch,
            levels=[level for level in self.compared_levels if level != 'image'],
        )
        # In one order in all processes: they exchange the centres.
        for level, (ours, theirs) in pairs.items():
            one = torch.ones(1, 1, len(ours), dtype=torch.bool, device=ours.device)
            criterion = getattr(self, f'{level}_loss')
            losses[level], assignment = self._token_loss(criterion, ours, theirs, one)
            if len(assignment):
                health.setdefault('assignment', assignment)
        if token_mask is not None:
            ours, theirs = student.late[token_mask], target.late[token_mask]
            losses['ibot'], _ = self._token_loss(self.ibot_loss, ours, theirs, token_mask)
        if self.hparams['koleo_weight']:
            # Within one view only: another view of the same place is a wanted neighbour.
            parts = [gather_batch(part.float()) for part in student.embed.chunk(count)]
            with self.full_precision():
                losses['koleo'] = torch.stack([self.koleo_loss(part) for part in parts]).mean()
        return ViewLosses(losses, health)

    def _token_loss(
        self, criterion: IBOTPatchLoss, ours: Tensor, theirs: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy between assignments of tokens ``(P, D)``, and the teacher's ``(P, K)``."""
        guessed = self.projection_head(ours)
        with torch.no_grad():
            outputs = self.teacher_head(theirs)
            if not len(ours):
                return guessed.sum() * 0.0, outputs
            wanted = self._target(outputs, criterion.center.center, criterion)
            assignment = self._assigned(wanted, criterion.center.center)
        with self.full_precision():
            loss: Tensor = criterion(wanted.float(), guessed.float(), mask, self.teacher_temp)
        return loss, assignment

    def _assigned(self, outputs: Tensor, center: Tensor) -> Tensor:
        """The teacher's assignments ``(P, K)``."""
        return ((outputs - center) / self.teacher_temp).softmax(dim=-1)

    def _target(self, outputs: Tensor, center: Tensor, criterion: nn.Module) -> Tensor:
        """Make the teacher's outputs ``(P, K)`` such that centre and softmax give its targets.

        With a centre by the mean they stay as they are, but the first ones set the centre. From
        0 a moving average takes tens of steps to the mean, which at the start outweighs all
        differences: until then one prototype takes every sample, and the student learns just
        that. The papers' runs are long enough to forget it, short ones are not.

        Sinkhorn's assignment weighs all processes alike, also where masks leave them unequal
        numbers of tokens.
        """
        if self.hparams['centering'] == 'mean':
            # Looked at once, for a device has to be waited for.
            if criterion not in self._centred:
                if not center.any():
                    center.copy_(center_mean(_mean_row(outputs), dim=(0,)).view_as(center))
                self._centred.add(criterion)
            return outputs
        # Outputs are cosines: 1 less, none overflows, and Sinkhorn's codes are the same. In 32
        # bits, temperatures below 0.02 would leave samples without a code.
        with self.full_precision():
            # Apple's GPUs have no 64 bits.
            scores = (outputs.float() if outputs.device.type == 'mps' else outputs.double()) - 1
            codes = sinkhorn(scores, epsilon=self.teacher_temp, gather_distributed=True)
            return (self.teacher_temp * codes.log()).to(outputs.dtype)

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

    def configure_callbacks(self) -> list[Callback]:
        """Callbacks of the task; none may copy it.

        Raises:
            SITSError: If the trainer averages weights by a copy.
        """
        trainer: Any = self.trainer
        if averaging := [c for c in trainer.callbacks if isinstance(c, WeightAveraging)]:
            raise SITSError(
                f'{type(averaging[0]).__name__} copies the task, which the weight norm of its '
                "heads does not allow: leave it out, DINO's teacher is an average of them already"
            )
        return list(super().configure_callbacks())

    def on_after_backward(self) -> None:
        """Keep the prototypes frozen in the first epochs, as DINO's authors do."""
        self.projection_head.cancel_last_layer_gradients(self.current_epoch)


def _draw_token_mask(seen: Tensor, ratio: float) -> Tensor:
    """Draw tokens to hide, among those that were seen.

    Args:
        seen: ``(B, N, S)`` bool.
        ratio: Share of the seen tokens of a sample to hide; one at least is, and one in a
            batch that saw nothing, since processes must agree on what they exchange.

    Returns:
        ``(B, N, S)`` bool.
    """
    flat = seen.flatten(1)
    number = (ratio * flat.sum(1, keepdim=True)).clamp(min=1)
    noise = torch.rand(flat.shape, device=seen.device).masked_fill(~flat, 2.0)
    rank = noise.argsort(1).argsort(1)
    mask = flat & (rank < number)
    mask[0, 0] |= ~mask.any()
    return mask.view_as(seen)


def _mean_row(rows: Tensor) -> Tensor:
    """Mean of rows of which processes hold unequal numbers.

    Args:
        rows: ``(P, K)``, P of each process its own.

    Returns:
        ``(1, K)`` float32, whose mean over the processes is the mean of all rows.
    """
    total = rows.float().sum(0, keepdim=True)
    return global_mean(total, torch.tensor(len(rows), device=rows.device))


class _TokenCenter(Center):
    """Moving mean of tokens, of which processes may hold unequal numbers.

    lightly's takes the mean of the processes' means.
    """

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Update the centre with tokens ``(P, K)``."""
        super().update(_mean_row(x))

"""What the tasks of self-supervised pretraining share: views, terms of the loss, schedules."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from inspect import signature
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from lightly.utils.scheduler import cosine_schedule
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ..callbacks import CheckpointReport, EmbeddingHealth, ViewsPicture
from ..errors import SITSError
from ..keys import IMAGE
from ..models import PlaneFeatures, SITSEncoder, build_encoder, load_weights
from ..transforms import (
    PlanarMultiView,
    RandomCloudGaps,
    RandomDateJitter,
    RandomGainOffset,
    ResamplingMultiView,
    SeriesSequential,
)
from .base import SITSTask
from .comparison import LEVELS, Level, draw_objects, level_pairs
from .embedding import EmbeddingMapMixin
from .reconstruction import MaskedReconstruction
from .seeding import SeededMixin
from .view_batches import check_cells

__all__ = [
    'SITSPretraining',
    'SITSScheduledTask',
    'Terms',
    'build_views',
    'check_strategy',
    'effective_batch_size',
    'no_loss',
]


def effective_batch_size(trainer: Trainer) -> int:
    """Samples per optimiser step: of all processes and accumulated batches.

    Args:
        trainer: The trainer of the run.

    Returns:
        The number; of one batch of 16 where nothing tells it.
    """
    datamodule: Any = getattr(trainer, 'datamodule', None)
    own = getattr(datamodule, 'batch_size', None)
    if own is None:
        own = getattr(trainer.train_dataloader, 'batch_size', None)
    return (own or 16) * trainer.world_size * trainer.accumulate_grad_batches


class SITSScheduledTask(SITSTask):
    """A task whose learning rate follows the batch size, and its weight decay a cosine.

    Reads the hyperparameters of :class:`SITSTask`, of which ``lr`` may be None, and
    ``weight_decay`` and ``end_weight_decay``.
    """

    #: Learning rate that suits a batch of 16.
    reference_lr: ClassVar[float] = 5e-4

    @abstractmethod
    def trained(self) -> Iterable[nn.Module]:
        """The modules that the optimiser trains."""

    @property
    def learning_rate(self) -> float:
        """Largest learning rate: the one asked for, or one for the batch size in use.

        Adam's learning rate follows the root of the batch size (Malladi et al., NeurIPS 2022,
        https://arxiv.org/abs/2205.10287).
        """
        if self.hparams['lr'] is not None:
            return float(self.hparams['lr'])
        return self.reference_lr * min(4.0, (effective_batch_size(self.trainer) / 16) ** 0.5)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step with this step's weight decay."""
        step, steps = self.global_step, self.total_steps
        start, end = self.hparams['weight_decay'], self.hparams['end_weight_decay']
        for group in optimizer.param_groups:
            if group['decays']:
                # A plain number: older lightly gives NumPy's, which checkpoints may not hold.
                group['weight_decay'] = float(cosine_schedule(step, steps, start, end))
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with a linear rise and a cosine fall of the learning rate per step."""
        groups = []
        for module in self.trained():
            # Any decay above 0 does to tell the groups apart; the schedule sets its value.
            for group in param_groups_weight_decay(module, weight_decay=1.0):
                groups.append({**group, 'decays': group['weight_decay'] > 0, 'weight_decay': 0.0})
        optimizer = AdamW(groups, lr=self.learning_rate)
        return self.scheduled(optimizer)


def check_strategy(trainer: Trainer) -> None:
    """Refuse strategies that shard a model.

    Args:
        trainer: The trainer of the run.

    Raises:
        SITSError: If its strategy shards the model.
    """
    if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
        raise SITSError(
            f'{type(trainer.strategy).__name__} shards the weights, of which teachers, health '
            "and checkpoints here need the whole: use strategy='ddp'. The encoders are small "
            'enough for one device'
        )


class Terms(NamedTuple):
    """What a method makes of the views of a batch.

    Attributes:
        losses: Terms of the loss by name; the hyperparameter ``<name>_weight`` weighs each.
        health: What the watch over the run looks at: ``embedding`` ``(B, D)``, and
            ``projection`` ``(B, D')`` or ``assignment`` ``(B, K)`` where there are any.
    """

    losses: dict[str, Tensor]
    health: dict[str, Tensor]


def no_loss(*tensors: Tensor) -> Tensor:
    """A loss of 0 with gradients of 0, for a term that a batch has nothing for."""
    return torch.stack([tensor.sum() for tensor in tensors]).sum() * 0.0


_KINDS = {'planar': PlanarMultiView, 'resampling': ResamplingMultiView}


def build_views(
    kind: str, augment: nn.Module, default: Mapping[str, Any], asked: Mapping[str, Any] | None
) -> PlanarMultiView | ResamplingMultiView:
    """Build the views that a task draws.

    Args:
        kind: ``'planar'`` or ``'resampling'``.
        augment: Augmentation of each view.
        default: Arguments that suit the task.
        asked: Arguments that were asked for, above these.

    Returns:
        The views.

    Raises:
        SITSError: If there is no such kind, or an argument does not fit it.
    """
    if kind not in _KINDS:
        raise SITSError(f"expected views to be 'planar' or 'resampling', got {kind!r}")
    views = _KINDS[kind]
    try:
        return views(augment=augment, **{**default, **(asked or {})})
    except TypeError as error:
        names = [name for name in signature(views).parameters if name != 'augment']
        raise SITSError(
            f'views_kwargs={asked} do not fit {views.__name__}: {error}. It takes {names}'
        ) from error


class SITSPretraining(EmbeddingMapMixin, SeededMixin, SITSScheduledTask):
    """An encoder that learns from views of series without labels.

    A subclass says in :meth:`build_heads` what stands on the encoder and in
    :meth:`compare_views` what it makes of the views. The terms of its loss have weights; those
    of a level (image, object, pixel) that is not compared cost nothing. Any method can be
    joined with the reconstruction of what is hidden (:class:`SITSMAE`).
    """

    monitor = 'train_loss'

    encoder_name = 'backbone'
    #: The encoder that is trained.
    backbone: SITSEncoder
    projection_head: nn.Module

    #: Arguments of the views that suit the method, below those that are asked for.
    default_views: ClassVar[dict[str, Any]] = {}

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
        image_weight: float = 1.0,
        object_weight: float = 0.0,
        pixel_weight: float = 0.0,
        pixels: int = 64,
        object_size: int = 8,
        reconstruction_weight: float = 0.0,
        mask_kind: Literal['date', 'pixel', 'block', 'mixed'] = 'mixed',
        mask_ratio: float = 0.5,
        lr: float | None = None,
        min_lr: float = 1e-6,
        warmup_share: float = 0.1,
        weight_decay: float = 0.04,
        end_weight_decay: float = 0.4,
        clip_grad: float = 3.0,
    ) -> None:
        """Initialize a new task.

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
            image_weight: Weight of the comparison of whole views.
            object_weight: Weight of the comparison of objects, which are superpixels.
            pixel_weight: Weight of the comparison of pixels that both views see.
            pixels: Largest number of pixels of a sample that a step compares.
            object_size: Side of a superpixel, in pixels.
            reconstruction_weight: Weight of the reconstruction of hidden values.
            mask_kind: What is hidden for it: dates, pixels, blocks of both, or for each sample
                one of these.
            mask_ratio: Share of the clear values that is hidden.
            lr: Largest learning rate. None takes the method's own for a batch of 16, times
                the root of the batch size over 16, four times that at most.
            min_lr: Learning rate at the last step.
            warmup_share: Share of the steps over which the learning rate rises.
            weight_decay: Weight decay at the first step.
            end_weight_decay: Weight decay at the last step; a cosine lies between.
            clip_grad: Largest norm of the gradient, unless the trainer clips; 0 never clips.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        self.weights = weights
        # Not as hyperparameters: of those the command line keeps what was asked for, and not
        # what a method fixes.
        self._base_weights = {
            'image': image_weight,
            'object': object_weight,
            'pixel': pixel_weight,
            'reconstruction': reconstruction_weight,
        }
        if lr is not None and lr <= 0:
            raise SITSError(f'lr must be above 0, got {lr}')
        if not 0 <= warmup_share <= 1:
            raise SITSError(f'warmup_share must be in [0, 1], got {warmup_share}')
        if pixels < 1 or object_size < 1:
            raise SITSError(
                f'expected pixels and object_size of at least 1, got {pixels} and {object_size}'
            )
        super().__init__()
        self._check_weights()
        # Clouds lie over the place, before its views are drawn; the rest differs per view.
        self.clouds = RandomCloudGaps(cloud_rate)
        augment = SeriesSequential(RandomDateJitter(jitter_days), RandomGainOffset(gain, offset))
        self.views = build_views(views, augment, self.default_views, views_kwargs)
        self.check_views(self.views.global_views, self.views.local_views)

    def _check_weights(self) -> None:
        """Raise SITSError unless the terms of the loss have weights that make one."""
        weights = {f'{name}_weight': value for name, value in self.loss_weights.items()}
        wrong = {name: value for name, value in weights.items() if not value >= 0}
        if wrong or not any(weights.values()):
            raise SITSError(
                f'expected weights of at least 0, one of them above, got {wrong or weights}'
            )

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each term of the loss, by its name."""
        asked = {k: v for k, v in self.hparams.items() if k.endswith('_weight')}
        return {k.removesuffix('_weight'): v for k, v in asked.items()} | self._base_weights

    def check_views(self, whole: int, local: int) -> None:
        """Raise SITSError unless the method can do with the views.

        Args:
            whole: Number of global views.
            local: Number of local views.
        """

    def make_views(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """Draw the views of a batch, as a training step does.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            The views, the global ones first.
        """
        with torch.no_grad():
            return self.views(self.clouds(batch))

    @property
    def levels(self) -> list[Level]:
        """The levels whose comparison has a weight."""
        return [level for level in LEVELS if self.loss_weights[level]]

    @property
    def encoder(self) -> SITSEncoder:
        """The encoder that downstream tasks use."""
        encoder: SITSEncoder = getattr(self, self.encoder_name)
        return encoder

    def configure_models(self) -> None:
        """Build the models, if the number of bands is known already."""
        if self.hparams['in_channels'] is not None:
            self._build(self.hparams['in_channels'])

    def configure_model(self) -> None:
        """Build the models for the bands of the data module.

        Raises:
            SITSError: If nothing tells the number of bands, or it is not that of the data.
        """
        # No trainer where a checkpoint is loaded by hand.
        self.meet_data(getattr(self._trainer, 'datamodule', None))
        if not hasattr(self, 'backbone'):
            self.configure_models()
            # Its card was not known when the data was met.
            self.meet_data(getattr(self._trainer, 'datamodule', None))

    @abstractmethod
    def build_heads(self, dim: int) -> None:
        """Build what stands on the encoder.

        Args:
            dim: Number of features of an embedding.
        """

    def _build(self, in_channels: int) -> None:
        """Build the encoder and what stands on it."""
        name, kwargs = self.hparams['model'], self.hparams['model_kwargs'] or {}
        self.backbone = build_encoder(name, in_channels, **kwargs)
        if self.weights is not None:
            self._card = load_weights(self.backbone, self.weights)
        if hasattr(self.backbone, 'mask_token') and not self.loss_weights.get('ibot'):
            # No token is masked: DDP stops at parameters that never get a gradient.
            self.backbone.mask_token.requires_grad_(False)
        if self.loss_weights['reconstruction']:
            self.reconstruction = MaskedReconstruction(
                self.backbone.embed_dim,
                in_channels,
                kind=self.hparams['mask_kind'],
                ratio=self.hparams['mask_ratio'],
            )
        self.build_heads(self.backbone.embed_dim)

    def trained(self) -> Iterable[nn.Module]:
        """The modules that the optimiser trains."""
        names = ('backbone', 'projection_head', 'prediction_head', 'reconstruction')
        return (getattr(self, name) for name in names if hasattr(self, name))

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Embed series with the encoder that downstream tasks use.

        Args:
            *args: A :class:`~torchgeo_sits.keys.Series`, as of
                :meth:`torchgeo_sits.models.SITSEncoder.forward`.
            **kwargs: The same, by name.

        Returns:
            Embeddings ``(B, D)``.
        """
        return self.encoder(*args, **kwargs)

    def full_precision(self) -> AbstractContextManager[None]:
        """Where distances and variances are computed, whatever the trainer's precision."""
        return torch.autocast(self.device.type, enabled=False)

    @abstractmethod
    def compare_views(self, views: list[dict[str, Any]], batch: dict[str, Any]) -> Terms:
        """Encode the views and compare them.

        Args:
            views: The views, the global ones first.
            batch: The batch that they show.
        """

    def pairs(
        self,
        ours: PlaneFeatures,
        theirs: PlaneFeatures,
        view: dict[str, Any],
        other: dict[str, Any],
        batch: dict[str, Any],
        *,
        levels: Sequence[Level] | None = None,
    ) -> dict[Level, tuple[Tensor, Tensor]]:
        """Match two views, level by level.

        Args:
            ours: Features of one view, or of several joined.
            theirs: Features of the other view of the same samples.
            view: The view.
            other: The other view.
            batch: The batch that they show.
            levels: The levels, all that have a weight by default.

        Returns:
            For each level two tensors ``(P, D)``, of all processes together.
        """
        levels = self.levels if levels is None else levels
        if set(levels) - {'image'}:
            check_cells(self.backbone, view)
        objects = None
        if 'object' in levels:
            objects = draw_objects(batch, self.hparams['object_size'])
            views = len(ours.embed) // len(objects.ids)
            objects = objects._replace(ids=objects.ids.repeat(views, 1, 1))
        number = self.hparams['pixels']
        return {
            level: level_pairs(level, ours, theirs, view, other, objects=objects, pixels=number)
            for level in levels
        }

    def training_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.

        Returns:
            ``loss``, and what :class:`Terms` says for the watch over the run's health.
        """
        views = self.make_views(batch)
        losses, health = self.compare_views(views, batch)
        if self.loss_weights['reconstruction']:
            losses['reconstruction'], embedding = self.reconstruction(self.backbone, views[0])
            health.setdefault('embedding', embedding.detach())
        weights = self.loss_weights
        loss = torch.stack([weights[k] * v for k, v in losses.items()]).sum()
        size = len(batch[IMAGE])
        self.log('train_loss', loss, prog_bar=True, batch_size=size)
        if len(losses) > 1:
            self.log_dict({f'{k}_loss': v for k, v in losses.items()}, batch_size=size)
        return {'loss': loss, **health}

    def setup(self, stage: str) -> None:
        """Check that the run can be what it is asked to be.

        Raises:
            SITSError: If the strategy shards the model.
        """
        super().setup(stage)
        check_strategy(self.trainer)

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

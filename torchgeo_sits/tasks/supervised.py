"""What the tasks with labels share: an encoder with a head, losses, metrics, schedules."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn
from torch.optim import AdamW

from ..callbacks import CheckpointReport, PredictionPicture
from ..errors import SITSError
from ..keys import IMAGE
from ..models import Depth, SITSEncoder, build_encoder, load_encoder
from .base import SITSTask, encoder_hparams
from .label_metrics import LabelledMixin, labelled_scores

__all__ = ['SITSSupervised']

Loss = Literal['ce', 'bce', 'jaccard', 'focal', 'dice']


class SITSSupervised(LabelledMixin, SITSTask):
    """An encoder, pretrained or not, and a head that learns from labels.

    Losses and metrics see only what is labelled, so a batch without any label has a loss of 0
    and no metric counts it. What the data module knows (bands, classes, the value of what is
    not labelled) need not be said again.

    Subclasses build a head in :meth:`build_head`, and say in :meth:`scores` and :meth:`target`
    what is compared.
    """

    encoder_name = 'encoder'
    encoder: SITSEncoder
    head: nn.Module

    def __init__(
        self,
        model: str | None = None,
        weights: str | None = None,
        in_channels: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        depth: Depth = 'joined',
        hidden_dim: int = 0,
        task: Literal['binary', 'multiclass'] = 'multiclass',
        num_classes: int | None = None,
        labels: list[str] | None = None,
        ignore_index: int | None = None,
        loss: Loss = 'ce',
        class_weights: Sequence[float] | None = None,
        pos_weight: float | None = None,
        freeze_backbone: bool = False,
        layer_decay: float = 1.0,
        lr: float = 1e-3,
        min_lr: float = 1e-6,
        warmup_share: float = 0.1,
        weight_decay: float = 0.05,
        clip_grad: float = 3.0,
    ) -> None:
        """Initialize a new task.

        Args:
            model: Name of an encoder, see :data:`torchgeo_sits.models.ENCODERS`. None takes
                that of *weights*, without which it is planar_vit_tiny.
            weights: Checkpoint of a task of this project whose encoder to start from. Its
                normalisation replaces that of the data module.
            in_channels: Number of bands. None takes it from the checkpoint or the data.
            model_kwargs: Further arguments of the encoder, if there is no checkpoint.
            depth: Features that the head sees: those before spatial context (early), after
                it (late), or both (joined).
            hidden_dim: Width of a hidden layer of the head, 0 for a linear one.
            task: 'binary' tells 0 from all other classes by one score.
            num_classes: Number of classes, counting 0. None takes it from the data.
            labels: Names of the classes. None takes them from the data.
            ignore_index: Label of what is not labelled. None takes it from the data. If it is
                a class, that class is never predicted.
            loss: Loss function; 'bce' is that of binary tasks, 'ce' of others.
            class_weights: Weight of each class in the loss 'ce'.
            pos_weight: Weight of the positive class in the loss 'bce'.
            freeze_backbone: Train the head alone: with ``hidden_dim=0`` a linear probe.
            layer_decay: Factor on the learning rate from each layer of the encoder to the one
                before (BEiT, https://arxiv.org/abs/2106.08254, appendix).
            lr: Largest learning rate.
            min_lr: Learning rate at the last step.
            warmup_share: Share of the steps over which the learning rate rises.
            weight_decay: Weight decay, of matrices only.
            clip_grad: Largest norm of the gradient, unless the trainer clips; 0 never clips.

        Raises:
            SITSError: If an argument is out of its range or does not go with another.
        """
        self.weights = weights
        if lr <= 0 or not 0 < layer_decay <= 1 or not 0 <= warmup_share <= 1:
            raise SITSError(
                'lr must be above 0, layer_decay in (0, 1] and warmup_share in [0, 1], got '
                f'{lr}, {layer_decay} and {warmup_share}'
            )
        if (loss == 'bce') != (task == 'binary') and loss in ('ce', 'bce'):
            raise SITSError(
                f"loss={loss!r} does not go with task={task!r}: 'bce' is for binary tasks, 'ce' "
                'for multiclass, jaccard, focal and dice for both'
            )
        if class_weights is not None and loss != 'ce':
            raise SITSError(f"class_weights are for loss='ce', got loss={loss!r}")
        if class_weights is not None and num_classes not in (None, len(class_weights)):
            raise SITSError(
                f'expected one of class_weights for each of {num_classes} classes, got '
                f'{len(class_weights)}'
            )
        super().__init__()

    # -- models ----------------------------------------------------------------------------

    @abstractmethod
    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build what stands on the encoder.

        Args:
            encoder: The encoder.
            num_outputs: Number of scores K.
        """

    @abstractmethod
    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Raw scores ``(B, K, ...)`` of a batch.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.
        """

    @abstractmethod
    def target(self, batch: dict[str, Any]) -> Tensor:
        """Labels ``(B, ...)`` of a batch, to hold scores against.

        Args:
            batch: A batch, see :mod:`torchgeo_sits.keys`.
        """

    def configure_models(self) -> None:
        """Build encoder and head, if bands and classes are known already.

        Raises:
            SITSError: If *weights* are those of another model.
        """
        if self.weights is not None:
            self.encoder, self._card = load_encoder(self.weights)
            self.hparams.update(encoder_hparams(self._card, self.hparams, self.weights))
            # Loaded to be used; Lightning leaves the mode of modules as it finds it.
            self.encoder.train()
        elif self.hparams['in_channels'] is not None:
            name = self.hparams['model'] = self.hparams['model'] or 'planar_vit_tiny'
            kwargs = self.hparams['model_kwargs'] or {}
            self.encoder = build_encoder(name, self.hparams['in_channels'], **kwargs)
        if hasattr(self, 'encoder') and self.num_classes is not None:
            self._build_head()

    def _build_head(self) -> None:
        """Build head and what depends on the number of classes."""
        assert self.num_classes is not None
        outputs = 1 if self.hparams['task'] == 'binary' else self.num_classes
        self.head = self.build_head(self.encoder, outputs)
        seen = torch.zeros(self.num_classes, dtype=torch.bool)
        self.register_buffer('classes_seen', seen)
        if self.hparams['freeze_backbone']:
            self.encoder.requires_grad_(False).eval()
        elif hasattr(self.encoder, 'mask_token'):
            # Nothing is masked: DDP stops at parameters that never get a gradient.
            self.encoder.mask_token.requires_grad_(False)

    def configure_model(self) -> None:
        """Build what the data module had to tell about first, and normalise as *weights* do.

        Raises:
            SITSError: If bands or classes are unknown, or not those of the data.
        """
        # No trainer where a checkpoint is loaded by hand.
        datamodule: Any = getattr(self._trainer, 'datamodule', None)
        self.meet_data(datamodule)
        for name, other in (
            ('num_classes', 'num_classes'),
            ('labels', 'class_names'),
            ('ignore_index', 'unlabelled'),
        ):
            if self.hparams[name] is None:
                self.hparams[name] = getattr(datamodule, other, None)
        self._check_classes()
        if not hasattr(self, 'encoder'):
            self.configure_models()
        elif not hasattr(self, 'head'):
            self._build_head()
        if not hasattr(self, 'criterion'):
            self.configure_losses()
            self.configure_metrics()

    def _check_classes(self) -> None:
        """Raise SITSError where the classes are unknown, or not those that were given."""
        if self.num_classes is None:
            raise SITSError(
                'the number of classes is unknown: give num_classes, or a data module with '
                'labels that has it (labels.paths of SITSDataModule)'
            )
        labels, weights = self.hparams['labels'], self.hparams['class_weights']
        if self.hparams['task'] == 'multiclass':
            for name, value in (('labels', labels), ('class_weights', weights)):
                if value is not None and len(value) != self.num_classes:
                    raise SITSError(
                        f'expected {name} of {self.num_classes}, one per class and 0 included, '
                        f'got {len(value)}'
                    )

    def train(self, mode: bool = True) -> 'SITSSupervised':
        """Set the mode of all but a frozen encoder, which stays in evaluation."""
        super().train(mode)
        if self.hparams['freeze_backbone'] and hasattr(self, 'encoder'):
            self.encoder.eval()
        return self

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Scores of a batch, in which a class to be ignored never wins.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            ``(B, K, ...)``.
        """
        scores = self.scores(batch)
        ignored = self.hparams['ignore_index']
        if scores.shape[1] > 1 and ignored is not None and 0 <= ignored < scores.shape[1]:
            # Never trained, so it would win by chance. Finite: the focal loss multiplies it.
            away = torch.zeros(scores.shape[1], device=scores.device, dtype=scores.dtype)
            away[ignored] = -1e4
            scores = scores + away.view(-1, *[1] * (scores.ndim - 2))
        return scores

    def _shared_step(self, batch: dict[str, Any], stage: str) -> dict[str, Tensor]:
        """Loss and metrics of a batch."""
        everything, scores, labels = self.compare(batch)
        loss = self.loss_of(scores, labels)
        self.count(stage, batch, everything, scores, labels)
        size = len(batch[IMAGE])
        self.log(f'{stage}_loss', loss, batch_size=size, prog_bar=True, sync_dist=stage != 'train')
        return {'loss': loss, 'scores': everything.detach()}

    def compare(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of a batch, and what is labelled of it.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            All scores ``(B, K, ...)``; scores ``(P, K)`` and labels ``(P,)`` of what is labelled.
        """
        scores = self(batch)
        return scores, *self.select(scores, self.target(batch))

    def select(self, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Scores ``(P, K)`` and labels ``(P,)`` of what is labelled, see labelled_scores."""
        classes = self.num_classes
        assert classes is not None
        return labelled_scores(
            scores, target, ignore_index=self.hparams['ignore_index'], num_classes=classes
        )

    def training_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Compute the loss and count the batch in the metrics.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.

        Returns:
            ``loss``, and the ``scores`` ``(B, K, ...)``.
        """
        return self._shared_step(batch, 'train')

    def validation_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """The same as :meth:`training_step`, for validation."""
        return self._shared_step(batch, 'val')

    def test_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """The same as :meth:`training_step`, for test."""
        return self._shared_step(batch, 'test')

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> Tensor:
        """Probabilities of the classes, as TorchGeo's tasks give them.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.

        Returns:
            ``(B, K, ...)``; K is 1 for binary tasks.
        """
        return self.probabilities(self(batch))

    def probabilities(self, scores: Tensor) -> Tensor:
        """Probabilities ``(B, K, ...)`` of scores ``(B, K, ...)``."""
        return scores.sigmoid() if self.hparams['task'] == 'binary' else scores.softmax(1)

    def prediction(self, scores: Tensor, batch: dict[str, Any]) -> Tensor:
        """What is predicted.

        Args:
            scores: ``(B, K, ...)``.
            batch: The batch they are of.

        Returns:
            Classes ``(B, ...)`` int64.
        """
        return (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(1)

    # -- the run ---------------------------------------------------------------------------

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, layer by layer; a linear rise and a cosine fall of the learning rate."""
        lr, decay = self.hparams['lr'], self.hparams['weight_decay']
        groups = [{**g, 'lr': lr} for g in param_groups_weight_decay(self.head, decay)]
        if not self.hparams['freeze_backbone']:
            for group in param_groups_layer_decay(
                self.encoder, decay, layer_decay=self.hparams['layer_decay']
            ):
                groups.append({**group, 'lr': lr * group['lr_scale']})
        return self.scheduled(AdamW(groups, lr=lr))

    def own_callbacks(self) -> list[Callback]:
        """Pictures of predictions, and the report at the end."""
        return [PredictionPicture(), CheckpointReport()]

    def next_steps(self, path: str) -> str:
        """What to do with a checkpoint of this task, for the end of a run."""
        return (
            'Score it again, on these or other data:\n'
            f'  torchgeo-sits validate <the options of this run> --ckpt_path {path}'
        )

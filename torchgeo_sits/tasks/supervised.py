"""Base of the tasks with labels: an encoder with a head, and losses and metrics of labels."""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn
from torch.optim import AdamW
from torchgeo.tasks.mixins import ClassificationMixin
from torchmetrics import Metric, SumMetric

from ..callbacks import BestCheckpoint, CheckpointReport, PredictionPicture
from ..errors import SITSError
from ..keys import IMAGE
from ..models import Depth, SITSEncoder, build_encoder, load_encoder
from .base import SITSTask, encoder_hparams

__all__ = ['Loss', 'SITSSupervised']

Loss = Literal['ce', 'bce', 'jaccard', 'focal', 'dice']


class SITSSupervised(ClassificationMixin, SITSTask):
    """Base of the tasks with labels: an encoder, pretrained or not, and a head.

    TorchGeo's losses and metrics are given ``(P, K)`` scores and ``(P,)`` labels of the P
    labelled places of a batch only; a batch without any has a loss of 0 and is not counted.
    What the data module knows (bands, classes, the value of what is not labelled) need not be
    said again.

    A subclass builds a head in :meth:`build_head`, and gives in :meth:`scores` and :meth:`target`
    what is compared.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSSupervised
        >>> class Brightness(SITSSupervised):
        ...     def build_head(self, encoder, num_outputs):
        ...         return torch.nn.Linear(1, num_outputs)
        ...     def scores(self, batch):
        ...         return self.head(batch['image'].mean((1, 2, 3, 4))[:, None])
        ...     def target(self, batch):
        ...         return batch['label']
        >>> task = Brightness(model='tempcnn', in_channels=3, num_classes=2)
        >>> task({'image': torch.rand(5, 4, 3, 8, 8)}).shape
        torch.Size([5, 2])
    """

    monitor = 'val_AverageF1Score'
    mode = 'max'

    encoder_name = 'encoder'
    encoder: SITSEncoder
    head: nn.Module
    criterion: nn.Module
    #: Number of labels that each stage has counted.
    label_counts: nn.ModuleDict
    #: The metrics of :meth:`map_metrics`, by stage.
    map_scores: nn.ModuleDict
    #: Classes that training has shown, so that scores can say which it never did.
    classes_seen: Tensor

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

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None while it is unknown."""
        return 2 if self.hparams['task'] == 'binary' else self.hparams['num_classes']

    @abstractmethod
    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on the encoder.

        Args:
            encoder: The encoder.
            num_outputs: Number of scores K.
        """

    @abstractmethod
    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Compute raw scores ``(B, K, ...)`` of a batch.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.
        """

    @abstractmethod
    def target(self, batch: dict[str, Any]) -> Tensor:
        """Give the labels ``(B, ...)`` of a batch, to hold scores against.

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
        """Build the head, and state that depends on the number of classes."""
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
        """Build the models for the bands and classes of the data, and normalise as *weights* do.

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

    def configure_losses(self) -> None:
        """Initialize the loss, once the number of classes is known."""
        if self.num_classes is None:
            return
        hidden: dict[str, Any] = {'ignore_index': None, 'pos_weight': None}
        if self.hparams['loss'] == 'ce':
            hidden = {}
        elif self.hparams['loss'] == 'bce' and self.hparams['pos_weight'] is not None:
            # A plain number in checkpoints, a tensor in the loss.
            hidden['pos_weight'] = torch.tensor(float(self.hparams['pos_weight']))
        kept = {name: self.hparams[name] for name in hidden}
        # Only what is labelled reaches the loss, and smp's would count what is ignored.
        self.hparams.update(hidden)
        super().configure_losses()
        self.hparams.update(kept)

    def configure_metrics(self) -> None:
        """Initialize TorchGeo's metrics, once the number of classes is known."""
        if self.num_classes is None:
            return
        # What TorchGeo's mix-in reads and no task here takes.
        self.hparams['num_labels'] = None
        super().configure_metrics()
        del self.hparams['num_labels']
        stages = ('train_', 'val_', 'test_')
        self.label_counts = nn.ModuleDict({stage: SumMetric() for stage in stages})
        # Patches of training differ each time: their maps are not worth the time.
        self.map_scores = nn.ModuleDict(
            {
                stage: nn.ModuleList(self.map_metrics() if stage != 'train_' else [])
                for stage in stages
            }
        )

    # -- a step ----------------------------------------------------------------------------

    def train(self, mode: bool = True) -> 'SITSSupervised':
        """Set the mode of all but a frozen encoder, which stays in evaluation."""
        super().train(mode)
        if self.hparams['freeze_backbone'] and hasattr(self, 'encoder'):
            self.encoder.eval()
        return self

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Compute the scores of a batch, in which a class to be ignored never wins.

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
        """Compute the loss of a batch, and count it in the metrics."""
        all_scores, scores, labels = self.compare(batch)
        loss = self.loss_of(scores, labels)
        self._count(stage, batch, all_scores, scores, labels)
        size = len(batch[IMAGE])
        self.log(f'{stage}_loss', loss, batch_size=size, prog_bar=True, sync_dist=stage != 'train')
        return {'loss': loss, 'scores': all_scores.detach()}

    def compare(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Score a batch, and select its labelled places.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            All scores ``(B, K, ...)``; scores ``(P, K)`` and labels ``(P,)`` of the labelled
            places.
        """
        scores = self(batch)
        return scores, *self.select(scores, self.target(batch))

    def select(self, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Select the labelled places of a batch: losses and metrics have nothing to ignore then.

        Losses of libraries differ in what they do with labels to be ignored: a mean over nothing
        is NaN, and the Jaccard loss counts what is predicted there as wrong.

        Args:
            scores: ``(B, K, ...)``.
            target: ``(B, ...)`` or ``(B, 1, ...)`` int64; ``ignore_index`` where not labelled.

        Returns:
            ``(P, K)`` and ``(P,)`` of the P labelled places.

        Raises:
            SITSError: If shapes do not fit, or a label is no class.
        """
        num_classes, ignore_index = self.num_classes, self.hparams['ignore_index']
        assert num_classes is not None
        if target.ndim == scores.ndim and target.shape[1] == 1:
            target = target[:, 0]
        if target.shape != (expected := scores.shape[:1] + scores.shape[2:]):
            raise SITSError(
                f'expected labels {tuple(expected)} for the scores {tuple(scores.shape)}, got '
                f'{tuple(target.shape)}: labels need the size of the images, and those of a series '
                'a frame axis only where each frame has a map of its own'
            )
        chosen = (
            target.new_ones(target.shape).bool() if ignore_index is None else target != ignore_index
        )
        labels = target[chosen].long()
        odd = labels[(labels < 0) | (labels >= num_classes)]
        if len(odd):
            ignored = '' if ignore_index is None else f', or {ignore_index} where not labelled'
            raise SITSError(
                f'the labels hold {sorted(odd.unique().tolist())[:5]}, expected classes from 0 to '
                f'{num_classes - 1}{ignored}: set num_classes or ignore_index, or renumber the '
                'labels (labels.classes of SITSDataModule)'
            )
        return scores.movedim(1, -1)[chosen], labels

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
        """Compute the loss and count the batch, as :meth:`training_step` does."""
        return self._shared_step(batch, 'val')

    def test_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Compute the loss and count the batch, as :meth:`training_step` does."""
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
        """Predict classes from scores.

        Args:
            scores: ``(B, K, ...)``.
            batch: The batch they are of.

        Returns:
            Classes ``(B, ...)`` int64.
        """
        return (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(1)

    # -- losses and metrics of what is labelled -----------------------------------------------

    def loss_of(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of ``(P, K)`` scores and ``(P,)`` labels; 0 where P is."""
        if not len(labels):
            return scores.sum() * 0.0
        # The axes that losses for images expect.
        scores, labels = scores.float().T[None], labels[None]
        if self.hparams['task'] == 'binary':
            scores, labels = scores[:, 0], labels.float()
        loss: Tensor = self.criterion(scores, labels)
        return loss

    def outcome(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Give the metrics what they compare.

        Args:
            scores: ``(P, K)``.
            labels: ``(P,)``.

        Returns:
            Predicted classes ``(P,)``, for binary tasks probabilities, and true classes.
        """
        binary = self.hparams['task'] == 'binary'
        return scores[:, 0].sigmoid() if binary else scores.argmax(-1), labels

    def map_metrics(self) -> list[Metric]:
        """Metrics of whole maps beside TorchGeo's, for validation and test; none by default."""
        return []

    def update_map_metrics(
        self, metrics: nn.ModuleList, batch: dict[str, Any], scores: Tensor
    ) -> None:
        """Count a batch in the metrics of :meth:`map_metrics`.

        Args:
            metrics: The metrics of the stage.
            batch: The batch.
            scores: Its scores ``(B, K, ...)``.
        """

    def _count(
        self, stage: str, batch: dict[str, Any], all_scores: Tensor, scores: Tensor, labels: Tensor
    ) -> None:
        """Count a batch in the metrics of a stage; arguments are those of :meth:`compare`."""
        number: Any = self.label_counts[f'{stage}_']
        number.update(len(labels))
        if len(labels):
            found, truth = self.outcome(scores.detach(), labels)
            getattr(self, f'{stage}_metrics').update(found, truth)
            if stage == 'train':
                self.classes_seen[truth.unique()] = True
        metrics: Any = self.map_scores[f'{stage}_']
        if len(metrics):
            self.update_map_metrics(metrics, batch, all_scores.detach())

    def on_train_epoch_end(self) -> None:
        """Log the metrics of training."""
        self._log_metrics('train')

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of validation."""
        self._log_metrics('val')

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test."""
        self._log_metrics('test')

    def _log_metrics(self, stage: str) -> None:
        """Log the metrics of a stage, where it had labels; say where scores need a caveat."""
        count: Any = self.label_counts[f'{stage}_']
        metrics = getattr(self, f'{stage}_metrics')
        map_metrics: Any = self.map_scores[f'{stage}_']
        with warnings.catch_warnings():
            # Every process has to take part, also one that saw no label.
            warnings.filterwarnings('ignore', 'The ``compute`` method of metric')
            labelled, values = int(count.compute()), metrics.compute()
            for metric in map_metrics:
                values |= {f'{stage}_{name}': v for name, v in metric.compute().items()}
        if labelled:
            # NaN is a score of something that did not occur.
            self.log_dict({name: v.float() for name, v in values.items() if not v.isnan()})
            if stage != 'train' and not self.trainer.sanity_checking:
                self._warn_of_classes_never_seen(stage)
        else:
            rank_zero_warn(
                f'no label among the data of stage {stage!r}: no metric is logged. Look at the '
                'labels and at how they are split',
                category=UserWarning,
            )
        for metric in (count, metrics, *map_metrics):
            metric.reset()

    def _warn_of_classes_never_seen(self, stage: str) -> None:
        """Name classes that are scored but were never trained on: they count as missed."""
        names = self.hparams['labels'] or [str(i) for i in range(len(self.classes_seen))]
        never = [
            names[i]
            for i in (~self.classes_seen).nonzero()[:, 0].tolist()
            if i != self.hparams['ignore_index'] and self._is_scored(stage, i)
        ]
        if never and self.classes_seen.any():
            rank_zero_warn(
                f'training has not shown the classes {never} yet, which stage {stage!r} scores: '
                'they count as missed',
                category=UserWarning,
            )

    def _is_scored(self, stage: str, label: int) -> bool:
        """Say whether a class occurs among the labels of a stage."""
        metric = getattr(self, f'{stage}_metrics')['AverageRecall']
        found, missed = torch.atleast_1d(metric.tp), torch.atleast_1d(metric.fn)
        return len(found) > label and bool(found[label] + missed[label] > 0)

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

    def own_checkpoint(self) -> ModelCheckpoint:
        """Keep the epoch that is best by :attr:`monitor`."""
        return BestCheckpoint(
            filename=f'{self.method}-{{epoch:02d}}', monitor=self.monitor, mode=self.mode
        )

    def next_steps(self, path: str) -> str:
        """Say what a checkpoint of this task is good for, at the end of a run."""
        return (
            'Score it again, on these or other data:\n'
            f'  torchgeo-sits validate <the options of this run> --ckpt_path {path}'
        )

"""Base of all tasks with labels: an encoder with a head, training, scores, the best epoch."""

import shlex
import warnings
from abc import abstractmethod
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import MeanMetric, Metric, SumMetric

from ..callbacks import BestCheckpoint, CheckpointReport, ScoreTable
from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR, MASK_CLEAR_S1, VALID, VALID_S1
from ..mapping import MapOutput
from ..metrics import Confusion
from ..models import Depth, SITSEncoder, add_adapters
from .base import SITSTask
from .sentinel1 import meet_s1

__all__ = ['SITSLabelled']


class SITSLabelled(SITSTask):
    """Base of the tasks with labels, of classes or of values: an encoder and a head.

    A batch is scored, what is labelled of it is selected, and loss and metrics see that only; a
    batch without any label has a loss of 0 and is not counted. What the data module knows need
    not be said again.

    Of classes :class:`~torchgeo_sits.tasks.SITSSupervised` is the base to derive from, of measured
    values :class:`~torchgeo_sits.tasks.SITSRegression`.

    Examples:
        >>> from torchgeo_sits.tasks import SITSLabelled, SITSRegression, SITSSegmentation
        >>> issubclass(SITSSegmentation, SITSLabelled), issubclass(SITSRegression, SITSLabelled)
        (True, True)
    """

    encoder_name = 'encoder'
    encoder: SITSEncoder
    head: nn.Module
    criterion: nn.Module
    #: Number of labels that each stage has counted.
    label_counts: nn.ModuleDict
    #: Losses of the labels of a whole epoch of validation or test.
    epoch_losses: nn.ModuleDict
    #: Names of the scores that are shown when all is over, of many that are logged.
    main_scores: tuple[str, ...] = ()

    def __init__(
        self,
        model: str | None = None,
        weights: str | None = None,
        in_channels: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        depth: Depth = 'joined',
        hidden_dim: int = 0,
        freeze_backbone: bool = False,
        layer_decay: float = 1.0,
        lora_rank: int = 0,
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
            weights: Checkpoint of a task of this project whose encoder to start from, or
                ``hf://ORG/REPO`` of the Hub, or published weights: ``NAME``, or ``NAME:FILE`` for
                a file of them, see :data:`torchgeo_sits.models.PUBLISHED`. Their normalisation
                replaces that of the data module.
            in_channels: Number of bands. None takes it from the checkpoint or the data.
            model_kwargs: Further arguments of the encoder, if there is no checkpoint.
            depth: Features that the head sees: those before spatial context (early), after
                it (late), or both (joined).
            hidden_dim: Width of a hidden layer of the head, 0 for a linear one.
            freeze_backbone: Train the head alone: with ``hidden_dim=0`` a linear probe.
            layer_decay: Factor on the learning rate from each layer of the encoder to the one
                before (BEiT, https://arxiv.org/abs/2106.08254, appendix).
            lora_rank: Rank of adapters on attention and MLP of the encoder (LoRA), the rest of
                which is not trained then; 0 for none. Needs the extra ``lora``.
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
        if lora_rank < 0 or (lora_rank and freeze_backbone):
            raise SITSError(
                f'lora_rank must be 0 for no adapters, or above without freeze_backbone, got '
                f'{lora_rank} with freeze_backbone={freeze_backbone}'
            )
        super().__init__()

    # -- what a task says ------------------------------------------------------------------

    @property
    @abstractmethod
    def num_outputs(self) -> int | None:
        """Number of scores K of a place, or None while it is unknown."""

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

    @abstractmethod
    def select(self, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Select the labelled places of a batch.

        Args:
            scores: ``(B, K, ...)``.
            target: As :meth:`target` gives it.

        Returns:
            ``(P, K)`` and ``(P,)`` of the P labelled places.
        """

    @abstractmethod
    def is_labelled(self, target: Tensor) -> Tensor:
        """Tell which places of :meth:`target` ``(B, ...)`` have a label, bool of its shape."""

    @abstractmethod
    def loss_of(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of ``(P, K)`` scores and ``(P,)`` labels; 0 where P is."""

    def auxiliary_loss(self, batch: dict[str, Any], scores: Tensor) -> Tensor | None:
        """Compute what training minimises beside :meth:`loss_of`; None where that is all.

        Args:
            batch: The batch.
            scores: All its scores ``(B, K, ...)``.
        """
        return None

    def epoch_loss(self) -> Metric:
        """Make the metric of the loss of an epoch, whose value batches must not change."""
        return MeanMetric()

    def update_epoch_loss(
        self, metric: Metric, loss: Tensor, scores: Tensor, labels: Tensor
    ) -> None:
        """Count a batch in the loss of an epoch.

        Args:
            metric: What :meth:`epoch_loss` made.
            loss: What :meth:`loss_of` gave for the batch.
            scores: ``(P, K)``, P above 0.
            labels: ``(P,)``.
        """
        metric.update(loss, len(labels))

    @abstractmethod
    def update_scores(self, stage: str, scores: Tensor, labels: Tensor) -> None:
        """Count ``(P, K)`` scores and ``(P,)`` labels in the metrics of a stage."""

    def learn_of_data(self, datamodule: Any) -> None:
        """Take from the data what is known of its labels, and was not given.

        Args:
            datamodule: The data module, or None where nothing is known of the data.

        Raises:
            SITSError: If something is unknown that the head needs.
        """

    # -- models ----------------------------------------------------------------------------

    def configure_models(self) -> None:
        """Build encoder and head, if bands and outputs are known already.

        Raises:
            SITSError: If *weights* are those of another model.
        """
        encoder = self.make_encoder()
        if encoder is not None:
            self.encoder = encoder
        if hasattr(self, 'encoder') and self.num_outputs is not None:
            self.complete_model()

    def complete_model(self) -> None:
        """Build the head, once the number of its outputs is known."""
        assert self.num_outputs is not None
        self.head = self.build_head(self.encoder, self.num_outputs)
        if self.hparams['freeze_backbone']:
            self.encoder.requires_grad_(False).eval()
        elif self.hparams['lora_rank']:
            add_adapters(self.encoder, self.hparams['lora_rank'])
        elif hasattr(self.encoder, 'mask_token'):
            # Nothing is masked: DDP stops at parameters that never get a gradient.
            self.encoder.mask_token.requires_grad_(False)

    def configure_model(self) -> None:
        """Build the models for bands and labels of the data, and normalise as *weights* do.

        Raises:
            SITSError: If bands or labels are unknown, or not those of the data.
        """
        # No trainer where a checkpoint is loaded by hand.
        datamodule: Any = getattr(self._trainer, 'datamodule', None)
        self.meet_data(datamodule)
        self.learn_of_data(datamodule)
        if not hasattr(self, 'encoder'):
            self.configure_models()
            # Its card was not known when the data was met.
            self.meet_data(datamodule)
        elif not hasattr(self, 'head'):
            self.complete_model()
        meet_s1(self.encoder, datamodule)
        if not hasattr(self, 'criterion'):
            self.configure_losses()
            self.configure_metrics()

    def configure_metrics(self) -> None:
        """Count the labels of each stage, and the loss of those that are scored."""
        stages = ('train_', 'val_', 'test_')
        self.label_counts = nn.ModuleDict({stage: SumMetric() for stage in stages})
        self.epoch_losses = nn.ModuleDict({stage: self.epoch_loss() for stage in stages[1:]})

    # -- a step ----------------------------------------------------------------------------

    def train(self, mode: bool = True) -> 'SITSLabelled':
        """Set the mode of all but a frozen encoder, which stays in evaluation."""
        super().train(mode)
        if self.hparams['freeze_backbone'] and hasattr(self, 'encoder'):
            self.encoder.eval()
        return self

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Compute the scores ``(B, K, ...)`` of a normalised batch, see :meth:`scores`."""
        return self.scores(batch)

    def compare(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Score a batch, and select its labelled places.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            All scores ``(B, K, ...)``; scores ``(P, K)`` and labels ``(P,)`` of the labelled
            places.
        """
        target = self.target(batch)
        if self.training and self.encoder.independent_pixels:
            batch = self._labelled_pixels(batch, target)
        scores = self(batch)
        return scores, *self.select(scores, target)

    def _labelled_pixels(self, batch: dict[str, Any], target: Tensor) -> dict[str, Any]:
        """Hide the pixels without a label, which cost as much as the others, and train nothing."""
        image = batch[IMAGE]
        if target.shape != (len(image), *image.shape[-2:]):  # of series, or of frames
            return batch
        known = self.is_labelled(target)[:, None]
        hidden = {}
        for keys in ((MASK_CLEAR, VALID), (MASK_CLEAR_S1, VALID_S1)):
            clear = batch.get(keys[0])
            if clear is None and keys[1] in batch:
                clear = batch[keys[1]][:, :, None, None]
            if clear is not None:
                hidden[keys[0]] = clear & known
        return batch | hidden

    def _shared_step(self, batch: dict[str, Any], stage: str) -> dict[str, Tensor]:
        """Compute the loss of a batch, and count it in the metrics."""
        all_scores, scores, labels = self.compare(batch)
        loss = self.loss_of(scores, labels)
        if stage == 'train' and (further := self.auxiliary_loss(batch, all_scores)) is not None:
            loss = loss + further
        self._count(stage, batch, all_scores, scores, labels)
        if stage == 'train':
            self.log('train_loss', loss, batch_size=len(batch[IMAGE]), prog_bar=True)
        elif len(labels):
            metric: Any = self.epoch_losses[f'{stage}_']
            self.update_epoch_loss(metric, loss.detach(), scores.detach(), labels)
        return {'loss': loss, 'scores': all_scores.detach()}

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

    def _count(
        self, stage: str, batch: dict[str, Any], all_scores: Tensor, scores: Tensor, labels: Tensor
    ) -> None:
        """Count a batch in the metrics of a stage; arguments are those of :meth:`compare`."""
        number: Any = self.label_counts[f'{stage}_']
        number.update(len(labels))
        if len(labels):
            self.update_scores(stage, scores.detach(), labels)

    # -- scores of an epoch ----------------------------------------------------------------

    def compute_scores(self, stage: str) -> dict[str, Tensor]:
        """Compute the metrics of a stage by name, NaN for what cannot be said."""
        values: dict[str, Tensor] = getattr(self, f'{stage}_metrics').compute()
        return {f'{stage}_{name}': value for name, value in values.items()}

    def reset_scores(self, stage: str) -> None:
        """Begin the metrics of a stage anew."""
        getattr(self, f'{stage}_metrics').reset()

    def confusion(self, stage: str) -> Confusion | None:
        """Give the confusion matrix of the last epoch of a stage, where there are classes.

        Args:
            stage: Either 'val' or 'test'.

        Returns:
            The matrix, or None where there is none.
        """
        return None

    def warn_of_scores(self, stage: str) -> None:
        """Say where the scores of a stage need a caveat."""

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
        """Log the metrics of a stage, where it had labels."""
        count: Any = self.label_counts[f'{stage}_']
        with warnings.catch_warnings():
            # Every process has to take part, also one that saw no label.
            warnings.filterwarnings('ignore', 'The ``compute`` method of metric')
            labelled, values = int(count.compute()), self.compute_scores(stage)
            loss: Any = None if stage == 'train' else self.epoch_losses[f'{stage}_']
            values_of_loss = {} if loss is None else {f'{stage}_loss': loss.compute()}
        if labelled:
            self.log_dict(values_of_loss, prog_bar=True)
            # NaN is a score of something that did not occur.
            self.log_dict({name: v for name, v in values.items() if not v.isnan()})
            if stage != 'train' and not self.trainer.sanity_checking:
                self.warn_of_scores(stage)
        else:
            rank_zero_warn(
                f'no label among the data of stage {stage!r}: no metric is logged. Look at the '
                'labels and at how they are split',
                category=UserWarning,
            )
        count.reset()
        if loss is not None:
            loss.reset()
        self.reset_scores(stage)

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
        """The best scores and the report at the end."""
        return [ScoreTable(), CheckpointReport()]

    def table_outputs(self) -> list[MapOutput]:
        """List the columns of a table of predictions, as the maps that they would be."""
        return self.map_outputs()

    def map_outputs(self) -> list[MapOutput]:
        """List the maps of the predictions.

        Raises:
            SITSError: If the task has none.
        """
        raise SITSError(f'{type(self).__name__} says no maps of its predictions: write map_outputs')

    def own_checkpoint(self) -> ModelCheckpoint:
        """Keep the epoch that is best by :attr:`monitor`."""
        return BestCheckpoint(
            filename=f'{self.method}-{{epoch:02d}}', monitor=self.monitor, mode=self.mode
        )

    def next_steps(self, path: str) -> str:
        """Say what a checkpoint of this task is good for, at the end of a run."""
        line = self.command_line
        score = shlex.join(['--ckpt_path', path])
        # No trainer where the task is asked by hand.
        trainer: Any = self._trainer
        if getattr(getattr(trainer, 'datamodule', None), 'task_config', None) is not None:
            return f'Score it on the test:\n  torchgeo-sits test {score}'
        shown = {
            name: value
            for name, value in line.data.items()
            if name.split('.')[1:2] not in (['labels'], ['split'], ['patches'], ['batch_size'])
        }
        if not (line.data or line.configs):
            shown = {'data.paths': 'DIR'}  # nothing is known of it from Python
        return (
            'Map the data, or that in another folder:\n'
            f'  {line.follow("predict", "--ckpt_path", path, data=shown)}\n'
            'Score it again:\n'
            f'  torchgeo-sits validate {score}'
        )

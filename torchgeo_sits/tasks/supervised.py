"""Base of the tasks with classes as labels, and their losses and metrics."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_warn
from segmentation_models_pytorch.losses import FocalLoss
from torch import Tensor, nn
from torchgeo.tasks.mixins import ClassificationMixin
from torchmetrics import ConfusionMatrix, Metric

from ..callbacks import PredictionPicture
from ..errors import SITSError
from ..keys import LABEL, MASK
from ..mapping import ClassMap, Probabilities
from ..metrics import Confusion, RegionLoss, binary_scores, multiclass_scores
from .base import class_names
from .class_order import ClassOrder
from .labelled import SITSLabelled

__all__ = ['Loss', 'SITSSupervised']

Loss = Literal['ce', 'bce', 'jaccard', 'focal', 'dice']


class SITSSupervised(SITSLabelled, ClassificationMixin):
    """Base of the tasks with classes as labels: an encoder, pretrained or not, and a head.

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
    main_scores: tuple[str, ...] = (
        'AverageF1Score',
        'OverallAccuracy',
        'AverageAccuracy',
        'AverageJaccardIndex',
    )
    #: What labels are of.
    label_unit = 'pixels'
    #: What 0 and 1 are to a binary task.
    binary_names = ('class 0', 'class 1')

    #: What the classes of the data are to the task; None where they have the same numbers.
    class_order: ClassOrder | None = None
    #: Confusion matrix ``(K, K)`` int64 of the last epoch of each stage but training.
    _confusion: dict[str, Tensor] = {}
    #: The metrics of :meth:`map_metrics`, by stage.
    map_scores: nn.ModuleDict
    #: Classes that training has shown, so that scores can say which it never did.
    classes_seen: Tensor

    def __init__(
        self,
        task: Literal['binary', 'multiclass'] = 'multiclass',
        num_classes: int | None = None,
        labels: list[str] | None = None,
        codes: list[int | None] | None = None,
        colors: list[str | None] | None = None,
        ignore_index: int | None = None,
        loss: Loss = 'ce',
        class_weights: Sequence[float] | None = None,
        pos_weight: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Initialize a new task.

        Args:
            task: 'binary' tells 0 from all other classes by one score.
            num_classes: Number of classes, counting 0. None takes it from the data.
            labels: Names of the classes. None takes them from the data.
            codes: Numbers that the classes have for the user, such as 1200 for maize, which maps
                hold. None takes them from the data.
            colors: Colours of the classes in maps, as matplotlib reads them. None takes them from
                the data.
            ignore_index: Label of what is not labelled. None takes it from the data. If it is
                a class, that class is never predicted.
            loss: Loss function; 'bce' is that of binary tasks, 'ce' of others.
            class_weights: Weight of each class in the loss 'ce'.
            pos_weight: Weight of the positive class in the loss 'bce'.
            **kwargs: Arguments of the base class, :class:`~.labelled.SITSLabelled`.

        Raises:
            SITSError: If an argument is out of its range or does not go with another.
        """
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
        super().__init__(**kwargs)

    # -- models ----------------------------------------------------------------------------

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None while it is unknown."""
        return 2 if self.hparams['task'] == 'binary' else self.hparams['num_classes']

    @property
    def num_outputs(self) -> int | None:
        """Number of scores: one for each class, or one in all where there are two."""
        return 1 if self.hparams['task'] == 'binary' else self.num_classes

    def complete_model(self) -> None:
        """Build the head, and state that depends on the number of classes."""
        super().complete_model()
        assert self.num_classes is not None
        self.register_buffer('classes_seen', torch.zeros(self.num_classes, dtype=torch.bool))

    def learn_of_data(self, datamodule: Any) -> None:
        """Take from the data the classes, all that is known of them, and what is not labelled.

        Args:
            datamodule: The data module, or None where nothing is known of the data.

        Raises:
            SITSError: If the classes are unknown, or not those that were given.
        """
        names = getattr(datamodule, 'class_names', None)
        # What is to be predicted may have labels of other classes.
        same = self.hparams['labels'] in (None, names)
        for name, other in (
            ('num_classes', 'num_classes'),
            ('labels', 'class_names'),
            ('ignore_index', 'unlabelled'),
            *([('codes', 'class_codes'), ('colors', 'class_colors')] if same else []),
        ):
            if self.hparams[name] is None:
                self.hparams[name] = getattr(datamodule, other, None)
        self._check_classes()
        found, own = getattr(datamodule, 'class_names', None), self.hparams['labels']
        trainer: Any = self._trainer
        fresh = getattr(trainer, 'training', False) and trainer.ckpt_path is None
        # Names that are given for a new training may be others than those of the data, and what
        # the classes of change are does not matter where any change is one.
        free = fresh or self.hparams['task'] == 'binary'
        if found is None or own is None or (free and set(found) != set(own)):
            self.class_order = None
            return
        self.class_order = ClassOrder.of(
            own,
            found,
            unlabelled=getattr(datamodule, 'unlabelled', None),
            ignored=self.hparams['ignore_index'],
        )

    def _check_classes(self) -> None:
        """Raise SITSError where the classes are unknown, or not those that were given."""
        if self.num_classes is None:
            raise SITSError(
                'the number of classes is unknown: give num_classes, or a data module with '
                'labels that has it (labels.paths of SITSDataModule)'
            )
        labels, weights = self.hparams['labels'], self.hparams['class_weights']
        if self.hparams['task'] == 'multiclass':
            for name, value in (
                ('labels', labels),
                ('codes', self.hparams['codes']),
                ('colors', self.hparams['colors']),
                ('class_weights', weights),
            ):
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
        ClassificationMixin.configure_losses(self)
        self.hparams.update(kept)
        if self.hparams['loss'] == 'focal':
            # The mean over what is labelled: TorchGeo's is divided twice, and shrinks with the
            # number of labels.
            self.criterion = FocalLoss(mode=self.hparams['task'])

    def configure_metrics(self) -> None:
        """Initialize the counts of TorchGeo's metrics, once the number of classes is known."""
        if self.num_classes is None:
            return
        # Named: the mix-in of TorchGeo has metrics of 32 bits.
        SITSLabelled.configure_metrics(self)
        for stage in self.label_counts:
            # Labels were looked at in `select`: once more, a GPU would be waited for.
            counts = ConfusionMatrix(
                task=self.hparams['task'], num_classes=self.num_classes, validate_args=False
            )
            setattr(self, f'{stage}metrics', counts)
        self._confusion = {}
        # Patches of training differ each time: their maps are not worth the time.
        self.map_scores = nn.ModuleDict(
            {
                stage: nn.ModuleList(self.map_metrics() if stage != 'train_' else [])
                for stage in self.label_counts
            }
        )

    # -- a step ----------------------------------------------------------------------------

    def _shared_step(self, batch: dict[str, Any], stage: str) -> dict[str, Tensor]:
        """Compute the loss of a batch whose classes have the numbers of the task."""
        if self.class_order is not None:
            there: list[str] = [key for key in (MASK, LABEL) if key in batch]
            batch = {**batch, **{key: self.class_order.to_task(batch[key]) for key in there}}
        return super()._shared_step(batch, stage)

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

    def is_labelled(self, target: Tensor) -> Tensor:
        """Tell which places have a class: all but those of ``ignore_index``."""
        ignored = self.hparams['ignore_index']
        return torch.ones_like(target, dtype=torch.bool) if ignored is None else target != ignored

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
        chosen = self.is_labelled(target)
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

    def class_map(self, name: str) -> ClassMap:
        """Map of the classes, without the one that is never predicted.

        Args:
            name: Name of the map.
        """
        names = class_names(self)
        codes, colours = (
            value if value is not None and len(value) == len(names) else None
            for value in (self.hparams['codes'], self.hparams['colors'])
        )
        return ClassMap(
            name,
            'probabilities',
            names,
            codes=codes,
            colours=colours,
            unlabelled=self._never_predicted,
        )

    def probability_map(self, name: str) -> Probabilities:
        """Map of the probabilities of the classes that may be predicted; of class 1 of two.

        Args:
            name: Name of the map.
        """
        names = class_names(self)
        if self.hparams['task'] == 'binary':
            return Probabilities(name, 'probabilities', names[1:])
        return Probabilities(name, 'probabilities', names, unlabelled=self._never_predicted)

    @property
    def _never_predicted(self) -> int | None:
        """Class that :meth:`forward` lets never win."""
        ignored = self.hparams['ignore_index']
        if self.hparams['task'] == 'binary' or ignored is None:
            return None
        return int(ignored) if 0 <= ignored < (self.num_classes or 0) else None

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

    def epoch_loss(self) -> Metric:
        """Make the metric of the loss of an epoch: a mean, or of regions a ratio of sums."""
        kind = self.hparams['loss']
        if kind not in ('dice', 'jaccard'):
            return super().epoch_loss()
        assert self.num_outputs is not None  # the head is there
        return RegionLoss(kind, self.num_outputs)

    def update_epoch_loss(
        self, metric: Metric, loss: Tensor, scores: Tensor, labels: Tensor
    ) -> None:
        """Count a batch in the loss of an epoch, by the weights of its labels."""
        if isinstance(metric, RegionLoss):
            metric.update(scores, labels)
            return
        weights = getattr(self.criterion, 'weight', None)
        share = len(labels) if weights is None else weights[labels].sum()
        metric.update(loss, share)

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

    def update_scores(self, stage: str, scores: Tensor, labels: Tensor) -> None:
        """Count ``(P, K)`` scores and ``(P,)`` labels in the metrics of a stage."""
        found, truth = self.outcome(scores, labels)
        getattr(self, f'{stage}_metrics').update(found, truth)
        if stage == 'train':
            self.classes_seen[truth] = True

    def _count(
        self, stage: str, batch: dict[str, Any], all_scores: Tensor, scores: Tensor, labels: Tensor
    ) -> None:
        """Count a batch in the metrics of a stage, those of whole maps too."""
        super()._count(stage, batch, all_scores, scores, labels)
        metrics: Any = self.map_scores[f'{stage}_']
        if len(metrics):
            self.update_map_metrics(metrics, batch, all_scores.detach())

    def compute_scores(self, stage: str) -> dict[str, Tensor]:
        """Compute the metrics of a stage by name, those of whole maps too."""
        matrix = getattr(self, f'{stage}_metrics').compute().cpu()
        self._confusion[stage] = matrix
        if self.hparams['task'] == 'binary':
            values = binary_scores(matrix)
        else:
            values = multiclass_scores(matrix, self.hparams['labels'])
        metrics: Any = self.map_scores[f'{stage}_']
        for metric in metrics:
            values |= metric.compute()
        return {f'{stage}_{name}': value for name, value in values.items()}

    def confusion(self, stage: str) -> Confusion | None:
        """Give the confusion matrix of the last epoch of a stage, but for what is not labelled."""
        if stage not in self._confusion:
            return None
        matrix, binary = self._confusion[stage].tolist(), self.hparams['task'] == 'binary'
        names = list(self.binary_names) if binary else class_names(self)
        kept = [i for i in range(len(matrix)) if i != self.hparams['ignore_index']]
        datamodule: Any = getattr(self._trainer, 'datamodule', None)
        fields = None
        if hasattr(datamodule, 'count_fields') and datamodule.target == 'pixel' and not binary:
            fields = datamodule.count_fields(stage)
        return Confusion(
            [names[i] for i in kept],
            [[matrix[i][j] for j in kept] for i in kept],
            self.label_unit,
            fields and [fields.get(i, 0) for i in kept],
        )

    def reset_scores(self, stage: str) -> None:
        """Begin the metrics of a stage anew."""
        super().reset_scores(stage)
        metrics: Any = self.map_scores[f'{stage}_']
        for metric in metrics:
            metric.reset()

    def warn_of_scores(self, stage: str) -> None:
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
        return bool(self._confusion[stage][label].any())

    def own_callbacks(self) -> list[Callback]:
        """Pictures of predictions, and the report at the end."""
        return [PredictionPicture(), *super().own_callbacks()]

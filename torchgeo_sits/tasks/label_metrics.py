"""Losses and metrics of what is labelled."""

import warnings
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torchgeo.tasks.mixins import ClassificationMixin
from torchmetrics import Metric, SumMetric

from ..errors import SITSError

__all__ = ['LabelledMixin', 'labelled_scores']


def labelled_scores(
    scores: Tensor, target: Tensor, *, ignore_index: int | None, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Select what is labelled: losses and metrics then have nothing to ignore.

    Losses of libraries differ in what they do with labels to be ignored: a mean over nothing
    is NaN, and the Jaccard loss counts what is predicted there as wrong.

    Args:
        scores: ``(B, K, ...)``.
        target: ``(B, ...)`` or ``(B, 1, ...)`` int64.
        ignore_index: Label of what is not labelled; None if all is.
        num_classes: Labels lie in [0, num_classes).

    Returns:
        ``(P, K)`` and ``(P,)`` of the P labelled places.

    Raises:
        SITSError: If shapes do not fit, or a label is no class.
    """
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
            'labels (`classes` of SITSDataModule)'
        )
    return scores.movedim(1, -1)[chosen], labels


class LabelledMixin(ClassificationMixin):
    """TorchGeo's losses and metrics, of the labelled places of a batch only.

    They are given ``(P, K)`` scores and ``(P,)`` labels of P places, so nothing has to be
    ignored; where P is 0 there is no loss, and nothing is counted.
    """

    criterion: nn.Module
    #: Number of labels that each stage has seen.
    labelled: nn.ModuleDict
    #: Further metrics of each stage.
    further: nn.ModuleDict
    #: Classes that training has shown, so that scores can say which it never did.
    classes_seen: Tensor

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None while it is unknown."""
        return 2 if self.hparams['task'] == 'binary' else self.hparams['num_classes']

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
        self.labelled = nn.ModuleDict({stage: SumMetric() for stage in stages})
        # Patches of training differ each time: their maps are not worth the time.
        further = {stage: self.map_metrics() if stage != 'train_' else [] for stage in stages}
        self.further = nn.ModuleDict({k: nn.ModuleList(v) for k, v in further.items()})

    def loss_of(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Loss of ``(P, K)`` scores and ``(P,)`` labels; 0 where P is."""
        if not len(labels):
            return scores.sum() * 0.0
        # The axes that losses for images expect.
        scores, labels = scores.float().T[None], labels[None]
        if self.hparams['task'] == 'binary':
            scores, labels = scores[:, 0], labels.float()
        loss: Tensor = self.criterion(scores, labels)
        return loss

    def outcome(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What metrics compare.

        Args:
            scores: ``(P, K)``.
            labels: ``(P,)``.

        Returns:
            Predicted classes ``(P,)``, for binary tasks probabilities, and true classes.
        """
        binary = self.hparams['task'] == 'binary'
        return scores[:, 0].sigmoid() if binary else scores.argmax(-1), labels

    def map_metrics(self) -> list[Metric]:
        """Further metrics of validation and test, see :meth:`update_map_metrics`; none here."""
        return []

    def update_map_metrics(
        self, metrics: nn.ModuleList, batch: dict[str, Any], scores: Tensor
    ) -> None:
        """Count a batch in the further metrics.

        Args:
            metrics: Those of the stage.
            batch: The batch.
            scores: Its scores ``(B, K, ...)``.
        """

    def count(
        self, stage: str, batch: dict[str, Any], everything: Tensor, scores: Tensor, labels: Tensor
    ) -> None:
        """Count a batch in the metrics of a stage.

        Args:
            stage: 'train', 'val' or 'test'.
            batch: The batch.
            everything: Its scores ``(B, K, ...)``.
            scores: Scores ``(P, K)`` of what is labelled of it.
            labels: Labels ``(P,)``.
        """
        number: Any = self.labelled[f'{stage}_']
        number.update(len(labels))
        if len(labels):
            found, truth = self.outcome(scores.detach(), labels)
            getattr(self, f'{stage}_metrics').update(found, truth)
            if stage == 'train':
                self.classes_seen[truth.unique()] = True
        further: Any = self.further[f'{stage}_']
        if len(further):
            self.update_map_metrics(further, batch, everything.detach())

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
        count: Any = self.labelled[f'{stage}_']
        metrics = getattr(self, f'{stage}_metrics')
        further: Any = self.further[f'{stage}_']
        with warnings.catch_warnings():
            # Every process has to take part, also one that saw no label.
            warnings.filterwarnings('ignore', 'The ``compute`` method of metric')
            labelled, values = int(count.compute()), metrics.compute()
            for metric in further:
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
        for metric in (count, metrics, *further):
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
        """Whether a class occurs among the labels of a stage."""
        metric = getattr(self, f'{stage}_metrics')['AverageRecall']
        found, missed = torch.atleast_1d(metric.tp), torch.atleast_1d(metric.fn)
        return len(found) > label and bool(found[label] + missed[label] > 0)

"""Multi-label classification: any number of classes for a whole series."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import LABEL
from ..mapping import MapOutput, Probabilities
from ..metrics import MultilabelScores
from ..models import SITSEncoder
from .labelled import SITSLabelled
from .pooling import series_features, series_head

__all__ = ['SITSMultilabel']


class SITSMultilabel(SITSLabelled):
    """Multi-label classification of a whole series, such as the tree genera of a patch.

    Each class is there or not, by a score of its own. Labels are ``(B, K)``, 1 for a class that
    is there, 0 for one that is not; a row of NaN is not labelled.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSMultilabel
        >>> task = SITSMultilabel(model='tempcnn', in_channels=3, labels=['oak', 'pine', 'fir'])
        >>> series = {
        ...     'image': torch.rand(2, 5, 3, 8, 8),
        ...     'acquisition_times': 86_400 * torch.arange(5).expand(2, 5),
        ...     'valid': torch.ones(2, 5, dtype=torch.bool),
        ... }
        >>> task.predict_step(series, 0).shape
        torch.Size([2, 3])
    """

    monitor = 'val_WeightedF1Score'
    mode = 'max'
    main_scores = ('WeightedF1Score', 'AverageF1Score', 'OverallF1Score', 'AveragePrecision')

    def __init__(
        self,
        labels: list[str] | None = None,
        pos_weight: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SITSMultilabel instance.

        Args:
            labels: Names of the classes. None takes them from the data.
            pos_weight: Weight of a class that is there, against one that is not, for each class.
            **kwargs: Arguments of the base class, :class:`~.labelled.SITSLabelled`.

        Raises:
            SITSError: If an argument is out of its range or does not go with another.
        """
        if pos_weight is not None and labels is not None and len(pos_weight) != len(labels):
            raise SITSError(
                f'expected one of pos_weight for each of {len(labels)} classes, got '
                f'{len(pos_weight)}'
            )
        super().__init__(**kwargs)

    @property
    def num_outputs(self) -> int | None:
        """Number of scores: one for each class."""
        return self.num_classes

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None while they are unknown."""
        labels = self.hparams['labels']
        return None if labels is None else len(labels)

    def learn_of_data(self, datamodule: Any) -> None:
        """Take from the data the names of the classes.

        Args:
            datamodule: The data module, or None where nothing is known of the data.

        Raises:
            SITSError: If the classes are unknown, or the data has others, or in another order.
        """
        names = getattr(datamodule, 'class_names', None)
        own = self.hparams['labels']
        if own is None:
            self.hparams['labels'] = own = names
        if own is None:
            raise SITSError(
                'the classes are unknown: give labels, or a data module that names them'
            )
        if names is not None and list(names) != list(own):
            raise SITSError(
                f'the task is of the classes {own}, the data of {names}: give data of the same, '
                'in the same order'
            )

    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on embeddings."""
        depth, hidden = self.hparams['depth'], self.hparams['hidden_dim']
        return series_head(encoder, num_outputs, depth=depth, hidden=hidden)

    def configure_losses(self) -> None:
        """Initialize the binary cross-entropy of each class, once they are known."""
        if self.num_outputs is None:
            return
        weight = self.hparams['pos_weight']
        self.criterion = nn.BCEWithLogitsLoss(
            pos_weight=None if weight is None else torch.tensor(list(weight), dtype=torch.float32)
        )

    def configure_metrics(self) -> None:
        """Initialize F1 by averages and classes, precision, recall, and average precision."""
        if self.num_outputs is None:  # until the data is met
            return
        super().configure_metrics()
        for stage in self.label_counts:
            setattr(self, f'{stage}metrics', MultilabelScores(self.hparams['labels']))

    # -- a step ----------------------------------------------------------------------------

    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Raw scores ``(B, K)`` of the series.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.
        """
        series = self.encoder.series_of(batch)
        return self.head(series_features(self.encoder, series, self.hparams['depth']))

    def target(self, batch: dict[str, Any]) -> Tensor:
        """Labels ``(B, K)`` of the series.

        Raises:
            SITSError: If the batch has none, or one class for each series.
        """
        label = batch.get(LABEL)
        if label is None or label.ndim != 2:
            found = 'none' if label is None else f'labels {tuple(label.shape)}'
            raise SITSError(
                f'expected labels (B, K) of 0 and 1 in {LABEL!r}, got {found}: for one class for '
                'each series use SITSClassification'
            )
        return label

    def is_labelled(self, target: Tensor) -> Tensor:
        """Tell which series are labelled: those without NaN."""
        return target.isfinite().all(dim=1)

    def select(self, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Select the labelled series of a batch.

        Args:
            scores: ``(B, K)``.
            target: ``(B, K)``.

        Returns:
            ``(P, K)`` and ``(P, K)`` of the P labelled series.

        Raises:
            SITSError: If shapes do not fit.
        """
        if target.shape != scores.shape:
            raise SITSError(
                f'expected labels {tuple(scores.shape)} for {self.num_outputs} classes, got '
                f'{tuple(target.shape)}'
            )
        known = self.is_labelled(target)
        return scores[known], target[known]

    def loss_of(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of ``(P, K)`` scores and labels; 0 where P is."""
        if not len(labels):
            return scores.sum() * 0.0
        loss: Tensor = self.criterion(scores.float(), labels.float())
        return loss

    def update_scores(self, stage: str, scores: Tensor, labels: Tensor) -> None:
        """Count ``(P, K)`` scores and labels in the metrics of a stage."""
        getattr(self, f'{stage}_metrics').update(scores.float().sigmoid(), labels.long())

    # -- predictions -----------------------------------------------------------------------

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> Tensor:
        """Probabilities ``(B, K)`` of the classes.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.
        """
        return self(batch).sigmoid()

    def table_outputs(self) -> list[MapOutput]:
        """List the columns of a table of predictions: probabilities of the classes."""
        return [Probabilities('probabilities', 'probabilities', self.hparams['labels'])]

    def map_outputs(self) -> list[MapOutput]:
        """Refuse maps: this is a list of classes for a series.

        Raises:
            SITSError: In any case.
        """
        raise SITSError(
            'SITSMultilabel gives classes for a whole series, not for each pixel, so there is no '
            'map of it: use SITSSegmentation, whose encoder may start from the same weights'
        )

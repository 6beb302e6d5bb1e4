"""Regression: a measured value for each pixel, or for a whole series."""

import math
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import Metric

from ..errors import SITSError
from ..keys import IMAGE, LABEL, MASK
from ..mapping import MapOutput, ValueMap
from ..metrics import RegressionScores, conformal_half_width
from ..models import DenseHead, SITSEncoder
from .labelled import SITSLabelled
from .pooling import series_features, series_head

__all__ = ['SITSRegression']


class SITSRegression(SITSLabelled):
    """Regression of a measured value: biomass, moisture, yield, a date.

    Labels are a ``mask`` ``(H, W)`` of the pixels, or one ``label`` of a series, float32, NaN
    where nothing was measured. They are standardised by mean and deviation of those of training,
    which a checkpoint keeps: predictions and scores are in the unit of the labels, the loss is
    in standard deviations.

    Predictions have an interval, by split conformal prediction (Lei et al. 2018,
    https://arxiv.org/abs/1604.04173): as wide for all as the errors of validation say
    (:func:`~torchgeo_sits.metrics.conformal_half_width`). Each series counts once, of the pixels of
    a patch one that is drawn, for pixels side by side err alike. A value lies in its interval
    with a probability of *coverage* over places that are like those of validation. A test
    measures it: ``test_coverage``, and ``test_interval_width`` in the unit of the labels. The
    epoch that is kept is chosen by the same validation, which makes intervals a little too narrow.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSRegression
        >>> task = SITSRegression(
        ...     model='tempcnn', in_channels=3, target='field', mean=100.0, std=30.0
        ... )
        >>> series = {
        ...     'image': torch.rand(2, 5, 3, 1, 1),
        ...     'acquisition_times': 86_400 * torch.arange(5).expand(2, 5),
        ...     'valid': torch.ones(2, 5, dtype=torch.bool),
        ... }
        >>> task.predict_step(series, 0)['value'].shape
        torch.Size([2])
    """

    monitor = 'val_RMSE'
    mode = 'min'
    main_scores = ('RMSE', 'MAE', 'R2', 'coverage', 'interval_width')

    #: Mean and standard deviation of the labels of training, in their unit; NaN before.
    target_mean: Tensor
    target_std: Tensor
    #: How far the interval reaches on either side, in the unit of the labels; NaN where unknown.
    half_width: Tensor
    #: Absolute errors of the places of validation.
    errors: '_Errors'
    #: Share of the labels of the test that lie in their intervals.
    covered: '_Covered'

    _LOSSES: ClassVar[dict[str, type[nn.Module]]] = {
        'mse': nn.MSELoss,
        'mae': nn.L1Loss,
        'huber': nn.HuberLoss,
        'smooth_l1': nn.SmoothL1Loss,
    }

    def __init__(
        self,
        target: Literal['pixel', 'field'] | None = None,
        loss: Literal['mse', 'mae', 'huber', 'smooth_l1'] = 'huber',
        delta: float = 1.0,
        mean: float | None = None,
        std: float | None = None,
        unit: str | None = None,
        coverage: float | None = 0.9,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SITSRegression instance.

        Args:
            target: A value for each pixel, or one for a whole series: of a field, a patch or a
                point. None takes it from the data.
            loss: Loss function, of labels in standard deviations.
            delta: Error from which on 'huber' and 'smooth_l1' (the same, divided by it) are
                linear, in standard deviations.
            mean: Mean to standardise the labels by. None takes that of training.
            std: Standard deviation to standardise the labels by.
            unit: Unit of the labels, for the descriptions of maps.
            coverage: Share of the values that intervals are to hold. None predicts none.
            **kwargs: Arguments of the base class, :class:`~.labelled.SITSLabelled`.

        Raises:
            SITSError: If an argument is out of its range or does not go with another.
        """
        if target not in (None, 'pixel', 'field'):
            raise SITSError(f"unknown target {target!r}: expected 'pixel' or 'field'")
        if loss not in self._LOSSES:
            raise SITSError(f'unknown loss {loss!r}: expected one of {tuple(self._LOSSES)}')
        if delta <= 0:
            raise SITSError(f'delta must be above 0, got {delta}')
        if (mean is None) != (std is None):
            raise SITSError(f'give both mean and std of the labels, or neither: {mean} and {std}')
        if std is not None and not std > 0:
            raise SITSError(f'std of the labels must be above 0, got {std}')
        if coverage is not None and not 0 < coverage < 1:
            raise SITSError(f'coverage must be above 0 and below 1, or None, got {coverage}')
        super().__init__(**kwargs)

    @property
    def num_outputs(self) -> int | None:
        """One, once it is known of what."""
        return None if self.hparams['target'] is None else 1

    # -- models ----------------------------------------------------------------------------

    def learn_of_data(self, datamodule: Any) -> None:
        """Take from the data whether pixels or series are labelled.

        Args:
            datamodule: The data module, or None where nothing is known of the data.
        """
        if self.hparams['target'] is None:
            self.hparams['target'] = getattr(datamodule, 'target', 'pixel')

    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on dense features, or on one vector of the series."""
        depth, hidden = self.hparams['depth'], self.hparams['hidden_dim']
        if self.hparams['target'] == 'field':
            return series_head(encoder, num_outputs, depth=depth, hidden=hidden)
        return DenseHead(
            encoder.feature_dim(depth), num_outputs, stride=encoder.stride, hidden_dim=hidden
        )

    def complete_model(self) -> None:
        """Build the head, and the places of what is known of the labels and the errors."""
        super().complete_model()
        for name in ('mean', 'std'):
            given = self.hparams[name]
            value = torch.tensor(float('nan') if given is None else float(given))
            self.register_buffer(f'target_{name}', value)
        self.register_buffer('half_width', torch.tensor(torch.nan))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load checkpoints of before intervals were kept, which have none."""
        weights = checkpoint['state_dict']
        if 'target_std' in weights:
            weights.setdefault('half_width', torch.tensor(torch.nan))
        super().on_load_checkpoint(checkpoint)

    def configure_losses(self) -> None:
        """Initialize the loss."""
        name, delta = self.hparams['loss'], self.hparams['delta']
        options = {'huber': {'delta': delta}, 'smooth_l1': {'beta': delta}}
        self.criterion = self._LOSSES[name](**options.get(name, {}))

    def configure_metrics(self) -> None:
        """Initialize root mean squared and mean absolute error, and the coefficient R2."""
        super().configure_metrics()
        for stage in self.label_counts:
            setattr(self, f'{stage}metrics', RegressionScores())
        self.errors, self.covered = _Errors(), _Covered()

    def on_fit_start(self) -> None:
        """Seed the run, and measure the labels of training unless they are known.

        Raises:
            SITSError: If neither data nor arguments say their mean and deviation.
        """
        super().on_fit_start()
        if not self.target_std.isnan():
            return
        datamodule: Any = getattr(self.trainer, 'datamodule', None)
        if not hasattr(datamodule, 'target_statistics'):
            raise SITSError(
                'the mean and deviation of the labels are unknown: give mean and std of the labels '
                'to SITSRegression, or a data module that has target_statistics'
            )
        mean, std = datamodule.target_statistics
        self.target_mean.fill_(mean)
        self.target_std.fill_(std if std > 0 else 1.0)

    # -- a step ----------------------------------------------------------------------------

    @property
    def joining_layer(self) -> nn.Module | None:
        """Layer that adds up what early and late features of a pixel give."""
        return self.head.first if isinstance(self.head, DenseHead) else None

    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Values in standard deviations from the mean.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            ``(B, 1, H, W)``, or ``(B, 1)`` of whole series.
        """
        series, depth = self.encoder.series_of(batch), self.hparams['depth']
        if self.hparams['target'] == 'field':
            return self.head(series_features(self.encoder, series, depth))
        return self.head(self.encoder.features(series, depth=depth), batch[IMAGE].shape[-2:])

    def target(self, batch: dict[str, Any]) -> Tensor:
        """Measured values ``(B, H, W)``, or ``(B,)`` of whole series.

        Raises:
            SITSError: If the batch has none, or classes.
        """
        key = LABEL if self.hparams['target'] == 'field' else MASK
        if key not in batch:
            raise SITSError(
                f'expected {key!r} in the batch, the measured values, got the keys '
                f"{sorted(batch)}: give labels with labels.kind='value', and target "
                f'{"pixel" if key == LABEL else "field"!r} where they are of the other kind'
            )
        values: Tensor = batch[key]
        if not values.is_floating_point():
            raise SITSError(
                f'the labels are classes ({values.dtype}), expected measured values: set '
                "labels.kind='value', or use SITSClassification or SITSSegmentation"
            )
        return values

    def is_labelled(self, target: Tensor) -> Tensor:
        """Tell which places have a value: all but those that are NaN."""
        return target.isfinite()

    def select(self, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Select the labelled places of a batch.

        Args:
            scores: ``(B, 1, ...)``.
            target: ``(B, ...)`` or ``(B, 1, ...)``, NaN where nothing was measured.

        Returns:
            ``(P, 1)`` and ``(P,)`` of the P labelled places.

        Raises:
            SITSError: If shapes do not fit.
        """
        if target.ndim == scores.ndim and target.shape[1] == 1:
            target = target[:, 0]
        if target.shape != (expected := scores.shape[:1] + scores.shape[2:]):
            raise SITSError(
                f'expected values {tuple(expected)} for the scores {tuple(scores.shape)}, got '
                f'{tuple(target.shape)}: labels need the size of the images'
            )
        known = self.is_labelled(target)
        return scores.movedim(1, -1)[known], target[known]

    def in_unit(self, scores: Tensor) -> Tensor:
        """Values in the unit of the labels, of any shape, from those in standard deviations."""
        return scores.float() * self.target_std + self.target_mean

    def loss_of(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of ``(P, 1)`` scores and ``(P,)`` labels; 0 where P is."""
        if not len(labels):
            return scores.sum() * 0.0
        wanted = (labels.float() - self.target_mean) / self.target_std
        loss: Tensor = self.criterion(scores[:, 0].float(), wanted)
        return loss

    def update_scores(self, stage: str, scores: Tensor, labels: Tensor) -> None:
        """Count ``(P, 1)`` scores and ``(P,)`` labels in the metrics of a stage."""
        metric = getattr(self, f'{stage}_metrics')
        metric.update(self.in_unit(scores[:, 0]), labels.float(), self.target_mean)

    # -- intervals -------------------------------------------------------------------------

    def _count(
        self, stage: str, batch: dict[str, Any], all_scores: Tensor, scores: Tensor, labels: Tensor
    ) -> None:
        """Count a batch in the metrics of a stage, and its errors for the intervals."""
        super()._count(stage, batch, all_scores, scores, labels)
        if self.hparams['coverage'] is None or stage == 'train':
            return
        if stage == 'val':
            wanted = self.target(batch)
            found = all_scores[:, 0].detach().reshape(len(wanted), -1)
            self.errors.update(self._error(found, wanted.reshape(len(wanted), -1)))
        elif len(labels) and not self.half_width.isnan():
            error = self._error(scores[:, 0].detach(), labels)
            self.covered.update(error <= self.half_width)

    def _error(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Absolute errors in the unit of the labels, of any shape."""
        # Less the mean: values far from 0 would lose digits.
        return (scores.float() * self.target_std - (labels.float() - self.target_mean)).abs()

    def on_validation_epoch_end(self) -> None:
        """Log the metrics, and learn from the errors how wide intervals are."""
        if self.hparams['coverage'] is not None:
            # A validation after training does not change what the checkpoint says.
            if self.trainer.state.fn == 'fit' and not self.trainer.sanity_checking:
                self._calibrate()
            self.errors.reset()
        super().on_validation_epoch_end()

    def _calibrate(self) -> None:
        """Set the width of intervals by the errors of the validation that is over."""
        coverage = self.hparams['coverage']
        # A metric makes a scalar of one error alone.
        errors: Tensor = self.errors.compute().flatten()
        self.half_width.copy_(conformal_half_width(errors, coverage))
        if self.half_width.isnan():
            needed = math.ceil(coverage / (1 - coverage) - 1e-9)
            rank_zero_warn(
                f'predictions have no interval: coverage={coverage} needs {needed} labelled '
                f'{"series" if self.hparams["target"] == "field" else "patches"} of validation, '
                f'there are {len(errors)}. Hold out more, or lower the coverage (None for no '
                'interval)',
                category=UserWarning,
            )

    def compute_scores(self, stage: str) -> dict[str, Tensor]:
        """Compute the metrics of a stage by name, those of intervals too in the test."""
        values = super().compute_scores(stage)
        if stage == 'test':
            values['test_coverage'] = self.covered.compute()
            values['test_interval_width'] = 2 * self.half_width
        return values

    def reset_scores(self, stage: str) -> None:
        """Begin the metrics of a stage anew."""
        super().reset_scores(stage)
        if stage == 'test':
            self.covered.reset()

    # -- predictions -----------------------------------------------------------------------

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Values in the unit of the labels.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.

        Returns:
            A dictionary of ``value`` ``(B, H, W)``, or ``(B,)`` of whole series; and of ``lower``
            and ``upper`` of the same shape where there are intervals.
        """
        value = self.in_unit(self(batch))[:, 0]
        if self.half_width.isnan():
            return {'value': value}
        return {'value': value, 'lower': value - self.half_width, 'upper': value + self.half_width}

    def table_outputs(self) -> list[MapOutput]:
        """List the columns of a table of predictions: the value, and the ends of its interval."""
        names = ['value'] if self.half_width.isnan() else ['value', 'lower', 'upper']
        return [ValueMap(name, name, self.hparams['unit']) for name in names]

    def map_outputs(self) -> list[MapOutput]:
        """List the maps of the values, and of the ends of their intervals.

        Raises:
            SITSError: If a whole series has one value.
        """
        if self.hparams['target'] == 'field':
            raise SITSError(
                "this SITSRegression gives one value for a whole series (target='field'), not for "
                "each pixel, so there is no map of it: train one with target='pixel', whose "
                'encoder may start from the same weights'
            )
        return self.table_outputs()


class _Errors(Metric):
    """Absolute errors of places, one for each series or patch that has a label.

    Of several labelled pixels one is drawn, always the same: pixels of a patch are alike, places
    are not (subsampling once, Dunn et al. 2022, https://arxiv.org/abs/1809.07441).
    """

    full_state_update = False
    values: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state('values', default=[], dist_reduce_fx='cat')

    def update(self, errors: Tensor) -> None:
        """Count the errors ``(B, P)`` of the P pixels of each place, NaN where there is none."""
        generator = torch.Generator().manual_seed(len(self.values))
        order = torch.rand(errors.shape, generator=generator).to(errors.device)
        drawn = torch.where(errors.isfinite(), order, -1).argmax(1, keepdim=True)
        found = errors.gather(1, drawn)[:, 0]
        self.values.append(found[found.isfinite()])

    def compute(self) -> Tensor:
        """All errors ``(n,)``."""
        # A list in one process, one tensor once those of several are joined.
        return torch.cat(self.values) if isinstance(self.values, list) else self.values


class _Covered(Metric):
    """Share of the labels that lie in their intervals, NaN where there is none."""

    full_state_update = False
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state('counts', torch.zeros(2, dtype=torch.int64), dist_reduce_fx='sum')

    def update(self, within: Tensor) -> None:
        """Count labels ``(P,)`` bool."""
        self.counts[0] += within.sum()
        self.counts[1] += len(within)

    def compute(self) -> Tensor:
        """The share."""
        within, every = self.counts.cpu().double()
        return within / every

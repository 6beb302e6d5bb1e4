"""A map for each date of a series, and the change between any two."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torchmetrics import Metric

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK, VALID
from ..mapping import MapOutput
from ..metrics import SemanticChangeScores
from .change import SITSChange, has_label_per_frame, seconds

__all__ = ['SITSChangeSeries', 'frame_at']


def frame_at(acquisition_times: Tensor, valid: Tensor, date: int) -> Tensor:
    """The frame of each series that holds at a date: the last one until then.

    Args:
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
        valid: ``(B, T)`` bool.
        date: Seconds since 1970-01-01 UTC.

    Returns:
        ``(B,)`` int64 indices; the earliest frame where all are later.
    """
    latest = torch.iinfo(acquisition_times.dtype).max
    first = acquisition_times.masked_fill(~valid, latest).argmin(1)
    until = valid & (acquisition_times <= date)
    last = acquisition_times.masked_fill(~until, -latest).argmax(1)
    return torch.where(until.any(1), last, first)


class SITSChangeSeries(SITSChange):
    """A map of classes for each date, and with it the change between any two dates.

    Labels are a map for each frame ``(T, H, W)``. The default ``task`` 'binary' tells 0 from all
    other classes; with ``task='multiclass'`` and ``loss='ce'`` classes are told apart.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSChangeSeries
        >>> task = SITSChangeSeries(model='tempcnn', in_channels=3)
        >>> series = {
        ...     'image': torch.rand(2, 5, 3, 8, 8),
        ...     'acquisition_times': 86_400 * torch.arange(5).expand(2, 5),
        ...     'valid': torch.ones(2, 5, dtype=torch.bool),
        ... }
        >>> task.change_between(series, '1970-01-01', '1970-01-05').shape
        torch.Size([2, 8, 8])
    """

    main_scores = ('AverageF1Score', 'OverallAccuracy', 'BC', 'SC_present', 'SCS_present')
    binary_names = ('class 0', 'other classes')

    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Raw scores ``(B, K, T, H, W)`` of the classes of each frame.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.
        """
        frames = self.encoder.frame_features(self.encoder.series_of(batch))
        scores = self.head(frames.flatten(0, 1), batch[IMAGE].shape[-2:])
        return rearrange(scores.unflatten(0, frames.shape[:2]), 'b t k h w -> b k t h w')

    def target(self, batch: dict[str, Any]) -> Tensor:
        """Labels ``(B, T, H, W)`` of a batch.

        Args:
            batch: A batch, see :mod:`torchgeo_sits.keys`.

        Raises:
            SITSError: If the mask has no map for each frame.
        """
        mask: Tensor = batch[MASK]
        if not has_label_per_frame(batch):
            self.check_unchanged()
            raise SITSError(
                'SITSChangeSeries needs a map of labels for each frame, (B, T, H, W), got a mask '
                f'of {tuple(mask.shape)}: set labels.per_frame=true of SITSDataModule and give '
                'dated label rasters, or use SITSChangeDetection'
            )
        return self.label_of(mask)

    def compare(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of a batch, and the labelled pixels of its valid frames."""
        scores, target, valid = self(batch), self.target(batch), batch[VALID]
        frames = rearrange(scores, 'b k t h w -> b t k h w')
        return scores, *self.select(frames[valid], target[valid])

    def map_metrics(self) -> list[Metric]:
        """Semantic change scores, as DynamicEarthNet has them."""
        classes, ignored = self.num_classes, self.hparams['ignore_index']
        assert classes is not None
        return [SemanticChangeScores(classes, ignore_index=ignored)]

    def update_map_metrics(
        self, metrics: nn.ModuleList, batch: dict[str, Any], scores: Tensor
    ) -> None:
        """Count the maps of a batch, in the order of time."""
        change: Any = metrics[0]
        order = batch[ACQUISITION_TIMES].argsort(dim=1, stable=True)
        rows = torch.arange(len(order), device=order.device)[:, None]
        maps = self.prediction(scores, batch), self.target(batch), batch[VALID]
        change.update(*(x[rows, order] for x in maps))

    def map_outputs(self) -> list[MapOutput]:
        """Refuse maps: there is one for each date.

        Raises:
            SITSError: In any case.
        """
        raise SITSError(
            'SITSChangeSeries gives a map for each date of a window, and windows differ in their '
            'dates: use change_between in Python, or train SITSChangeDetection or SITSChangeDate'
        )

    def change_between(self, batch: dict[str, Any], first: str, second: str) -> Tensor:
        """Change between two dates, from the maps of a series.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.
            first: ``YYYY-MM-DD``; the last frame until then counts.
            second: The same of the other date.

        Returns:
            ``(B, H, W)`` bool.

        Raises:
            SITSError: If a date is none.
        """
        maps = self.prediction(self(batch), batch)
        rows = torch.arange(len(maps), device=maps.device)
        one, other = (
            maps[rows, frame_at(batch[ACQUISITION_TIMES], batch[VALID], seconds(date))]
            for date in (first, second)
        )
        return one != other

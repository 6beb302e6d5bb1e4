"""Change detection, in the forms that a series allows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import Metric

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK, MASK_CLEAR, VALID, Series
from ..mapping import ChangeDate, ChangeMap, ClassMap, MapOutput, Probabilities
from ..metrics import ChangeDateScores, ChangeScores, SemanticChangeScores
from ..models import DenseHead, PairHead, SITSEncoder, stable_order
from .base import class_names
from .change_date import change_point_scores, first_frame_after
from .supervised import Loss, SITSSupervised

__all__ = ['SITSChangeDetection', 'Span', 'frame_at', 'parse_spans', 'seconds', 'two_windows']

#: First second, and the second after the last.
type Span = tuple[int, int]


def seconds(date: str) -> int:
    """Seconds since 1970-01-01 UTC of a date.

    Args:
        date: ``YYYY-MM-DD``.

    Raises:
        SITSError: If it is none.
    """
    try:
        return int(datetime.strptime(date, '%Y-%m-%d').replace(tzinfo=UTC).timestamp())
    except (TypeError, ValueError) as error:
        raise SITSError(f'expected a date YYYY-MM-DD, got {date!r}') from error


def parse_spans(windows: Sequence[Sequence[str]]) -> tuple[Span, Span]:
    """Two windows of time from the days that bound them.

    Args:
        windows: Two pairs of days ``YYYY-MM-DD``, first day and the day after the last.

    Raises:
        SITSError: If there are not two, or one is empty.
    """
    if len(windows) != 2 or any(len(window) != 2 for window in windows):
        raise SITSError(
            'expected two windows of two dates each, [[START, END], [START, END]], got '
            f'{[list(window) for window in windows]}'
        )
    spans = [(seconds(start), seconds(end)) for start, end in windows]
    for (start, end), window in zip(spans, windows, strict=True):
        if start >= end:
            raise SITSError(f'expected a window that ends after it starts, got {list(window)}')
    return spans[0], spans[1]


def two_windows(
    batch: dict[str, Any], spans: tuple[Span, Span] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The frames of a series before and after, as two batches.

    Args:
        batch: A batch, see :mod:`torchgeo_sits.keys`.
        spans: The two windows; None takes the first and the second half of the valid frames of
            each series, of two frames one each.

    Returns:
        Both batches, with the keys that encoders take, and ``mask`` where it has a map for
        each frame. A window without a frame is left with one that is not valid.
    """
    times, valid = batch[ACQUISITION_TIMES], batch[VALID]
    if spans is None:
        latest = torch.iinfo(times.dtype).max
        rank = stable_order(times.masked_fill(~valid, latest)).argsort(1)
        half = (valid.sum(1, keepdim=True) + 1) // 2
        parts = [valid & (rank < half), valid & (rank >= half)]
    else:
        parts = [valid & (times >= start) & (times < end) for start, end in spans]
    return _only(batch, parts[0]), _only(batch, parts[1])


def _only(batch: dict[str, Any], valid: Tensor) -> dict[str, Any]:
    """The frames of a batch that are in *valid* ``(B, T)``; those in none are cut out."""
    if torch.compiler.is_exporting():  # how many there are depends on the data
        return batch | {VALID: valid}
    used = valid.any(0)
    if not used.any():
        used[0] = True
    keys: list[str] = [key for key in (IMAGE, ACQUISITION_TIMES, MASK_CLEAR) if key in batch]
    if MASK in batch and batch[MASK].shape[:2] == valid.shape and batch[MASK].ndim == 4:
        keys.append(MASK)
    return {key: batch[key][:, used] for key in keys} | {VALID: valid[:, used]}


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


_SECONDS_PER_DAY = 86_400


class SITSChangeDetection(SITSSupervised):
    """What changed, into what, or when.

    * 'pair' compares two windows of a series, or two frames: one map of change. Labels are a
      mask ``(H, W)`` in which 0 is unchanged, or a map of classes for each frame, of which the
      last of each window are compared.
    * 'series' gives a map for each date, from labels ``(T, H, W)``, and with it the change
      between any two dates (:meth:`change_between`).
    * 'date' gives for each pixel the date of its one change, or none. Labels are days since
      1970-01-01, 0 for none. Each frame votes for the state before or after the change
      (:func:`~.change_date.change_point_scores`).

    Classes beside 0 are joined to one when ``task`` is 'binary', and told apart when it is
    'multiclass'.
    """

    def __init__(
        self,
        mode: Literal['pair', 'series', 'date'] = 'pair',
        windows: Sequence[Sequence[str]] | None = None,
        task: Literal['binary', 'multiclass'] = 'binary',
        loss: Loss = 'bce',
        hidden_dim: int = 64,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SITSChangeDetection instance.

        Args:
            mode: What is told: change between two windows, a map per date, or the date.
            windows: For 'pair', two windows ``[START, END]`` of dates ``YYYY-MM-DD``, the end
                excluded. None compares the first half of the frames with the second.
            task: 'binary' tells change from none, 'multiclass' classes of change (of maps, for
                'series') apart.
            loss: Loss function; 'bce' is that of binary tasks, 'ce' of others. Dates are
                learned by cross-entropy.
            hidden_dim: Width of a hidden layer of the head, 0 for a linear one.
            **kwargs: Arguments of the base class, :class:`SITSSupervised`.

        Raises:
            SITSError: If an argument does not go with *mode*.
        """
        if mode != 'pair' and windows is not None:
            raise SITSError(f"windows are for mode='pair', got mode={mode!r}: leave them out")
        if mode == 'date' and task != 'binary':
            raise SITSError("mode='date' tells one change from none: set task to 'binary'")
        self._spans = None if windows is None else parse_spans(windows)
        super().__init__(task=task, loss=loss, hidden_dim=hidden_dim, **kwargs)

    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on features of two windows, or of each frame."""
        options = {'stride': encoder.stride, 'hidden_dim': self.hparams['hidden_dim']}
        if self.hparams['mode'] == 'pair':
            return PairHead(encoder.feature_dim(self.hparams['depth']), num_outputs, **options)
        return DenseHead(encoder.embed_dim, num_outputs, **options)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Scores of a batch, see :meth:`scores`."""
        # Scores of dates are no classes, of which one might have to be ignored.
        return self.scores(batch) if self.hparams['mode'] == 'date' else super().forward(batch)

    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Raw scores.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            'pair': ``(B, K, H, W)``; 'series': ``(B, K, T, H, W)``; 'date':
            ``(B, T + 1, H, W)``, one for a change before each frame and the last for none.
        """
        size = batch[IMAGE].shape[-2:]
        if self.hparams['mode'] == 'pair':
            depth = self.hparams['depth']
            before, after = (
                self.encoder.features(Series.from_batch(part), depth=depth)
                for part in two_windows(batch, self._spans)
            )
            return self.head(before, after, size)
        frames = self.encoder.frame_features(Series.from_batch(batch))
        scores = self.head(frames.flatten(0, 1), size).unflatten(0, frames.shape[:2])
        if self.hparams['mode'] == 'series':
            return rearrange(scores, 'b t k h w -> b k t h w')
        return change_point_scores(scores[:, :, 0], batch[ACQUISITION_TIMES], _seen(batch))

    def target(self, batch: dict[str, Any]) -> Tensor:
        """Labels of a batch, as :meth:`scores` gives scores.

        Raises:
            SITSError: If the mask has no frames where they are needed.
        """
        mask: Tensor = batch[MASK]
        ignored = self.hparams['ignore_index']
        mode = self.hparams['mode']
        per_frame = mask.ndim == 4 and mask.shape[:2] == batch[VALID].shape
        if ignored == 0 and not per_frame:
            raise SITSError(
                'in a mask of change 0 says that nothing changed, but the data says that 0 is not '
                'labelled: set data.unlabelled to another value (255 for classes, -1 for dates)'
            )
        if mode == 'date':
            date = mask.long() * _SECONDS_PER_DAY
            return first_frame_after(date, batch[ACQUISITION_TIMES], _seen(batch))
        if mode == 'series' and not per_frame:
            raise SITSError(
                f"mode='series' needs a map of labels for each frame, (B, T, H, W), got a mask of "
                f'{tuple(mask.shape)}: set labels.per_frame=true of SITSDataModule and give dated '
                "label rasters, or use mode='pair'"
            )
        if mode == 'pair' and per_frame:
            if self.hparams['task'] != 'binary':
                raise SITSError("labels for each frame tell change or none: set task to 'binary'")
            maps = [_last_map(part) for part in two_windows(batch, self._spans)]
            unknown = torch.zeros_like(maps[0], dtype=torch.bool)
            if ignored is not None:
                unknown = (maps[0] == ignored) | (maps[1] == ignored)
            changed = (maps[0] != maps[1]).long()
            return changed.masked_fill(unknown, -1 if ignored is None else ignored)
        if self.hparams['task'] == 'binary':
            joined = (mask != 0).long()
            return joined if ignored is None else torch.where(mask == ignored, ignored, joined)
        return mask

    def compare(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of a batch, and what is labelled of it, as the base class says."""
        mode = self.hparams['mode']
        if mode == 'pair':
            return super().compare(batch)
        scores, target = self(batch), self.target(batch)
        if mode == 'series':
            valid = batch[VALID]
            frames = rearrange(scores, 'b k t h w -> b t k h w')
            return scores, *self.select(frames[valid], target[valid])
        known = self._dated(batch)
        return scores, scores.movedim(1, -1)[known], target[known]

    def _dated(self, batch: dict[str, Any]) -> Tensor:
        """Pixels ``(B, H, W)`` that have a label of a date, and that a frame saw."""
        seen, ignored = _seen(batch).any(1), self.hparams['ignore_index']
        return seen if ignored is None else seen & (batch[MASK] != ignored)

    def loss_of(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Loss of ``(P, K)`` scores and ``(P,)`` labels; 0 where P is."""
        if self.hparams['mode'] != 'date' or not len(labels):
            return super().loss_of(scores, labels)
        return cross_entropy(scores.float(), labels)

    def outcome(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What metrics compare: for dates whether there was a change at all."""
        if self.hparams['mode'] != 'date':
            return super().outcome(scores, labels)
        last = scores.shape[1] - 1
        return 1 - scores.softmax(1)[:, last], (labels != last).long()

    # -- what is said of maps --------------------------------------------------------------

    def map_metrics(self) -> list[Metric]:
        """IoU and F1 of change; of series the scores of DynamicEarthNet too, of dates errors."""
        if self.hparams['mode'] == 'series':
            classes, ignored = self.num_classes, self.hparams['ignore_index']
            assert classes is not None
            return [SemanticChangeScores(classes, ignore_index=ignored)]
        dates: list[Metric] = [ChangeDateScores()] if self.hparams['mode'] == 'date' else []
        return [ChangeScores(), *dates]

    def update_map_metrics(
        self, metrics: nn.ModuleList, batch: dict[str, Any], scores: Tensor
    ) -> None:
        """Count what changed, and what was said to have."""
        change: Any = metrics[0]
        mode, ignored = self.hparams['mode'], self.hparams['ignore_index']
        found, truth = self.prediction(scores, batch), self.target(batch)
        if mode == 'series':
            order = batch[ACQUISITION_TIMES].argsort(dim=1, stable=True)
            rows = torch.arange(len(order), device=order.device)[:, None]
            change.update(*(x[rows, order] for x in (found, truth, batch[VALID])))
        elif mode == 'pair':
            known = torch.ones_like(truth).bool() if ignored is None else truth != ignored
            change.update(found[known] != 0, truth[known] != 0)
        else:
            # A change that no frame could have shown is none.
            changed, known = truth != scores.shape[1] - 1, self._dated(batch)
            change.update((found != 0)[known], changed[known])
            dates: Any = metrics[1]
            dates.update(found[known], torch.where(changed, batch[MASK].long(), 0)[known])

    def prediction(self, scores: Tensor, batch: dict[str, Any]) -> Tensor:
        """What is predicted.

        Args:
            scores: As :meth:`scores` gives them.
            batch: The batch they are of.

        Returns:
            Classes ``(B, H, W)`` or, for series, ``(B, T, H, W)`` int64. For 'date' days since
            1970-01-01 of the first frame that shows the change, 0 for none, as labels are.
        """
        if self.hparams['mode'] != 'date':
            return super().prediction(scores, batch)
        times = batch[ACQUISITION_TIMES] // _SECONDS_PER_DAY
        times = torch.cat([times, torch.zeros_like(times[:, :1])], 1)
        best = scores.argmax(1)
        return times.gather(1, best.flatten(1)).view_as(best)

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Probabilities, and for 'date' the dates.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.

        Returns:
            Probabilities ``(B, K, H, W)`` or, for series, ``(B, K, T, H, W)``. For 'date' a
            dictionary of ``probability`` ``(B, H, W)`` of any change and ``date`` ``(B, H, W)``,
            as :meth:`prediction` gives it.
        """
        scores = self(batch)
        if self.hparams['mode'] != 'date':
            return self.probabilities(scores)
        any_change = 1 - scores.softmax(1)[:, -1]
        return {'probability': any_change, 'date': self.prediction(scores, batch)}

    def map_outputs(self) -> list[MapOutput]:
        """Maps of change and its probability, or of its date.

        Raises:
            SITSError: If there is a map for each date.
        """
        mode, key = self.hparams['mode'], 'probabilities'
        if mode == 'series':
            raise SITSError(
                "mode='series' gives a map for each date of a window, and windows differ in their "
                'dates: use change_between in Python, or train with mode pair or date'
            )
        if mode == 'date':
            key = 'probability'
            return [
                ChangeMap('change', key),
                ChangeDate('change_date', 'date'),
                Probabilities('change_probability', key, ['change']),
            ]
        if self.hparams['task'] == 'binary':
            return [
                ChangeMap('change', key),
                Probabilities('change_probability', key, ['change']),
            ]
        names = class_names(self)
        return [
            ClassMap('change', key, names),
            Probabilities('change_probability', key, names),
        ]

    def change_between(self, batch: dict[str, Any], first: str, second: str) -> Tensor:
        """Change between two dates, from the maps of a series.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.
            first: ``YYYY-MM-DD``; the last frame until then counts.
            second: The same of the other date.

        Returns:
            ``(B, H, W)`` bool.

        Raises:
            SITSError: If the task gives no maps of a series.
        """
        if self.hparams['mode'] != 'series':
            raise SITSError(f"expected mode='series', got {self.hparams['mode']!r}")
        maps = self.prediction(self(batch), batch)
        rows = torch.arange(len(maps), device=maps.device)
        one, other = (
            maps[rows, frame_at(batch[ACQUISITION_TIMES], batch[VALID], seconds(date))]
            for date in (first, second)
        )
        return one != other


def _seen(batch: dict[str, Any]) -> Tensor:
    """Pixels that each frame saw, ``(B, T, H, W)`` bool."""
    valid = batch[VALID][:, :, None, None]
    return valid & batch[MASK_CLEAR] if MASK_CLEAR in batch else valid.expand(_frames(batch))


def _frames(batch: dict[str, Any]) -> tuple[int, ...]:
    """B, T, H and W of a batch."""
    b, t, _, h, w = batch[IMAGE].shape
    return b, t, h, w


def _last_map(part: dict[str, Any]) -> Tensor:
    """Labels ``(B, H, W)`` of the last frame of a window."""
    latest = torch.iinfo(part[ACQUISITION_TIMES].dtype).max
    last = part[ACQUISITION_TIMES].masked_fill(~part[VALID], -latest).argmax(1)
    mask: Tensor = part[MASK]
    return mask[torch.arange(len(mask), device=mask.device), last]

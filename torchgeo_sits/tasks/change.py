"""Change between two windows of a series, and what all tasks of change share."""

import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK, MASK_CLEAR, VALID
from ..mapping import Certainty, ChangeMap, MapOutput, Probabilities
from ..metrics import ChangeScores
from ..models import DenseHead, PairHead, SITSEncoder, stable_order
from ..transforms.batches import observed, s1_of, with_s1
from .supervised import Loss, SITSSupervised

__all__ = [
    'SITSChange',
    'SITSChangeDetection',
    'Span',
    'change_task_of',
    'parse_spans',
    'seconds',
    'two_windows',
]

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
            each series, of two frames one each. Sentinel-1 is cut where the optical series is,
            and of its own frames alike where that has no second half.

    Returns:
        Both batches, with the keys that encoders take, and ``mask`` where it has a map for
        each frame. A window without a frame is left with one that is not valid.
    """
    parts = _halves(batch) if spans is None else _between(batch, spans)
    before, after = (_only(batch, part) for part in parts)
    if (series := s1_of(batch)) is None:
        return before, after
    if spans is None:
        latest = torch.iinfo(batch[ACQUISITION_TIMES].dtype).max
        start = batch[ACQUISITION_TIMES].masked_fill(~parts[1], latest).amin(1, keepdim=True)
        valid, is_first = observed(series)[0], series[ACQUISITION_TIMES] < start
        own, cut = _halves(series), parts[1].any(1, keepdim=True)
        parts_s1 = (
            torch.where(cut, valid & is_first, own[0]),
            torch.where(cut, valid & ~is_first, own[1]),
        )
    else:
        parts_s1 = _between(series, spans)
    return (
        with_s1(before, _only(series, parts_s1[0])),
        with_s1(after, _only(series, parts_s1[1])),
    )


def _halves(series: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Frames ``(B, T)`` of the first and of the second half of the valid ones, in their order."""
    times, valid = series[ACQUISITION_TIMES], observed(series)[0]
    latest = torch.iinfo(times.dtype).max
    rank = stable_order(times.masked_fill(~valid, latest)).argsort(1)
    half = (valid.sum(1, keepdim=True) + 1) // 2
    return valid & (rank < half), valid & (rank >= half)


def _between(series: dict[str, Any], spans: tuple[Span, Span]) -> tuple[Tensor, Tensor]:
    """Valid frames ``(B, T)`` of two windows of time."""
    times, valid = series[ACQUISITION_TIMES], observed(series)[0]
    first, second = (valid & (times >= start) & (times < end) for start, end in spans)
    return first, second


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


class SITSChange(SITSSupervised):
    """Base of the tasks of change, whose labels say by 0 that nothing changed.

    They are :class:`SITSChangeDetection`, :class:`~torchgeo_sits.tasks.SITSChangeSeries` and
    :class:`~torchgeo_sits.tasks.SITSChangeDate`.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSChangeDetection
        >>> task = SITSChangeDetection(model='tempcnn', in_channels=3, ignore_index=255)
        >>> task.label_of(torch.tensor([0, 2, 255]))
        tensor([  0,   1, 255])
    """

    # Checkpoints of the former modes hold the last two.
    ignore: Sequence[str] = ('weights', 'mode', 'windows')
    monitor = 'val_ChangeF1'
    mode = 'max'
    main_scores: tuple[str, ...] = ('ChangeF1', 'ChangeIoU', 'ChangePrecision', 'ChangeRecall')
    binary_names = ('no change', 'change')

    method = 'change'

    def __init__(
        self,
        task: Literal['binary', 'multiclass'] = 'binary',
        loss: Loss = 'bce',
        hidden_dim: int = 64,
        **kwargs: Any,
    ) -> None:
        """Initialize a new task.

        Args:
            task: 'binary' tells change from none; 'multiclass' tells classes of change apart.
            loss: Loss function; 'bce' is that of binary tasks, 'ce' of others.
            hidden_dim: Width of a hidden layer of the head, 0 for a linear one.
            **kwargs: Arguments of the base class, :class:`SITSSupervised`.

        Raises:
            SITSError: If an argument is out of its range or does not go with another.
        """
        _drop_mode(type(self), kwargs)
        super().__init__(task=task, loss=loss, hidden_dim=hidden_dim, **kwargs)

    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on features of each frame."""
        return DenseHead(
            encoder.embed_dim,
            num_outputs,
            stride=encoder.stride,
            hidden_dim=self.hparams['hidden_dim'],
        )

    def label_of(self, mask: Tensor) -> Tensor:
        """Join the classes of change of a mask to one where the task is binary.

        Args:
            mask: Labels of any shape, 0 unchanged.

        Returns:
            Labels of the same shape, int64 where the task is binary.
        """
        if self.hparams['task'] != 'binary':
            return mask
        joined, ignored = (mask != 0).long(), self.hparams['ignore_index']
        return joined if ignored is None else torch.where(mask == ignored, ignored, joined)

    def check_unchanged(self) -> None:
        """Raise SITSError where the data says that 0 is not labelled."""
        if self.hparams['ignore_index'] == 0:
            raise SITSError(
                'in a mask of change 0 says that nothing changed, but the data says that 0 is not '
                'labelled: set labels.unlabelled of the data to another value (255 for classes, '
                '-1 for dates)'
            )

    def map_metrics(self) -> list[Metric]:
        """IoU, F1, precision and recall of change."""
        return [ChangeScores()]


class SITSChangeDetection(SITSChange):
    """Change between two windows of a series, or two frames: one map.

    Labels are a mask ``(H, W)`` in which 0 is unchanged, or a map of classes for each frame
    ``(T, H, W)``, of which the last of each window are compared. Classes beside 0 are joined to
    one when ``task`` is 'binary', and told apart when it is 'multiclass'.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSChangeDetection
        >>> task = SITSChangeDetection(model='tempcnn', in_channels=3)
        >>> series = {
        ...     'image': torch.rand(2, 5, 3, 8, 8),
        ...     'acquisition_times': 86_400 * torch.arange(5).expand(2, 5),
        ...     'valid': torch.ones(2, 5, dtype=torch.bool),
        ... }
        >>> task(series).shape
        torch.Size([2, 1, 8, 8])
    """

    ignore = ('weights', 'mode')

    def __init__(self, windows: Sequence[Sequence[str]] | None = None, **kwargs: Any) -> None:
        """Initialize a new SITSChangeDetection instance.

        Args:
            windows: Two windows ``[START, END]`` of dates ``YYYY-MM-DD``, the end excluded.
                None compares the first half of the frames with the second.
            **kwargs: Arguments of the base class, :class:`SITSChange`.

        Raises:
            SITSError: If an argument is out of its range or does not go with another.
        """
        if (other := kwargs.get('mode')) not in (None, 'pair'):
            self._become(change_task_of(other), windows, kwargs)
            return
        self._spans = None if windows is None else parse_spans(windows)
        super().__init__(**kwargs)

    def _become(
        self, kind: type[SITSChange], windows: Sequence[Sequence[str]] | None, kwargs: Any
    ) -> None:
        """Turn into the task that a former ``mode`` is now, under the command line too."""
        if windows is not None:
            raise SITSError(
                f'windows are for SITSChangeDetection, got them with {kind.__name__} '
                f'(mode={kwargs["mode"]!r}): leave them out'
            )
        self.__class__ = kind  # type: ignore[assignment]
        kind.__init__(self, **kwargs)
        if '_class_path' in self.hparams:  # what the command line reads from checkpoints
            self.hparams['_class_path'] = f'torchgeo_sits.tasks.{kind.__name__}'

    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on features of two windows."""
        return PairHead(
            encoder.feature_dim(self.hparams['depth']),
            num_outputs,
            stride=encoder.stride,
            hidden_dim=self.hparams['hidden_dim'],
        )

    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Raw scores ``(B, K, H, W)`` of change.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.
        """
        depth = self.hparams['depth']
        before, after = (
            self.encoder.features(self.encoder.series_of(part), depth=depth)
            for part in two_windows(batch, self._spans)
        )
        return self.head(before, after, batch[IMAGE].shape[-2:])

    def target(self, batch: dict[str, Any]) -> Tensor:
        """Labels ``(B, H, W)`` of change.

        Args:
            batch: A batch, see :mod:`torchgeo_sits.keys`.

        Raises:
            SITSError: If 0 counts as not labelled, or labels of each frame meet a task that
                tells classes of change apart.
        """
        mask: Tensor = batch[MASK]
        if not has_label_per_frame(batch):
            self.check_unchanged()
            return self.label_of(mask)
        if self.hparams['task'] != 'binary':
            raise SITSError("labels for each frame tell change or none: set task to 'binary'")
        ignored = self.hparams['ignore_index']
        before, after = (_last_map(part) for part in two_windows(batch, self._spans))
        unknown = torch.zeros_like(before, dtype=torch.bool)
        if ignored is not None:
            unknown = (before == ignored) | (after == ignored)
        changed = (before != after).long()
        return changed.masked_fill(unknown, -1 if ignored is None else ignored)

    def update_map_metrics(
        self, metrics: nn.ModuleList, batch: dict[str, Any], scores: Tensor
    ) -> None:
        """Count what changed, and what was said to have."""
        change: Any = metrics[0]
        found, truth = self.prediction(scores, batch), self.target(batch)
        ignored = self.hparams['ignore_index']
        known = torch.ones_like(truth).bool() if ignored is None else truth != ignored
        change.update(found[known] != 0, truth[known] != 0)

    def map_outputs(self) -> list[MapOutput]:
        """Maps of change, or of its classes, and of the probabilities."""
        key = 'probabilities'
        if self.hparams['task'] == 'binary':
            return [ChangeMap('change', key), Probabilities('change_probability', key, ['change'])]
        return [
            self.class_map('change'),
            self.probability_map('change_probability'),
            Certainty('change_certainty', key),
        ]


def has_label_per_frame(batch: dict[str, Any]) -> bool:
    """Say whether the mask of a batch has a map of labels for each frame."""
    mask: Tensor = batch[MASK]
    return mask.ndim == 4 and mask.shape[:2] == batch[VALID].shape


def _last_map(window: dict[str, Any]) -> Tensor:
    """Labels ``(B, H, W)`` of the last frame of a window."""
    latest = torch.iinfo(window[ACQUISITION_TIMES].dtype).max
    last = window[ACQUISITION_TIMES].masked_fill(~window[VALID], -latest).argmax(1)
    mask: Tensor = window[MASK]
    return mask[torch.arange(len(mask), device=mask.device), last]


# -- for one release: the argument `mode`, which old checkpoints hold too --------------------

_MODES: Final = {
    'pair': ('change', 'SITSChangeDetection'),
    'series': ('change_series', 'SITSChangeSeries'),
    'date': ('change_date', 'SITSChangeDate'),
}


def change_task_of(mode: str) -> type[SITSChange]:
    """Give the task that a former ``mode`` of SITSChangeDetection is now.

    Args:
        mode: 'pair', 'series' or 'date'.

    Returns:
        Its class.

    Raises:
        SITSError: If there was no such mode.
    """
    if mode not in _MODES:
        raise SITSError(f'expected mode to be one of {list(_MODES)}, got {mode!r}')
    module, name = _MODES[mode]
    kind: type[SITSChange] = getattr(import_module(f'.{module}', __package__), name)
    return kind


def _drop_mode(kind: type[SITSChange], kwargs: dict[str, Any]) -> None:
    """Take ``mode`` out of the arguments of a task, and say what it is called now."""
    mode = kwargs.pop('mode', None)
    if mode is None:
        return
    if not issubclass(kind, change_task_of(mode)):
        raise SITSError(
            f'mode={mode!r} is {change_task_of(mode).__name__} now, got it with {kind.__name__}: '
            'leave mode out'
        )
    if mode != 'pair' and kwargs.get('windows', 0) is None:
        del kwargs['windows']  # as checkpoints have it
    warnings.warn(
        f'SITSChangeDetection(mode={mode!r}) is {kind.__name__} now: use that name, without mode',
        FutureWarning,
        stacklevel=4,
    )

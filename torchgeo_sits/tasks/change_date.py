"""The date of the one change of each pixel, from evidence frame by frame."""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import Metric

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK, MASK_CLEAR, VALID
from ..mapping import ChangeDate, ChangeMap, MapOutput, Probabilities
from ..metrics import ChangeDateScores, ChangeScores
from ..models import stable_order
from .change import SITSChange

__all__ = ['SITSChangeDate', 'change_point_scores', 'first_frame_after']

_SECONDS_PER_DAY: Final = 86_400


def change_point_scores(evidence: Tensor, times: Tensor, seen: Tensor) -> Tensor:
    r"""Log-odds of a change before each frame against none at all.

    Let :math:`p_t` be the probability that frame t shows the state after a change, and
    :math:`s_t = \log p_t / (1 - p_t)` the evidence for it. A series that changed between two
    frames shows the state before in all frames until then and the state after in all that
    follow, so the likelihood of a change right before frame k, over that of none, is

    .. math:: \log \prod_{t \ge k} \frac{p_t}{1 - p_t} = \sum_{t \ge k} s_t .

    A frame that did not see the pixel has no evidence. No change is the empty sum, 0: a
    softmax over the dates and that 0 gives the probability of each date and of none.

    Args:
        evidence: ``(B, T, H, W)``.
        times: ``(B, T)`` int64; frames may come in any order.
        seen: ``(B, T, H, W)`` bool, False where a frame did not see the pixel.

    Returns:
        ``(B, T + 1, H, W)``, that of no change last. Frames that did not see the pixel, in
        padding too, and the first that did get -10,000: the change is told to be before the
        first frame that shows it.
    """
    order = stable_order(times)
    back = order.argsort(1)
    rows = torch.arange(times.shape[0], device=times.device)[:, None]
    found = (evidence.float() * seen)[rows, order]
    shown = seen[rows, order]
    total = found.flip(1).cumsum(1).flip(1)
    first = shown & (shown.long().cumsum(1) == 1)
    scores = total.masked_fill(~shown | first, -1e4)[rows, back]
    return torch.cat([scores, torch.zeros_like(scores[:, :1])], 1)


def first_frame_after(date: Tensor, times: Tensor, seen: Tensor) -> Tensor:
    """Find the first frame that shows a change.

    Args:
        date: ``(B, H, W)`` seconds since 1970-01-01 UTC; 0 where nothing changed.
        times: ``(B, T)`` int64.
        seen: ``(B, T, H, W)`` bool, False where a frame did not see the pixel.

    Returns:
        ``(B, H, W)`` int64, T for no change: where there was none, or it lies before the
        first or after the last frame that saw the pixel.
    """
    latest = torch.iinfo(times.dtype).max
    when = times[:, :, None, None].expand(seen.shape)
    after = seen & (when >= date[:, None]) & (date[:, None] > 0)
    before = (seen & (when < date[:, None])).any(1)
    found = when.masked_fill(~after, latest).argmin(1)
    return torch.where(after.any(1) & before, found, seen.shape[1])


class SITSChangeDate(SITSChange):
    """The date of the one change of each pixel, or none.

    Labels are days since 1970-01-01, 0 for none. Each frame votes for the state before or after
    the change (:func:`change_point_scores`); the dates are learned by cross-entropy, whatever
    *loss* says.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSChangeDate
        >>> task = SITSChangeDate(model='tempcnn', in_channels=3)
        >>> series = {
        ...     'image': torch.rand(2, 5, 3, 8, 8),
        ...     'acquisition_times': 86_400 * torch.arange(5).expand(2, 5),
        ...     'valid': torch.ones(2, 5, dtype=torch.bool),
        ... }
        >>> {key: tuple(value.shape) for key, value in task.predict_step(series, 0).items()}
        {'probability': (2, 8, 8), 'date': (2, 8, 8)}
    """

    main_scores = (*SITSChange.main_scores, 'DateMAE', 'DateWithin30', 'DateWithin90')

    def __init__(self, **kwargs: Any) -> None:
        """Initialize a new SITSChangeDate instance.

        Args:
            **kwargs: Arguments of the base class, :class:`~.change.SITSChange`.

        Raises:
            SITSError: If *task* is not 'binary', or an argument is out of its range.
        """
        super().__init__(**kwargs)
        if self.hparams['task'] != 'binary':
            raise SITSError("SITSChangeDate tells one change from none: set task to 'binary'")

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Scores of a batch, see :meth:`scores`; they are no classes to be ignored."""
        return self.scores(batch)

    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Raw scores of the dates.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            ``(B, T + 1, H, W)``, one for a change before each frame and the last for none.
        """
        frames = self.encoder.frame_features(self.encoder.series_of(batch))
        evidence = self.head(frames.flatten(0, 1), batch[IMAGE].shape[-2:])
        evidence = evidence.unflatten(0, frames.shape[:2])[:, :, 0]
        return change_point_scores(evidence, batch[ACQUISITION_TIMES], _seen(batch))

    def target(self, batch: dict[str, Any]) -> Tensor:
        """Frame ``(B, H, W)`` that is the first to show the change; T for none.

        Args:
            batch: A batch, see :mod:`torchgeo_sits.keys`.

        Raises:
            SITSError: If 0 counts as not labelled.
        """
        self.check_unchanged()
        date = batch[MASK].long() * _SECONDS_PER_DAY
        return first_frame_after(date, batch[ACQUISITION_TIMES], _seen(batch))

    def compare(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of a batch, and the pixels that have a label and that a frame saw."""
        scores, target, known = self(batch), self.target(batch), self._known(batch)
        return scores, scores.movedim(1, -1)[known], target[known]

    def _known(self, batch: dict[str, Any]) -> Tensor:
        """Pixels ``(B, H, W)`` that have a label of a date, and that a frame saw."""
        seen, ignored = _seen(batch).any(1), self.hparams['ignore_index']
        return seen if ignored is None else seen & (batch[MASK] != ignored)

    def loss_of(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of ``(P, K)`` scores and ``(P,)`` labels; 0 where P is."""
        if not len(labels):
            return super().loss_of(scores, labels)
        return cross_entropy(scores.float(), labels)

    def outcome(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of any change, and whether there was one."""
        last = scores.shape[1] - 1
        return 1 - scores.softmax(1)[:, last], (labels != last).long()

    def map_metrics(self) -> list[Metric]:
        """IoU and F1 of change, and errors of its dates."""
        return [ChangeScores(), ChangeDateScores()]

    def update_map_metrics(
        self, metrics: nn.ModuleList, batch: dict[str, Any], scores: Tensor
    ) -> None:
        """Count what changed, what was said to have, and when."""
        change: Any = metrics[0]
        dates: Any = metrics[1]
        found, truth, known = self.prediction(scores, batch), self.target(batch), self._known(batch)
        # A change that no frame could have shown is none.
        changed = truth != scores.shape[1] - 1
        change.update((found != 0)[known], changed[known])
        dates.update(found[known], torch.where(changed, batch[MASK].long(), 0)[known])

    def prediction(self, scores: Tensor, batch: dict[str, Any]) -> Tensor:
        """Predicted date of the change.

        Args:
            scores: As :meth:`scores` gives them.
            batch: The batch they are of.

        Returns:
            ``(B, H, W)`` int64, days since 1970-01-01 of the first frame that shows the change,
            0 for none, as labels are.
        """
        times = batch[ACQUISITION_TIMES] // _SECONDS_PER_DAY
        times = torch.cat([times, torch.zeros_like(times[:, :1])], 1)
        best = scores.argmax(1)
        return times.gather(1, best.flatten(1)).view_as(best)

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Probability of any change, and its date.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.

        Returns:
            A dictionary of ``probability`` ``(B, H, W)`` and ``date`` ``(B, H, W)``, as
            :meth:`prediction` gives it.
        """
        scores = self(batch)
        any_change = 1 - scores.softmax(1)[:, -1]
        found = {'probability': any_change, 'date': self.prediction(scores, batch)}
        if not self.encoder.s1_channels:
            return found
        # Dates are those of optical frames: what Sentinel-1 alone saw has none, and is no data.
        unseen = ~_seen(batch).any(1)
        return {k: v.float().masked_fill(unseen, torch.nan) for k, v in found.items()}

    def map_outputs(self) -> list[MapOutput]:
        """Maps of change, its date and its probability."""
        key = 'probability'
        return [
            ChangeMap('change', key),
            ChangeDate('change_date', 'date'),
            Probabilities('change_probability', key, ['change']),
        ]


def _seen(batch: dict[str, Any]) -> Tensor:
    """Pixels that each frame saw, ``(B, T, H, W)`` bool."""
    valid = batch[VALID][:, :, None, None]
    b, t, _, h, w = batch[IMAGE].shape
    return valid & batch[MASK_CLEAR] if MASK_CLEAR in batch else valid.expand(b, t, h, w)

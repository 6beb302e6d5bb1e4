"""Classes of data by the numbers that a checkpoint has for them: names decide."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SITSError

__all__ = ['ClassOrder']


@dataclass(frozen=True)
class ClassOrder:
    """Numbers of the same classes in data and in a task that was trained on other data.

    Attributes:
        data: Numbers of the classes in the data.
        task: Their numbers in the task.
        unlabelled: Number in the data of what is not labelled, None where all is.
        ignored: That of the task.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import ClassOrder
        >>> order = ClassOrder.of(
        ...     ['unlabelled', 'wheat', 'maize'], ['maize', 'wheat'], unlabelled=255, ignored=0
        ... )
        >>> order.to_task(torch.tensor([0, 1, 255]))
        tensor([2, 1, 0])
        >>> order.to_data(torch.tensor([2, 1, 0]))
        tensor([  0,   1, 255])
    """

    data: tuple[int, ...]
    task: tuple[int, ...]
    unlabelled: int | None
    ignored: int | None

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        found: Sequence[str],
        *,
        unlabelled: int | None,
        ignored: int | None,
    ) -> 'ClassOrder | None':
        """Match classes by their names.

        Args:
            names: Names of the classes of the task, by number.
            found: Names of those of the data, by number.
            unlabelled: Number in the data of what is not labelled.
            ignored: Number in the task of what is not labelled.

        Returns:
            Their numbers, or None where these are the same.

        Raises:
            SITSError: If the data has a class that the task does not know.
        """
        data = [i for i in range(len(found)) if i != unlabelled]
        own = [name for i, name in enumerate(names) if i != ignored]
        if strange := [found[i] for i in data if found[i] not in own]:
            raise SITSError(
                f'the data has the classes {strange}, but the checkpoint tells {own} apart: name '
                'the classes of the data as the checkpoint does (labels.classes), leave those it '
                'does not know out, or train with these labels'
            )
        task = [names.index(found[i]) for i in data]
        if data == task and unlabelled == ignored:
            return None
        return cls(tuple(data), tuple(task), unlabelled, ignored)

    def to_task(self, values: Tensor) -> Tensor:
        """Turn numbers ``(...)`` of the data into those of the task; others stay."""
        return _renumber(values, (*self.data, self.unlabelled), (*self.task, self.ignored))

    def to_data(self, values: Tensor) -> Tensor:
        """Turn numbers ``(...)`` of the task into those of the data; others stay."""
        return _renumber(values, (*self.task, self.ignored), (*self.data, self.unlabelled))


def _renumber(values: Tensor, before: Sequence[int | None], after: Sequence[int | None]) -> Tensor:
    """Replace numbers by others, all at once."""
    found = values
    for old, new in zip(before, after, strict=True):
        if old is not None and new is not None:
            found = torch.where(values == old, new, found)
    return found

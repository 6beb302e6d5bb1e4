"""Values of labels: what they are in files, and what they become in masks."""

import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SITSError
from ..frames import LARGEST, within_range

__all__ = ['LabelValues', 'as_number', 'list_some', 'require_in_range']


@dataclass(frozen=True)
class LabelValues:
    """Values of labels in files, and those of a mask that they become.

    Args:
        unlabelled: Value in a mask of classes of what is not labelled.
        classes: Values in the files and the names of their classes; None takes values as
            they are. A key that is spelled like a whole number is one.
        kind: Whether labels are classes, or values that were measured. Masks of these are
            float32, NaN where there is none.

    Raises:
        SITSError: If *classes* is empty, or names a value twice.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.datasets.labels import LabelValues
        >>> values = LabelValues(classes={1110: 'winter wheat', 1200: 'maize'})
        >>> values.names
        ['unlabelled', 'winter wheat', 'maize']
        >>> found = torch.tensor([[1200.0, 7.0, 1110.0]])
        >>> values.encode(found, missing=torch.zeros(1, 3, dtype=torch.bool))
        tensor([[2, 0, 1]])
    """

    unlabelled: int = 0
    classes: Mapping[int, str] | Mapping[str, str] | None = None
    kind: Literal['class', 'value'] = 'class'

    def __post_init__(self) -> None:
        if self.classes is None:
            return
        if not self.classes:
            raise SITSError(
                'classes={} names no class: give values of the labels and their names, '
                "such as {1110: 'winter wheat', 1200: 'maize'}, or leave classes out"
            )
        classes = {as_number(key): name for key, name in self.classes.items()}
        if len(classes) < len(self.classes):
            raise SITSError(f'labels.classes={dict(self.classes)} names a value twice')
        object.__setattr__(self, 'classes', classes)

    @property
    def missing(self) -> float:
        """Value in masks of what is not labelled: NaN where labels are values."""
        return math.nan if self.kind == 'value' else self.unlabelled

    @property
    def positions(self) -> dict[int | str, int] | None:
        """Values in the mask by values in the files; None where they are the same."""
        if self.classes is None:
            return None
        free = (i for i in range(len(self.classes) + 1) if i != self.unlabelled)
        return dict(zip(self.classes, free, strict=False))

    @property
    def names(self) -> list[str] | None:
        """Names by value of the mask, from 0; None where they are not known."""
        if self.classes is None:
            return None
        names = list(self.classes.values())
        if 0 <= self.unlabelled < len(names):
            names.insert(self.unlabelled, 'unlabelled')
        return names

    @property
    def codes(self) -> list[int | None] | None:
        """Values in the files by value of the mask, from 0.

        None for what is not labelled; None in all where values are text, or those of the mask.
        """
        if self.classes is None or any(isinstance(value, str) for value in self.classes):
            return None
        codes: list[int | None] = [int(value) for value in self.classes]
        if 0 <= self.unlabelled < len(codes):
            codes.insert(self.unlabelled, None)
        return codes

    def known(self, mask: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Find what is labelled in a mask."""
        found: NDArray[np.bool_]
        found = ~np.isnan(mask) if self.kind == 'value' else mask != self.unlabelled
        return found

    def encode(self, values: Tensor, missing: Tensor) -> Tensor:
        """Turn values of rasters into those of the mask.

        Args:
            values: ``(..., H, W)`` float64, of classes whole numbers where not missing.
            missing: ``(..., H, W)`` bool, what the rasters call no data.

        Returns:
            ``(..., H, W)`` int64, of measured values float32.
        """
        if self.kind == 'value':
            return values.float().masked_fill(missing, math.nan)
        whole = values.masked_fill(missing, self.unlabelled).long()
        if self.positions is None:
            return whole
        mask = torch.full_like(whole, self.unlabelled)
        for value, position in self.positions.items():
            mask[(whole == value) & ~missing] = position
        return mask

    def check_found(self, found: Collection[int | str], source: str) -> None:
        """Hold all values of the files against the classes.

        Values that are no class are named in one warning, and so are classes of text that do
        not occur; of numbers some may be kept for other places.

        Args:
            found: All values in the files.
            source: What holds them, for messages.

        Raises:
            SITSError: If no class occurs.
        """
        if self.classes is None:
            return
        wrong = [key for key in self.classes if key not in set(found)]
        # A number may be kept for another place; a text that occurs nowhere is misspelt.
        texts = [key for key in wrong if isinstance(key, str)]
        if len(wrong) == len(self.classes):
            held = sorted(set(found) - {self.unlabelled}, key=_by_kind)
            raise SITSError(
                f'labels.classes lists {list_some(wrong)}, {source} hold none of these but '
                f'{list_some(held) if held else "no label at all"}{_nearest(str(wrong[0]), found)}'
            )
        if texts:
            warnings.warn(
                f'labels.classes lists {list_some(texts)}, which {source} do not hold'
                f'{_nearest(texts[0], found)}',
                UserWarning,
                stacklevel=2,
            )
        others = sorted(set(found) - set(self.classes) - {self.unlabelled}, key=_by_kind)
        if others:
            warnings.warn(
                f'{source} hold the values {list_some(others)}, which classes does not list: they '
                'count as not labelled',
                UserWarning,
                stacklevel=2,
            )


def require_in_range(values: NDArray[np.float64], source: str) -> None:
    """Refuse measured values that no measurement can be, but for those that are not finite.

    Args:
        values: The values.
        source: What holds them, for messages.

    Raises:
        SITSError: If one is beyond :data:`~torchgeo_sits.datasets.frames.LARGEST`.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.labels.values import require_in_range
        >>> require_in_range(np.array([7.5, np.nan]), 'labels.column=yield')
    """
    large = values[np.isfinite(values) & ~within_range(values)]
    if len(large):
        raise SITSError(
            f'{source} holds the value {large[0]:g}, and no measurement is beyond {LARGEST:g}: if '
            'it means no data, write it into the file as that, or leave it out'
        )


def list_some(items: Collection[object], most: int = 10) -> str:
    """Write the first few of *items* as a list, and count the others."""
    shown = ', '.join(repr(item) for item in list(items)[:most])
    return f'[{shown}]' if len(items) <= most else f'[{shown}, ...] ({len(items)} in all)'


def as_number(key: int | str) -> int | str:
    """A whole number where a key is spelled like one."""
    try:
        return int(key) if str(int(key)) == str(key) else str(key)
    except ValueError:
        return key


def _by_kind(value: int | str) -> tuple[bool, int | str]:
    """Key to sort numbers before text."""
    return isinstance(value, str), value


def _nearest(name: str, among: Collection[object]) -> str:
    """Say which of some names is like *name*."""
    like = get_close_matches(name, [str(other) for other in among], 1)
    return f": did you mean '{like[0]}'?" if like else ''

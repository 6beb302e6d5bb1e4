"""What the values of label rasters mean: classes by position, and what is not labelled."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

__all__ = ['LabelValues', 'values_in']

#: Pixels of a raster that are read at a time.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class LabelValues:
    """How the values of label rasters become those of a mask.

    Args:
        unlabelled: Value in the mask of what is not labelled.
        classes: Values in the rasters and the names of their classes; None takes values as
            they are.

    Raises:
        ValueError: If *classes* is empty.
    """

    unlabelled: int = 0
    classes: Mapping[int, str] | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and not self.classes:
            raise ValueError(
                'classes={} names no class: give values of the label rasters and their names, '
                "such as {1110: 'winter wheat', 1200: 'maize'}, or leave classes out"
            )

    @property
    def positions(self) -> dict[int, int] | None:
        """Value in the mask of each value in the rasters; None where they are the same."""
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

    def encode(self, values: Tensor, missing: Tensor) -> Tensor:
        """Values of the mask for values of the rasters.

        Args:
            values: ``(..., H, W)`` float64, whole numbers where not missing.
            missing: ``(..., H, W)`` bool, what the rasters call no data.

        Returns:
            ``(..., H, W)`` int64.
        """
        whole = values.masked_fill(missing, self.unlabelled).long()
        if self.positions is None:
            return whole
        mask = torch.full_like(whole, self.unlabelled)
        for value, position in self.positions.items():
            mask[(whole == value) & ~missing] = position
        return mask

    def warn_of_others(self, found: Iterable[int]) -> None:
        """Name the values that are no class, once for all rasters.

        Args:
            found: All values in the rasters.
        """
        if self.classes is None:
            return
        others = sorted(set(found) - set(self.classes) - {self.unlabelled})
        if others:
            warnings.warn(
                f'the label rasters hold the values {others}, which classes does not list: they '
                'count as not labelled',
                UserWarning,
                stacklevel=4,
            )


def values_in(files: Iterable[str]) -> NDArray[np.float64]:
    """All values in the first band of rasters, but for no data, read a strip at a time.

    Args:
        files: Paths of rasters.

    Returns:
        ``(V,)``, ascending.
    """
    found = np.zeros(0)
    for path in files:
        with rasterio.open(path) as file:
            rows = max(1, _CHUNK // file.width)
            for top in range(0, file.height, rows):
                strip = Window(0, top, file.width, min(rows, file.height - top))
                values = file.read(1, window=strip, masked=True).compressed()
                found = np.union1d(found, values[np.isfinite(values)])
    return found

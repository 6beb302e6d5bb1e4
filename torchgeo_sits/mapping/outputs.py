"""What is drawn of predictions: the bands of the rasters that a task gives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from ..errors import SITSError

__all__ = [
    'ChangeDate',
    'ChangeMap',
    'ClassMap',
    'Embedding',
    'MapOutput',
    'Probabilities',
    'QuantisedEmbedding',
]

type Values = NDArray[np.float32]
type Colour = tuple[int, int, int, int]

#: Byte that means no data in maps of classes, and its colour.
_NO_CLASS = 255
_CLEAR: Colour = (0, 0, 0, 0)


class MapOutput(ABC):
    """One raster that is made of the values of a task.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Which of the values of the task it is made of.
    """

    #: Type of a pixel, what means no data, and how overviews are made.
    dtype: ClassVar[str] = 'float32'
    nodata: ClassVar[float] = float('nan')
    resampling: ClassVar[Literal['nearest', 'average']] = 'average'
    #: Whether the values are those of one window, because means of several mean nothing.
    is_picked: ClassVar[bool] = False

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key

    @abstractmethod
    def bands(self, channels: int) -> list[str]:
        """Descriptions of the bands.

        Args:
            channels: Number of channels of the values.
        """

    @abstractmethod
    def draw(self, values: Values) -> NDArray[Any]:
        """Pixels of a block.

        Args:
            values: ``(C, h, w)`` float32, NaN where nothing was observed.

        Returns:
            ``(bands, h, w)``.
        """

    def colours(self) -> dict[int, Colour] | None:
        """Colour of each value of a raster of one byte; None where there are none."""
        return None

    def scales(self) -> tuple[list[float], list[float]] | None:
        """Scale and offset of each band; None where pixels are the values themselves."""
        return None

    def tags(self) -> dict[str, str]:
        """Tags of the raster."""
        return {}


class ClassMap(MapOutput):
    """The class with the largest probability.

    Args:
        name: Name of the raster.
        key: Which values are the probabilities.
        classes: Names of the classes, from 0.

    Raises:
        SITSError: If there are more classes than a byte tells apart.
    """

    dtype: ClassVar[str] = 'uint8'
    nodata: ClassVar[float] = _NO_CLASS
    resampling: ClassVar[Literal['nearest', 'average']] = 'nearest'

    def __init__(self, name: str, key: str, classes: Sequence[str]) -> None:
        super().__init__(name, key)
        if len(classes) > _NO_CLASS:
            raise SITSError(f'maps hold up to {_NO_CLASS} classes, got {len(classes)}')
        self.classes = list(classes)

    def bands(self, channels: int) -> list[str]:
        """One band."""
        return [self.name]

    def draw(self, values: Values) -> NDArray[Any]:
        """Classes ``(1, h, w)`` of probabilities ``(K, h, w)``, or of that of class 1 alone."""
        seen = np.isfinite(values[0])
        found = values[0] > 0.5 if len(values) == 1 else np.nan_to_num(values).argmax(0)
        return np.where(seen, found, _NO_CLASS).astype(np.uint8)[None]

    def colours(self) -> dict[int, Colour]:
        """Colours that are told apart, and none for no data."""
        palette = colormaps['tab20'].colors  # type: ignore[attr-defined]
        # Dark ones first, then their pale twins.
        order = [*palette[::2], *palette[1::2]]
        found: dict[int, Colour] = {_NO_CLASS: _CLEAR}
        for i in range(len(self.classes)):
            red, green, blue = (round(255 * c) for c in order[i % len(order)])
            found[i] = red, green, blue, 255
        return found

    def tags(self) -> dict[str, str]:
        """Names of the classes."""
        return {f'CLASS_{i}': name for i, name in enumerate(self.classes)}


class ChangeMap(ClassMap):
    """Where the probability of change is above one half: 1, else 0."""

    def __init__(self, name: str, key: str) -> None:
        super().__init__(name, key, ['no change', 'change'])

    def colours(self) -> dict[int, Colour]:
        """Grey where nothing changed, red where something did."""
        return {0: (225, 225, 225, 255), 1: (200, 30, 30, 255), _NO_CLASS: _CLEAR}


class Probabilities(MapOutput):
    """Probability of each class, a band each.

    Args:
        name: Name of the raster.
        key: Which values are the probabilities.
        classes: Names of the bands.
    """

    def __init__(self, name: str, key: str, classes: Sequence[str]) -> None:
        super().__init__(name, key)
        self.classes = list(classes)

    def bands(self, channels: int) -> list[str]:
        """Names of the classes."""
        return [f'probability of {name}' for name in self.classes]

    def draw(self, values: Values) -> NDArray[Any]:
        """The values ``(K, h, w)`` themselves."""
        return values


class ChangeDate(MapOutput):
    """Day of the change, in days since 1970-01-01; 0 where nothing changed."""

    dtype: ClassVar[str] = 'int32'
    nodata: ClassVar[float] = -1
    resampling: ClassVar[Literal['nearest', 'average']] = 'nearest'
    is_picked: ClassVar[bool] = True

    def bands(self, channels: int) -> list[str]:
        """One band, with its unit."""
        return ['date of change in days since 1970-01-01, 0 for none']

    def draw(self, values: Values) -> NDArray[Any]:
        """Days ``(1, h, w)``."""
        return np.where(np.isfinite(values), np.nan_to_num(values), self.nodata).astype(np.int32)


class Embedding(MapOutput):
    """Features as they are, a band each."""

    def bands(self, channels: int) -> list[str]:
        """Numbers of the features."""
        return [f'feature {i}' for i in range(channels)]

    def draw(self, values: Values) -> NDArray[Any]:
        """The values ``(D, h, w)`` themselves."""
        return values


class QuantisedEmbedding(Embedding):
    """Features in a byte each, with the scale and offset by which software gets them back.

    A band holds ``1 + round((value - offset) / scale)``, and 0 for no data; the offset that is
    written with it is one scale lower. Both span what occurs in the map: no feature is off by
    more than 1/508 of its range.
    """

    dtype: ClassVar[str] = 'uint8'
    nodata: ClassVar[float] = 0
    _span: tuple[Values, Values] | None = None

    def measure(self, values: Values) -> None:
        """Widen the range by a block ``(D, h, w)``; all are, before the first is drawn."""
        seen = values[:, np.isfinite(values[0])]
        if not seen.size:
            return
        low, high = seen.min(1), seen.max(1)
        if self._span is not None:
            low, high = np.minimum(self._span[0], low), np.maximum(self._span[1], high)
        self._span = low, high

    def draw(self, values: Values) -> NDArray[Any]:
        """Bytes ``(D, h, w)``."""
        low, scale = self._levels()
        level = np.rint((values - low[:, None, None]) / scale[:, None, None])
        return np.where(np.isfinite(values), 1 + np.nan_to_num(level), 0).astype(np.uint8)

    def scales(self) -> tuple[list[float], list[float]]:
        """Scale and offset, so that ``byte * scale + offset`` is the value."""
        low, scale = self._levels()
        return scale.tolist(), (low - scale).tolist()

    def _levels(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest value and step of each feature ``(D,)``."""
        if self._span is None:
            raise SITSError(
                f'{self.name}: nothing was observed in the whole area, so that no feature has a '
                'range: see whether the images and cloud masks are those you mean'
            )
        low, high = (side.astype(np.float64) for side in self._span)
        return low, np.where(high > low, (high - low) / 254, 1.0)

"""Map outputs: the rasters that are drawn from the predictions of a task."""

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
    'ValueMap',
]

type Values = NDArray[np.float32]
type Colour = tuple[int, int, int, int]

#: Byte that means no data in maps of classes, and its colour.
_NO_CLASS = 255
_CLEAR: Colour = (0, 0, 0, 0)


class MapOutput(ABC):
    """Raster that is drawn from the predictions of a task.

    A subclass with defaults for *name* and *key* is asked for by its dotted path, beside the
    maps that the task gives: ``torchgeo-sits predict --map.outputs my.package.Entropy``.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the predicted values that it is drawn from: ``'probabilities'`` of tasks
            with labels, ``'probability'`` and ``'date'`` of dates of change, ``'embedding'`` of
            pretrainings.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.mapping import MapOutput
        >>> class Confidence(MapOutput):
        ...     def __init__(self, name='confidence', key='probabilities'):
        ...         super().__init__(name, key)
        ...
        ...     def bands(self, channels):
        ...         return ['largest probability']
        ...
        ...     def draw(self, values):
        ...         return values.max(0, keepdims=True)
        >>> Confidence().draw(np.array([[[0.25]], [[0.75]]])).tolist()
        [[[0.75]]]
    """

    #: NumPy name of the type of a pixel.
    dtype: ClassVar[str] = 'float32'
    #: Pixel that means no data.
    nodata: ClassVar[float] = float('nan')
    #: Resampling of the overviews.
    resampling: ClassVar[Literal['nearest', 'average']] = 'average'
    #: Whether one window gives the values where several overlap, for values whose mean is none
    #: of them, such as dates.
    is_picked: ClassVar[bool] = False

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key

    @abstractmethod
    def bands(self, channels: int) -> list[str]:
        """Describe the bands.

        Args:
            channels: Number of channels of the values.

        Returns:
            A description of each band.
        """

    @abstractmethod
    def draw(self, values: Values) -> NDArray[Any]:
        """Draw the pixels of a block.

        Args:
            values: ``(C, h, w)`` float32, NaN where nothing was observed.

        Returns:
            ``(bands, h, w)`` of type *dtype*, *nodata* where nothing was observed.
        """

    def colours(self) -> dict[int, Colour] | None:
        """Colours of the values of a raster of one byte, or None."""
        return None

    def scales(self) -> tuple[list[float], list[float]] | None:
        """Scales and offsets of the bands, or None where pixels are the values themselves."""
        return None

    def tags(self) -> dict[str, str]:
        """Tags of the raster."""
        return {}


class ClassMap(MapOutput):
    """Map of the class with the largest probability, a byte per pixel.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values that are the probabilities.
        classes: Names of the classes, from 0.

    Raises:
        SITSError: If there are more than 255 classes.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.mapping import ClassMap
        >>> output = ClassMap('class', 'probabilities', ['wheat', 'maize'])
        >>> output.draw(np.array([[[0.2, 0.9, np.nan]], [[0.8, 0.1, np.nan]]])).tolist()
        [[[1, 0, 255]]]
        >>> output.tags()
        {'CLASS_0': 'wheat', 'CLASS_1': 'maize'}
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
        """Name the band."""
        return [self.name]

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw classes ``(1, h, w)`` from probabilities ``(K, h, w)``, or of class 1 alone."""
        seen = np.isfinite(values[0])
        found = values[0] > 0.5 if len(values) == 1 else np.nan_to_num(values).argmax(0)
        return np.where(seen, found, _NO_CLASS).astype(np.uint8)[None]

    def colours(self) -> dict[int, Colour]:
        """Distinct colours for the classes, and none for no data."""
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
    """Map of change: 1 where its probability is above one half, else 0.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values that are the probability of change.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.mapping import ChangeMap
        >>> ChangeMap('change', 'probability').draw(np.array([[[0.2, 0.9, np.nan]]])).tolist()
        [[[0, 1, 255]]]
    """

    def __init__(self, name: str, key: str) -> None:
        super().__init__(name, key, ['no change', 'change'])

    def colours(self) -> dict[int, Colour]:
        """Grey for no change, red for change."""
        return {0: (225, 225, 225, 255), 1: (200, 30, 30, 255), _NO_CLASS: _CLEAR}


class Probabilities(MapOutput):
    """Probabilities of the classes, a band each.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values that are the probabilities.
        classes: Names of the classes, from 0.

    Examples:
        >>> from torchgeo_sits.mapping import Probabilities
        >>> Probabilities('probabilities', 'probabilities', ['wheat', 'maize']).bands(2)
        ['probability of wheat', 'probability of maize']
    """

    def __init__(self, name: str, key: str, classes: Sequence[str]) -> None:
        super().__init__(name, key)
        self.classes = list(classes)

    def bands(self, channels: int) -> list[str]:
        """Names of the classes."""
        return [f'probability of {name}' for name in self.classes]

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw the values ``(K, h, w)`` as they are."""
        return values


class ChangeDate(MapOutput):
    """Map of the day of a change in days since 1970-01-01, 0 for no change.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values that are the days.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.mapping import ChangeDate
        >>> ChangeDate('change_date', 'date').draw(np.array([[[18628, 0, np.nan]]])).tolist()
        [[[18628, 0, -1]]]
    """

    dtype: ClassVar[str] = 'int32'
    nodata: ClassVar[float] = -1
    resampling: ClassVar[Literal['nearest', 'average']] = 'nearest'
    is_picked: ClassVar[bool] = True

    def bands(self, channels: int) -> list[str]:
        """Name the band, with its unit."""
        return ['date of change in days since 1970-01-01, 0 for none']

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw days ``(1, h, w)``."""
        return np.where(np.isfinite(values), np.nan_to_num(values), self.nodata).astype(np.int32)


class ValueMap(MapOutput):
    """Map of a measured value, in its unit.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values.
        unit: Unit of the values, for the description of the band.

    Examples:
        >>> from torchgeo_sits.mapping import ValueMap
        >>> ValueMap('value', 'value', 't/ha').bands(1)
        ['value in t/ha']
    """

    def __init__(self, name: str, key: str, unit: str | None = None) -> None:
        super().__init__(name, key)
        self.unit = unit

    def bands(self, channels: int) -> list[str]:
        """Name the band, with its unit where it is known."""
        return [self.name if self.unit is None else f'{self.name} in {self.unit}']

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw the values ``(1, h, w)`` as they are."""
        return values


class Embedding(MapOutput):
    """Features of an embedding as they are, a band each.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values that are the embedding.

    Examples:
        >>> from torchgeo_sits.mapping import Embedding
        >>> Embedding('embedding', 'embedding').bands(2)
        ['feature 0', 'feature 1']
    """

    def bands(self, channels: int) -> list[str]:
        """Numbers of the features."""
        return [f'feature {i}' for i in range(channels)]

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw the values ``(D, h, w)`` as they are."""
        return values


class MeasuredOutput(MapOutput):
    """A map whose drawing rests on the values of the whole area, seen block by block before.

    Examples:
        >>> from torchgeo_sits.mapping import MeasuredOutput, QuantisedEmbedding
        >>> isinstance(QuantisedEmbedding('embedding', 'embedding'), MeasuredOutput)
        True
    """

    @abstractmethod
    def measure(self, values: Values) -> None:
        """Look at a block before any is drawn.

        Args:
            values: ``(C, h, w)`` float32, NaN where nothing was observed.
        """


class QuantisedEmbedding(Embedding, MeasuredOutput):
    """Features of an embedding in a byte each, with the scale and offset to restore them.

    A band holds ``1 + round((value - offset) / scale)``, and 0 for no data; the offset that is
    written with it is one scale lower. Both span the values of the whole map: no feature is off
    by more than 1/508 of its range.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values that are the embedding.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.mapping import QuantisedEmbedding
        >>> output = QuantisedEmbedding('embedding', 'embedding')
        >>> values = np.array([[[-1.0, 0.0, 1.0, np.nan]]], np.float32)
        >>> output.measure(values)
        >>> output.draw(values).tolist()
        [[[1, 128, 255, 0]]]
    """

    dtype: ClassVar[str] = 'uint8'
    nodata: ClassVar[float] = 0
    _span: tuple[Values, Values] | None = None

    def measure(self, values: Values) -> None:
        """Widen the range of each feature by a block ``(D, h, w)``."""
        seen = values[:, np.isfinite(values[0])]
        if not seen.size:
            return
        low, high = seen.min(1), seen.max(1)
        if self._span is not None:
            low, high = np.minimum(self._span[0], low), np.maximum(self._span[1], high)
        self._span = low, high

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw bytes ``(D, h, w)``."""
        low, scale = self._levels()
        level = np.rint((values - low[:, None, None]) / scale[:, None, None])
        return np.where(np.isfinite(values), 1 + np.nan_to_num(level), 0).astype(np.uint8)

    def scales(self) -> tuple[list[float], list[float]]:
        """Scales and offsets, so that ``byte * scale + offset`` is the value."""
        low, scale = self._levels()
        return scale.tolist(), (low - scale).tolist()

    def _levels(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest value and step of each feature ``(D,)``."""
        if self._span is None:
            raise SITSError(
                f'{self.name}: nothing was observed in the whole area, so that no feature has a '
                'range: check the images and cloud masks'
            )
        low, high = (side.astype(np.float64) for side in self._span)
        return low, np.where(high > low, (high - low) / 254, 1.0)

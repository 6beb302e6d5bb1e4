"""Map outputs: the rasters that are drawn from the predictions of a task."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
from matplotlib import color_sequences
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from ..errors import SITSError
from ..sidecars import LegendEntry
from ..time_steps import DaySpan

__all__ = [
    'Certainty',
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

#: Colour of no data.
_CLEAR: Final[Colour] = (0, 0, 0, 0)
#: Most classes of a map.
_MOST_CLASSES: Final = 255
#: Types of pixels that GDAL makes polygons of, smallest first.
_TYPES: Final = ('uint8', 'uint16', 'int16', 'int32')


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
    dtype: str = 'float32'
    #: Pixel that means no data.
    nodata: float = float('nan')
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
    """Map of the class with the largest probability.

    A pixel holds the code of its class where the classes have codes, else its number; the type is
    the smallest that holds them and a value for no data.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values that are the probabilities.
        classes: Names of the classes, from 0.
        codes: Number that each class has for the user; without one for each they have none.
        colours: Colour of each class as matplotlib reads it; None takes one from a palette.
        unlabelled: Number of a class that is never predicted, and left out.

    Attributes:
        classes: Names of the classes that may occur.
        values: What a pixel of each of these holds.
        numbers: Their numbers from 0, in *classes* as given.
        codes: Their codes, which are their numbers where they have none.

    Raises:
        SITSError: If there are more than 255 classes, or two of one code, or a code that no
            raster holds.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.mapping import ClassMap
        >>> output = ClassMap('class', 'probabilities', ['wheat', 'maize'], codes=[1110, 1200])
        >>> output.draw(np.array([[[0.2, 0.9, np.nan]], [[0.8, 0.1, np.nan]]])).tolist()
        [[[1200, 1110, 65535]]]
        >>> output.tags()
        {'CLASS_1110': 'wheat', 'CLASS_1200': 'maize'}
        >>> output.numbered().tags()
        {'CLASS_0': 'wheat', 'CLASS_1': 'maize'}
    """

    resampling: ClassVar[Literal['nearest', 'average']] = 'nearest'

    def __init__(
        self,
        name: str,
        key: str,
        classes: Sequence[str],
        *,
        codes: Sequence[int | None] | None = None,
        colours: Sequence[str | None] | None = None,
        unlabelled: int | None = None,
    ) -> None:
        super().__init__(name, key)
        if len(classes) > _MOST_CLASSES:
            raise SITSError(f'maps hold up to {_MOST_CLASSES} classes, got {len(classes)}')
        self.numbers = _left(len(classes), unlabelled)
        self.classes = [classes[i] for i in self.numbers]
        own = [] if codes is None else [codes[i] for i in self.numbers]
        known = [code for code in own if code is not None]
        if len(set(known)) < len(known):
            raise SITSError(
                f'two classes of the map {name!r} have one code, got {known}: give each its own'
            )
        self.codes = known if len(known) == len(self.classes) else self.numbers
        palette = _palette(len(self.classes))
        given = [None] * len(palette) if colours is None else [colours[i] for i in self.numbers]
        self.palette: list[Colour] = [
            _bytes(colour or other) for colour, other in zip(given, palette, strict=True)
        ]
        self._hold(self.codes)

    def _hold(self, values: list[int]) -> None:
        """Take the values of pixels, and a type for them."""
        self.values = values
        self.dtype, self.nodata = _type_of(values, self.name)

    def numbered(self) -> Self:
        """Copy this map with the numbers of the classes as its values."""
        other = copy(self)
        other._hold(self.numbers)
        return other

    def bands(self, channels: int) -> list[str]:
        """Name the band."""
        return [self.name]

    def choose(self, values: Values) -> NDArray[np.int64]:
        """Choose among *classes*: their positions ``(h, w)``, -1 where nothing was observed.

        Args:
            values: Probabilities ``(K, h, w)``, or of class 1 alone; NaN where not observed.
        """
        seen = np.isfinite(values[0])
        if len(values) == 1:
            found = (values[0] > 0.5).astype(np.int64)
        else:
            found = np.nan_to_num(values[self.numbers]).argmax(0)
        return np.where(seen, found, -1)

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw classes ``(1, h, w)`` from probabilities ``(K, h, w)``, or of class 1 alone."""
        return np.array([*self.values, self.nodata], self.dtype)[self.choose(values)][None]

    def colours(self) -> dict[int, Colour] | None:
        """Colours of the classes, and none for no data; of larger values the legend has them."""
        if self.dtype != 'uint8':
            return None
        return {int(self.nodata): _CLEAR, **dict(zip(self.values, self.palette, strict=True))}

    def legend(self) -> list[LegendEntry]:
        """Values, names and colours of the classes."""
        found = zip(self.values, self.classes, self.palette, strict=True)
        return [LegendEntry(*entry) for entry in found]

    def tags(self) -> dict[str, str]:
        """Names of the classes."""
        return {f'CLASS_{v}': name for v, name in zip(self.values, self.classes, strict=True)}


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
        grey, red = '#e1e1e1', '#c81e1e'
        super().__init__(name, key, ['no change', 'change'], colours=[grey, red])


def _left(number: int, unlabelled: int | None) -> list[int]:
    """Numbers of the classes but for one."""
    return [i for i in range(number) if i != unlabelled]


def _palette(number: int) -> list[Any]:
    """Colours for so many classes: colour-blind readers, too, tell up to ten apart.

    These ten are Petroff's (https://arxiv.org/abs/2107.02270).
    """
    if number <= len(few := color_sequences['petroff10']):
        return list(few[:number])
    pairs = color_sequences['tab20']
    # Dark ones first, then their pale twins.
    many = [*pairs[::2], *pairs[1::2], *color_sequences['tab20b'], *color_sequences['tab20c']]
    return [many[i % len(many)] for i in range(number)]


def _bytes(colour: Any) -> Colour:
    """A colour as matplotlib reads it, in bytes; opaque."""
    red, green, blue = (round(255 * c) for c in to_rgb(colour))
    return red, green, blue, 255


def _type_of(values: Sequence[int], name: str) -> tuple[str, int]:
    """Smallest type for values, and the value that means no data."""
    for dtype in _TYPES:
        span = np.iinfo(dtype)
        free = [end for end in (span.max, span.min) if end not in values]
        if span.min <= min(values) and max(values) <= span.max and free:
            return dtype, int(free[0])
    raise SITSError(
        f'the codes of the map {name!r} go from {min(values)} to {max(values)}, and rasters of '
        'classes hold 32 bits: give --map.values classes'
    )


class Certainty(MapOutput):
    """Map of how certain a model is: the largest probability less the second largest.

    0 where two classes are as probable, 1 where one is certain. Active learning ranks what to
    label next by this margin, least first (Scheffer, Decomain and Wrobel 2001, "Active hidden
    Markov models for information extraction", https://doi.org/10.1007/3-540-44816-0_31). Where a
    model is overconfident, so is the map.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values that are the probabilities.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.mapping import Certainty
        >>> Certainty('certainty', 'p').draw(np.array([[[0.25]], [[0.75]], [[0.0]]])).tolist()
        [[[0.5]]]
    """

    def bands(self, channels: int) -> list[str]:
        """Say what the band holds."""
        return ['largest probability less the second largest']

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw margins ``(1, h, w)`` of probabilities ``(K, h, w)``, or of class 1 alone."""
        if len(values) == 1:
            return np.abs(2 * values - 1)
        second, first = np.partition(values, -2, axis=0)[-2:]
        return (first - second)[None]


class Probabilities(MapOutput):
    """Probabilities of the classes, a band each.

    Args:
        name: Name of the raster, without the suffix of its file.
        key: Name of the values that are the probabilities.
        classes: Names of the classes, from 0.
        unlabelled: Number of a class that is never predicted, and left out.

    Attributes:
        classes: Names of the classes that have a band.

    Examples:
        >>> from torchgeo_sits.mapping import Probabilities
        >>> names = ['unlabelled', 'wheat', 'maize']
        >>> Probabilities('probabilities', 'probabilities', names, unlabelled=0).bands(3)
        ['probability of wheat', 'probability of maize']
    """

    def __init__(
        self, name: str, key: str, classes: Sequence[str], *, unlabelled: int | None = None
    ) -> None:
        super().__init__(name, key)
        self._channels = _left(len(classes), unlabelled)
        self.classes = [classes[i] for i in self._channels]

    def bands(self, channels: int) -> list[str]:
        """Names of the classes."""
        return [f'probability of {name}' for name in self.classes]

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw the values ``(K, h, w)`` as they are."""
        return values if len(values) == len(self._channels) else values[self._channels]


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

    dtype: str = 'int32'
    nodata: float = -1
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
        span: Days of which it is, where it is one of several steps in time.

    Examples:
        >>> from torchgeo_sits.mapping import Embedding
        >>> Embedding('embedding', 'embedding').bands(2)
        ['feature 0', 'feature 1']
    """

    def __init__(self, name: str, key: str, *, span: DaySpan | None = None) -> None:
        super().__init__(name, key)
        self.span = span

    def bands(self, channels: int) -> list[str]:
        """Numbers of the features."""
        return [f'feature {i}' for i in range(channels)]

    def draw(self, values: Values) -> NDArray[Any]:
        """Draw the values ``(D, h, w)`` as they are."""
        return values

    def tags(self) -> dict[str, str]:
        """First and last day of a step in time."""
        if self.span is None:
            return {}
        return {'FIRST_DAY': str(self.span.first), 'LAST_DAY': str(self.span.last)}


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
        span: Days of which it is, where it is one of several steps in time. Of a step in which
            nothing was observed no feature has a range, and the map is empty.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.mapping import QuantisedEmbedding
        >>> output = QuantisedEmbedding('embedding', 'embedding')
        >>> values = np.array([[[-1.0, 0.0, 1.0, np.nan]]], np.float32)
        >>> output.measure(values)
        >>> output.draw(values).tolist()
        [[[1, 128, 255, 0]]]
    """

    dtype: str = 'uint8'
    nodata: float = 0
    _features: int = 0
    _range: tuple[Values, Values] | None = None

    def measure(self, values: Values) -> None:
        """Widen the range of each feature by a block ``(D, h, w)``."""
        seen = values[:, np.isfinite(values[0])]
        self._features = len(values)
        if not seen.size:
            return
        low, high = seen.min(1), seen.max(1)
        if self._range is not None:
            low, high = np.minimum(self._range[0], low), np.maximum(self._range[1], high)
        self._range = low, high

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
        if self._range is None and self.span is not None:
            return np.zeros(self._features), np.ones(self._features)
        if self._range is None:
            raise SITSError(
                f'{self.name}: nothing was observed in the whole area, so that no feature has a '
                'range: check the images and cloud masks'
            )
        low, high = (side.astype(np.float64) for side in self._range)
        return low, np.where(high > low, (high - low) / 254, 1.0)

"""Labels of points: classes from codes or names, or measured values."""

import warnings
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import SITSError
from ..labels.values import require_in_range

__all__ = ['UNLABELLED', 'PointLabels', 'encode_labels']

#: Class of a point that has none.
UNLABELLED: Final = -1
#: More different numbers than this are no classes.
_MOST: Final = 256


class PointLabels(NamedTuple):
    """Labels of N points.

    Attributes:
        values: Classes ``(N,)`` int64 from 0, :data:`UNLABELLED` for none; or ``(N,)`` float32,
            NaN for none.
        names: Names of the classes; None for values.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.points import PointLabels
        >>> labels = PointLabels(np.array([1, 0, -1]), ['maize', 'wheat'])
        >>> labels.known.tolist()
        [True, True, False]
    """

    values: NDArray[Any]
    names: list[str] | None

    @property
    def known(self) -> NDArray[np.bool_]:
        """Points that have a label, ``(N,)``."""
        return np.isfinite(self.values) if self.names is None else self.values != UNLABELLED

    @property
    def missing(self) -> float | int:
        """Value of a point without a label."""
        return float('nan') if self.names is None else UNLABELLED


def encode_labels(
    column: pd.Series,
    *,
    kind: Literal['class', 'value'] = 'class',
    classes: Mapping[int | str, str] | None = None,
    unlabelled: int | str | None = None,
    name: str = 'label',
) -> PointLabels:
    """Turn a column into labels.

    Args:
        column: A column with a value for each point.
        kind: Classes, or measured values.
        classes: Values of the column and the names of their classes, in their order; others are
            not labelled. None takes all: numbers and text in ascending order.
        unlabelled: Value that means not labelled, beside empty cells.
        name: Name of the column, for messages.

    Returns:
        The labels.

    Raises:
        SITSError: If the column holds no label, or numbers that are no classes.
    """
    values = column
    if unlabelled is not None:
        values = values.where(values.map(_code) != _code(unlabelled))
    if kind == 'value':
        if classes is not None:
            raise SITSError("labels.classes names classes: leave it out with labels.kind='value'")
        return _measured(values, name)
    labelled = values.dropna()
    if not len(labelled):
        raise SITSError(f'labels.column={name!r} holds no label: all of its cells are empty')
    if pd.api.types.is_float_dtype(labelled) and (labelled % 1 != 0).any():
        raise SITSError(
            f'labels.column={name!r} holds numbers such as {labelled[labelled % 1 != 0].iloc[0]}, '
            "which are no classes: set labels.kind='value' for a regression"
        )
    if classes is None:
        found = sorted(labelled.unique())
        if pd.api.types.is_numeric_dtype(labelled) and len(found) > _MOST:
            raise SITSError(
                f'labels.column={name!r} holds {len(found)} different numbers: set labels.kind='
                "'value' for a regression, or name its classes by labels.classes"
            )
        classes = {code: code for code in map(_code, found)}
    if not classes:
        raise SITSError('labels.classes={} names no class: leave it out, or name some')
    position = {_code(value): i for i, value in enumerate(classes)}
    codes, unique = pd.factorize(values)
    encoded = np.array([position.get(_code(value), UNLABELLED) for value in unique], np.int64)
    others = sorted(_code(value) for value in unique if _code(value) not in position)
    if len(others) == len(unique):
        raise SITSError(
            f'labels.classes={list(classes)} holds no value of labels.column={name!r}, whose '
            f'values are {others[:10]}'
        )
    if others:
        number = int(np.isin(codes, np.flatnonzero(encoded == UNLABELLED)).sum())
        warnings.warn(
            f'{number} points are of the values {others[:10]}{" ..." if len(others) > 10 else ""} '
            f'of {name!r}, which labels.classes does not list: they count as not labelled',
            UserWarning,
            stacklevel=2,
        )
    names = [str(called) for called in classes.values()]
    return PointLabels(np.append(encoded, UNLABELLED)[codes], names)


def _measured(values: pd.Series, name: str) -> PointLabels:
    """Labels of measured values."""
    numbers = pd.to_numeric(values, errors='coerce')
    odd = numbers.isna() & values.notna()
    if not np.isfinite(numbers.to_numpy(np.float64, na_value=np.nan)).any():
        shown = f', but {values[odd].iloc[0]!r}' if odd.any() else ''
        raise SITSError(f'labels.column={name!r} holds no number{shown}')
    if odd.any():
        warnings.warn(
            f'{int(odd.sum())} labels of {name!r} are no numbers, such as {values[odd].iloc[0]!r}: '
            'these points count as not labelled',
            UserWarning,
            stacklevel=3,
        )
    wide = numbers.to_numpy(np.float64, na_value=np.nan)
    require_in_range(wide, f'labels.column={name!r}')
    return PointLabels(np.where(np.isinf(wide), np.nan, wide).astype(np.float32), None)


def _code(value: Any) -> str:
    """A value of a column or an option as text: 3, 3.0 and '3' are one."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value)

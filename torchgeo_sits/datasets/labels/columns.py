"""Columns of labels: text that names classes, numbers of classes, or values."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from ...errors import SITSError
from .values import LabelValues, as_number, list_some, require_in_range

__all__ = ['LabelColumn']

#: Most classes, and the largest number of a class, that a column has without being told so.
_MOST, _LARGEST = 256, 65_535


class LabelColumn:
    """What the values of a column become in masks.

    Text brings its own classes, in the order of the alphabet; whole numbers are those of
    classes; either may be chosen and named by ``classes``. Values that were measured stay.

    Args:
        found: All values of the column, each once, by file.
        values: What is known of the labels.
        num_classes: Number of classes, counting 0; None does not check.
        source: What holds the column, for messages.

    Attributes:
        values: What is known of the labels, with the classes of a column of text.

    Raises:
        SITSError: If the column cannot be labels.

    Examples:
        >>> from collections import Counter
        >>> import pandas as pd
        >>> from torchgeo_sits.datasets.labels import LabelColumn, LabelValues
        >>> crops = pd.Series(['rye', 'maize', None])
        >>> column = LabelColumn({'a.gpkg': crops.dropna()}, LabelValues(), source='crop')
        >>> column.values.names, column.encode(crops, Counter())
        (['unlabelled', 'maize', 'rye'], array([ 2.,  1., nan]))
    """

    def __init__(
        self,
        found: dict[str, pd.Series],
        values: LabelValues,
        *,
        num_classes: int | None = None,
        source: str,
    ) -> None:
        self.source = source
        kinds = {path: _is_text(part, source) for path, part in found.items() if len(part)}
        if not kinds:
            raise SITSError(f'{source} is empty: choose a column with labels')
        if len(set(kinds.values())) > 1:
            text, number = (next(p for p, k in kinds.items() if k is t) for t in (True, False))
            raise SITSError(f"{source} holds text in '{text}' and numbers in '{number}'")
        self._text = next(iter(kinds.values()))
        all_values = pd.concat([self._clean(part) for part in found.values()])
        known = all_values.dropna().unique().tolist()
        if not known:
            raise SITSError(f'{source} is empty: choose a column with labels')
        if values.kind == 'value' and self._text:
            raise SITSError(
                f'{source} holds text such as {known[0]!r}: labels.kind=value needs numbers'
            )
        self.values = values
        #: All labels of the files, ascending.
        self.labels: list[int] = []
        if values.kind == 'class':
            self._find_classes(known, num_classes)
        else:
            require_in_range(np.asarray(known, np.float64), source)

    def encode(self, values: pd.Series, lost: Counter[str]) -> NDArray[np.float64]:
        """Turn values of the column into labels.

        Args:
            values: The values, ``(F,)``.
            lost: Counts features without a label, by what their value is.

        Returns:
            The label of each feature ``(F,)``, NaN where it has none.
        """
        cleaned = self._clean(values)
        lost['no value'] += int(cleaned.isna().sum())
        if self.values.kind == 'value':
            return cleaned.to_numpy(np.float64)
        positions = self.values.positions
        if positions is not None:
            keys = cleaned.dropna().map(lambda key: as_number(key) if self._text else int(key))
            return keys.map(positions).reindex(cleaned.index).to_numpy(np.float64)
        labels = cleaned.to_numpy(np.float64).copy()
        none = labels == self.values.unlabelled
        lost[f'the value {self.values.unlabelled}, which means not labelled'] += int(none.sum())
        labels[none] = math.nan
        return labels

    def _clean(self, values: pd.Series) -> pd.Series:
        """Values as text without blanks around, or as float64; missing ones as NaN."""
        values = values.reset_index(drop=True)
        if self._text:
            text = values.astype(object).where(values.notna(), '').astype(str).str.strip()
            return text.mask(text == '')
        numbers = pd.Series(values.to_numpy(np.float64, na_value=math.nan))
        return numbers.where(np.isfinite(numbers))

    def _find_classes(self, known: Sequence[str | float], num_classes: int | None) -> None:
        """Find the classes of the column, and hold them against those that were given."""
        if not self._text and (odd := [v for v in known if v != round(float(v))]):
            raise SITSError(
                f'{self.source} holds the number {odd[0]:g}: classes are whole numbers; for '
                'measurements set labels.kind=value'
            )
        codes = [as_number(str(v)) if self._text else int(v) for v in known]
        if self.values.classes is None:
            self._check_without_classes(known, codes, num_classes)
            if self._text:
                names = sorted(map(str, known))
                self.values = replace(self.values, classes={name: name for name in names})
        else:
            self.values.check_found(codes, self.source)
        positions = self.values.positions
        if positions is None:
            self.labels = sorted(set(codes) - {self.values.unlabelled})  # type: ignore[arg-type]
        else:
            self.labels = sorted(positions[code] for code in codes if code in positions)

    def _check_without_classes(
        self,
        known: Sequence[str | float],
        codes: Sequence[int | str],
        num_classes: int | None,
    ) -> None:
        """Refuse a column whose values are no classes by themselves."""
        advice = (
            'if these are classes, list them as labels.classes'
            if self._text
            else 'for measurements set labels.kind=value; if these are classes, list them as '
            'labels.classes'
        )
        if len(known) > _MOST:
            raise SITSError(
                f'{self.source} holds {len(known)} different values, such as '
                f'{list_some(known, 3)}, which looks like no column of classes: {advice}'
            )
        if self._text:
            if num_classes is not None:
                raise SITSError(
                    f'labels.num_classes={num_classes} follows from {self.source}, which is text: '
                    'leave it out'
                )
            return
        labels = [int(code) for code in codes if code != self.values.unlabelled]
        most = _LARGEST if num_classes is None else num_classes - 1
        if odd := [label for label in labels if not 0 <= label <= most]:
            zero = '' if self.values.unlabelled == 0 else f', or {self.values.unlabelled}'
            raise SITSError(
                f'{self.source} holds the label {odd[0]}, but labels are numbers from 0{zero} (not '
                f'labelled) to {most}: {advice}'
            )


def _is_text(values: pd.Series, source: str) -> bool:
    """Whether values are text, or else numbers; dates are refused."""
    if is_datetime64_any_dtype(values) or 'date' in str(values.dtype):
        raise SITSError(
            f'{source} holds dates such as {values.iloc[0]}: choose a column of classes or numbers'
        )
    return is_bool_dtype(values) or not is_numeric_dtype(values)

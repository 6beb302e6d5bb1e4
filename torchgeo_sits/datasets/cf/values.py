"""Stored numbers of a variable: which are no data, and what the others mean."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

__all__ = ['Packing', 'flags']

#: Attributes that name values without data: those of CF, of odc-stac, and of older xarray.
_FILLS = ('_FillValue', 'missing_value', 'nodata', 'nodatavals')


@dataclass(frozen=True, slots=True)
class Packing:
    """How the numbers of a variable are stored.

    Attributes:
        stored: Type in which they are stored, unsigned where an attribute says so.
        fills: Values without data, as they are stored.
        limits: Least and largest value that is valid.
        unpacked_limits: Whether these are meant after scale and offset.
        scale: Factor on what is stored.
        offset: Added after it.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.cf.values import Packing
        >>> attributes = {'_FillValue': 255, 'scale_factor': 0.004, 'add_offset': -0.08}
        >>> packing = Packing.of(np.dtype('uint8'), attributes)
        >>> packing.unpack(np.array([20, 145, 255], 'uint8'))
        (array([0.  , 0.5 , 0.94], dtype=float32), array([ True,  True, False]))
    """

    stored: np.dtype[Any]
    fills: tuple[Any, ...] = ()
    limits: tuple[float, float] = (-math.inf, math.inf)
    unpacked_limits: bool = False
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(
        cls,
        dtype: np.dtype[Any],
        attributes: Mapping[str, Any],
        *,
        nodata: float | None = None,
        default_fill: bool = False,
    ) -> 'Packing':
        """Read it off the attributes of a variable.

        Args:
            dtype: Type of the variable.
            attributes: Those of CF, and ``nodata`` as odc-stac writes it.
            nodata: Stored value without data, in place of what the attributes say.
            default_fill: Whether what was never written holds the default of NetCDF, unless an
                attribute says otherwise.

        Returns:
            The packing.
        """
        stored = dtype
        unsigned = str(attributes.get('_Unsigned', '')).lower()
        if unsigned in ('true', 'false') and dtype.kind in 'iu':
            stored = np.dtype(f'{"u" if unsigned == "true" else "i"}{dtype.itemsize}')
        declared = [v for name in _FILLS for v in _numbers(attributes.get(name))]
        if nodata is not None:
            declared = [float(nodata)]
        elif default_fill and not declared and dtype.itemsize > 1:
            declared = list(_numbers(netCDF4.default_fillvals.get(dtype.str[1:])))
        fills = {f for value in declared if (f := _in_type(value, stored)) is not None}
        scale = next(_numbers(attributes.get('scale_factor')), 1.0)
        offset = next(_numbers(attributes.get('add_offset')), 0.0)
        limits = list(_numbers(attributes.get('valid_range')))
        if len(limits) != 2:
            low = next(_numbers(attributes.get('valid_min')), -math.inf)
            limits = [low, next(_numbers(attributes.get('valid_max')), math.inf)]
        # The users' guide of NetCDF: limits of a wider type than what is stored are unpacked.
        kinds = {np.asarray(attributes[n]).dtype.kind for n in _LIMITS if n in attributes}
        packed = (scale, offset) != (1, 0)
        if stored.kind == 'u' and dtype.kind == 'i':  # limits are stored like the values
            limits = [v + 2.0 ** (8 * dtype.itemsize) if v < 0 else v for v in limits]
        return cls(
            stored,
            tuple(sorted(fills)),
            (float(limits[0]), float(limits[1])),
            packed and stored.kind in 'iu' and 'f' in kinds,
            float(scale),
            float(offset),
        )

    @property
    def is_packed(self) -> bool:
        """Whether values differ from what is stored."""
        return (self.scale, self.offset) != (1, 0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: that of samples where the stored one is wider, or they are scaled."""
        wide = self.stored.kind == 'f' and self.stored.itemsize > 4
        return np.dtype(np.float32) if self.is_packed or wide else self.stored

    def unpack(self, stored: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Turn stored numbers into values.

        Args:
            stored: Of any shape.

        Returns:
            The values, and bool of the same shape: True where there is data. Others are
            undefined.
        """
        stored = stored.view(self.stored) if stored.dtype != self.stored else stored
        seen = np.isfinite(stored) if self.stored.kind == 'f' else np.ones(stored.shape, bool)
        for fill in self.fills:
            seen &= stored != fill
        values = stored
        if self.is_packed:
            values = stored * np.float64(self.scale)
            values += self.offset
        low, high = self.limits
        limited = values if self.unpacked_limits else stored
        if low > -math.inf:
            seen &= limited >= low
        if high < math.inf:
            seen &= limited <= high
        with np.errstate(over='ignore', invalid='ignore'):  # of what is no data
            return values.astype(self.dtype, copy=False), seen


_LIMITS = ('valid_range', 'valid_min', 'valid_max')


def _numbers(value: Any) -> Iterator[Any]:
    """The numbers in an attribute: of one, several, or none; text that is a number counts."""
    if value is None:
        return
    for item in np.atleast_1d(np.asarray(value)).ravel().tolist():
        try:
            number = item if isinstance(item, int | float) else float(item)
        except (TypeError, ValueError):
            continue
        yield number


def _in_type(value: float, dtype: np.dtype[Any]) -> Any:
    """A value as a variable of some type holds it; None where it cannot."""
    if dtype.kind == 'f':
        with np.errstate(over='ignore'):
            found = dtype.type(value).item()
        return found if math.isfinite(found) else None  # others are no data anyway
    if not math.isfinite(value) or value != int(value):
        return None
    number, bits = int(value), 8 * dtype.itemsize
    if dtype.kind == 'u' and number < 0:  # an unsigned variable of a format without such
        number += 2**bits
    if dtype.kind == 'b':
        return number if number in (0, 1) else None
    info = np.iinfo(dtype)
    return number if info.min <= number <= info.max else None


def flags(attributes: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """The flags of a variable.

    Args:
        attributes: ``flag_meanings`` with ``flag_values``, ``flag_masks`` or both.

    Returns:
        For each name a mask and a value: the flag is set where ``stored & mask == value``.

    Examples:
        >>> from torchgeo_sits.datasets.cf.values import flags
        >>> flags({'flag_meanings': 'cloud shadow', 'flag_masks': [2, 8]})
        {'cloud': (2, 2), 'shadow': (8, 8)}
        >>> flags({'flag_meanings': 'clear cloud', 'flag_values': [0, 1]})
        {'clear': (-1, 0), 'cloud': (-1, 1)}
    """
    meanings = str(attributes.get('flag_meanings', '')).split()
    masks = [int(v) for v in _numbers(attributes.get('flag_masks'))]
    values = [int(v) for v in _numbers(attributes.get('flag_values'))]
    if len(meanings) not in (len(masks), len(values)):
        return {}
    if len(masks) != len(meanings):
        masks = [-1] * len(meanings)
    if len(values) != len(meanings):
        values = masks
    return dict(zip(meanings, zip(masks, values, strict=True), strict=True))

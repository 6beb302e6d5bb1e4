"""Labels of series: rasters, polygons or points, as a mask and fields on the images' pixels."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ...collate import pad_time
from ...errors import SITSError
from ...grid import grid_of
from ...keys import IMAGE, MASK, VALID
from ..series import TimeSeries
from .columns import LabelColumn
from .features import list_vectors
from .fields import NumberedFields, connected_fields
from .rasters import DatedLabels, MapsToFrames, RasterLabels
from .values import LabelValues, as_number, list_some
from .vectors import VectorLabels

__all__ = [
    'DatedLabels',
    'LabelColumn',
    'LabelValues',
    'Labels',
    'MapsToFrames',
    'NumberedFields',
    'RasterLabels',
    'VectorLabels',
    'as_number',
    'connected_fields',
    'list_some',
    'open_labels',
    'pad_labels',
]

#: What a series is joined with: a mask of each window, and the fields of areas.
type Labels = RasterLabels | VectorLabels


def open_labels(
    paths: str | list[str],
    series: TimeSeries,
    *,
    values: LabelValues,
    num_classes: int | None = None,
    codes: bool = False,
    per_frame: bool = False,
    field_paths: str | list[str] | None = None,
    column: str | None = None,
    layer: str | None = None,
    crs: str | None = None,
    shrink: float = 0.0,
) -> Labels:
    """Open the labels of a series, on its pixels.

    Args:
        paths: Rasters, vector files or tables; or folders of rasters or vector files.
        series: The images.
        values: What is known of the labels.
        num_classes: Number of classes, counting 0; None does not check.
        codes: Whether labels are to be learned, and neither *num_classes* nor *values* tell
            their classes. Numbers above 255, or of which fewer than half occur up to the largest,
            are codes then, and become classes in their order, named by the number.
        per_frame: Whether rasters are dated, see :class:`DatedLabels`.
        field_paths: Rasters that number the fields of rasters.
        column: Column of vector files that holds the labels.
        layer: Layer of vector files with several.
        crs: Coordinate reference system of vector files that do not say theirs.
        shrink: Distance in metres by which polygons are shrunk.

    Returns:
        The labels.

    Raises:
        SITSError: If an option does not go with the files.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.datasets.labels import LabelValues, open_labels
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> series = RasterTimeSeries(files.images)
        >>> type(open_labels(str(files.classes), series, values=LabelValues())).__name__
        'RasterLabels'
    """
    vectors = list_vectors(paths)
    of_rasters = {'per_frame': per_frame, 'field_paths': field_paths}
    of_vectors = {'column': column, 'layer': layer, 'crs': crs, 'shrink': shrink}
    for name, value in (of_rasters if vectors else of_vectors).items():
        if value:
            reason = (
                f'labels.paths={paths!r} are vectors, whose features are the fields of all dates'
                if vectors
                else f'labels.paths={paths!r} are rasters'
            )
            raise SITSError(f'labels.{name}={value!r} cannot be given, {reason}: leave it out')
    opened: Callable[..., Labels]
    if vectors:
        opened = partial(
            VectorLabels,
            vectors,
            area=grid_of(series),
            column=column,
            layer=layer,
            crs=crs,
            shrink=shrink,
        )
    else:
        numbers = None
        if field_paths is not None:
            numbers = RasterLabels(
                field_paths, crs=series.crs, res=series.res, option='labels.field_paths'
            )
        kind = DatedLabels if per_frame else RasterLabels
        opened = partial(kind, paths, crs=series.crs, res=series.res, field_numbers=numbers)
    labels = opened(values=values, num_classes=num_classes)
    if codes and num_classes is None and labels.values.classes is None:
        found = sorted(set(labels.found()) - {values.unlabelled})
        if len(found) < 2:
            raise SITSError(
                f'the labels in {paths!r} hold '
                + (f'the one class {found[0]}' if found else 'no class')
                + f', and {values.unlabelled} counts as not labelled: there is nothing to tell '
                f'apart. If {values.unlabelled} is a class, set labels.unlabelled to a value that '
                'is none, such as 255; else give labels of two classes at least'
            )
        _require_codes(found, paths)
        if _are_codes(found):
            labels = opened(values=_coded(values, found), num_classes=None)
    elif values.classes is not None and not vectors:
        values.check_found(labels.found(), 'the label rasters')
    return labels


#: Numbers up to this one may be classes as they are; maps hold no more.
_LARGEST_CLASS = 255


def _are_codes(found: Sequence[int]) -> bool:
    """Tell whether numbers, ascending, are too large or too far apart to be classes."""
    return found[-1] > _LARGEST_CLASS or found[-1] > 2 * len(found)


def _require_codes(found: Sequence[int], paths: str | list[str]) -> None:
    """Refuse numbers of which one is no class, but a fill that the files do not declare.

    Args:
        found: All numbers that are labelled, ascending, two at least.
        paths: What holds them, for messages.

    Raises:
        SITSError: If one is negative, or far beyond all others, which are plain classes.
    """
    smaller, largest = found[:-1], found[-1]
    far = largest > max(1000, 100 * smaller[-1]) and not _are_codes(smaller)
    if found[0] >= 0 and not far:
        return
    odd, others = (found[0], found[1:]) if found[0] < 0 else (largest, smaller)
    ready = ', '.join(f'{code}: ...' for code in [*others[:5], odd])
    raise SITSError(
        f'the labels in {paths!r} hold the number {odd} beside {list_some(others)}, which looks '
        'like a fill and no class: write it into the file as its nodata; if it is a class, name '
        f'all of them with labels.classes={{{ready}}}'
    )


def _coded(values: LabelValues, found: Sequence[int]) -> LabelValues:
    """Make codes classes, and say so."""
    shown = ', '.join(f'{code}: ...' for code in found[:10])
    ready = f'labels.classes={{{shown}{", ..." if len(found) > 10 else ""}}}'
    if len(found) >= _LARGEST_CLASS:
        raise SITSError(
            f'the labels hold {len(found)} numbers up to {found[-1]}: more than {_LARGEST_CLASS} '
            f'are no classes. Choose and name those that are with {ready}, or give '
            "labels.kind='value' for measured values"
        )
    warnings.warn(
        f'the labels {list_some(found)} become classes in this order, named by their numbers: name '
        f'them with {ready}',
        UserWarning,
        stacklevel=3,
    )
    return replace(values, classes={code: str(code) for code in found})


def pad_labels(samples: Iterable[dict[str, Any]], unlabelled: float) -> dict[str, Any]:
    """Stack samples by :func:`~torchgeo_sits.collate.pad_time`, with no label in padding.

    Args:
        samples: One dictionary per sample.
        unlabelled: Value in masks of what is not labelled.

    Returns:
        The batch.
    """
    batch = pad_time(samples)
    if MASK in batch and batch[MASK].ndim == batch[IMAGE].ndim - 1:
        batch[MASK][~batch[VALID]] = unlabelled
    return batch

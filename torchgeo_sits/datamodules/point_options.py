"""Options of the data module of points, in groups: the table, its labels, and the split."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from ..errors import SITSError

__all__ = ['PointLabelOptions', 'PointSplitOptions', 'TableOptions']


@dataclass(frozen=True)
class TableOptions:
    """Columns of a table of points, and how to read them.

    Args:
        point: Column, or columns, that tell points apart. Defaults to one of the usual names;
            rows of a table with a row for each point need none.
        date: Column of the dates of a table with a row for each date. Defaults to one of the
            usual names.
        date_format: Format of dates that are not written year, month, day, such as '%d.%m.%Y'.
        year: Year, or column of the year, of dates that are months only. Rows of a point are in
            order then: a month below the one before it begins the next year.
        dates: Dates of a table whose columns are numbered, such as B02_1.
        bands: Names of the bands. Defaults to all: of a table with a row for each date to the
            numbers that change over time.
        nodata: Value that means no data, beside empty cells.
        lon: Column of longitudes. Defaults to one of the usual names, if any.
        lat: Column of latitudes.
        mean: Mean of each band to normalise by. Measured if None.
        std: Standard deviation of each band. Measured if None.

    Raises:
        SITSError: If only one of mean and std is given.

    Examples:
        >>> from torchgeo_sits.datamodules import TableOptions
        >>> TableOptions(point='id', date='month', year=2018).year
        2018
    """

    _: KW_ONLY
    point: str | list[str] | None = None
    date: str | None = None
    date_format: str | None = None
    year: int | str | None = None
    dates: list[str] | None = None
    bands: list[str] | None = None
    nodata: float | None = None
    lon: str | None = None
    lat: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise SITSError('give both table.mean and table.std, or neither')

    @property
    def statistics(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation as they were given, or None."""
        return None if self.mean is None or self.std is None else (self.mean, self.std)

    def series_arguments(self) -> dict[str, Any]:
        """Arguments for :class:`~torchgeo_sits.datasets.PointSeries`.

        Returns:
            The arguments by name.
        """
        own = {'mean', 'std'}
        return {k: v for k, v in vars(self).items() if k not in own and v is not None}


@dataclass(frozen=True)
class PointLabelOptions:
    """Labels of points, to train on or to validate by.

    Args:
        column: Column of the labels.
        kind: Whether the labels are classes, or measured values for a regression.
        classes: Values of the column and names of their classes, such as ``{1110: 'winter wheat',
            1200: 'maize'}``, in their order; others are not labelled. Defaults to all values.
        unlabelled: Value of the column that means not labelled, beside empty cells.
        supervised: Train on labelled points only. False trains on every point and keeps the
            labels for the k-NN probe.
        target: Whether tasks take labels for those of whole series, or of their one pixel.
        per_class: Number of points of each class that are labelled for training, drawn at
            random; of more points, fewer are a part.
        fraction: Share of the points of each class that are labelled for training, and one at
            least; of a larger share, a smaller one is a part.
        min_points: Smallest number of labelled points of a class; points of smaller classes are
            not labelled.

    Raises:
        SITSError: If an option is out of its range or does not go with another.

    Examples:
        >>> from torchgeo_sits.datamodules import PointLabelOptions
        >>> PointLabelOptions('target', kind='value', supervised=True).kind
        'value'
    """

    column: str | None = None
    _: KW_ONLY
    kind: Literal['class', 'value'] = 'class'
    classes: dict[int | str, str] | None = None
    unlabelled: int | str | None = None
    supervised: bool = False
    target: Literal['pixel', 'field'] = 'field'
    per_class: int | None = None
    fraction: float | None = None
    min_points: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ('class', 'value'):
            raise SITSError(f"unknown labels.kind {self.kind!r}: expected 'class' or 'value'")
        if self.target not in ('pixel', 'field'):
            raise SITSError(f"unknown labels.target {self.target!r}: expected 'pixel' or 'field'")
        for name in ('per_class', 'min_points'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SITSError(f'labels.{name} must be at least 1, got {value}')
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise SITSError(
                f'labels.fraction must be a share above 0, at most 1, got {self.fraction}'
            )
        if self.fraction is not None and self.per_class is not None:
            raise SITSError(
                f'labels.per_class={self.per_class} and labels.fraction={self.fraction} both say '
                'how many points are labelled: give one of them'
            )
        if self.kind == 'value' and (self.per_class is not None or self.min_points > 1):
            raise SITSError(
                'labels.per_class and labels.min_points count points of classes, of which labels.'
                "kind='value' has none: use labels.fraction"
            )


@dataclass(frozen=True)
class PointSplitOptions:
    """Points to hold out for validation and test.

    By default single points are drawn at random, class by class. Points that lie near each other
    or were observed by one campaign are alike: hold out groups or blocks for honest scores.

    Args:
        column: Column of a split that was published: of the words train, val (or validation) and
            test, or of 0 and 1 where its name says what 1 is, such as ``is_test``. Where it has
            no validation, a share of the points for training is drawn for it.
        groups: Column of groups of points that no split may divide, such as a region or a site.
        block: Side in degrees of blocks of longitude and latitude that no split may divide.
        val_fraction: Share of the points (of the groups, of the blocks) for validation.
        test_fraction: Share for test; of a split that was published that is said.

    Raises:
        SITSError: If the shares leave nothing for training, or options do not go together.

    Examples:
        >>> from torchgeo_sits.datamodules import PointSplitOptions
        >>> PointSplitOptions(column='is_test', val_fraction=0.1).fractions
        (0.9, 0.1, 0.0)
    """

    _: KW_ONLY
    column: str | None = None
    groups: str | None = None
    block: float | None = None
    val_fraction: float = 0.25
    test_fraction: float = 0.0

    def __post_init__(self) -> None:
        val, test = self.val_fraction, self.test_fraction
        if val < 0 or test < 0 or val + test >= 1:
            raise SITSError(
                'split.val_fraction and split.test_fraction must be at least 0 and leave '
                f'something for training, got {val} and {test}'
            )
        if self.groups is not None and self.block is not None:
            raise SITSError(
                f'split.groups={self.groups!r} and split.block={self.block} both say what is not '
                'divided: give one of them'
            )
        if self.block is not None and self.block <= 0:
            raise SITSError(f'split.block is a side in degrees above 0, got {self.block}')
        if self.column is not None and test:
            raise SITSError(
                f'split.column={self.column!r} says what the test is: leave split.test_fraction '
                f'out, got {test}'
            )

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Shares of training, validation and test."""
        return 1 - self.val_fraction - self.test_fraction, self.val_fraction, self.test_fraction

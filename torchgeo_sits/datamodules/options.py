"""Options of the data modules, in groups: images, labels, split and patches."""

from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Literal

from matplotlib.colors import is_color_like

from ..datasets import RasterTimeSeries, TimeSeries, series_class_of
from ..errors import SITSError

__all__ = [
    'ImageOptions',
    'LabelOptions',
    'PatchOptions',
    'Sentinel1Options',
    'SplitOptions',
    'changed',
]


@dataclass(frozen=True)
class ImageOptions:
    """Images to read, and how to read them.

    Args:
        paths: One or more folders of dated rasters, or files; or cubes, NetCDF or Zarr.
        dataset_class: Kind of series, such as torchgeo_sits.datasets.Sentinel2TimeSeries.
            By default cubes, NetCDF and Zarr are told from rasters by what lies at *paths*.
        bands: Names of the bands to read. Defaults to all.
        crs: Coordinate reference system to warp to, such as 'EPSG:32631'. Defaults to that of
            the first file.
        res: Resolution in units of the CRS. Defaults to that of the files.
        nodata: Value of pixels without data. Defaults to what the files say.
        cloud_paths: One or more folders of cloud masks (Sentinel-2 SCL, say), matched to the
            images by date. Defaults to masks among the images, by their names.
        clear_values: Values in the cloud masks that mean clear. Defaults to what is known of the
            layer.
        quality: Name of the layer that the masks are, such as SCL, QA_PIXEL, Fmask or UDM2.
            Defaults to that which names of files or bands tell.
        cloud_bits: Bits in the cloud masks, from 0, that mean not clear, in place of
            *clear_values*.
        min_clear: Frames with a smaller share of clear pixels in a window are left out. 0
            keeps all.
        filename_regex: For unusual names: a regular expression with a group ``date``.
        date_format: Format of that date.
        group_by: Files of one day, or of one time of acquisition, make one frame.
        unreadable: Stop at a file that cannot be read, or leave it out and warn.
        mean: Mean of each band to normalise by. Measured if None.
        std: Standard deviation of each band. Measured if None.
        options: Arguments that *dataset_class* takes beside these, such as ``scale``,
            ``offset`` and ``snow_is_clear`` of Sentinel-2, or ``cloud_variable`` of NetCDF.

    Raises:
        SITSError: If an option is out of its range or does not go with another.

    Examples:
        >>> from torchgeo_sits.datamodules import ImageOptions
        >>> ImageOptions('images', bands=['B04', 'B08']).series_arguments()
        {'paths': 'images', 'bands': ['B04', 'B08']}
    """

    paths: str | list[str] = 'data'
    _: KW_ONLY
    dataset_class: type[TimeSeries] = RasterTimeSeries
    bands: list[str] | None = None
    crs: str | None = None
    res: float | None = None
    nodata: float | None = None
    cloud_paths: str | list[str] | None = None
    clear_values: list[int] | None = None
    quality: str | None = None
    cloud_bits: list[int] | None = None
    min_clear: float = 0.0
    filename_regex: str | None = None
    date_format: str = '%Y%m%d'
    group_by: Literal['day', 'time'] = 'day'
    unreadable: Literal['raise', 'skip'] = 'raise'
    mean: list[float] | None = None
    std: list[float] | None = None
    options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_statistics('images', self.mean, self.std)
        self.series_arguments()

    @property
    def statistics(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation as they were given, or None."""
        return None if self.mean is None or self.std is None else (self.mean, self.std)

    def series_arguments(self) -> dict[str, Any]:
        """Arguments for *dataset_class*: the paths, and all that differs from the defaults here.

        Returns:
            The arguments by name.

        Raises:
            SITSError: If the class does not take one of them.
        """
        own = {'dataset_class', 'mean', 'std', 'options'}
        chosen = changed(self, apart_from=own | {'paths'})
        extra = self.options or {}
        if twice := sorted(set(extra) & {option.name for option in fields(self)}):
            raise SITSError(
                f'images.options holds {twice}, which are options of images: give them there, as '
                f'images.{twice[0]}'
            )
        return {'paths': self.paths, **chosen, **extra}

    def open(self) -> TimeSeries:
        """Open the images.

        Returns:
            The series.

        Raises:
            SITSError: If *dataset_class* does not take an option, or refuses it.
            OSError: If a file cannot be read.
        """
        kind = self.dataset_class
        if kind is RasterTimeSeries:
            kind = series_class_of(self.paths)
        try:
            return kind(**self.series_arguments())
        except TypeError as error:
            if 'unexpected keyword argument' not in str(error):
                raise
            raise SITSError(
                f'an option of images does not fit {kind.__name__}: {error}. Leave '
                'it out; images.options takes what the class has beside the options of images'
            ) from error


@dataclass(frozen=True)
class LabelOptions:
    """Labels to validate by, or to train on.

    *Fields* are groups of pixels that share a label, such as parcels. With vectors, *field_paths*
    or any other option on fields only pixels of fields are labelled, a field that two splits
    share is labelled in the one that holds most of it, and each patch of supervised training
    holds a labelled field.

    Args:
        paths: One or more label rasters, whose no data is not labelled; or vector files
            (GeoPackage, GeoJSON, Shapefile, GeoParquet, FlatGeobuf) of polygons or points, or
            tables (CSV) with columns lon and lat, or x and y. Folders of rasters or vector files.
        column: Column of vectors that holds the labels. Text names its classes, 1 to K in the
            order of the alphabet; whole numbers are those of the classes.
        kind: Labels are classes, or values that were measured, for regression: masks are float32
            then, NaN where there is no label.
        layer: Layer of vector files with several.
        crs: Coordinate reference system of vector files and tables that do not say theirs.
        shrink: Metres by which polygons are shrunk, to leave out pixels of their borders.
        classes: Values in the label rasters, or in *column*, and names of their classes, such as
            ``{1110: 'winter wheat', 1200: 'maize'}``. Masks hold their positions in this order,
            from 0 and leaving out *unlabelled*: with 0 from 1. Other values are not labelled.
        colors: Colours of classes in maps, by their values or names, such as ``{maize: gold}`` or
            ``{1200: '#ffa90e'}``. Others have those of the colour table of the label rasters, or
            of a palette.
        num_classes: Number of classes, counting 0; labels beyond are an error. Without it and
            *classes* the largest label is looked up where *supervised*.
        unlabelled: Value in masks of what is not labelled.
        per_frame: Label rasters have dates in their names, and each frame gets the map that
            holds at its date. Frames before the first are not labelled.
        supervised: Train on labelled places only, and give their masks. False trains on every
            place and keeps the labels for the k-NN probe.
        target: Labels of pixels, as masks; or one sample per field: the window around it,
            clear in the field only, with its class as ``label``, counted from 0 without
            *unlabelled*, or its value. Training is supervised then.
        field_paths: One or more rasters that number the fields of label rasters, 0 for none.
            Without them a connected component of one class is a field; of vectors each feature
            is one. Numbers of the whole labelled area are kept in memory, four bytes per pixel.
        fields_per_class: Number of fields of each class that are labelled for training; of
            more fields, fewer are a part.
        fraction: Share of the fields of each class that are labelled for training, and one
            at least; of a larger share, a smaller one is a part.
        min_field_pixels: Smallest number of labelled pixels of a field.

    Raises:
        SITSError: If an option is out of its range or does not go with another.

    Examples:
        >>> from torchgeo_sits.datamodules import LabelOptions
        >>> labels = LabelOptions('labels.tif', supervised=True, fields_per_class=20)
        >>> labels.about_fields
        True
    """

    paths: str | list[str] | None = None
    _: KW_ONLY
    column: str | None = None
    kind: Literal['class', 'value'] = 'class'
    layer: str | None = None
    crs: str | None = None
    shrink: float = 0.0
    classes: dict[int, str] | dict[str, str] | None = None
    colors: dict[int, str] | dict[str, str] | None = None
    num_classes: int | None = None
    unlabelled: int = 0
    per_frame: bool = False
    supervised: bool = False
    target: Literal['pixel', 'field'] = 'pixel'
    field_paths: str | list[str] | None = None
    fields_per_class: int | None = None
    fraction: float | None = None
    min_field_pixels: int = 1

    def __post_init__(self) -> None:
        for name in ('num_classes', 'fields_per_class', 'min_field_pixels'):
            _check_least(f'labels.{name}', getattr(self, name), 1)
        _check_choice('labels.target', self.target, ('pixel', 'field'))
        _check_choice('labels.kind', self.kind, ('class', 'value'))
        if self.shrink < 0:
            raise SITSError(f'labels.shrink must be at least 0 metres, got {self.shrink}')
        if self.kind == 'value':
            of_classes = {'classes', 'colors', 'num_classes', 'unlabelled', 'fields_per_class'}
            for name, value in changed(self).items():
                if name in of_classes:
                    raise SITSError(
                        f'labels.{name}={value!r} is of classes, but labels.kind=value: leave it '
                        'out (labels.fraction says how many fields are labelled)'
                    )
        for key, colour in (self.colors or {}).items():
            if not is_color_like(colour):
                raise SITSError(
                    f'labels.colors gives {key!r} the colour {colour!r}: expected a name that '
                    "matplotlib knows, such as gold, or red, green and blue such as '#ffa90e'"
                )
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise SITSError(
                f'labels.fraction must be a share above 0, at most 1, got {self.fraction}'
            )
        if self.fraction is not None and self.fields_per_class is not None:
            raise SITSError(
                f'labels.fields_per_class={self.fields_per_class} and labels.fraction='
                f'{self.fraction} both say how many fields are labelled: give one of them'
            )
        if self.classes is not None and self.num_classes is not None:
            raise SITSError(
                f'labels.num_classes={self.num_classes} follows from labels.classes: leave '
                'labels.num_classes out'
            )

    @property
    def about_fields(self) -> bool:
        """True where an option says that fields count, not pixels."""
        names = {'target', 'field_paths', 'fields_per_class', 'fraction', 'min_field_pixels'}
        return bool(names & set(changed(self)))

    def take_only(self, names: Collection[str], reason: str) -> None:
        """Refuse options that a data set with labels of its own has no use for.

        Args:
            names: Names of the options that it uses.
            reason: Why the others cannot be given.

        Raises:
            SITSError: If another option was given.
        """
        for name, value in changed(self, apart_from=names).items():
            raise SITSError(
                f'labels.{name}={value!r} cannot be given, {reason}: leave it out, or choose '
                f'among labels.{", labels.".join(sorted(names))}'
            )


@dataclass(frozen=True)
class SplitOptions:
    """Data to hold out for validation and test.

    Without labels nothing can be validated, and all of the imagery is for training.

    Args:
        by: Hold out places (space), the last dates at all places (time), or whole fields, class
            by class; imagery of all places is then read in all splits. None holds out fields
            where labels are vectors, an option asks for fields or for few of them, or the
            labelled area is too small for blocks, and places elsewhere.
        val_fraction: Share of the area (of the dates, of the fields) for validation.
        test_fraction: Share of the area (of the dates, of the fields) for test.

    Raises:
        SITSError: If the shares leave nothing for training.

    Examples:
        >>> from torchgeo_sits.datamodules import SplitOptions
        >>> SplitOptions('fields', val_fraction=0.25, test_fraction=0.25).fractions
        (0.5, 0.25, 0.25)
    """

    by: Literal['space', 'time', 'fields'] | None = None
    _: KW_ONLY
    val_fraction: float = 0.25
    test_fraction: float = 0.0

    def __post_init__(self) -> None:
        if self.by is not None:
            _check_choice('split.by', self.by, ('space', 'time', 'fields'))
        val, test = self.val_fraction, self.test_fraction
        if val < 0 or test < 0 or val + test >= 1:
            raise SITSError(
                'split.val_fraction and split.test_fraction must be at least 0 and leave '
                f'something for training, got {val} and {test}'
            )

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Shares of training, validation and test."""
        return 1 - self.val_fraction - self.test_fraction, self.val_fraction, self.test_fraction


@dataclass(frozen=True)
class PatchOptions:
    """Patches to draw for training.

    Args:
        size: Height and width of a patch, in pixels.
        length: Number of training patches in an epoch. Defaults to as many as fit side by
            side, and to ten batches at least.
        num_dates: Number of dates of a training sample, spread over the whole series from a
            random start. None reads all.
        by_block: Draw several training patches from each block of the files and read it once
            for all of them: faster, with patches of a block spread over the epoch. Each worker
            keeps up to four blocks of all dates in memory.

    Raises:
        SITSError: If an option is out of its range.

    Examples:
        >>> from torchgeo_sits.datamodules import PatchOptions
        >>> PatchOptions(16, num_dates=12)
        PatchOptions(size=16, length=None, num_dates=12, by_block=False)
    """

    size: int = 32
    _: KW_ONLY
    length: int | None = None
    num_dates: int | None = None
    by_block: bool = False

    def __post_init__(self) -> None:
        for name in ('size', 'length', 'num_dates'):
            _check_least(f'patches.{name}', getattr(self, name), 1)


@dataclass(frozen=True)
class Sentinel1Options:
    """Sentinel-1 images to read beside the others.

    Args:
        paths: One or more folders of dated Sentinel-1 rasters of all bands, or files, such as
            backscatter in decibels. They are warped to the grid of the images.
        bands: Names of their bands to read. Defaults to all.
        nodata: Value of pixels without data. Defaults to what the files say.
        mean: Mean of each band to normalise by. Measured if None.
        std: Standard deviation of each band. Measured if None.

    Raises:
        SITSError: If only one of mean and std is given.

    Examples:
        >>> from torchgeo_sits.datamodules import Sentinel1Options
        >>> Sentinel1Options('s1', mean=[-11.0, -18.0], std=[4.0, 4.0]).statistics
        ([-11.0, -18.0], [4.0, 4.0])
    """

    paths: str | list[str] = 'data/s1'
    _: KW_ONLY
    bands: list[str] | None = None
    nodata: float | None = None
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        _check_statistics('s1', self.mean, self.std)

    @property
    def statistics(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation as they were given, or None."""
        return None if self.mean is None or self.std is None else (self.mean, self.std)


def changed(group: Any, apart_from: Collection[str] = ()) -> dict[str, Any]:
    """Options of a group that differ from their defaults.

    Args:
        group: One of the groups.
        apart_from: Names of options that are left out.

    Returns:
        Values by name.
    """
    return {
        option.name: value
        for option in fields(group)
        if option.name not in apart_from
        and (value := getattr(group, option.name)) != option.default
    }


def _check_least(name: str, value: int | None, least: int) -> None:
    """Refuse a number that is too small; None is not given."""
    if value is not None and value < least:
        raise SITSError(f'{name} must be at least {least}, got {value}')


def _check_choice(name: str, value: str, known: Collection[str]) -> None:
    """Refuse an unknown choice."""
    if value not in known:
        raise SITSError(f'unknown {name} {value!r}: expected one of {tuple(known)}')


def _check_statistics(group: str, mean: list[float] | None, std: list[float] | None) -> None:
    """Refuse one of mean and standard deviation without the other."""
    if (mean is None) != (std is None):
        raise SITSError(f'give both {group}.mean and {group}.std, or neither')

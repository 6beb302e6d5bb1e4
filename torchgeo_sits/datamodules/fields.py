"""Fields: groups of pixels that share a label, and that no split may divide."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np
import shapely
import torch
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import from_origin
from shapely.geometry.base import BaseGeometry
from torch import Tensor
from torchgeo.datasets import GeoDataset, IntersectionDataset
from torchgeo.datasets.utils import Sample
from torchgeo.samplers import SpatialSampler, TemporalSampler

from ..datasets.labels import Labels
from ..errors import SITSError
from ..grid import Grid
from ..keys import BOUNDS, LABEL, MASK, MASK_CLEAR, MASK_CLEAR_S1
from ..samplers import EpochSampler, RandomSeriesPatchSampler, SkippingSampler
from ..samplers.epochs import draw_seed, epoch_generator
from ..samplers.footprints import join_footprints

__all__ = [
    'FieldMap',
    'FieldPatchSampler',
    'FieldSampler',
    'FieldTargets',
    'KeptFields',
    'around_fields',
    'choose_fields',
    'field_windows',
    'find_fields',
    'hold_out_fields',
]

Integers = NDArray[np.int64]


def hold_out_fields(
    classes: NDArray[np.int64], fractions: Sequence[float], *, seed: int
) -> NDArray[np.int64]:
    """Assign whole fields to splits, each class in the same shares.

    Each split with a share gets at least one field of a class, the first before the second
    and so on, where the class has as many.

    Args:
        classes: Class of each field, ``(F,)``.
        fractions: Share of each split, summing to 1; the first is training.
        seed: Seed of the assignment.

    Returns:
        Number of the split of each field, ``(F,)``.
    """
    split = np.zeros(len(classes), np.int64)
    for kind in np.unique(classes):
        fields = np.flatnonzero(classes == kind)
        order = _generator(seed, 0, kind).permutation(fields)
        free = len(fields) - 1  # one at least is for training
        for i, fraction in enumerate(fractions[1:], start=1):
            later = sum(share > 0 for share in fractions[i + 1 :])
            most = max(free - later, min(free, 1))
            count = min(max(1, round(fraction * len(fields))), most) if fraction > 0 else 0
            split[order[free - count : free]] = i
            free -= count
    return split


def choose_fields(
    classes: NDArray[np.int64],
    among: NDArray[np.bool_],
    *,
    per_class: int | None = None,
    fraction: float | None = None,
    seed: int,
) -> NDArray[np.bool_]:
    """Choose some fields of each class, at random; more of them hold those that are fewer.

    Args:
        classes: Class of each field, ``(F,)``.
        among: Fields to choose from, ``(F,)``.
        per_class: Number of fields of each class; all where there are fewer.
        fraction: Share of the fields of each class, and at least one.
        seed: Seed of the choice.

    Returns:
        Which fields are chosen, ``(F,)``: all of *among* without a number or a share.
    """
    if per_class is None and fraction is None:
        return among.copy()
    chosen = np.zeros(len(classes), bool)
    for kind in np.unique(classes[among]):
        order = _generator(seed, 1, kind).permutation(np.flatnonzero(classes == kind))
        order = order[among[order]]
        wanted = per_class if per_class is not None else max(1, round((fraction or 0) * len(order)))
        chosen[order[:wanted]] = True
    return chosen


def _generator(seed: int, stream: int, kind: int) -> Generator:
    """A generator of its own for each use and class, so that none depends on another."""
    # Keys are not negative, classes may be.
    return np.random.default_rng(SeedSequence(seed, spawn_key=(stream, int(kind) % 2**32)))


class FieldArea(NamedTuple):
    """A connected part of the labelled area, or of it what holds fields, on its images' pixels."""

    left: float
    top: float
    #: Number of the field of each pixel ``(H, W)`` int32, 0 for none.
    numbers: NDArray[np.int32]


class FieldMap:
    """Map of the field that each labelled pixel belongs to.

    The whole area is held in memory, four bytes per pixel: 0.5 GB for a tile of Sentinel-2. To
    find the fields takes up to fifty bytes per pixel of a connected part for a while.

    Args:
        areas: The connected parts of the labelled area.
        res: Width and height of a pixel in units of the CRS.
        labels: Label of each of the F fields, ``(F,)``: its class by its value in masks, int64,
            or its value, floating point. Field numbers count from 1.

    Attributes:
        classes: Class of each field, ``(F,)``; where labels are values all are of class 0.
    """

    def __init__(
        self, areas: Sequence[FieldArea], res: tuple[float, float], labels: NDArray[Any]
    ) -> None:
        self.areas = areas
        self.res = res
        self.labels = labels
        are_classes = np.issubdtype(labels.dtype, np.integer)
        self.classes: Integers = labels if are_classes else np.zeros(len(labels), np.int64)
        self._corners = np.array([(area.left, area.top) for area in areas])
        self._shapes = np.array([area.numbers.shape for area in areas])

    def __len__(self) -> int:
        return len(self.classes)

    def at(self, bounds: Sequence[float], shape: tuple[int, int]) -> NDArray[np.int32]:
        """Numbers of the fields in a window.

        Args:
            bounds: xmin, ymin, xmax, ymax of the window.
            shape: Its rows and columns.

        Returns:
            ``(H, W)``, 0 where there is no field.
        """
        found = np.zeros(shape, np.int32)
        offset = np.array([bounds[0], bounds[3]]) - self._corners
        column, row = np.round(offset / [self.res[0], -self.res[1]]).astype(np.int64).T
        first = np.maximum([row, column], 0)
        last = np.minimum([row + shape[0], column + shape[1]], self._shapes.T)
        for i in np.flatnonzero((first < last).all(axis=0)).tolist():
            (y, x), (bottom, right) = first[:, i], last[:, i]
            part = self.areas[i].numbers[y:bottom, x:right]
            target = found[y - row[i] : bottom - row[i], x - column[i] : right - column[i]]
            np.copyto(target, part, where=part > 0)
        return found

    def most_in(self, geometries: Sequence[BaseGeometry]) -> NDArray[np.int64]:
        """Number of the geometry that holds most pixels of each field.

        Args:
            geometries: Disjoint geometries, in the CRS of the series.

        Returns:
            ``(F,)``, the first of several with as many; -1 where none holds a pixel.
        """
        counts = np.zeros((len(geometries), len(self) + 1), np.int64)
        shapes = [(shape, i + 1) for i, shape in enumerate(geometries) if not shape.is_empty]
        for area in self.areas:
            transform = from_origin(area.left, area.top, *self.res)
            where = rasterize(shapes, area.numbers.shape, transform=transform, dtype='uint8')
            for i in range(len(geometries)):
                counts[i] += np.bincount(area.numbers[where == i + 1], minlength=len(self) + 1)
        most: NDArray[np.int64] = np.where(counts.any(axis=0), counts.argmax(axis=0), -1)[1:]
        return most

    def pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pixels of fields, ordered by field.

        Returns:
            Area, row and column ``(3, N)``; the first of each field and the end, ``(F + 1,)``.
        """
        found, numbers = [], []
        for i, area in enumerate(self.areas):
            row, column = np.nonzero(area.numbers)
            found.append(np.stack([np.full(len(row), i), row, column]))
            numbers.append(area.numbers[row, column])
        number = np.concatenate(numbers)
        order = np.argsort(number, kind='stable')
        ends = np.searchsorted(number[order], np.arange(1, len(self) + 2))
        return np.concatenate(found, axis=1)[:, order], ends


def find_fields(labelled: IntersectionDataset, labels: Labels, *, least: int = 1) -> FieldMap:
    """Find the fields of labelled imagery.

    Args:
        labelled: Series joined with labels.
        labels: The labels alone. Polygons and points are fields, and so are pixels of one number
            where rasters number them, in one connected part of the area; else a field is a
            connected component of pixels of one class (pixels with an edge in common).
        least: Smallest number of labelled pixels of a field; smaller ones are left out.

    Returns:
        The fields.

    Raises:
        SITSError: If there is none.
    """
    shapes = np.asarray(labelled.datasets[0].index.geometry)
    tree = shapely.STRtree(shapes)
    grids = []
    for part in shapely.get_parts(join_footprints(labelled)):
        near = shapes[tree.query(part, predicate='intersects')[0]]
        grids.append(_on_grid(part.bounds, near.bounds, labelled))
    areas, found, count = [], [], 0
    for fields in labels.fields(grids):
        sizes = np.bincount(fields.numbers.ravel())
        kept = np.flatnonzero(sizes >= least)
        kept = kept[kept > 0]
        renumbered = np.zeros(len(sizes), np.int32)
        renumbered[kept] = count + np.arange(1, len(kept) + 1)
        areas.append(FieldArea(fields.grid.left, fields.grid.top, renumbered[fields.numbers]))
        found.append(fields.labels[kept - 1])
        count += len(kept)
    if not count:
        raise SITSError(
            f'{labels.source} hold no labelled field of at least labels.min_field_pixels={least} '
            'pixels on the images: give labels of the same place, or a smaller '
            'labels.min_field_pixels'
        )
    return FieldMap(areas, labelled.res, np.concatenate(found))


def _on_grid(
    bounds: tuple[float, ...], images: tuple[float, ...], labelled: IntersectionDataset
) -> Grid:
    """Grid of an area, moved outwards onto the pixels of images."""
    xmin, ymin, xmax, ymax = bounds
    xres, yres = labelled.res
    left = float(images[0] + np.floor((xmin - images[0]) / xres + 1e-3) * xres)
    top = float(images[3] - np.floor((images[3] - ymax) / yres + 1e-3) * yres)
    rows = int(np.ceil((top - ymin) / yres - 1e-3))
    columns = int(np.ceil((xmax - left) / xres - 1e-3))
    return Grid(left, top, xres, yres, columns, rows, labelled.crs)


class KeptFields:
    """Take the labels of all pixels away that do not lie in some fields.

    Args:
        fields: The fields.
        kept: Which of the F fields keep their labels, ``(F,)``.
        unlabelled: Value in masks of what is not labelled, NaN for values.
        before: A transform that comes first.
    """

    def __init__(
        self,
        fields: FieldMap,
        kept: NDArray[np.bool_],
        unlabelled: float,
        before: Callable[[Sample], Sample] | None = None,
    ) -> None:
        self.fields = fields
        self.kept = np.append(False, kept)
        self.unlabelled = unlabelled
        self.before = before

    def numbers(self, sample: Sample) -> Tensor:
        """Numbers of the fields ``(H, W)`` int64 of a sample, 0 where none is kept."""
        xmin, xmax, _, ymin, ymax, _ = sample[BOUNDS][:6].tolist()
        rows, columns = sample[MASK].shape[-2:]
        found = self.fields.at((xmin, ymin, xmax, ymax), (rows, columns))
        return torch.from_numpy(np.where(self.kept[found], found, 0).astype(np.int64))

    def __call__(self, sample: Sample) -> Sample:
        """Restrict the labels.

        Args:
            sample: A sample with ``mask`` ``(H, W)`` or ``(T, H, W)`` and ``bounds``.

        Returns:
            The sample.
        """
        if self.before is not None:
            sample = self.before(sample)
        inside = self.numbers(sample) > 0
        sample[MASK] = torch.where(inside, sample[MASK], self.unlabelled)
        return sample


class FieldWindows(NamedTuple):
    """A window for each of some fields, no two the same."""

    #: xmin, ymin, xmax, ymax ``(N, 4)`` in the CRS of the fields.
    bounds: NDArray[np.float64]
    #: Numbers of the fields ``(N,)``, counting from 1.
    numbers: NDArray[np.int64]


def field_windows(fields: FieldMap, kept: NDArray[np.bool_], size: int) -> FieldWindows:
    """Place a window around each of some fields.

    It is centred on the bounds of the field where these fit, else on the pixel of the field
    that lies nearest to its centre. At the border of the images it reaches beyond them.

    Args:
        fields: The fields.
        kept: Which of the F fields, ``(F,)``.
        size: Height and width of the windows in pixels.

    Returns:
        The windows, in the order of the numbers of the fields.
    """
    (where, row, column), ends = fields.pixels()
    numbers = np.flatnonzero(kept) + 1
    taken: set[tuple[int, int, int]] = set()
    bounds = []
    for first, last in zip(ends[numbers - 1].tolist(), ends[numbers].tolist(), strict=True):
        area = fields.areas[int(where[first])]
        rows, columns = row[first:last], column[first:last]
        far = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
        middle = int(far.argmin())
        start = []
        for pixels in (rows, columns):
            low, high = int(pixels.min()), int(pixels.max()) + 1
            at = (low + high - size) // 2 if high - low <= size else int(pixels[middle]) - size // 2
            start.append(at)
        # A field within another may have its centre: the window tells which one is meant.
        while (int(where[first]), start[0], start[1]) in taken:
            start[1] += 1
        taken.add((int(where[first]), start[0], start[1]))
        left, top = area.left + start[1] * fields.res[0], area.top - start[0] * fields.res[1]
        bounds.append((left, top - size * fields.res[1], left + size * fields.res[0], top))
    return FieldWindows(np.array(bounds).reshape(-1, 4), numbers)


class FieldTargets:
    """Make a window the sample of its field: a transform of samples.

    Args:
        fields: The fields.
        windows: The windows that samples may have.
        unlabelled: Value in masks of what is not labelled; classes are counted from 0 without
            it.
    """

    def __init__(self, fields: FieldMap, windows: FieldWindows, unlabelled: int) -> None:
        self.fields = fields
        self.windows = windows
        labels = fields.labels[windows.numbers - 1]
        if np.issubdtype(labels.dtype, np.integer):
            labels = labels - ((labels > unlabelled) & (unlabelled >= 0))
        self.labels = torch.from_numpy(
            labels.astype(np.int64 if np.issubdtype(labels.dtype, np.integer) else np.float32)
        )

    def __call__(self, sample: Sample) -> Sample:
        """Restrict ``mask_clear`` to the field, and replace ``mask`` by its ``label``.

        Args:
            sample: A sample with ``mask_clear`` ``(T, H, W)``, that of Sentinel-1 if any,
                ``mask`` and ``bounds``.

        Returns:
            The sample with ``label`` ``()`` int64, or float32 of values.
        """
        xmin, xmax, _, ymin, ymax, _ = sample[BOUNDS][:6].tolist()
        # Series move windows onto their pixels, by less than windows differ.
        far = np.abs(self.windows.bounds[:, [0, 3]] - [xmin, ymax]).sum(axis=1)
        at = int(far.argmin())
        rows, columns = sample[MASK_CLEAR].shape[-2:]
        found = self.fields.at((xmin, ymin, xmax, ymax), (rows, columns))
        inside = torch.from_numpy(found == self.windows.numbers[at])
        for key in (MASK_CLEAR, MASK_CLEAR_S1):
            if key in sample:
                sample[key] = sample[key] & inside
        sample[LABEL] = self.labels[at]
        del sample[MASK]
        return sample


Place = tuple[slice, slice]


class FieldSampler(EpochSampler, SpatialSampler):
    """The windows of fields, each once in an epoch, or in random order over and over.

    Args:
        dataset: Data set to sample from.
        windows: The windows.
        length: Windows of an epoch in random order, which go through all fields before one
            comes again; None for each field once, in order.
        seed: Seed of the order.
    """

    def __init__(
        self,
        dataset: GeoDataset,
        windows: FieldWindows,
        *,
        length: int | None = None,
        seed: int = 0,
    ) -> None:
        self.windows = windows
        self.res = dataset.res
        self.geometry = shapely.union_all(shapely.box(*windows.bounds.T))
        self.bounds = self.geometry.bounds
        self._drawn = length  # None: each once
        self._seeds = [] if length is None else [draw_seed(seed)]

    @property
    def strategy(self) -> Literal['random', 'sequential']:
        """``random`` where windows are drawn."""
        return 'sequential' if self._drawn is None else 'random'

    def epoch_length(self, number: int) -> int:
        """Number of windows of an epoch.

        Args:
            number: Number of the epoch, from 0.

        Returns:
            The number.
        """
        return len(self.windows.numbers) if self._drawn is None else self._drawn

    def iter_epoch(self, number: int) -> Iterator[Place]:
        """Go through an epoch.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """
        if self._drawn is None:
            yield from (self._place(i) for i in range(len(self.windows.numbers)))
        else:
            yield from islice(self.iter_endless(number), self._drawn)

    def iter_endless(self, number: int) -> Iterator[Place]:
        """Draw windows without end; those of the epoch come first.

        Args:
            number: Number of the epoch, from 0.

        Yields:
            ``[xmin:xmax, ymin:ymax]``.
        """
        generator = epoch_generator(self._seeds[0], number, stream=0)
        while True:
            yield from map(self._place, generator.permutation(len(self.windows.numbers)).tolist())

    def __matmul__(self, other: TemporalSampler) -> SkippingSampler:
        """Compose with a temporal sampler, as patches are."""
        return SkippingSampler(self, other)  # type: ignore[arg-type]

    def _place(self, i: int) -> Place:
        """The window of a field."""
        xmin, ymin, xmax, ymax = self.windows.bounds[i].tolist()
        return slice(xmin, xmax), slice(ymin, ymax)


class FieldPatchSampler(RandomSeriesPatchSampler):
    """Random patches of which each holds at least a pixel of some fields.

    A class is drawn, a field of it, a pixel of that, and a patch that holds it, each with the
    same probability: rare classes and small fields are seen as often as others.

    Args:
        dataset: Data set to sample from.
        fields: Its fields.
        kept: Which of the F fields patches shall hold, ``(F,)``.
        **kwargs: As for :class:`~torchgeo_sits.samplers.RandomSeriesPatchSampler`.

    Raises:
        SITSError: If no such field lies where patches can.
    """

    def __init__(
        self, dataset: GeoDataset, *, fields: FieldMap, kept: NDArray[np.bool_], **kwargs: Any
    ) -> None:
        super().__init__(dataset, **kwargs)
        wanted = np.append(False, kept)
        pixels, numbers = [], []
        for i, (rows, columns) in enumerate(self.grids.shape.tolist()):
            found = fields.at(self.grids.extent(i), (rows, columns))
            row, column = np.nonzero(wanted[found])
            pixels.append(np.stack([np.full(len(row), i), row, column]))
            numbers.append(found[row, column])
        number = np.concatenate(numbers)
        if not len(number):
            raise SITSError(
                f'none of the {int(kept.sum())} fields for training lies where patches of '
                f'{self.size} pixels (height, width) can: choose a smaller patches.size'
            )
        # Pixels by field, and fields by class, so that each is a range of the other.
        present = np.unique(number)
        present = present[np.argsort(fields.classes[present - 1], kind='stable')]
        rank = np.zeros(len(fields) + 1, np.int64)
        rank[present] = np.arange(len(present))
        order = np.argsort(rank[number], kind='stable')
        self._pixels = np.concatenate(pixels, axis=1)[:, order]
        self._by_field = _starts(rank[number][order])
        self._by_class = _starts(fields.classes[present - 1])

    def _draw(self, number: int, generator: Generator) -> NDArray[np.float64]:
        """Draw patches: their bounds, ``(N, 4)``."""
        generator.random(number)  # not used: a seed gives the patches that it gave in 0.1
        return super()._draw(number, generator)

    def _positions(self, number: int, generator: Generator) -> Integers:
        """Draw positions around a pixel of a field: grid, row and column, ``(3, N)``."""
        at = generator.integers(len(self._by_class) - 1, size=number)
        for starts in (self._by_class, self._by_field):
            at = generator.integers(starts[at], starts[at + 1])
        grid, row, column = self._pixels[:, at]
        start = []
        for pixel, side, most in zip(
            (row, column), self.size, self.grids.positions[grid].T, strict=True
        ):
            low, high = np.maximum(pixel - side + 1, 0), np.minimum(pixel, most - 1)
            start.append(generator.integers(low, high + 1))
        return np.stack([grid, *start])


def around_fields(fields: FieldMap, kept: NDArray[np.bool_], size: int) -> BaseGeometry:
    """Region of interest of patches that reach into the bounds of a field.

    Args:
        fields: The fields.
        kept: Which of them, ``(F,)``.
        size: Side of a patch in pixels.

    Returns:
        The region, in the CRS of the fields.
    """
    (where, row, column), starts = fields.pixels()
    # A field lies in one area.
    first = starts[:-1]
    reach = size - 1
    low = [np.minimum.reduceat(axis, first)[kept] - reach for axis in (row, column)]
    high = [np.maximum.reduceat(axis, first)[kept] + 1 + reach for axis in (row, column)]
    corner = np.array([(area.left, area.top) for area in fields.areas])[where[first]][kept]
    (xres, yres), (left, top) = fields.res, corner.T
    return shapely.union_all(
        shapely.box(
            left + low[1] * xres, top - high[0] * yres, left + high[1] * xres, top - low[0] * yres
        )
    )


def _starts(values: Integers) -> Integers:
    """First position of each run of equal values, and the end."""
    begins = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    return np.append(begins, len(values))

"""Split data sets by space or by time, so that no pixel or date is in two splits."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import shapely
from shapely import MultiPolygon, Polygon
from torchgeo.datasets import GeoDataset, roi_split, time_series_split

from ..samplers.footprints import join_footprints

__all__ = ['split_blocks', 'split_space', 'split_time']

Split = list[GeoDataset | None]


def split_space(
    datasets: Sequence[GeoDataset],
    fractions: Sequence[float],
    *,
    block: tuple[float, float],
    seed: int = 0,
) -> list[Split]:
    """Split data sets of one area along the same blocks.

    Args:
        datasets: The data sets; the blocks are drawn over the area of the last.
        fractions: Share of each split, summing to 1; the first is training.
        block: Smallest height and width of a block, in pixels.
        seed: Seed of the assignment of blocks to splits.

    Returns:
        For each data set its splits, None where a split is empty. What a data set covers
        beyond the area of the last belongs to the first split.
    """
    xres, yres = datasets[-1].res
    area = shapely.get_parts(join_footprints(datasets[-1]))
    size = block[0] * yres, block[1] * xres
    rois = split_blocks(list(area), fractions=fractions, block=size, seed=seed)
    held_out = shapely.union_all(rois[1:])
    result: list[Split] = []
    for dataset in datasets:
        rest = join_footprints(dataset).difference(held_out)
        shares = [rest, *rois[1:]]
        parts = iter(roi_split(dataset, [roi for roi in shares if not roi.is_empty]))
        result.append([None if roi.is_empty else next(parts) for roi in shares])
    return result


def split_time(datasets: Sequence[GeoDataset], fractions: Sequence[float]) -> list[Split]:
    """Split data sets of one time span at the same dates, in chronological order.

    Args:
        datasets: The data sets; the dates of the first count.
        fractions: Share of the dates of each split, summing to 1.

    Returns:
        For each data set its splits, None where a fraction is 0.

    Raises:
        ValueError: If there are fewer dates than splits.
    """
    dates = datasets[0].index.index.left.unique().sort_values()
    wanted = [i for i, fraction in enumerate(fractions) if fraction > 0]
    if len(dates) < len(wanted):
        raise ValueError(
            f'{len(dates)} dates cannot be split by time into {len(wanted)}: hold nothing out '
            "(val_fraction=0, test_fraction=0), or use split='space'"
        )
    # Cut between acquisitions: a cut within one would put it on both sides.
    ends = np.cumsum([fractions[i] for i in wanted])[:-1] * len(dates)
    cuts = [
        dates[int(np.clip(round(end), i + 1, len(dates) - len(wanted) + i + 1))]
        for i, end in enumerate(ends)
    ]
    result: list[Split] = []
    for dataset in datasets:
        time = dataset.bounds[2]
        edges = [time.start, *cuts, time.stop]
        intervals = [pd.Interval(a, b, closed='neither') for a, b in pairwise(edges)]
        parts = iter(time_series_split(dataset, intervals))
        result.append([next(parts) if i in wanted else None for i in range(len(fractions))])
    return result


def split_blocks(
    footprints: Sequence[Polygon],
    *,
    fractions: Sequence[float],
    block: tuple[float, float],
    seed: int = 0,
) -> list[MultiPolygon]:
    """Assign whole blocks of an area to splits, at random.

    Each footprint is cut into a grid of blocks of equal size, as close to *block* as whole
    numbers allow but never smaller. Within a footprint the splits after the first each
    take the nearest number of blocks to their fraction, and at least one where their
    fraction is above 0; the first split takes the rest, blocks that the footprint fills in
    part only among it.

    Args:
        footprints: Disjoint, as (multi-)polygons' parts give them, in CRS units.
        fractions: Share of each split, summing to 1.
        block: Smallest height and width of a block, in CRS units.
        seed: Seed of the assignment.

    Returns:
        One geometry per split; their interiors are disjoint and they cover all footprints.

    Raises:
        ValueError: If no footprint has as many blocks as there are splits.
    """
    if abs(sum(fractions) - 1) > 1e-6 or min(fractions) < 0:
        raise ValueError(f'fractions must be positive and sum to 1, got {list(fractions)}')
    generator = np.random.default_rng(seed)
    parts: list[list[Polygon]] = [[] for _ in fractions]
    wanted = sum(fraction > 0 for fraction in fractions)
    divided = False
    for footprint in footprints:
        blocks = _grid(footprint, block)
        if len(blocks) < wanted:
            # Too small to be divided: a whole footprint stays in training.
            parts[0].append(footprint)
            continue
        divided = True
        order = generator.permutation(len(blocks))[:-1]  # one at least is for training
        taken = 0
        for part, fraction in zip(parts[1:], fractions[1:], strict=True):
            count = max(1, round(fraction * len(blocks))) if fraction > 0 else 0
            part.extend(blocks[i] for i in order[taken : taken + count])
            taken += count
        held_out = shapely.union_all([blocks[i] for i in order[:taken]])
        parts[0].append(footprint.difference(held_out))
    if not divided:
        sizes = [tuple(round(float(v), 3) for v in _size(footprint)) for footprint in footprints]
        raise ValueError(
            f'No area is large enough to hold out a block of {block} (height, width) in CRS '
            f'units: the areas measure {sizes[:5]}. Choose a smaller patch_size, split by '
            "time (split='time'), or hold nothing out (val_fraction=0)."
        )
    return [shapely.union_all(part) if part else MultiPolygon() for part in parts]


def _size(footprint: Polygon) -> tuple[float, float]:
    """Height and width of the bounds."""
    xmin, ymin, xmax, ymax = footprint.bounds
    return ymax - ymin, xmax - xmin


def _grid(footprint: Polygon, block: tuple[float, float]) -> list[Polygon]:
    """Cut the bounds into blocks and keep those that lie in the footprint."""
    xmin, ymin, xmax, ymax = footprint.bounds
    rows, cols = (
        max(1, int((length + 1e-6 * size) // size))
        for length, size in zip(_size(footprint), block, strict=True)
    )
    # Whole multiples of the block but for the last, so that edges fall on pixels.
    ys = [ymax - i * block[0] for i in range(rows)] + [ymin]
    xs = [xmin + j * block[1] for j in range(cols)] + [xmax]
    cells = (
        shapely.box(xs[j], ys[i + 1], xs[j + 1], ys[i]) for i in range(rows) for j in range(cols)
    )
    return [cell for cell in cells if cell.difference(footprint).area < 1e-6 * cell.area]

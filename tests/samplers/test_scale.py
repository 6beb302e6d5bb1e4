"""A hundred thousand footprints: the same answers as by looking at each of them."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_sits.samplers import (
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
    RandomSeriesPatchSampler,
    SeasonSampler,
)
from torchgeo_sits.samplers.footprints import Footprints

ROWS = 100_000
START = pd.Timestamp('2018-01-01')


def tiles():
    """1,600 tiles of 110 km every 100 km, on 62 or 63 dates each."""
    number = np.arange(ROWS)
    x, y = number % 40 * 1e5, number // 40 % 40 * 1e5
    return START + pd.to_timedelta(number // 1600 * 5, 'D'), shapely.box(x, y, x + 11e4, y + 11e4)


def chips():
    """Scattered chips of 256 pixels off each other's grids, each on a day of its own."""
    rng = np.random.default_rng(0)
    cell = rng.choice(700 * 700, ROWS, replace=False)
    x, y = cell % 700 * 3000 + 400 * rng.random(ROWS), cell // 700 * 3000 + 400 * rng.random(ROWS)
    days = START + pd.to_timedelta(rng.integers(0, 1000, ROWS), 'D')
    return days, shapely.box(x, y, x + 2560, y + 2560)


def swaths():
    """Slanted scenes of 20 to 30 km that overlap, 70 of them over a place."""
    rng = np.random.default_rng(0)
    corner, side = rng.uniform(0, 1e6, (ROWS, 2)), rng.uniform(2e4, 3e4, (ROWS, 2))
    across, along = side[:, :1] * [1, 0.2], side[:, 1:] * [-0.2, 1]
    corners = np.stack([corner, corner + across, corner + across + along, corner + along], axis=1)
    days = START + pd.to_timedelta(rng.integers(0, 1000, ROWS), 'D')
    return days, shapely.polygons(corners)


@pytest.fixture(scope='module', params=[tiles, chips, swaths])
def large(request, footprints):
    return request.param.__name__, footprints(*request.param())


def test_draws_from_many_footprints(large):
    name, data = large
    places = RandomSeriesPatchSampler(data, size=64, length=400, generator=0)
    dates = RandomDateCountSampler(data, count=4, generator=0)
    windows = list(places @ dates)
    assert len(windows) == 400
    # As many grids as there are connected areas.
    assert len(places.grids) == (ROWS if name == 'chips' else 1)
    days, shapes = data.index.index.left, np.asarray(data.index.geometry)
    for x, y, t in windows[:20]:
        box = shapely.box(x.start, y.start, x.stop, y.stop)
        near = shapely.intersects(shapes, box)
        near[near] = shapely.area(shapely.intersection(shapes[near], box)) > 1e-6 * box.area
        assert shapely.union_all(shapes[near]).buffer(1e-3).covers(box)
        expected = pd.DatetimeIndex(np.unique(days[near]))
        found = dates.acquisitions((x, y))
        assert (pd.to_datetime(found[:, 0]) == expected).all()
        inside = expected[(expected >= t.start) & (expected < t.stop)]
        assert len(inside) == min(4, len(expected))


def test_chips_are_drawn_alike(footprints):
    data = footprints(*chips())
    sampler = RandomSeriesPatchSampler(data, size=(250, 255), length=ROWS, generator=0)
    corner = np.array([(x.start, y.stop) for x, y in sampler])
    left, _, _, top = shapely.bounds(np.asarray(data.index.geometry)).T
    # A chip is known by its cell of 3 km, in whose lower left quarter its corner lies.
    chip = {cell: i for i, cell in enumerate(zip(left // 3000, (top - 2560) // 3000, strict=True))}
    assert len(chip) == ROWS
    where = [chip[x // 3000, (y - 2460) // 3000] for x, y in corner]
    column = (corner[:, 0] - left[where]) / 10
    row = (top[where] - corner[:, 1]) / 10
    assert np.allclose(column, column.round(), atol=1e-6)
    # 7 x 2 positions on each of 100,000 grids, all with the same probability.
    seen = Counter(zip(row.round().astype(int), column.round().astype(int), strict=True))
    assert set(seen) == {(r, c) for r in range(7) for c in range(2)}
    expected = ROWS / 14
    assert sum((n - expected) ** 2 / expected for n in seen.values()) < 13 + 4 * np.sqrt(26)
    # One draw for each chip in the mean, spread as draws with replacement are: Poisson.
    times = np.bincount(np.bincount(where, minlength=ROWS), minlength=6)[:6]
    poisson = ROWS * np.exp(-1) / np.array([1, 1, 2, 6, 24, 120])
    assert ((times - poisson) ** 2 / poisson).sum() < 6 + 4 * np.sqrt(12)


def test_length_of_many_footprints_by_place(footprints):
    days, shapes = chips()
    data = footprints(days[:3000], shapes[:3000])
    grid = GriddedSeriesPatchSampler(data, size=100, stride=90)
    assert len(grid) == 3 * 3 * 3000
    summer = grid @ SeasonSampler(data, start='06-01', stop='09-01')
    assert len(summer) == 9 * ((days[:3000].month >= 6) & (days[:3000].month < 9)).sum()


def test_places_and_dates_by_the_formula(footprints):
    """Chi-square of place and date together where footprints of other dates overlap."""
    first, second = shapely.box(0, -60, 60, 0), shapely.box(40, -60, 100, 0)
    days = pd.date_range('2020-01-01', periods=5, freq='D')
    data = footprints(days, [first, first, first, second, second])
    places = RandomSeriesPatchSampler(data, size=2, length=40_000, generator=1)
    product = places @ RandomDateCountSampler(data, count=2, generator=1)
    seen = Counter((round(x.start / 10), round(-y.stop / 10), t.start.day) for x, y, t in product)
    expected = {}
    for column in range(9):
        # Two days of three, of two, or of all five where both lie; columns 3, 4 and 5 see both.
        starts = (1, 2) if column < 3 else (1, 2, 3, 4) if column < 6 else (4,)
        for row in range(5):
            for start in starts:
                expected[column, row, start] = 40_000 / 45 / len(starts)
    assert set(seen) == set(expected)
    chi = sum((seen[key] - value) ** 2 / value for key, value in expected.items())
    freedom = len(expected) - 1
    assert chi < freedom + 4 * np.sqrt(2 * freedom)


def test_patches_of_shapes_under_a_region_of_interest_by_the_formula(footprints):
    """Of boxes, of a triangle and of pieces of them, each position that fits alike."""
    shapes = [
        shapely.box(0, -80, 80, 0),
        shapely.Polygon([(203, 0), (303, 0), (203, -100)]),
        shapely.box(401, -55, 441, -5),
    ]
    data = footprints(pd.date_range('2020-01-01', periods=3), shapes)
    roi = shapely.box(-10, -200, 60, 10) | shapely.box(60, -40, 430, 10)
    sampler = RandomSeriesPatchSampler(data, size=(2, 3), length=60_000, roi=roi, generator=2)
    possible = set()
    for shape in shapes:
        left, _, right, top = shape.bounds
        area = (shape & roi).buffer(1e-6)
        for row in range(10):
            for column in range(round((right - left) / 10)):
                x, y = left + 10 * column, top - 10 * row
                if area.covers(shapely.box(x, y - 20, x + 30, y)):
                    possible.add((round(x), round(y)))
    seen = Counter((round(x.start), round(y.stop)) for x, y in sampler)
    assert set(seen) == possible
    expected = 60_000 / len(possible)
    chi = sum((n - expected) ** 2 / expected for n in seen.values())
    assert chi < len(possible) - 1 + 4 * np.sqrt(2 * len(possible))


def test_overlaps_agree_with_areas():
    """Convex and other shapes, small and large beside the windows, at corners and on edges."""
    rng = np.random.default_rng(0)
    shapes = []
    for _ in range(300):
        points = rng.integers(0, 60, (rng.integers(3, 12), 2)) + rng.integers(0, 40, 2)
        shapes.append(shapely.convex_hull(shapely.multipoints(points)))
        shapes.append(shapely.concave_hull(shapely.multipoints(points), 0.3))
        shapes.append(shapely.box(*points[0], *(points[0] + rng.integers(1, 9, 2))))
    shapes = [s for s in shapes if s.area > 0]
    shapes.append(shapely.box(0, 0, 50, 50) - shapely.box(10, 10, 40, 40))
    footprints = Footprints(np.array(shapes))
    corner = rng.integers(-5, 100, (300, 2))
    bounds = np.concatenate([corner, corner + rng.integers(1, 30, (300, 2))], axis=1).astype(float)
    found = footprints.overlapping(bounds)
    windows = shapely.box(*bounds.T)
    total = 0
    for window, near in zip(windows, found, strict=True):
        shared = shapely.area(shapely.intersection(footprints.shapes, window))
        assert near.tolist() == np.flatnonzero(shared > 1e-6 * window.area).tolist()
        total += len(near)
    assert total > 10_000

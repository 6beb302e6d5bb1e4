"""Patches in space: positions, probabilities and coverage, against brute force."""

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from geopandas import GeoDataFrame
from torchgeo.datasets import GeoDataset, RasterDataset
from torchgeo.samplers import (
    RandomPatchSampler,
    RandomTimestampSampler,
    SequentialTimestampSampler,
)

from torchgeo_sits.errors import SITSError
from torchgeo_sits.samplers import (
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
    RandomSeriesPatchSampler,
    SeasonSampler,
)


class Stack(RasterDataset):
    filename_regex = r'.*_(?P<date>\d{8})\.tif$'


class Footprints(GeoDataset):
    """Times and places without files; ``rows`` are (day, geometry) pairs."""

    def __init__(self, rows, res=(10.0, 10.0)):
        times = pd.DatetimeIndex([row[0] for row in rows])
        index = pd.IntervalIndex.from_arrays(
            times, times + pd.Timedelta('1d') - pd.Timedelta('1us'), closed='both', name='datetime'
        )
        self.index = GeoDataFrame(
            {'filepath': [''] * len(rows)},
            index=index,
            geometry=[row[1] for row in rows],
            crs='EPSG:32631',
        )
        self._res = res

    def __getitem__(self, index):
        raise IndexError


def pixels(sampler, left=0.0, top=0.0, res=10.0):
    """Row and column of the upper left pixel of each patch of an epoch, ``(N, 2)``."""
    corner = np.array([((top - y.stop) / res, (x.start - left) / res) for x, y in sampler])
    assert np.allclose(corner, corner.round(), atol=1e-6), 'off the pixel grid'
    return corner.round().astype(int)


def test_as_large_as_the_footprint(shared_data):
    stack = Stack(str(shared_data / 'wc_be_b' / 's2'))
    with rasterio.open(stack.files[0]) as file:
        bounds = file.bounds
    [(x, y)] = RandomSeriesPatchSampler(stack, size=64)
    assert (x.start, y.start, x.stop, y.stop) == tuple(bounds)
    [(x, y)] = RandomSeriesPatchSampler(stack, size=100)
    assert (x.start, y.stop) == (bounds.left, bounds.top)
    assert (x.stop - x.start, y.stop - y.start) == (1000, 1000)


@pytest.mark.parametrize('name', ['wc_be_b/s2', 'gfmap_poly5/images'])
def test_patches_fall_on_the_files_own_pixels(shared_data, name):
    stack = Stack(str(shared_data / name))
    with rasterio.open(stack.files[0]) as file:
        inverse, shape = ~file.transform, file.shape
    for x, y in RandomSeriesPatchSampler(stack, size=(20, 31), length=200, generator=0):
        column, row = inverse @ (x.start, y.stop)
        assert abs(column - round(column)) < 1e-6
        assert abs(row - round(row)) < 1e-6
        assert 0 <= round(row) <= shape[0] - 20
        assert 0 <= round(column) <= shape[1] - 31


def test_every_position_has_the_same_probability_over_disjoint_footprints():
    # Two footprints whose grids are not in phase, with 4 x 3 and 1 x 6 positions.
    first, second = shapely.box(0, -70, 60, 0), shapely.box(1003, -43, 1093, -3)
    data = Footprints([('2020-01-01', first), ('2020-01-02', second), ('2020-01-03', first)])
    sampler = RandomSeriesPatchSampler(data, size=4, length=18_000, generator=0)
    corners = [(x.start, y.stop) for x, y in sampler]
    where, counts = np.unique(corners, axis=0, return_counts=True)
    assert len(where) == 4 * 3 + 6
    assert set(where[where[:, 0] > 500][:, 1]) == {-3.0}
    # 17 degrees of freedom: 99.99 % of draws lie below 46.
    assert ((counts - 1000) ** 2 / 1000).sum() < 46


def test_roi_keeps_patches_and_their_data_apart():
    data = Footprints([('2020-01-01', shapely.box(0, -200, 200, 0))])
    left, right = shapely.box(0, -200, 97, 0), shapely.box(97, -200, 200, 0)
    for roi, columns in ((left, range(0, 6)), (right, range(10, 17))):
        found = pixels(RandomSeriesPatchSampler(data, size=4, length=400, roi=roi, generator=0))
        assert set(found[:, 1]) == set(columns)
        grid = pixels(GriddedSeriesPatchSampler(data, size=4, roi=roi))
        assert grid[:, 1].min() == columns[0]
        assert grid[:, 1].max() == columns[-1]
    # Data of the neighbour would come in with a patch wider than the roi.
    with pytest.raises(ValueError, match=r'12 x 12 pixels lies in roi'):
        RandomSeriesPatchSampler(data, size=12, roi=left)


def test_footprint_that_is_no_rectangle():
    shape = shapely.box(0, -80, 80, 0) - shapely.box(40, -80, 80, -40)
    data = Footprints([('2020-01-01', shape)])
    found = pixels(RandomSeriesPatchSampler(data, size=3, length=3000, generator=0))
    inside = {(r, c) for r in range(6) for c in range(6) if not (r > 1 and c > 1)}
    assert {tuple(p) for p in found.tolist()} == inside
    covered = np.zeros((8, 8), bool)
    for r, c in pixels(GriddedSeriesPatchSampler(data, size=3)):
        covered[r : r + 3, c : c + 3] = True
    assert covered[:4].all()
    assert covered[:, :4].all()


@pytest.mark.parametrize(('size', 'stride'), [(4, None), (5, 3), ((20, 3), (7, 2)), (30, None)])
def test_grid_covers_all_and_stays_inside(size, stride):
    # Off-phase footprints of 20 x 15 and 7 x 9 pixels.
    boxes = [(0, 0, 20, 15), (407, -3, 7, 9)]
    data = Footprints(
        [('2020-01-01', shapely.box(x, y - 10 * h, x + 10 * w, y)) for x, y, h, w in boxes]
    )
    windows = list(GriddedSeriesPatchSampler(data, size=size, stride=stride))
    assert len(windows) == len({(x.start, y.start) for x, y in windows})
    height, width = (size, size) if isinstance(size, int) else size
    for left, top, h, w in boxes:
        covered = np.zeros((h, w), bool)
        for x, y in windows:
            r, c = (top - y.stop) / 10, (x.start - left) / 10
            if left <= x.start < left + 10 * w:
                assert r == int(r) >= 0
                assert c == int(c) >= 0
                assert r + height <= max(h, height)
                assert c + width <= max(w, width)
                covered[int(r) : int(r) + height, int(c) : int(c) + width] = True
        assert covered.all()


def test_epochs_differ_and_seeds_repeat():
    data = Footprints([('2020-01-01', shapely.box(0, -900, 900, 0))])
    one, other = (RandomSeriesPatchSampler(data, size=5, generator=7) for _ in range(2))
    first = list(one)
    assert first == list(other)
    assert len(first) == len(one) == 18 * 18
    assert first != list(one)


def test_places_without_acquisitions_are_skipped_and_replaced():
    here, there = shapely.box(0, -100, 100, 0), shapely.box(500, -100, 600, 0)
    rows = [(f'2020-01-{d:02}', here) for d in range(1, 11)]
    data = Footprints([*rows, ('2020-06-01', there)])
    january = pd.Interval(pd.Timestamp('2020-01-01'), pd.Timestamp('2020-02-01'))
    temporal = RandomDateCountSampler(data, count=4, toi=january, length=3, generator=0)
    product = RandomSeriesPatchSampler(data, size=5, length=40, generator=0) @ temporal
    with pytest.warns(UserWarning, match='skipped: no acquisition'):
        windows = list(product)
    assert len(windows) == len(product) == 40
    assert all(x.stop <= 100 for x, _, _ in windows)
    assert 10 < product.skipped < 80

    product = GriddedSeriesPatchSampler(data, size=5) @ temporal
    with pytest.warns(UserWarning, match='4 places'):
        assert len(list(product)) == len(product) == 3 * 4
    with pytest.warns(UserWarning, match='4 places'):
        assert (
            len(
                list(
                    GriddedSeriesPatchSampler(data, size=5)
                    @ SeasonSampler(data, start='06-01', stop='07-01')
                )
            )
            == 4
        )
    # TorchGeo's own product cannot skip, and is told why.
    with pytest.raises(SITSError, match='torchgeo_sits before the @'):
        list(RandomPatchSampler(data, size=2, length=40, generator=0) @ temporal)
    june = pd.Interval(pd.Timestamp('2020-06-01'), pd.Timestamp('2020-07-01'))
    nowhere = RandomSeriesPatchSampler(data, size=5, length=4, roi=here) @ RandomDateCountSampler(
        data, count=1, toi=june
    )
    with pytest.raises(SITSError, match='widen toi or roi'):
        list(nowhere)


def test_composes_with_torchgeo_temporal_samplers(shared_data):
    stack = Stack(str(shared_data / 'wc_be_b' / 's2'), time_series=True)
    random = RandomSeriesPatchSampler(stack, size=8, length=3, generator=0)
    for window in random @ RandomTimestampSampler(stack, generator=0):
        assert stack[window]['image'].shape == (1, 10, 8, 8)
    grid = GriddedSeriesPatchSampler(stack, size=32)
    assert len(list(grid @ SequentialTimestampSampler(stack))) == 4 * 72


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'size': 0}, 'size .* got 0'),
        ({'size': (3, 4, 5)}, r'size .* got \(3, 4, 5\)'),
        ({'size': 3, 'length': 0}, 'length .* got 0'),
        ({'size': 3, 'roi': shapely.box(900, 900, 990, 990)}, 'lies in roi'),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    data = Footprints([('2020-01-01', shapely.box(0, -100, 100, 0))])
    with pytest.raises(ValueError, match=message):
        RandomSeriesPatchSampler(data, **arguments)


def test_stride_beyond_size_is_refused():
    data = Footprints([('2020-01-01', shapely.box(0, -100, 100, 0))])
    with pytest.raises(ValueError, match='pixels would be left out'):
        GriddedSeriesPatchSampler(data, size=3, stride=4)

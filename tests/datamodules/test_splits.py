"""Splits share no pixel and no date, and lose none."""

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from torchgeo_sits.datamodules.splits import split_blocks, split_space, split_time
from torchgeo_sits.datasets import RasterTimeSeries


def write_series(folder, dates, *, size=(48, 40), origin=(600000, 5000000)):
    folder.mkdir(exist_ok=True)
    for i, date in enumerate(dates):
        profile = {
            'driver': 'GTiff',
            'height': size[0],
            'width': size[1],
            'count': 1,
            'dtype': 'uint16',
            'crs': 'EPSG:32631',
            'transform': from_origin(*origin, 10, 10),
        }
        with rasterio.open(folder / f'x_{origin[0]}_{date}.tif', 'w', **profile) as file:
            file.write(np.full((1, *size), i + 1, 'uint16'))
    return folder


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_blocks_cover_the_area_without_overlap(seed):
    footprints = [shapely.box(0, 0, 640, 480), shapely.box(1000, 0, 1320, 320)]
    parts = split_blocks(footprints, fractions=[0.6, 0.2, 0.2], block=(100, 100), seed=seed)
    area = sum(f.area for f in footprints)
    assert sum(part.area for part in parts) == pytest.approx(area)
    assert shapely.union_all(parts).area == pytest.approx(area)
    for part, share in zip(parts[1:], (0.2, 0.2), strict=True):
        assert part.area / area == pytest.approx(share, abs=0.08)
        # Each held-out block can hold a patch.
        assert all(
            p.bounds[2] - p.bounds[0] >= 100 and p.bounds[3] - p.bounds[1] >= 100
            for p in shapely.get_parts(part)
        )
    again = split_blocks(footprints, fractions=[0.6, 0.2, 0.2], block=(100, 100), seed=seed)
    assert all(a.equals(b) for a, b in zip(parts, again, strict=True))


def test_blocks_begin_on_the_pixel_grid():
    parts = split_blocks([shapely.box(0, 0, 470, 410)], fractions=[0.5, 0.5], block=(100, 100))
    for part in parts:
        xs, ys = shapely.get_coordinates(part).T
        assert set(xs % 100) <= {0, 70}
        assert set((410 - ys) % 100) <= {0, 10}


def test_held_out_blocks_are_whole_where_the_area_is_no_rectangle():
    # An L, whose inner corner cuts blocks.
    area = shapely.union_all([shapely.box(0, 0, 300, 130), shapely.box(0, 0, 130, 300)])
    for seed in range(5):
        train, val = split_blocks([area], fractions=[0.5, 0.5], block=(100, 100), seed=seed)
        assert val.area > 0
        for part in shapely.get_parts(val):
            xmin, ymin, xmax, ymax = part.bounds
            assert min(xmax - xmin, ymax - ymin) >= 100
        assert train.area + val.area == pytest.approx(area.area)
        assert train.intersection(val).area == 0


def test_training_keeps_a_block_whatever_the_fractions():
    train, *_ = split_blocks(
        [shapely.box(0, 0, 500, 200)], fractions=[0.02, 0.49, 0.49], block=(100, 100)
    )
    assert train.area > 0


def test_area_too_small_to_hold_out_is_named():
    with pytest.raises(ValueError, match=r'patches\.size.*split\.val_fraction=0'):
        split_blocks([shapely.box(0, 0, 90, 90)], fractions=[0.8, 0.2], block=(50, 50))


def test_split_in_space_reads_each_window_from_one_split(tmp_path):
    series = RasterTimeSeries(write_series(tmp_path / 's', ['20200101', '20200111']))
    [[train, val, test]] = split_space([series], [0.75, 0.25, 0.0], block=(16, 16))
    assert test is None
    joint = train.index.union_all().intersection(val.index.union_all())
    assert joint.area == 0
    assert train.index.union_all().area + val.index.union_all().area == 48 * 40 * 100
    xmin, ymin, xmax, ymax = shapely.get_parts(val.index.union_all())[0].bounds
    window = slice(xmin, xmax), slice(ymin, ymax)
    assert val[window]['image'].unique().tolist() == [1, 2]
    with pytest.raises(IndexError):
        train[window]


def test_split_in_time_gives_each_date_to_one_split(tmp_path):
    dates = [f'202001{day:02d}' for day in range(1, 11)]
    series = RasterTimeSeries(write_series(tmp_path / 's', dates))
    [parts] = split_time([series], [0.6, 0.3, 0.1])
    seen = [part[:, :]['image'][:, 0, 0, 0].tolist() for part in parts]
    assert seen == [[1, 2, 3, 4, 5, 6], [7, 8, 9], [10]]


def test_too_few_dates_to_split_are_named(tmp_path):
    series = RasterTimeSeries(write_series(tmp_path / 's', ['20200101']))
    with pytest.raises(ValueError, match='1 dates cannot be split by time into 2'):
        split_time([series], [0.8, 0.2])

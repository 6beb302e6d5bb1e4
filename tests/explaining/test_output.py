"""Where a place lies, and what is written of it."""

import csv
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import torch
from matplotlib import pyplot as plt
from matplotlib.dates import num2date
from rasterio.crs import CRS

from torchgeo_sits.commands.explain import locate, patch_around
from torchgeo_sits.explaining import (
    importance_limit,
    plot_dates,
    plot_pixels,
    write_dates,
    write_importance,
)
from torchgeo_sits.grid import Grid

DATA = Grid(600_000, 5_000_000, 10, 20, 40, 32, CRS.from_epsg(32631))
TIMES = [int(datetime(2021, month, 15, tzinfo=UTC).timestamp()) for month in (1, 3, 4, 9)]
CLEAR = np.array([True, False, True, True])


def test_degrees_and_coordinates_of_the_data_name_the_same_place():
    # The central meridian of zone 31 is 3 degrees east, 500 km from the false origin.
    data = replace(DATA, left=499_800, top=4_983_300)
    x, y = locate('3,45', data)
    assert x == pytest.approx(500_000, abs=1e-3)
    assert locate(f'{x + 1},{y}', data) == (x + 1, y)
    for text in ('3', '3,45,1', 'here,there'):
        with pytest.raises(ValueError, match='LON,LAT'):
            locate(text, data)


LAEA = CRS.from_proj4('+proj=laea +lat_0=51.5 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80')


@pytest.mark.parametrize(
    ('text', 'crs', 'extent'),
    [
        ('5,45', DATA.crs, r'longitude 4\.27\d+ to 4\.27\d+ and latitude 45\.14\d+ to 45\.14\d+$'),
        ('600400,4999670', DATA.crs, r'x from 600000 to 600400 and y .* in EPSG:32631$'),
        ('4000000,3000000', LAEA, r'x from 600000 .* in Lambert Azimuthal Equal Area$'),
    ],
)
def test_a_place_outside_is_told_the_extent_in_its_own_units(text, crs, extent):
    with pytest.raises(ValueError, match=extent):
        locate(text, replace(DATA, crs=crs))


@pytest.mark.parametrize(
    ('point', 'corner', 'pixel'),
    [
        ((600_205, 4_999_670), (600_120, 4_999_840), (8, 8)),  # 16 x 16 around column 20, row 16
        ((600_001, 4_999_999), (600_000, 5_000_000), (0, 0)),
        ((600_399.9, 4_999_360.1), (600_240, 4_999_680), (15, 15)),
    ],
)
def test_the_patch_lies_on_the_pixels_and_in_the_data(point, corner, pixel):
    grid, found = patch_around(DATA, point, 16)
    assert (grid.left, grid.top) == corner
    assert (grid.height, grid.width) == (16, 16)
    assert found == pixel
    x, y = grid.transform @ (found[1], found[0])
    assert x <= point[0] < x + 10
    assert y - 20 < point[1] <= y


def test_small_data_is_taken_whole():
    grid, pixel = patch_around(DATA, (600_205, 4_999_670), 64)
    assert grid == DATA
    assert pixel == (16, 20)


def test_the_map_lies_where_the_patch_does(tmp_path):
    grid, _ = patch_around(DATA, (600_205, 4_999_670), 16)
    values = torch.arange(256.0).view(16, 16)
    values[3, 4] = torch.nan
    write_importance(tmp_path / 'a.tif', values, grid, {'CLASS': 'maize'})
    with rasterio.open(tmp_path / 'a.tif') as file:
        assert file.crs == DATA.crs
        assert file.transform == grid.transform
        assert tuple(file.bounds) == grid.bounds
        assert file.tags()['CLASS'] == 'maize'
        np.testing.assert_array_equal(file.read(1), values.numpy())
        assert not file.read(1, masked=True).mask[0, 0]
        assert file.read(1, masked=True).mask[3, 4]
    with pytest.raises(ValueError, match='16 x 16'):
        write_importance(tmp_path / 'b.tif', values[:5], grid, {})


def test_the_table_leaves_clouded_dates_empty(tmp_path):
    columns = {'importance': np.array([0.5, np.nan, -1, 0])}
    write_dates(tmp_path / 'a.csv', TIMES, CLEAR, columns, {'B04': np.array([1.0, 2, 3, 4])})
    with (tmp_path / 'a.csv').open(newline='') as file:
        rows = list(csv.reader(file))
    assert rows == [
        ['date', 'clear', 'importance', 'B04'],
        ['2021-01-15', '1', '0.5', '1'],
        ['2021-03-15', '0', '', ''],
        ['2021-04-15', '1', '-1', '3'],
        ['2021-09-15', '1', '0', '4'],
    ]


@pytest.mark.parametrize('attention', [{}, {'here': np.full(4, 0.25), 'mean': np.full(4, 0.2)}])
def test_the_picture_shows_the_ndvi_of_clear_dates_over_the_dates_of_the_series(attention):
    observed = {'B04': np.array([1.0, np.nan, 1, 2]), 'B08': np.array([3.0, np.nan, 1, 6])}
    importance = np.array([0.5, np.nan, -1, 0])
    figure = plot_dates(TIMES, CLEAR, observed, importance, attention, title='a place')
    figure.canvas.draw()
    top = figure.axes[0]
    assert len(figure.axes) == 2 + bool(attention)
    np.testing.assert_allclose(top.lines[0].get_ydata(), [0.5, 0, 0.5])
    assert len(top.lines[1].get_xdata()) == 1  # the clouded date
    for axis in figure.axes:
        assert axis.get_position().height > 0.15
        first, last = (num2date(value).date() for value in axis.get_xlim())
        assert first.year == last.year == 2021 or (last - first).days < 300
    plt.close(figure)


def test_without_bands_of_an_ndvi_the_first_are_drawn():
    observed = {name: np.arange(4.0) for name in ('B1', 'B2', 'B3', 'B4')}
    figure = plot_dates(TIMES, CLEAR, observed, np.zeros(4), {}, title='a place')
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ['B1', 'B2', 'B3', 'clouded, or no data']
    plt.close(figure)


def test_pixels_are_drawn_on_the_scale_of_all_but_the_pixel_itself():
    """A thousand times more than its neighbours: on its own scale nothing else could be seen."""
    importance = torch.zeros(12, 10)
    importance[4] = torch.linspace(-0.01, 0.009, 10)
    importance[4, 3] = 10.0
    importance[0, 0] = torch.nan
    others = importance[4].abs()[torch.arange(10) != 3]
    limit = importance_limit(importance, (4, 3))
    assert limit == pytest.approx(np.quantile(others[others > 0.001].numpy(), 0.98))
    assert importance_limit(importance) > 1
    assert importance_limit(torch.zeros(2, 2), (0, 0)) == 1
    grid = Grid(600_000.0, 5_000_000.0, 10.0, 10.0, 10, 12, CRS.from_epsg(32631))
    figure = plot_pixels(importance, grid, (4, 3), limit=limit, title='a place')
    axis = figure.axes[0]
    assert axis.get_images()[0].get_clim() == (-limit, limit)
    [ring] = axis.get_lines()
    assert ring.get_xydata().tolist() == [[600_035.0, 4_999_955.0]]
    plt.close(figure)

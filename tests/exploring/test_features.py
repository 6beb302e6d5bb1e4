"""Embeddings by tiles: values against NumPy, and rasters that are none or lie elsewhere."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine, from_origin
from rasterio.windows import Window

from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.errors import SITSError
from torchgeo_sits.exploring import EmbeddedArea, Pyramid
from torchgeo_sits.grid import grid_of

PLACE = {'crs': 'EPSG:32631', 'transform': from_origin(600_000, 5_000_000, 10, 10)}


def write(path, values, *, levels=(), **options):
    profile = {'driver': 'GTiff', 'count': len(values), 'dtype': str(values.dtype), **PLACE}
    profile |= {'height': values.shape[1], 'width': values.shape[2], 'tiled': True}
    profile |= {'blockxsize': 128, 'blockysize': 128} | options
    with rasterio.open(path, 'w', **profile) as file:
        file.write(values)
        if levels:
            file.build_overviews(levels, Resampling.nearest)
    return path


@pytest.fixture(scope='module')
def large(tmp_path_factory):
    """More than a tile along both sides, with overviews, and a hole."""
    generator = np.random.default_rng(0)
    values = generator.normal(20, 4, (3, 300, 600)).astype('float32')
    values[1, 10:20, 30:40] = np.nan
    return write(tmp_path_factory.mktemp('large') / 'embedding.tif', values, levels=[2, 4]), values


def test_tiles_cover_all_pixels_once():
    pyramid = Pyramid(300, 600)
    assert pyramid.levels == 3
    for level, number in enumerate([6, 2, 1]):
        covered = np.zeros((300, 600), int)
        side = 256 << level
        for row in range(-(-300 // side)):
            for column in range(-(-600 // side)):
                rows, columns = pyramid.tile(level, row, column).window.toslices()
                covered[rows, columns] += 1
                number -= 1
        assert (covered == 1).all()
        assert number == 0
    for place in [(0, 2, 0), (0, 0, -1), (3, 0, 0), (-1, 0, 0)]:
        with pytest.raises(SITSError, match='there is no tile'):
            pyramid.tile(*place)


def test_pixels_are_standardised_and_holes_are_in_all_features(large):
    path, values = large
    area = EmbeddedArea(path)
    tile = area.tile(0, 1, 2).astype(np.float32)
    part = values[:, 256:300, 512:600]
    np.testing.assert_allclose(tile * area.std + area.mean, part, atol=0.02)
    seen = np.isfinite(values).all(0)
    whole = np.concatenate([f.reshape(3, -1) for _, f in area.blocks()], 1).astype(np.float32)
    assert np.isfinite(whole).all(0).sum() == seen.sum()
    np.testing.assert_allclose(np.nanmean(whole, 1), 0, atol=0.05)
    np.testing.assert_allclose(np.nanstd(whole, 1), 1, atol=0.05)
    np.testing.assert_array_equal(area.at(257, 513), area.tile(0, 1, 2)[:, 1, 1])


def test_coarse_tiles_are_read_from_overviews(large):
    path, _ = large
    area = EmbeddedArea(path)
    with rasterio.open(path, overview_level=0) as file:
        expected = file.read(window=Window(0, 0, 256, 150))
    tile = area.tile(1, 0, 0).astype(np.float32) * area.std + area.mean
    assert tile.shape == (3, 150, 256)
    seen = np.isfinite(expected).all(0)
    np.testing.assert_allclose(tile[:, seen], expected[:, seen], atol=0.02)


def test_bytes_are_turned_back_by_their_scales(tmp_path):
    stored = np.random.default_rng(0).integers(1, 256, (2, 20, 30)).astype('uint8')
    stored[:, 3, 4] = 0
    path = write(tmp_path / 'q.tif', stored, nodata=0)
    with rasterio.open(path, 'r+') as file:
        file.scales, file.offsets = [0.5, 2.0], [-3.0, 7.0]
    area = EmbeddedArea(path)
    values = area.tile(0, 0, 0).astype(np.float32) * area.std + area.mean
    expected = stored * np.array([0.5, 2.0])[:, None, None] + np.array([-3.0, 7.0])[:, None, None]
    assert np.isnan(values[:, 3, 4]).all()
    seen = stored[0] > 0
    np.testing.assert_allclose(values[:, seen], expected[:, seen], atol=0.5)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'crs': None}, 'has no coordinate reference system'),
        ({'transform': Affine(0, 10, 0, 10, 0, 0)}, 'turned or mirrored'),
    ],
)
def test_rasters_that_lie_nowhere_are_refused(tmp_path, change, message):
    path = write(tmp_path / 'e.tif', np.ones((2, 8, 8), 'float32'), **change)
    with pytest.raises(SITSError, match=message):
        EmbeddedArea(path)


def test_maps_empty_rasters_and_other_files_are_refused(tmp_path):
    path = write(tmp_path / 'class.tif', np.ones((1, 8, 8), 'uint8'))
    with pytest.raises(SITSError, match=r'holds 1 band\(s\) of uint8, and no embedding'):
        EmbeddedArea(path)
    path = write(tmp_path / 'empty.tif', np.full((2, 8, 8), np.nan, 'float32'))
    with pytest.raises(SITSError, match='holds no data'):
        EmbeddedArea(path)
    (tmp_path / 'text.tif').write_text('no raster')
    with pytest.raises(OSError, match='does not open as a raster'):
        EmbeddedArea(tmp_path / 'text.tif')
    with pytest.raises(FileNotFoundError, match='there are no embeddings'):
        EmbeddedArea(tmp_path / 'none.tif')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'crs': 'EPSG:32632'}, 'are in EPSG:32632, the images in EPSG:32631'),
        ({'transform': from_origin(600_005, 5_000_000, 10, 10)}, 'have pixels of 10 x 10 from'),
        ({'transform': from_origin(600_000, 5_000_000, 20, 20)}, 'have pixels of 20 x 20 from'),
        ({'transform': from_origin(600_390, 5_000_000, 10, 10)}, 'reach beyond the images'),
    ],
)
def test_embeddings_of_another_grid_are_refused(tmp_path, series_folder, change, message):
    path = write(
        tmp_path / 'e.tif', np.random.default_rng(0).random((2, 8, 8), 'float32'), **change
    )
    with pytest.raises(SITSError, match=message):
        EmbeddedArea(path, grid_of(RasterTimeSeries(series_folder)))


def test_embeddings_of_a_part_of_the_images_are_taken(tmp_path, series_folder):
    place = {'transform': from_origin(600_050, 4_999_970, 10, 10)}
    path = write(tmp_path / 'e.tif', np.random.default_rng(0).random((2, 8, 8), 'float32'), **place)
    area = EmbeddedArea(path, grid_of(RasterTimeSeries(series_folder)))
    assert (area.grid.left, area.grid.height) == (600_050, 8)

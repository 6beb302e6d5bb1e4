"""Pictures and series of pixels against what the files hold."""

import numpy as np
import pytest
import rasterio

from torchgeo_sits.datasets import RasterTimeSeries, ZarrTimeSeries, write_cube
from torchgeo_sits.errors import SITSError
from torchgeo_sits.exploring import Pyramid, SeriesImages
from torchgeo_sits.grid import grid_of


@pytest.fixture(scope='module')
def images(made):
    return SeriesImages(made.open_bands, grid_of(made.open_bands(None)))


def test_series_of_a_pixel_is_that_of_the_files(images, made):
    found = images.pixel(17, 33)
    paths = sorted(made.files.images.iterdir())
    stored = {}
    for path in paths:
        with rasterio.open(path) as file:
            values = dict(zip(file.descriptions, file.read()[:, 17, 33].astype(float), strict=True))
            stored[path.name] = values
    red, nir = (np.array([v[band] for v in stored.values()]) for band in ('B04', 'B08'))
    seen = red > 0
    np.testing.assert_array_equal(np.isfinite(found.values['B04']), seen)
    np.testing.assert_array_equal(found.values['B04'][seen], red[seen])
    red, nir = red[seen], nir[seen]
    np.testing.assert_allclose(found.values['NDVI'][seen], (nir - red) / (nir + red), rtol=1e-5)
    clouds = []
    for path in sorted(made.files.clouds.iterdir()):
        with rasterio.open(path) as file:
            clouds.append(int(file.read(1)[17, 33]))
    np.testing.assert_array_equal(found.clear, np.isin(clouds, [4, 5, 6]) & seen)


def test_picture_orders_bands_by_light_and_veils_clouds(images, made):
    assert images.pictures['true colour'] == ('B04', 'B03', 'B02')
    assert images.pictures['false colour (near infrared, red, green)'] == ('B08', 'B04', 'B03')
    series = made.open_bands(['B04', 'B03', 'B02'])
    shares = [float(c.float().mean()) for c in series[series.bounds]['mask_clear']]
    date = int(np.argmin(np.abs(np.array(shares) - 0.5)))
    plain = images.tile(0, 0, 0, date=date, picture='true colour', marked=False).astype(int)
    veiled = images.tile(0, 0, 0, date=date, picture='true colour').astype(int)
    clear = series[series.bounds]['mask_clear'][date].numpy()
    observed = plain[..., 3] == 255
    assert 0 < clear.mean() < 1
    np.testing.assert_array_equal(plain[clear], veiled[clear])
    assert (plain != veiled)[observed & ~clear].any(-1).mean() > 0.9
    red = series[series.bounds]['image'][date, 0].numpy()
    inside = clear & (plain[..., 0] > 0) & (plain[..., 0] < 255)
    order = np.corrcoef(red[inside], plain[..., 0][inside])[0, 1]
    assert order > 0.95


def test_what_is_not_there_is_refused_or_empty(images):
    with pytest.raises(SITSError, match="no picture 'x' of date 0"):
        images.tile(0, 0, 0, date=0, picture='x')
    with pytest.raises(SITSError, match='of date 9'):
        images.tile(0, 0, 0, date=9, picture='true colour')


def test_coarse_tiles_of_cubes_are_every_so_many_th_pixel(made, tmp_path, monkeypatch):
    monkeypatch.setattr('torchgeo_sits.exploring.pyramid.TILE', 32)
    monkeypatch.setattr('torchgeo_sits.exploring.images._BLOCK', 16)  # several to be joined
    series = RasterTimeSeries(made.files.images)
    write_cube(series, tmp_path / 'cube.zarr')
    cube = SeriesImages(
        lambda bands: ZarrTimeSeries(tmp_path / 'cube.zarr', bands=bands), grid_of(series)
    )
    assert Pyramid(60, 70).levels == 3
    fine = np.concatenate(
        [
            np.concatenate([cube.tile(0, r, c, date=1, picture='true colour') for c in range(3)], 1)
            for r in range(2)
        ]
    )
    np.testing.assert_array_equal(cube.tile(2, 0, 0, date=1, picture='true colour'), fine[::4, ::4])
    raster = SeriesImages(lambda bands: RasterTimeSeries(made.files.images, bands=bands), cube.grid)
    coarse = raster.tile(2, 0, 0, date=1, picture='true colour').astype(int)
    assert coarse.shape == (15, 18, 4)
    assert np.abs(coarse - fine[::4, ::4]).mean() < 40

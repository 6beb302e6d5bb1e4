"""Sentinel-1 read beside an optical series, held against what rasterio reads."""

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from torchgeo_sits.datasets import RasterTimeSeries, Sentinel1Beside

DATES = ('20201215', '20210120', '20210220', '20210320', '20210901')


def seconds(date):
    return int(datetime.strptime(date, '%Y%m%d').replace(tzinfo=UTC).timestamp())


@pytest.fixture
def s1_folder(tmp_path):
    """Five dates of two bands on the grid of ``series_folder``, the first and last outside."""
    generator = np.random.default_rng(1)
    for date in DATES:
        with rasterio.open(
            tmp_path / f's1_{date}.tif',
            'w',
            driver='GTiff',
            height=32,
            width=40,
            count=2,
            dtype='float32',
            crs='EPSG:32631',
            transform=from_origin(600000, 5000000, 10, 10),
            nodata=-9999,
        ) as file:
            values = generator.normal(-12, 3, (2, 32, 40))
            values[:, :4] = -9999
            file.write(values.astype('float32'))
    return tmp_path


def opened(series_folder, s1_folder):
    optical = RasterTimeSeries(series_folder)
    s1 = RasterTimeSeries(s1_folder, crs=optical.crs, res=optical.res)
    optical.transforms = Sentinel1Beside(s1)
    return optical


def test_frames_are_those_of_the_place_and_the_time_window(series_folder, s1_folder):
    sample = opened(series_folder, s1_folder)[600100:600260, 4999760:4999990]
    within = DATES[1:4]
    assert sample['image'].shape == (8, 3, 23, 16)
    assert sample['acquisition_times_s1'].tolist() == [seconds(date) for date in within]
    assert sample['valid_s1'].all()
    for i, date in enumerate(within):
        with rasterio.open(s1_folder / f's1_{date}.tif') as file:
            pixels = torch.from_numpy(file.read()[:, 1:24, 10:26])
        known = pixels[0] != -9999
        assert not known[:3].any()
        assert torch.equal(sample['mask_clear_s1'][i], known)
        assert torch.equal(sample['image_s1'][i][:, known], pixels[:, known])


def test_every_nth_acquisition_is_every_nth_of_both(series_folder, s1_folder):
    series = opened(series_folder, s1_folder)
    sample = series[:, :, datetime(2021, 1, 1) : datetime(2021, 12, 1) : 2]
    assert len(sample['image']) == 4
    wanted = [seconds(date) for date in DATES[1::2]]
    assert sample['acquisition_times_s1'].tolist() == wanted


def test_a_sample_without_s1_gets_a_frame_that_is_not_valid(series_folder, s1_folder):
    series = opened(series_folder, s1_folder)
    sample = series[600000:600080, 4999900:5000000, datetime(2021, 6, 1) : datetime(2021, 8, 1)]
    assert len(sample['image']) == 2
    assert sample['image_s1'].shape == (1, 2, 10, 8)
    assert sample['valid_s1'].tolist() == [False]
    assert not sample['mask_clear_s1'].any()


def test_a_series_of_another_resolution_is_refused(series_folder, s1_folder):
    optical = RasterTimeSeries(series_folder)
    optical.transforms = Sentinel1Beside(RasterTimeSeries(s1_folder, res=20))
    with pytest.raises(ValueError, match=r'\(20.0, 20.0\), the images of \(10.0, 10.0\)'):
        optical[600100:600260, 4999760:4999990]


def test_real_pixels_of_20_m_are_interpolated_onto_10_m(shared_data):
    folder = shared_data / 'wc_be_b'
    optical = RasterTimeSeries(folder / 's2')
    s1 = RasterTimeSeries(folder / 's1', crs=optical.crs, res=optical.res)
    optical.transforms = Sentinel1Beside(s1)
    sample = optical[:, :]
    assert sample['image_s1'].shape[2:] == sample['image'].shape[2:]
    first = min(path for path in (folder / 's1').iterdir() if path.name >= 'wc_be_b_S1_20180804')
    with rasterio.open(first) as file:
        raw = torch.from_numpy(file.read()).float()
    expected = torch.nn.functional.interpolate(raw[None], scale_factor=2, mode='bilinear')[0]
    # GDAL rounds integers.
    inside = (slice(None), slice(2, -2), slice(2, -2))
    assert (sample['image_s1'][0][inside] - expected[inside]).abs().max() <= 1

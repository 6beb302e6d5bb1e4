"""Sentinel-2 products: bands, reflectance, clouds."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from torchgeo_sits.datasets import Sentinel2TimeSeries

TEN = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')


def write(
    path: Path, data: np.ndarray, res: float = 10, names: tuple[str, ...] | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=len(data),
        height=data.shape[1],
        width=data.shape[2],
        dtype=data.dtype,
        crs='EPSG:32631',
        transform=from_origin(500_000, 5_600_000, res, res),
    ) as file:
        file.write(data)
        if names:
            file.descriptions = names


def safe(root: Path, date: str, baseline: str) -> None:
    """The layout of a Level-2A product, with GeoTIFFs for JPEG 2000."""
    product = f'S2A_MSIL2A_{date}T105031_{baseline}_R051_T31UES_{date}T135120.SAFE'
    images = root / product / 'GRANULE/L2A_T31UES_A016250' / 'IMG_DATA'
    for res in (10, 20, 60):
        size = 120 // res
        for i, band in enumerate(('B02', 'B04', 'B8A', 'B01', 'AOT')):
            finest = (10, 10, 20, 60, 10)[i]
            if res >= finest:
                data = np.full((1, size, size), 1000 + 100 * i + res // 10, 'uint16')
                data[0, 0, 0] = 0 if res == 10 else data[0, 0, 0]
                write(images / f'R{res}m/T31UES_{date}T105031_{band}_{res}m.tif', data, res)
        if res > 10:
            scl = np.full((1, size, size), 4, 'uint8')
            scl[0, -1, -1] = 11
            scl[0, -1, 0] = 8
            write(images / f'R{res}m/T31UES_{date}T105031_SCL_{res}m.tif', scl, res)


def test_products(tmp_path: Path) -> None:
    safe(tmp_path, '20180802', 'N0208')
    safe(tmp_path, '20220802', 'N0400')
    series = Sentinel2TimeSeries(tmp_path)
    assert series.bands == ('B02', 'B04', 'B8A')
    assert series.all_bands == ('B01', 'B02', 'B04', 'B8A')
    assert series.res == (10, 10)
    sample = series[series.bounds]
    centre = sample['image'][:, :, 6, 6].numpy()
    # The finest file of each band; from baseline 04.00 on 1000 is taken off.
    old = np.array([0.1001, 0.1101, 0.1202])
    assert np.allclose(centre, [old, old - 0.1], atol=1e-6)
    clear = np.ones((12, 12), bool)
    clear[0, 0] = False  # DN 0
    clear[-2:, -2:] = False  # snow
    clear[-2:, :2] = False  # cloud
    assert np.array_equal(sample['mask_clear'][0].numpy(), clear)
    assert not sample['image'][:, :, 0, 0].any()
    snow = Sentinel2TimeSeries(tmp_path, snow_is_clear=True, bands=['B4'], offset=0, scale=1)
    sample = snow[snow.bounds]
    assert sample['mask_clear'][:, -1, -1].all()
    assert sample['image'][:, 0, 6, 6].tolist() == [1101, 1101]


def test_real_stack(shared_data: Path) -> None:
    root = shared_data / 'wc_be_a'
    series = Sentinel2TimeSeries(root / 's2', cloud_paths=root / 'scl')
    assert series.bands == TEN
    sample = series[series.bounds]
    for i, path in enumerate(sorted((root / 's2').glob('*.tif'))):
        with rasterio.open(path) as source:
            data = source.read()
        with rasterio.open(root / 'scl' / path.name.replace('_S2_', '_SCL_')) as source:
            scl = source.read(1)
        clear = np.isin(scl, [2, 4, 5, 6, 7]) & (data > 0).all(axis=0)
        assert np.array_equal(sample['mask_clear'][i].numpy(), clear)
        assert np.allclose(sample['image'][i].numpy(), data / 1e4, atol=1e-6)


def test_names_of_bands(tmp_path: Path) -> None:
    data = np.arange(1, 5, dtype='uint16')[:, None, None] * np.ones((4, 4, 4), 'uint16')
    write(tmp_path / 'a/x_20200101.tif', data, names=('blue', 'B3', 'S2-L2A-B04', 'B8A'))
    series = Sentinel2TimeSeries(tmp_path / 'a')
    assert series.bands == ('B02', 'B03', 'B04', 'B8A')
    write(tmp_path / 'b/x_20200101.tif', np.ones((13, 4, 4), 'uint16'))
    assert Sentinel2TimeSeries(tmp_path / 'b').bands == TEN
    assert len(Sentinel2TimeSeries(tmp_path / 'b').all_bands) == 13
    write(tmp_path / 'c/x_20200101.tif', np.ones((5, 4, 4), 'uint16'))
    with pytest.raises(ValueError, match='5 bands without descriptions'):
        Sentinel2TimeSeries(tmp_path / 'c')


def test_options() -> None:
    with pytest.raises(ValueError, match='scale must be positive'):
        Sentinel2TimeSeries('.', scale=0)
    with pytest.raises(ValueError, match='offset must be'):
        Sentinel2TimeSeries('.', offset='auto')  # type: ignore[arg-type]


@pytest.mark.parametrize('rows', [(0, 12), (0, 6)])
def test_offset_is_that_of_the_product_that_was_read(tmp_path: Path, rows: tuple[int, int]) -> None:
    # Two deliveries of one day with different offsets: the first is empty, or covers a half.
    data = {}
    for baseline, time in (('N0300', '100000'), ('N0400', '110000')):
        name = f'S2A_MSIL2A_20220802T{time}_{baseline}_R051_T31UES_B04.tif'
        data[baseline] = np.full((1, 12, 12), 3000, 'uint16')
        if baseline == 'N0300':
            data[baseline][:, slice(*rows)] = 0
        write(tmp_path / name, data[baseline])
    series = Sentinel2TimeSeries(tmp_path, bands=['B04'])
    image = series[series.bounds]['image'].numpy()
    expected = np.where(data['N0300'] > 0, 0.3, 0.2)  # the second stores 1000 more
    assert image.shape == (1, 1, 12, 12)
    assert np.allclose(image[0], expected, atol=1e-6)

"""Layers of quality: found by their names, decoded by the products' documents."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from torchgeo_sits import main
from torchgeo_sits.datamodules import ImageOptions
from torchgeo_sits.datasets import RasterTimeSeries, Sentinel2TimeSeries, TimeSeries, ZarrTimeSeries
from torchgeo_sits.datasets.quality import QUALITY_LAYERS, ClearRule, QualityNames

DAYS = ('20200601', '20200611')
SIDE = 6


def write(path: Path, data: Any, names: tuple[str, ...] = (), **more: Any) -> Path:
    data = np.asarray(data)
    data = data[None] if data.ndim == 2 else data
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {'count': len(data), 'height': data.shape[1], 'width': data.shape[2]}
    where = {'crs': 'EPSG:32632', 'transform': from_origin(600_000, 5_000_000, 30, 30)}
    with rasterio.open(
        path, 'w', driver='GTiff', dtype=data.dtype, **where, **size, **more
    ) as file:
        file.write(data)
        if names:
            file.descriptions = names
    return path


def images(folder: Path, name: str = 'a_{}.tif', **more: Any) -> Path:
    for day in DAYS:
        write(folder / name.format(day), np.full((SIDE, SIDE), 500, 'uint16'), **more)
    return folder


def rows(series: TimeSeries) -> list[float]:
    """Share of each row that is clear on the first date."""
    share: list[float] = series[series.bounds]['mask_clear'][0].float().mean(1).tolist()
    return share


#: Values by row and which are clear, read off the documents by hand.
DECODED = {
    'SCL': ('uint8', [4, 5, 6, 8, 3, 11], [1, 1, 1, 0, 0, 0]),
    'QA_PIXEL': ('uint16', [21824, 21952, 22280, 54596, 23888, 1], [1, 1, 0, 0, 0, 0]),
    # Clear, water, cloud, shadow, cirrus of high confidence, fill.
    'pixel_qa': ('uint16', [322, 324, 352, 328, 834, 1], [1, 1, 0, 0, 0, 0]),
    # Clear; cloud; shadow of high and of low confidence; cirrus of high confidence; fill.
    'BQA': ('uint16', [2720, 2800, 2976, 2848, 6816, 1], [1, 0, 0, 1, 0, 0]),
    # Clear, water, snow, cloud, beside cloud, fill.
    'Fmask': ('uint8', [64, 224, 16, 2, 4, 255], [1, 1, 1, 0, 0, 0]),
    'oa_fmask': ('uint8', [1, 5, 4, 2, 3, 0], [1, 1, 1, 0, 0, 0]),
    'UDM2': ('uint8', [1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 0]),
    'UDM': ('uint8', [0, 1, 2, 4, 0, 0], [1, 0, 0, 0, 1, 1]),
    'pixel_reliability': ('int8', [0, 1, 2, 3, -1, 0], [1, 1, 0, 0, 0, 1]),
    # Good; check; most probably cloudy; beside cloud; mixed clouds; possible shadow.
    'VI_Quality': ('uint16', [2112, 2113, 2114, 2368, 3136, 34880], [1, 1, 0, 0, 0, 0]),
    'QA60': ('uint16', [0, 1024, 2048, 3072, 0, 0], [1, 0, 0, 0, 1, 1]),
    'CLM': ('uint8', [0, 1, 255, 0, 1, 0], [1, 0, 0, 1, 0, 1]),
}


@pytest.mark.parametrize('layer', QUALITY_LAYERS)
def test_layers_are_found_and_decoded(tmp_path: Path, layer: str) -> None:
    dtype, values, clear = DECODED[layer]
    mask = np.repeat(np.array(values, dtype)[:, None], SIDE, 1)
    names = (layer,)
    if layer == 'UDM2':  # eight bands, the first of which says it; here the second
        mask, names = np.stack([1 - mask, mask]), ('cloud', 'clear')
    apart, beside, inside = (tmp_path / name for name in ('apart', 'beside', 'inside'))
    images(apart)
    images(beside)
    for day in DAYS:
        write(tmp_path / 'masks' / f'm_{day}_{layer}.tif', mask, names)
        write(beside / f'a_{day}_{layer}.tif', mask, names)
        if layer != 'UDM2':
            both = np.stack([np.full((SIDE, SIDE), 500), mask]).astype('float32')
            write(inside / f'a_{day}.tif', both, ('B04', layer))
    assert rows(RasterTimeSeries(apart, cloud_paths=tmp_path / 'masks')) == clear
    assert rows(RasterTimeSeries(beside)) == clear
    assert rows(RasterTimeSeries(beside, cloud_paths=beside, quality=layer.lower())) == clear
    if layer != 'UDM2':
        series = RasterTimeSeries(inside)
        assert series.bands == ('B04',)
        assert rows(series) == clear
        asked = RasterTimeSeries(inside, bands=[layer])
        assert np.array_equal(asked[asked.bounds]['image'][0, 0], mask.astype('float32'))
    elsewhere = {'quality': layer, 'cloud_paths': tmp_path / 'plain'}
    for day in DAYS:
        write(tmp_path / 'plain' / f'm_{day}.tif', mask)
    if layer != 'UDM2':
        assert rows(RasterTimeSeries(apart, **elsewhere)) == clear


def test_names_of_products() -> None:
    found = {
        'T31UES_20180802T105031_SCL_20m.jp2': 'SCL',
        'HLS.S30.T32TQM.2020123T103031.v2.0.Fmask.tif': 'Fmask',
        'ga_ls8c_oa_3-2-1_090084_2020-01-01_final_oa_fmask.tif': 'oa_fmask',
        '20200601_103045_1003_3B_udm2.tif': 'UDM2',
        '20200601_103045_1003_3B_AnalyticMS_DN_udm.tif': 'UDM',
        'MOD13Q1.061__250m_16_days_pixel_reliability_doy2021001_aid0001.tif': 'pixel_reliability',
        'MOD13Q1.A2021001.h18v04.061.250m 16 days pixel reliability.tif': 'pixel_reliability',
        'MOD13Q1.061__250m_16_days_VI_Quality_doy2021001_aid0001.tif': 'VI_Quality',
        'LC08_L1TP_198025_20180802_20180814_01_T1_BQA.TIF': 'BQA',
        'MOD13Q1.061__250m_16_days_NDVI_doy2021001_aid0001.tif': None,
        'T31UES_20180802T105031_B04_10m.jp2': None,
        'muscle_20180802.tif': None,
        'scl_20180802_B04.tif': None,
    }
    for name, layer in found.items():
        known = QualityNames().of_file(f'/some/scl/{name}')
        assert (known and known.name) == layer, name


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.integers(0, 2**16 - 1), min_size=1),
    bits=st.sets(st.integers(0, 15), min_size=1),
    dtype=st.sampled_from(['uint16', 'int16', 'int32', 'float64']),
)
def test_bits_by_number(values: list[int], bits: set[int], dtype: str) -> None:
    stored = np.array(values, 'uint16')
    stored = stored.view('int16') if dtype == 'int16' else stored.astype(dtype)
    expected = [not any((value >> bit) & 1 for bit in bits) for value in values]
    assert ClearRule.of_bits(sorted(bits))(stored).tolist() == expected


def test_masks_among_the_bands_of_many_dates(tmp_path: Path) -> None:
    light = np.full((SIDE, SIDE), 500, 'int16')
    masks = [np.full((SIDE, SIDE), 4, 'int16') for _ in DAYS]
    masks[0][:2] = 9
    masks[1][3:] = 9
    bands = np.stack([light, masks[0], light, masks[1]])
    write(tmp_path / 'stack.tif', bands, tuple(f'{d}_{b}' for d in DAYS for b in ('B4', 'SCL')))
    series = RasterTimeSeries(tmp_path)
    assert series.bands == ('B4',)
    clear = series[series.bounds]['mask_clear'][:, :, 0].int().tolist()
    assert clear == [[0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]


def test_a_layer_of_ones_own_by_its_name(tmp_path: Path) -> None:
    images(tmp_path, 'a_{}_NIR.tif')
    mask = np.repeat(np.array([0, 1, 2, 3, 4, 8], 'uint8')[:, None], SIDE, 1)
    for day in DAYS:
        write(tmp_path / f'a_{day}_flags.tif', mask)
    own = {'quality': 'flags', 'bands': ['NIR']}
    assert rows(RasterTimeSeries(tmp_path, cloud_bits=[1, 3], **own)) == [1, 1, 0, 0, 1, 0]
    assert rows(RasterTimeSeries(tmp_path, clear_values=[8, 0], **own)) == [1, 0, 0, 0, 0, 1]
    with pytest.raises(ValueError, match=r'flags.*needs clear_values or cloud_bits.*QA_PIXEL'):
        RasterTimeSeries(tmp_path, **own)


def test_what_the_user_calls_clear_is_clear(tmp_path: Path) -> None:
    images(tmp_path / 'images')
    mask = np.repeat(np.array([1, 1, 0, 0, 2, 255], 'uint8')[:, None], SIDE, 1)
    for day in DAYS:
        write(tmp_path / 'm' / f'a_{day}.tif', mask, nodata=0)
    paths = {'paths': tmp_path / 'images', 'cloud_paths': tmp_path / 'm'}
    assert rows(RasterTimeSeries(**paths, clear_values=[0])) == [0, 0, 1, 1, 0, 0]
    assert rows(RasterTimeSeries(**paths, clear_values=[1])) == [1, 1, 0, 0, 0, 0]
    finer = RasterTimeSeries(**paths, clear_values=[0], res=15)
    assert rows(finer) == [0] * 4 + [1] * 4 + [0] * 4


def test_layer_of_the_class_counts_before_others(tmp_path: Path) -> None:
    for day in DAYS:
        name = f'T32TQM_{day}T103031'
        write(tmp_path / f'{name}_B04.tif', np.full((SIDE, SIDE), 500, 'uint16'))
        write(tmp_path / f'{name}_SCL.tif', np.full((SIDE, SIDE), 11, 'uint8'))
        write(tmp_path / f'{name}_QA60.tif', np.zeros((SIDE, SIDE), 'uint16'))
    assert rows(Sentinel2TimeSeries(tmp_path)) == [0] * SIDE
    assert rows(Sentinel2TimeSeries(tmp_path, snow_is_clear=True)) == [1] * SIDE
    assert rows(Sentinel2TimeSeries(tmp_path, quality='QA60')) == [1] * SIDE
    assert rows(Sentinel2TimeSeries(tmp_path, clear_values=[11])) == [1] * SIDE


def test_a_folder_of_masks_is_a_series_of_masks(tmp_path: Path) -> None:
    images(tmp_path, 'a_SCL_{}.tif')
    series = RasterTimeSeries(tmp_path)
    assert series.cloud_files == []
    assert (series[series.bounds]['image'] == 500).all()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'quality': 'SCL'}, "quality='SCL' needs cloud_paths"),
        ({'cloud_bits': [3]}, r'cloud_bits=\[3\] needs cloud_paths'),
        ({'clear_values': [1], 'cloud_bits': [3]}, 'both say what is clear'),
        ({'cloud_paths': 'm', 'cloud_bits': [-1]}, r'cloud_bits=\[-1\] must list bits'),
        ({'cloud_paths': 'm', 'cloud_bits': []}, r'cloud_bits=\[\] must list bits'),
        ({'cloud_paths': 'm'}, 'needs clear_values or cloud_bits'),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    images(tmp_path / 'images')
    images(tmp_path / 'm')
    if 'cloud_paths' in options:
        options = {**options, 'cloud_paths': tmp_path / 'm'}
    with pytest.raises(ValueError, match=message):
        RasterTimeSeries(tmp_path / 'images', **options)


def test_options_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path / 'in', 'a_{}_NIR.tif')
    mask = np.repeat(np.array([0, 1, 2, 3, 4, 8], 'uint8')[:, None], SIDE, 1)
    for day in DAYS:
        write(tmp_path / 'in' / f'a_{day}_flags.tif', mask)
    options = {'quality': 'flags', 'cloud_bits': [1, 3], 'bands': ['NIR']}
    series = ImageOptions(str(tmp_path / 'in'), **options).open()
    assert rows(series) == [1, 1, 0, 0, 1, 0]
    path = tmp_path / 'c.zarr'
    args = ['--quality', 'flags', '--cloud_bits', '[1,3]', '--bands', '[NIR]', '--verify']
    main.main(['cube', str(tmp_path / 'in'), str(path), *args])
    assert rows(ZarrTimeSeries(path)) == [1, 1, 0, 0, 1, 0]
    with pytest.raises(SystemExit):
        main.main(['cube', str(tmp_path / 'in'), str(path), *args[:3], '[1]', *args[4:]])
    assert "clear_values was ['not bits 1, 3'] and is ['not bits 1']" in capsys.readouterr().err

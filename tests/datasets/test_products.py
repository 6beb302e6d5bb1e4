"""Products as they come: dates in bands, levels, processings, passes, sensors, folders."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from torchgeo_sits.datasets import LandsatTimeSeries, RasterTimeSeries, Sentinel2TimeSeries


def write(
    path: Path,
    *values: int,
    size: int = 6,
    column: int = 0,
    names: tuple[str, ...] = (),
    tags: tuple[dict[str, str], ...] = (),
    blank: slice | None = None,
    dtype: str = 'uint16',
) -> None:
    """Write a raster with a band of each of *values*, with rows of no data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.ones((len(values), size, size), dtype) * np.array(values, dtype)[:, None, None]
    if blank is not None:
        data[:, blank] = 0
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=len(data),
        height=size,
        width=size,
        dtype=data.dtype,
        nodata=0,
        crs='EPSG:32632',
        transform=from_origin(600_000 + 10 * column, 5_000_000, 10, 10),
    ) as file:
        file.write(data)
        if names:
            file.descriptions = names
        for i, own in enumerate(tags):
            file.update_tags(i + 1, **own)


def whole(series: Any) -> dict[str, torch.Tensor]:
    sample: dict[str, torch.Tensor] = series[series.bounds]
    return sample


def pixels(series: Any) -> list[list[float]]:
    """The first pixel of each frame and band."""
    values: list[list[float]] = whole(series)['image'][:, :, 0, 0].tolist()
    return values


def days(series: Any) -> list[str]:
    times = whole(series)['acquisition_times'].tolist()
    return [str(np.datetime64(time, 's')) for time in times]


@pytest.fixture
def silent() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


@pytest.mark.usefixtures('silent')
def test_dates_in_descriptions_make_a_series(tmp_path: Path) -> None:
    names = tuple(f'{day}_{band}' for day in ('20200611', '20200101') for band in ('B2', 'B3'))
    for piece in (0, 6):  # as Earth Engine cuts large exports; no date in the name
        write(
            tmp_path / f'stack-0000000000-{piece:010}.tif',
            *(10 + piece, 20 + piece, 30 + piece, 40 + piece),
            column=piece,
            names=names,
        )
    series = RasterTimeSeries(tmp_path)
    assert series.bands == ('B2', 'B3')
    assert len(series.source_files) == 2
    sample = whole(series)
    assert days(series) == ['2020-01-01T00:00:00', '2020-06-11T00:00:00']
    assert sample['image'].shape == (2, 2, 6, 12)
    assert sample['image'][:, :, 0, 0].tolist() == [[30, 40], [10, 20]]
    assert sample['image'][:, :, 0, 6].tolist() == [[36, 46], [16, 26]]
    assert pixels(RasterTimeSeries(tmp_path, bands=['B3'])) == [[40], [20]]


@pytest.mark.usefixtures('silent')
def test_dates_alone_and_dates_in_tags(tmp_path: Path) -> None:
    write(tmp_path / 'a' / 'ndvi.tif', 1, 2, names=('2020-01-01', '2020-02-01T10:11:12Z'))
    series = RasterTimeSeries(tmp_path / 'a')
    assert days(series) == ['2020-01-01T00:00:00', '2020-02-01T10:11:12']
    assert (series.bands, pixels(series)) == (('B1',), [[1], [2]])
    tags = tuple({'TIMESTAMP': f'2020-0{month}-01'} for month in (3, 3, 4, 4))
    write(tmp_path / 'b' / 'x.tif', 1, 2, 3, 4, tags=tags, names=('red', 'nir') * 2)
    series = RasterTimeSeries(tmp_path / 'b')
    assert days(series) == ['2020-03-01T00:00:00', '2020-04-01T00:00:00']
    assert (series.bands, pixels(series)) == (('red', 'nir'), [[1, 2], [3, 4]])


def test_stacks_that_cannot_be_dated_are_refused(tmp_path: Path) -> None:
    for i, (names, match) in enumerate(
        [
            (('T1B1', 'T1B2', 'T2B1', 'T2B2'), 'numbers dates'),
            (('0_B2', '0_B3', '1_B2', '1_B3'), 'numbers dates'),
            (('B2', 'B3', 'B2_1', 'B3_1'), 'numbers dates'),
            (('20200101_B2', '20200101_B2', '20200611_B2', '20200612_B2'), 'two bands'),
            (('20200101_B2', '20200611_B2', '20200612_B2', 'dem'), 'and without'),
        ]
    ):
        write(tmp_path / f'{i}' / 'x_20200101.tif', 1, 2, 3, 4, names=names)
        with pytest.raises(ValueError, match=match):
            RasterTimeSeries(tmp_path / f'{i}')


@pytest.mark.usefixtures('silent')
@pytest.mark.parametrize(
    'names', [('band_1', 'band_2'), ('B8', 'B8A'), ('mean_2020', 'sd_2020'), ('1_red', '2_nir')]
)
def test_numbered_bands_are_no_dates(tmp_path: Path, names: tuple[str, ...]) -> None:
    write(tmp_path / 'x_20200101.tif', 1, 2, names=names)
    assert RasterTimeSeries(tmp_path).bands == names


@pytest.mark.usefixtures('silent')
def test_folders_name_bands(tmp_path: Path) -> None:
    for band, value in (('NDVI', 7), ('albedo', 3)):
        for day in ('2020-06-01', '2020-06-17'):
            write(tmp_path / band / f'{day}.tif', value)
    series = RasterTimeSeries(tmp_path)
    assert set(series.bands) == {'NDVI', 'albedo'}
    assert pixels(RasterTimeSeries(tmp_path, bands=['albedo', 'NDVI'])) == [[3, 7]] * 2


@pytest.mark.usefixtures('silent')
def test_folders_of_tiles_are_no_bands(tmp_path: Path) -> None:
    write(tmp_path / 'east' / '2020-06-01.tif', 1)
    write(tmp_path / 'west' / '2020-06-01.tif', 2, column=6)
    assert whole(RasterTimeSeries(tmp_path))['image'].shape == (1, 1, 6, 12)


@pytest.mark.parametrize(
    ('corrected', 'raw'),
    [
        ('20200601_103045_1003_3B_AnalyticMS_SR.tif', '20200601_103045_1003_3B_AnalyticMS.tif'),
        ('L2A/x_20200601.tif', 'L1C/x_20200601.tif'),
        ('x_20200601_BOA.tif', 'x_20200601_TOA.tif'),
    ],
)
def test_surface_reflectance_beside_the_uncorrected(
    tmp_path: Path, corrected: str, raw: str
) -> None:
    write(tmp_path / corrected, 8)
    write(tmp_path / raw, 15)
    with pytest.warns(UserWarning, match=r'1 of 2 products are of level .*beside') as told:
        assert pixels(RasterTimeSeries(tmp_path)) == [[8]]
    assert len(told) == 1


def test_landsat_levels_follow_the_bands(tmp_path: Path) -> None:
    for level, band, value in (('L1TP', 'B4', 15), ('L2SP', 'SR_B4', 8)):
        write(tmp_path / f'LC08_{level}_198025_20200601_20200824_02_T1_{band}.TIF', value)
    with pytest.warns(UserWarning, match='L1TP'):
        assert pixels(RasterTimeSeries(tmp_path)) == [[8]]
    with pytest.warns(UserWarning, match='L1TP'):
        assert pixels(RasterTimeSeries(tmp_path, bands=['red'])) == [[8]]


@pytest.mark.parametrize(
    ('earlier', 'later'),
    [
        (
            'LC08_L2SP_198025_20200601_20200701_02_RT.tif',
            'LC08_L2SP_198025_20200601_20200824_02_T1.tif',
        ),
        (
            'MOD13Q1.A2018214.h18v04.006.2018231010203.tif',
            'MOD13Q1.A2018214.h18v04.061.2021231010203.tif',
        ),
        (
            'S2A_MSIL2A_20180802T105031_N0208_R051_T31UES_20180802T135120.tif',
            'S2A_MSIL2A_20180802T105031_N0500_R051_T31UES_20180802T135120.tif',
        ),
        ('a_20200601_20200815.tif', 'a_20200601_20210101.tif'),
    ],
)
def test_later_processing_counts(tmp_path: Path, earlier: str, later: str) -> None:
    write(tmp_path / 'a' / later, 2, blank=slice(4, 6))
    write(tmp_path / 'b' / earlier, 1)
    for _ in range(2):
        with pytest.warns(UserWarning, match='1 of 2 images are earlier processings') as told:
            image = whole(RasterTimeSeries(tmp_path))['image']
        assert len(told) == 1
        assert image[:, 0, :, 0].tolist() == [[2, 2, 2, 2, 1, 1]]
        if (tmp_path / 'a').exists():
            (tmp_path / 'a').rename(tmp_path / 'c')  # whatever the order of paths


@pytest.mark.parametrize(
    ('one', 'other', 'match'),
    [
        (
            'S1A_IW_GRDH_1SDV_20260104T052850_20260104T052915_062000_07C000_ECC8_VV.tif',
            'S1A_IW_GRDH_1SDV_20260104T155831_20260104T155856_062006_07C031_1F00_VV.tif',
            "group_by='time'",
        ),
        ('asc_20260104_VV.tif', 'desc_20260104_VV.tif', 'asc_.*and .*desc_'),
        ('MOD09GA.A2018214.h18v04.061.tif', 'MYD09GA.A2018214.h18v04.061.tif', 'MOD.*MYD'),
        ('site_20260104_albedo.tif', 'site_20260104_emissivity.tif', 'filename_regex'),
        ('S2A_31UES_20180802_0_L2A.tif', 'S2B_31UES_20180802_0_L2A.tif', 'S2A.*S2B'),
        ('x/a_20260104.tif', 'y/a_20260104_copy.tif', '1 pairs'),
    ],
)
def test_one_warning_names_two_images_of_the_same_pixels(
    tmp_path: Path, one: str, other: str, match: str
) -> None:
    write(tmp_path / one, 1)
    write(tmp_path / other, 2)
    with pytest.warns(UserWarning, match=match) as told:
        assert pixels(RasterTimeSeries(tmp_path)) == [[1]]
    assert len(told) == 1


@pytest.mark.usefixtures('silent')
@pytest.mark.parametrize(
    ('one', 'other', 'column'),
    [
        ('a_20200601.tif', 'b_20200601.tif', 4),  # tiles that overlap by a third
        ('S2_31UGS_20200601.tif', 'S2_32ULC_20200601.tif', 0),  # two zones
        ('T32TQM_20220601T103031.tif', 'T32TQM_20220601T103056.tif', 0),  # two datatakes
        ('x_20220601T103031_B04.tif', 'x_20220601T103056_B04.tif', 0),
        (
            'S2A_MSIL2A_20220601T103031_N0400_R108_T32TQM_20220601T103031.tif',
            'S2A_MSIL2A_20220601T103031_N0400_R108_T32TQM_20220601T143056.tif',
            0,
        ),
    ],
)
def test_parts_of_one_image_are_a_frame(tmp_path: Path, one: str, other: str, column: int) -> None:
    write(tmp_path / one, 1, blank=slice(0, 3))
    write(tmp_path / other, 2, column=column, blank=slice(3, 6))
    assert len(whole(RasterTimeSeries(tmp_path))['image']) == 1


def landsat(folder: Path) -> None:
    """Red and near infrared of Landsat 5 and 8, with the same numbers for the same ground."""
    for scene, bands in (
        ('LT05_L2SP_198025_20100601_20200824_02_T1', {3: 10_000, 4: 20_000}),
        ('LC08_L2SP_198025_20200617_20200824_02_T1', {3: 9_000, 4: 10_000, 5: 20_000}),
    ):
        for number, value in bands.items():
            write(folder / scene / f'{scene}_SR_B{number}.TIF', value)


def test_light_of_two_sensors_meets_in_one_channel(tmp_path: Path) -> None:
    landsat(tmp_path)
    series = RasterTimeSeries(tmp_path, bands=['red', 'nir'])
    assert series.bands == ('red', 'nir')
    assert pixels(series) == [[10_000, 20_000]] * 2
    reflectance = LandsatTimeSeries(tmp_path, bands=['nir08', 'red'])
    expected = [[20_000 * 0.0000275 - 0.2, 10_000 * 0.0000275 - 0.2]] * 2
    assert np.allclose(pixels(reflectance), expected, atol=1e-6)
    for bands in (None, ['SR_B3', 'SR_B4']):
        with pytest.raises(ValueError, match=r"not the same light.*bands=\['red', 'nir08'\]"):
            RasterTimeSeries(tmp_path, bands=bands)
    with pytest.raises(ValueError, match='lack a band'):
        RasterTimeSeries(tmp_path, bands=['green'])  # none in Landsat 5 here


@pytest.mark.usefixtures('silent')
def test_bands_without_names_are_in_the_order_that_the_user_chose(tmp_path: Path) -> None:
    write(tmp_path / 'LT05_198025_20100601.tif', 1, 2)
    write(tmp_path / 'LC08_198025_20200617.tif', 3, 4)
    assert pixels(RasterTimeSeries(tmp_path)) == [[1, 2], [3, 4]]


def test_harmonised_landsat_and_sentinel(tmp_path: Path) -> None:
    for granule, bands in (
        ('HLS.S30.T32TQM.2020123T103031.v2.0', {'B04': 1, 'B05': 2, 'B08': 3, 'B8A': 4}),
        ('HLS.L30.T32TQM.2020125T101511.v2.0', {'B04': 1, 'B05': 4}),
    ):
        for band, value in bands.items():
            write(tmp_path / f'{granule}.{band}.tif', value)
        for layer in ('SAA', 'SZA', 'VAA', 'VZA', 'Fmask'):
            write(tmp_path / f'{granule}.{layer}.tif', 9)
    series = RasterTimeSeries(tmp_path, bands=['red', 'nir'])
    assert pixels(series) == [[1, 4]] * 2  # the narrow one, which both have
    assert days(series)[0] == '2020-05-02T10:30:31'
    with pytest.raises(ValueError, match=r'B05 is nir08 .* and rededge1'):
        RasterTimeSeries(tmp_path)
    only = RasterTimeSeries(sorted(tmp_path.glob('*S30*')))
    assert only.bands == ('B04', 'B05', 'B08', 'B8A')


def test_names_of_light_whatever_their_spelling(tmp_path: Path) -> None:
    write(tmp_path / 'a_20200101.tif', 1, 2, names=('RED', 'Near_Infrared'))
    write(tmp_path / 'a_20200201.tif', 3, 4, 5, names=('blue', 'red', 'x'))
    assert pixels(RasterTimeSeries(tmp_path, bands=['red'])) == [[1], [4]]


def safe(root: Path, date: str, baseline: str, metadata: str | None, value: int = 1800) -> None:
    product = root / f'S2A_MSIL2A_{date}T103031_{baseline}_R108_T32TQM_{date}T120000.SAFE'
    images = product / 'GRANULE' / f'L2A_T32TQM_A025812_{date}T103031' / 'IMG_DATA' / 'R10m'
    write(images / f'T32TQM_{date}T103031_B04_10m.tif', value)
    if metadata is not None:
        (product / 'MTD_MSIL2A.xml').write_text(metadata)


XML = '<n1:Level-2A_User_Product><List>{}</List></n1:Level-2A_User_Product>'
ADDED = XML.format(''.join(f'<BOA_ADD_OFFSET band_id="{i}">-1000</BOA_ADD_OFFSET>' for i in (0, 1)))


@pytest.mark.usefixtures('silent')
def test_metadata_tells_the_offset(tmp_path: Path) -> None:
    safe(tmp_path, '20200601', 'N9999', XML.format(''))
    safe(tmp_path, '20200602', 'N9999', ADDED)
    safe(tmp_path, '20200603', 'N0500', XML.format(''))  # wins over the name
    safe(tmp_path, '20200604', 'N0500', None)
    safe(tmp_path, '20200605', 'N9999', None)
    expected = np.array([[0.18], [0.08], [0.18], [0.08], [0.18]])
    assert np.allclose(pixels(Sentinel2TimeSeries(tmp_path)), expected, atol=1e-6)
    assert np.allclose(pixels(Sentinel2TimeSeries(tmp_path, offset=-500)), 0.13, atol=1e-6)


@pytest.mark.parametrize(
    ('metadata', 'match'),
    [
        ('<a><BOA_ADD_OFFSET>-1000</BOA_ADD_OFFSET>', r'MTD_MSIL2A.xml. cannot be read'),
        ('<!DOCTYPE a [<!ENTITY x "-1000">]><a>&x;</a>', 'document type'),
        ('<a><BOA_ADD_OFFSET>x</BOA_ADD_OFFSET></a>', 'cannot be read'),
        (ADDED.replace('-1000', '0', 1), r'offsets of \[-1000.0, 0.0\]'),
    ],
)
def test_bad_metadata(tmp_path: Path, metadata: str, match: str) -> None:
    safe(tmp_path, '20200601', 'N9999', metadata)
    with pytest.raises(ValueError, match=match):
        Sentinel2TimeSeries(tmp_path)
    assert len(Sentinel2TimeSeries(tmp_path, offset=0)) == 1


def test_tags_of_files_tell_offset_and_scale(tmp_path: Path) -> None:
    for day, tags in (('20220601', (1e-4, -0.1)), ('20220606', (1e-4, -0.2))):
        path = tmp_path / 'a' / f'S2A_T32TQM_{day}T103031_L2A' / 'B04.tif'
        write(path, 3000)
        with rasterio.open(path, 'r+') as file:
            file.scales, file.offsets = (tags[0],), (tags[1],)
    series = Sentinel2TimeSeries(tmp_path / 'a')
    assert np.allclose(pixels(series), [[0.2], [0.1]], atol=1e-6)
    assert pixels(Sentinel2TimeSeries(tmp_path / 'a', scale=1)) == [[2000], [1000]]
    assert pixels(RasterTimeSeries(tmp_path / 'a')) == [[3000]] * 2  # as they are stored
    with rasterio.open(path, 'r+') as file:
        file.scales = (2e-4,)
    with pytest.raises(ValueError, match='differ in the scale'):
        Sentinel2TimeSeries(tmp_path / 'a')


def test_nothing_tells_the_offset(tmp_path: Path) -> None:
    for day in ('20220124', '20220125', '20220301'):
        write(tmp_path / f'T32TQM_{day}T103031_B04.tif', 1800)
    with pytest.warns(UserWarning, match='2 of 3 images are of 2022-01-25 or later') as told:
        assert np.allclose(pixels(Sentinel2TimeSeries(tmp_path)), 0.18, atol=1e-6)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert np.allclose(pixels(Sentinel2TimeSeries(tmp_path, offset=-1000)), 0.08, atol=1e-6)

"""The table of bands against what the agencies print, and its look-up in any spelling."""

import pytest

from torchgeo_sits.bands import SENSORS, common_name, find_band, find_sensor


@pytest.mark.parametrize(
    ('path', 'sensor'),
    [
        ('LT05_L2SP_198025_20100601_20200824_02_T1_SR_B4.TIF', 'Landsat 4 and 5 TM'),
        ('LE07_L2SP_198025_20100601_20200824_02_T1_SR_B4.TIF', 'Landsat 7'),
        ('LC09_L2SP_198025_20220601_20220824_02_T1_SR_B4.TIF', 'Landsat 8 and 9'),
        ('LC81980252018214LGN00_B4.TIF', 'Landsat 8 and 9'),
        ('LM02_L1TP_198025_19780601_20200824_02_T1_B4.TIF', 'Landsat 1 to 3'),
        ('LM05_L1TP_198025_19880601_20200824_02_T1_B4.TIF', 'Landsat 4 and 5 MSS'),
        ('HLS.L30.T32TQM.2020153T103021.v2.0.B05.tif', 'HLS L30'),
        ('HLS.S30.T32TQM.2020153T103021.v2.0.B05.tif', 'HLS S30'),
        ('T31UES_20180802T105031_B04_10m.jp2', 'Sentinel-2'),
        ('S2A_31UES_20180802_0_L2A/B04.tif', 'Sentinel-2'),
        ('MOD09A1.A2018214.h18v04.061.2018231010203_sur_refl_b01.tif', 'MODIS'),
        ('20180802_103045_1003_3B_AnalyticMS_SR_8b.tif', 'PlanetScope'),
        ('s2/LC08/x_20180802.tif', 'Sentinel-2'),
        ('L1C_x/site_20180802.tif', None),
        ('site_20180802_B4.tif', None),
    ],
)
def test_sensors(path: str, sensor: str | None) -> None:
    assert find_sensor(path) == sensor


@pytest.mark.parametrize(
    ('sensor', 'name', 'common'),
    [
        ('Landsat 4 and 5 TM', 'SR_B4', 'nir08'),
        ('Landsat 8 and 9', 'SR_B4', 'red'),
        ('Landsat 8 and 9', 'ST_B10', 'lwir11'),
        ('Landsat 7', 'B6_VCID_1', 'lwir'),
        ('Landsat 1 to 3', 'B4', 'green'),
        ('HLS L30', 'B05', 'nir08'),
        ('HLS S30', 'B05', 'rededge1'),
        ('HLS L30', 'B09', 'cirrus'),
        ('HLS S30', 'B10', 'cirrus'),
        ('HLS L30', 'B11', 'lwir12'),
        ('HLS S30', 'B11', 'swir16'),
        ('Sentinel-2', 'S2-L2A-B8A', 'nir08'),
        ('Sentinel-2', 'b8', 'nir'),
        ('Sentinel-2', 'swir1', 'swir16'),
        ('MODIS', 'sur_refl_b02', 'nir08'),
    ],
)
def test_light(sensor: str, name: str, common: str) -> None:
    band = find_band(sensor, name)
    assert band is not None
    assert band.common == common


def test_names_that_are_no_bands() -> None:
    assert find_band('Sentinel-2', 'B13') is None
    assert find_band(None, 'B04') is None
    assert common_name('SR_B4') is None
    assert common_name('MIR') is None


def test_one_light_is_one_range_of_wavelengths() -> None:
    # Within each light the bands of all sensors overlap, or lie within 50 nm of each other.
    by_light: dict[str, list[tuple[float, float]]] = {}
    for bands in SENSORS.values():
        assert len({band.name for band in bands}) == len(bands)
        for band in bands:
            ends = (band.centre - band.width / 2, band.centre + band.width / 2)
            by_light.setdefault(band.common, []).append(ends)
    for light, ranges in by_light.items():
        gap = max(low for low, _ in ranges) - min(high for _, high in ranges)
        assert gap < 60, (light, gap)

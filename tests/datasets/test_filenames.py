"""Dates, bands and products in file names."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchgeo.datasets.utils import disambiguate_timestamp

from torchgeo_sits.datasets.filenames import parse_description, parse_name, parse_names
from torchgeo_sits.datasets.frames import utc


@pytest.mark.parametrize(
    ('name', 'time', 'band'),
    [
        ('wc_be_a_S2_20180802.tif', '2018-08-02', None),
        ('modis_dtwsat_mt_20180802.tif', '2018-08-02', None),
        ('site-2018-08-02.tif', '2018-08-02', None),
        ('site_2018_08_02_B8A_20m.tif', '2018-08-02', 'B8A'),
        ('site_2018-08-02T10:50:31Z.tif', '2018-08-02 10:50:31', None),
        ('T31UES_20180802T105031_B02_10m.jp2', '2018-08-02 10:50:31', 'B02'),
        ('T31UES_20180802T105031_SCL_20m.jp2', '2018-08-02 10:50:31', 'SCL'),
        (
            'S2A_MSIL2A_20180802T105031_N0208_R051_T31UES_20180802T135120.tif',
            '2018-08-02 10:50:31',
            None,
        ),
        ('LC08_L2SP_198025_20180802_20200831_02_T1_SR_B4.TIF', '2018-08-02', 'SR_B4'),
        ('LC08_L2SP_198025_20180802_20200831_02_T1_QA_PIXEL.TIF', '2018-08-02', 'QA_PIXEL'),
        ('LC81980252018214LGN00_B4.TIF', '2018-08-02', 'B4'),
        ('20180802_103045_1003_3B_AnalyticMS.tif', '2018-08-02 10:30:45', None),
        ('MOD13Q1.A2018214.h18v04.061.2018231010203.tif', '2018-08-02', None),
        ('MCD43A4.A2018214.h18v04.006.20180910.sur_refl_b01.tif', '2018-08-02', 'b01'),
        ('folder/S2A_31UES_20180802_0_L2A/B8A.tif', '2018-08-02', 'B8A'),
        # Of two dates the first: composites, and dates of processing.
        ('CB4_STK_v001_021027_2020-08-28_2020-09-12_NDVI.tif', '2020-08-28', 'NDVI'),
        ('20200828_20200912_NDVI.tif', '2020-08-28', 'NDVI'),
        ('x_2020-08-28_202009.tif', '2020-08-28', None),
        ('x_2020-08-28_10-30-15.tif', '2020-08-28 10:30:15', None),
        ('processed_20210101_scene_20200828.tif', '2020-08-28', None),
        (
            'S2A_OPER_PRD_MSIL1C_PDMC_20160713T003021_R051_V20160712T105031_20160712T105031.tif',
            '2016-07-12 10:50:31',
            None,
        ),
        # Months and days of the year.
        ('x_2018_01.tif', '2018-01-01', None),
        ('x_2018-01_10m.tif', '2018-01-01', None),
        ('x_201801.tif', '2018-01-01', None),
        ('HLS.S30.T32TQM.2020153T103021.v2.0.B8A.tif', '2020-06-01 10:30:21', 'B8A'),
        ('MOD09.A2020153.1030.061.2020155012345.hdf.tif', '2020-06-01 10:30:00', None),
        ('MOD13Q1_NDVI_2020_153.tif', '2020-06-01', 'NDVI'),
        ('c_gls_LAI300_202006101030_GLOBE.tif', '2020-06-10 10:30:00', None),
        (
            'SENTINEL2A_20180802-105031-460_L2A_T31UES_C_V2-2_FRE_B4.tif',
            '2018-08-02 10:50:31',
            'B4',
        ),
        # Dates of folders.
        ('2021-06-01/image.tif', '2021-06-01', None),
        ('2021/06/01/B04.tif', '2021-06-01', 'B04'),
        ('tiles/31/U/ES/2018/8/2/0/R10m/B04.jp2', '2018-08-02', 'B04'),
        ('20210601/image_20210601T101112.tif', '2021-06-01 10:11:12', None),
        ('LE07_L1TP_198025_20100601_20200824_02_T1_B6_VCID_1.TIF', '2010-06-01', 'B6_VCID_1'),
        ('20180802_LEVEL2_SEN2A_QAI.tif', '2018-08-02', 'QAI'),
    ],
)
def test_common_names(name: str, time: str, band: str | None) -> None:
    found = parse_name(name)
    assert found is not None
    assert found.time == pd.Timestamp(time)
    assert found.band == band
    assert found.has_clock == (':' in time)


@pytest.mark.parametrize(
    'name',
    [
        'dem.tif',
        'wc_be_a_CT.tif',
        'ref_0.tif',
        'x_20180231.tif',
        'id_20181399123.tif',
        'x_2019366.tif',
        'x_2018-02-31.tif',
        'x_2018_13.tif',
        'LC08_L2SP_198012_T1.tif',
        '2018/13/01/image.tif',
    ],
)
def test_no_date(name: str) -> None:
    assert parse_name(name) is None


def test_a_path_and_row_after_a_date_is_no_clock() -> None:
    found = parse_name('LC08_20180802_120101_x.tif')
    assert found is not None
    assert not found.has_clock


def test_bands_of_a_product_agree_in_its_name() -> None:
    names = [f'T31UES_20180802T105031_{b}.jp2' for b in ('B02_10m', 'B8A_20m', 'SCL_60m')]
    products = {found.product for name in names if (found := parse_name(name))}
    assert len(products) == 1


@settings(max_examples=50, deadline=None)
@given(st.datetimes(pd.Timestamp('1970-01-01'), pd.Timestamp('2069-12-31')))
def test_any_date_round_trips(time: pd.Timestamp) -> None:
    second = pd.Timestamp(time).floor('s')
    day = parse_name(f'a_{second:%Y%m%d}.tif')
    clock = parse_name(f'a_{second:%Y%m%dT%H%M%S}_B04.tif')
    ordinal = parse_name(f'a.A{second:%Y%j}.h1.tif')
    assert day is not None
    assert clock is not None
    assert ordinal is not None
    assert day.time == second.normalize() == ordinal.time
    assert clock.time == second
    for found, form in ((day, '%Y%m%d'), (clock, '%Y%m%d%H%M%S'), (ordinal, '%Y%j')):
        assert (found.time, found.stop) == disambiguate_timestamp(f'{second:{form}}', form)
        assert (found.time.unit, found.stop.unit) == ('us', 'us')  # one unit in the index


PLACES = ('site', 'a-b', 'T31UES', 'LC08_L2SP_198012', 'S2B_MSIL2A')
CLOCKS = ('', 'T%H%M%S', 'T%H%M')
BANDS = (None, 'B04', 'B8A', 'nir', 'SR_B5', 'NDVI', 'SCL', 'SZA')


@settings(max_examples=60, deadline=None)
@given(
    time=st.datetimes(pd.Timestamp('1970-01-01'), pd.Timestamp('2069-12-31')),
    place=st.sampled_from(PLACES),
    day=st.sampled_from(['%Y%m%d', '%Y-%m-%d', '%Y_%m_%d', '%Y.%m.%d', '%Y%j', '%Y-%m', '%Y%m']),
    clock=st.sampled_from(CLOCKS),
    behind=st.sampled_from(['', '_%Y%m%d', '_%Y-%m-%d', '_%Y%m%dT%H%M%S', '_v2.0']),
    later=st.integers(0, 4000),
    band=st.sampled_from(BANDS),
)
def test_what_was_written_is_found(
    time: pd.Timestamp,
    place: str,
    day: str,
    clock: str,
    behind: str,
    later: int,
    band: str | None,
) -> None:
    time = pd.Timestamp(time).floor('s')
    if day in ('%Y-%m', '%Y%m'):
        if place.endswith('198012') or behind:
            return  # a path and row stands before it, or it may be half of a date
        clock = ''
    if (clock and day not in ('%Y%m%d', '%Y%j')) or (day == '%Y%j' and clock == 'T%H%M'):
        clock = ''
    if day == '%Y%j' and not clock and '%' in behind:
        behind = ''  # seven digits before a date may be any number
    written = f'{time:{day}}' + (f'{time:{clock}}' if clock else '')
    second = f'{time + pd.Timedelta(days=later):{behind}}' if behind else ''
    name = f'{place}_{written}{second}' + (f'_{band}' if band else '') + '.tif'
    found = parse_name(name)
    assert found is not None, name
    form = day + clock
    assert (found.time, found.stop) == disambiguate_timestamp(f'{time:{form}}', form), name
    assert found.band == band, name


def test_folder_of_another_day_is_refused() -> None:
    for path in (
        '2020-06-01/scene_20200611.tif',
        '2020/06/01/scene_20200611.tif',
        'S2A_31UES_20180802_0_L2A/T31UES_20180807_B04.tif',
    ):
        with pytest.raises(ValueError, match=r'by its name and of .* by its folder'):
            parse_name(path)
    # Local days, downloads and starts of series are no contradictions.
    for path in (
        '2020-06-02/scene_20200601T233000.tif',
        'download_20210101/scene_20200611.tif',
        'series_20200101_20201231/scene_20200611.tif',
    ):
        assert parse_name(path) is not None
    regex = r'scene_(?P<date>\d{8})'
    assert parse_name('2020-06-01/scene_20200611.tif', filename_regex=regex) is not None


def test_file_beside_dated_ones_takes_no_date_of_the_folder() -> None:
    names = parse_names(['20200601/a_20200601.tif', '20200601/dem.tif', '20200611/image.tif'])
    assert [name and name.time.day for name in names.values()] == [1, None, 11]


@pytest.mark.parametrize(
    ('text', 'time', 'band', 'product'),
    [
        ('20200101_B2', '2020-01-01', 'B2', ''),
        ('20200101T105421_20200101T105420_T31UES_B2', '2020-01-01 10:54:21', 'B2', 'T31UES'),
        ('3_20200101_B8A', '2020-01-01', 'B8A', ''),
        ('B2_20200101', '2020-01-01', 'B2', ''),
        ('2020-01-01', '2020-01-01', '', ''),
        ('2020-01-01T10:54:21Z', '2020-01-01 10:54:21', '', ''),
        ('2020-01 my_index', '2020-01-01', 'my_index', ''),
        ('LC08_198025_20200101_SR_B4', '2020-01-01', 'SR_B4', 'LC08_198025'),
    ],
)
def test_descriptions(text: str, time: str, band: str, product: str) -> None:
    found = parse_description(text)
    assert found is not None
    assert (found[0].time, found[1], found[0].product) == (pd.Timestamp(time), band, product)


@pytest.mark.parametrize('text', ['B2', 'SR_B4', 'NDVIx10000', 'CLP_S2Cx10000', '2m_temperature'])
def test_descriptions_without_a_date(text: str) -> None:
    assert parse_description(text) is None


def test_own_expression() -> None:
    regex = r'(?P<band>b\d)-(?P<start>\d{6})-(?P<stop>\d{6})'
    found = parse_name('b3-180801-180816.tif', filename_regex=regex, date_format='%y%m%d')
    assert found is not None
    assert (found.time, found.band) == (pd.Timestamp('2018-08-01'), 'b3')
    assert found.stop == pd.Timestamp('2018-08-16 23:59:59.999999')
    with pytest.raises(ValueError, match='date_format'):
        parse_name('b3-180801-180816.tif', filename_regex=regex, date_format='%Y%m%d')


def test_utc_is_not_local_time() -> None:
    assert utc('2018-08-02 12:00') == pd.Timestamp('2018-08-02 12:00')
    assert utc('2018-08-02 12:00+02:00') == pd.Timestamp('2018-08-02 10:00')

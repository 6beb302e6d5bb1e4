"""Dates, bands and products in file names."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchgeo.datasets.utils import disambiguate_timestamp

from torchgeo_sits.datasets.filenames import parse_name
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

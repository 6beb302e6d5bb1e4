"""Series of points from tables: layouts, dates, gaps, labels, and what is refused."""

import csv
import gzip

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datasets import PointSeries
from torchgeo_sits.datasets.points.labels import encode_labels
from torchgeo_sits.datasets.points.layout import MISSING, parse_dates

DAY = 86_400


def seconds(*dates):
    return np.array(dates, 'datetime64[s]').astype(np.int64).tolist()


def write(path, text):
    path.write_text(text)
    return path


def arrays_of(series):
    """Times, values, and clear dates of each point."""
    return [
        (s['acquisition_times'].tolist(), s['image'][..., 0, 0].tolist(), s['mask_clear'].tolist())
        for s in (series[i] for i in range(len(series)))
    ]


def test_rows_of_a_long_table_are_sorted_by_point_and_date(tmp_path):
    path = write(
        tmp_path / 'long.csv',
        ',id,date,B04,B08,lon,lat,crop\n'
        '0,b,2018-05-01,5,6,4.5,50.5,maize\n'
        '1,a,2018-05-03 10:30:00,3,4,4.25,50.25,wheat\n'
        '2,a,2018-05-01,1,2,4.25,50.25,wheat\n'
        '3,b,2018-04-01,7,,4.5,50.5,maize\n',
    )
    with pytest.warns(UserWarning, match=r"on 1 of 4 dates of points some bands .*'B08': 1"):
        series = PointSeries(path, label='crop')
    assert series.bands == ['B04', 'B08']
    assert series.columns['id'].tolist() == ['b', 'a']
    b, a = series[0], series[1]
    assert b['acquisition_times'].tolist() == seconds('2018-04-01', '2018-05-01')
    assert a['acquisition_times'].tolist() == seconds('2018-05-01', '2018-05-03T10:30')
    assert b['image'][..., 0, 0].tolist() == [[7.0, 0.0], [5.0, 6.0]]
    assert b['mask_clear'].flatten().tolist() == [False, True]
    assert a['image'].shape == (2, 2, 1, 1)
    assert series.labels.names == ['maize', 'wheat']
    assert (b['label'].item(), a['label'].item(), a['mask'].tolist()) == (0, 1, [[1]])
    place = [4.25, 4.25, 0, 50.25, 50.25, 0, *seconds('2018-05-01', '2018-05-03T10:30'), 1]
    assert a['bounds'].tolist() == place
    assert a['valid'].all()
    assert a['length'] == 2


@st.composite
def cubes(draw):
    """Points x dates x bands with gaps, whole numbers that float32 holds."""
    n, t, c = (draw(st.integers(1, 4)) for _ in range(3))
    days = draw(st.lists(st.integers(0, 20_000), min_size=t + 1, max_size=t + 1, unique=True))
    seed = draw(st.integers(0, 2**31))
    generator = np.random.default_rng(seed)
    values = generator.integers(-1000, 1000, (n, t + 1, c)).astype(float)
    values[generator.random(values.shape) < draw(st.sampled_from([0, 0.3]))] = np.nan
    values[0, 0] = 1.0  # else nothing may be seen at all
    values[0, 1] = 2.0
    return values, np.array(days, 'datetime64[D]'), generator


@pytest.mark.filterwarnings('ignore:on .* of .* dates:UserWarning')
@given(cubes())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_all_layouts_of_a_table_hold_the_same_series(tmp_path, cube):
    values, days, generator = cube
    n, t, c = values.shape
    bands = [f'B{i + 1:02d}' for i in range(c)]
    order = np.argsort(days)
    compact = [str(day).replace('-', '') for day in days]
    rows = [
        {'id': i, 'date': days[j], **dict(zip(bands, values[i, j], strict=True))}
        for i in range(n)
        for j in range(t)
    ]
    long = pd.DataFrame(rows).sample(frac=1, random_state=int(generator.integers(100)))
    long = long.sort_values('id', kind='stable')
    tables = {
        'long.csv': (long, {'bands': bands}),
        'long.parquet': (long, {'bands': bands}),
    }
    for name, column in (
        ('behind.csv', lambda j, b: f'{bands[b]}_{compact[j]}'),
        ('before.parquet', lambda j, b: f'{days[j]}_{bands[b]}'),
        ('numbered.csv', lambda j, b: f'{bands[b]}_{j}'),
    ):
        wide = {column(j, b): values[:, j, b] for j in range(t) for b in range(c)}
        options = {'dates': [str(day) for day in days]} if name == 'numbered.csv' else {}
        tables[name] = pd.DataFrame({'id': range(n), **wide}), options
    found = {}
    for name, (table, options) in tables.items():
        path = tmp_path / name
        table.to_csv(path, index=False) if name.endswith('csv') else table.to_parquet(path)
        found[name] = arrays_of(PointSeries(path, **options))
    np.savez(tmp_path / 'x.npz', X=values, dates=np.array(compact, int), bands=np.array(bands))
    found['x.npz'] = arrays_of(PointSeries(tmp_path / 'x.npz'))
    times = days[order].astype('datetime64[s]').astype(int).tolist()
    sorted_values = values[:, order]
    expected = [
        (
            times,
            np.nan_to_num(sorted_values[i]).tolist(),
            (~np.isnan(sorted_values[i]).any(1))[:, None, None].tolist(),
        )
        for i in range(n)
    ]
    for name, series in found.items():
        assert series == expected, name


@pytest.mark.parametrize(
    ('column', 'unit', 'expected'),
    [
        (['2018-07-31', '2018-01-02'], 'second', seconds('2018-07-31', '2018-01-02')),
        (['2018_07_31', '2018/01/02'], 'second', seconds('2018-07-31', '2018-01-02')),
        (['2018-07-31T10:20:30Z', None], 'second', [*seconds('2018-07-31T10:20:30'), MISSING]),
        (['2018-07-31T10:20:30+02:00'], 'second', seconds('2018-07-31T08:20:30')),
        (['20180731', '20180102'], 'second', seconds('2018-07-31', '2018-01-02')),
        ([20180731.0, np.nan], 'second', [*seconds('2018-07-31'), MISSING]),
        ([2018212], 'second', seconds('2018-07-31')),
        ([1532995200], 'second', seconds('2018-07-31')),
        ([1532995200000], 'second', seconds('2018-07-31')),
        (['2018-07', '2018-12'], 'month', [2018 * 12 + 6, 2018 * 12 + 11]),
        ([201807, 201813, 201801], 'month', [2018 * 12 + 6, MISSING, 2018 * 12]),
        ([7, 12, 1], 'month of year', [7, 12, 1]),
        (['2018-07-31', 'soon', '2018-07-30'], 'second',
         [*seconds('2018-07-31'), MISSING, *seconds('2018-07-30')]),
    ],
)  # fmt: skip
def test_dates_are_read_as_they_are_written(column, unit, expected):
    found = parse_dates(pd.Series(column))
    assert (found.unit, found.values.tolist()) == (unit, expected)


def test_dates_of_another_format_are_asked_for(tmp_path):
    column = pd.Series(['31.07.2018', '02.01.2018'])
    with pytest.raises(ValueError, match=r"'31.07.2018'.*table.date_format"):
        parse_dates(column)
    found = parse_dates(column, date_format='%d.%m.%Y')
    assert found.values.tolist() == seconds('2018-07-31', '2018-01-02')
    assert parse_dates(pd.Series(['Jul-18']), date_format='%b-%y').values == 2018 * 12 + 6


def test_months_are_placed_in_the_order_of_the_rows(tmp_path):
    path = write(
        tmp_path / 'm.csv',
        'id,month,B4\n0,11,1\n0,12,2\n0,1,3\n0,1,4\n1,4,5\n1,5,6\n',
    )
    with pytest.raises(ValueError, match=r"'month' holds months from 1 to 12 of no year"):
        PointSeries(path)
    winter, spring = arrays_of(PointSeries(path, year=2018))
    # In the middle of a month of one row; at a quarter and three quarters of one of two.
    assert winter[0] == seconds(
        '2018-11-16', '2018-12-16T12:00', '2019-01-08T18:00', '2019-01-24T06:00'
    )
    assert [v for (v,) in winter[1]] == [1, 2, 3, 4]
    assert spring[0] == seconds('2018-04-16', '2018-05-16T12:00')


def test_months_have_the_year_of_their_column(tmp_path):
    path = write(tmp_path / 'm.csv', 'id,year,month,B4\n0,2019,1,2\n0,2018,11,1\n')
    [(times, values, _)] = arrays_of(PointSeries(path))
    assert times == seconds('2018-11-16', '2019-01-16T12:00')
    assert values == [[1], [2]]


def test_names_of_earth_engine_are_understood(tmp_path):
    image = '20180802T105031_20180802T105027_T31UES'
    later = '20180807T105029_20180807T105027_T31UES'
    path = write(tmp_path / 'e.csv', f'system:index,{image}_B4,{later}_B4,.geo\n0,1,2,{{}}\n')
    [(times, values, _)] = arrays_of(PointSeries(path))
    assert times == seconds('2018-08-02T10:50:31', '2018-08-07T10:50:29')
    assert values == [[1], [2]]
    path = write(tmp_path / 'l.csv', 'LC08_198025_20180802_SR_B4,LC08_198025_20180818_SR_B4\n1,2\n')
    series = PointSeries(path)
    assert series.bands == ['SR_B4']
    assert series[0]['acquisition_times'].tolist() == seconds('2018-08-02', '2018-08-18')


def test_text_files_of_any_separator_and_packing(tmp_path):
    text = 'id;date;B4\na;2018-05-01;0,5\na;2018-05-02;1,5\n'
    expected = [[[0.5], [1.5]]]
    write(tmp_path / 's.csv', '\ufeff' + text)
    (tmp_path / 'z.csv.gz').write_bytes(gzip.compress(text.encode()))
    write(tmp_path / 't.tsv', text.replace(',', '.').replace(';', '\t'))
    for name in ('s.csv', 'z.csv.gz', 't.tsv'):
        assert [v for _, v, _ in arrays_of(PointSeries(tmp_path / name))] == expected, name


def test_column_that_becomes_fractions_far_down_is_read(tmp_path):
    # Arrow tells the type of a column by its first megabyte.
    rows = [f'{i // 2},2018-05-{i % 2 + 1:02d},{i % 7}' for i in range(70_000)]
    path = write(tmp_path / 'x.csv', '\n'.join(['id,date,B4', *rows, 'z,2018-05-01,0.25', '']))
    assert path.stat().st_size > 1 << 20
    series = PointSeries(path)
    assert series[len(series) - 1]['image'].item() == 0.25


def test_several_files_are_one_table(tmp_path):
    write(tmp_path / '1.csv', 'id,date,B4\na,2018-05-01,1\n')
    write(tmp_path / '2.csv', 'id,date,B4\na,2018-05-02,2\n')
    assert arrays_of(PointSeries(tmp_path))[0][1] == [[1], [2]]
    write(tmp_path / '3.csv', 'id,date,B5\na,2018-05-02,2\n')
    with pytest.raises(ValueError, match=r"3.csv and .*1.csv differ in their columns: \['B4', 'B5"):
        PointSeries(tmp_path)


def test_points_of_several_columns(tmp_path):
    path = write(
        tmp_path / 'x.csv', 'tile,n,date,B4\nA,1,2018-05-01,1\nB,1,2018-05-01,2\nA,1,2018-06-01,3\n'
    )
    series = PointSeries(path, point=['tile', 'n'], bands=['B4'])
    assert [v for _, v, _ in arrays_of(series)] == [[[1], [3]], [[2]]]


def test_duplicates_and_rows_without_a_date_are_counted(tmp_path):
    text = (
        'id,date,B4\na,2018-05-01,\na,2018-05-01,2\na,2018-05-01,3\n'
        'a,2018-05-02,4\n,2018-05-03,5\na,,6\na,later,7\n'
    )
    path = write(tmp_path / 'x.csv', text)
    with (
        pytest.warns(UserWarning, match='3 of 7 rows have no id or date .* the first is row 5'),
        pytest.warns(UserWarning, match='2 rows are of a point and date .* such as point a'),
    ):
        series = PointSeries(path)
    assert arrays_of(series)[0][1] == [[2], [4]]


def test_what_does_not_change_is_no_band_unless_it_is_asked_for(tmp_path):
    path = write(
        tmp_path / 'x.csv', 'id,date,B4,slope,code\na,2018-05-01,1,7,3\na,2018-06-01,2,7,3\n'
    )
    with pytest.warns(UserWarning, match=r"\['slope', 'code'\] stay the same"):
        assert PointSeries(path).bands == ['B4']
    assert PointSeries(path, bands=['slope', 'B4'], label='code').bands == ['slope', 'B4']


def test_no_data_is_not_clear_and_named_where_it_is_not_said(tmp_path):
    path = write(tmp_path / 'x.csv', 'id,date,B4\na,2018-05-01,1\na,2018-06-01,-9999\n')
    with pytest.warns(UserWarning, match=r'1 values are -9999, .*table.nodata=-9999'):
        PointSeries(path)
    [(_, values, clear)] = arrays_of(PointSeries(path, nodata=-9999))
    assert values == [[1], [0]]
    assert clear == [[[True]], [[False]]]


def test_batch_is_what_pad_time_makes_of_the_samples(tmp_path):
    rows = [
        'a,2018-05-01,1,5.5,50',
        'b,2018-05-01,2,5,51',
        'b,2018-05-03,,5,51',
        'b,2018-05-09,4,5,51',
    ]
    path = write(tmp_path / 'x.csv', '\n'.join(['id,date,B4,lon,lat', *rows]))
    series = PointSeries(path, label='id')
    expected = pad_time([series[1], series[0], series[1]])
    found = series.batch(np.array([1, 0, 1]))
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
        assert found[key].dtype == value.dtype, key
    assert series.seen.tolist() == [True, True]


@pytest.mark.parametrize(
    ('text', 'options', 'message'),
    [
        ('', {}, 'cannot be read as a table: the file is empty'),
        ('id,date,B4\n', {}, 'has no row'),
        ('id,date,B4\na,2018-05-01\n', {}, 'Expected 3 columns, got 2'),
        ('id,date,B4,B4\na,2018-05-01,1,2\n', {}, r"several columns of the names \['B4'\]"),
        ('plot,date,B4\na,2018-05-01,1\n', {}, "which column tells the point .*'plot'"),
        ('id,when,B4\na,2018-05-01,1\n', {}, "tells the date .*B02_1 with table.dates"),
        ('id,date,B4\na,2018-05-01,x\n', {'bands': ['B4']}, "band 'B4' holds no numbers, but 'x'"),
        ('id,date,B4\na,2018-05-01,1\n', {'bands': ['B04']}, "'B04' is no column.*mean 'B4'"),
        ('id,date,B4\na,2018-05-01,1\n', {'label': 'crops'}, "labels.column='crops' is no column"),
        ('id,date,B4\na,2018-05-01,\n', {'bands': ['B4']}, 'on no date are the values of all'),
        ('id,date,name\na,2018-05-01,x\n', {}, 'no column of numbers changes over time'),
        ('id,date,B4,c\na,2018-05-01,1,x\na,2018-06-01,2,y\n', {'label': 'c'},
         "'c' is not the same on all dates of 1 points"),
        ('B4_1,B4_2\n1,2\n', {'dates': ['2018-05-01']}, r'1 dates, so columns.*found the numbers'),
        ('B4_1\n1\n', {'dates': ['x']}, 'holds no dates that can be read'),
        ('B4_20180501,B4_2018-05-01,B4_20180601\n1,2,3\n', {}, 'are both B4 of 2018-05-01'),
        ('B4_20180501,B4_20180601\n1,2\n', {'bands': ['B5']}, r"\['B5'\], the table has \['B4'\]"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_read_are_refused_in_one_line(tmp_path, text, options, message):
    path = write(tmp_path / 'x.csv', text)
    with pytest.raises(ValueError, match=message) as caught:
        PointSeries(path, **options)
    assert '\n' not in str(caught.value)


def test_files_that_are_no_tables_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no table at'):
        PointSeries(tmp_path / 'absent.csv')
    with pytest.raises(FileNotFoundError, match='found none'):
        PointSeries(tmp_path)
    with pytest.raises(ValueError, match=r'ends with one of \.csv'):
        PointSeries(write(tmp_path / 'x.json', '{}'))
    np.savez(tmp_path / 'x.npz', X=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match='cannot be read as arrays'):  # nothing is unpickled
        PointSeries(tmp_path / 'x.npz')
    np.savez(tmp_path / 'y.npz', X=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"three axes, got {'X': \(2, 3\)}"):
        PointSeries(tmp_path / 'y.npz')


def test_labels_are_classes_in_ascending_order():
    labels = encode_labels(pd.Series(['rye', None, 'oats', 'rye']))
    assert (labels.values.tolist(), labels.names) == ([1, -1, 0, 1], ['oats', 'rye'])
    labels = encode_labels(pd.Series([10.0, np.nan, 9.0]), unlabelled=9)
    assert (labels.values.tolist(), labels.names) == ([0, -1, -1], ['10'])
    with pytest.warns(UserWarning, match=r"2 points are of the values \['5', '7'\]"):
        labels = encode_labels(pd.Series([7, 3, 5, 2]), classes={3: 'rye', '2': 'oats'})
    assert (labels.values.tolist(), labels.names) == ([-1, 0, -1, 1], ['rye', 'oats'])


def test_values_are_labels_of_their_own():
    labels = encode_labels(pd.Series([1.5, np.nan, -9.0, np.inf]), kind='value', unlabelled=-9)
    assert labels.values.dtype == np.float32
    assert labels.known.tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ('column', 'options', 'message'),
    [
        ([0.5, 1.0], {}, "holds numbers such as 0.5.*labels.kind='value'"),
        (list(range(300)), {}, "300 different numbers.*labels.kind='value'"),
        ([None, None], {}, 'holds no label'),
        ([1, 2], {'classes': {3: 'x'}}, r"\[3\] holds no value .* \['1', '2'\]"),
        (['a', 'b'], {'kind': 'value'}, "holds no number, but 'a'"),
        ([1.0], {'kind': 'value', 'classes': {1: 'x'}}, 'leave it out'),
    ],
)
def test_labels_that_cannot_be_are_refused(column, options, message):
    with pytest.raises(ValueError, match=message):
        encode_labels(pd.Series(column), **options)


def test_real_table_is_read_as_it_stands(shared_data):
    path = shared_data / 'pts_fuel_moisture' / 'pts_fuel_moisture.csv'
    with path.open() as file:
        rows = list(csv.DictReader(file))
    bands = ['VV', 'B8A', 'elevation']
    series = PointSeries(path, year=2018, bands=bands, label='target', kind='value')
    assert len(series) == len(rows) / 3 == 2313
    found = series.batch(np.arange(len(series)))
    expected = np.array([[float(row[b]) for b in bands] for row in rows], np.float32)
    np.testing.assert_array_equal(found['image'].numpy().reshape(-1, 3), expected)
    wanted = np.array([float(row['target']) for row in rows[::3]], np.float32)
    np.testing.assert_array_equal(found['label'].numpy(), wanted)
    times = found['acquisition_times'].numpy()
    assert (np.diff(times, axis=1) > 0).all()
    months = times.astype('datetime64[s]').astype('datetime64[M]').astype(int) % 12 + 1
    assert months.flatten().tolist() == [int(row['month']) for row in rows]

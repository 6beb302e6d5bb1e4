"""Windows in time, on real stacks through TorchGeo's plain RasterDataset."""

import time

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from geopandas import GeoDataFrame
from rasterio.transform import from_origin
from torchgeo.datasets import GeoDataset, RasterDataset
from torchgeo.samplers import GriddedPatchSampler, RandomPatchSampler

from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.samplers import RandomDateCountSampler, RandomSeriesPatchSampler, SeasonSampler


class Stack(RasterDataset):
    filename_regex = r'.*_(?P<date>\d{8})\.tif$'


class Footprints(GeoDataset):
    """Times and places without files; ``rows`` are (time, box) pairs."""

    def __init__(self, rows):
        times = pd.DatetimeIndex([row[0] for row in rows])
        index = pd.IntervalIndex.from_arrays(
            times, times + pd.Timedelta('1d') - pd.Timedelta('1us'), closed='both', name='datetime'
        )
        boxes = [shapely.box(*row[1]) for row in rows]
        self.index = GeoDataFrame(
            {'filepath': [''] * len(rows)}, index=index, geometry=boxes, crs='EPSG:32631'
        )
        self._res = (10.0, 10.0)

    def __getitem__(self, index):
        raise IndexError


@pytest.fixture
def stack(shared_data):
    return Stack(str(shared_data / 'wc_be_b' / 's2'), time_series=True)


@pytest.fixture(params=['UTC', 'America/New_York', 'Asia/Kolkata'])
def zone(request, monkeypatch):
    monkeypatch.setenv('TZ', request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def days_in(stack, t):
    """Dates read off the file names that a plain data set gives for a window."""
    files = sorted(stack.files)
    dates = pd.to_datetime([f[-12:-4] for f in files])
    inside = (dates >= t.start) & (dates < t.stop)
    return dates[inside][:: t.step or 1]


@pytest.mark.parametrize('count', [1, 7, 72])
def test_window_holds_exactly_count_frames(stack, count, zone):
    sampler = RandomDateCountSampler(stack, count=count, length=5, generator=0)
    for x, y, t in sampler:
        assert len(days_in(stack, t)) == count
        # TorchGeo's own reader, whose windows include their end, sees the same frames.
        if count < 10:
            assert stack[x, y, t]['image'].shape[0] == count


def test_stride_strides_over_frames(stack):
    (x, y, t), *_ = RandomDateCountSampler(stack, count=6, stride=4, generator=1)
    assert t.step == 4
    dates = days_in(stack, t)
    assert len(dates) == 6
    everything = sorted(pd.to_datetime([f[-12:-4] for f in stack.files]))
    assert [everything.index(d) - everything.index(dates[0]) for d in dates] == list(
        range(0, 24, 4)
    )
    assert stack[x, y, t]['image'].shape[0] == 6


def test_largest_stride_spans_all_time_with_every_phase(stack):
    sampler = RandomDateCountSampler(stack, count=10, stride='max', length=300, generator=0)
    windows = [t for _, _, t in sampler]
    # 72 dates: the largest s with 9 s + 1 <= 72 is 7, which leaves 72 - 63 phases.
    assert {t.step for t in windows} == {7}
    assert len({t.start for t in windows}) == 72 - 63
    assert all(len(days_in(stack, t)) == 10 for t in windows)


@pytest.mark.parametrize('stride', [1, 3, 'max'])
def test_too_few_dates_give_all(stack, stride):
    toi = pd.Interval(pd.Timestamp('2019-04-01'), pd.Timestamp('2019-04-30'))
    wanted = [f for f in stack.files if '20190401' <= f[-12:-4] < '20190430']
    [(_, _, t)] = RandomDateCountSampler(stack, count=50, stride=stride, toi=toi, generator=0)
    assert len(days_in(stack, t)) == len(wanted) > 0


def test_toi_is_half_open_and_understands_zones():
    data = Footprints([(f'2020-01-0{d}', (0, 0, 100, 100)) for d in range(1, 8)])
    naive = pd.Interval(pd.Timestamp('2020-01-02'), pd.Timestamp('2020-01-05'), closed='both')
    assert RandomDateCountSampler(data, count=9, toi=naive).acquisitions().shape == (3, 2)
    # 2020-01-02 23:00 in New York is 04:00 of the third in UTC.
    zoned = pd.Interval(
        pd.Timestamp('2020-01-02 23:00', tz='America/New_York'),
        # Midnight UTC of the fifth, which is out.
        pd.Timestamp('2020-01-04 19:00', tz='America/New_York'),
    )
    times = RandomDateCountSampler(data, count=9, toi=zoned).acquisitions()[:, 0]
    assert pd.to_datetime(times).strftime('%d').tolist() == ['04']


def test_acquisitions_belong_to_footprints_that_overlap():
    left, right = (0, 0, 100, 100), (100, 0, 200, 100)
    rows = [('2020-01-01 10:00', left), ('2020-01-01 10:01', left), ('2020-01-03', left)]
    rows += [('2020-01-02', right), ('2020-01-01 10:02', right)]
    data = Footprints(rows)
    by_day = RandomDateCountSampler(data, count=2)
    # The window ends on the border: the right footprint only touches it.
    inside = slice(50.0, 100.0), slice(0.0, 50.0)
    days = pd.to_datetime(by_day.acquisitions(inside)[:, 0]).strftime('%d').tolist()
    assert days == ['01', '03']
    across = slice(50.0, 110.0), slice(0.0, 50.0)
    assert len(by_day.acquisitions(across)) == 3
    by_time = RandomDateCountSampler(data, count=2, group_by='time')
    assert len(by_time.acquisitions(across)) == 5
    # A window of whole days takes in the last file of its last day.
    [(_, _, t)] = RandomDateCountSampler(
        data, count=1, toi=pd.Interval(pd.Timestamp('2020-01-01'), pd.Timestamp('2020-01-02'))
    )
    assert t.start == pd.Timestamp('2020-01-01 10:00')
    assert t.stop > pd.Timestamp('2020-01-01 10:02')


def test_epochs_differ_and_seeds_repeat(stack):
    def windows(sampler):
        return [t for _, _, t in sampler]

    one = RandomDateCountSampler(stack, count=5, length=20, generator=3)
    other = RandomDateCountSampler(stack, count=5, length=20, generator=3)
    first = windows(one)
    assert first == windows(other)
    assert first != windows(one)


def test_season_within_each_year(stack, zone):
    windows = [t for _, _, t in SeasonSampler(stack, start='03-01', stop='11-01')]
    dates = pd.to_datetime([f[-12:-4] for f in stack.files])
    for t, year in zip(windows, (2018, 2019), strict=True):
        season = dates[(dates >= f'{year}-03-01') & (dates < f'{year}-11-01')]
        assert days_in(stack, t).tolist() == sorted(season)
        assert t.start == season.min()


def test_season_over_new_year():
    days = ['2019-01-10', '2019-10-31', '2019-11-01', '2020-02-29', '2020-03-01', '2020-12-31']
    data = Footprints([(day, (0, 0, 100, 100)) for day in days])
    windows = [t for _, _, t in SeasonSampler(data, start='11-01', stop='03-01')]
    assert [(str(t.start.date()), str(t.stop.date())) for t in windows] == [
        ('2019-01-10', '2019-01-10'),
        ('2019-11-01', '2020-02-29'),
        ('2020-12-31', '2020-12-31'),
    ]
    only = SeasonSampler(data, start='11-01', stop='03-01', years=[2019], min_count=2)
    assert [str(t.start.date()) for _, _, t in only] == ['2019-11-01']


def test_composes_with_torchgeo_spatial_samplers(stack):
    places = GriddedPatchSampler(stack, size=32)
    windows = list(places @ RandomDateCountSampler(stack, count=4, length=2, generator=0))
    assert len(windows) == 2 * len(places)
    assert all(len(days_in(stack, t)) == 4 for _, _, t in windows)
    windows = list(places @ SeasonSampler(stack))
    assert len(windows) == 2 * len(places)
    random = RandomPatchSampler(stack, size=16, length=6, generator=0)
    assert len(list(random @ RandomDateCountSampler(stack, count=4, generator=0))) == 6


@pytest.mark.parametrize(
    ('sampler', 'arguments', 'message'),
    [
        (RandomDateCountSampler, {'count': 0}, 'count .* got 0'),
        (RandomDateCountSampler, {'count': 3, 'stride': 'all'}, "stride .* got 'all'"),
        (RandomDateCountSampler, {'count': 3, 'group_by': 'week'}, "group_by .* got 'week'"),
        (SeasonSampler, {'start': '02-29'}, "start .* got '02-29'"),
        (SeasonSampler, {'stop': '3-1'}, "stop .* got '3-1'"),
        (
            SeasonSampler,
            {'toi': pd.Interval(pd.Timestamp('1999'), pd.Timestamp('2000'))},
            'between 2020-01-01',
        ),
    ],
)
def test_bad_arguments_are_named(sampler, arguments, message):
    data = Footprints([('2020-01-01', (0, 0, 100, 100))])
    with pytest.raises(ValueError, match=message):
        sampler(data, **arguments)


def test_acquisitions_agree_with_brute_force():
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 300, (60, 2))
    days = pd.Timestamp('2020-01-01') + pd.to_timedelta(rng.integers(0, 40, 60), 'D')
    boxes = np.concatenate([corner, corner + rng.integers(20, 200, (60, 2))], axis=1)
    data = Footprints(list(zip(days, boxes.tolist(), strict=True)))
    sampler = RandomDateCountSampler(data, count=3)
    for x, y in rng.integers(0, 400, (50, 2)).tolist():
        wide = np.minimum(boxes[:, 2], x + 60) - np.maximum(boxes[:, 0], x)
        high = np.minimum(boxes[:, 3], y + 60) - np.maximum(boxes[:, 1], y)
        expected = sorted(set(days[(wide > 0) & (high > 0)]))
        found = sampler.acquisitions((slice(x, x + 60), slice(y, y + 60)))
        assert pd.to_datetime(found[:, 0]).tolist() == expected


@pytest.mark.parametrize('group_by', ['day', 'time'])
def test_windows_hold_the_last_file_whatever_its_time_of_day(tmp_path, group_by):
    # Names as Sentinel-2's; the index of the series holds whole days under 'day'.
    for day in range(1, 7):
        for clock in ('T105031', 'T235959')[: 1 + (day == 3)]:
            with rasterio.open(
                tmp_path / f'x_202001{day:02d}{clock}.tif',
                'w',
                driver='GTiff',
                width=4,
                height=4,
                count=1,
                dtype='uint8',
                crs='EPSG:32631',
                transform=from_origin(600000, 5000000, 10, 10),
            ) as file:
                file.write(np.full((1, 4, 4), day, 'uint8'))
    series = RasterTimeSeries(str(tmp_path), group_by=group_by)
    whole = series[:, :]
    known = whole['acquisition_times'].tolist()
    assert len(known) == (6 if group_by == 'day' else 7)
    for count in (1, 3):
        sampler = RandomDateCountSampler(
            series, count=count, length=30, group_by=group_by, generator=0
        )
        firsts = set()
        for window in sampler:
            times = series[window]['acquisition_times'].tolist()
            first = known.index(times[0])
            assert times == known[first : first + count]
            firsts.add(first)
        assert firsts == set(range(len(known) - count + 1))
    [window] = SeasonSampler(series, start='01-02', stop='01-05', group_by=group_by)
    days = series[window]['image'][:, 0, 0, 0].tolist()
    assert days == ([2, 3, 4] if group_by == 'day' else [2, 3, 3, 4])


def test_window_of_overlapping_composites_ends_before_the_next():
    data = Footprints([('2020-01-01', (0, 0, 9, 9)), ('2020-01-11', (0, 0, 9, 9))])
    left = data.index.index.left
    data.index.index = pd.IntervalIndex.from_arrays(left, left + pd.Timedelta('30d'), 'both')
    stops = {t.start.day: t.stop for *_, t in RandomDateCountSampler(data, count=1, length=20)}
    assert pd.Timestamp('2020-01-10 23:59') < stops[1] < pd.Timestamp('2020-01-11')
    assert stops[11] == pd.Timestamp('2020-02-10')


def test_draws_depend_on_seed_and_epoch_only(stack):
    def sampler(seed):
        places = RandomSeriesPatchSampler(stack, size=8, length=6, generator=seed)
        return places @ RandomDateCountSampler(stack, count=5, generator=seed)

    def corners(windows):
        return [(x.start, y.start, t.start) for x, y, t in windows]

    one, resumed = sampler(3), sampler(3)
    epochs = []
    for epoch in range(3):
        one.set_epoch(epoch)
        epochs.append(corners(one))
    resumed.set_epoch(2)
    assert corners(resumed) == epochs[2]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    other = sampler(4)
    other.set_epoch(2)
    assert corners(other) != epochs[2]


def test_places_and_dates_of_one_seed_do_not_go_together(stack):
    places = RandomSeriesPatchSampler(stack, size=1, length=400, generator=0)
    windows = list(places @ RandomDateCountSampler(stack, count=1, generator=0))
    y, t = np.array([(y.start, t.start.timestamp()) for _, y, t in windows]).T
    assert abs(np.corrcoef(y, t)[0, 1]) < 0.2

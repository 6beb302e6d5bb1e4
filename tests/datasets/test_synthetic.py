"""The synthetic series as files: contract, reproducibility, physics, difficulty."""

import datetime
import json

import numpy as np
import pytest
import rasterio
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score

from torchgeo_sits.datasets import simulation, synthetic
from torchgeo_sits.datasets.simulation import weather
from torchgeo_sits.datasets.simulation.phenology import Growth, cover_fractions
from torchgeo_sits.datasets.synthetic import write_synthetic_series

SMALL = {'size': (64, 72), 'num_dates': 6, 'days': 300}
CLEAR = (4, 5, 6)


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def stack(series):
    """Images ``(T, C, H, W)``, scene classification ``(T, H, W)`` and days ``(T,)``."""
    images, clouds = sorted(series.images.iterdir()), sorted(series.clouds.iterdir())
    assert [p.name[-12:] for p in images] == [p.name[-12:] for p in clouds]
    days = [datetime.datetime.strptime(p.stem[-8:], '%Y%m%d').date() for p in images]
    days = np.array([(day - datetime.date(1970, 1, 1)).days for day in days])
    return np.stack([read(p) for p in images]), np.stack([read(p)[0] for p in clouds]), days


@pytest.fixture(scope='module')
def default(tmp_path_factory):
    return write_synthetic_series(tmp_path_factory.mktemp('synthetic') / 'default')


@pytest.fixture(scope='module')
def cube(default):
    return stack(default)


def test_files_hold_what_they_promise(default, cube):
    images, scl, _ = cube
    assert images.shape == (40, 10, 160, 160)
    for path in (*default.images.iterdir(), *default.clouds.iterdir()):
        with rasterio.open(path) as file:
            assert file.crs.to_epsg() == 32631
            assert file.res == (10, 10)
            assert file.nodata == 0
            assert file.profile['tiled']
    # No change is a label like others.
    for path, nodata in (
        (default.classes, 0),
        (default.parcels, 0),
        (default.change, None),
        (default.change_date, None),
    ):
        with rasterio.open(path) as file:
            assert file.nodata == nodata
    with rasterio.open(next(default.images.iterdir())) as file:
        assert file.dtypes == ('uint16',) * 10
        assert file.descriptions == simulation.BANDS
    assert set(np.unique(scl)) <= set(simulation.SCL.values())
    # Nodata is one thing in both files, and in all bands.
    assert ((images == 0) == (scl == 0)[:, None]).all()
    assert (scl == 0).any()
    # Some dates are wholly cloudy, a third or more mostly clear.
    clear = np.isin(scl, CLEAR).mean((1, 2))
    assert (clear < 0.01).any()
    assert (clear > 0.9).mean() > 0.3


def test_fields_can_be_held_out(default):
    classes, parcels = read(default.classes)[0], read(default.parcels)[0]
    assert ((classes == 0) == (parcels == 0)).all()
    of_parcel = [np.unique(classes[parcels == p]) for p in range(1, parcels.max() + 1)]
    assert all(len(found) == 1 for found in of_parcel)
    area = np.bincount(parcels.ravel())[1:]
    assert (area >= 20).sum() >= 150
    counts = np.bincount(np.concatenate(of_parcel))[1:]
    assert len(counts) == len(simulation.CLASSES) >= 8
    assert counts.min() >= 6


def test_same_seed_same_pixels(tmp_path):
    one = write_synthetic_series(tmp_path / 'one', **SMALL)
    two = write_synthetic_series(tmp_path / 'two', **SMALL)
    other = write_synthetic_series(tmp_path / 'other', **SMALL, seed=1)
    files = [p.relative_to(one.root) for p in sorted(one.root.rglob('*.tif'))]
    assert len(files) == 2 * 6 + 4
    for name in files:
        np.testing.assert_array_equal(read(one.root / name), read(two.root / name))
    assert (read(one.classes) != read(other.classes)).any()


def test_a_folder_is_used_again_or_refused(tmp_path, monkeypatch):
    root = tmp_path / 'a' / 'series'
    series = write_synthetic_series(root, **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, '_simulate', lambda *_: pytest.fail('simulated again'))
        assert write_synthetic_series(root, **SMALL) == series
        with pytest.raises(FileExistsError, match='seed=0, not 3'):
            write_synthetic_series(root, **SMALL, seed=3)
        foreign = tmp_path / 'photos'
        foreign.mkdir()
        (foreign / 'cat.png').touch()
        with pytest.raises(FileExistsError, match=r'photos.* holds no synthetic series'):
            write_synthetic_series(foreign, **SMALL)
    assert [p.name for p in foreign.iterdir()] == ['cat.png']


def test_a_run_that_fails_leaves_nothing(tmp_path, monkeypatch):
    write, calls = synthetic._write, []

    def fail_late(*arguments, **options):
        calls.append(arguments)
        if len(calls) > 7:
            raise KeyboardInterrupt
        write(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, '_write', fail_late)
        with pytest.raises(KeyboardInterrupt):
            write_synthetic_series(tmp_path / 'series', **SMALL)
    assert list(tmp_path.iterdir()) == []
    write_synthetic_series(tmp_path / 'series', **SMALL)


def test_another_process_was_faster(tmp_path, monkeypatch):
    root, simulate = tmp_path / 'series', synthetic._simulate

    def race(series, arguments):
        simulate(series, arguments)
        with monkeypatch.context() as patch:
            patch.setattr(synthetic, '_simulate', simulate)
            write_synthetic_series(root, **SMALL)

    monkeypatch.setattr(synthetic, '_simulate', race)
    assert write_synthetic_series(root, **SMALL).meta['arguments']['seed'] == 0
    assert [p.name for p in tmp_path.iterdir()] == ['series']


def test_classes_follow_their_calendar(default, cube):
    images, scl, days = cube
    classes, change = read(default.classes)[0], read(default.change)[0]
    month = np.array([(datetime.date(1970, 1, 1) + datetime.timedelta(int(d))).month for d in days])
    year = days >= (datetime.date(2021, 1, 1) - datetime.date(1970, 1, 1)).days
    red, nir = images[:, 2].astype(float), images[:, 6].astype(float)
    ndvi = (nir - red) / np.maximum(nir + red, 1)

    def season(name, *months, of=ndvi):
        at = (classes == simulation.CLASSES.index(name) + 1) & (change == 0)
        seen = at & np.isin(scl, CLEAR) & (np.isin(month, months) & year)[:, None, None]
        return np.median(of[seen])

    # Winter cereals are green in May and stubble in August; maize is the other way round.
    assert season('winter wheat', 5) > 0.6 > 0.4 > season('winter wheat', 8, 9)
    assert season('maize', 8) > 0.6 > 0.4 > season('maize', 4, 5)
    assert season('sugar beet', 9) > season('maize', 9) + 0.05
    assert season('deciduous forest', 7, 8) > season('deciduous forest', 1, 2) + 0.2
    assert abs(season('conifer forest', 7, 8) - season('conifer forest', 1, 2)) < 0.15
    assert season('conifer forest', 7, 8, of=nir) < season('deciduous forest', 7, 8, of=nir)
    assert season('grassland', 2, 3) > 0.5
    assert season('water', 6, 7, 8, of=nir) < 600
    assert season('built-up', 7, 8) < 0.45
    # Red edge: reflectance of leaves climbs from 665 over 705, 740 to 783 nm.
    edge = [season('sugar beet', 8, of=images[:, band]) for band in (2, 3, 4, 5)]
    assert np.all(np.diff(edge) > 300)


def test_clouds_are_bright_and_shadows_dark(cube):
    images, scl, _ = cube
    blue, nir = images[:, 0], images[:, 6]
    clear = np.isin(scl, CLEAR)
    assert np.median(blue[scl == 9]) > 4 * np.median(blue[clear])
    partly = [t for t in range(len(scl)) if (scl[t] == 3).sum() > 500 and clear[t].mean() > 0.3]
    assert partly
    for t in partly:
        assert np.median(nir[t][scl[t] == 3]) < np.median(nir[t][clear[t]])


def test_events_change_the_land_from_their_day_on(default, cube):
    images, scl, days = cube
    code, day = read(default.change)[0], read(default.change_date)[0]
    events = default.meta['events']
    assert {event['event'] for event in events} == set(simulation.EVENTS)
    assert ((code == 0) == (day == 0)).all()
    swir, nir = images[:, 9].astype(float), images[:, 6].astype(float)
    nbr = (nir - swir) / np.maximum(nir + swir, 1)
    clear = np.isin(scl, CLEAR)
    classes = read(default.classes)[0]
    drops = {'clearing': [], 'burning': []}
    for event in events:
        kind = simulation.EVENTS.index(event['event']) + 1
        date = (datetime.date.fromisoformat(event['date']) - datetime.date(1970, 1, 1)).days
        at = (code == kind) & (day == date) & (read(default.parcels)[0] == event['parcel'])
        assert at.sum() == event['pixels'] > 0
        assert (classes[at] == simulation.CLASSES.index(event['class']) + 1).all()
        before = at & clear & ((days < date) & (days > date - 90))[:, None, None]
        after = at & clear & ((days >= date) & (days < date + 45))[:, None, None]
        if event['event'] in drops and before.any() and after.any():
            drops[event['event']].append(np.median(nbr[before]) - np.median(nbr[after]))
    # The normalised burn ratio falls where forest is cut and where land burns.
    assert drops['clearing']
    assert drops['burning']
    assert np.median(drops['clearing']) > 0.2
    assert np.median(drops['burning']) > 0.2


def test_crops_follow_the_double_logistic():
    days = np.arange(0.0, 270) + (datetime.date(2021, 1, 1) - datetime.date(1970, 1, 1)).days
    none = np.zeros((1, 1))
    growth = Growth(
        cover=np.array([[simulation.CLASSES.index('maize')]]),
        first_year=2021,
        shift=none,
        stretch=none,
        vigour=none + 1,
        stubble=none,
        catch_crop=none,
        mowing=none + np.nan,
        share=np.zeros(1),
        brightness=np.ones(1),
    )
    shares = cover_fractions(growth, days)
    np.testing.assert_allclose(shares.sum(-1), 1)
    # Beck et al. (2006) with the calendar of maize, before the harvest on day 276.
    t = np.arange(270.0)
    rise, fall = 1 / (1 + np.exp(-(t - 172) / 8)), 1 / (1 + np.exp((t - 262) / 10))
    np.testing.assert_allclose(shares[:, 0, 1], 0.92 * (rise + fall - 1), atol=0.01)


def test_a_random_forest_is_good_but_not_perfect(default, cube):
    images, scl, days = cube
    classes, parcels = read(default.classes).ravel(), read(default.parcels).ravel()
    clear = np.isin(scl, CLEAR).reshape(len(days), -1)
    rng = np.random.default_rng(0)
    pixels = rng.permutation(np.flatnonzero(classes))[:5000]
    bands = images[:, [2, 6, 8]].reshape(len(days), 3, -1)
    series = np.array(
        [
            [np.interp(days, days[clear[:, p]], b[clear[:, p], p]) for b in bands.swapaxes(0, 1)]
            for p in pixels
        ]
    ).reshape(len(pixels), -1)
    held_out = (rng.random(parcels.max() + 1) < 0.5)[parcels[pixels]]
    forest = RandomForestClassifier(50, random_state=0)
    forest.fit(series[~held_out], classes[pixels][~held_out])
    score = f1_score(classes[pixels][held_out], forest.predict(series[held_out]), average='macro')
    assert 0.6 < score < 0.95


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'size': (8, 64)}, r'size .* got \(8, 64\)'),
        ({'num_dates': 70}, 'num_dates .* 60.* got 70'),
        ({'start': '1.9.2020'}, "start .* got '1.9.2020'"),
        ({'parcel_pixels': 4}, 'parcel_pixels .* got 4'),
        ({'changed': 0.9}, 'changed .* got 0.9'),
        ({'difficulty': -1.0}, 'difficulty .* got -1.0'),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_synthetic_series(tmp_path / 'series', **SMALL | arguments)
    assert list(tmp_path.iterdir()) == []


def test_meta_names_everything(default):
    meta = json.loads((default.root / 'META.json').read_text())
    assert meta['bands'] == list(simulation.BANDS)
    assert meta['classes']['1'] == 'winter wheat'
    assert [d.replace('-', '') for d in meta['dates']] == sorted(
        p.stem[-8:] for p in default.images.iterdir()
    )


def test_images_move_as_scipy_moves_them():
    image = np.random.default_rng(0).normal(size=(2, 9, 7))
    for amount in ((0.3, -0.4), (1.6, -2.2), (0.0, 0.5)):
        found = weather._moved(image, np.array(amount))
        expected = ndimage.shift(image, (0, *amount), order=1, mode='nearest')
        inside = (slice(None), slice(3, -3), slice(3, -3))
        np.testing.assert_allclose(found[inside], expected[inside], atol=1e-12)
        assert np.isfinite(found).all()


def test_a_realistic_world_is_seen_worse_and_is_the_same_land(tmp_path):
    arguments = {'size': (64, 64), 'num_dates': 24, 'seed': 3}
    mild, hard = (
        write_synthetic_series(tmp_path / name, realistic=name == 'hard', **arguments)
        for name in ('mild', 'hard')
    )
    for kind in ('classes', 'parcels', 'change_date'):
        assert np.array_equal(_read(getattr(mild, kind)), _read(getattr(hard, kind)))

    def missed(series):
        # Clear by the mask, and brighter in blue than the pixel usually is.
        blue, clear = [], []
        for path in sorted(series.images.glob('*.tif')):
            scl = series.clouds / path.name.replace('_S2_', '_SCL_')
            blue.append(_read(path)[0] / 10_000)
            clear.append(np.isin(_read(scl)[0], (4, 5, 6)))
        blue, clear = np.where(clear, blue, np.nan), np.array(clear)
        return (blue - np.nanmedian(blue, 0) > 0.05).sum() / clear.sum()

    assert missed(hard) > 0.03 > 0.01 > missed(mild)
    with pytest.raises(FileExistsError, match='realistic=True, not None'):
        write_synthetic_series(tmp_path / 'hard', **arguments)


def _read(path):
    with rasterio.open(path) as file:
        return file.read()

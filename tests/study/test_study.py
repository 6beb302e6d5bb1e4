import argparse
import gzip
import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score
from torch.utils.flop_counter import FlopCounterMode

import study
from study import ours, published, second_round, theirs, tuning
from study.__main__ import jobs
from study.claims import compare, findings
from study.contenders import (
    CLASSIC,
    CONTENDERS,
    FAMILIES,
    SINGLE,
    TWO_SENSORS,
    Job,
    at_length,
)
from study.crops import DATES, FrameCrops, SeriesCrops, StackedCrops
from study.pretraining import frozen, pretrain
from study.probes import Pixels, draw_fields, labelled_pixels, linear, probe, scores
from study.public import SETS
from study.records import Records, append, bootstrap, read
from study.report import write
from study.sites import Radar, Site, canada, components, normalised, season_composite
from study.theirs import METHODS, build, features
from torchgeo_sits.keys import Series
from torchgeo_sits.models import Presto
from torchgeo_sits.models.monthly import STATISTICS

DAY = 86_400


@pytest.fixture
def site():
    """A series of 30 x 40 pixels, of which 8 x 8 hold data: four fields of two classes."""
    rng = np.random.default_rng(0)
    classes, fields = np.zeros((2, 30, 40), np.int64)
    for number, (row, column) in enumerate(((4, 4), (4, 8), (8, 4), (8, 8)), 1):
        at = slice(row, row + 4), slice(column, column + 4)
        classes[at], fields[at] = 1 + number % 2, number
    clear = torch.from_numpy((fields > 0) & (rng.random((30, 30, 40)) > 0.3))
    image = torch.from_numpy(rng.normal(size=(30, 3, 30, 40)).astype(np.float32))
    times = 1_600_000_000 + torch.arange(30) * 12 * DAY
    return Site('test', image.where(clear[:, None], 0.0), times, clear, classes, fields)


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    f1, iou = scores(truth, found)
    assert f1 == pytest.approx(f1_score(truth, found, average='macro'))
    assert iou == pytest.approx(jaccard_score(truth, found, average='macro'))


def test_scores_of_classes_that_are_only_guessed():
    # The class 9 is not in the truth: its pixels are errors of the others, and no class.
    truth, found = np.array([1, 1, 2, 2]), np.array([1, 9, 2, 2])
    assert scores(truth, found)[0] == pytest.approx((2 / 3 + 1) / 2)


def test_no_field_is_on_both_sides(site):
    pixels = labelled_pixels(site)
    for budget in ('1', '3', 'all', '5 %'):
        for draw in range(5):
            train, test = draw_fields(pixels, budget, draw)
            assert not set(train) & set(test)
            assert set(train) | set(test) == {1, 2, 3, 4}
            assert {f % 2 for f in train} == {f % 2 for f in test} == {0, 1}


def test_a_share_is_taken_of_each_class():
    fields = np.arange(200)
    pixels = Pixels(fields, np.repeat([1, 2], [150, 50]), fields)
    train, test = draw_fields(pixels, '10 %', 0)
    assert (train < 150).sum() == 15
    assert (train >= 150).sum() == 5
    assert len(test) == 180


def test_small_fields_are_for_development_only(site):
    site.fields[0, :3], site.classes[0, :3] = 9, 1
    site.fields[20, :3], site.classes[20, :3] = 10, 1
    assert set(labelled_pixels(site).fields) == {1, 2, 3, 4}
    assert set(labelled_pixels(site, development=True).fields) == {9, 10}


def test_components_of_one_class_do_not_join_those_of_another():
    found = components(np.array([[1, 1, 0, 1], [2, 2, 0, 1]]))
    assert len(np.unique(found[found > 0])) == 3
    assert found[0, 0] == found[0, 1] != found[1, 0]
    assert found[0, 3] == found[1, 3] != found[0, 0]


def test_composite_is_the_median_of_what_was_clear(site):
    found = season_composite(site, 4)
    year = 365.25 * DAY
    bins = ((site.times.numpy() % year) / year * 4).astype(int)
    values, clear = site.image.numpy(), site.clear.numpy()
    row, column = 5, 5
    for number in range(4):
        chosen = (bins == number) & clear[:, row, column]
        # torch takes the lower of two middle values.
        series = np.sort(values[chosen, :, row, column], 0)
        wanted = series[(len(series) - 1) // 2]
        np.testing.assert_allclose(found[number, :, row, column], wanted, rtol=1e-6)
    assert not found[:, :, 0, 0].any()


def test_crops_show_data_and_repeat_with_their_seed(site):
    crops = SeriesCrops([site], 6, 20, seed=0)
    for index in range(20):
        sample = crops[index]
        assert sample['image'].shape == (DATES, 3, 6, 6)
        assert sample['mask_clear'].any()
        assert (sample['acquisition_times'].diff() > 0).all()
        assert not sample['image'][~sample['mask_clear'][:, None].expand_as(sample['image'])].any()
    again = SeriesCrops([site], 6, 20, seed=0)[3]
    assert all(torch.equal(again[key], value) for key, value in crops[3].items())
    assert not torch.equal(SeriesCrops([site], 6, 20, seed=1)[3]['image'], again['image'])
    assert FrameCrops([site], 6, 4, 0, frames=2)[0]['image'].shape == (6, 6, 6)


def test_bootstrap_of_equal_tables_is_their_mean():
    found = bootstrap([np.full((5, 20), 0.25), np.full((5, 20), 0.75)])
    assert found == pytest.approx((0.5, 0.5, 0.5))


def test_bootstrap_agrees_with_the_standard_error():
    # Rows alone differ: the interval is that of the mean of as many rows.
    rng = np.random.default_rng(0)
    table = np.repeat(rng.normal(size=(40, 1)), 20, 1)
    found = bootstrap([table])
    error = table[:, 0].std() / 40**0.5
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_bootstrap_of_sites_with_unlike_numbers_of_runs():
    found = bootstrap([np.full((5, 20), 0.2), np.array([[0.4], [0.6]])])
    assert found.mean == pytest.approx((0.2 + 0.5) / 2)
    assert (found.low, found.high) == pytest.approx((0.3, 0.4))


def test_differences_are_paired_by_seed_and_draw():
    def run(name, seed, f1, **more):
        score = {'site': 's', 'budget': '1', 'probe': 'p', 'depth': 'd', 'f1': f1, 'miou': f1}
        return {'contender': name, 'set': 's', 'seed': seed, 'scores': [score | more]}

    records = Records(
        [
            run('a', 0, [100, 200, 300, 400]),
            run('a', 1, [500, 600, 700, 800]),
            run('b', 1, [510, 605], draws=[1, 3]),
        ]
    )
    where = 's', '1', 'p', 'd'
    np.testing.assert_allclose(
        records.difference('a', where, 'b', where), [[0.09, 0.195]], atol=1e-9
    )


def test_differences_are_of_the_depth_that_was_asked_for():
    def run(name, **f1):
        scores = [
            {'site': 's', 'budget': '1', 'probe': 'linear', 'depth': d, 'f1': [v], 'miou': [v]}
            for d, v in f1.items()
        ]
        return {'contender': name, 'set': 's', 'seed': 0, 'scores': scores}

    names = 'VICReg, planar, mixed', 'VICReg, resampling'
    records = Records([run(names[0], joined=800, late=730), run(names[1], joined=805, late=700)])
    assert compare(records, *names, ('s',), '1').mean == pytest.approx(-0.005)
    assert compare(records, *names, ('s',), '1', depth='late').mean == pytest.approx(0.03)
    assert compare(records, *names, ('elsewhere',), '1', depth='late') is None


def test_all_initialisations_of_contenders_are_run_and_fewer_of_ablations(tmp_path):
    def todo(mode):
        arguments = argparse.Namespace(mode=mode, only=None)
        vars(arguments).update(dict.fromkeys(SETS), data=tmp_path / 'none')
        vars(arguments).update(scratch=tmp_path, weights=tmp_path)
        return Counter(j.contender.name for j in jobs(arguments, defaultdict(float)))

    modes = ('full', 'longer', 'ablations', 'published', 'second', 'finalists')
    full, longer, ablations, others, second, finalists = map(todo, modes)
    assert full['VICReg, planar, rows'] == 5
    assert ablations['VICReg, planar, mixed, pixels'] == 3
    assert longer['VICReg, planar, mixed, four times the steps'] == 5
    assert longer['TorchGeo MoCo, stacked frames, four times the steps'] == 3
    # Each in one of them.
    assert second['family of planes, planar'] == 10  # of two sets
    assert finalists['second version, planar, sixty-four times the steps'] == 6
    # Classic contenders come again, on the realistic set.
    second = set(second) - {c.name for c in CLASSIC}
    found = [*full, *longer, *ablations, *others, *second, *finalists]
    # Without files there is no Sentinel-1.
    radar = {c.name for c in CONTENDERS.values() if c.views == TWO_SENSORS.views}
    assert Counter(found) == Counter(list(CONTENDERS.keys() - radar))


def test_a_record_that_a_kill_cut_off_is_run_again(tmp_path):
    path = tmp_path / 'runs.jsonl.gz'
    append(path, {'seed': 0})
    first = path.read_bytes()
    append(path, {'seed': 1})
    whole = path.read_bytes()
    for end in range(len(first) + 1, len(whole)):
        path.write_bytes(whole[:end])
        assert read(path) == [{'seed': 0}]
        append(path, {'seed': 2})
        assert read(path) == [{'seed': 0}, {'seed': 2}]
        # For all other readers, too.
        with gzip.open(path, 'rt') as file:
            assert [json.loads(line)['seed'] for line in file] == [0, 2]


def test_records_are_read_from_a_file_that_was_compressed_as_a_whole(tmp_path):
    path = tmp_path / 'runs.jsonl.gz'
    assert read(path) == []
    path.write_bytes(gzip.compress(b'{"seed":0}\n{"seed":1}\n'))
    append(path, {'seed': 2})
    assert [record['seed'] for record in read(path)] == [0, 1, 2]


def test_the_report_is_written_to_its_folder_alone(tmp_path, monkeypatch):
    score = {'site': 'synthetic', 'budget': '1 %', 'probe': 'linear', 'depth': 'joined'}
    run = {'contender': 'VICReg, planar, mixed', 'set': 'synthetic', 'seed': 0}
    run |= {'total_seconds': 1.0, 'scores': [score | {'f1': [612], 'miou': [500]}]}
    monkeypatch.chdir(tmp_path)
    readme = (Path(study.__file__).parents[1] / 'README.md').read_bytes()
    write([run], tmp_path / 'results')
    names = {path.name for path in (tmp_path / 'results').iterdir()}
    assert names == {'table.md', 'summary.md', 'contenders.png', 'budgets.png', 'steps.png'}
    assert (
        '| VICReg, planar, mixed | 1 |  |  |  |  | 61.2 |  |'
        in (tmp_path / 'results' / 'summary.md').read_text()
    )
    assert (Path(study.__file__).parents[1] / 'README.md').read_bytes() == readme


def test_encoders_of_both_sides_are_of_one_size():
    for bands in (6, 10):
        wanted = sum(p.numel() for p in ours.encoder(bands).parameters())
        for frames in ('stacked', 'single'):
            for method in METHODS:
                _, vit = build(method, frames, bands, wanted, 1e-3)
                assert sum(p.numel() for p in vit.parameters()) == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize('frames', ['stacked', 'single'])
def test_features_of_torchgeo_lie_where_their_pixels_do(site, frames):
    torch.set_num_threads(1)
    _, vit = build('MAE', frames, 3, 50_000, 1e-3)
    before = features(vit, frames, site)['late']
    assert before.shape[1:] == (30, 40)
    site.image[:, :, 8:12, 8:12] += site.clear[:, None, 8:12, 8:12] * 1.0
    after = features(vit, frames, site)['late']
    moved = (after - before).abs().amax(0) > 1e-6
    assert moved[8:12, 8:12].all()
    # Nothing crosses the border of a tile of 16 pixels.
    assert not moved[16:].any()
    assert not moved[:, 16:].any()


def test_one_step_an_epoch_goes_on_to_new_samples(site):
    torch.set_num_threads(1)
    taken = []

    class Noted(StackedCrops):
        def __getitem__(self, index):
            taken.append(index)
            return super().__getitem__(index)

    task, _ = build('MAE', 'stacked', 3, 20_000, 1e-3)
    info = pretrain(task, Noted([site], 16, 24, 0), 3, by_epoch=True)
    assert info['steps'] == 3
    assert info['finite']
    assert sorted(set(taken)) == list(range(24))


def test_byol_of_torchgeo_keeps_its_rate(site, monkeypatch):
    # Its rate falls when ten epochs bring no lower loss, which in epochs of one step is noise.
    torch.set_num_threads(1)
    tasks = []
    monkeypatch.setattr(theirs, 'build', lambda *args: tasks.append(build(*args)) or tasks[-1])
    contender = CONTENDERS['TorchGeo BYOL, stacked frames']
    frozen(Job(contender, 'synthetic', 0, 60, 1e-3, Path(), Path()), [site], 3)
    assert tasks[0][0].optimizers().param_groups[0]['lr'] == 1e-3


def test_the_probe_finds_what_there_is(site):
    pixels = labelled_pixels(site)
    told = np.stack([pixels.classes, -pixels.classes], 1).astype(float)
    assert probe(told, pixels, '1', linear, range(3))['f1'] == [1.0] * 3


@pytest.mark.parametrize(
    'name', [n for n, c in CONTENDERS.items() if c.group == 'ours' and c.longer == 1]
)
def test_contenders_draw_the_views_that_they_are_named_after(site, name):
    contender = CONTENDERS[name]
    task = ours.build(contender.method, 3, contender.options)
    site = replace(site, s1=Radar(site.image[:, :2], site.times, site.clear))
    s1 = contender.views == 'sensor_pixels'
    batch = {k: v[None] for k, v in SeriesCrops([site], ours.SIZE, 1, seed=0, s1=s1)[0].items()}
    views = task.make_views(batch)
    assert [view['valid'].any().item() for view in views] == [True, not s1][: len(views)]
    assert ('planes' in views[0]) == (contender.views == 'planar')
    if contender.views == 'planar':
        assert task.views.global_view.kind == contender.kind
    assert len(views) == (1 if contender.method == 'MAE' else 2)


def test_published_models_see_the_values_in_their_units_and_labelled_pixels_alone(site):
    bands = ('B04', 'B08', 'B03')
    raw = 2000 + 400 * site.image
    site = replace(site, image=raw.where(site.clear[:, None], 0.0), bands=bands)
    encoder = Presto(3, bands=bands).eval()
    found, speed = published.features(encoder, normalised([site])[0])
    known = torch.tensor([STATISTICS[name] for name in ('red', 'nir', 'green')])
    image = (raw - known[:, 0, None, None]) / known[:, 1, None, None]
    valid = torch.ones(1, 30, dtype=torch.bool)
    whole = Series(image[None], site.times[None], valid, site.clear[None])
    expected = encoder.features(whole)[0].detach()
    at = labelled_pixels(site).index
    torch.testing.assert_close(
        found['late'].flatten(1)[:, at], expected.flatten(1)[:, at], rtol=1e-3, atol=1e-3
    )
    rest = np.setdiff1d(np.arange(30 * 40), at)
    assert len(at) == 48
    assert not found['late'].flatten(1)[:, rest].any()
    assert speed > 0


@pytest.mark.parametrize('name', ['Presto, means of months', 'Galileo nano, mean of tokens'])
def test_published_models_are_read_from_their_folder(site, name, shared_data):
    site = normalised([replace(site, bands=('B04', 'B08', 'B03'))])[0]
    weights = shared_data / 'weights'
    job = Job(CONTENDERS[name], 'belgium', 0, 0, None, Path(), Path(), weights)
    found, info, _ = frozen(job, [site], 3)
    assert list(found(site)) == ['late']
    assert info['pixels_per_cpu_second'] > 0


def test_claims_hold_contenders_of_equal_steps_against_each_other():
    def run(name, f1, late=600):
        score = {'site': 'synthetic', 'budget': '1', 'probe': 'linear'}
        depths = {'joined': f1, 'late': late}
        return {'contender': name, 'set': 'synthetic', 'seed': 0} | {
            'scores': [score | {'depth': d, 'f1': [v], 'miou': [v]} for d, v in depths.items()]
        }

    names = 'VICReg, planar, mixed', 'VICReg, resampling', 'TorchGeo MoCo, stacked frames'
    records = Records(
        [run(at_length(name, 4), 700 - 10 * i, 650 - 30 * i) for i, name in enumerate(names)]
        + [run(name, 600) for name in names]
        + [run('untrained PlanarViT', 500)]
    )
    found = {f.claim: f.found.mean for f in findings(records, 4)}
    assert found == pytest.approx(
        {
            'over resampling views': 0.01,
            'late features, over resampling views': 0.03,
            "over TorchGeo's best": 0.02,
            'over the untrained encoder': 0.2,
        }
    )


def test_families_of_the_second_round_are_of_equal_cost():
    # Or what is said of planes and images would be said of small and large encoders.
    times = 1_500_000_000 + 1_500_000 * torch.arange(24)[None]
    valid = torch.ones(1, 24, dtype=torch.bool)
    cost = {}
    for name, view in (
        ('pixels', 'planes'),
        ('planes', 'planes'),
        ('images', 'image'),
        ('frames', 'image'),
    ):
        encoder = ours.encoder(10, FAMILIES[name]).eval()
        size = (1, 6, 10, 24, 16) if view == 'planes' else (1, 24, 10, 10, 10)
        run = encoder.encode_planes if view == 'planes' else encoder.encode_image
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            run(Series(torch.randn(size), times, valid))
        cost[name] = counter.get_total_flops() / (96 if view == 'planes' else 100)
    assert max(cost.values()) < 1.1 * min(cost.values())


def test_what_a_family_is_scored_by_is_chosen_on_development_data(tmp_path, monkeypatch):
    lines = [('early', 900), ('late', 500), ('joined', 400)]
    scores = [{'probe': 'linear', 'depth': d, 'f1': [f]} for d, f in lines]
    run = {'contender': 'family of images, planar', 'set': 'synthetic', 'lr': 0.002}
    path = tmp_path / 'tuning.jsonl.gz'
    append(path, run | {'scores': scores})
    monkeypatch.setattr(tuning, 'PATH', path)
    tuning.depth.cache_clear()
    assert tuning.depth('family of images, resampling') == 'late'
    assert tuning.depth('family of planes, planar') == 'joined'  # not run
    tuning.depth.cache_clear()


def test_single_pixels_are_scored_by_their_own_rule_and_where_both_sides_share_a_run(
    tmp_path, monkeypatch
):
    def line(depth, f1, probe='linear'):
        score = {'site': 'synthetic', 'budget': '1', 'probe': probe, 'depth': depth}
        return score | {'f1': [f1], 'miou': [f1]}

    path = tmp_path / 'tuning.jsonl.gz'
    run = {'contender': SINGLE.name, 'set': 'synthetic', 'lr': 0.001}
    append(path, run | {'scores': [line('late', 600), line('joined', 500)]})
    monkeypatch.setattr(tuning, 'PATH', path)
    tuning.depth.cache_clear()
    planar, single = (at_length(name, 16) for name in ('second version, planar', SINGLE.name))
    frozen = [line('late', 700), line('joined', 100), line('trained', 900, 'trained')]
    runs = [
        {'contender': single, 'set': 'synthetic', 'seed': 1, 'scores': frozen},
        {'contender': planar, 'set': 'synthetic', 'seed': 1, 'scores': [line('joined', 650)]},
        {
            'contender': 'tempcnn from scratch',
            'set': 'synthetic',
            'seed': 0,
            'scores': [line('trained', 800, 'trained')],
        },
    ]
    found = {f.claim: f.found.mean for f in second_round.findings(Records(runs), 16)}
    # The fine-tuned ones have no initialisation in common with those from scratch.
    assert found == pytest.approx({'single pixels over planar views': 0.05})
    tuning.depth.cache_clear()


def test_points_of_canada_are_fields_of_their_own_and_rare_classes_are_left_out(tmp_path):
    values = np.full((36, 2, 3), 500, np.int16)
    values[:, :, 2] = -1500  # radar
    values[3, 1, 0] = -32_768
    codes = np.repeat([7, 9, 0], [20, 14, 2])
    (tmp_path / 'pts_can_dev').mkdir()
    np.savez(
        tmp_path / 'pts_can_dev' / 'pts_can_dev.npz',
        X=values,
        dates=np.array([20170101, 20170201]),
        code=codes,
        bands=np.array(['B02', 'B03', 'VV']),
    )
    (site,) = canada(tmp_path)
    assert site.image.shape == (2, 2, 5, 5)
    assert site.bands == ('B02', 'B03')
    points = site.classes > 0
    assert np.argwhere(~site.clear.numpy() & points).tolist() == [[1, 0, 3]]
    assert site.times.tolist() == [1_484_438_400, 1_487_116_800]  # 15 January and 15 February 2017
    assert np.unique(site.fields[points]).size == points.sum() == 20
    assert set(site.classes[points]) == {7}
    assert site.s1.image.shape == (2, 1, 5, 5)
    assert site.s1.clear.numpy()[:, points].all()
    for series in (site, site.s1):
        assert not series.clear.numpy()[:, ~points].any()


def test_crops_hold_sentinel_1_of_the_same_pixels_on_its_own_dates():
    rows = torch.arange(8.0)[:, None].expand(8, 8)
    image = rows.expand(30, 2, 8, 8)
    clear = torch.ones(30, 8, 8, dtype=torch.bool)
    radar = Radar(100 + image, 86_400 * (1000 + torch.arange(30)), clear)
    empty = np.zeros((8, 8), np.int64)
    site = Site('a', image, 86_400 * torch.arange(30), clear, empty, empty, s1=radar)
    sample = SeriesCrops([site], 4, 1, 0, s1=True)[0]
    assert torch.equal(sample['image_s1'], sample['image'] + 100)
    assert sample['acquisition_times'].max() < 86_400 * 1000 <= sample['acquisition_times_s1'].min()
    assert 'image_s1' not in SeriesCrops([site], 4, 1, 0)[0]


def test_two_sensors_are_run_where_there_are_two(tmp_path):
    arguments = argparse.Namespace(
        only=[TWO_SENSORS.name],
        mode='second',
        data=tmp_path,
        pastis=None,
        dynamicearthnet=None,
        scratch=tmp_path,
        weights=tmp_path,
    )
    assert {job.set for job in jobs(arguments, {'VICReg': 0.001})} == {'belgium'}

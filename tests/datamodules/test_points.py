"""Points of a table, split and batched, and from the command line."""

import numpy as np
import pandas as pd
import pytest
import torch

from torchgeo_sits.datamodules import (
    PointDataModule,
    PointLabelOptions,
    PointSplitOptions,
    TableOptions,
)
from torchgeo_sits.datamodules.points import published_split
from torchgeo_sits.main import main

DATES = ['20180401', '20180501', '20180601', '20180701']


def table(count=120, seed=0):
    """Points in a plane, whose class rises or falls, and a value that is linear in the bands."""
    generator = np.random.default_rng(seed)
    kind = generator.integers(0, 2, count)
    rise = np.linspace(-1, 1, 4) * np.where(kind, 1, -1)[:, None]
    level = generator.normal(size=(count, 1))
    bands = {'B04': rise + level, 'B08': rise - level}
    columns = {'id': [f'p{i}' for i in range(count)]}
    for band, values in bands.items():
        noisy = values + 0.1 * generator.normal(size=values.shape)
        columns |= {f'{band}_{date}': noisy[:, t] for t, date in enumerate(DATES)}
    columns |= {
        'crop': np.where(kind, 'maize', 'wheat'),
        'yield': 5000 + 40 * level[:, 0],
        'lon': generator.uniform(4, 8, count),
        'lat': generator.uniform(50, 52, count),
        'region': generator.integers(0, 6, count),
        'is_test': (np.arange(count) % 3 == 0).astype(int),
    }
    return pd.DataFrame(columns)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp('points') / 'points.csv'
    table().to_csv(file, index=False)
    return str(file)


def module(path, *, labels=None, split=None, **options):
    groups = {'labels': PointLabelOptions('crop', **(labels or {}))}
    groups |= {'split': PointSplitOptions(**(split or {}))}
    data = PointDataModule(path, **groups, **options)
    for stage in ('fit', 'predict'):
        data.setup(stage)
    return data


def shares(data):
    return [data._split(i) for i in range(3)]


def test_every_point_is_in_one_split_class_by_class(path):
    data = module(path, split={'val_fraction': 0.25, 'test_fraction': 0.25})
    parts = shares(data)
    assert sorted(np.concatenate(parts).tolist()) == list(range(120))
    kinds = data.points.labels.values
    for kind in (0, 1):
        counts = np.array([(kinds[part] == kind).sum() for part in parts])
        np.testing.assert_allclose(counts / counts.sum(), [0.5, 0.25, 0.25], atol=0.02)
    again = module(path, split={'val_fraction': 0.25, 'test_fraction': 0.25})
    other = module(path, split={'val_fraction': 0.25, 'test_fraction': 0.25}, seed=1)
    assert all(map(np.array_equal, parts, shares(again)))
    assert not all(map(np.array_equal, parts, shares(other)))


def test_published_split_is_kept_and_validation_drawn_from_its_training(path):
    train, val, test = shares(module(path, split={'column': 'is_test'}))
    flags = table()['is_test'].to_numpy()
    assert test.tolist() == np.flatnonzero(flags).tolist()
    assert sorted([*train, *val]) == np.flatnonzero(flags == 0).tolist()
    assert len(val) == 20  # a quarter of 80, class by class


@pytest.mark.parametrize('split', [{'groups': 'region'}, {'block': 0.5}])
def test_no_split_divides_a_group(path, split):
    options = split | {'val_fraction': 0.3, 'test_fraction': 0.2}
    parts = shares(module(path, split=options))
    frame = table()
    group = frame['region'].astype(str)
    if 'block' in split:
        group = (frame['lon'] // 0.5).astype(str) + ' ' + (frame['lat'] // 0.5).astype(str)
    sets = [set(group[part]) for part in parts]
    assert all(sets)
    assert len(set.union(*sets)) == sum(map(len, sets))
    assert sum(map(len, parts)) == 120
    assert 0.15 < len(parts[1]) / 120 < 0.5


@pytest.mark.parametrize(
    ('values', 'name', 'expected'),
    [
        (['train', 'Validation', 'test', None], 'split', [0, 1, 2, -1]),
        ([0, 1, np.nan], 'is_test', [0, 2, -1]),
        ([True, False], 'train', [0, 2]),
        ([0, 1], 'is_val', [0, 1]),
    ],
)
def test_columns_of_splits_are_understood(values, name, expected):
    assert published_split(pd.Series(values), name).tolist() == expected


@pytest.mark.parametrize(('values', 'name'), [([1, 2, 3], 'fold'), ([0, 1], 'split')])
def test_columns_that_say_no_split_are_refused(values, name):
    with pytest.raises(ValueError, match=f'split.column={name!r} holds .*split.groups'):
        published_split(pd.Series(values), name)


def test_few_labels_are_a_part_of_more_and_the_others_are_hidden(path):
    kept = {}
    for number in (2, 5):
        data = module(path, labels={'per_class': number, 'supervised': True}, batch_size=4)
        labelled = data.train_dataset.points
        kept[number] = set(labelled.tolist())
        batches = list(data.train_dataloader())
        assert len(batches) == 10  # at least
        assert {int(i) for batch in batches for i in batch['point']} <= kept[number]
        truth = (table()['crop'] == 'wheat').to_numpy()
        assert [int((truth[labelled] == kind).sum()) for kind in (0, 1)] == [number, number]
    assert kept[2] < kept[5]
    # For pretraining all points are there, and what was not chosen has no label.
    data = module(path, labels={'per_class': 2}, batch_size=8)
    seen = {
        int(i): int(label)
        for batch in data.train_dataloader()
        for i, label in zip(batch['point'], batch['label'], strict=True)
    }
    assert len(seen) > 60
    assert {i for i, label in seen.items() if label >= 0} <= kept[2]
    bank, query = data.probe_dataloaders()
    assert sum(len(batch['label']) for batch in bank) == 4
    assert sum(len(batch['label']) for batch in query) == 30


def test_normalisation_is_that_of_the_points_for_training(path):
    data = module(path, split={'column': 'is_test'})
    train = table().iloc[data._split(0)]
    for band, mean, std in zip(data.bands, *data.statistics, strict=True):
        values = train[[f'{band}_{date}' for date in DATES]].to_numpy()
        assert mean.item() == pytest.approx(values.mean(), abs=1e-5)
        assert std.item() == pytest.approx(values.std(), rel=1e-4)
    assert data.training_data['paths'] == ['points.csv']
    assert data.training_data['dates'] == {'first': '2018-04-01', 'last': '2018-07-01', 'number': 4}


def test_measured_values_have_statistics_of_training(path):
    data = PointDataModule(path, labels=PointLabelOptions('yield', kind='value'))
    data.setup('fit')
    values = table()['yield'].to_numpy()[data._split(0)]
    assert data.target_statistics == pytest.approx((values.mean(), values.std()), rel=1e-5)
    assert data.num_classes is data.class_names is data.probe_dataloaders() is None


def test_points_that_were_never_seen_are_left_out_but_of_predictions(tmp_path):
    frame = table(40)
    frame.loc[:4, [name for name in frame if name.startswith('B04')]] = np.nan
    frame.to_csv(tmp_path / 'x.csv', index=False)
    with pytest.warns(UserWarning, match='5 of 40 points have no date'):
        data = module(str(tmp_path / 'x.csv'))
    assert set(np.concatenate(shares(data)).tolist()) == set(range(5, 40))
    assert len(data.predict_dataset) == 40


def test_small_classes_are_not_labelled(tmp_path):
    frame = table(40)
    frame.loc[:2, 'crop'] = 'rye'
    frame.to_csv(tmp_path / 'x.csv', index=False)
    data = module(str(tmp_path / 'x.csv'), labels={'min_points': 5})
    assert data.class_names == ['maize', 'wheat']
    assert data.points.labels.values[:3].tolist() == [-1] * 3


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'batch_size': 0}, 'batch_size of at least 1'),
        ({'labels': {'per_class': 2, 'fraction': 0.5}}, 'give one of them'),
        ({'labels': {'kind': 'value', 'per_class': 2}}, 'use labels.fraction'),
        ({'split': {'groups': 'region', 'block': 1.0}}, 'give one of them'),
        ({'split': {'val_fraction': 1.0}}, 'leave something for training'),
        ({'split': {'column': 'is_test', 'test_fraction': 0.5}}, 'says what the test is'),
        ({'split': {'column': 'crop'}}, "split.column='crop' holds"),
        ({'split': {'groups': 'county'}}, "'county' is no column"),
        ({'split': {'block': 40.0}}, 'makes 1 groups of points, fewer than'),
        ({'labels': {'min_points': 100}}, 'the largest has'),
    ],
)
def test_options_that_do_not_fit_are_refused(path, options, message):
    with pytest.raises(ValueError, match=message):
        module(path, **options)


def test_labels_are_asked_for_where_training_needs_them(path):
    data = PointDataModule(path, labels=PointLabelOptions(supervised=True, kind='value'))
    with pytest.raises(ValueError, match=r'give labels\.column'):
        data.setup('fit')
    with pytest.raises(ValueError, match=r'needs labels: give labels\.column'):
        PointDataModule(path, labels=PointLabelOptions(per_class=3))
    with pytest.raises(ValueError, match='no point is held out for test'):
        module(path).setup('test')
    assert module(path, split={'val_fraction': 0.0}).val_dataloader() == []
    with pytest.raises(ValueError, match=r'give both table\.mean and table\.std'):
        TableOptions(mean=[1.0])


QUIET = [
    '--trainer.accelerator=cpu', '--trainer.logger=false', '--trainer.enable_progress_bar=false',
    '--trainer.enable_model_summary=false', '--model.model=tempcnn',
    '--model.model_kwargs={"hidden_dim": 16, "embed_dim": 32, "num_dates": 4}',
]  # fmt: skip


def test_value_is_learned_and_predicted_from_the_command_line(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    conf = ['--config', 'conf/regression.yaml', '--data.paths', path]
    labelled = ['--data.labels.column=yield', '--data.split.column=is_test']
    steps = ['--trainer.max_epochs=15', '--data.batch_size=16', '--model.lr=0.01']
    main(['fit', *conf, *labelled, *steps, *QUIET])
    [checkpoint] = tmp_path.rglob('*.ckpt')
    main(['predict', *conf, *QUIET, '--ckpt_path', str(checkpoint)])
    found = pd.read_csv('predictions.csv')
    frame = table()
    assert found.columns.tolist() == ['id', 'lon', 'lat', 'value', 'lower', 'upper']
    assert found['id'].tolist() == frame['id'].tolist()
    np.testing.assert_allclose(found['lon'], frame['lon'])
    held_out = frame['is_test'] == 1
    error = (found['value'] - frame['yield'])[held_out]
    # In the unit of the labels, whose deviation is 40.
    assert np.sqrt((error**2).mean()) < 15
    main(['test', *conf, *labelled, *QUIET, '--ckpt_path', str(checkpoint)])
    [line] = [row for row in capsys.readouterr().out.splitlines() if 'test_RMSE' in row]
    assert float(line.split()[1]) == pytest.approx(np.sqrt((error**2).mean()), rel=1e-3)


def test_pretrained_encoder_classifies_points_from_the_command_line(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps = ['--trainer.max_epochs=1', '--data.paths', path, *QUIET]
    main(['fit', '--config', 'conf/points.yaml', *steps, '--data.labels.column=crop'])
    [weights] = tmp_path.rglob('simclr*.ckpt')
    quiet = [arg for arg in QUIET if '--model' not in arg]
    conf = ['--config', 'conf/classification.yaml', '--config', 'conf/data/points.yaml']
    labels = ['--data.labels.column=crop', '--data.paths', path]
    main(['fit', *conf, *labels, *quiet, '--trainer.max_epochs=5', '--model.weights', str(weights)])
    [checkpoint] = tmp_path.rglob('classification*.ckpt')
    content = torch.load(checkpoint, weights_only=True)
    assert content['sits']['class_names'] == ['maize', 'wheat']
    args = ['--ckpt_path', str(checkpoint), '--table.path', 'out.parquet']
    main(['predict', *conf[:2], '--data.paths', path, *quiet, *args])
    found = pd.read_parquet('out.parquet')
    names = ['id', 'lon', 'lat', 'class', 'probability of maize', 'probability of wheat']
    assert found.columns.tolist() == names
    assert (found['class'] == table()['crop']).mean() > 0.9
    np.testing.assert_allclose(found.iloc[:, 4:].sum(axis=1), 1, rtol=1e-5)


def test_hidden_dates_of_points_are_reconstructed(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    conf = ['--config', 'conf/points.yaml', '--model', 'SITSMAE', '--trainer.max_epochs=1']
    main(['fit', *conf, '--data.paths', path, *QUIET])
    [checkpoint] = tmp_path.rglob('*.ckpt')
    main(['predict', *conf, '--data.paths', path, *QUIET, '--ckpt_path', str(checkpoint)])
    found = pd.read_csv('predictions.csv')
    assert found.shape == (120, 3 + 32)
    # Features of different points differ.
    assert not found.iloc[:, 3:].duplicated().any()
    main(['embed', str(checkpoint), path, '--table.path', 'embeddings.parquet'])
    again = pd.read_parquet('embeddings.parquet')
    np.testing.assert_allclose(again.iloc[:, 1:], found.iloc[:, 1:], atol=1e-5)


def test_planes_of_points_are_refused_with_what_to_do(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    conf = ['--config', 'conf/vicreg.yaml', '--config', 'conf/data/points.yaml']
    with pytest.raises(SystemExit):
        main(['fit', *conf, '--data.paths', path, *QUIET])
    assert 'points, which are single pixels: compare other dates' in capsys.readouterr().err

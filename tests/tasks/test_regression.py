"""Regression of measured values: units, losses, scores, and what is not labelled."""

import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch.nn import functional as F
from torch.utils.data import DataLoader

from torchgeo_sits.callbacks import MapWriter
from torchgeo_sits.collate import pad_time
from torchgeo_sits.datamodules import ImageOptions, SITSDataModule
from torchgeo_sits.tasks import SITSRegression, load_task

from .labelled_data import LabelledData, sample
from .test_supervised import TINY, batch, trainer


def measured(s):
    """Values that follow the slope of a pixel, far from 0; NaN where nothing was measured."""
    slope = torch.where(s['mask'] > 0, s['mask'].float(), torch.nan)
    label = s['image'][-1].mean()
    return s | {'mask': 1000 + 10 * slope, 'label': 1000 + 10 * label}


def data_of(**kwargs):
    data = LabelledData(change=measured, **kwargs)
    data.num_classes = data.class_names = data.unlabelled = None
    values = torch.cat([s['mask'].flatten() for s in data.samples])
    values = values[values.isfinite()]
    data.target_statistics = values.mean().item(), values.std(correction=0).item()
    return data


def regression(**kwargs):
    options = {'model_kwargs': TINY, 'in_channels': 2, 'target': 'pixel', 'mean': 20.0, 'std': 4.0}
    task = SITSRegression(**{**options, **kwargs})
    task.log = lambda *args, **kwargs: None
    return task


def series(**kwargs):
    return {k: torch.stack([measured(sample(i, **kwargs))[k] for i in range(2)]) for k in sample(0)}


def test_pixels_are_learned_in_their_unit_and_kept_in_the_checkpoint(tmp_path):
    torch.manual_seed(0)
    data, task = data_of(), SITSRegression(model_kwargs=TINY, lr=1e-2)
    run = trainer(tmp_path, max_epochs=15, enable_checkpointing=True)
    run.fit(task, data)
    assert task.hparams['target'] == 'pixel'
    assert run.callback_metrics['val_R2'] > 0.8
    [path] = tmp_path.rglob('regression-epoch=*.ckpt')
    again, card = load_task(path)
    assert card['task'] == 'SITSRegression'
    assert again.target_mean.item() == pytest.approx(data.target_statistics[0])
    values = torch.cat([out['value'] for out in run.predict(again, data)])
    truth = torch.stack([s['mask'] for s in data.samples])
    known = truth.isfinite()
    values, truth = values[known].double().numpy(), truth[known].double().numpy()
    best = trainer(tmp_path).test(again, data, verbose=False)[0]
    assert best['test_RMSE'] == pytest.approx(root_mean_squared_error(truth, values), abs=1e-9)
    assert best['test_MAE'] == pytest.approx(mean_absolute_error(truth, values), abs=1e-9)
    assert best['test_R2'] == pytest.approx(r2_score(truth, values), abs=1e-9)


@pytest.mark.parametrize(
    ('options', 'formula'),
    [
        ({'loss': 'mse'}, lambda found, wanted: (found - wanted).square().mean()),
        ({'loss': 'mae'}, lambda found, wanted: (found - wanted).abs().mean()),
        ({'loss': 'huber', 'delta': 0.5}, lambda a, b: F.huber_loss(a, b, delta=0.5)),
        ({'loss': 'smooth_l1', 'delta': 0.5}, lambda a, b: F.huber_loss(a, b, delta=0.5) / 0.5),
    ],
)
def test_loss_is_of_what_was_measured_in_standard_deviations(options, formula):
    task, found = regression(**options), series()
    scores = task.scores(found)[:, 0]
    known = found['mask'].isfinite()
    assert 0 < known.sum() < known.numel()
    wanted = (found['mask'][known] - 20.0) / 4.0
    loss = task.training_step(found, 0)['loss']
    torch.testing.assert_close(loss, formula(scores[known], wanted))


def test_batch_without_a_measurement_has_no_loss_and_no_gradient():
    task, found = regression(), series()
    found['mask'] = torch.full_like(found['mask'], torch.nan)
    loss = task.training_step(found, 0)['loss']
    loss.backward()
    assert loss == 0
    assert not any(p.grad.any() for p in task.parameters() if p.grad is not None)


def line_of(count, seed=0, noise=5.0):
    """Series of one pixel whose label is 100, and noise."""
    found = []
    generator = torch.Generator().manual_seed(seed)
    noise = noise * torch.randn(count, generator=generator).exp()
    for i in range(count):
        one = sample(i, size=1, frames=2)
        found.append(one | {'mask_clear': one['valid'][:, None, None], 'label': 100 + noise[i]})
    return found


def points(count, val=99, test=99, **options):
    data = data_of(size=1, frames=2)
    data.target = 'field'
    every = line_of(count + val + test)
    data.samples, data.val_samples = every[:count], every[count : count + val]
    data.test_dataloader = lambda: DataLoader(every[count + val :], 64, collate_fn=pad_time)
    data.target_statistics = 105.0, 5.0
    task = SITSRegression(model='tempcnn', target='field', lr=1e-3, **options)
    return data, task


def test_intervals_hold_the_share_that_was_asked_for(tmp_path):
    data, task = points(16, val=199, test=400, coverage=0.8)
    data.val_samples[3]['label'] = torch.tensor(torch.nan)
    run = trainer(tmp_path, enable_checkpointing=True)
    run.fit(task, data)
    found = torch.cat([out['value'] for out in run.predict(task, data.val_dataloader())])
    truth = torch.stack([s['label'] for s in data.val_samples])
    errors = (found - truth).abs()[truth.isfinite()].numpy()
    # Lei et al. 2018, algorithm 2: the value of rank ceil((n + 1) * coverage) of n.
    expected = np.sort(errors)[int(np.ceil(199 * 0.8)) - 1]
    assert len(errors) == 198
    assert task.half_width.item() == pytest.approx(expected, rel=1e-4)
    [path] = tmp_path.rglob('regression-epoch=*.ckpt')
    again, _ = load_task(path)
    assert again.half_width == task.half_width
    scores = trainer(tmp_path).test(again, data, verbose=False)[0]
    # Of 400, four deviations of a binomial and of the rank.
    assert scores['test_coverage'] == pytest.approx(0.8, abs=4 * (0.16 / 400 + 0.16 / 199) ** 0.5)
    assert scores['test_interval_width'] == pytest.approx(2 * expected, rel=1e-4)
    out = trainer(tmp_path).predict(again, data.test_dataloader())[0]
    torch.testing.assert_close(out['upper'] - out['value'], again.half_width.expand(64))
    torch.testing.assert_close(out['value'] - out['lower'], again.half_width.expand(64))
    # A validation of other data leaves the interval as it is, training on goes on from it.
    data.val_samples = data.val_samples[:20]
    trainer(tmp_path).validate(again, data, verbose=False)
    assert again.half_width == task.half_width
    trainer(tmp_path).fit(fresh := points(16)[1], data, ckpt_path=path)
    assert fresh.half_width == task.half_width


def test_too_few_places_give_no_interval(tmp_path):
    data, task = points(16, val=8)
    with pytest.warns(UserWarning, match='no interval: coverage=0.9 needs 9 labelled series .* 8'):
        trainer(tmp_path).fit(task, data)
    assert list(task.predict_step(next(iter(data.val_dataloader())), 0)) == ['value']
    assert [output.name for output in task.table_outputs()] == ['value']
    assert 'test_coverage' not in trainer(tmp_path).test(task, data, verbose=False)[0]
    data, task = points(16, val=9)
    trainer(tmp_path).fit(task, data)
    assert [output.name for output in task.table_outputs()] == ['value', 'lower', 'upper']
    data, task = points(16, coverage=None)
    trainer(tmp_path).fit(task, data)
    assert task.half_width.isnan()


def test_pixels_of_a_patch_count_once(tmp_path):
    data, task = data_of(count=12), SITSRegression(model_kwargs=TINY)
    data.val_samples = [s | {'mask': s['mask'].clone()} for s in data.samples]
    data.val_samples[0]['mask'][:] = torch.nan
    trainer(tmp_path).fit(task, data)
    values = torch.cat([o['value'] for o in trainer(tmp_path).predict(task, data)])
    errors = (values - torch.stack([s['mask'] for s in data.val_samples])).abs()
    # Of 11 patches with labels the 11th of 12: the largest of one pixel of each.
    assert (errors - task.half_width).abs().nan_to_num(1).min() < 1e-3
    assert task.half_width >= errors[1:].flatten(1).nan_to_num(1e9).amin(1).max() - 1e-3


def test_series_have_one_value(tmp_path):
    task = regression(target='field', hidden_dim=8)
    found = series()
    assert task.predict_step(found, 0)['value'].shape == (2,)
    wanted = (found['label'] - 20.0) / 4.0
    expected = F.huber_loss(task.scores(found)[:, 0], wanted)
    torch.testing.assert_close(task.training_step(found, 0)['loss'], expected)
    with pytest.raises(ValueError, match="no map of it: train one with target='pixel'"):
        task.map_outputs()


def test_one_measurement_has_no_coefficient(tmp_path):
    data = data_of()
    lone = data.samples[0]['mask'].flatten()
    lone[lone.isfinite().nonzero()[1:, 0]] = torch.nan
    data.val_samples = [data.samples[0] | {'mask': lone.view(8, 8)}]
    run = trainer(tmp_path)
    run.fit(SITSRegression(model_kwargs=TINY), data)
    assert 'val_RMSE' in run.callback_metrics
    assert 'val_R2' not in run.callback_metrics


def test_classes_are_no_measurements():
    with pytest.raises(ValueError, match=r"labels are classes .*labels.kind='value'"):
        regression().training_step(batch(), 0)
    found = series()
    del found['label']
    with pytest.raises(ValueError, match=r"expected 'label' in the batch, .*target 'pixel'"):
        regression(target='field').training_step(found, 0)
    found['mask'] = found['mask'][:, :4]
    with pytest.raises(ValueError, match=r'expected values \(2, 8, 8\)'):
        regression().training_step(found, 0)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'loss': 'ce'}, "unknown loss 'ce'"),
        ({'target': 'series'}, "unknown target 'series'"),
        ({'delta': 0.0}, 'delta must be above 0'),
        ({'coverage': 1.0}, 'coverage must be above 0 and below 1'),
        ({'std': None}, 'give both mean and std'),
        ({'std': 0.0}, 'std of the labels must be above 0'),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        regression(**options)


def test_statistics_are_asked_for_where_the_data_has_none(tmp_path):
    data = data_of()
    del data.target_statistics
    with pytest.raises(ValueError, match='give mean and std of the labels'):
        trainer(tmp_path).fit(SITSRegression(model_kwargs=TINY), data)


def test_map_holds_the_values_with_their_unit(series_folder, tmp_path):
    torch.manual_seed(0)
    images = ImageOptions(mean=[1500.0] * 3, std=[800.0] * 3)
    data = SITSDataModule(str(series_folder), images=images)
    task = regression(model='tempcnn', model_kwargs={}, in_channels=3, unit='t/ha')
    task.half_width.fill_(2.5)
    Trainer(
        accelerator='cpu', logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[MapWriter(str(tmp_path / 'maps'), window=64)],
    ).predict(task, datamodule=data)  # fmt: skip
    whole = data.aug({k: v[None] for k, v in data.splits.series[data.splits.series.bounds].items()})
    with torch.no_grad():
        expected = task.eval().predict_step(whole, 0)['value'][0]
    with rasterio.open(tmp_path / 'maps' / 'value.tif') as file:
        assert file.descriptions == ('value in t/ha',)
        assert file.dtypes == ('float32',)
        np.testing.assert_allclose(file.read(1), expected, rtol=1e-5)
    with rasterio.open(tmp_path / 'maps' / 'upper.tif') as file:
        assert file.descriptions == ('upper in t/ha',)
        np.testing.assert_allclose(file.read(1), expected + 2.5, rtol=1e-5)

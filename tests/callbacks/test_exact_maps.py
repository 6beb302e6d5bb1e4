"""Maps of planar encoders are those of one pass over the whole raster, whatever the windows."""

import multiprocessing
import os
import shutil
import signal
from datetime import date

import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import seed_everything

from torchgeo_sits.mapping import MapRun
from torchgeo_sits.mapping.paths import PathMap
from torchgeo_sits.models import build_encoder
from torchgeo_sits.tasks import (
    SITSDINO,
    SITSChangeDate,
    SITSChangeDetection,
    SITSRegression,
    SITSSegmentation,
)
from torchgeo_sits.tasks.embedding import embedding_map, pixel_embeddings
from torchgeo_sits.time_steps import DaySpan

from ..processes import run_together
from .test_map_writer import FILES, data_of, forward, predict, read

SMALL = {'embed_dim': 8, 'time_dim': 8, 'num_queries': 2, 'seasonal_queries': 2}


@pytest.fixture(scope='module')
def gappy(series_folder, tmp_path_factory):
    """The series with a corner that was never seen, and dates of which a part was."""
    folder = shutil.copytree(series_folder, tmp_path_factory.mktemp('gappy') / 'series')
    for i, path in enumerate(sorted(folder.iterdir())):
        with rasterio.open(path, 'r+') as file:
            pixels = file.read()
            pixels[:, 20:, :10] = 0
            pixels[:, :, 18 + i :] = 0 if i % 2 else pixels[:, :, 18 + i :]
            file.write(pixels)
    return folder


def segmentation(model, depth='joined', **options):
    seed_everything(0, verbose=False)
    task = SITSSegmentation(
        model=model, in_channels=3, num_classes=4, depth=depth, model_kwargs=SMALL | options
    )
    # What lies beside a pixel has weights of 0 at first, and would not be missed.
    torch.nn.init.normal_(task.encoder.time_stage.embed.weight, std=0.3)
    return task


@pytest.mark.parametrize(
    ('model', 'depth', 'options'),
    [
        ('planar_vit_tiny', 'joined', {}),
        ('planar_vit_tiny', 'late', {'horizon': 5}),
        ('planar_vit_tiny', 'joined', {'segment': 3}),
        ('planar_vit_v2_tiny', 'joined', {'reach': 2}),
        ('planar_vit_v2_tiny', 'early', {'reach': 2}),
    ],
)
def test_windows_change_no_value(gappy, tmp_path, model, depth, options):
    task = segmentation(model, depth, **options)
    for window in (16, 27, 40):
        data, folder = data_of(gappy), tmp_path / f'{window}'
        predict(task, data, folder, window=window)
        whole = forward(task, data)[0, 1:].numpy()
        found = read(folder / 'probabilities.tif')
        seen = np.isfinite(found[0])
        assert 0.8 < seen.mean() < 1
        np.testing.assert_allclose(found[:, seen], whole[:, seen], atol=1e-6)
    # What a window alone would give is another map: the test sees what is to be seen.
    if depth != 'early':
        predict(task, data_of(gappy), tmp_path / 'blended', writer={'exact': False})
        assert np.nanmax(np.abs(read(tmp_path / 'blended/probabilities.tif') - whole)) > 1e-4


def test_a_horizon_of_the_map_is_that_of_the_encoder_for_the_run_only(gappy, tmp_path):
    task, data = segmentation('planar_vit_tiny'), data_of(gappy)
    predict(task, data, tmp_path / 'maps', writer={'horizon': 3})
    assert task.encoder.path_stage.horizon is None
    found = read(tmp_path / 'maps/probabilities.tif')
    task.encoder.path_stage.horizon = 3
    np.testing.assert_allclose(
        found, np.where(np.isnan(found), np.nan, forward(task, data)[0, 1:].numpy()), atol=1e-6
    )


@pytest.mark.parametrize(
    ('kind', 'key', 'name'),
    [
        (SITSRegression, 'value', 'value'),  # with a hidden layer, which joins
        (SITSChangeDetection, None, 'change_probability'),  # the paths of two series
        (SITSChangeDate, 'probability', 'change_probability'),  # features of each frame
    ],
)
def test_tasks_of_other_heads_are_exact_too(series_folder, tmp_path, kind, key, name):
    seed_everything(0, verbose=False)
    options = {'num_classes': 2}
    if kind is SITSRegression:
        options = {'hidden_dim': 6, 'target': 'pixel'}
    task = kind(model='planar_vit_tiny', in_channels=3, model_kwargs=SMALL, **options)
    if kind is SITSRegression:
        task.target_mean.fill_(3)
        task.target_std.fill_(2)
    data = data_of(series_folder)
    predict(task, data, tmp_path / 'maps')
    whole = forward(task, data)
    whole = (whole[:, 0] if key is None else whole[key])[0].numpy()
    np.testing.assert_allclose(read(tmp_path / f'maps/{name}.tif')[0], whole, atol=1e-5)


@pytest.mark.parametrize('options', [{}, {'time_depth': 1}])
def test_steps_in_time_are_exact_too(gappy, tmp_path, options):
    """Each step runs paths of its own, also in windows in which it brings nothing new."""
    seed_everything(0, verbose=False)
    spans = [DaySpan(date(2021, 1, 1), date(2021, m, 28)) for m in (2, 4, 6, 12)]

    class Rolling(SITSDINO):
        def predict_step(self, batch, batch_idx, dataloader_idx=0):
            return pixel_embeddings(self.encoder, batch, spans)

        def map_outputs(self):
            return embedding_map(spans)

    task = Rolling(
        model='planar_vit_tiny', in_channels=3, num_prototypes=8, model_kwargs=SMALL | options
    )
    data = data_of(gappy)
    predict(task, data, tmp_path / 'maps')
    for key, values in forward(task, data).items():
        found = read(tmp_path / f'maps/{key}.tif')
        expected = values[0].numpy()
        seen = np.isfinite(found[0])
        assert (seen == np.isfinite(expected[0])).all()
        np.testing.assert_allclose(found[:, seen], expected[:, seen], atol=1e-5)


@pytest.mark.parametrize('horizon', [None, 70])
def test_long_paths_are_run_in_parts(horizon):
    """Against softmax(q k + penalty) v of numpy, block by block."""
    torch.manual_seed(0)
    encoder = build_encoder('planar_vit_tiny', 2, **SMALL, horizon=horizon).eval()
    stage = encoder.path_stage
    x = torch.randn(2, 300, 8)
    with torch.no_grad():
        found = stage(x).numpy()
    places = np.arange(300)
    distance = np.abs(places[:, None] - places).astype(float)
    penalty = -stage.slopes.numpy()[:, None, None] * distance
    if horizon is not None:
        penalty[:, distance > horizon] = -np.inf
    state = {k: v.double().numpy() for k, v in stage.state_dict().items()}

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * state[f'{name}.weight'] + state[f'{name}.bias']

    def linear(x, name):
        return x @ state[f'{name}.weight'].T + state[f'{name}.bias']

    y = x.double().numpy()
    for i in range(2):
        block = f'blocks.{i}'
        parts = linear(norm(y, f'{block}.norm1'), f'{block}.attn.qkv').reshape(2, 300, 3, 4, 2)
        q, k, v = np.moveaxis(parts, (2, 3), (0, 2))
        scores = q @ k.swapaxes(-1, -2) / np.sqrt(2) + penalty
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        y = y + linear(np.moveaxis(weights @ v, 1, 2).reshape(2, 300, 8), f'{block}.attn.proj')
        hidden = torch.from_numpy(linear(norm(y, f'{block}.norm2'), f'{block}.mlp.fc1'))
        y = y + linear(torch.nn.functional.gelu(hidden).numpy(), f'{block}.mlp.fc2')
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, y * state['norm.weight'] + state['norm.bias'], atol=1e-4)


@pytest.mark.parametrize('moment', ['tokens', 'windows'])
def test_windows_of_a_process_that_is_killed_are_done_by_the_others(gappy, tmp_path, moment):
    """Of three, whose map is that of one to the byte."""
    task = segmentation('planar_vit_tiny')
    predict(task, data_of(gappy), tmp_path / 'one')
    statuses = [0, 0, -signal.SIGKILL]
    run_together(
        predict_in_three, gappy, tmp_path / 'three', moment, folder=tmp_path, statuses=statuses
    )
    for name in FILES:
        assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'three' / name).read_bytes()
    assert not (tmp_path / 'three/.windows').exists()


def predict_in_three(series, folder, moment):
    """What each of three processes does; the last is killed with what it has claimed."""
    if os.environ['LOCAL_RANK'] == '2':
        kind, name = {
            'tokens': (PathMap, 'keep'),
            'windows': (MapRun, 'keep'),
        }[moment]
        setattr(kind, name, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
    # As on a command line; else workers are served by a process that imports all once more.
    multiprocessing.set_start_method('fork', force=True)
    predict(segmentation('planar_vit_tiny'), data_of(series), folder, devices=3, strategy='ddp')


def test_a_disk_that_will_not_hold_the_tokens_is_told_at_the_first_window(
    gappy, tmp_path, monkeypatch
):
    # A vector of 8 numbers for tokens, and two for late features, of each pixel: none fit in 1 kB.
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    task = segmentation('planar_vit_tiny', 'late')
    with monkeypatch.context() as full:
        full.setattr(shutil, 'disk_usage', lambda _: usage)
        with pytest.raises(OSError, match=r'rows and columns .* --map\.exact false'):
            predict(task, data_of(gappy), tmp_path / 'maps', window=16)
    assert not list((tmp_path / 'maps').rglob('*.tif'))

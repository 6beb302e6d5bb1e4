"""The picture of what was learned."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from torchgeo_sits.callbacks import LearnedPicture
from torchgeo_sits.callbacks.pictures import _as_colours
from torchgeo_sits.datamodules import SITSDataModule
from torchgeo_sits.tasks import SITSMAE


def test_colours_are_the_principal_components():
    generator = np.random.default_rng(0)
    spread = np.array([9.0, 5, 3, 1, 0.5])
    pixels = (
        generator.normal(size=(400, 5)) * spread @ np.linalg.qr(generator.normal(size=(5, 5)))[0]
    )
    seen = torch.ones(20, 20, dtype=torch.bool)
    seen[0] = False
    features = torch.from_numpy(pixels.T.reshape(5, 20, 20))
    features[:, 0] = 1e6  # never seen, and not looked at
    colours = _as_colours(features, seen)
    assert (colours[:, 0] == 1).all()
    expected = PCA(3).fit_transform(pixels[20:])
    for i, own in enumerate(colours[:, 1:].flatten(1)):
        inside = (own > 0) & (own < 1)
        assert 0.9 < inside.double().mean() < 1
        correlation = np.corrcoef(own[inside], expected[inside.numpy(), i])[0, 1]
        assert abs(correlation) == pytest.approx(1, abs=1e-5)


@pytest.fixture
def trainer(tmp_path, series_folder):
    data = SITSDataModule(str(series_folder), batch_size=4)
    data.setup('fit')
    logger = SimpleNamespace(log_dir=str(tmp_path / 'run'))
    return SimpleNamespace(datamodule=data, is_global_zero=True, logger=logger)


@pytest.fixture
def task():
    torch.manual_seed(0)
    return SITSMAE(model='tempcnn', in_channels=3, model_kwargs={'embed_dim': 8})


def test_picture_is_the_same_each_time_and_changes_nothing(trainer, task, tmp_path, capsys):
    path, drawn = tmp_path / 'run' / 'learned.png', []
    before = torch.get_rng_state()
    for _ in range(2):
        LearnedPicture().on_fit_end(trainer, task)
        drawn.append(path.read_bytes())
    assert drawn[0] == drawn[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert task.encoder.training
    assert f'What was learned, as a picture: {path}' in capsys.readouterr().out


def test_training_does_not_fail_by_its_picture(trainer, task, tmp_path):
    trainer.datamodule.middle = lambda most: 1 / 0
    with pytest.warns(UserWarning, match=r'learned.png was not drawn: ZeroDivisionError'):
        LearnedPicture().on_fit_end(trainer, task)
    assert not (tmp_path / 'run').exists()


def test_middle_of_long_series_is_small(series_folder):
    data = SITSDataModule(str(series_folder))
    whole = data.middle(most=10**9)['image']
    assert whole.shape == (1, 8, 3, 32, 32)  # of 32 x 40 pixels
    assert data.middle(most=8 * 100)['image'].shape == (1, 8, 3, 10, 10)

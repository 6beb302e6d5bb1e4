"""Tasks that start from published weights: bands, units, maps, and what need not be computed."""

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import save_file
from torchgeo.models import presto

from torchgeo_sits.models import load_bare_encoder, statistics_in_units
from torchgeo_sits.models.monthly import STATISTICS
from torchgeo_sits.tasks import SITSEmbedding, SITSRegression, SITSSegmentation, SITSVICReg

from .labelled_data import LabelledData
from .pretraining_run import VIEWS

RED, NIR = STATISTICS['red'], STATISTICS['nir']


class RedAndNear(LabelledData):
    """The bands by names that published models know, and what their values are."""

    bands = ('B04', 'B08')
    mean = (1300.0, 2500.0)

    @property
    def statistics(self):
        return torch.tensor(self.mean), torch.ones(2)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A file as the authors publish it, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('weights') / 'presto.safetensors'
    save_file({k: v.clone() for k, v in presto().state_dict().items()}, path)
    return f'presto:{path}'


def run(task, datamodule, tmp_path, **kwargs):
    trainer = Trainer(
        accelerator='cpu',
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **{'max_epochs': 1, **kwargs},
    )
    trainer.fit(task, datamodule=datamodule)
    return trainer


def test_a_task_starts_from_them_with_the_bands_of_the_data(weights, tmp_path):
    task, datamodule = SITSSegmentation(weights=weights, freeze_backbone=True), RedAndNear()
    trainer = run(task, datamodule, tmp_path)
    assert task.hparams['model'] == 'presto'
    assert task.hparams['model_kwargs']['bands'] == ['B04', 'B08']
    assert datamodule.normalised == (
        pytest.approx([RED[0], NIR[0]]),
        pytest.approx([RED[1], NIR[1]]),
    )
    published, card = load_bare_encoder(weights, bands=['B04', 'B08'])
    assert card['licence'] == 'MIT'
    for name, value in published.state_dict().items():
        assert torch.equal(task.encoder.state_dict()[name], value)

    trainer.save_checkpoint(tmp_path / 'x.ckpt')
    again = SITSSegmentation.load_from_checkpoint(tmp_path / 'x.ckpt', weights_only=True).eval()
    batch = next(iter(datamodule.val_dataloader()))
    with torch.no_grad():
        assert torch.equal(again(batch), task.eval()(batch))


def test_pretraining_goes_on_from_them(weights, tmp_path):
    task = SITSVICReg(weights=weights, views_kwargs=VIEWS, hidden_dim=16, output_dim=8)
    run(task, RedAndNear(), tmp_path, max_epochs=0)
    published, _ = load_bare_encoder(weights, bands=['B04', 'B08'])
    for name, value in published.state_dict().items():
        assert torch.equal(task.backbone.state_dict()[name], value)
    trainer = run(task, RedAndNear(), tmp_path)
    assert not torch.equal(task.backbone.norm.weight, published.norm.weight)
    trainer.save_checkpoint(tmp_path / 'x.ckpt')
    encoder, card = load_bare_encoder(tmp_path / 'x.ckpt')
    assert card['model'] == 'presto'
    assert torch.equal(encoder.norm.weight, task.backbone.norm.weight)


def test_embeddings_of_them_know_the_bands_from_the_data(weights, tmp_path):
    task, datamodule = SITSEmbedding(weights), RedAndNear()
    trainer = Trainer(accelerator='cpu', logger=False, enable_progress_bar=False)
    found = trainer.predict(task, datamodule=datamodule)
    assert found[0]['embedding'].shape == (4, 128, 8, 8)
    assert datamodule.normalised is not None


@pytest.mark.parametrize(
    ('bands', 'found', 'factor', 'told'),
    [
        (['B04', 'B08'], [1300.0, 2500.0], 1, None),
        (['B04', 'B08'], [0.13, 0.25], 1e-4, 'reflectance from 0 to 1'),
        (['VV', 'VH'], [-11.0, -18.0], 1, None),
        (['VV', 'VH'], [-1100.0, -1800.0], 100, 'hundredths of decibels'),
    ],
)
def test_statistics_are_told_in_the_units_of_the_data(bands, found, factor, told):
    mean, std, said = statistics_in_units(bands, found, [-2.0, 3.0], [1.0, 2.0])
    assert mean == pytest.approx([-2 * factor, 3 * factor])
    assert std == pytest.approx([factor, 2 * factor])
    assert said == told


def test_backscatter_that_is_no_decibels_is_refused():
    with pytest.raises(ValueError, match='expected decibels'):
        statistics_in_units(['VV', 'VH'], [0.1, 0.02], [0.0, 0.0], [1.0, 1.0])


def test_reflectance_from_0_to_1_is_normalised_as_such(weights, tmp_path):
    datamodule = RedAndNear()
    datamodule.mean = (0.13, 0.25)
    run(SITSSegmentation(weights=weights, freeze_backbone=True), datamodule, tmp_path)
    assert datamodule.normalised[0] == pytest.approx([RED[0] / 1e4, NIR[0] / 1e4])


def test_bands_that_a_model_does_not_know_are_named(weights, tmp_path):
    class Odd(RedAndNear):
        bands = ('B01', 'B08')

    with pytest.raises(ValueError, match=r"does not know the bands \['B01'\]"):
        run(SITSSegmentation(weights=weights), Odd(), tmp_path)


@pytest.mark.parametrize('kind', [SITSSegmentation, SITSRegression])
def test_pixels_without_a_label_cost_nothing_and_change_nothing(kind, monkeypatch):
    """Loss and gradients are those of a run that encodes all pixels."""
    torch.manual_seed(0)
    small = {'bands': ['B04', 'B08'], 'dim': 16, 'depth': 1, 'num_heads': 2}
    own = (
        {'num_classes': 4, 'ignore_index': 0}
        if kind is SITSSegmentation
        else {'target': 'pixel', 'mean': 0.0}
    )
    own |= {} if kind is SITSSegmentation else {'std': 1.0}
    task = kind(model='presto', in_channels=2, model_kwargs=small, **own)
    task.configure_losses()
    batch = next(iter(RedAndNear().train_dataloader()))
    if kind is SITSRegression:
        batch['mask'] = batch['mask'].float().masked_fill(batch['mask'] == 0, float('nan'))
    encoded, results = [], []
    features = type(task.encoder).forward_features
    monkeypatch.setattr(
        type(task.encoder),
        'forward_features',
        lambda self, series, depth: (
            encoded.append(series.clear.any(1).sum().item()) or features(self, series, depth)
        ),
    )
    for independent in (True, False):
        task.encoder.independent_pixels = independent
        task.zero_grad()
        _, scores, labels = task.compare(batch)
        task.loss_of(scores, labels).backward()
        results.append([p.grad.clone() for p in task.parameters() if p.grad is not None])
    assert encoded[0] < 0.8 * encoded[1]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)

"""The models by name, in TorchGeo, timm and smp; TorchGeo's own tasks train them for a step."""

import json
from datetime import UTC, datetime

import kornia.augmentation as K
import lightning
import pytest
import timm
import torch
import torchgeo.models
from torch.utils.data import DataLoader
from torchgeo.models import api as torchgeo_api

from torchgeo_sits.keys import Series
from torchgeo_sits.models import (
    ENCODERS,
    PlanarViT,
    SITSEncoder,
    build_encoder,
    register_encoder,
    register_models,
)
from torchgeo_sits.models.backbones import register_timm_backbone
from torchgeo_sits.stacking import evenly_spaced

C, T = 3, 4


@pytest.fixture(autouse=True)
def registered():
    register_models()
    register_timm_backbone('sits_test_three_bands', encoder='planar_vit_tiny', num_bands=C)


def fit(task, **sample) -> None:
    """One training step of a task in the loop that users run."""
    before = {k: v.clone() for k, v in task.state_dict().items()}
    trainer = lightning.Trainer(
        max_steps=1,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader([sample] * 2, batch_size=2)
    trainer.fit(task, loader, loader)
    assert trainer.callback_metrics['train_loss'].isfinite()
    moved = [k for k, v in task.state_dict().items() if not torch.equal(v, before[k])]
    assert any('encoder.' in k for k in moved)


def test_torchgeo_lists_and_builds_the_models():
    names = {'planar_vit_tiny', 'planar_vit_small', 'planar_vit_base'}
    assert names <= set(torchgeo.models.list_models())
    model = torchgeo.models.get_model('planar_vit_tiny', in_channels=7)
    assert isinstance(model, PlanarViT)
    assert model.in_channels == 7


@pytest.mark.parametrize('name', sorted(ENCODERS))
def test_every_encoder_is_built_by_torchgeo_and_rebuilt_from_its_config(name):
    # TorchGeo has a model of its own by that name, which keeps it.
    theirs = name in ('presto', 'tessera')
    model = (build_encoder if theirs else torchgeo.models.get_model)(name, in_channels=10)
    assert isinstance(model, SITSEncoder)
    # As a checkpoint keeps it: plain values.
    config = json.loads(json.dumps(model.config))
    type(model)(**config).load_state_dict(model.state_dict())
    assert config['in_channels'] == 10


def test_registering_again_changes_nothing_and_overwrites_nobody(monkeypatch):
    def mine(**kwargs):
        return torch.nn.Identity()

    monkeypatch.setitem(torchgeo_api._model, 'planar_vit_tiny', mine)
    before = dict(torchgeo_api._model)
    register_models()
    assert torchgeo_api._model == before


def test_encoders_of_other_packages_are_found_by_name(monkeypatch):
    class Theirs(PlanarViT):
        pass

    monkeypatch.setitem(torchgeo_api._model, 'theirs', Theirs)
    monkeypatch.setitem(torchgeo_api._model, 'image_model', torch.nn.Identity)
    assert isinstance(build_encoder('theirs', 5), SITSEncoder)
    with pytest.raises(ValueError, match='no encoder of time series, got Identity'):
        build_encoder('image_model', 5)
    with pytest.raises(ValueError, match=r'planar_vit_tiny.*nobody'):
        build_encoder('nobody', 5)


def test_timm_stacks_frames_in_the_order_of_dates():
    backbone = timm.create_model('sits_test_three_bands', in_chans=T * C, num_classes=0).eval()
    image = torch.randn(2, T, C, 6, 5)
    times = torch.tensor(evenly_spaced(T)).expand(2, -1)
    with torch.no_grad():
        expected = backbone.encoder(Series(image, times, torch.ones(2, T, dtype=torch.bool)))
        torch.testing.assert_close(backbone(image.flatten(1, 2)), expected)
    assert backbone.num_features == expected.shape[1]
    assert timm.create_model('sits_planar_vit_tiny', in_chans=20).encoder.in_channels == 10
    head = timm.create_model('sits_test_three_bands', in_chans=T * C, num_classes=5)
    assert head(image.flatten(1, 2)).shape == (2, 5)


def test_evenly_spaced_dates_lie_in_their_quarters():
    months = [datetime.fromtimestamp(t, UTC).month for t in evenly_spaced(4)]
    assert months == [2, 5, 8, 11]


def test_timm_names_what_does_not_fit():
    for kwargs, message in (
        ({'in_chans': 10}, 'multiple of num_bands=3'),
        ({'in_chans': 12, 'acquisition_times': [1, 2]}, 'expected 4 acquisition_times'),
        ({'in_chans': 12, 'pretrained': True}, 'no published weights'),
    ):
        with pytest.raises((ValueError, RuntimeError), match=message):
            timm.create_model('sits_test_three_bands', **kwargs)
    backbone = timm.create_model('sits_test_three_bands', in_chans=12)
    with pytest.raises(ValueError, match=r'expected \(B, 12, H, W\)'):
        backbone(torch.zeros(1, 9, 4, 4))


# TorchGeo's BYOL trains as well, but it fixes windows of 224 x 224 pixels: minutes a step.
@pytest.mark.parametrize('name', ['SimCLR', 'MoCo'])
def test_torchgeo_trains_the_backbone_by_itself(name):
    from torchgeo import tasks

    kwargs = {'model': 'sits_test_three_bands', 'in_channels': T * C, 'size': 8, 'lr': 0.1}
    if name == 'SimCLR':
        kwargs |= {'memory_bank_size': 0, 'version': 1, 'layers': 2}
    else:
        flip = K.AugmentationSequential(K.RandomHorizontalFlip(), data_keys=['input'])
        kwargs |= {'memory_bank_size': 8, 'version': 2, 'layers': 2}
        kwargs |= {'augmentation1': flip, 'augmentation2': flip}
    fit(getattr(tasks, name)(**kwargs), image=torch.randn(T * C, 8, 8))


def test_torchgeo_segments_with_the_encoder():
    from torchgeo.tasks import SemanticSegmentation

    task = SemanticSegmentation(
        model='unet', backbone='sits_planar_vit_tiny', in_channels=20, num_classes=3, lr=0.1
    )
    fit(task, image=torch.randn(20, 32, 32), mask=torch.randint(0, 3, (32, 32)))


def test_smp_names_what_does_not_fit():
    import segmentation_models_pytorch as smp

    with pytest.raises(ValueError, match='multiple of num_bands=10'):
        smp.Unet('sits_planar_vit_tiny', encoder_weights=None, in_channels=13)
    with pytest.raises(ValueError, match='output_stride=32, got 16'):
        smp.encoders.get_encoder('sits_planar_vit_tiny', in_channels=20, output_stride=16)


def narrow(in_channels=10, **kwargs) -> PlanarViT:
    return PlanarViT(in_channels, embed_dim=32, **kwargs)


def test_a_registered_encoder_is_known_like_ours(monkeypatch):
    import segmentation_models_pytorch as smp

    monkeypatch.setattr('torchgeo_sits.models.api.ENCODERS', ours := dict(ENCODERS))
    monkeypatch.setattr('torchgeo_sits.models.builders.ENCODERS', ours)
    monkeypatch.setattr(torchgeo_api, '_model', dict(torchgeo_api._model))
    assert register_encoder('mine')(narrow) is narrow
    register_encoder('mine', narrow)
    assert build_encoder('mine', 4, depth=1).config['depth'] == 1
    assert torchgeo.models.get_model('mine', in_channels=4).embed_dim == 32
    assert timm.create_model('sits_mine', in_chans=20).encoder.embed_dim == 32
    assert smp.encoders.get_encoder('sits_mine', in_channels=20).frames.encoder.embed_dim == 32
    for name in ('ltae', 'resnet50'):
        with pytest.raises(ValueError, match=f'a name that is free, got {name!r}'):
            register_encoder(name, narrow)
    with pytest.raises(ValueError, match=r"without dots.*'my\.own'"):
        register_encoder('my.own', narrow)


def test_an_encoder_is_built_by_its_path(monkeypatch, tmp_path):
    (tmp_path / 'own_models.py').write_text(
        'from torchgeo_sits.models import LTAE\n'
        'class Mine(LTAE): pass\n'
        'def build(in_channels: int, **kwargs: int) -> LTAE:\n'
        '    return LTAE(in_channels, **kwargs)\n'
        'def unsaid(in_channels): return LTAE(in_channels)\n'
        'number = 3\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert type(build_encoder('own_models.Mine', 5)).__name__ == 'Mine'
    assert build_encoder('own_models.build', 5, embed_dim=7).embed_dim == 7
    for name in ('unsaid', 'number'):
        with pytest.raises(ValueError, match=rf"'own_models.{name}' to be a class derived from"):
            build_encoder(f'own_models.{name}', 5)
    # A checkpoint names a path and arguments: nothing runs that builds no encoder.
    with pytest.raises(ValueError, match='to be a class derived from SITSEncoder'):
        build_encoder('torch.hub.load', 5, repo_or_dir='x', model='y')
    for path in ('own_models.nobody', 'no_such_module.build'):
        with pytest.raises(ValueError, match=rf'imported from {path!r}.*PYTHONPATH'):
            build_encoder(path, 5)
    with pytest.raises(ValueError, match='cannot be built with'):
        build_encoder('own_models.Mine', 5, unknown=1)

"""Low-rank adapters: what is trained, and what is read from the checkpoints."""

import sys

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from torchgeo_sits.collate import pad_time
from torchgeo_sits.errors import SITSError
from torchgeo_sits.main import main
from torchgeo_sits.models import ENCODERS, build_encoder, encoder_card, load_bare_encoder
from torchgeo_sits.models.adapters import add_adapters, merge_adapters
from torchgeo_sits.tasks import SITSRegression, SITSSegmentation, load_task

from .labelled_data import LabelledData

pytest.importorskip('peft')

SMALL = {'embed_dim': 16, 'depth': 1, 'num_heads': 2, 'time_dim': 16, 'time_depth': 1}


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """A checkpoint with the encoder to start from."""
    path = tmp_path_factory.mktemp('pretrained') / 'X.ckpt'
    torch.manual_seed(0)
    encoder = build_encoder('planar_vit_tiny', 2, **SMALL)
    state = {f'backbone.{name}': value for name, value in encoder.state_dict().items()}
    torch.save({'state_dict': state, 'sits': encoder_card('planar_vit_tiny', encoder)}, path)
    return path


def train(folder, weights=None, epochs=2, ckpt_path=None):
    """Train adapters, and keep a checkpoint of each epoch."""
    seed_everything(0, verbose=False)
    arguments = {'weights': str(weights)} if weights else {'model_kwargs': SMALL}
    task = SITSSegmentation(lora_rank=2, lr=0.05, warmup_share=0.0, **arguments)
    trainer = Trainer(
        accelerator='cpu', max_epochs=epochs, logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[ModelCheckpoint(folder, '{epoch}', save_top_k=-1)],
    )  # fmt: skip
    trainer.fit(task, datamodule=LabelledData(), ckpt_path=ckpt_path, weights_only=True)
    return task.eval()


@pytest.fixture(scope='module')
def trained(pretrained, tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    return train(folder, pretrained), folder


@pytest.fixture
def batch():
    return pad_time(LabelledData().samples[:2])


def test_all_adapters_are_trained_and_nothing_else_of_the_encoder(trained, pretrained):
    task, _ = trained
    before, _ = load_bare_encoder(pretrained)
    state = task.encoder.state_dict()
    plain = {k.replace('.base_layer.', '.'): v for k, v in state.items() if '.lora_' not in k}
    assert plain.keys() == before.state_dict().keys()
    for name, value in before.state_dict().items():
        assert torch.equal(plain[name], value), name
    outer = {name: value for name, value in state.items() if '.lora_B.' in name}
    assert {name.split('.lora_')[0].split('.')[-1] for name in outer} == {
        'qkv', 'proj', 'fc1', 'fc2'
    }  # fmt: skip
    assert all(value.abs().max() > 0 for value in outer.values())
    learns = {name for name, weight in task.named_parameters() if weight.requires_grad}
    assert all('.lora_' in name or name.startswith('head.') for name in learns)


def test_task_is_loaded_again_bit_for_bit(trained, batch):
    task, folder = trained
    again, card = load_task(folder / 'epoch=1.ckpt')
    assert card['task'] == 'SITSSegmentation'
    with torch.no_grad():
        assert torch.equal(again.predict_step(batch, 0), task.predict_step(batch, 0))


def test_encoder_of_the_checkpoint_is_plain_and_computes_the_same(trained, batch, monkeypatch):
    task, folder = trained
    monkeypatch.setitem(sys.modules, 'peft', None)  # nothing of it is needed
    encoder, _ = load_bare_encoder(folder / 'epoch=1.ckpt')
    assert (
        encoder.state_dict().keys()
        == build_encoder('planar_vit_tiny', 2, **SMALL).state_dict().keys()
    )
    series = encoder.series_of(batch)
    with torch.no_grad():
        expected = task.encoder.features(series)
        torch.testing.assert_close(encoder.features(series), expected, atol=1e-5, rtol=1e-5)
    # Without adapters it would be the encoder that training began from.
    moved = [(a - b).abs().max() for a, b in zip(
        encoder.parameters(), build_encoder('planar_vit_tiny', 2, **SMALL).parameters(), strict=True
    )]  # fmt: skip
    assert max(moved) > 0


def test_resumed_training_goes_on_with_the_adapters(trained, tmp_path):
    task, folder = trained
    resumed = train(tmp_path, epochs=2, ckpt_path=folder / 'epoch=0.ckpt')
    half = torch.load(folder / 'epoch=0.ckpt', weights_only=True)['state_dict']
    for name, value in task.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    moved = [n for n in half if '.lora_B.' in n and not torch.equal(half[n], task.state_dict()[n])]
    assert moved


def test_it_is_said_in_a_line_what_does_not_go(monkeypatch):
    with pytest.raises(SITSError, match=r'TempCNN has no attention or MLP.*leave lora_rank out'):
        SITSSegmentation(model='tempcnn', in_channels=2, num_classes=3, lora_rank=2)
    for odd in ({'lora_rank': -1}, {'lora_rank': 2, 'freeze_backbone': True}):
        with pytest.raises(SITSError, match='lora_rank must be 0'):
            SITSRegression(in_channels=2, **odd)
    monkeypatch.setitem(sys.modules, 'peft', None)
    with pytest.raises(SITSError, match=r'pip install "torchgeo-sits\[lora\]"'):
        SITSSegmentation(in_channels=2, num_classes=3, lora_rank=2)


def test_damaged_adapters_are_refused(trained, tmp_path):
    content = torch.load(trained[1] / 'epoch=1.ckpt', weights_only=True)
    name = next(name for name in content['state_dict'] if '.lora_A.' in name)
    del content['state_dict'][name]
    torch.save(content, tmp_path / 'x.ckpt')
    with pytest.raises(SITSError, match=r'x\.ckpt: the adapter of .* is damaged'):
        load_bare_encoder(tmp_path / 'x.ckpt')


BY_NAME = ['presto', 'galileo_nano', 'olmoearth_v1_nano', 'olmoearth_v1_2_nano']


@pytest.mark.parametrize('name', ['factorised_tiny', 'tsvit', *BY_NAME])
def test_merged_weights_compute_what_adapters_do(name):
    """Each adapter gets a gradient, which it does not where a block goes past the layer."""
    bands = {'bands': ['B04', 'B08']} if name in BY_NAME else {}
    torch.manual_seed(0)
    encoder, plain = (ENCODERS[name](in_channels=2, **bands).eval() for _ in range(2))
    layers = add_adapters(encoder, 2)
    for key, weight in encoder.named_parameters():
        if '.lora_B.' in key:
            torch.nn.init.normal_(weight, std=0.1)
    plain.load_state_dict(merge_adapters(encoder.state_dict()))
    data = LabelledData(count=2)
    series = encoder.series_of(pad_time(data.samples))
    found = encoder.features(series)
    torch.testing.assert_close(found, plain.features(series), atol=1e-4, rtol=1e-4)
    found.sum().backward()
    unused = [
        layer
        for layer in layers
        if dict(encoder.named_modules())[layer].lora_B['default'].weight.grad is None
    ]
    assert not unused


def test_command_line_says_how_many_parameters_are_trained_and_predicts(
    series_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    quick = ['--trainer.max_steps=1', '--trainer.accelerator=cpu', '--trainer.limit_val_batches=1']
    main(['fit', '--config', 'conf/segmentation.yaml', '--model.lora_rank=2', *quick])
    printed = capsys.readouterr().out
    [line] = [line for line in printed.splitlines() if line.startswith('Parameters: ')]
    total, learns = (int(''.join(filter(str.isdigit, part))) for part in line.split(', of')[:2])
    assert 0 < learns < total / 10

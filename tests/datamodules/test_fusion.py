import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import Callback, Trainer

from torchgeo_sits.callbacks import MapWriter
from torchgeo_sits.datamodules import SITSFusionDataModule
from torchgeo_sits.main import main
from torchgeo_sits.models import CARD_KEY, encoder_card, factorised_tiny, load_encoder
from torchgeo_sits.tasks import SITSEmbedding, SITSSimCLR

from .grouped import grouped


@pytest.fixture
def s1_folder(series_folder, tmp_path):
    """Two bands at the dates of the optical series but the last, a scale of their own."""
    generator = np.random.default_rng(1)
    for path in sorted(series_folder.iterdir())[:-1]:
        with rasterio.open(path) as file:
            profile = file.profile | {'count': 2, 'dtype': 'float32', 'nodata': -9999}
        with rasterio.open(tmp_path / path.name, 'w', **profile) as file:
            values = generator.normal([[[-11]], [[-18]]], [[[3]], [[2]]], (2, 32, 40))
            values[:, 0, 0] = -9999
            file.write(values.astype('float32'))
    return tmp_path


def module(series_folder, s1_folder, **kwargs):
    kwargs = {'patches__size': 8, 'batch_size': 4} | kwargs
    return SITSFusionDataModule(
        **grouped(paths=str(series_folder), s1__paths=str(s1_folder), **kwargs)
    )


def batch_of(data):
    data.setup('fit')
    data.trainer = type('Training', (), {'training': True})()
    batch = next(iter(data.train_dataloader()))
    return batch, data.on_after_batch_transfer(batch, 0)


def test_s1_is_normalised_by_its_own_statistics(series_folder, s1_folder):
    data = module(series_folder, s1_folder)
    batch, normal = batch_of(data)
    assert batch['image'].shape == (4, 8, 3, 8, 8)
    assert batch['image_s1'].shape == (4, 7, 2, 8, 8)
    pixels = np.stack([rasterio.open(path).read() for path in sorted(s1_folder.iterdir())])
    pixels = pixels.transpose(1, 0, 2, 3)[:, pixels[:, 0] != -9999]
    mean, std = data.statistics_s1
    np.testing.assert_allclose(mean, pixels.mean(1), rtol=1e-4)
    np.testing.assert_allclose(std, pixels.std(1), rtol=1e-4)
    # Flips and turns do not change which values there are.
    clear = batch['mask_clear_s1']
    expected = ((batch['image_s1'] - mean[:, None, None]) / std[:, None, None]).movedim(2, -1)
    got = normal['image_s1'].movedim(2, -1)[normal['mask_clear_s1']]
    torch.testing.assert_close(got.sort(0)[0], expected[clear].sort(0)[0])
    assert not normal['image_s1'].movedim(2, -1)[~normal['mask_clear_s1']].any()


def test_splits_read_s1_too(series_folder, s1_folder, tmp_path_factory):
    labels = tmp_path_factory.mktemp('labels') / 'labels.tif'
    with rasterio.open(next(series_folder.iterdir())) as file:
        profile = file.profile | {'count': 1, 'dtype': 'uint8', 'nodata': 0}
    with rasterio.open(labels, 'w', **profile) as file:
        file.write(np.random.default_rng(0).integers(1, 3, (1, 32, 40)).astype('uint8'))
    data = module(series_folder, s1_folder, labels__paths=str(labels), labels__supervised=True)
    data.setup('fit')
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batch = next(iter(loader))
        assert {'mask', 'image_s1', 'valid_s1'} <= batch.keys()
        assert batch['image_s1'].shape[-2:] == batch['image'].shape[-2:]


def test_a_resumed_run_normalises_as_it_did(series_folder, s1_folder):
    data = module(series_folder, s1_folder, s1__mean=[1.0, 2.0], s1__std=[3.0, 4.0])
    state = data.state_dict()
    other = module(series_folder, s1_folder)
    other.load_state_dict(state)
    assert [v.tolist() for v in other.statistics_s1] == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(ValueError, match=r"\['B1', 'B2'\], the data has \['B2'\]"):
        module(series_folder, s1_folder, s1__bands=['B2']).load_state_dict(state)
    for key in ('s1_bands', 's1_mean', 's1_std'):
        del state[key]
    module(series_folder, s1_folder).load_state_dict(state)


def test_statistics_that_do_not_fit_are_refused(series_folder, s1_folder):
    with pytest.raises(ValueError, match=r's1\.mean and s1\.std'):
        module(series_folder, s1_folder, s1__mean=[0.0, 0.0])
    data = module(series_folder, s1_folder, s1__mean=[0.0], s1__std=[1.0])
    with pytest.raises(ValueError, match='2 bands'):
        data.setup('fit')


class GradientOfS1(Callback):
    """Keeps the gradient of the spatial encoder of Sentinel-1."""

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.value = module.backbone.frames_s1.patches[0].weight.grad.clone()


@pytest.mark.parametrize('views', ['planar', 'resampling'])
def test_pretraining_learns_from_s1(series_folder, s1_folder, views, tmp_path):
    torch.manual_seed(0)
    task = SITSSimCLR(
        model='factorised_tiny',
        model_kwargs={'s1_channels': 2, 'dim': 16, 'patch_size': 2},
        views=views,
        views_kwargs={'num_paths': 2, 'length': 8} if views == 'planar' else {},
    )
    gradient = GradientOfS1()
    trainer = Trainer(
        max_steps=1,
        accelerator='cpu',
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[gradient],
    )
    trainer.fit(task, module(series_folder, s1_folder))
    assert gradient.value.isfinite().all()
    assert gradient.value.any()


def test_the_configuration_of_two_sensors_leaves_an_encoder_of_one(
    series_folder, s1_folder, tmp_path_factory, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path_factory.mktemp('run'))
    config = Path(__file__).parents[2] / 'conf' / 'two_sensors.yaml'
    arguments = [
        f'--data.paths={series_folder}',
        f'--data.s1.paths={s1_folder}',
        '--data.patches.size=8',
        '--data.patches.length=4',
        '--data.batch_size=2',
        '--trainer.max_epochs=1',
        '--model.hidden_dim=16',
        '--model.output_dim=16',
    ]
    main(['fit', '--config', str(config), *arguments])
    said = capsys.readouterr().out
    (path,) = Path().rglob('*.ckpt')
    assert str(path) in said
    # What comes next needs Sentinel-2 alone.
    assert '--data.labels.paths FIELDS' in said
    assert 'SITSFusionDataModule' not in said.partition('Fine-tune it')[2].partition('Train on')[0]
    encoder, card = load_encoder(path)
    assert (encoder.in_channels, encoder.s1_channels) == (3, 0)
    assert 'bands_s1' not in card


def test_s1_is_normalised_as_a_checkpoint_did(series_folder, s1_folder):
    data = module(series_folder, s1_folder)
    data.setup('fit')
    assert data.bands_s1 == ['B1', 'B2']
    wanted = {'bands_s1': ['B1', 'B2'], 'mean_s1': [-12.0, -17.0], 'std_s1': [3.0, 3.0]}
    data.normalise_s1_as(wanted['mean_s1'], wanted['std_s1'])
    assert data.card_s1 == wanted
    batch, _ = batch_of(data)
    got = data.aug(batch)['image_s1']
    clear = batch['mask_clear_s1'][:, :, None]
    mean, std = (torch.tensor(wanted[k])[:, None, None] for k in ('mean_s1', 'std_s1'))
    torch.testing.assert_close(got, ((batch['image_s1'] - mean) / std).where(clear, 0))
    with pytest.warns(UserWarning, match='another scale of backscatter'):
        data.normalise_s1_as([-1200.0, -1700.0], [300.0, 300.0])
    given = module(series_folder, s1_folder, s1__mean=[1.0, 2.0], s1__std=[3.0, 4.0])
    given.setup('fit')
    with pytest.warns(UserWarning, match='mean and std that were given'):
        given.normalise_s1_as([-12.0, -17.0], [3.0, 3.0])
    assert given.card_s1['mean_s1'] == [1.0, 2.0]


def test_fields_are_cut_out_of_s1_too(series_folder, s1_folder, tmp_path_factory):
    labels = tmp_path_factory.mktemp('labels') / 'labels.tif'
    with rasterio.open(next(series_folder.iterdir())) as file:
        profile = file.profile | {'count': 1, 'dtype': 'uint8', 'nodata': 0}
    found = np.zeros((1, 32, 40), 'uint8')
    for i in range(4):
        found[0, 8 * i : 8 * i + 5, 4:9], found[0, 8 * i : 8 * i + 5, 24:29] = 1, 2
    with rasterio.open(labels, 'w', **profile) as file:
        file.write(found)
    data = module(series_folder, s1_folder, labels__paths=str(labels), labels__target='field')
    data.setup('fit')
    batch = next(iter(data.val_dataloader()))
    assert batch['mask_clear_s1'].flatten(2).sum(2).max() == 25


def test_maps_show_what_s1_alone_saw(series_folder, s1_folder, tmp_path_factory):
    """A pixel that no optical frame saw is no data, unless the encoder takes Sentinel-1."""
    tmp_path = tmp_path_factory.mktemp('maps')
    series_folder = shutil.copytree(series_folder, tmp_path / 'images')
    for path in series_folder.iterdir():
        with rasterio.open(path, 'r+') as file:
            values, file.nodata = file.read(), 0
            values[:, 20, 31] = 0
            values[:, 0, 0] = 0  # no data of Sentinel-1 either
            file.write(values)
    seen = {}
    for channels in (0, 2):
        torch.manual_seed(0)
        kwargs = {'dim': 16, 'patch_size': 2, 's1_channels': channels}
        encoder = factorised_tiny(3, **kwargs)
        mean, std = [0.0] * 3, [1000.0] * 3
        s1 = {'bands_s1': ['B1', 'B2'], 'mean_s1': [-11.0, -18.0], 'std_s1': [3.0, 2.0]}
        card = encoder_card(
            'factorised_tiny', encoder, mean=mean, std=std, **(s1 if channels else {})
        )
        state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
        torch.save({'state_dict': state, CARD_KEY: card}, tmp_path / f'{channels}.ckpt')
        writer = MapWriter(str(tmp_path / f'maps{channels}'), window=24, overlap=8)
        trainer = Trainer(
            accelerator='cpu', logger=False, callbacks=[writer], enable_progress_bar=False
        )
        data = module(series_folder, s1_folder)
        trainer.predict(SITSEmbedding(tmp_path / f'{channels}.ckpt'), datamodule=data)
        with rasterio.open(tmp_path / f'maps{channels}' / 'embedding.tif') as file:
            seen[channels] = np.isfinite(file.read(1))
    assert not seen[0][20, 31]
    assert seen[2][20, 31]
    assert not seen[2][0, 0]


def test_s1_of_another_place_is_said(series_folder, s1_folder):
    """As where a map of new images is asked for with the options of the training."""
    for path in list(s1_folder.iterdir()):
        with rasterio.open(path, 'r+') as file:
            file.transform = file.transform @ rasterio.Affine.translation(1000, 0)
    data = module(series_folder, s1_folder, s1__mean=[0.0, 0.0], s1__std=[1.0, 1.0])
    with pytest.warns(UserWarning, match='of another place or time'):
        data.setup('predict')
    batch = next(iter(data.predict_dataloader()))
    assert not batch['valid_s1'].any()

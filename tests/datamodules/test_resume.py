"""Runs that stop in the middle of an epoch go on with the batches they have not seen."""

import warnings

import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, SequentialSampler

from torchgeo_sits.datamodules import ResumableLoader, SITSDataModule

from .grouped import grouped


class Killed(Exception):
    pass


class Recorder(LightningModule):
    """Notes the bounds of what it sees, and dies after so many batches."""

    def __init__(self, dies_after=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
        self.dies_after = dies_after

    def training_step(self, batch, index):
        if len(self.seen) == self.dies_after:
            raise Killed
        self.seen.append(batch['bounds'][:, [0, 3, 6]].tolist())
        return self.weight

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data_module(folder, workers, seed=3, **options):
    return SITSDataModule(
        str(folder),
        **grouped(
            patches__size=8,
            batch_size=2,
            patches__length=15,
            patches__num_dates=3,
            num_workers=workers,
            seed=seed,
            images__mean=[0.0] * 3,
            images__std=[1.0] * 3,
            **options,
        ),
    )


def fit(model, folder, keep, *, workers, every=1, resume=None, **options):
    trainer = Trainer(
        accelerator='cpu',
        max_epochs=3,
        logger=False,
        callbacks=[ModelCheckpoint(keep, 'kept', every_n_train_steps=every)],
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*not resumable')
        trainer.fit(
            model,
            data_module(folder, workers),
            ckpt_path=resume,
            weights_only=True if resume else None,
        )
    return model.seen


@pytest.fixture(scope='module')
def whole(series_folder, tmp_path_factory):
    seen = fit(Recorder(), series_folder, tmp_path_factory.mktemp('whole'), workers=0)
    # 7 batches an epoch; the last window does not fill one.
    assert len(seen) == 21
    assert len({str(batch) for batch in seen}) == 21
    return seen


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('stop', [1, 4, 7, 10, 20])
def test_remaining_batches_of_the_epoch_come_first(series_folder, tmp_path, whole, stop, workers):
    # Steps 7 and 20 end or almost end an epoch; workers have fetched four batches ahead.
    model = Recorder(dies_after=stop)
    with pytest.raises(Killed):
        fit(model, series_folder, tmp_path, workers=workers)
    assert model.seen == whole[:stop]
    resume = tmp_path / 'kept.ckpt'
    assert (
        fit(Recorder(), series_folder, tmp_path / 'r', workers=2 - workers, resume=resume)
        == (whole[stop:])
    )


def test_batches_since_the_checkpoint_are_seen_again(series_folder, tmp_path, whole):
    with pytest.raises(Killed):
        fit(Recorder(dies_after=13), series_folder, tmp_path, workers=0, every=5)
    resume = tmp_path / 'kept.ckpt'
    assert fit(Recorder(), series_folder, tmp_path / 'r', workers=0, resume=resume) == whole[10:]


def test_interrupted_twice_and_under_accumulation(series_folder, tmp_path, whole):
    resume = None
    seen = []
    for i, stop in enumerate((5, 4, None)):
        model = Recorder(dies_after=stop)
        options = {'workers': 0, 'accumulate_grad_batches': 1 + (i == 2), 'resume': resume}
        if stop is None:
            fit(model, series_folder, tmp_path / str(i), **options)
        else:
            with pytest.raises(Killed):
                fit(model, series_folder, tmp_path / str(i), **options)
        seen += model.seen
        resume = tmp_path / str(i) / 'kept.ckpt'
    assert seen == whole


def test_checkpoint_of_a_validation_within_the_epoch(series_folder, tmp_path):
    class Validated(Recorder):
        def validation_step(self, batch, index):
            pass

    with rasterio.open(min(series_folder.iterdir())) as image:
        profile = {**image.profile, 'count': 1, 'dtype': 'uint8'}
    with rasterio.open(tmp_path / 'labels.tif', 'w', **profile) as file:
        file.write(np.ones((1, 32, 40), 'uint8'))

    def run(model, resume=None):
        trainer = Trainer(
            accelerator='cpu',
            max_epochs=2,
            val_check_interval=3,
            num_sanity_val_steps=1,
            logger=False,
            callbacks=[ModelCheckpoint(tmp_path, '{step}', save_top_k=-1)],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        data = data_module(series_folder, 0, labels__paths=str(tmp_path / 'labels.tif'))
        trainer.fit(model, data, ckpt_path=resume)
        return model.seen

    seen = run(Validated())
    assert len(seen) == 14
    for step in (3, 6, 10, 13):
        assert run(Validated(), tmp_path / f'step={step}.ckpt') == seen[step:]


@pytest.mark.parametrize('by_block', [False, True])
@pytest.mark.parametrize('workers', [0, 2])
def test_plain_loop(series_folder, workers, by_block):
    def loader():
        made = data_module(series_folder, workers, patches__by_block=by_block)
        made.setup('fit')
        return made.train_dataloader()

    def bounds(batches):
        return [batch['bounds'].tolist() for batch in batches]

    one = loader()
    epochs = [bounds(one) for _ in range(3)]
    for stop in (1, 3, 7):
        cut = loader()
        bounds(cut)
        state = None
        for i, _ in enumerate(cut, start=1):
            if i == stop:
                state = cut.state_dict()
                break
        resumed = loader()
        resumed.load_state_dict(state)
        assert len(resumed) == 7
        assert bounds(resumed) == epochs[1][stop:]
        assert bounds(resumed) == epochs[2]
    between = loader()
    between.load_state_dict(one.state_dict() | {'epoch': 1})
    assert bounds(between) == epochs[1]


def test_other_samplers_are_refused(series_folder):
    made = data_module(series_folder, 0)
    made.setup('fit')
    assert isinstance(made.train_dataloader(), DataLoader)
    with pytest.raises(TypeError, match=r'got SequentialSampler.*ShardedSampler'):
        ResumableLoader(made.train_dataset, sampler=SequentialSampler(range(3)))

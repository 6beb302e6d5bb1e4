"""Two processes under Lightning's plain ddp share each epoch, also one that is resumed."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from torchgeo_sits.datamodules import ImageOptions, LabelOptions, PatchOptions, SITSDataModule

from ..processes import run_in_two


class Recorder(LightningModule):
    """A model that learns nothing and notes the bounds of all it sees."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {'train': [], 'val': []}

    def training_step(self, batch, index):
        self.seen['train'].append(batch['bounds'][:, [0, 3, 6]].tolist())
        return self.weight

    def validation_step(self, batch, index):
        self.seen['val'].append(batch['bounds'][:, [0, 3, 6]].tolist())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(series, labels, folder):
    """Train in one of two processes; it writes which windows it saw."""
    warnings.filterwarnings('error', message='.*not.*resumable')

    def fit(name, epochs, steps=-1, resume=None):
        model = Recorder()
        data = SITSDataModule(
            series,
            images=ImageOptions(mean=[0.0] * 3, std=[1.0] * 3),
            labels=LabelOptions(labels),
            patches=PatchOptions(8, length=17, num_dates=3),
            batch_size=2,
        )
        trainer = Trainer(
            accelerator='cpu',
            devices=2,
            strategy='ddp',
            max_epochs=epochs,
            max_steps=steps,
            num_sanity_val_steps=0,
            logger=False,
            callbacks=[ModelCheckpoint(f'{folder}/{name}', 'kept', every_n_train_steps=6)],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, data, ckpt_path=resume, weights_only=True if resume else None)
        path = Path(folder) / f'{name}_{trainer.global_rank}.json'
        path.write_text(json.dumps(model.seen))
        trainer.strategy.barrier()

    fit('whole', 3)
    fit('cut', 3, steps=6)
    fit('resumed', 3, resume=f'{folder}/cut/kept.ckpt')


@pytest.fixture(scope='module')
def seen(series_folder, tmp_path_factory):
    """Bounds that each run and process saw, as ``{(run, rank): {'train': ..., 'val': ...}}``."""
    folder = tmp_path_factory.mktemp('ddp')
    with rasterio.open(min(series_folder.iterdir())) as image:
        profile = {**image.profile, 'count': 1, 'dtype': 'uint8'}
    mask = np.tile(np.arange(40) % 3 + 1, (32, 1)).astype('uint8')
    with rasterio.open(folder / 'labels.tif', 'w', **profile) as file:
        file.write(mask[None])
    arguments = [str(path) for path in (series_folder, folder / 'labels.tif', folder)]
    run_in_two(train, *arguments, folder=folder)
    return {'labels': folder / 'labels.tif'} | {
        (run, rank): json.loads((folder / f'{run}_{rank}.json').read_text())
        for run in ('whole', 'cut', 'resumed')
        for rank in (0, 1)
    }


def windows(batches):
    return [tuple(bounds) for batch in batches for bounds in batch]


def test_processes_share_each_epoch(seen, series_folder):
    data = SITSDataModule(
        str(series_folder),
        images=ImageOptions(mean=[0.0] * 3, std=[1.0] * 3),
        labels=LabelOptions(str(seen['labels'])),
        patches=PatchOptions(8, length=17, num_dates=3),
        batch_size=2,
    )
    data.setup('fit')
    for epoch in range(3):
        # 17 windows: 8 for each process in 4 batches of 2, and one that is left out.
        together = [
            (x.start, y.start, t.start.timestamp())
            for x, y, t in data.train_sampler.iter_epoch(epoch)
        ]
        assert len(together) == 17
        for rank in (0, 1):
            batches = seen['whole', rank]['train']
            assert len(batches) == 3 * 4
            assert windows(batches[4 * epoch : 4 * epoch + 4]) == together[rank:16:2]


def test_validation_is_shared_and_covers_all(seen):
    first, second = (windows(seen['whole', rank]['val']) for rank in (0, 1))
    assert len(first) == len(second)
    places = {(x, y) for x, y, _ in first + second}
    # A quarter of 4 x 5 blocks, in each of three epochs.
    assert len(places) == 5
    assert len(first) == 3 * 3


@pytest.mark.parametrize('rank', [0, 1])
def test_resumed_in_the_middle_of_an_epoch(seen, rank):
    whole = seen['whole', rank]['train']
    assert seen['cut', rank]['train'] == whole[:6]
    assert seen['resumed', rank]['train'] == whole[6:]

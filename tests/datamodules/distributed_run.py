"""Train in two processes; each writes which windows it saw. Started by test_distributed.py."""

import json
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from torchgeo_sits.datamodules import ImageOptions, LabelOptions, PatchOptions, SITSDataModule

warnings.filterwarnings('error', message='.*not.*resumable')


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


def main(series, labels, folder):
    torch.set_num_threads(1)

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


if __name__ == '__main__':
    main(*sys.argv[1:])

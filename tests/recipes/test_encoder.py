"""The recipe of an encoder: it keeps the promises, and the command line trains it."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from torchgeo_sits.models import check_encoder, load_encoder

from .encoder import DeepSets

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_it_keeps_the_promises_of_an_encoder():
    check_encoder(DeepSets(4, dim=8))


def test_it_is_short():
    assert len((HERE / 'encoder.py').read_text().splitlines()) <= 50


def test_it_is_trained_by_its_path_and_comes_back(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torchgeo_sits.main', 'fit', '--config', 'conf/simclr.yaml'),
            *('--config', str(HERE / 'encoder.yaml'), '--trainer.accelerator', 'cpu'),
            *('--trainer.max_epochs', '1', '--trainer.limit_train_batches', '2'),
            *('--data.batch_size', '4', '--data.size', '64', '--data.num_dates_written', '8'),
        ],
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = tmp_path.rglob('*.ckpt')
    encoder, card = load_encoder(path)
    assert card['model'] == 'tests.recipes.encoder.DeepSets'
    assert card['model_kwargs'] == {'dim': 32}
    assert encoder.embed_dim == 32
    assert torch.load(path, weights_only=True)['epoch'] == 0

"""The recipe of an encoder: it keeps the promises, and the command line trains it."""

from pathlib import Path

import torch

from torchgeo_sits.main import main
from torchgeo_sits.models import check_encoder, load_bare_encoder

from .encoder import DeepSets

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_it_keeps_the_promises_of_an_encoder():
    check_encoder(DeepSets(4, dim=8))


def test_it_is_short():
    assert len((HERE / 'encoder.py').read_text().splitlines()) <= 50


def test_it_is_trained_by_its_path_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)
    main(
        [
            *('fit', '--config', 'conf/simclr.yaml'),
            *('--config', str(HERE / 'encoder.yaml'), '--trainer.accelerator', 'cpu'),
            *('--trainer.max_epochs', '1', '--trainer.limit_train_batches', '2'),
            *('--data.batch_size', '4', '--data.size', '64', '--data.num_dates_written', '8'),
        ]
    )
    [path] = tmp_path.rglob('*.ckpt')
    encoder, card = load_bare_encoder(path)
    assert card['model'] == 'tests.recipes.encoder.DeepSets'
    assert card['model_kwargs'] == {'dim': 32}
    assert encoder.embed_dim == 32
    assert torch.load(path, weights_only=True)['epoch'] == 0

"""The recipe of a method: the command line trains it, on views of the recipe beside it."""

from pathlib import Path

import torch

from torchgeo_sits.main import main
from torchgeo_sits.models import load_encoder

from .decoupled import Decoupled

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_it_is_short():
    files = (HERE / 'decoupled.py', HERE / 'decoupled.yaml')
    assert sum(len(path.read_text().splitlines()) for path in files) <= 60


def test_its_loss_is_that_of_the_paper():
    """Of each view of each sample: its positive is no part of the sum over the others."""
    task = Decoupled(temperature=0.5, model='tempcnn', in_channels=2, output_dim=4)
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(9, 4, generator=generator) for _ in range(2))
    expected = 0.0
    for a, b in ((ours, theirs), (theirs, ours)):
        for i in range(9):
            near = torch.cosine_similarity(a[i], b[i], dim=0) / 0.5
            rest = [
                torch.cosine_similarity(a[i], z[j], dim=0)
                for z in (a, b)
                for j in range(9)
                if j != i
            ]
            expected += (torch.stack(rest).div(0.5).exp().sum().log() - near) / 18
    torch.testing.assert_close(task.criteria['image'](ours, theirs), expected)


def test_it_is_trained_by_its_path_and_its_checkpoint_serves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)
    main(
        [
            *('fit',),
            *('--config', str(HERE / 'decoupled.yaml'), '--trainer.accelerator', 'cpu'),
            *('--trainer.max_epochs', '1', '--trainer.limit_train_batches', '2'),
            *('--data.batch_size', '4', '--data.size', '64', '--data.num_dates_written', '8'),
            *('--model.views', 'tests.recipes.view.DiagonalViews'),
            *('--model.views_kwargs', '{num_paths: 4, length: 16}'),
        ]
    )
    [path] = tmp_path.rglob('decoupled-epoch=00.ckpt')
    _, card = load_encoder(path)
    assert card['task'] == 'Decoupled'
    hparams = torch.load(path, weights_only=True)['hyper_parameters']
    again = Decoupled.load_from_checkpoint(path, weights_only=True)
    assert again.hparams['output_dim'] == hparams['output_dim'] == 64
    assert hparams['views'] == 'tests.recipes.view.DiagonalViews'
    assert again.views.global_view.num_paths == 4

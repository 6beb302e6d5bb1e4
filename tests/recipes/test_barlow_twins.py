"""The recipe of a method: the command line trains it, on views of the recipe beside it."""

from pathlib import Path

import torch

from torchgeo_sits.main import main
from torchgeo_sits.models import load_encoder

from .barlow_twins import BarlowTwins

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_it_is_short():
    files = (HERE / 'barlow_twins.py', HERE / 'barlow_twins.yaml')
    assert sum(len(path.read_text().splitlines()) for path in files) <= 60


def test_its_loss_is_that_of_the_paper():
    task = BarlowTwins(redundancy=0.1, model='tempcnn', in_channels=2, output_dim=4)
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(9, 4, generator=generator) for _ in range(2))
    a, b = ((z - z.mean(0)) / z.std(0, correction=0) for z in (ours, theirs))
    c = a.T @ b / 9
    on, off = (c.diagonal() - 1).square().sum(), (c - c.diagonal().diag()).square().sum()
    criterion = task.criteria['image']
    # lightly's batch normalisation adds 1e-5 to the variance.
    torch.testing.assert_close(criterion(ours, theirs), on + 0.1 * off, rtol=1e-3, atol=1e-3)


def test_it_is_trained_by_its_path_and_its_checkpoint_serves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)
    main(
        [
            *('fit',),
            *('--config', str(HERE / 'barlow_twins.yaml'), '--trainer.accelerator', 'cpu'),
            *('--trainer.max_epochs', '1', '--trainer.limit_train_batches', '2'),
            *('--data.batch_size', '4', '--data.size', '64', '--data.num_dates_written', '8'),
            *('--model.views', 'tests.recipes.view.DiagonalViews'),
            *('--model.views_kwargs', '{num_paths: 4, length: 16}'),
        ]
    )
    [path] = tmp_path.rglob('barlowtwins-epoch=00.ckpt')
    _, card = load_encoder(path)
    assert card['task'] == 'BarlowTwins'
    hparams = torch.load(path, weights_only=True)['hyper_parameters']
    again = BarlowTwins.load_from_checkpoint(path, weights_only=True)
    assert again.hparams['output_dim'] == hparams['output_dim'] == 64
    assert hparams['views'] == 'tests.recipes.view.DiagonalViews'
    assert again.views.global_view.num_paths == 4

"""The table of scores: of the best epoch, whatever classes are called."""

from types import SimpleNamespace

import pytest
import torch

from torchgeo_sits.callbacks import ScoreTable
from torchgeo_sits.metrics import Confusion

HOSTILE = '[red]maize\x1b[2J'


def finish(table, trainer, task, epochs, how='fit'):
    for epoch, (f1, right) in enumerate(epochs):
        trainer.current_epoch = epoch
        trainer.callback_metrics = {'val_F1': torch.tensor(f1), 'val_other': torch.tensor(9.0)}
        task.confusion = lambda stage, n=right: Confusion(
            ['wheat', HOSTILE], [[n, 10 - n], [0, 5]], 'pixels', [2, 1]
        )
        table.on_validation_end(trainer, task)
    if how == 'fit':
        table.on_fit_end(trainer, task)


@pytest.fixture
def trainer():
    return SimpleNamespace(
        sanity_checking=False, state=SimpleNamespace(fn='fit'), is_global_zero=True, datamodule=None
    )


@pytest.fixture
def task():
    return SimpleNamespace(main_scores=('F1',), monitor='val_F1', mode='max')


def test_best_epoch_is_shown_with_its_classes(trainer, task, capsys):
    finish(ScoreTable(), trainer, task, [(0.2, 1), (0.9, 8), (0.5, 4)])
    said = capsys.readouterr().out
    assert 'Best validation, of epoch 1:' in said
    assert '0.9' in said
    assert 'val_other' not in said
    # 8 of 10 found, none beside them: F1 16 / 18.
    [wheat] = [line.split() for line in said.splitlines() if 'wheat' in line]
    assert wheat == ['wheat', '0.889', '1.000', '0.800', '10', '2']
    assert '\x1b' not in said
    assert '[red]maize?[2J' in said


def test_resumed_run_knows_the_best_epoch(trainer, task, capsys):
    first, resumed = ScoreTable(), ScoreTable()
    finish(first, trainer, task, [(0.9, 8)])
    resumed.load_state_dict(first.state_dict())
    capsys.readouterr()
    finish(resumed, trainer, task, [(0.3, 2)])
    assert 'Best validation, of epoch 0:' in capsys.readouterr().out


def test_validation_alone_prints_its_own_scores(trainer, task, capsys):
    trainer.state.fn = 'validate'
    finish(ScoreTable(), trainer, task, [(0.4, 3)], how='validate')
    assert capsys.readouterr().out.startswith('\nValidation:\n')

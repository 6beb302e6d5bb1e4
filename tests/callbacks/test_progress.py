"""What a run says of its progress, on a terminal and redirected to a file."""

import re
from itertools import count

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from torchgeo_sits.callbacks import RunProgress, progress
from torchgeo_sits.datamodules import PatchOptions
from torchgeo_sits.keys import IMAGE


class Line(LightningModule):
    """A line through points, in no time."""

    monitor = 'val_score'

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).mean()
        self.log('train_loss', loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log('val_score', 0.75)

    def predict_step(self, batch, batch_idx):
        return batch

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Command(Callback):
    """Print a long line at the end, as the report of checkpoints does."""

    text = 'torchgeo-sits fit --ckpt_path ' + 'x' * 200

    def on_fit_end(self, trainer, pl_module):
        print(self.text)


@pytest.fixture
def run(monkeypatch):
    """Run with steps that take *seconds* each, by the clock."""

    def start(method, seconds, *, batches=4, **options):
        ticks = count()
        monkeypatch.setattr(progress, 'monotonic', lambda: next(ticks) * seconds)
        trainer = Trainer(
            accelerator='cpu',
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[RunProgress(), Command()],
            **options,
        )
        loader = DataLoader(torch.rand(batches, 1))
        loaders = (loader, loader) if method == 'fit' else (loader,)
        getattr(trainer, method)(Line(), *loaders)
        return trainer

    return start


def test_without_a_terminal_each_epoch_is_a_line(run, capsys):
    run('fit', 0.1, max_epochs=2)
    said = capsys.readouterr().out
    lines = re.findall(r'^Epoch (\d)/1: train_loss [-\d.e]+, val_score 0.75(.*)$', said, re.M)
    assert [number for number, _ in lines] == ['0', '1']
    assert 'left' in lines[0][1]
    assert '\x1b' not in said


@pytest.mark.parametrize('method', ['fit', 'predict'])
def test_without_a_terminal_no_minute_is_silent(run, capsys, method):
    run(method, 61, max_epochs=1)
    said = capsys.readouterr().out
    what = 'Epoch 0/0, step' if method == 'fit' else 'Prediction batch'
    assert [f'{what} {i}/4' in said for i in (1, 2, 3, 4)] == [True] * 4


def test_time_of_epoch_and_run_is_told_by_the_first_steps(run, capsys):
    # The clock is read twice a step, so that one takes 4 s: 20 steps 80 s, two epochs 160 s.
    run('fit', 2, max_epochs=2, batches=20)
    pattern = r'^Time: (.*) s a step, (.*) s an epoch of 20 steps, about (.*?) left'
    told = re.search(pattern, capsys.readouterr().out, re.MULTILINE)
    assert float(told[1]) == 4
    assert float(told[2]) == 80
    assert told[3] == '2 min'


def test_long_epochs_name_the_options_that_shorten_them(capsys):
    class Data:
        patches, batch_size, num_workers = PatchOptions(64), 4, 0

    trainer = Trainer(accelerator='cpu', logger=False, max_epochs=3)
    trainer.datamodule = Data()
    trainer.fit_loop.max_batches = 100
    task = Line()
    task.hparams.update(views='planar', views_kwargs=None)
    batch = {IMAGE: torch.zeros(4, 118, 1, 64, 64)}
    bar = RunProgress()
    bar._tell_time(trainer, task, 5.0, 300, batch)
    assert '--data' not in capsys.readouterr().out  # 500 s an epoch
    bar._tell_time(trainer, task, 30.0, 300, batch)
    said = capsys.readouterr().out
    assert '50 min an epoch of 100 steps, about 2 h 30 min left' in said
    assert '--data.patches.num_dates 16 (of 118)' in said
    assert '--data.patches.size 16 (now 64)' in said
    assert '--model.views_kwargs' in said
    assert '--data.patches.length N (now 400)' in said


def test_terminal_keeps_what_is_printed_at_the_end(run, capsys, monkeypatch):
    monkeypatch.setenv('FORCE_COLOR', '1')  # a terminal for rich
    monkeypatch.setenv('TERM', 'xterm')
    trainer = run('fit', 0.1, max_epochs=2)
    said = capsys.readouterr().out
    assert not trainer.progress_bar_callback._in_lines
    assert 'left' in said
    assert 'v_num' not in said
    # Nothing moves the cursor after it, and the command is one line.
    *_, end = said.split('\x1b[1A')
    assert Command.text in end


def test_switched_off_for_a_while_it_comes_back_as_it_was():
    bar = RunProgress()
    bar.setup(Trainer(accelerator='cpu', logger=False), Line(), 'fit')
    assert bar._in_lines
    bar.enable()
    assert bar.is_disabled

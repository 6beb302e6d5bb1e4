"""Commands that are sent a signal, and go on afterwards."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from torchgeo_sits.callbacks import MapWriter, StopOnSignal
from torchgeo_sits.main import main
from torchgeo_sits.mapping import MapRun
from torchgeo_sits.stopping import STOP, Stopped, StopRequest

from .processes import run_in_two

OPTIONS = [
    '--trainer.accelerator=cpu',
    '--trainer.enable_progress_bar=false', '--trainer.enable_model_summary=false',
    '--trainer.max_epochs=2', '--data.root=data', '--data.size=48', '--data.num_dates_written=4',
    '--data.batch_size=2', '--data.patches.length=6',
    '--data.patches.size=16', '--model.model=tempcnn',
]  # fmt: skip


class Send(Callback):
    """Send this process a signal in the middle of a step, or of a validation, and keep the end."""

    def __init__(
        self, signum: int, step: int = 4, where: str = 'step', only_first: bool = False
    ) -> None:
        self.signum, self.step, self.where, self.only_first = signum, step, where, only_first

    def on_before_zero_grad(self, trainer, *args):
        is_asked = not self.only_first or trainer.is_global_zero
        if self.where == 'step' and trainer.global_step == self.step - 1 and is_asked:
            os.kill(os.getpid(), self.signum)

    def on_validation_batch_start(self, trainer, *args):
        if self.where == 'validation' and trainer.global_step == self.step:
            os.kill(os.getpid(), self.signum)

    def on_train_end(self, trainer, pl_module):
        torch.save(pl_module.state_dict(), 'end.pt')


#: A pretraining, which goes on bit for bit, and a task that is validated.
PRETRAINING = ['fit', '--config', 'conf/simclr.yaml', *OPTIONS]
SEGMENTATION = ['fit', '--config', 'conf/segmentation.yaml', *OPTIONS, '--data.patches.num_dates=4']


def sending(*options):
    name = f'{__name__}.Send'
    return [f'--trainer.callbacks+={name}', *(f'--trainer.callbacks.{o}' for o in options)]


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """Folder of a training that nobody stopped."""
    folder = tmp_path_factory.mktemp('alone')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main([*PRETRAINING, *sending('signum=0')])
    return folder


@pytest.mark.parametrize(
    ('command', 'signum', 'status', 'where', 'kept'),
    [
        (PRETRAINING, signal.SIGTERM, 143, ['step=4'], 'stopped-epoch=01-step=4.ckpt'),
        (
            SEGMENTATION,
            signal.SIGINT,
            130,
            ['step=3', 'where=validation'],
            'stopped-epoch=00-step=3.ckpt',
        ),
    ],
)
def test_a_training_ends_with_a_checkpoint_from_which_it_goes_on(
    uninterrupted, tmp_path, monkeypatch, capsys, command, signum, status, where, kept
):
    monkeypatch.chdir(tmp_path)
    command = [*command, f'--data.root={uninterrupted}/data']
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.raises(SystemExit) as stopped:
        main([*command, *sending(f'signum={int(signum)}', *where)])
    assert stopped.value.code == status
    assert {number: signal.getsignal(number) for number in before} == before
    method = 'simclr' if command[:-1] == PRETRAINING else 'segmentation'
    path = f'logs/{method}/version_0/checkpoints/{kept}'
    out, err = capsys.readouterr()
    assert f'Checkpoint: {path}' in out
    assert err.splitlines()[-1] == (
        f'torchgeo-sits: stopped by {signum.name}. The same command with --ckpt_path {path} goes '
        'on from there'
    )
    assert 'Traceback' not in err
    main([*command, f'--ckpt_path={path}', *sending('signum=0')])
    wanted, found = (torch.load(folder / 'end.pt') for folder in (uninterrupted, tmp_path))
    assert method == 'segmentation' or all(map(torch.equal, found.values(), wanted.values()))


class Line(LightningModule):
    """A model that has nothing to learn, for tests of what is around it."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(80, 1), batch_size=1)

    def training_step(self, batch, index):
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def train_in_two(folder, only_first):
    trainer = Trainer(
        accelerator='cpu', devices=2, strategy='ddp', max_epochs=2, logger=False,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[
            StopOnSignal(), Send(signal.SIGTERM, only_first=only_first), ModelCheckpoint(folder),
        ],
    )  # fmt: skip
    with STOP.watched():
        try:
            trainer.fit(Line())
        except SystemExit:
            print(STOP.advice)
            sys.exit(STOP.status)


@pytest.mark.parametrize('only_first', [False, True])
def test_processes_of_one_training_stop_together(tmp_path, only_first):
    """Schedulers send the signal to all of them, a person to the first."""
    run_in_two(train_in_two, str(tmp_path), only_first, folder=tmp_path, status=143)
    [kept] = tmp_path.glob('*.ckpt')
    assert kept.name == 'stopped-epoch=00-step=4.ckpt'
    assert torch.load(kept, weights_only=True)['global_step'] == 4
    assert f'--ckpt_path {kept} goes on from there' in (tmp_path / '0.out').read_text()
    for rank in range(2):
        assert 'Traceback' not in (tmp_path / f'{rank}.log').read_text()


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A job of SLURM; the file keeps what it was asked for."""
    asked = tmp_path / 'asked'
    (tmp_path / 'bin').mkdir()
    stub = tmp_path / 'bin' / 'scontrol'
    stub.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    stub.chmod(0o755)
    monkeypatch.setenv('PATH', f'{stub.parent}:{os.environ["PATH"]}')
    job = {'JOB_ID': '42', 'NTASKS': '1', 'JOB_NAME': 'train', 'PROCID': '0', 'LOCALID': '0'}
    for name, value in (job | {'NODEID': '0'}).items():
        monkeypatch.setenv(f'SLURM_{name}', value)
    return asked


def test_a_job_of_slurm_is_requeued_and_goes_on(uninterrupted, slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGUSR1)
    command = [*PRETRAINING, f'--data.root={uninterrupted}/data', '--trainer.max_epochs=4']
    # The signal before the time limit: the training goes on until it is killed, here to its end.
    main([*command, *sending(f'signum={int(signal.SIGUSR1)}')])
    assert slurm.read_text() == 'requeue 42\n'
    [kept] = Path('logs').glob('hpc_ckpt_*.ckpt')
    assert torch.load(kept, weights_only=True)['global_step'] >= 3
    signal.signal(signal.SIGUSR1, before)
    # The same command is what SLURM starts again.
    with pytest.raises(SystemExit) as stopped:
        main([*command, *sending(f'signum={int(signal.SIGTERM)}', 'step=8')])
    assert stopped.value.code == 143
    [kept] = Path('logs').glob('**/stopped-*.ckpt')
    assert torch.load(kept, weights_only=True)['global_step'] == 8


def test_maps_keep_their_windows(uninterrupted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    keep, calls = MapRun.keep, []

    def interrupted(run, number, values):
        keep(run, number, values)
        calls.append(number)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    [checkpoint] = uninterrupted.glob('logs/**/*.ckpt')
    command = ['embed', str(checkpoint), f'{uninterrupted}/data/', '--map.window=24']
    command[2] = str(next(uninterrupted.glob('data/*/images')))
    main([*command, '--map.overlap=4', '--map.folder=once'])
    command += ['--map.overlap=4']
    with monkeypatch.context() as patch:
        patch.setattr(MapRun, 'keep', interrupted)
        with pytest.raises(SystemExit) as stopped:
            main(command)
    assert stopped.value.code == 143
    kept = len(list(Path('maps/.windows').glob('*.npy')))
    assert kept >= 2
    out, err = capsys.readouterr()
    assert f'{kept} of 9 windows are kept: the same command goes on with the rest' in out
    assert err.splitlines()[-1] == 'torchgeo-sits: stopped by SIGTERM.'
    assert 'Traceback' not in err
    main(command)
    assert Path('maps/embedding.tif').read_bytes() == Path('once/embedding.tif').read_bytes()


def test_a_second_signal_and_a_long_step_are_not_waited_for(monkeypatch):
    stop = StopRequest()
    with stop.watched():
        stop.waits = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.name, stop.status, stop.is_forced) == ('SIGTERM', 143, False)
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
        assert (stop.name, stop.is_forced) == ('SIGTERM', True)
    assert stop.signum is None
    monkeypatch.setattr('torchgeo_sits.stopping._PATIENCE', 0.01)
    with stop.watched():
        stop.waits = True
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            threading.Event().wait(20)


def test_workers_that_were_sent_the_signal_too_are_no_failure():
    """PyTorch raises RuntimeError anywhere in this process when one of its workers is killed."""
    stop, raised = StopRequest(), []
    before = signal.signal(signal.SIGCHLD, lambda *_: raised.append('worker killed'))
    try:
        with stop.watched():
            stop.waits = True
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGCHLD)
        assert not raised
        os.kill(os.getpid(), signal.SIGCHLD)
        assert raised  # given back
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_commands_in_the_background_ignore_interrupts():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop = StopRequest()
        with stop.watched():
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.signum is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_worker_that_was_forked_leaves_the_signal_to_its_owner():
    stop = StopRequest()
    with stop.watched():
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(7 if stop.signum is None else 8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_what_is_cut_off_in_a_step_is_not_saved(tmp_path):
    class Trained:
        state = type('State', (), {'fn': 'fit'})
        checkpoint_callback = None

    with STOP.watched():
        STOP.signum = signal.SIGTERM
        StopOnSignal().on_exception(Trained(), None, Stopped())
        assert STOP.advice == 'nothing was saved: the trainer keeps no checkpoints'
    assert MapWriter(str(tmp_path))._run is None

"""What the commands survive: kills at random moments, signals, full and read-only disks.

    python -m benchmarks.faults [--kills 20] [--only fit predict ...]

For each command: it is killed (SIGKILL) at random moments, given again each time, and at the end
must have written the same bytes as one that nobody touched, and left nothing hidden. Then it is
sent SIGTERM, and run on a disk with no room and on one that is read only (a tmpfs, where one may be
mounted): each must end in one line, with nothing half-written.
"""

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from torchgeo_sits.datasets import write_synthetic_series
from torchgeo_sits.main import COMMANDS
from torchgeo_sits.main import main as command

from . import harness

QUIET = ['--trainer.accelerator=cpu', '--trainer.enable_progress_bar=false']
QUIET += ['--trainer.enable_model_summary=false']
SHORT = ['--data.size=64', '--data.num_dates_written=8', '--data.batch_size=4']
SHORT += ['--data.patches.length=8', '--data.patches.size=16']
TINY = ['--model.model=tempcnn', '--model.model_kwargs.hidden_dim=8']
WINDOWS = ['--map.window=32', '--map.overlap=8', '--map.folder=maps']
#: What commands import when they are at work.
WORKING = ['torch.export', 'torch.utils.tensorboard', 'torchgeo_sits.exporting', 'omegaconf']
WORKING += ['networkx', 'sympy.combinatorics', 'pyarrow.pandas_compat']
#: Seconds after which a run that was sent SIGTERM is counted as one that hangs.
PATIENCE = 30.0


@dataclass(frozen=True)
class Case:
    """A command in a folder of its own.

    Attributes:
        args: Its arguments; ``{inputs}`` stands for the folder of inputs.
        outputs: Patterns of the files that must be the same after all kills.
        is_resumed: Whether it is given the newest checkpoint when it is given again.
    """

    args: Sequence[str]
    outputs: Sequence[str]
    is_resumed: bool = False


FIT = [
    'fit',
    '--config',
    'conf/simclr.yaml',
    *QUIET,
    *SHORT,
    *TINY,
    '--data.root={inputs}/simulated',
]
MODEL = ['--config', 'conf/segmentation.yaml', *TINY, '--ckpt_path={inputs}/X.ckpt']
IMAGES = ['--data.paths={inputs}/series/images']
CASES = {
    'fit': Case(
        [*FIT, '--trainer.max_epochs=4'], ['logs/*/*/checkpoints/*epoch=03.ckpt'], is_resumed=True
    ),
    'predict': Case(['predict', *MODEL, *IMAGES, *WINDOWS, *QUIET], ['maps/*']),
    'embed': Case(['embed', '{inputs}/X.ckpt', '{inputs}/series/images', *WINDOWS], ['maps/*']),
    'cube': Case(['cube', '{inputs}/series/images', 'c.zarr'], ['c.zarr/**/c/**/*']),
    'simulated data': Case(
        ['views', '--config', 'conf/simclr.yaml', *SHORT, '--data.root=data', *QUIET],
        ['data/**/*.tif'],
    ),
    'explain': Case(
        ['explain', *MODEL, *IMAGES, '--data.patches.size=8', '--output=out', *QUIET],
        ['out/*.csv', 'out/*.json', 'out/*.tif'],
    ),
    'export': Case(['export', '{inputs}/X.ckpt', 'model.pt2'], ['model.pt2']),
}


def start(args: Sequence[str], folder: Path) -> Any:
    """Fork a process that runs the command in a folder, and prints to ``log`` in it."""

    def run() -> None:
        os.setpgid(0, 0)
        os.chdir(folder)
        with (folder.parent / 'log').open('w') as log:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
                os.dup2(log.fileno(), stream.fileno())
        command(list(args))

    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    return process


def fill(args: Sequence[str], inputs: Path) -> list[str]:
    """Put the folder of inputs into arguments."""
    return [arg.format(inputs=inputs) for arg in args]


def run(args: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command to its end; its exit status and what it printed."""
    process = start(args, folder)
    process.join()
    return process.exitcode, (folder.parent / 'log').read_text(errors='replace')


def digests(case: Case, folder: Path) -> dict[str, str]:
    """Checksums of the outputs: of checkpoints those of the weights, for they hold their paths."""
    found = {}
    for path in (path for pattern in case.outputs for path in folder.glob(pattern)):
        if path.suffix == '.ckpt':
            weights = torch.load(path, weights_only=True)['state_dict']
            content = b''.join(v.numpy().tobytes() for _, v in sorted(weights.items()))
            found[path.name] = hashlib.sha256(content).hexdigest()
        elif path.is_file():
            name = str(path.relative_to(folder))
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def again(case: Case, folder: Path, args: list[str]) -> list[str]:
    """The command as it is given again: a training with its newest checkpoint, read in full."""
    if not case.is_resumed:
        return args
    found = folder.glob('logs/*/*/checkpoints/*.ckpt')  # not drafts, which lie in hidden folders
    kept = sorted(found, key=lambda path: path.stat().st_mtime)
    for path in kept:
        torch.load(path, weights_only=True)  # none is cut short
    return [*args, f'--ckpt_path={kept[-1]}'] if kept else args


def hidden(folder: Path) -> list[str]:
    """Rests of runs."""
    return [str(path.relative_to(folder)) for path in folder.rglob('.*')]


def kills(case: Case, inputs: Path, place: Path, number: int) -> dict[str, Any]:
    """Kill a command so many times at random moments, and compare it with one left alone."""
    args, choose = fill(case.args, inputs), random.Random(0)
    alone, killed = place / 'alone' / 'run', place / 'killed' / 'run'
    for folder in (alone, killed):
        folder.mkdir(parents=True)
    begun = time.monotonic()
    status, said = run(args, alone)
    assert status == 0, said
    seconds, wanted = time.monotonic() - begun, digests(case, alone)
    assert wanted
    done = same = 0
    while done < number:
        process = start(again(case, killed, args), killed)
        process.join(choose.uniform(0.1, 1) * seconds)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            done += 1
        else:  # to its end: the next one begins anew
            assert process.exitcode == 0, (killed.parent / 'log').read_text()
            assert digests(case, killed) == wanted
            same += 1
            shutil.rmtree(killed)
            killed.mkdir()
    status, said = run(again(case, killed, args), killed)
    assert status == 0, said
    assert digests(case, killed) == wanted
    return {
        'kills': done, 'runs_to_the_end': same + 1, 'same_bytes': True,
        'hidden_rests': len(hidden(killed)), 'seconds_alone': round(seconds, 2),
    }  # fmt: skip


def terminate(case: Case, inputs: Path, place: Path, seconds: float) -> dict[str, Any]:
    """Send SIGTERM after a third of the time that it takes."""
    folder = place / 'terminated' / 'run'
    folder.mkdir(parents=True)
    process = start(fill(case.args, inputs), folder)
    process.join(seconds / 3)
    begun = time.monotonic()
    process.terminate()
    process.join(PATIENCE)
    took = time.monotonic() - begun
    hangs = process.is_alive()
    if hangs:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    said = (folder.parent / 'log').read_text(errors='replace')
    return {
        'status': process.exitcode, 'seconds_to_end': round(took, 2), 'hangs': hangs,
        'traceback': 'Traceback' in said, 'last_line': last(said),
    }  # fmt: skip


def disk(case: Case, inputs: Path, place: Path, options: str) -> dict[str, Any] | None:
    """Run on a disk of its own; None where none may be mounted."""
    folder = place / f'disk-{options}' / 'run'
    folder.mkdir(parents=True)
    mount = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(folder)]
    if os.geteuid() or not shutil.which('mount') or subprocess.run(mount).returncode:
        return None
    try:
        status, said = run(fill(case.args, inputs), folder)
        left = [path for pattern in case.outputs for path in folder.glob(pattern)]
        # Of a cube whole shards stay, with which the same command goes on.
        return {
            'status': status, 'traceback': 'Traceback' in said, 'last_line': last(said),
            'outputs': sum(path.is_file() for path in left),
        }  # fmt: skip
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=True)


def last(said: str) -> str:
    """The last line that was printed, without the folder of the run."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ['']
    return lines[-1].replace(tempfile.gettempdir(), 'TMP')[:300]


def main() -> None:
    """Try all commands."""
    parser = harness.parser(__doc__)
    parser.add_argument('--kills', type=int, default=20, help='of each command')
    parser.add_argument('--only', nargs='*', default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    results = harness.describe('torchgeo', 'lightning', kills=options.kills)
    figures: dict[str, Any] = {}
    torch.set_num_threads(1)
    # Once for all forks: kills are to meet the work of a command, not its imports.
    for module in [*(f'torchgeo_sits.commands.{name}' for name in COMMANDS.values()), *WORKING]:
        import_module(module)
    with tempfile.TemporaryDirectory() as root:
        inputs = Path(root) / 'inputs'
        inputs.mkdir()
        write_synthetic_series(inputs / 'series', size=(96, 96), num_dates=8, days=200)
        trained = ['fit', '--config', 'conf/segmentation.yaml', *QUIET, *SHORT, *TINY]
        trained += ['--trainer.max_epochs=1', f'--data.root={inputs}/simulated']
        status, said = run(trained, inputs)
        assert status == 0, said
        shutil.copy(next(inputs.glob('logs/**/*.ckpt')), inputs / 'X.ckpt')
        simulated = [*fill(FIT, inputs), '--trainer.max_epochs=1']
        assert run(simulated, inputs)[0] == 0
        for name in options.only:
            case, place = CASES[name], Path(root) / name.replace(' ', '_')
            killed = kills(case, inputs, place, options.kills)
            figures[name] = {
                'killed': killed,
                'SIGTERM': terminate(case, inputs, place, killed['seconds_alone']),
                'full disk': disk(case, inputs, place, 'size=40k'),
                'read-only disk': disk(case, inputs, place, 'ro'),
            }
            for fault, found in figures[name].items():
                print(f'{name}: {fault}: {found}', flush=True)
    harness.save('faults', results | {'figures': figures})


if __name__ == '__main__':
    main()

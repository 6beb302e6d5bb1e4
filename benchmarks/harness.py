"""Harness of all benchmarks: rounds, memory, processes, the machine, and files of results.

A benchmark is a module that is run from the root of the repository (``python -m benchmarks.NAME``)
and writes ``results/NAME.json``, with the same keys for all:

- ``commit``: the commit that was measured, with ``-dirty`` where files had been changed.
- ``machine``: processor, cores, threads of torch, and the load when it was started.
- ``versions``: of Python, torch, and the packages that count.
- ``settings``: sizes, rounds and the like.
- ``figures``: what was found. Names of figures end in their units.
"""

import argparse
import importlib.metadata
import json
import os
import pickle
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from lightning.pytorch import Trainer

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / 'results'


# -- command lines and results --------------------------------------------------------------


def parser(description: str | None) -> argparse.ArgumentParser:
    """Start the command line of a benchmark, with the docstring of its module as help."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def commit(root: Path = ROOT) -> str:
    """Describe the commit of a repository, with ``-dirty`` where files were changed."""
    command = ['git', 'describe', '--always', '--dirty', '--exclude', '*']
    return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.strip()


def describe(*packages: str, **settings: Any) -> dict[str, Any]:
    """Describe a measurement; to be called at its start, for the load of the machine.

    Args:
        packages: Packages whose versions are kept, beside Python's and torch's.
        settings: Sizes, rounds and the like.

    Returns:
        The results without ``figures``.
    """
    return {
        'commit': commit(),
        'machine': {
            'processor': platform.processor() or platform.machine(),
            'cores': os.cpu_count(),
            'threads': torch.get_num_threads(),
            'load_at_start': round(os.getloadavg()[0], 2),
        },
        'versions': {
            'python': platform.python_version(),
            'torch': torch.__version__,  # with its build, for a GPU or not
            **{name: importlib.metadata.version(name) for name in packages},
        },
        'settings': settings,
    }


def load(name: str) -> dict[str, Any]:
    """Load the results of a benchmark, empty where there are none yet."""
    path = RESULTS / f'{name}.json'
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def save(name: str, results: dict[str, Any]) -> None:
    """Write the results of a benchmark."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f'{name}.json').write_text(json.dumps(results, indent=1) + '\n')


# -- time -----------------------------------------------------------------------------------


def interleave(
    contenders: dict[str, Callable[[], object]],
    rounds: int,
    *,
    warm_up: int = 1,
    before: Callable[[str], object] = lambda name: None,
) -> dict[str, list[float]]:
    """Time contenders in turn, so that a slow phase of the machine hits all of them alike.

    Args:
        contenders: Functions by name.
        rounds: Rounds that count; each contender runs once in each.
        warm_up: Rounds before them that do not.
        before: Called with the name of a contender before it runs, and not timed.

    Returns:
        Seconds of each round, by name.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warm_up + rounds):
        for name, run in contenders.items():
            before(name)
            start = time.perf_counter()
            run()
            if number >= warm_up:
                taken[name].append(time.perf_counter() - start)
    return taken


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU seconds of this process that a call takes."""
    start = time.process_time()
    run()
    return time.process_time() - start


def spread(seconds: Sequence[float], unit: str = 's', *, calls: int = 1) -> dict[str, float]:
    """Summarise times: median, quartiles, least and largest.

    Args:
        seconds: Times.
        unit: ``s`` or ``ms``; names of figures end in it.
        calls: Number of calls that each of the times is of.
    """
    values = np.array(seconds) * {'s': 1, 'ms': 1000}[unit] / calls
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    found = {'median': median, 'q1': low, 'q3': high, 'min': values.min(), 'max': values.max()}
    return {f'{name}_{unit}': round(float(value), 6) for name, value in found.items()}


# -- memory ---------------------------------------------------------------------------------


def resident_mib(key: str = 'VmHWM') -> float:
    """Resident memory of this process alone: ``VmRSS`` now, ``VmHWM`` at its peak.

    That of getrusage begins with the peak of the parent process.
    """
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


class PeakMemory:
    """Watch the memory of a process and its children inside of ``with``.

    Attributes:
        start: Bytes at the start.
        peak: Bytes at most.
    """

    def __init__(self, pid: int | None = None, *, interval: float = 0.05) -> None:
        """Initialize a new PeakMemory instance.

        Args:
            pid: Number of the process, this one by default.
            interval: Seconds between two looks.
        """
        self.process, self.interval = psutil.Process(pid), interval
        self.start = self.peak = 0

    def __enter__(self) -> 'PeakMemory':
        """Begin to watch."""
        self.start = self.peak = self._bytes()
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(self.interval):
            self.peak = max(self.peak, self._bytes())

    def _bytes(self) -> int:
        """Memory of the process and its children; what they share counts once, by shares."""
        total = 0
        try:
            for one in [self.process, *self.process.children(recursive=True)]:
                try:
                    total += one.memory_full_info().pss
                except psutil.Error:  # It has ended, or is another user's.
                    continue
        except psutil.NoSuchProcess:
            pass
        return total


# -- processes and trainers -----------------------------------------------------------------


def in_new_process[T](function: Callable[..., T], *args: Any) -> T:
    """Call a function of a module in a new process, which has its own memory and threads.

    The process is started as from a command line: one of multiprocessing would start the workers of
    its loaders in another way than users do.
    """
    module = function.__module__
    if module == '__main__':
        module = sys.modules['__main__'].__spec__.name  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / 'asked', Path(folder) / 'answer'
        asked.write_bytes(pickle.dumps(args))
        code = (
            'import importlib, pathlib, pickle\n'
            f'function = importlib.import_module({module!r}).{function.__qualname__}\n'
            f'args = pickle.loads(pathlib.Path({str(asked)!r}).read_bytes())\n'
            f'pathlib.Path({str(answer)!r}).write_bytes(pickle.dumps(function(*args)))\n'
        )
        path = os.pathsep.join([str(ROOT), *sys.path])
        subprocess.run(
            [sys.executable, '-c', code], env=os.environ | {'PYTHONPATH': path}, check=True
        )
        found: T = pickle.loads(answer.read_bytes())
    return found


def quiet_trainer(**options: Any) -> Trainer:
    """Build a trainer on the CPU that prints, logs and saves nothing.

    Args:
        options: Further arguments of the trainer, or others in place of these.
    """
    quiet = {
        'accelerator': 'cpu',
        'logger': False,
        'enable_checkpointing': False,
        'enable_progress_bar': False,
        'enable_model_summary': False,
    }
    return Trainer(**(quiet | options))

"""Processes that tests start: forks of one that has imported the package, which takes seconds."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from socket import socket
from typing import Any

#: Loaders with workers of this context are served by the same process.
FORKSERVER = multiprocessing.get_context('forkserver')
FORKSERVER.set_forkserver_preload(
    ['torchgeo_sits.main', 'torchgeo_sits.datamodules', 'torchgeo_sits.tasks']
)


def start(function: Callable[..., Any], *args: Any, log: Path, **env: str) -> ForkServerProcess:
    """Call a function of a module in another process.

    Args:
        function: What to call.
        *args: Its arguments, which are pickled.
        log: Files for all that it prints: this one for errors, ``.out`` for the rest.
        **env: Variables of its environment.

    Returns:
        The process, started. It may start others, such as workers of a loader.
    """
    process = FORKSERVER.Process(target=_call, args=(function, args, log, env))
    process.start()
    return process


def run_in_two(function: Callable[..., Any], *args: Any, folder: Path, status: int = 0) -> None:
    """Call a function in two processes of DDP, see :func:`run_together`.

    Args:
        function: What to call in each.
        *args: Its arguments.
        folder: Where both write what they print.
        status: Exit status with which both must end.
    """
    run_together(function, *args, folder=folder, statuses=[status] * 2)


def run_together(
    function: Callable[..., Any], *args: Any, folder: Path, statuses: Sequence[int]
) -> None:
    """Call a function in processes of DDP, as a cluster would start them.

    Lightning's own start waits seconds between processes.

    Args:
        function: What to call in each.
        *args: Its arguments.
        folder: Where all write what they print, as ``0.out``, ``0.log`` and so on.
        statuses: Exit status with which each must end.
    """
    with socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    place = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
    logs = [folder / f'{rank}.log' for rank in range(len(statuses))]
    running = [
        start(function, *args, log=log, LOCAL_RANK=str(rank), **place)
        for rank, log in enumerate(logs)
    ]
    try:
        for process, log, status in zip(running, logs, statuses, strict=True):
            process.join(240)
            assert process.exitcode == status, log.read_text()[-3000:]
    finally:
        for process in running:
            process.kill()


def _call(function: Callable[..., Any], args: Any, log: Path, env: dict[str, str]) -> None:
    """Print to files, and call."""
    import torch

    torch.set_num_threads(1)
    os.environ.update(env)
    with log.with_suffix('.out').open('w') as out, log.open('w') as error:
        for stream, file in ((sys.stdout, out), (sys.stderr, error)):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    try:
        function(*args)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()

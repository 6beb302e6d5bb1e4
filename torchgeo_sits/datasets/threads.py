"""Threads on which files are read and decoded."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

__all__ = ['ReadingThreads']


class ReadingThreads:
    """Threads that call a function many times at once.

    GDAL and the codecs of Zarr release the interpreter while they decode, so threads read at
    once. A fork or a pickle starts without threads.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        """Begin without threads, in this process."""
        self._pid = os.getpid()
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy nothing: threads belong to their process."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._start()

    def close(self) -> None:
        """Stop the threads; calling again starts what it needs."""
        if self._pool is not None and self._pid == os.getpid():
            self._pool.shutdown()
        self._start()

    def map(self, function: Callable[[int], None], count: int, *, waits: bool = False) -> None:
        """Call *function* with 0 ... *count* - 1, on as many threads as this process may use.

        Args:
            function: Called once per number, from any thread. What it raises is raised here,
                after all threads have ended.
            count: How many calls.
            waits: Whether calls wait for a server most of the time, so that threads beyond the
                cores help.
        """
        if self._pid != os.getpid():
            self._start()
        threads = min(_waiting_threads() if waits else _available_threads(), count)
        if threads < 2:
            for i in range(count):
                function(i)
            return
        if self._pool is None or self._size < threads:
            self._size = threads
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix='sits-reader')

        numbers = iter(range(count))  # which each thread takes the next one of

        def run() -> None:
            for i in numbers:
                function(i)

        # One task per thread: handing over each frame costs as much as reading a small one.
        # This thread runs one too, so that a window costs one handover less.
        others = [self._pool.submit(run) for _ in range(1, threads)]
        try:
            run()
        finally:
            errors = [task.exception() for task in others]
        if error := next((error for error in errors if error is not None), None):
            raise error


def _available_threads() -> int:
    """Count the threads to read with: the share of this process in the cores, at most four."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return min(4, max(1, (cores or 1) // _workers()))


def _waiting_threads() -> int:
    """Count the threads to ask servers with: the share of this process in 32, at least four."""
    return max(4, 32 // _workers())


def _workers() -> int:
    """Count the workers of the loader whose worker this process is, itself among them."""
    worker = torch.utils.data.get_worker_info()
    return worker.num_workers if worker else 1

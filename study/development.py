"""Runs on development data by which methods are chosen, and the tables of their scores."""

from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .contenders import Contender, Job
from .records import RAW, Records, Where, append, read
from .report import rows
from .run import run


def run_missing(jobs: Sequence[Job], path: Path, *, workers: int = 2) -> Records:
    """Run the jobs that a file has no records of, add theirs, and return all of it.

    Args:
        jobs: The jobs, in their order.
        path: File of records.
        workers: Number of processes.
    """
    done = {(r['contender'], r['set'], r['seed']) for r in read(path)}
    missing = [job for job in jobs if job.key not in done]
    with get_context('spawn').Pool(workers) as pool:
        for record in pool.imap_unordered(run, missing):
            append(path, record)
            print(record['contender'], record['set'], record['seed'], record['total_seconds'])
    return Records(read(path))


def table(records: Records, contenders: Sequence[Contender], columns: Sequence[Where]) -> str:
    """Macro F1 in points, the mean over initialisations and, of several, their deviation.

    Args:
        records: The records.
        contenders: One for each row; one that has not been run has none.
        columns: Site, budget, probe and depth of each column. Means over those of a depth follow.
            What is classified without features has the same scores at all depths.
    """
    depths = list(dict.fromkeys(depth for *_, depth in columns))
    lines = []
    for contender in contenders:
        classic = contender.group == 'classic'
        places: list[Where] = [(*at[:2], *RAW) if classic else at for at in columns]
        if not all(records.has(contender.name, place) for place in places):
            continue
        found = [100 * records.table(contender.name, place).mean(1) for place in places]
        seeds = min(map(len, found))
        means = [
            np.mean([f[:seeds] for f, c in zip(found, columns, strict=True) if c[3] == depth], 0)
            for depth in depths
        ]
        lines.append([contender.name, *map(_cell, found + means)])
    head = [f'{site}, {budget}, {depth}' for site, budget, _, depth in columns]
    return rows(lines, ['method', *head, *(f'mean, {depth}' for depth in depths)])


def _cell(found: NDArray[np.float64]) -> str:
    mean = f'{np.mean(found):.1f}'
    return f'{mean} ± {np.std(found, ddof=1):.1f}' if len(found) > 1 else mean

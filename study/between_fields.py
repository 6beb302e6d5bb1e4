"""What methods learn of the differences between fields: scores on development data.

    uv run python -m study.between_fields --data DIR

VICReg, Barlow Twins at two learning rates, and Barlow Twins with mixed fields, on planes, with the
second version of PlanarViT, and that encoder untrained: 400 steps, three initialisations. Scored
are fields of ieda_mt that are too small to be tested, and a simulated world of another seed; no
site or field of the test is read. Each run is added to ``results/between_fields.jsonl.gz``; runs
that are there are not repeated, and the table is printed.
"""

import argparse
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .contenders import CONTENDERS, UNTRAINED_SECOND, Contender, Job
from .records import RESULTS, Records, append, read
from .report import rows
from .run import run
from .tuning import OURS, SETS, rates

PATH = RESULTS / 'between_fields.jsonl.gz'
STEPS = 400
SEEDS = 3
_SECOND = CONTENDERS['second version, planar']
#: At the learning rate that was chosen for it.
VICREG = replace(_SECOND, name='VICReg', options=_SECOND.options | {'lr': rates()['VICReg']})
#: Site, budget, probe and depth of each column.
COLUMNS = [
    (site, budget, 'linear', depth)
    for depth in ('joined', 'late')
    for site in ('ieda_mt', 'synthetic')
    for budget in ('1', '5')
]


def barlow_twins(remark: str = '', **options: float) -> Contender:
    """Barlow Twins, with all else as VICReg has it but *options*."""
    name = f'Barlow Twins{remark}'
    return replace(VICREG, name=name, method='BarlowTwins', options=VICREG.options | options)


ROWS = [
    replace(UNTRAINED_SECOND, name='untrained'),
    VICREG,
    barlow_twins(),
    barlow_twins(', lower rate', lr=min(OURS)),
    barlow_twins(', mixed fields x 1', mixup_weight=1.0),
]


def jobs(data: Path, scratch: Path) -> list[Job]:
    """All runs, so that each row has one initialisation before any has two."""
    return [
        Job(row, one, seed, STEPS, None, data, scratch, development=True)
        for seed in range(SEEDS)
        for one in SETS
        for row in ROWS
    ]


def table(records: Records) -> str:
    """Macro F1 in points, the mean over initialisations and, of several, their deviation."""

    def cell(found: NDArray[np.float64]) -> str:
        mean = f'{np.mean(found):.1f}'
        return f'{mean} ± {np.std(found, ddof=1):.1f}' if len(found) > 1 else mean

    head = [f'{site}, {budget}, {depth}' for site, budget, _, depth in COLUMNS]
    lines = []
    for row in ROWS:
        if not all(records.has(row.name, column) for column in COLUMNS):
            continue
        found = [100 * records.table(row.name, column).mean(1) for column in COLUMNS]
        seeds = min(map(len, found))
        means = [np.mean([f[:seeds] for f in half], 0) for half in (found[:4], found[4:])]
        lines.append([row.name, *map(cell, found + means)])
    return rows(lines, ['method', *head, 'mean, joined', 'mean, late'])


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog='python -m study.between_fields', description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--scratch', type=Path, default=Path('.benchmark/study'))
    parser.add_argument('--workers', type=int, default=2)
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    done = {(r['contender'], r['set'], r['seed']) for r in read(PATH)}
    missing = [j for j in jobs(arguments.data, arguments.scratch) if j.key not in done]
    with get_context('spawn').Pool(arguments.workers) as pool:
        for record in pool.imap_unordered(run, missing):
            append(PATH, record)
            print(record['contender'], record['set'], record['seed'], record['total_seconds'])
    print(table(Records(read(PATH))))


if __name__ == '__main__':
    main()

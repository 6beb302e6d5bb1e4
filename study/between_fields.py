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
from pathlib import Path

from .contenders import CONTENDERS, UNTRAINED_SECOND, Contender, Job
from .development import run_missing, table
from .records import RESULTS
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


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog='python -m study.between_fields', description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--scratch', type=Path, default=Path('.benchmark/study'))
    parser.add_argument('--workers', type=int, default=2)
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    records = run_missing(jobs(arguments.data, arguments.scratch), PATH, workers=arguments.workers)
    print(table(records, ROWS, COLUMNS))


if __name__ == '__main__':
    main()

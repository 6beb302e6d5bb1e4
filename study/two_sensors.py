"""What pixels seen by two sensors teach: scores on points of Canada, on which options were chosen.

    uv run python -m study.two_sensors --data DIR

Single pixels, in views of Sentinel-2 alone, and in one view of Sentinel-2 and one of Sentinel-1;
features are of Sentinel-2 in all rows. 400 steps of VICReg, three initialisations; each point is a
field, and no site of the test is read. Each run is added to ``results/two_sensors.jsonl.gz``; runs
that are there are not repeated, and the table is printed.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from .contenders import (
    CLASSIC,
    ONE_SENSOR,
    SINGLE,
    TWO_SENSORS,
    UNTRAINED_SECOND,
    Contender,
    Job,
)
from .development import run_missing, table
from .tuning import CANADA

STEPS = 400
SEEDS = 3
#: Site, budget, probe and depth of each column.
COLUMNS = [
    ('canada', budget, 'linear', depth) for depth in ('joined', 'late') for budget in ('1', '5')
]


def _row(contender: Contender, name: str, **options: object) -> Contender:
    return replace(contender, name=name, options=contender.options | options)


PLAIN = {'vigour': 0.0, 'soil': 0.0}
ROWS = [
    next(c for c in CLASSIC if c.name == 'logistic regression, elapsed bins'),
    replace(UNTRAINED_SECOND, name='untrained'),
    _row(SINGLE, 'one sensor, vigour and soil'),
    _row(SINGLE, 'one sensor, rate 1e-3, covariance x 1', **PLAIN),
    _row(ONE_SENSOR, 'one sensor, rate 1e-3', lr=1e-3),
    ONE_SENSOR,
    _row(TWO_SENSORS, 'two sensors, rate 1e-3, covariance x 1', lr=1e-3, covariance=1.0),
    _row(TWO_SENSORS, 'two sensors, rate 1e-3', lr=1e-3),
    _row(
        TWO_SENSORS,
        'two sensors, four fifths of the dates',
        views_kwargs={'pixels': 64, 'dates': (0.8, 0.8)},
    ),
    TWO_SENSORS,
]


def jobs(data: Path, scratch: Path) -> list[Job]:
    """All runs, so that each row has one initialisation before any has two."""
    return [
        Job(row, 'canada', seed, STEPS, None, data, scratch, development=True)
        for seed in range(SEEDS)
        for row in ROWS
    ]


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog='python -m study.two_sensors', description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--scratch', type=Path, default=Path('.benchmark/study'))
    parser.add_argument('--workers', type=int, default=2)
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    records = run_missing(
        jobs(arguments.data, arguments.scratch), CANADA, workers=arguments.workers
    )
    print(table(records, ROWS, COLUMNS))


if __name__ == '__main__':
    main()

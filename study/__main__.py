"""Pretrain and score all contenders.

Run from the root of the repository:

    uv run python -m study --quick         # a look, under 10 minutes
    uv run python -m study --full          # all contenders; goes on where it was stopped
    uv run python -m study --longer        # some of them with more steps
    uv run python -m study --ablations     # planar views with one thing changed
    uv run python -m study --published     # Presto and Galileo nano, whose files lie in --weights
    uv run python -m study --second        # the second round: families of encoders, 1.8 hours
    uv run python -m study --finalists     # its finalists with 16 and 64 times the steps
    uv run python -m study --tune          # learning rates, on development data alone
    uv run python -m study --report        # tables and plots of what is there

Real stacks are looked for in ``--data``; without them the simulated set alone is used. PASTIS and
DynamicEarthNet are run, too, where their folders are given.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from . import report, tuning
from .contenders import (
    ABLATIONS,
    CLASSIC,
    CONTENDERS,
    LAST,
    LONGER,
    PUBLISHED,
    PUBLISHED_SETS,
    RADAR_SETS,
    SECOND_LONGER,
    SECOND_ROUND,
    SEEDS,
    TWO_SENSORS,
    Contender,
    Job,
)
from .public import SETS
from .public_run import run_public
from .records import RESULTS, append, read
from .run import BUDGETS, SIMULATED, load, run

#: Of one thread each: two of two threads wait for each other more than they work.
PROCESSES = 2
STEPS = 100
#: A few of each group, for a look.
QUICK = (
    'VICReg, planar, mixed',
    'VICReg, resampling',
    'TorchGeo MAE, stacked frames',
    'untrained PlanarViT',
    'logistic regression, elapsed bins',
    'planar_vit from scratch',
)
#: Names of those that each way of running this takes.
MODES = {
    'quick': QUICK,
    'full': [
        name
        for name, c in CONTENDERS.items()
        if c not in LONGER + ABLATIONS + PUBLISHED + SECOND_ROUND + SECOND_LONGER
    ],
    'longer': [c.name for c in LONGER],
    'ablations': [c.name for c in ABLATIONS],
    'published': [c.name for c in PUBLISHED],
    'second': [c.name for c in SECOND_ROUND + CLASSIC],
    'finalists': [c.name for c in SECOND_LONGER],
}


def jobs(arguments: argparse.Namespace, rates: dict[str, float]) -> list[Job]:
    """List all runs, seed by seed, so that a run that is stopped has something of everything.

    Kinds of path and the slow models that are trained with labels come last.
    """
    names = arguments.only or MODES[arguments.mode]
    folders = {s: arguments.data for s in BUDGETS if s in SIMULATED or arguments.data.is_dir()}
    folders |= {s: folder for s in SETS if (folder := getattr(arguments, s))}
    quick = arguments.mode == 'quick'
    seeds = 1 if quick else SEEDS
    steps = 30 if quick else STEPS
    todo = [
        Job(
            contender=CONTENDERS[name],
            set=one,
            seed=seed,
            steps=steps,
            lr=rate(CONTENDERS[name], rates),
            data=folder,
            scratch=arguments.scratch,
            weights=arguments.weights,
        )
        for seed in range(seeds)
        for name in names
        for one, folder in folders.items()
        if one not in SETS or CONTENDERS[name].group != 'supervised'
        if one in PUBLISHED_SETS or CONTENDERS[name].group != 'published'
        if one in RADAR_SETS or CONTENDERS[name].views != TWO_SENSORS.views
        if one != 'realistic' or CONTENDERS[name] in SECOND_ROUND + SECOND_LONGER + CLASSIC
        if seed < CONTENDERS[name].seeds
    ]
    return sorted(todo, key=lambda job: job.contender in LAST)


def rate(contender: Contender, rates: dict[str, float]) -> float | None:
    """The learning rate of a contender, whatever its steps: that of its method or encoder."""
    if 'lr' in contender.options:
        return None
    if contender.group == 'ours':
        return rates.get(contender.changes or contender.name, rates[contender.method])
    if contender.group == 'torchgeo':
        return rates[contender.changes or contender.name]
    return None


def work(todo: list[Job], path: Path) -> None:
    """Run jobs on processes of one thread, and write each record when it is there."""
    os.environ['OMP_NUM_THREADS'] = '1'
    for one in {job.set: job for job in todo if job.set not in SETS}.values():
        load(one)  # before two processes write the same cache
    start = time.perf_counter()
    with ProcessPoolExecutor(PROCESSES, get_context('spawn')) as pool:
        futures = {pool.submit(run_public if job.set in SETS else run, job): job for job in todo}
        for number, future in enumerate(as_completed(futures), 1):
            record: dict[str, Any] = future.result()
            append(path, record | {'lr': futures[future].lr})
            spent = time.perf_counter() - start
            print(
                f'{number} of {len(todo)}, {spent / 60:.1f} min,',
                f'about {spent / number * (len(todo) - number) / 60:.0f} min left:',
                *futures[future].key,
                f'{record["total_seconds"]} s',
                flush=True,
            )


def main() -> None:
    """Run, tune or report, as the command line says."""
    parser = argparse.ArgumentParser(
        prog='python -m study',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    for name in (*MODES, 'tune', 'report'):
        mode.add_argument(f'--{name}', dest='mode', action='store_const', const=name)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    for name in SETS:
        parser.add_argument(f'--{name}', type=Path, metavar='DIR')
    parser.add_argument('--weights', type=Path, default=Path('../shared/data/weights'))
    parser.add_argument('--scratch', type=Path, default=Path('.benchmark/study'))
    parser.add_argument(
        '--only', nargs='+', choices=CONTENDERS, metavar='CONTENDER', help='run no others'
    )
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    if arguments.mode == 'tune':
        todo = tuning.jobs(arguments.data, arguments.scratch)
        path = tuning.PATH
        done = {(r['contender'], r['set'], r['lr']) for r in read(path)}
        only = arguments.only or CONTENDERS
        todo = [j for j in todo if j.contender.name in only]
        work([j for j in todo if (j.contender.name, j.set, j.lr) not in done], path)
        print(tuning.table())
        return
    quick = arguments.mode == 'quick'
    path = (arguments.scratch if quick else RESULTS) / 'runs.jsonl.gz'
    if quick:
        path.unlink(missing_ok=True)
    if arguments.mode != 'report':
        done = {(r['contender'], r['set'], r['seed']) for r in read(path)}
        work([j for j in jobs(arguments, tuning.rates()) if j.key not in done], path)
    report.write(read(path), path.parent)


if __name__ == '__main__':
    main()

"""The report of what was run: tables, plots, and what README shows of them."""

import re
from pathlib import Path
from typing import Any

from . import tuning
from .contenders import (
    ABLATIONS,
    BY_KIND,
    CONTENDERS,
    FROZEN,
    LENGTHS,
    LONGER,
    MAIN,
    TORCHGEO,
    at_length,
)
from .goals import HEADLINE, PLANAR, REAL, RESAMPLING, Finding, findings
from .plots import plot_budgets, plot_contenders, plot_steps
from .public import SETS
from .records import Records
from .tables import (
    claims,
    claims_by_length,
    contender_table,
    detail,
    differences,
    elsewhere,
    fine_tuned,
    means,
    steps,
)

README = Path(__file__).parents[2] / 'README.md'
#: Contenders that differ in nothing but their views.
TWINS = [
    (one.name, one.name.replace('planar, mixed', 'resampling'))
    for one in MAIN + LONGER
    if one.kind == 'mixed'
]
#: Kinds of path, with the views without planes that took as many steps.
KINDS_OF_PATH = [
    (one.name, at_length(RESAMPLING, one.longer))
    for one in BY_KIND + LONGER
    if one.kind not in ('', 'mixed')
]
MARKS = '<!-- made by benchmarks/ssl -->', '<!-- end -->'


def write(runs: list[dict[str, Any]], folder: Path) -> None:
    """Write the tables and plots of *runs* into *folder*, and print the claims."""
    if not runs:
        print('Nothing has been run yet.')
        return
    records = Records(runs)
    found = {times: findings(records, times) for times in LENGTHS}
    seconds = sum(run['total_seconds'] for run in runs)
    broken = [r for r in runs if not r.get('finite', True)]
    stopped = [r for r in runs if r.get('stopped')]
    kinds = [CONTENDERS[PLANAR], CONTENDERS[RESAMPLING], *BY_KIND]
    least = dict.fromkeys(REAL, '1') | {'synthetic': '1 %'}
    parts = [
        '# Planar views against resampling, TorchGeo and classic baselines',
        f'{len(runs)} runs, {seconds / 3600:.1f} hours of one thread; '
        f'{len(broken)} had a loss that was not finite. Macro F1 in points, with its 95 % '
        'interval by a bootstrap over initialisations and draws of fields (differences are '
        'paired). Frozen features are scored by '
        f'the {HEADLINE[0]} probe on {HEADLINE[1]} features where nothing else is said.',
        f'{len(stopped)} runs were stopped when they had collapsed, and are scored as they were.',
        *(['\n'.join(map(_stop, stopped))] if stopped else []),
        '## Claims',
        *(
            part
            for times, one in found.items()
            if one
            for part in (f'{steps(records, times)}:', claims(one))
        ),
        '## Contenders',
        contender_table(records),
        '![Contenders](contenders.png)',
        '![Budgets](budgets.png)',
        '![Steps](steps.png)',
        '## The same in mean IoU',
        contender_table(records, 'miou'),
        '## Probes and depths, least labels',
        detail(records, [*MAIN, *TORCHGEO, *LONGER, *FROZEN], least),
        '## Planar views less resampled ones',
        differences(records, TWINS),
        '## Kinds of path less resampled views',
        differences(records, KINDS_OF_PATH),
        '## Ablations, and more steps, less what they change',
        differences(records, [(one.name, one.changes) for one in ABLATIONS + LONGER]),
        '## Kinds of path, least labels',
        detail(records, kinds, least),
        '## Ablations, least labels',
        detail(records, [CONTENDERS[PLANAR], CONTENDERS['DINO, planar, mixed'], *ABLATIONS], least),
        '## Half of the dates, and other sites',
        elsewhere(records),
        '## Trained with labels',
        fine_tuned(records),
        '## Learning rates tried on development data',
        tuning.table(),
    ]
    if any(run['set'] in SETS for run in runs):
        shares = dict.fromkeys(SETS, '1 %')
        parts += ['## Public data sets', detail(records, CONTENDERS.values(), shares)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'table.md').write_text('\n\n'.join(parts) + '\n')
    plot_contenders(records, folder / 'contenders.png')
    plot_budgets(records, folder / 'budgets.png')
    plot_steps(records, folder / 'steps.png')
    print(claims_by_length(records, found))
    print(f'\nTables and plots: {folder}')
    if folder == Path(__file__).parent / 'results':
        _write_readme(records, found)


def _stop(run: dict[str, Any]) -> str:
    """Say which run was stopped, and when."""
    contender, site = run['contender'], run['set']
    return f'- {contender}; {site}; initialisation {run["seed"]}; after {run["steps"]} steps'


def _write_readme(records: Records, found: dict[int, list[Finding]]) -> None:
    """Put the claims and the short table between the marks in README.md."""
    text = README.read_text()
    short = {
        times: [f for f in one if f.place in ('real stacks', 'synthetic')]
        for times, one in found.items()
    }
    content = claims_by_length(records, short) + '\n\n' + means(records)
    begin, end = (re.escape(mark) for mark in MARKS)
    new, count = re.subn(
        f'{begin}.*{end}', lambda _: f'{MARKS[0]}\n\n{content}\n\n{MARKS[1]}', text, flags=re.DOTALL
    )
    if count:
        README.write_text(new)

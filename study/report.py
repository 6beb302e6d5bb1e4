"""The report of the runs: tables in Markdown, and plots."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from . import second_round, tuning
from .claims import (
    COLUMNS,
    HEADLINE,
    PLANAR,
    REAL,
    RESAMPLING,
    UNTRAINED,
    Finding,
    compare,
    findings,
    scored_as,
)
from .contenders import (
    ABLATIONS,
    BY_KIND,
    CLASSIC,
    CONTENDERS,
    FROZEN,
    LENGTHS,
    LONGER,
    MAIN,
    PUBLISHED,
    SECOND_LONGER,
    SECOND_ROUND,
    SUPERVISED,
    TORCHGEO,
    Contender,
    at_length,
)
from .plots import plot_budgets, plot_contenders, plot_steps
from .public import SETS
from .records import TRAINED, Interval, Records, Where, bootstrap

#: Columns of the tables of differences: name, sites and budget.
PLACES = (
    ('real stacks, 1', REAL, '1'),
    ('ieda_mt, 1', ('ieda_mt',), '1'),
    ('ieda_mt, 5', ('ieda_mt',), '5'),
    ('synthetic, 1', ('synthetic',), '1'),
    ('synthetic, 1 %', ('synthetic',), '1 %'),
    ('synthetic, 5 %', ('synthetic',), '5 %'),
)
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
            for part in (f'{steps(records, times)}:', claim_table(one))
        ),
        '## Contenders',
        contender_table(records),
        '![Contenders](contenders.png)',
        '![Budgets](budgets.png)',
        '![Steps](steps.png)',
        '## The same in mean IoU',
        contender_table(records, 'miou'),
        '## Probes and depths, least labels',
        detail(records, [*MAIN, *TORCHGEO, *LONGER, *FROZEN, *PUBLISHED], least),
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
        '## Published models',
        published(records),
        '## The second round',
        'Claims were written down before, in docs/claims.md. Families of encoders are scored by '
        'the features that development data prefers.',
        *(
            part
            for times in LENGTHS
            if (one := second_round.findings(records, times))
            for part in (f'{second_round.steps(records, times)}:', claim_table(one))
        ),
        rows(
            second_round.carried_over(records),
            ('contender', 'across', 'labels', 'asked for', 'found', 'met'),
        ),
        rows(
            second_round.scores(records),
            ('contender', 'depth', *(f'{s}, {b}' for s, b in second_round.COLUMNS)),
        ),
        '## Learning rates tried on development data',
        tuning.table(),
    ]
    if any(run['set'] in SETS for run in runs):
        shares = dict.fromkeys(SETS, '1 %')
        parts += ['## Public data sets', detail(records, CONTENDERS.values(), shares)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'table.md').write_text('\n\n'.join(parts) + '\n')
    short = {
        times: [f for f in one if f.place in ('real stacks', 'synthetic')]
        for times, one in found.items()
    }
    summary = f'{claims_by_length(records, short)}\n\n{means(records)}\n'
    (folder / 'summary.md').write_text(summary)
    plot_contenders(records, folder / 'contenders.png')
    plot_budgets(records, folder / 'budgets.png')
    plot_steps(records, folder / 'steps.png')
    print(claims_by_length(records, found))
    print(f'\nTables and plots: {folder}')


def _stop(run: dict[str, Any]) -> str:
    """Name a run that was stopped, and its last step."""
    contender, site = run['contender'], run['set']
    return f'- {contender}; {site}; initialisation {run["seed"]}; after {run["steps"]} steps'


# -- tables ---------------------------------------------------------------------------------


def number(found: Interval, *, sign: bool = False) -> str:
    """A mean and its interval, in points."""
    form = '+.1f' if sign else '.1f'
    return f'{100 * found.mean:{form}} [{100 * found.low:{form}}, {100 * found.high:{form}}]'


def rows(lines: Iterable[Iterable[str]], head: Iterable[str]) -> str:
    """A table in Markdown."""
    lines, names = list(lines), list(head)
    if not lines:
        return 'Not run.'
    return '\n'.join(
        '| ' + ' | '.join(line) + ' |' for line in [names, ['---'] * len(names), *lines]
    )


def claim_table(found: list[Finding]) -> str:
    """The claims and what became of them."""
    return rows(
        (
            [
                f.claim,
                f.place,
                f.budget,
                f.other,
                goal(f),
                number(f.found, sign=True),
                'yes' if f.met else 'no',
            ]
            for f in found
        ),
        ('claim', 'where', 'labels', 'held against', 'goal', 'found', 'met'),
    )


def steps(records: Records, times: int, name: str = PLANAR) -> str:
    """A factor on the steps, and how often a planar contender was run with it."""
    runs = records.seeds(at_length(name, times))
    return f'{times} x the steps, {runs} run' + 's' * (runs > 1)


def goal(finding: Finding) -> str:
    """Goal of a claim, in points."""
    return f'{100 * finding.goal:+.0f}' if finding.goal else '> 0'


def claims_by_length(records: Records, found: dict[int, list[Finding]]) -> str:
    """The claims in short: a column for each number of steps, what is met in bold type."""
    cells: dict[tuple[str, ...], dict[int, str]] = {}
    for times, one in found.items():
        for f in one:
            text = number(f.found, sign=True)
            key = f.claim, f.place, f.budget, goal(f)
            cells.setdefault(key, {})[times] = f'**{text}**' if f.met else text
    lengths = [times for times, one in found.items() if one]
    names = [steps(records, times) for times in lengths]
    head = ('claim', 'where', 'labels', 'goal', *names)
    return rows(([*key, *(by.get(t, '') for t in lengths)] for key, by in cells.items()), head)


def contender_table(records: Records, metric: Any = 'f1') -> str:
    """Scores of each contender at each place, as the claims score it."""
    lines = []
    for name in CONTENDERS:
        cells = []
        for site, budget in COLUMNS:
            where = scored_as(name, site, budget)
            there = records.has(name, where)
            cells.append(number(bootstrap([records.table(name, where, metric)])) if there else '')
        if any(cells):
            runs = [r for r in records.runs if r['contender'] == name]
            size = next((f'{r["parameters"] / 1e3:.0f} k' for r in runs if 'parameters' in r), '')
            lines.append([name, str(records.seeds(name)), size, *cells])
    return rows(lines, ('contender', 'runs', 'encoder', *(f'{s}, {b}' for s, b in COLUMNS)))


def detail(records: Records, contenders: Iterable[Contender], budget: dict[str, str]) -> str:
    """Scores of both probes at all depths."""
    lines = []
    depths = [(p, d) for p in ('knn', 'linear') for d in ('early', 'late', 'joined')]
    for contender in contenders:
        for site, labels in budget.items():
            places: list[Where] = [(site, labels, *at) for at in depths]
            if records.has(contender.name, places[1]):
                cells = [
                    f'{100 * records.table(contender.name, where).mean():.1f}'
                    if records.has(contender.name, where)
                    else ''
                    for where in places
                ]
                lines.append([contender.name, f'{site}, {labels}', *cells])
    return rows(lines, ('contender', 'where', *(f'{p}, {d}' for p, d in depths)))


def differences(records: Records, pairs: Iterable[tuple[str, str]]) -> str:
    """Differences of the first and the second of each pair, by the linear probe at two depths."""
    lines = []
    for first, second in pairs:
        for depth in ('joined', 'late'):
            found = [
                compare(records, first, second, sites, budget, depth=depth)
                for _, sites, budget in PLACES
            ]
            if any(found):
                cells = ['' if one is None else number(one, sign=True) for one in found]
                lines.append([first, second, depth, *cells])
    return rows(lines, ('contender', 'less', 'depth', *(name for name, *_ in PLACES)))


def elsewhere(records: Records) -> str:
    """With half of the dates, and across sites."""
    columns = [
        ('wc_be_a, half the dates', '1'),
        ('wc_be_b, half the dates', '1'),
        ('wc_be_a to wc_be_b', '1'),
        ('wc_be_a to wc_be_b', 'all'),
        ('wc_be_b to wc_be_a', '1'),
        ('wc_be_b to wc_be_a', 'all'),
    ]
    lines = []
    for contender in [*MAIN, *TORCHGEO, *LONGER, *FROZEN, *PUBLISHED, *CLASSIC]:
        places = [scored_as(contender.name, *column) for column in columns]
        if records.has(contender.name, places[0]):
            tables = [records.table(contender.name, where) for where in places]
            lines.append([contender.name, *(number(bootstrap([t])) for t in tables)])
    return rows(lines, ('contender', *(f'{s}, {b}' for s, b in columns)))


def fine_tuned(records: Records) -> str:
    """Encoders trained with labels, from scratch and from a pretraining."""
    columns = [(site, '1') for site in (*REAL, 'synthetic')] + [('synthetic', '5 %')]
    lines = []
    for contender in [*MAIN, *LONGER, *SUPERVISED]:
        places: list[Where] = [(*column, *TRAINED) for column in columns]
        if records.has(contender.name, places[-1]):
            cells = [
                number(bootstrap([records.table(contender.name, where)]))
                if records.has(contender.name, where)
                else ''
                for where in places
            ]
            lines.append([contender.name, *cells])
    return rows(lines, ('contender', *(f'{s}, {b}' for s, b in columns)))


def published(records: Records) -> str:
    """Published models beside pretrained, untrained and classic contenders, and their cost.

    Each as the claims score it, and by the nearest neighbours on the same features.
    """
    beside = [at_length(PLANAR, 16), UNTRAINED, *(one.name for one in CLASSIC)]
    columns = [
        *((site, budget) for site in ('wc_be_a', 'wc_be_b') for budget in ('1', '3', 'all')),
        ('wc_be_a to wc_be_b', 'all'),
        ('wc_be_b to wc_be_a', 'all'),
        ('synthetic', '1 %'),
        ('synthetic', '5 %'),
    ]
    lines = []
    for name in [*(one.name for one in PUBLISHED), *beside]:
        costs = {
            run['set']: run['pixels_per_cpu_second']
            for run in records.runs
            if run['contender'] == name and 'pixels_per_cpu_second' in run
        }
        cost = ', '.join(f'{one} {value:.0f}' for one, value in costs.items())
        for probe in ('linear', 'knn'):
            places = [
                place if (place := scored_as(name, *column))[2] == 'raw' else _by(probe, place)
                for column in columns
            ]
            if probe == 'knn' and places[0][2] == 'raw':
                continue
            cells = [
                f'{100 * records.table(name, place).mean():.1f}' if records.has(name, place) else ''
                for place in places
            ]
            if any(cells):
                lines.append([name, places[0][2], cost, *cells])
    head = ('contender', 'probe', 'pixels per CPU second', *(f'{s}, {b}' for s, b in columns))
    return rows(lines, head)


def _by(probe: str, place: Where) -> Where:
    """The same features by another probe."""
    site, budget, _, depth = place
    return site, budget, probe, depth


def means(records: Records) -> str:
    """Means alone, of all but kinds of path, ablations and longer runs."""
    lines = []
    for name in CONTENDERS:
        if CONTENDERS[name] in BY_KIND + ABLATIONS + LONGER + SECOND_ROUND + SECOND_LONGER:
            continue
        places = [scored_as(name, *column) for column in COLUMNS]
        cells = [
            f'{100 * np.mean(records.table(name, where)):.1f}' if records.has(name, where) else ''
            for where in places
        ]
        if any(cells):
            lines.append([name, str(records.seeds(name)), *cells])
    return rows(lines, ('contender', 'runs', *(f'{s}, {b}' for s, b in COLUMNS)))

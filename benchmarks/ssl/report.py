"""Tables and plots of what was run."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from . import tuning
from .contenders import (
    ABLATIONS,
    BY_KIND,
    CLASSIC,
    CONTENDERS,
    FROZEN,
    MAIN,
    SUPERVISED,
    TORCHGEO,
    Contender,
)
from .goals import HEADLINE, PLANAR, REAL, Finding, findings, scored_as
from .public import SETS
from .records import TRAINED, Records, Where
from .statistics import Interval, bootstrap

README = Path(__file__).parents[2] / 'README.md'
MARKS = '<!-- made by benchmarks/ssl -->', '<!-- end -->'
#: Columns of the table of contenders: site and budget.
COLUMNS = (
    ('wc_be_a', '1'),
    ('wc_be_b', '1'),
    ('ieda_mt', '1'),
    ('ieda_mt', '5'),
    ('synthetic', '1 %'),
    ('synthetic', '5 %'),
)
COLOURS = {
    'ours': '#1b6ca8',
    'torchgeo': '#c0561a',
    'untrained': '#7a7a7a',
    'random': '#7a7a7a',
    'classic': '#3f8f4f',
    'supervised': '#8a4fa0',
}


def number(found: Interval, *, sign: bool = False) -> str:
    """A mean and its interval, in points."""
    form = '+.1f' if sign else '.1f'
    return f'{100 * found.mean:{form}} [{100 * found.low:{form}}, {100 * found.high:{form}}]'


def rows(lines: Iterable[Iterable[str]], head: Iterable[str]) -> str:
    """A table in Markdown."""
    names = list(head)
    return '\n'.join(
        '| ' + ' | '.join(line) + ' |' for line in [names, ['---'] * len(names), *lines]
    )


def claims(found: list[Finding]) -> str:
    """The claims and what became of them."""
    return rows(
        (
            [
                f.claim,
                f.place,
                f.budget,
                f.other,
                f'{100 * f.goal:+.0f}' if f.goal else '> 0',
                number(f.found, sign=True),
                'yes' if f.met else 'no',
            ]
            for f in found
        ),
        ('claim', 'where', 'labels', 'held against', 'goal', 'found', 'met'),
    )


def contender_table(records: Records, metric: Any = 'f1') -> str:
    """Each contender at each place, as the claims score it."""
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
    """Both probes at all depths."""
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
    for contender in [*MAIN, *TORCHGEO, *FROZEN, *CLASSIC]:
        places = [scored_as(contender.name, *column) for column in columns]
        if records.has(contender.name, places[0]):
            tables = [records.table(contender.name, where) for where in places]
            lines.append([contender.name, *(number(bootstrap([t])) for t in tables)])
    return rows(lines, ('contender', *(f'{s}, {b}' for s, b in columns)))


def fine_tuned(records: Records) -> str:
    """Encoders trained with labels, from scratch and from a pretraining."""
    columns = [(site, '1') for site in (*REAL, 'synthetic')] + [('synthetic', '5 %')]
    lines = []
    for contender in [*MAIN, *SUPERVISED]:
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


def plot_contenders(records: Records, path: Path) -> None:
    """A dot with its interval for each contender and place."""
    names = [n for n in reversed(CONTENDERS) if CONTENDERS[n] not in BY_KIND + ABLATIONS]
    figure, axes = plt.subplots(
        1, len(COLUMNS), figsize=(3 * len(COLUMNS), 0.26 * len(names) + 1.2), sharey=True
    )
    for axis, (site, budget) in zip(axes, COLUMNS, strict=True):
        for height, name in enumerate(names):
            where = scored_as(name, site, budget)
            if not records.has(name, where):
                continue
            found = bootstrap([records.table(name, where)])
            colour = COLOURS[CONTENDERS[name].group]
            axis.plot([found.low, found.high], [height, height], color=colour, lw=1.5)
            axis.plot(found.mean, height, 'o', color=colour, ms=5)
        axis.set_title(f'{site}, labels: {budget}', fontsize=9)
        axis.set_xlabel('macro F1', fontsize=8)
        axis.grid(axis='x', alpha=0.3)
        axis.tick_params(labelsize=7)
    axes[0].set_yticks(range(len(names)), names, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_budgets(records: Records, path: Path) -> None:
    """Macro F1 over the number of labels."""
    budgets = {
        'wc_be_a': ('1', '3', 'all'),
        'wc_be_b': ('1', '3', 'all'),
        'ieda_mt': ('1', '3', '5', 'all'),
        'synthetic': ('1', '1 %', '5 %'),
    }
    names = [PLANAR, 'VICReg, resampling', 'TorchGeo MAE, stacked frames', 'untrained PlanarViT']
    names += ['logistic regression, elapsed bins', 'random forest, elapsed bins']
    figure, axes = plt.subplots(1, len(budgets), figsize=(3.2 * len(budgets), 3.2))
    for axis, (site, labels) in zip(axes, budgets.items(), strict=True):
        for name in names:
            places = [scored_as(name, site, budget) for budget in labels]
            if all(records.has(name, where) for where in places):
                found = [bootstrap([records.table(name, where)]) for where in places]
                [line] = axis.plot(labels, [f.mean for f in found], 'o-', ms=3, label=name)
                axis.fill_between(
                    labels, [f.low for f in found], [f.high for f in found],
                    color=line.get_color(), alpha=0.12,
                )  # fmt: skip
        axis.set_title(site, fontsize=9)
        axis.set_xlabel('labelled fields', fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('macro F1', fontsize=8)
    axes[0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write(runs: list[dict[str, Any]], folder: Path) -> None:
    """Write the tables and plots of *runs* into *folder*, and print the claims."""
    if not runs:
        print('Nothing has been run yet.')
        return
    records = Records(runs)
    found = findings(records)
    seconds = sum(run['total_seconds'] for run in runs)
    broken = [r for r in runs if not r.get('finite', True)]
    kinds = [CONTENDERS[PLANAR], CONTENDERS['VICReg, resampling'], *BY_KIND]
    least = dict.fromkeys(REAL, '1') | {'synthetic': '1 %'}
    parts = [
        '# Planar views against resampling, TorchGeo and classic baselines',
        f'{len(runs)} runs, {seconds / 3600:.1f} hours of one thread; '
        f'{len(broken)} had a loss that was not finite. Macro F1 in points, with its 95 % '
        'interval by a bootstrap over initialisations and draws of fields (differences are '
        'paired). Frozen features are scored by '
        f'the {HEADLINE[0]} probe on {HEADLINE[1]} features where nothing else is said.',
        '## Claims',
        claims(found),
        '## Contenders',
        contender_table(records),
        '![Contenders](contenders.png)',
        '![Budgets](budgets.png)',
        '## The same in mean IoU',
        contender_table(records, 'miou'),
        '## Probes and depths, least labels',
        detail(records, [*MAIN, *TORCHGEO, *FROZEN], least),
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
    print(claims(found))
    print(f'\nTables and plots: {folder}')
    if folder == Path(__file__).parent / 'results':
        _write_readme(records, found)


def _write_readme(records: Records, found: list[Finding]) -> None:
    """Put the claims and the short table between the marks in README.md."""
    text = README.read_text()
    short = [f for f in found if f.place in ('real stacks', 'synthetic')]
    content = claims(short) + '\n\n' + _short(records)
    begin, end = (re.escape(mark) for mark in MARKS)
    new, count = re.subn(
        f'{begin}.*{end}', lambda _: f'{MARKS[0]}\n\n{content}\n\n{MARKS[1]}', text, flags=re.DOTALL
    )
    if count:
        README.write_text(new)


def _short(records: Records) -> str:
    """Means alone, of all but the kinds of path."""
    lines = []
    for name in CONTENDERS:
        if CONTENDERS[name] in BY_KIND + ABLATIONS:
            continue
        places = [scored_as(name, *column) for column in COLUMNS]
        cells = [
            f'{100 * np.mean(records.table(name, where)):.1f}' if records.has(name, where) else ''
            for where in places
        ]
        if any(cells):
            lines.append([name, str(records.seeds(name)), *cells])
    return rows(lines, ('contender', 'runs', *(f'{s}, {b}' for s, b in COLUMNS)))

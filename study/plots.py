"""Plots of what was found."""

from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from .claims import COLUMNS, PLANAR, RESAMPLING, UNTRAINED, scored_as
from .contenders import (
    ABLATIONS,
    BY_KIND,
    CONTENDERS,
    LENGTHS,
    LONGER,
    SECOND_LONGER,
    SECOND_ROUND,
    at_length,
)
from .records import Records, bootstrap

COLOURS = {
    'ours': '#1b6ca8',
    'torchgeo': '#c0561a',
    'untrained': '#7a7a7a',
    'random': '#7a7a7a',
    'published': '#b03060',
    'classic': '#3f8f4f',
    'supervised': '#8a4fa0',
}


def plot_contenders(records: Records, path: Path) -> None:
    """A dot with its interval for each contender and place."""
    apart = BY_KIND + ABLATIONS + LONGER + SECOND_ROUND + SECOND_LONGER
    names = [n for n in reversed(CONTENDERS) if CONTENDERS[n] not in apart]
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


def plot_steps(records: Records, path: Path) -> None:
    """Macro F1 over the steps of pretraining, beside what takes none."""
    curves = [
        (PLANAR, 'joined', '-', '#1b6ca8', 'planar, joined'),
        (RESAMPLING, 'joined', '-', '#7fb2d9', 'resampling, joined'),
        (PLANAR, 'late', '--', '#1b6ca8', 'planar, late'),
        (RESAMPLING, 'late', '--', '#7fb2d9', 'resampling, late'),
        ('TorchGeo MoCo, stacked frames', 'joined', '-', COLOURS['torchgeo'], 'TorchGeo MoCo'),
        ('TorchGeo MAE, stacked frames', 'joined', ':', COLOURS['torchgeo'], 'TorchGeo MAE'),
    ]
    levels = [
        (UNTRAINED, COLOURS['untrained'], 'untrained, joined'),
        ('logistic regression, elapsed bins', COLOURS['classic'], 'logistic regression'),
    ]
    figure, axes = plt.subplots(1, len(COLUMNS), figsize=(2.7 * len(COLUMNS), 3.4))
    for axis, (site, budget) in zip(axes, COLUMNS, strict=True):
        for name, depth, style, colour, label in curves:
            where = site, budget, 'linear', depth
            runs = {
                times: records.table(at_length(name, times), where).mean()
                for times in LENGTHS
                if records.has(at_length(name, times), where)
            }
            axis.plot(
                list(runs), list(runs.values()), style, color=colour, marker='o', ms=3, label=label
            )
        for name, colour, label in levels:
            where = scored_as(name, site, budget)
            if records.has(name, where):
                axis.axhline(records.table(name, where).mean(), color=colour, lw=1, label=label)
        axis.set_xscale('log')
        axis.minorticks_off()
        axis.set_xticks(list(LENGTHS), [str(times) for times in LENGTHS])
        axis.set_title(f'{site}, labels: {budget}', fontsize=9)
        axis.set_xlabel('times the steps', fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('macro F1', fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='lower center', ncols=8, fontsize=7)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)

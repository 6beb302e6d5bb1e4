"""One contender on a public data set, on its official split."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from numpy.typing import NDArray

from .contenders import Job
from .pretraining import Features, frozen
from .probes import PER_FIELD, PROBES, Pixels, by_draw, classifier, layers, scores
from .public import PATCHES, SETS
from .run import entry
from .sites import SMALLEST, Site

#: Shares of the fields of the training sites that are labelled.
BUDGETS = ('1 %', '5 %', 'all')
#: Draws of these fields.
DRAWS = 5
#: Pixels of the test sites that are scored, and of the training sites that are learned from.
MOST = 20_000

type Classifiers = dict[str, Callable[[], Any]]


def run_public(job: Job, patches: int = PATCHES) -> dict[str, Any]:
    """Pretrain on the training sites of a data set, and score the test sites.

    Labels are those of a share of the fields of the training sites, of each class in proportion
    and one at least.

    Args:
        job: Who and how long; its set is one of ``SETS``, its seed draws the patches, too.
        patches: Patches of each role at most.

    Returns:
        A record as that of :func:`.run.run`. With the budget 'all' there is one draw, as all
        would be the same.

    Raises:
        ValueError: If the set is not known, or the contender is trained with labels.
    """
    contender, name = job.contender, job.set
    if name not in SETS:
        raise ValueError(f'unknown set {name!r}: expected one of {list(SETS)}')
    if contender.group == 'supervised':
        raise ValueError(f'{contender.name!r} is trained with labels: expected frozen features')
    warnings.filterwarnings('ignore')
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    torch.set_num_threads(1)
    seed_everything(job.seed, verbose=False)
    start = time.perf_counter()
    sites = SETS[name](job.data, seed=job.seed, patches=patches)
    features, classifiers, info = _prepared(job, sites.train)
    train, test = (labelled_pixels(role) for role in (sites.train, sites.test))
    tables = (_table(features, sites.train, train), _table(features, sites.test, test))
    found = list(_probed(name, classifiers, tables, (_joined(train), _joined(test))))
    return {
        'contender': contender.name,
        'set': name,
        'seed': job.seed,
        **info,
        'patches': [len(sites.train), len(sites.test)],
        'scores': found,
        'total_seconds': round(time.perf_counter() - start, 1),
    }


def _prepared(job: Job, sites: list[Site]) -> tuple[Features, Classifiers, dict[str, Any]]:
    """Features of a site ``(D, H, W)`` by depth, what is fitted to them, and facts."""
    contender = job.contender
    if contender.group != 'classic':
        features, info, _ = frozen(job, sites, sites[0].image.shape[1])
        return features, PROBES, info
    return (
        lambda site: {'raw': layers(contender, site)},
        {'raw': classifier(contender, job.seed)},
        {},
    )


def labelled_pixels(sites: list[Site]) -> list[Pixels]:
    """Pixels of each site, ``PER_FIELD`` at most of each field of ``SMALLEST`` pixels or more."""
    rng = np.random.default_rng(0)
    found = []
    for site in sites:
        at = rng.permutation(np.flatnonzero(site.fields))
        fields = site.fields.ravel()[at]
        at = at[np.argsort(fields, kind='stable')]
        _, first, counts = np.unique(np.sort(fields), return_index=True, return_counts=True)
        place = np.arange(len(at)) - np.repeat(first, counts)
        index = at[(place < PER_FIELD) & (np.repeat(counts, counts) >= SMALLEST)]
        found.append(Pixels(index, site.classes.ravel()[index], site.fields.ravel()[index]))
    return found


def draw_labelled(pixels: Pixels, budget: str, draw: int) -> NDArray[np.int64]:
    """Fields whose labels are known.

    Args:
        pixels: Those of all training sites.
        budget: A share such as '5 %', or 'all'.
        draw: Number of the draw.

    Returns:
        Numbers of fields.
    """
    share = 1.0 if budget == 'all' else float(budget.removesuffix('%')) / 100
    rng = np.random.default_rng(draw)
    chosen = []
    for value in np.unique(pixels.classes):
        own = rng.permutation(np.unique(pixels.fields[pixels.classes == value]))
        chosen.append(own[: max(1, round(share * len(own)))])
    return np.concatenate(chosen)


def _joined(pixels: list[Pixels]) -> Pixels:
    """Pixels of several sites; their indices are of no more use."""
    names = ('index', 'classes', 'fields')
    return Pixels(*(np.concatenate([getattr(p, name) for p in pixels]) for name in names))


def _table(features: Features, sites: list[Site], pixels: list[Pixels]) -> dict[str, NDArray[Any]]:
    """Features ``(P, D)`` of pixels of several sites, by depth."""
    parts = [
        {depth: v.flatten(1).T[own.index].numpy() for depth, v in features(site).items()}
        for site, own in zip(sites, pixels, strict=True)
    ]
    table = {depth: np.concatenate([part[depth] for part in parts]) for depth in parts[0]}
    if len(table) > 1:
        table['joined'] = np.concatenate(list(table.values()), 1)
    return table


def _probed(
    name: str,
    classifiers: Classifiers,
    tables: tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]],
    pixels: tuple[Pixels, Pixels],
) -> Iterator[dict[str, Any]]:
    """Scores of classifiers that learn from the training sites."""
    (source, target), (train, test) = tables, pixels
    scored = np.random.default_rng(0).permutation(len(test.index))[:MOST]
    for budget in BUDGETS:
        labelled = []
        for draw in range(1 if budget == 'all' else DRAWS):
            known = np.flatnonzero(train.of(draw_labelled(train, budget, draw)))
            labelled.append(np.random.default_rng(draw).permutation(known)[:MOST])
        for depth in source:
            for probe, build in classifiers.items():
                found = []
                for rows in labelled:
                    model = build().fit(source[depth][rows], train.classes[rows])
                    guess = model.predict(target[depth][scored])
                    found.append(scores(test.classes[scored], guess))
                yield entry(name, budget, probe, depth, by_draw(found))

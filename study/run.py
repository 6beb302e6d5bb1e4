"""One contender, one set, one initialisation: trained, and scored on every problem of the set."""

import ctypes
import gc
import logging
import pickle
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from numpy.typing import NDArray
from torch import Tensor, nn

from . import ours
from .contenders import PLANAR, SECOND, SECOND_LONGER, SECOND_ROUND, Job, at_length
from .pretraining import Features, frozen
from .probes import (
    DRAWS,
    PROBES,
    Pixels,
    by_draw,
    classifier,
    draw_fields,
    labelled_pixels,
    layers,
    linear,
    probe,
    probe_across,
    scores,
    tested,
)
from .sites import Site, belgium, canada, mato_grosso, synthetic
from .supervised import predict, train, untrained

#: Draws of fields that training with labels takes part in, for each initialisation.
SHARE = 2
#: Encoders that are fine-tuned, too, on fewer problems.
FINETUNED = (
    PLANAR.name,
    at_length(PLANAR.name, 16),
    *(
        c.name
        for c in SECOND_ROUND + SECOND_LONGER
        if c.encoder == SECOND and c.views in ('planar', 'pixels', 'sensor_pixels')
    ),
)
#: Budgets of the problems of each set, the least first.
BUDGETS = {
    'belgium': ('1', '3', 'all'),
    'mato_grosso': ('1', '3', '5', 'all'),
    'synthetic': ('1', '1 %', '5 %'),
    'realistic': ('1', '1 %', '5 %'),
}
SEEDED = {'development': 1, 'synthetic': 0}
#: Sets whose fields below the size of tested ones are development data; others have their own.
SMALL = ('mato_grosso', 'canada')
#: Sets that need no files.
SIMULATED = ('synthetic', 'realistic')


def load(job: Job) -> list[Site]:
    """The sites of a set, kept in the scratch folder once they were read."""
    seed = SEEDED['development' if job.development else 'synthetic']
    size = 256 if job.development else 320
    # Another folder of data is another cache.
    folder = sha256(str(job.data.resolve()).encode()).hexdigest()[:8]
    name = f'{job.set}-{seed}-{size}' if job.set in SIMULATED else f'{job.set}-{folder}'
    # Named anew where sites hold more than before.
    kept = job.scratch / f'{name}-with-s1.pickle'
    if not kept.exists():
        sites = {
            'belgium': lambda: belgium(job.data),
            'mato_grosso': lambda: mato_grosso(job.data),
            'canada': lambda: canada(job.data),
            'synthetic': lambda: synthetic(job.scratch, seed=seed, size=size),
            'realistic': lambda: synthetic(job.scratch, seed=seed, size=size, realistic=True),
        }[job.set]()
        draft = kept.with_suffix(f'.{job.seed}-{time.time_ns()}')
        draft.write_bytes(pickle.dumps(sites))
        draft.rename(kept)
    sites = pickle.loads(kept.read_bytes())
    assert isinstance(sites, list)
    return sites


def run(job: Job) -> dict[str, Any]:
    """Train and score a contender; in a process of its own or not."""
    warnings.filterwarnings('ignore')
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    torch.set_num_threads(1)
    seed_everything(job.seed, verbose=False)
    start = time.perf_counter()
    sites = load(job)
    contender = job.contender
    record: dict[str, Any] = {'contender': contender.name, 'set': job.set, 'seed': job.seed}
    bands = sites[0].image.shape[1]
    if contender.group == 'supervised':
        found = list(_supervised(job, sites, lambda: untrained(contender.method, bands)))
    elif contender.group == 'classic':
        found = list(_classic(job, sites))
    else:
        features, info, encoder = frozen(job, sites, bands)
        found = list(_probed(job, sites, features))
        record |= info
        if encoder is not None and not job.development and contender.name in FINETUNED:
            state = encoder.state_dict()

            def copy() -> nn.Module:
                fresh = ours.encoder(bands, contender.encoder)
                fresh.load_state_dict(state)
                return fresh

            found += _supervised(job, sites, copy)
    give_memory_back()
    return record | {
        'scores': found,
        'total_seconds': round(time.perf_counter() - start, 1),
    }


def give_memory_back() -> None:
    """Give the system what a job has freed: glibc keeps it, and workers grew by 0.1 GB a job."""
    gc.collect()
    if platform.libc_ver()[0] == 'glibc':
        ctypes.CDLL(None).malloc_trim(0)


def entry(site: str, budget: str, name: str, depth: str, found: dict[str, Any]) -> dict[str, Any]:
    """A line of scores, in thousandths."""
    return {
        'site': site,
        'budget': budget,
        'probe': name,
        'depth': depth,
        **{k: [round(1000 * v) for v in values] for k, values in found.items()},
    }


def _probed(job: Job, sites: list[Site], features: Features) -> Iterator[dict[str, Any]]:
    """Scores of the probes on frozen features."""
    tables = {site.name: _table(features(site), job, site) for site in sites}
    for site, pixels, seen in _problems(job, sites):
        table = tables.get(seen.name) or _table(features(seen), job, site)
        for budget in _budgets(job, seen is not site):
            for depth, values in table.items():
                for name, fitted in PROBES.items():
                    if name != 'linear' and seen is not site:
                        continue
                    found = probe(values, pixels, budget, fitted)
                    yield entry(seen.name, budget, name, depth, found)
    for source, target in _across(job, sites):
        pairs = [(tables[s.name], labelled_pixels(s)) for s in (source, target)]
        for budget in ('1', 'all'):
            for depth in pairs[0][0]:
                (a, at), (b, to) = pairs
                found = probe_across(a[depth], at, b[depth], to, budget, linear)
                yield entry(f'{source.name} to {target.name}', budget, 'linear', depth, found)


def _budgets(job: Job, halved: bool) -> tuple[str, ...]:
    if job.development:
        return ('1', '5')
    return ('1', 'all') if halved else BUDGETS[job.set]


def _pixels(job: Job, site: Site) -> Pixels:
    """The pixels that a job is scored on, of which it trains on some."""
    return labelled_pixels(site, development=job.development and job.set in SMALL)


def _problems(job: Job, sites: list[Site]) -> Iterator[tuple[Site, Pixels, Site]]:
    """Sites with their pixels, each as it is and, of the Belgian ones, with half of the dates."""
    for site in sites:
        pixels = _pixels(job, site)
        yield site, pixels, site
        if job.set == 'belgium':
            yield site, pixels, site.halved(job.seed)


def _across(job: Job, sites: list[Site]) -> Iterator[tuple[Site, Site]]:
    if len(sites) == 2:
        yield sites[0], sites[1]
        yield sites[1], sites[0]


def _table(found: dict[str, Tensor], job: Job, site: Site) -> dict[str, NDArray[Any]]:
    """Features ``(P, D)`` of the labelled pixels, by depth."""
    index = _pixels(job, site).index
    table = {depth: values.flatten(1).T[index].numpy() for depth, values in found.items()}
    if len(table) > 1:
        table['joined'] = np.concatenate(list(table.values()), 1)
    return table


def _classic(job: Job, sites: list[Site]) -> Iterator[dict[str, Any]]:
    """Scores of a classifier on composites of the raw series."""
    build = classifier(job.contender, job.seed)

    def table(site: Site) -> NDArray[Any]:
        index = _pixels(job, site).index
        return layers(job.contender, site).flatten(1).T[index].numpy()

    for site, pixels, seen in _problems(job, sites):
        values = table(seen)
        for budget in _budgets(job, seen is not site):
            found = probe(values, pixels, budget, build)
            yield entry(seen.name, budget, 'raw', 'raw', found)
    for source, target in _across(job, sites):
        pairs = [(table(s), labelled_pixels(s)) for s in (source, target)]
        for budget in ('1', 'all'):
            found = probe_across(*pairs[0], *pairs[1], budget, build)
            yield entry(f'{source.name} to {target.name}', budget, 'raw', 'raw', found)


def _supervised(
    job: Job, sites: list[Site], build: Callable[[], nn.Module]
) -> Iterator[dict[str, Any]]:
    """Scores of an encoder trained with labels, on a share of the draws for each seed."""
    draws = [(job.seed * SHARE + i) % DRAWS for i in range(SHARE)]
    budgets = BUDGETS[job.set] if job.set in SIMULATED else ('1',)
    for site in sites:
        pixels = labelled_pixels(site)
        for budget in budgets:
            found = []
            for draw in draws:
                labelled, held = (pixels.of(f) for f in draw_fields(pixels, budget, draw))
                torch.manual_seed(job.seed)
                encoder: Any = build()
                model = train(encoder, site, pixels, labelled, seed=job.seed)
                guess = predict(model, site, pixels)
                held = tested(held, draw)
                found.append(scores(pixels.classes[held], guess[held]))
            named = by_draw(found)
            yield entry(site.name, budget, 'trained', 'trained', named) | {'draws': draws}

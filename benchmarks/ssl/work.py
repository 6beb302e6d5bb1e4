"""One contender, one set, one initialisation: trained, and scored on every problem of the set."""

import logging
import math
import pickle
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from torchgeo_sits.callbacks import CollapseError
from torchgeo_sits.models import build_encoder

from . import ours, theirs
from .composites import elapsed_composite, season_composite
from .contenders import Contender
from .probes import DRAWS, PROBES, by_draw, linear, probe, probe_across, scores
from .sites import Site, belgium, mato_grosso, synthetic
from .splits import Pixels, draw_fields, labelled_pixels
from .supervised import predict, train

BATCH = 8
#: Draws of fields that training with labels takes part in, for each initialisation.
SHARE = 2
#: Encoders that are fine-tuned, too, with the least labels.
FINETUNED = ('VICReg, planar, mixed', 'VICReg, resampling')
#: Budgets of the problems of each set, the least first.
BUDGETS = {
    'belgium': ('1', '3', 'all'),
    'mato_grosso': ('1', '3', '5', 'all'),
    'synthetic': ('1', '1 %', '5 %'),
}
SEEDED = {'development': 1, 'synthetic': 0}


@dataclass(frozen=True)
class Job:
    """What a process is given.

    Attributes:
        contender: Who.
        set: Name of the set.
        seed: Number of the initialisation.
        steps: Optimiser steps of a pretraining.
        lr: Learning rate of a pretraining, None for the task's own.
        data: Folder of the real stacks.
        scratch: Folder of the simulated series.
        development: Score what choices are made on, not the test.
    """

    contender: Contender
    set: str
    seed: int
    steps: int
    lr: float | None
    data: Path
    scratch: Path
    development: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells its record from others."""
        return self.contender.name, self.set, self.seed


def load(job: Job) -> list[Site]:
    """The sites of a set, kept in the scratch folder once they were read."""
    seed = SEEDED['development' if job.development else 'synthetic']
    size = 256 if job.development else 320
    name = f'synthetic-{seed}-{size}' if job.set == 'synthetic' else job.set
    kept = job.scratch / f'{name}.pickle'
    if not kept.exists():
        sites = {
            'belgium': lambda: belgium(job.data),
            'mato_grosso': lambda: mato_grosso(job.data),
            'synthetic': lambda: synthetic(job.scratch, seed=seed, size=size),
        }[job.set]()
        draft = kept.with_suffix(f'.{job.seed}-{time.time_ns()}')
        draft.write_bytes(pickle.dumps(sites))
        draft.rename(kept)
    sites = pickle.loads(kept.read_bytes())
    assert isinstance(sites, list)
    return sites


class Losses(Callback):
    """Keep the loss of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, *args: Any) -> None:
        """Keep the loss."""
        loss = outputs['loss'] if isinstance(outputs, dict) else outputs
        self.values.append(float(loss))


def pretrain(
    task: LightningModule, samples: Dataset[dict[str, Tensor]], steps: int, *, by_epoch: bool
) -> dict[str, Any]:
    """Train a task for so many steps; TorchGeo's schedules count epochs, then one step each."""
    losses = Losses()
    trainer = Trainer(
        accelerator='cpu',
        max_steps=steps,
        max_epochs=steps if by_epoch else 1,
        limit_train_batches=1 if by_epoch else 1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[losses],
    )
    start = time.perf_counter()
    loader: Any = DataLoader(samples, BATCH)
    if by_epoch:
        loader = Rotation(loader)
    stopped = None
    try:
        trainer.fit(task, loader)
    except CollapseError as error:
        # No run is dropped: what it has learned until then is scored.
        stopped = str(error)
    return {
        'stopped': stopped,
        'steps': len(losses.values),
        'seconds': round(time.perf_counter() - start, 1),
        'first_loss': losses.values[0],
        'last_loss': losses.values[-1],
        'finite': all(map(math.isfinite, losses.values)),
    }


class Rotation:
    """A loader that goes on, in each epoch, where the last one stopped."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.batches = iter(loader)

    def __iter__(self) -> Iterator[Any]:
        return self.batches


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
        found = list(_supervised(job, sites, lambda: _scratch(contender.method, bands)))
    elif contender.group == 'classic':
        found = list(_classic(job, sites))
    else:
        features, info, encoder = _frozen(job, sites, bands)
        record |= info
        found = list(_probed(job, sites, features))
        if encoder is not None and not job.development and _finetuned(contender):
            state = encoder.state_dict()

            def copy() -> nn.Module:
                fresh = ours.encoder(bands)
                fresh.load_state_dict(state)
                return fresh

            found += _supervised(job, sites, copy)
    return record | {
        'scores': found,
        'total_seconds': round(time.perf_counter() - start, 1),
    }


def _finetuned(contender: Contender) -> bool:
    return contender.name in FINETUNED


def _scratch(name: str, bands: int) -> nn.Module:
    if name == 'planar_vit':
        return ours.encoder(bands)
    if name == 'TorchGeo ConvLSTM':
        return theirs.LastState(bands)
    return build_encoder(name, bands)


type Features = Callable[[Site], dict[str, Tensor]]


def _frozen(
    job: Job, sites: list[Site], bands: int
) -> tuple[Features, dict[str, Any], nn.Module | None]:
    """Pretrain, where there is anything to train; features, facts and the encoder, if ours."""
    contender = job.contender
    steps = job.steps * contender.longer
    number = steps * BATCH
    parameters = sum(p.numel() for p in ours.encoder(bands).parameters())
    if contender.group == 'random':
        return lambda site: {'late': theirs.random_features(site, job.seed)}, {}, None
    seed_everything(job.seed, verbose=False)
    if contender.group == 'untrained':
        encoder = ours.encoder(bands)
        return lambda site: ours.features(encoder, site), {'parameters': parameters}, None
    if contender.group == 'ours':
        options = contender.options | ({} if job.lr is None else {'lr': job.lr})
        task = ours.build(contender.method, bands, options)
        info = pretrain(task, ours.samples(sites, number, job.seed), steps, by_epoch=False)
        info['parameters'] = sum(p.numel() for p in task.encoder.parameters())
        return lambda site: ours.features(task.encoder, site), info, task.encoder
    assert contender.group == 'torchgeo'
    frames: Any = contender.views
    assert job.lr is not None
    other, vit = theirs.build(contender.method, frames, bands, parameters, job.lr)
    data = theirs.samples(contender.method, frames, sites, number, job.seed)
    info = pretrain(other, data, steps, by_epoch=True)
    info['parameters'] = sum(p.numel() for p in vit.parameters())
    return lambda site: theirs.features(vit, frames, site), info, None


def _entry(site: str, budget: str, name: str, depth: str, found: dict[str, Any]) -> dict[str, Any]:
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
    for site, pixels, tested in _problems(job, sites):
        table = tables.get(tested.name) or _table(features(tested), job, site)
        for budget in _budgets(job, tested is not site):
            for depth, values in table.items():
                for name, classifier in PROBES.items():
                    if name != 'linear' and tested is not site:
                        continue
                    found = probe(values, pixels, budget, classifier)
                    yield _entry(tested.name, budget, name, depth, found)
    for source, target in _across(job, sites):
        pairs = [(tables[s.name], labelled_pixels(s)) for s in (source, target)]
        for budget in ('1', 'all'):
            for depth in pairs[0][0]:
                (a, at), (b, to) = pairs
                found = probe_across(a[depth], at, b[depth], to, budget, linear)
                yield _entry(f'{source.name} to {target.name}', budget, 'linear', depth, found)


def _budgets(job: Job, halved: bool) -> tuple[str, ...]:
    if job.development:
        return ('1', '5')
    return ('1', 'all') if halved else BUDGETS[job.set]


def _problems(job: Job, sites: list[Site]) -> Iterator[tuple[Site, Pixels, Site]]:
    """Each site with its pixels, as it is and, of the Belgian ones, with half of the dates."""
    for site in sites:
        small = job.development and job.set == 'mato_grosso'
        pixels = labelled_pixels(site, development=small)
        yield site, pixels, site
        if job.set == 'belgium':
            yield site, pixels, site.halved(job.seed)


def _across(job: Job, sites: list[Site]) -> Iterator[tuple[Site, Site]]:
    if len(sites) == 2:
        yield sites[0], sites[1]
        yield sites[1], sites[0]


def _table(found: dict[str, Tensor], job: Job, site: Site) -> dict[str, NDArray[Any]]:
    """Features ``(P, D)`` of the labelled pixels, by depth."""
    small = job.development and job.set == 'mato_grosso'
    index = labelled_pixels(site, development=small).index
    table = {depth: values.flatten(1).T[index].numpy() for depth, values in found.items()}
    if len(table) > 1:
        table['joined'] = np.concatenate(list(table.values()), 1)
    return table


def _classic(job: Job, sites: list[Site]) -> Iterator[dict[str, Any]]:
    """Scores of a classifier on composites of the raw series."""
    composite = {'season': season_composite, 'elapsed': elapsed_composite}[job.contender.views]

    def forest() -> RandomForestClassifier:
        return RandomForestClassifier(100, random_state=job.seed)

    classifier = {'random forest': forest, 'logistic regression': linear}[job.contender.method]

    def table(site: Site) -> NDArray[Any]:
        pixels = labelled_pixels(site)
        return composite(site).flatten(0, 1).flatten(1).T[pixels.index].numpy()

    for site, pixels, tested in _problems(job, sites):
        values = table(tested)
        for budget in _budgets(job, tested is not site):
            found = probe(values, pixels, budget, classifier)
            yield _entry(tested.name, budget, 'raw', 'raw', found)
    for source, target in _across(job, sites):
        pairs = [(table(s), labelled_pixels(s)) for s in (source, target)]
        for budget in ('1', 'all'):
            found = probe_across(*pairs[0], *pairs[1], budget, classifier)
            yield _entry(f'{source.name} to {target.name}', budget, 'raw', 'raw', found)


def _supervised(
    job: Job, sites: list[Site], build: Callable[[], nn.Module]
) -> Iterator[dict[str, Any]]:
    """Scores of an encoder trained with labels, on a share of the draws for each seed."""
    draws = [(job.seed * SHARE + i) % DRAWS for i in range(SHARE)]
    budgets = ('1', '5 %') if job.set == 'synthetic' else ('1',)
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
                found.append(scores(pixels.classes[held], guess[held]))
            named = by_draw(found)
            yield _entry(site.name, budget, 'trained', 'trained', named) | {'draws': draws}

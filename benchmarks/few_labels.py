"""Does pretraining pay with few labels? Scratch, linear probe and fine-tuning beside a forest.

Run with ``uv run python -m benchmarks.few_labels DATA``, where DATA holds the real stacks
``wc_be_a`` and ``wc_be_b``; results go to ``results/few_labels.json``, and a run that was stopped
goes on where it was. Checkpoints and the simulated series are kept in ``--scratch``.

For each set and seed, whole fields are dealt in two halves, class by class; of one half 1, 5 or 10
fields per class are labelled (all, where there are fewer), the other half is scored by macro F1
over its pixels and the classes in it. All contenders see the same fields. The encoder is
``planar_vit_tiny``, pretrained by ``conf/dino.yaml`` without labels: on the simulated series
itself; on wc_be_a for wc_be_b, and on wc_be_b for wc_be_a. The forest has 300 trees on the medians
of the clear values in 16 bins of the day of the year. Nothing was tuned on any of the sets.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from torch import Tensor

from torchgeo_sits.datamodules import (
    ImageOptions,
    LabelOptions,
    PatchOptions,
    SITSDataModule,
    SplitOptions,
    SyntheticSITSDataModule,
)
from torchgeo_sits.tasks import SITSDINO, SITSSegmentation

#: Of one thread each: two of two threads wait for each other more than they work.
PROCESSES = 2
SEEDS = range(5)
FIELDS = (1, 5, 10)
STEPS = 30
CROPS = {
    1110: 'winter wheat',
    1200: 'maize',
    1500: 'barley',
    1510: 'winter barley',
    2130: 'cabbage',
    5100: 'potato',
    7900: 'other leguminous',
    8100: 'sugar beet',
    9120: 'grass',
}
SETS = ('synthetic', 'wc_be_a', 'wc_be_b')
#: What each set's encoder is pretrained on.
PRETRAINED_ON = {'synthetic': 'synthetic', 'wc_be_a': 'wc_be_b', 'wc_be_b': 'wc_be_a'}


def data_module(
    name: str, data: Path, scratch: Path, labels: LabelOptions, **kwargs: Any
) -> SITSDataModule:
    """Data module of a set."""
    if name == 'synthetic':
        return SyntheticSITSDataModule(str(scratch / 'synthetic'), labels=labels, **kwargs)
    folder = data / name
    return SITSDataModule(
        str(folder / 's2'),
        images=ImageOptions(cloud_paths=str(folder / 'scl'), clear_values=[2, 4, 5, 6, 7]),
        labels=replace(
            labels,
            paths=str(folder / 'labels' / f'{name}_CT_aligned_core.tif'),
            classes=CROPS,
        ),
        **kwargs,
    )


def trainer(epochs: int) -> Trainer:
    """A trainer that keeps quiet."""
    return Trainer(
        accelerator='cpu',
        max_epochs=epochs,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def pretrain(name: str, data: Path, scratch: Path) -> Path:
    """Pretrain as conf/dino.yaml does; once."""
    path = scratch / f'{name}.ckpt'
    if not path.exists():
        seed_everything(0, verbose=False)
        config = yaml.safe_load((Path(__file__).parents[1] / 'conf' / 'dino.yaml').read_text())
        options = config['data']['init_args']
        made = data_module(
            name,
            data,
            scratch,
            LabelOptions(),
            split=SplitOptions(val_fraction=0.0),
            patches=PatchOptions(**options['patches'], num_dates=40),
            batch_size=options['batch_size'],
        )
        run = trainer(config['trainer']['max_epochs'])
        run.fit(SITSDINO(**config['model']['init_args']), made)
        run.save_checkpoint(path)
    return path


def labelled_pixels(loader: Any) -> tuple[list[dict[str, Tensor]], NDArray[np.int64]]:
    """Batches, and the labels of their labelled pixels."""
    batches = list(loader)
    return batches, np.concatenate([b['mask'][b['mask'] != 0].numpy() for b in batches])


def raw_features(batches: list[dict[str, Tensor]]) -> NDArray[np.float64]:
    """Medians of labelled pixels over 16 bins of the day of the year, gaps filled by the median."""
    rows = []
    for batch in batches:
        for image, times, clear, mask in zip(
            batch['image'],
            batch['acquisition_times'],
            batch['mask_clear'],
            batch['mask'],
            strict=True,
        ):
            known = mask != 0
            values = image.movedim(1, -1)[:, known].numpy().astype(np.float64)
            values[~clear[:, known].numpy()] = np.nan
            bins = ((times.numpy() / 86_400 % 365.25) / 365.25 * 16).astype(int)
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', RuntimeWarning)  # bins without a clear date
                parts = [np.nanmedian(values[bins == i], 0) for i in range(16)]
                middle = np.nanmedian(values, 0)
            filled = [np.where(np.isnan(part), middle, part) for part in parts]
            rows.append(np.concatenate(filled, 1))
    return np.nan_to_num(np.concatenate(rows))


def macro_f1(truth: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """Macro F1 over the classes that are there."""
    present = np.unique(truth)
    return float(f1_score(truth, found, labels=present, average='macro', zero_division=0))


def forest(module: SITSDataModule, seed: int) -> float:
    """Score a random forest on the raw series."""
    loaders = module.probe_dataloaders()
    assert loaders is not None
    (bank, known), (query, truth) = (labelled_pixels(loader) for loader in loaders)
    model = RandomForestClassifier(300, random_state=seed, n_jobs=1)
    model.fit(raw_features(bank), known)
    return macro_f1(truth, model.predict(raw_features(query)))


def segmentation(module: SITSDataModule, seed: int, **kwargs: Any) -> float:
    """Score a model after STEPS steps."""
    seed_everything(seed, verbose=False)
    task = SITSSegmentation(**kwargs)
    trainer(STEPS * module.batch_size // int(module.length or 1)).fit(task, module)
    loaders = module.probe_dataloaders()
    assert loaders is not None
    query, truth = labelled_pixels(loaders[1])
    found = []
    task.eval()
    with torch.no_grad():
        for batch in query:
            classes = task(module.aug(dict(batch))).argmax(1)
            found.append(classes[batch['mask'] != 0].numpy())
    return macro_f1(truth, np.concatenate(found))


def contend(name: str, data: Path, scratch: Path, seed: int, count: int) -> dict[str, float]:
    """Scores of all contenders on one choice of fields."""
    weights = str(pretrain(PRETRAINED_ON[name], data, scratch))
    options: dict[str, Any] = {
        'labels': LabelOptions(fields_per_class=count, supervised=True),
        'split': SplitOptions('fields', val_fraction=0.5),
        'patches': PatchOptions(16, length=8 * STEPS, num_dates=24),
        'batch_size': 8,
        'seed': seed,
    }

    def module() -> SITSDataModule:
        made = data_module(name, data, scratch, **options)
        made.prepare_data()
        return made

    probe = {'weights': weights, 'freeze_backbone': True, 'lr': 1e-2}
    return {
        'random forest': forest(module(), seed),
        'from scratch': segmentation(module(), seed, lr=1e-3),
        'linear probe': segmentation(module(), seed, **probe),
        'fine-tuned': segmentation(module(), seed, weights=weights, lr=1e-3, layer_decay=0.75),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over the seeds, by set, number of fields and contender."""
    table: dict[str, Any] = {}
    for name, count in itertools.product(SETS, FIELDS):
        chosen = [run for run in runs if run['set'] == name and run['fields'] == count]
        if not chosen:
            continue
        entry: dict[str, Any] = {'seeds': len(chosen)}
        for contender in chosen[0]['f1']:
            values = [run['f1'][contender] for run in chosen]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            entry[contender] = [round(statistics.mean(values), 3), round(spread, 3)]
        table[f'{name}, {count} per class'] = entry
    return table


def one_run(job: tuple[str, int, int], data: Path, scratch: Path) -> dict[str, Any]:
    """Scores of a set, number of fields and seed, in a process of its own."""
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore', category=UserWarning)
    name, count, seed = job
    start = time.perf_counter()
    scores = contend(name, data, scratch, seed, count)
    run = {'set': name, 'fields': count, 'seed': seed}
    run |= {'f1': {k: round(v, 4) for k, v in scores.items()}}
    return run | {'s': round(time.perf_counter() - start, 1)}


def first(name: str, data: Path, scratch: Path) -> None:
    """Pretrain on a set, in a process of its own."""
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore', category=UserWarning)
    pretrain(name, data, scratch)


def main() -> None:
    """Measure, print and write the results, run by run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--scratch', type=Path, default=Path('scratch/few_labels'))
    arguments = parser.parse_args()
    folders = (arguments.data, arguments.scratch)
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    out = Path(__file__).parent / 'results' / 'few_labels.json'
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True)
    results: dict[str, Any] = {
        'machine': f'{platform.machine()}, {PROCESSES} processes, torch {torch.__version__}',
        'load_at_start': round(os.getloadavg()[0], 2),
        'commit': commit.stdout.strip(),
        'what': 'macro F1, mean and standard deviation over the seeds',
        'table': {},
        'runs': json.loads(out.read_text())['runs'] if out.exists() else [],
    }
    done = {(run['set'], run['fields'], run['seed']) for run in results['runs']}
    jobs = [
        (name, count, seed)
        for seed, count, name in itertools.product(SEEDS, FIELDS, SETS)
        if (name, count, seed) not in done
    ]
    with ProcessPoolExecutor(PROCESSES, get_context('spawn')) as pool:
        list(pool.map(first, SETS, *([folder] * len(SETS) for folder in folders)))
        runs = [pool.submit(one_run, job, *folders) for job in jobs]
        for future in as_completed(runs):
            results['runs'].append(future.result())
            results['table'] = summary(results['runs'])
            out.write_text(json.dumps(results, indent=2) + '\n')
            print(future.result(), flush=True)


if __name__ == '__main__':
    main()

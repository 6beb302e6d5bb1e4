"""Does each method's default run learn? k-NN of the frozen encoder before and after, five seeds.

Run with ``uv run python -m benchmarks.ssl_methods [DATA]``, where DATA holds the real stacks
``wc_be_a`` and ``wc_be_b``, without which only the simulated series is used. Each run is that of
``conf/<method>.yaml`` with another seed of weights and views; on the real stacks, both are trained
on together, 48 dates a sample.

The encoder is scored before the first step and after the last one: of each class one field is
labelled, the other fields of the class are held out, and each of 2,000 of their pixels takes the
vote of its 20 nearest labelled pixels by cosine. The score is the macro F1 over the classes with
two fields at least, the mean over 20 draws of fields (the same for all runs), and over the two
stacks, each of which is scored by its own fields. Training saw all pixels, and no labels. Recorded,
too, are whether the loss was finite at every step and the health of the embeddings at the end.
Results go to ``results/ssl_methods.json``; a run that was stopped goes on where it was.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
import yaml
from lightning.pytorch import Callback, Trainer, seed_everything
from numpy.typing import NDArray
from scipy.ndimage import label
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier

import torchgeo_sits.tasks
from torchgeo_sits.datamodules import (
    ImageOptions,
    LabelOptions,
    PatchOptions,
    SITSDataModule,
    SplitOptions,
    SyntheticSITSDataModule,
)

#: Of one thread each: two of two threads wait for each other more than they work.
PROCESSES = 2
METHODS = ('dino', 'simclr', 'byol', 'vicreg', 'mae')
SEEDS = range(5)
DEPTHS = ('early', 'late', 'joined')
SITES = ('wc_be_a', 'wc_be_b')
DRAWS = 20
#: Pixels that are scored in a draw.
MOST = 2000
CONF = Path(__file__).parents[1] / 'conf'
RESULTS = Path(__file__).parent / 'results' / 'ssl_methods.json'


class Record(Callback):
    """Keep the losses and the health of the last step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.health: dict[str, float] = {}

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Keep what was logged."""
        logged = {k: float(v) for k, v in trainer.callback_metrics.items() if 'knn' not in k}
        self.losses.append(logged.pop('train_loss'))
        self.health = logged


def data_module(data: Path | None, scratch: Path, sites: Any, **kwargs: Any) -> SITSDataModule:
    """The simulated series, or real stacks under *data*."""
    if data is None:
        return SyntheticSITSDataModule(str(scratch / 'synthetic'), **kwargs)
    return SITSDataModule(
        [str(data / site / 's2') for site in sites],
        images=ImageOptions(
            cloud_paths=[str(data / site / 'scl') for site in sites],
            clear_values=[2, 4, 5, 6, 7],
        ),
        labels=LabelOptions(
            [str(data / site / 'labels' / f'{site}_CT_aligned_core.tif') for site in sites]
        ),
        **kwargs,
    )


class Fields:
    """The labelled fields of a site, in batches as the encoder takes them.

    A field is what hangs together of one class in the raster of labels.
    """

    def __init__(self, data: Path | None, scratch: Path, site: str) -> None:
        module = data_module(
            data,
            scratch,
            [site],
            split=SplitOptions('fields', val_fraction=0.5),
            patches=PatchOptions(32, num_dates=48 if data else None),
            batch_size=16,
        )
        module.prepare_data()
        module.setup('fit')
        if data is None:
            # The folder of a simulated series is named after its arguments.
            [labels] = (scratch / 'synthetic').glob('*/labels/synthetic_class.tif')
        else:
            labels = data / site / 'labels' / f'{site}_CT_aligned_core.tif'
        with rasterio.open(labels) as raster:
            classes, self.transform = raster.read(1), raster.transform
        self.numbers = np.zeros(classes.shape, np.int64)
        for value in np.unique(classes[classes > 0]):
            parts, _ = label(classes == value)
            self.numbers += np.where(parts > 0, parts + self.numbers.max(), 0)
        # Both halves of the fields, each in patches of its own.
        loaders = module.probe_dataloaders()
        assert loaders is not None
        self.batches = []
        for batch in (batch for loader in loaders for batch in loader):
            fields = torch.stack([self._numbers_at(bounds) for bounds in batch['bounds']])
            # Another site's pixels, and those of the other half, have no label here.
            fields[batch['mask'] == module.unlabelled] = 0
            self.batches.append(module.aug(dict(batch)) | {'fields': fields})

    def _numbers_at(self, bounds: torch.Tensor) -> torch.Tensor:
        """Numbers of the fields ``(H, W)`` of a patch."""
        x, x_stop, _, y, y_stop = bounds[:5].tolist()
        window = rasterio.windows.from_bounds(x, y, x_stop, y_stop, self.transform)
        rows, columns = (slice(round(a), round(b)) for a, b in window.toranges())
        return torch.from_numpy(self.numbers[rows, columns].copy())

    @torch.no_grad()
    def pixels(self, encoder: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Features ``(P, D)``, classes and fields ``(P,)`` of the labelled pixels."""
        mode = encoder.training
        encoder.eval()
        features, classes, fields = [], [], []
        for batch in self.batches:
            inputs = (batch[k] for k in ('image', 'acquisition_times', 'valid', 'mask_clear'))
            found = encoder.features(*inputs, depth='joined').movedim(1, -1)
            known = batch['fields'] > 0
            features.append(found[known].numpy())
            classes.append(batch['mask'][known].numpy())
            fields.append(batch['fields'][known].numpy())
        encoder.train(mode)
        return tuple(map(np.concatenate, (features, classes, fields)))

    def score(self, encoder: Any) -> dict[str, float]:
        """Macro F1 by depth, the mean over the draws of fields."""
        joined, classes, fields = self.pixels(encoder)
        early = encoder.feature_dim('early')
        scores: dict[str, list[float]] = {depth: [] for depth in DEPTHS}
        owner = {c: np.unique(fields[classes == c]) for c in np.unique(classes)}
        owner = {c: own for c, own in owner.items() if len(own) > 1}
        for draw in range(DRAWS):
            rng = np.random.default_rng(draw)
            labelled = [rng.choice(own) for own in owner.values()]
            bank = np.flatnonzero(np.isin(fields, labelled))
            query = np.flatnonzero(np.isin(classes, list(owner)) & ~np.isin(fields, labelled))
            query = rng.permutation(query)[:MOST]
            for depth, x in zip(
                DEPTHS, (joined[:, :early], joined[:, early:], joined), strict=True
            ):
                nearest = KNeighborsClassifier(20, metric='cosine', weights='distance')
                found = nearest.fit(x[bank], classes[bank]).predict(x[query])
                scores[depth].append(f1_score(classes[query], found, average='macro'))
        return {depth: statistics.mean(values) for depth, values in scores.items()}


def run(method: str, seed: int, data: Path | None, scratch: Path) -> dict[str, Any]:
    """Pretrain as the method's configuration says, and score the encoder before and after."""
    torch.set_num_threads(1)
    seed_everything(seed, verbose=False)
    config = yaml.safe_load((CONF / f'{method}.yaml').read_text())
    task = getattr(torchgeo_sits.tasks, config['model']['class_path'].split('.')[-1])
    model, record = task(**config['model']['init_args']), Record()
    sites = [Fields(data, scratch, site) for site in (SITES if data else ['synthetic'])]
    scores: list[dict[str, float]] = []

    def score() -> None:
        found = [site.score(model.encoder) for site in sites]
        scores.append({depth: statistics.mean(f[depth] for f in found) for depth in DEPTHS})

    class Scored(Callback):
        """Score before the first step and after the last one."""

        def on_train_start(self, *args: Any) -> None:
            score()

        def on_train_end(self, *args: Any) -> None:
            score()

    trainer = Trainer(
        accelerator='cpu',
        max_epochs=config['trainer']['max_epochs'],
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[record, Scored()],
    )
    start = time.perf_counter()
    options = config['data']['init_args']
    patches = PatchOptions(**options['patches'], num_dates=48 if data else None)
    made = data_module(data, scratch, SITES, patches=patches, batch_size=options['batch_size'])
    trainer.fit(model, made)
    return {
        'method': method,
        'data': 'synthetic' if data is None else 'wc_be_a + wc_be_b',
        'seed': seed,
        'steps': len(record.losses),
        'seconds': round(time.perf_counter() - start, 1),
        'finite': all(map(math.isfinite, record.losses)),
        'first_loss': record.losses[0],
        'last_loss': record.losses[-1],
        'health': record.health,
        'before': scores[0],
        'after': scores[1],
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Means and standard deviations over the seeds, a line for each method and set."""
    lines = [
        '| set | method | ' + ' | '.join(f'{d}: untrained, trained, gain' for d in DEPTHS) + ' |',
        '|---' * (2 + len(DEPTHS)) + '|',
    ]
    for data, method in dict.fromkeys((r['data'], r['method']) for r in runs):
        own = [r for r in runs if (r['data'], r['method']) == (data, method)]
        cells = []
        for depth in DEPTHS:
            before, after = ([r[w][depth] for r in own] for w in ('before', 'after'))
            gain = [b - a for a, b in zip(before, after, strict=True)]
            spread = statistics.stdev(gain) if len(gain) > 1 else math.nan
            cells.append(
                f'{statistics.mean(before):.3f}, {statistics.mean(after):.3f}, '
                f'{statistics.mean(gain):+.3f} ± {spread:.3f}'
            )
        lines.append(f'| {data} | {method} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Run what is not there yet, and write after each run."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('data', type=Path, nargs='?')
    parser.add_argument('--scratch', type=Path, default=Path('.benchmark'))
    parser.add_argument('--methods', nargs='+', default=METHODS, choices=METHODS)
    arguments = parser.parse_args()
    SyntheticSITSDataModule(str(arguments.scratch / 'synthetic')).prepare_data()
    commit = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True, check=True
    ).stdout.strip()
    runs: list[dict[str, Any]] = []
    if RESULTS.exists():
        runs = json.loads(RESULTS.read_text())['runs']
    done = {(r['data'], r['method'], r['seed']) for r in runs}
    sets = [None] if arguments.data is None else [None, arguments.data]
    names = {None: 'synthetic', arguments.data: 'wc_be_a + wc_be_b'} | {None: 'synthetic'}
    os.environ['OMP_NUM_THREADS'] = '1'
    with ProcessPoolExecutor(PROCESSES, get_context('spawn'), max_tasks_per_child=1) as pool:
        waiting = [
            pool.submit(run, method, seed, data, arguments.scratch)
            for seed in SEEDS
            for data in sets
            for method in arguments.methods
            if (names[data], method, seed) not in done
        ]
        for future in as_completed(waiting):
            runs.append(future.result() | {'commit': commit})
            runs.sort(key=lambda r: (r['data'], METHODS.index(r['method']), r['seed']))
            RESULTS.write_text(
                json.dumps(
                    {
                        'machine': f'{os.cpu_count()} cores, {platform.machine()}',
                        'torch': torch.__version__,
                        'runs': runs,
                    },
                    indent=1,
                )
                + '\n'
            )
    print(table(runs))


if __name__ == '__main__':
    main()

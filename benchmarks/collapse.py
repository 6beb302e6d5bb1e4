"""Run healthy and broken pretraining under the watch for collapse: is it stopped, and when?

    python -m benchmarks.collapse                    # 10 dates, short paths: minutes
    python -m benchmarks.collapse --size default     # as conf/*.yaml say: hours

Every method runs as its ``conf/<method>.yaml`` says, with four seeds, and in settings broken on
purpose, with three: a learning rate 100 times the default with and without warm-up, DINO without
its centre, BYOL without its predictor, both without their stop-gradient. All runs are of 80
steps. Recorded are the step at which a run was stopped and why, and for each measure its first
value and its extremes, over which limits were chosen. One epoch is read once; a seed sets the
weights, the views and the order of the batches. Output goes to results/collapse.json; runs
recorded there are not repeated.
"""

import logging
import multiprocessing
import tempfile
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import nn
from torch.utils.data import DataLoader

from torchgeo_sits import tasks
from torchgeo_sits.callbacks import CollapseError, EmbeddingHealth
from torchgeo_sits.datamodules import PatchOptions, SyntheticSITSDataModule

from . import harness

FOLDER = Path(tempfile.gettempdir()) / 'torchgeo_sits_collapse'
STEPS = 80
METHODS = ('dino', 'byol', 'simclr', 'vicreg', 'barlow_twins', 'mae')
BROKEN = {
    'learning rate x 100': METHODS,
    'learning rate x 100, no warm-up': METHODS,
    'no centring': ('dino',),
    'no predictor': ('byol',),
    'no stop-gradient': ('dino', 'byol'),
}
_kept: dict[str, tuple[SyntheticSITSDataModule, list[Any]]] = {}


class WithoutCentre(tasks.SITSDINO):
    """DINO whose centre stays at 0."""

    def _target(self, outputs: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
        center.zero_()
        return outputs


class WithoutPredictor(tasks.SITSBYOL):
    """BYOL whose student's projections are compared as they are."""

    def build_heads(self, dim: int) -> None:
        """Build all but the predictor."""
        super().build_heads(dim)
        heads = {level: nn.Identity() for level in self.compared_levels}
        self.prediction_head = nn.ModuleDict(heads)


class OneNetwork:
    """The teacher is the student, and gradients pass through both."""

    def build_heads(self: Any, dim: int) -> None:
        """Build one network, of two names."""
        super().build_heads(dim)  # type: ignore[misc]
        self.teacher, self.teacher_head = self.backbone, self.projection_head

    def compare_views(self: Any, views: Any, batch: Any) -> Any:
        """Compare with gradients on both sides."""
        with mock.patch.object(torch, 'no_grad', nullcontext):
            return super().compare_views(views, batch)  # type: ignore[misc]


class OneDINO(OneNetwork, tasks.SITSDINO):
    """DINO without its stop-gradient."""


class OneBYOL(OneNetwork, tasks.SITSBYOL):
    """BYOL without its stop-gradient."""


def build(method: str, breakage: str | None, size: str) -> Any:
    """A task as its configuration says, but for what is broken."""
    model = yaml.safe_load((harness.ROOT / 'conf' / f'{method}.yaml').read_text())['model']
    options, kind = model['init_args'], getattr(tasks, model['class_path'].rsplit('.', 1)[1])
    if size == 'small':
        options['views_kwargs'] = {'num_paths': 4, 'length': 16}
        if method == 'dino':
            options['views_kwargs'] |= {'local_num_paths': 2, 'local_length': 8}
    if breakage == 'no centring':
        kind = WithoutCentre
    elif breakage == 'no predictor':
        kind = WithoutPredictor
    elif breakage == 'no stop-gradient':
        kind = {'dino': OneDINO, 'byol': OneBYOL}[method]
    elif breakage is not None:
        options['lr'] = 100 * (options.get('lr') or kind.reference_lr)
        if 'no warm-up' in breakage:
            options['warmup_share'] = 0.0
    return kind(**options)


def read(size: str) -> tuple[SyntheticSITSDataModule, list[Any]]:
    """The data module and the batches of an epoch, read once in a process."""
    if size not in _kept:
        dates = 10 if size == 'small' else None
        data = SyntheticSITSDataModule(
            str(FOLDER), patches=PatchOptions(32, num_dates=dates), batch_size=16
        )
        data.prepare_data()
        data.setup('fit')
        _kept[size] = data, list(data.train_dataloader())
    return _kept[size]


class Record(Callback):
    """Keep the logged health."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Keep the values of a step."""
        names = ('embedding', 'projection', 'prototypes', 'assignment', 'weight', 'train_loss')
        logged = trainer.callback_metrics.items()
        self.steps.append({k: float(v) for k, v in logged if k.startswith(names)})


def run(job: tuple[str, str | None, int, str]) -> dict[str, Any]:
    """Train once, and say how it went."""
    method, breakage, seed, size = job
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    for name in ('lightning.pytorch', 'lightning.fabric', 'lightning.pytorch.utilities.rank_zero'):
        logging.getLogger(name).setLevel(logging.ERROR)
    data, batches = read(size)
    seed_everything(seed)
    order = torch.randperm(len(batches)).tolist()
    loader = DataLoader([dict(batches[i]) for i in order], batch_size=None)  # type: ignore[arg-type]
    record = Record()
    trainer = harness.quiet_trainer(
        max_steps=STEPS, callbacks=[EmbeddingHealth(), record], limit_val_batches=0
    )
    message = None
    with (
        # Functions: Lightning takes a mock for a method that is not there.
        mock.patch.object(data, 'train_dataloader', lambda: loader),  # noqa: PT008
        mock.patch.object(data, 'setup', lambda stage: None),  # noqa: PT008
    ):
        try:
            trainer.fit(build(method, breakage, size), data)
        except CollapseError as error:
            message = str(error)
    # A step that is stopped leaves no record; the change of the weights has none at the first.
    steps = record.steps
    names = sorted(set.intersection(*(set(step) for step in steps[1:])))
    steps = [step for step in steps if set(names) <= set(step)]
    return {
        'method': method,
        'broken': breakage,
        'seed': seed,
        'size': size,
        'stopped_at_step': None if message is None else len(record.steps) + 1,
        'message': message,
        'measures': {
            name: {
                'first': round(steps[0][name], 4),
                'least': round(min(step[name] for step in steps), 4),
                'most': round(max(step[name] for step in steps), 4),
                'last': round(steps[-1][name], 4),
            }
            for name in names
        },
    }


def main() -> None:
    """Run the missing jobs, write after each run, print the table."""
    parser = harness.parser(__doc__)
    parser.add_argument('--size', choices=('small', 'default'), default='small')
    size = parser.parse_args().size
    jobs: list[tuple[str, str | None, int, str]] = []
    for name, methods in BROKEN.items():
        jobs += [(method, name, seed, size) for seed in range(3) for method in methods]
    jobs += [(method, None, seed, size) for seed in range(4) for method in METHODS]
    results = harness.describe(
        steps=STEPS,
        batch=16,
        small='10 of 40 dates, 4 paths of 16 pixels',
        default='as conf/*.yaml',
    )
    runs = harness.load('collapse').get('figures', {}).get('runs', [])
    done = {(r['method'], r['broken'], r['seed'], r['size']) for r in runs}
    read(size)  # Written once, before the processes read.
    with multiprocessing.get_context('spawn').Pool(2) as pool:
        for result in pool.imap_unordered(run, [job for job in jobs if job not in done]):
            runs.append(result)
            print(*(result[k] for k in ('method', 'broken', 'seed', 'stopped_at_step')), flush=True)
            harness.save('collapse', results | {'figures': summary(runs)})


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The table, and all runs in one order."""
    runs = sorted(runs, key=lambda r: (r['size'], r['broken'] or '', r['method'], r['seed']))
    table: dict[str, dict[str, Any]] = {}
    for result in runs:
        name = f'{result["size"]}: {result["method"]}, {result["broken"] or "healthy"}'
        row = table.setdefault(name, {'seeds': 0, 'stopped_at_steps': []})
        row['seeds'] += 1
        row['stopped_at_steps'].append(result['stopped_at_step'])
    return {'table': table, 'runs': runs}


if __name__ == '__main__':
    main()

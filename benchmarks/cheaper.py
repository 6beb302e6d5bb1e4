"""What cheaper embeddings cost in macro F1, and what they gain in pixels per CPU second.

    python -m benchmarks.cheaper DATA [--steps 400] [--seeds 2]

``planar_vit_tiny`` in its own size is pretrained by VICReg on planar views of development data of
the study (fields of ieda_mt below DATA that are too small to be tested, and a simulated world of
another seed), and its features are scored there by the linear probe, over budgets and 20 draws of
fields. What can be done with a trained encoder (fewer path blocks, half precision, int8, early
features) is done with that one; other encoders (segments, fewer queries, a horizon) are pretrained
anew. Speed is that of features of a patch of 43 dates, 10 bands and 128 x 128 pixels in CPU seconds
of one thread, rounds interleaved; *before* is the same of the commit before any of this, in
processes of its own in the same run. Results go to results/cheaper.json.
"""

import copy
import io
import logging
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from torch import nn

from study import ours
from study.contenders import METHODS, PLANES, Architecture
from study.pretraining import BATCH, pretrain
from study.probes import labelled_pixels, linear, probe
from study.sites import Site, mato_grosso, synthetic
from torchgeo_sits.models import SITSEncoder, build_encoder

from . import harness
from .encoders import patch

#: The commit before encoders were made cheaper.
BEFORE = '152dafd'
MODEL = 'planar_vit_tiny'
ROUNDS = 5
#: Learning rate of the study.
RATE = 0.002
BUDGETS = {'ieda_mt': ('1', '5'), 'synthetic': ('1', '5 %')}
#: Encoders that are pretrained, by what is changed of the first.
ENCODERS: dict[str, dict[str, Any]] = {
    'as it is': {},
    'horizon of 16': {'horizon': 16},
    '8 queries in place of 16': {'seasonal_queries': 6, 'num_queries': 2},
    'segments of 2': {'segment': 2},
    'segments of 4': {'segment': 4},
}


def half() -> AbstractContextManager[Any]:
    """Half precision as ``--precision bf16-mixed`` has it."""
    return torch.autocast('cpu', torch.bfloat16)


def without_blocks(encoder: Any, blocks: int) -> SITSEncoder:
    """A copy that runs some path blocks only."""
    encoder = copy.deepcopy(encoder)
    encoder.keep_blocks(blocks)
    return encoder


def as_int8(encoder: Any) -> SITSEncoder:
    """A copy whose path blocks multiply bytes; PyTorch has announced the end of this."""
    encoder = copy.deepcopy(encoder)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        encoder.path_stage = torch.ao.quantization.quantize_dynamic(
            encoder.path_stage, {nn.Linear}, dtype=torch.qint8
        )
    return encoder


def compiled(encoder: Any) -> SITSEncoder:
    """A copy whose stages are compiled."""
    encoder = copy.deepcopy(encoder)
    encoder.time_stage.compile(dynamic=True)
    encoder.path_stage.compile(dynamic=True)
    return encoder


type Way = tuple[Callable[[Any], SITSEncoder], Callable[[], AbstractContextManager[Any]], str]
#: What is done with a trained encoder, in which precision, and the depth of its features.
WAYS: dict[str, Way] = {
    'all': (lambda e: e, nullcontext, 'late'),
    'bfloat16': (lambda e: e, half, 'late'),
    'int8 path blocks': (as_int8, nullcontext, 'late'),
    'one path block': (lambda e: without_blocks(e, 1), nullcontext, 'late'),
    'one path block, bfloat16': (lambda e: without_blocks(e, 1), half, 'late'),
    'no path block': (lambda e: without_blocks(e, 0), nullcontext, 'late'),
    'no path block, bfloat16': (lambda e: without_blocks(e, 0), half, 'late'),
    'early features': (lambda e: e, nullcontext, 'early'),
    'early features, bfloat16': (lambda e: e, half, 'early'),
    'joined features': (lambda e: e, nullcontext, 'joined'),
}
#: What changes no value, so that its price is not looked for.
FREE: dict[str, Way] = {'compiled': (compiled, nullcontext, 'late')}


# -- speed ----------------------------------------------------------------------------------


_OF_BEFORE = """
import statistics, time, torch
torch.set_num_threads(1)
torch.manual_seed(0)
from torchgeo_sits.keys import Series
from torchgeo_sits.models import build_encoder
times = 1_500_000_000 + torch.arange(43)[None] * 8 * 86_400
image, valid = torch.randn(1, 43, 10, 128, 128), torch.ones(1, 43, dtype=torch.bool)
series = Series(image, times, valid, torch.rand(1, 43, 128, 128) > 0.3)
encoder, found = build_encoder('planar_vit_tiny', 10).eval(), []
with torch.no_grad():
    for turn in range(4):
        start = time.process_time()
        encoder.features(series)
        found.append(time.process_time() - start)
print(statistics.median(found[1:]))
"""


def before(folder: Path) -> float:
    """CPU seconds of late features by the code of the commit before."""
    environment = os.environ | {'PYTHONPATH': str(folder)}
    ran = subprocess.run(
        [sys.executable, '-c', _OF_BEFORE],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(ran.stdout)


@torch.no_grad()
def speeds() -> dict[str, Any]:
    """CPU seconds of each way and encoder, in turns, with those of before."""
    series = patch()
    encoder = build_encoder(MODEL, 10).eval()
    runs: dict[str, Callable[[], object]] = {}
    for name, (change, precision, depth) in (WAYS | FREE).items():
        changed = change(encoder)

        def run(changed: Any = changed, precision: Any = precision, depth: Any = depth) -> None:
            with precision():
                changed.features(series, depth=depth)

        runs[name] = run
    for name, options in ENCODERS.items():
        if options:
            other = build_encoder(MODEL, 10, **options).eval()
            runs[name] = lambda other=other: other.features(series)  # type: ignore[misc]
    taken: dict[str, list[float]] = {name: [] for name in ['before', *runs]}
    with tempfile.TemporaryDirectory() as scratch:
        archive = subprocess.run(
            ['git', 'archive', BEFORE, 'torchgeo_sits'],
            cwd=harness.ROOT,
            check=True,
            capture_output=True,
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(scratch, filter='data')
        for run in runs.values():
            run()
        for _ in range(ROUNDS):
            taken['before'].append(before(Path(scratch)))
            for name, run in runs.items():
                taken[name].append(harness.cpu_seconds(run))
    pixels = series.image.shape[-1] * series.image.shape[-2]
    return {
        name: harness.spread(values)
        | {
            'pixels_per_cpu_s': round(pixels / statistics.median(values)),
            'times_before': round(
                statistics.median(b / v for b, v in zip(taken['before'], values, strict=True)), 2
            ),
        }
        for name, values in taken.items()
    }


# -- price ----------------------------------------------------------------------------------


def trained(site: Site, options: dict[str, Any], steps: int, seed: int) -> SITSEncoder:
    """An encoder that is pretrained on a site without its labels."""
    seed_everything(seed, verbose=False)
    views = {'views': 'planar', 'views_kwargs': PLANES | {'kind': 'mixed'}, 'lr': RATE}
    bands = site.image.shape[1]
    task = ours.build('VICReg', bands, METHODS['VICReg'] | views, Architecture(MODEL, options))
    pretrain(task, ours.samples([site], steps * BATCH, seed), steps, by_epoch=False)
    return task.encoder


def scores(site: Site, encoder: SITSEncoder, way: Way) -> list[float]:
    """Macro F1 in points at each budget."""
    change, precision, depth = way
    pixels = labelled_pixels(site, development=site.name == 'ieda_mt')
    with precision():
        found = ours.features(change(encoder), site)
    parts = [found[key] for key in ('early', 'late') if depth in (key, 'joined')]
    values: Any = torch.cat(parts).flatten(1).T[pixels.index].numpy()
    return [
        100 * float(np.mean(probe(values, pixels, budget, linear)['f1']))
        for budget in BUDGETS[site.name]
    ]


def prices(sites: list[Site], steps: int, seeds: int) -> dict[str, Any]:
    """Macro F1 of each way and encoder, and what it is less than that of all."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        for site in sites:
            for name, options in ENCODERS.items():
                encoder = trained(site, options, steps, seed).eval()
                ways = WAYS if not options else {name: WAYS['all']}
                for title, way in ways.items():
                    found.setdefault(title, []).append(scores(site, encoder, way))
                    print(seed, site.name, title, found[title][-1], flush=True)
    heads = [f'{site.name}, {budget}' for site in sites for budget in BUDGETS[site.name]]
    figures = {}
    for title, rows in found.items():
        # (seeds, sites, budgets), and the same of what it is held against
        values = np.array(rows).reshape(seeds, len(heads))
        change = values - np.array(found['all']).reshape(seeds, len(heads))
        figures[title] = {
            'f1': dict(zip(heads, values.mean(0).round(1).tolist(), strict=True)),
            'f1_mean': round(float(values.mean()), 2),
            'change': round(float(change.mean()), 2),
            'change_by_seed': change.mean(1).round(2).tolist(),
        }
    return figures


def main() -> None:
    """Measure, and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--steps', type=int, default=400)
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--only', choices=('speed', 'price'), default=None)
    arguments = parser.parse_args()
    warnings.filterwarnings('ignore', 'The number of unique classes', UserWarning)
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    torch.set_num_threads(1)
    whole = harness.load('cheaper')
    if arguments.only != 'price':
        whole['speed'] = harness.describe(rounds=ROUNDS, before=BEFORE) | {'figures': speeds()}
        for name, row in whole['speed']['figures'].items():
            print(name, row)
        harness.save('cheaper', whole)
    if arguments.only != 'speed':
        settings = {'steps': arguments.steps, 'seeds': arguments.seeds}
        described = harness.describe('lightning', **settings)
        with tempfile.TemporaryDirectory() as scratch:
            sites = [*mato_grosso(arguments.data), *synthetic(Path(scratch), seed=1, size=256)]
        figures = prices(sites, arguments.steps, arguments.seeds)
        whole['price'] = described | {'figures': figures}
        harness.save('cheaper', whole)


if __name__ == '__main__':
    main()

"""Run the command of the README, on the simulated series and on real ones, and record each run.

    python -m benchmarks.runs                      # the default only
    python -m benchmarks.runs --data DIR           # with real series, see FOLDERS
    python -m benchmarks.runs --data DIR --only Flanders --seeds 3

Each run is the command line as a user types it, in a process of its own. Recorded are its time
and peak memory, whether the loss was finite at every step, the health of the embeddings at the
end, the k-NN scores before and after, and whether the checkpoint gives an encoder back. Output
goes to results/runs.json.
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchgeo_sits.models import load_bare_encoder

from . import harness

#: Options of the runs on real series; {data} is the folder that holds them.
FOLDERS = {
    'Flanders, two places, 10 bands, SCL': [
        '--data.paths=["{data}/wc_be_a/s2","{data}/wc_be_b/s2"]',
        '--data.images.cloud_paths=["{data}/wc_be_a/scl","{data}/wc_be_b/scl"]',
        '--data.images.clear_values=[2,4,5,6,7]',
        '--data.labels.paths={data}/wc_be_b/labels/wc_be_b_CT_aligned_core.tif',
        '--data.patches.num_dates=48',
    ],
    'CBERS, two windows': ['--data.paths=["{data}/cbers_ba/images_0","{data}/cbers_ba/images_1"]'],
    'meadow, frames wholly empty': [
        '--data.paths={data}/fusets_meadow/images',
        '--data.images.cloud_paths={data}/fusets_meadow/scl',
        '--data.images.clear_values=[2,4,5,6,7]',
    ],
    'three bands, LAEA grid': ['--data.paths={data}/gfmap_poly5/images'],
}


def run(options: list[str], *, seed: int) -> dict[str, Any]:
    """Run ``fit`` with *options* in an empty folder and gather what it left."""
    command = ['-m', 'torchgeo_sits.main', 'fit', '--config', 'conf/dino.yaml', *options]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command, f'--seed_everything={seed}'],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            return {'returncode': done.returncode, 'error': done.stderr[-2000:]}
        [events] = Path(folder).glob('logs/**/events*')
        [checkpoint] = Path(folder).glob('logs/**/*.ckpt')
        log = EventAccumulator(str(events)).Reload()
        scalars = {tag: [e.value for e in log.Scalars(tag)] for tag in log.Tags()['scalars']}
        encoder, card = load_bare_encoder(checkpoint)
    losses = scalars['train_loss']
    return {
        'returncode': 0,
        'seconds': seconds,
        'steps': len(losses),
        'finite': all(map(math.isfinite, losses)),
        'loss': {'first': losses[0], 'last': losses[-1]},
        'at the end': {
            tag: values[-1]
            for tag, values in scalars.items()
            if tag.startswith(('embedding', 'prototypes', 'assignment'))
        },
        'knn': {
            tag: {'before': values[0], 'after': values[-1]}
            for tag, values in scalars.items()
            if tag.startswith('knn')
        },
        'encoder': {
            'parameters': sum(p.numel() for p in encoder.parameters()),
            'bands': card['bands'],
        },
    }


def main() -> None:
    """Run all, print a line for each, write the JSON."""
    parser = harness.parser(__doc__)
    parser.add_argument('--data', help='folder of the real series')
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--only', default='', help='runs whose name holds this; others are kept')
    arguments = parser.parse_args()
    runs: dict[str, list[str]] = {'default, simulated': []}
    if arguments.data:
        data = os.path.abspath(arguments.data)
        for name, options in FOLDERS.items():
            own = [option.replace('{data}', data) for option in options]
            runs[name] = ['--data', 'SITSDataModule', *own]
    results = harness.describe()
    figures = harness.load('runs').get('figures', {}) if arguments.only else {}
    for name, options in runs.items():
        if arguments.only not in name:
            continue
        figures[name] = [run(options, seed=seed) for seed in range(arguments.seeds)]
        # Of the largest child so far: the runs stand in no order of size.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        figures[name][-1]['largest peak so far, GiB'] = round(peak, 2)
        print(name, json.dumps(figures[name], indent=1), flush=True)
    harness.save('runs', results | {'figures': figures})


if __name__ == '__main__':
    main()

"""Embeddings step by step: what the steps of a year cost beside one embedding of the year.

    python -m benchmarks.rolling DATA

DATA holds the folder ``wc_be_a``: its Sentinel-2 images of 2018, embedded every 14 days. Weights
are random: cost and equality do not hang on what was learned. *Features* is the time of the encoder
alone, in CPU seconds of one thread, on all 64 x 64 pixels at once, with the steps up to each day
(*growing*) or of the last 90 days (*sliding*), by :meth:`rolling_features`, and by one call of
:meth:`features` for each step (*one by one*), which is also what they are held against. *Command*
is ``torchgeo-sits embed`` in a process of its own, CPU seconds of all its processes, from start to
written maps, in bytes (``--map.quantise true``). Results go to results/rolling.json.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import seed_everything

from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.keys import Series
from torchgeo_sits.models import SITSEncoder, build_encoder
from torchgeo_sits.models.encoder import TimeSpan, series_within
from torchgeo_sits.tasks import SITSMAE
from torchgeo_sits.time_steps import DaySpan, rolling_spans

from . import harness

YEAR = DaySpan(date(2018, 1, 1), date(2018, 12, 31))
EVERY, OVER = '14d', '90d'
ROUNDS, COMMAND_ROUNDS = 3, 2
ENCODERS = ('planar_vit_tiny', 'tempcnn')


def series_of(folder: Path) -> Series:
    """The images of the year, roughly normalised."""
    found = RasterTimeSeries(
        str(folder / 's2'), cloud_paths=str(folder / 'scl'), clear_values=[4, 5]
    )
    start, stop = (pd.Timestamp(second, unit='s') for second in YEAR.seconds)
    sample = found[found.bounds[0], found.bounds[1], start:stop]
    image = (sample['image'] - 1500) / 1000
    keys = 'acquisition_times', 'valid', 'mask_clear'
    return Series(image[None], *(sample[key][None] for key in keys))


def one_by_one(encoder: SITSEncoder, series: Series, spans: list[TimeSpan]) -> list[torch.Tensor]:
    """Features of each span by a call of its own."""
    return [encoder.features(series_within(series, span)) for span in spans]


@torch.no_grad()
def measure_features(name: str, series: Series) -> dict[str, Any]:
    """CPU seconds of each way, and the largest difference from one call for each step."""
    torch.manual_seed(0)
    encoder = build_encoder(name, 10).eval()
    steps = {
        'growing': [span.seconds for span in rolling_spans(YEAR, EVERY)],
        'sliding': [span.seconds for span in rolling_spans(YEAR, EVERY, OVER)],
    }
    contenders: dict[str, Any] = {'the year once': lambda: encoder.features(series)}
    if name == 'planar_vit_tiny':
        contenders['the year once, time stage'] = lambda: encoder.features(series, depth='early')
    for title, spans in steps.items():
        contenders[title] = lambda spans=spans: [
            None for _ in encoder.rolling_features(series, spans)
        ]
        contenders[f'{title}, one by one'] = lambda spans=spans: one_by_one(encoder, series, spans)
    seconds: dict[str, list[float]] = {title: [] for title in contenders}
    for turn in range(1 + ROUNDS):
        for title, run in contenders.items():
            start = time.process_time()
            run()
            if turn:  # the first one warms up
                seconds[title].append(time.process_time() - start)
    figures: dict[str, Any] = {title: harness.spread(values) for title, values in seconds.items()}
    for title, spans in steps.items():
        rolled = encoder.rolling_features(series, spans)
        alone = one_by_one(encoder, series, spans)
        figures[title] |= {
            'steps': len(spans),
            'largest_difference': max(
                float((a - b).abs().max()) for a, b in zip(rolled, alone, strict=True)
            ),
        }
    return figures


def command_seconds(checkpoint: Path, folder: Path, options: list[str]) -> float:
    """CPU seconds of the command and all processes that it starts."""
    out = Path(tempfile.mkdtemp(dir=checkpoint.parent))
    given = [
        sys.executable, '-m', 'torchgeo_sits.main', 'embed', str(checkpoint), str(folder / 's2'),
        '--cloud_paths', str(folder / 'scl'), '--clear_values', '[4,5]', '--year', '2018',
        '--map.folder', str(out), '--map.quantise', 'true', *options,
    ]  # fmt: skip
    path = os.pathsep.join([str(harness.ROOT), *sys.path])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(given, check=True, capture_output=True, env=os.environ | {'PYTHONPATH': path})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(out)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure_command(folder: Path, scratch: Path) -> dict[str, Any]:
    """CPU seconds of the command for the year once, and for its steps."""
    seed_everything(0, verbose=False)
    trainer = harness.quiet_trainer(max_epochs=0)
    task = SITSMAE(model='planar_vit_tiny', in_channels=10)
    trainer.fit(task, torch.utils.data.DataLoader([0]))  # type: ignore[arg-type]
    trainer.save_checkpoint(scratch / 'X.ckpt')
    contenders = {
        'the year once': [],
        'growing': ['--every', EVERY],
        'sliding': ['--every', EVERY, '--over', OVER],
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(COMMAND_ROUNDS):
        for name, options in contenders.items():
            seconds[name].append(command_seconds(scratch / 'X.ckpt', folder, options))
    return {name: harness.spread(values) for name, values in seconds.items()}


def main() -> None:
    """Measure, and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('data', type=Path)
    folder = parser.parse_args().data / 'wc_be_a'
    torch.set_num_threads(1)
    results = harness.describe(
        'torchgeo', every=EVERY, over=OVER, rounds=ROUNDS, command_rounds=COMMAND_ROUNDS
    )
    series = series_of(folder)
    results['settings']['series'] = list(series.image.shape)
    figures: dict[str, Any] = {}
    for name in ENCODERS:
        figures[name] = measure_features(name, series)
        print(name, figures[name], flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        figures['command, planar_vit_tiny'] = measure_command(folder, Path(scratch))
    print(figures['command, planar_vit_tiny'])
    harness.save('rolling', results | {'figures': figures})


if __name__ == '__main__':
    main()

"""Time and memory of the encoders on one patch of the size of PASTIS, in one run.

Run with ``uv run python -m benchmarks.encoders``; results go to ``results/encoders.json``. The
patch has 43 dates, 10 bands and 128 x 128 pixels, of which 30 % are unclear. Maps without
gradients are timed in interleaved rounds after a warm-up; median, least and largest in seconds. A
training step (forward, backward) runs in a process of its own, whose peak memory above that of the
inputs is given. With other work beside, only the least says much: the load at the start is stored.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from torchgeo_sits.keys import Series
from torchgeo_sits.models import build_encoder

THREADS = 2
ROUNDS = 2
NAMES = (
    'planar_vit_tiny',
    'planar_vit_small',
    'utae',
    'tsvit',
    'ltae',
    'tempcnn',
    'unet3d',
    'convlstm',
)


def patch() -> Series:
    """Image, dates over a year, validity and clear pixels."""
    times = 1_500_000_000 + torch.arange(43)[None] * 8 * 86_400
    image = torch.randn(1, 43, 10, 128, 128)
    valid = torch.ones(1, 43, dtype=torch.bool)
    return Series(image, times, valid, torch.rand(1, 43, 128, 128) > 0.3)


def peak_mib() -> float:
    """Largest resident memory of this process; that of getrusage counts its parent's too."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith('VmHWM'))


def training_step(name: str) -> dict[str, float]:
    """Time and peak memory of a training step; for a process of its own."""
    encoder, batch = build_encoder(name, 10), patch()
    before = peak_mib()
    start = time.perf_counter()
    encoder.features(batch).square().mean().backward()
    seconds = time.perf_counter() - start
    return {'step_s': round(seconds, 2), 'peak_mib': round(peak_mib() - before)}


def main() -> None:
    """Measure, print and write the results."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    if len(sys.argv) > 1:
        print(json.dumps(training_step(sys.argv[1])))
        return
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True)
    results: dict[str, object] = {
        'machine': f'{platform.machine()}, {THREADS} threads, torch {torch.__version__}',
        'load_at_start': round(os.getloadavg()[0], 2),
        'commit': commit.stdout.strip(),
        'rounds': ROUNDS,
    }
    batch = patch()
    encoders = {name: build_encoder(name, 10).eval() for name in NAMES}
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    with torch.no_grad():
        for i in range(ROUNDS + 1):
            for name, encoder in encoders.items():
                start = time.perf_counter()
                encoder.features(batch)
                if i:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds['planar_vit_small'])
    for name, encoder in encoders.items():
        child = subprocess.run(
            [sys.executable, __file__, name], capture_output=True, text=True, check=True
        )
        middle = statistics.median(seconds[name])
        results[name] = {
            'parameters': sum(p.numel() for p in encoder.parameters()),
            'map_s': round(middle, 2),
            'map_min_s': round(min(seconds[name]), 2),
            'map_max_s': round(max(seconds[name]), 2),
            'times_planar_vit_small': round(middle / base, 2),
            'train': json.loads(child.stdout),
        }
        print(name, results[name], flush=True)
    out = Path(__file__).parent / 'results' / 'encoders.json'
    out.write_text(json.dumps(results, indent=2) + '\n')


if __name__ == '__main__':
    main()

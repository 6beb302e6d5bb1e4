"""Speed and memory of PlanarViT: a map of one patch, and a step of DINO on planar views.

Run with ``uv run python -m benchmarks.planar_vit``; results go to
``results/planar_vit.json``. One warm-up, then repeats; median, least and largest in seconds. The
load of the machine when it starts is stored: with other work beside, only the least says much.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from torchgeo_sits.keys import Series
from torchgeo_sits.models import SITSEncoder, build_encoder

THREADS = 2
REPEATS = 5
DAY = 86400


def timed(function: Callable[[], object]) -> dict[str, float]:
    """Median and spread of the wall time of *function*, in seconds."""
    function()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return {
        'median_s': round(statistics.median(seconds), 3),
        'min_s': round(min(seconds), 3),
        'max_s': round(max(seconds), 3),
    }


def dates(batch: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Dates over a year, all valid."""
    times = 1_500_000_000 + torch.arange(frames) * (365 // frames) * DAY
    return times.expand(batch, -1), torch.ones(batch, frames, dtype=torch.bool)


def patch(batch: int) -> Series:
    """A batch of the size of PASTIS patches, 30 % of the pixels unclear."""
    image = torch.randn(batch, 43, 10, 128, 128)
    return Series(image, *dates(batch, 43), torch.rand(batch, 43, 128, 128) > 0.3)


def view(paths: int, length: int, frames: int) -> Series:
    """Planes of a view, batch 16, 30 % of the pixels unclear."""
    planes = torch.randn(16, paths, 10, frames, length)
    return Series(planes, *dates(16, frames), torch.rand(16, paths, frames, length) > 0.3)


def dino_step(student: SITSEncoder, teacher: SITSEncoder) -> Callable[[], None]:
    """Encoders' share of a step: two global and four local views, forward and backward."""
    views = [view(8, 32, 16) for _ in range(2)] + [view(4, 16, 8) for _ in range(4)]

    def step() -> None:
        with torch.no_grad():
            targets = torch.stack([teacher.encode_planes(v).embed for v in views[:2]]).mean(0)
        loss = sum((student.encode_planes(v).embed - targets).square().mean() for v in views)
        student.zero_grad()
        torch.as_tensor(loss).backward()

    return step


def training_memory(name: str) -> dict[str, float]:
    """Time and peak memory of one training step on a whole patch; for a process of its own."""
    encoder, batch = build_encoder(name, 10), patch(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    encoder.features(batch).square().mean().backward()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {'step_s': round(seconds, 3), 'peak_mib': round((after - before) / 1024)}


def main() -> None:
    """Measure, print and write the results."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    if len(sys.argv) > 1:
        print(json.dumps(training_memory(sys.argv[1])))
        return
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True)
    results: dict[str, object] = {
        'machine': f'{platform.machine()}, {THREADS} threads, torch {torch.__version__}',
        'load_at_start': round(os.getloadavg()[0], 2),
        'commit': commit.stdout.strip(),
        'repeats': REPEATS,
        'what': 'map: features of 1 x 43 x 10 x 128 x 128; train: one step on the same patch, '
        'memory over that of the inputs; dino: B=16, 2 x (N=8, L=32, T=16) + '
        '4 x (N=4, L=16, T=8), teacher forward, student forward and backward',
    }
    for name in ('planar_vit_tiny', 'planar_vit_small'):
        encoder, batch = build_encoder(name, 10).eval(), patch(1)
        entry: dict[str, object] = {'parameters': sum(p.numel() for p in encoder.parameters())}
        with torch.no_grad():
            for depth in ('early', 'late'):
                entry[f'map_{depth}'] = timed(lambda: encoder.features(batch, depth=depth))  # noqa: B023
        entry['dino_step'] = timed(dino_step(build_encoder(name, 10), encoder))
        child = subprocess.run(
            [sys.executable, __file__, name], capture_output=True, text=True, check=True
        )
        entry['train'] = json.loads(child.stdout)
        results[name] = entry
    text = json.dumps(results, indent=2)
    print(text)
    out = Path(__file__).parent / 'results' / 'planar_vit.json'
    out.parent.mkdir(exist_ok=True)
    out.write_text(text + '\n')


if __name__ == '__main__':
    main()
